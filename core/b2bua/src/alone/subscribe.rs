//! SUBSCRIBE, NOTIFY and REFER outside calls on their way: RFC 6665, RFC 3515.

use std::time::Duration;

use machine::{Instant, Outbox};
use sip::dialog::{Dialog, Initial};
use sip::message::{Builder, Message, Method, Name, Scheme, SubscriptionState, Uri};
use sip::transport::Hop;

use super::Passing;
use super::subscription::{Stray, Subscription, SubscriptionId};
use crate::b2bua::B2bua;
use crate::call::{Request, without_tag};
use crate::context::{Context, Shared};
use crate::failure::Verdict;
use crate::io::Output;
use crate::leg::found::Found;
use crate::leg::headers;
use crate::limits::{SUBSCRIBED_DEFAULT, SUBSCRIBED_MAX};
use crate::named::names_the_inside;
use crate::side::Side;
use crate::tag::{Tag, call_id};

/// What a request has to do with subscriptions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Usage {
    /// Nothing.
    None,
    /// It asks for one; the tag is the one with which it is answered.
    Begins(SubscriptionId, Tag),
    /// It belongs to one, and goes to this side.
    Within(SubscriptionId, Side),
}

/// The methods that a subscription's dialog knows.
const ALLOW: &str = "SUBSCRIBE, NOTIFY";

/// True if a request asks for a subscription when it comes outside a dialog.
pub(super) fn subscribes(method: &Method) -> bool {
    //= RFC 3515 §2.4.4: a REFER is a subscription as well.
    matches!(method, Method::Subscribe | Method::Refer)
}

/// True if a response ends the subscription whose NOTIFY, or whose renewal, it answers.
//= RFC 6665 §4.1.2.2, §4.2.2: these codes; others may be for the moment.
fn is_final(status: u16) -> bool {
    matches!(status, 404 | 405 | 410 | 416 | 480..=485 | 489 | 501 | 604)
}

impl B2bua {
    /// Makes both dialogs of a request that asks for a subscription.
    pub(super) fn subscribe(&mut self, passing: &mut Passing) -> Result<(), Verdict> {
        self.has_room_to_subscribe(&passing.request)?;
        self.translate_refer_to(passing)?;
        let Request { message, hop, .. } = &passing.request;
        let Shared { rng, alone, .. } = &mut self.shared;
        let [tag, asked_tag] = [(); 2].map(|()| Tag::mint(self.config.shard, rng));
        let is_sips = Uri::parse(message.request_uri()).is_ok_and(|uri| uri.scheme() == Scheme::Sips);
        let found = |realm| Found { realm, hop: *hop, is_sips };
        let mut dialogs = || {
            let uas = Dialog::uas(message, tag.text().as_str())?;
            let target = passing.target.as_ref();
            let uri = target.map_or_else(|| message.request_uri(), |target| &target.uri);
            let path: Vec<&[u8]> = passing.routes().iter().map(|value| &**value).collect();
            let local = without_tag(&message.from()?);
            let (to, call_id) = (message.to()?, call_id(self.config.shard, rng));
            let local = (local.as_slice(), asked_tag.text());
            let asked = Initial::new(&call_id, (local.0, local.1.as_str()), to.as_bytes(), uri, &path, 1)?;
            Ok((uas, asked))
        };
        let (uas, asked) = dialogs()
            .map_err(|defect: sip::message::Defect| Verdict::plain(defect.status(), defect.to_string()))?;
        let subscriber = (uas, found(passing.from), tag);
        let mut subscription = Subscription::new(subscriber, (asked, found(passing.to), asked_tag));
        subscription.is_refer = *message.method() == Method::Refer;
        let id = alone.subscriptions.open(subscription);
        passing.usage = Usage::Begins(id, tag);
        Ok(())
    }

    /// One address gets no more than half of what there is, so that nobody takes it from all others.
    fn has_room_to_subscribe(&self, request: &Request) -> Result<(), Verdict> {
        let subscriptions = &self.shared.alone.subscriptions;
        let limit = self.config.limits.subscriptions;
        let share = limit.div_ceil(2);
        if subscriptions.len() >= limit {
            return Err(Verdict::plain(503, "no more subscriptions are taken").later());
        }
        if subscriptions.len() >= share && subscriptions.of_source(request.hop.remote.ip()) >= share {
            return Err(Verdict::plain(503, "no more subscriptions are taken from there").later());
        }
        Ok(())
    }

    /// Refer-To as the other side knows whom it names; nobody outside has a host inside called.
    fn translate_refer_to(&self, passing: &mut Passing) -> Result<(), Verdict> {
        let Request { message, hop, .. } = &passing.request;
        if *message.method() != Method::Refer {
            return Ok(());
        }
        //= RFC 3515 §2.4.1: exactly one.
        if message.values(Name::ReferTo).count() != 1 {
            return Err(Verdict::plain(400, "REFER without one Refer-To"));
        }
        let realms = (passing.from, passing.to);
        let refer_to = self.refer_to_between(message, hop.remote.ip(), realms);
        if refer_to.is_none() && names_the_inside(&self.config, realms, message) {
            let what = "Refer-To names a host behind the firewall";
            return Err(Verdict::new(self.config.codes.static_policy, "firewall policy", what));
        }
        passing.request.refer_to = refer_to;
        Ok(())
    }

    /// A request of a subscription's dialog.
    pub(crate) fn pass_subscribed(
        &mut self,
        now: Instant,
        (id, from): (SubscriptionId, Side),
        request: Request,
        out: &mut Outbox<Output>,
    ) {
        let mut ctx = self.context(now, out);
        if let Some((status, lines)) = ctx.refuses_subscribed(&request, (id, from)) {
            return ctx.answer_alone(&request, status, lines);
        }
        if ctx.refuses_extension(&request) {
            return;
        }
        if ctx.shared.alone.len() >= ctx.config.limits.alone {
            let verdict = Verdict::plain(503, "too many requests are being passed on").later();
            return ctx.refuse_alone(&request, &verdict);
        }
        ctx.note_state(id, &request.message);
        let Shared { alone, .. } = &mut *ctx.shared;
        let to = from.other();
        let mut subscription = alone.subscriptions.get_mut(id);
        let end = subscription.as_deref_mut().and_then(|it| it.end(ctx.config, to));
        //= RFC 3261 §12.2.2: a dialog that is not there on one side is not there.
        let Some((found, hop)) = end.map(|(_, found, hop)| (found, hop)) else {
            return ctx.answer_alone(&request, 481, &[]);
        };
        let trunk = subscription.and_then(|it| it.trunk_at(to, hop));
        let realm = ctx.config.realm_of(request.hop.listener).unwrap_or(found.realm);
        let mut passing = Passing::new(request, realm);
        (passing.to, passing.hops, passing.usage) = (found.realm, [hop].into(), Usage::Within(id, to));
        passing.trunk = trunk;
        let number = ctx.shared.alone.number();
        ctx.try_next(number, passing);
    }

    /// Forgets the subscriptions that nobody has renewed.
    pub(crate) fn end_subscriptions(&mut self, now: Instant) {
        self.shared.alone.subscriptions.close_expired(now);
    }
}

impl Context<'_> {
    /// Why a request of a subscription's dialog goes nowhere.
    fn refuses_subscribed(
        &mut self,
        Request { message, hop, .. }: &Request,
        (id, from): (SubscriptionId, Side),
    ) -> Option<(u16, &'static [(Name, &'static str)])> {
        let realm = self.config.realm_of(hop.listener)?;
        match self.shared.alone.subscriptions.get_mut(id)?.receive(from, realm, message) {
            Ok(()) => None,
            Err(Stray::Unknown) => Some((481, &[])),
            Err(Stray::Method) => Some((405, &[(Name::Allow, ALLOW)])),
            Err(Stray::Old) => Some((500, &[])),
            Err(Stray::Broken(defect)) => Some((defect.status(), &[])),
        }
    }

    /// What a NOTIFY says of how long it will go on.
    fn note_state(&mut self, id: SubscriptionId, message: &Message) {
        let Some(SubscriptionState::Lives { expires }) = message.subscription_state().ok().flatten() else {
            return;
        };
        let is_refer = self.shared.alone.subscriptions.get_mut(id).is_some_and(|it| it.is_refer);
        // Who has referred hears how it ends, however long that takes the telephones.
        let time = expires.or_else(|| is_refer.then_some(SUBSCRIBED_DEFAULT));
        //= RFC 6665 §4.1.3: a NOTIFY may shorten it; only a REFER leaves it to the NOTIFY how long it is.
        if let Some(time) = time {
            self.keep_subscription(id, time, !is_refer);
        }
    }

    fn keep_subscription(&mut self, id: SubscriptionId, time: Duration, shortens: bool) {
        // The last NOTIFY may take as long as a transaction does.
        let time = time.min(SUBSCRIBED_MAX) + self.config.timers.t1_64();
        self.shared.alone.subscriptions.keep(id, self.now, time, shortens);
    }

    /// True if it was to begin a subscription that is over already: its first NOTIFY came before any answer, and was its last.
    pub(super) fn is_subscribed_in_vain(&mut self, passing: &Passing) -> bool {
        let Usage::Begins(id, _) = passing.usage else { return false };
        self.shared.alone.subscriptions.get_mut(id).is_none()
    }

    /// A request of a subscription as it leaves for a hop; `None` if it has to do with none.
    pub(super) fn subscribed_on(&mut self, passing: &Passing, hop: Hop) -> Option<Builder> {
        let message = &passing.request.message;
        let (method, hops) = (message.method(), headers::max_forwards(message));
        let subscriptions = &mut self.shared.alone.subscriptions;
        let (builder, is_sips) = match passing.usage {
            Usage::None => return None,
            Usage::Begins(id, _) => {
                let subscription = subscriptions.get_mut(id)?;
                subscription.trunk = passing.trunk;
                let (asked, found) = &mut subscription.asked;
                found.hop = hop;
                (asked.request_with_hops(method, hops), found.is_sips)
            }
            Usage::Within(id, side) => {
                let (dialog, found, _) = subscriptions.get_mut(id)?.end(self.config, side)?;
                (dialog.request_with_hops(method, hops), found.is_sips)
            }
        };
        let builder = match (&passing.request.refer_to, message.header(Name::ReferTo)) {
            (Some(refer_to), _) => builder.header(Name::ReferTo, refer_to.as_bytes()),
            (None, Some(refer_to)) if *method == Method::Refer => builder.header(Name::ReferTo, refer_to),
            (None, _) => builder,
        };
        Some(self.own_contact(builder, hop, is_sips))
    }

    /// Our Contact towards a hop: where the dialog goes on.
    fn own_contact(&self, builder: Builder, hop: Hop, is_sips: bool) -> Builder {
        match self.config.listener(hop.listener) {
            Some(own) => builder.header_fmt(Name::Contact, format_args!("{}", own.contact("", is_sips))),
            None => builder,
        }
    }

    /// The answer to a request of a subscription: what becomes of that, and how the answer that goes on begins.
    pub(super) fn subscription_answered(&mut self, passing: &Passing, answer: &Message) -> Option<Builder> {
        let Request { message, hop, .. } = &passing.request;
        let status = answer.status();
        let is_sips = Uri::parse(message.request_uri()).is_ok_and(|uri| uri.scheme() == Scheme::Sips);
        let words = String::from_utf8_lossy(answer.reason_phrase()).into_owned();
        let tag = match passing.usage {
            Usage::None => return None,
            Usage::Begins(id, tag) => {
                match (200..300).contains(&status) {
                    true => self.subscription_accepted(id, message, answer),
                    false => self.shared.alone.subscriptions.close(id),
                }
                tag
            }
            Usage::Within(id, side) => {
                self.subscription_goes_on(id, side, message, answer);
                // To has a tag already.
                return (200..300).contains(&status).then(|| {
                    let builder = Builder::response_to(message, status, &words, None);
                    self.own_contact(builder, *hop, is_sips)
                });
            }
        };
        (200..300).contains(&status).then(|| {
            let builder = Builder::response_to(message, status, &words, Some(tag.text().as_str()));
            //= RFC 3261 §12.1.1: a response that makes a dialog copies Record-Route.
            self.own_contact(builder.copy(message, Name::RecordRoute), *hop, is_sips)
        })
    }

    fn subscription_accepted(&mut self, id: SubscriptionId, request: &Message, answer: &Message) {
        if let Some(subscription) = self.shared.alone.subscriptions.get_mut(id) {
            subscription.accepted(answer);
        }
        // A NOTIFY that came first has said it already.
        if self.shared.alone.subscriptions.is_timed(id) {
            return;
        }
        let time = match request.method() {
            //= RFC 3515 §2.4.4: the first NOTIFY comes at once and says how long; none at all if Refer-Sub says so.
            Method::Refer => Duration::ZERO,
            _ => granted(request, answer),
        };
        self.keep_subscription(id, time, false);
    }

    fn subscription_goes_on(&mut self, id: SubscriptionId, side: Side, request: &Message, answer: &Message) {
        let state = request.subscription_state().ok().flatten();
        let is_over = *request.method() == Method::Notify && state == Some(SubscriptionState::Terminated);
        if is_over || is_final(answer.status()) {
            return self.shared.alone.subscriptions.close(id);
        }
        if !(200..300).contains(&answer.status()) {
            return;
        }
        let end = self.shared.alone.subscriptions.get_mut(id).and_then(|it| it.end(self.config, side));
        if let Some((dialog, ..)) = end {
            // A Contact that cannot be read changes nothing.
            let _refreshed = dialog.refresh(answer);
        }
        if *request.method() == Method::Subscribe {
            self.keep_subscription(id, granted(request, answer), false);
        }
    }

    /// Nobody has answered a request of a subscription.
    pub(super) fn subscription_unanswered(&mut self, passing: &Passing) {
        let is_notify = *passing.request.message.method() == Method::Notify;
        match passing.usage {
            Usage::Begins(id, _) => self.shared.alone.subscriptions.close(id),
            //= RFC 6665 §4.2.2: a NOTIFY without an answer ends it; a renewal without one does not (§4.1.2.2).
            Usage::Within(id, _) if is_notify => self.shared.alone.subscriptions.close(id),
            Usage::Within(..) | Usage::None => {}
        }
    }
}

//= RFC 6665 §4.2.1.1: the 2xx says how long, never longer than was asked for.
fn granted(request: &Message, answer: &Message) -> Duration {
    let said = |message: &Message| message.expires().ok().flatten();
    let seconds = said(answer).into_iter().chain(said(request)).min();
    seconds.map_or(SUBSCRIBED_DEFAULT, |seconds| Duration::from_secs(seconds.into()))
}
