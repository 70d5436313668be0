//! One call: two legs, the rules it needs, and what is under way between them. One verb per file.
//!
//! ```text
//!            Try            Ring, Connect                Confirm
//!   leg A ---------> leg B -------------> leg A (2xx) ------------> leg B (ACK)
//!      \               |  Fail             |                          |
//!       '-- Cancel ----+-------------------+------ Disconnect --------'--> over
//! ```
//!
//! The legs exchange [`signal::Signal`]s, never SIP of their own; a signal that names media addresses is held until
//! the ledger says that its pinholes are confirmed, and later signals of the same direction wait behind it.

mod ack;
mod admitted;
mod answer;
mod behind;
mod bye;
mod cancel;
mod challenged;
mod early;
mod ending;
mod enforce;
mod failure;
mod found;
mod hold;
mod invite;
mod media;
mod offer;
mod out;
mod own;
mod own_nat;
mod own_offer;
mod pinholes;
mod prack;
mod precondition;
mod provisional;
mod redirect;
mod registered;
mod reinvite;
mod relay;
mod reliable;
mod restore;
mod session;
mod signal;
mod start;
pub(crate) mod stray;
mod timeout;
mod undo;
mod update;
mod upkeep;

use machine::{Instant, TimerId};
use midcom::{MiddleboxId, Prid};
use sip::dialog::Dialog;
use sip::endpoint::{ClientFailure, ClientKey, ServerKey};
use sip::message::{Builder, Message, Method, Name, Replaces};
use sip::transport::Hop;

use crate::admission::Terms;
use crate::config::{Config, RealmId};
use crate::context::{Context, Recipient};
use crate::event::{CallId, Event, Sip};
use crate::info::{CallDetail, CallInfo, CallState, LegInfo};
use crate::ledger::{Ledger, RuleInfo};
use crate::leg::Leg;
use crate::leg::session_id::SessionId;
use crate::named::OtherLeg;
use crate::side::{Side, Sides};

use behind::Behind;
use ending::Ending;
use hold::Hold;
use invite::Invite;
use own::OwnRequest;
use relay::Exchange;

pub(crate) use early::Pair;
pub(crate) use ending::Cut;
pub(crate) use out::without_tag;
pub(crate) use start::Plan;

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) id: CallId,
    legs: Sides<Leg>,
    ledger: Ledger,
    ledger_timer: Option<TimerId>,
    /// The rules that middleboxes have confirmed, so that their events find the call.
    rules: Vec<(MiddleboxId, Prid)>,
    session_id: SessionId,
    /// The INVITE under way: the first, or one inside the call; at most one (RFC 3261 §14).
    invite: Option<Box<Invite>>,
    hold: Hold,
    /// Other requests under way inside the call.
    exchanges: Vec<Exchange>,
    /// So many were begun: a number is never used again, because a held signal may still name it.
    exchanges_made: u32,
    /// Requests of our own under way.
    own: Vec<OwnRequest>,
    ending: Option<Box<Ending>>,
    /// INVITEs that were cancelled because somebody else is called instead.
    behind: Vec<Behind>,
    from: Box<str>,
    to: Box<str>,
    started: Instant,
    established: Option<Instant>,
    /// What the peers are still to be told about media.
    owed: Option<Box<own_offer::Owed>>,
    /// What is known of its media, where a call without any is to end.
    media: Option<Box<media::Watch>>,
    /// The terms on which it was let in.
    terms: Box<Terms>,
    /// Runs until it has lasted as long as it may.
    longest: Option<TimerId>,
}

/// A request as it arrived.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) key: ServerKey,
    pub(crate) hop: Hop,
    pub(crate) message: Message,
    /// Refer-To as it goes on, if not as it came.
    pub(crate) refer_to: Option<Box<str>>,
}

impl Call {
    pub(super) fn to(&self, side: Side) -> Recipient {
        Recipient { call: self.id, side }
    }

    pub(super) fn received(&self, ctx: &mut Context<'_>, side: Side, message: &Message) {
        ctx.event(Event::Received { call: self.id, side, message: Sip::of(message) });
    }

    /// A request inside the call, with a tag of ours.
    pub(crate) fn on_request(&mut self, ctx: &mut Context<'_>, from: Side, request: Request) {
        self.received(ctx, from, &request.message);
        let realm = ctx.config.realm_of(request.hop.listener);
        let pair = self.pair_of_request(from, &request.message);
        let Some(pair) = pair.filter(|_| realm == Some(self.legs[from].realm)) else {
            //= RFC 3261 §12.2.2: no such dialog. Nor is there one for the other side of the border.
            return self.refuse_request(ctx, from, &request, 481, &[]);
        };
        // The peer may have opened another connection.
        self.legs[from].hop = request.hop;
        self.session_id.learn(from, &request.message, &mut ctx.shared.rng);
        if let Some(dialog) = self.dialog_mut(from, pair)
            && let Err(disorder) = dialog.receive(&request.message)
        {
            return self.refuse_request(ctx, from, &request, disorder.status(), &[]);
        }
        let Some(request) = self.admit_request(ctx, from, request) else { return };
        match request.message.method() {
            Method::Bye => self.on_bye(ctx, (from, pair), request),
            Method::Invite => self.on_reinvite(ctx, (from, pair), request),
            Method::Ack
            | Method::Cancel
            | Method::Options
            | Method::Register
            | Method::Prack
            | Method::Update
            | Method::Info
            | Method::Refer
            | Method::Notify
            | Method::Subscribe
            | Method::Message
            | Method::Publish
            | Method::Other(_) => self.on_other_request(ctx, (from, pair), request),
        }
    }

    /// A response to a request of ours.
    pub(crate) fn on_response(&mut self, ctx: &mut Context<'_>, key: ClientKey, message: Message) {
        let message = self.admitted(message);
        if self.invite.as_ref().is_some_and(|invite| invite.client.key() == Some(key)) {
            return self.on_invite_response(ctx, key, message);
        }
        if self.is_behind(key) {
            return self.on_response_behind(ctx, key, &message);
        }
        if let Some(from) = self.bye_side(key) {
            self.received(ctx, from, &message);
            return self.on_bye_response(ctx, from, Some(message));
        }
        if self.owns(key) {
            return self.on_own_response(ctx, key, message);
        }
        if let Some(number) = self.exchange_of(key) {
            self.on_exchange_response(ctx, number, message);
        }
    }

    /// A request of ours got no final response.
    pub(crate) fn on_client_failed(&mut self, ctx: &mut Context<'_>, key: ClientKey, why: ClientFailure) {
        if self.invite.as_ref().is_some_and(|invite| invite.client.key() == Some(key)) {
            return self.on_invite_unanswered(ctx, why);
        }
        if self.is_behind(key) {
            return self.drop_behind(key);
        }
        if let Some(side) = self.bye_side(key) {
            return self.on_bye_response(ctx, side, None);
        }
        if self.owns(key) {
            return self.on_own_outcome(ctx, key, Err(why));
        }
        if let Some(number) = self.exchange_of(key) {
            self.on_exchange_unanswered(ctx, number, why);
        }
    }

    /// A final response of ours, without a body.
    pub(super) fn refuse_request(
        &mut self,
        ctx: &mut Context<'_>,
        side: Side,
        request: &Request,
        status: u16,
        lines: &[(Name, &str)],
    ) {
        let mut builder = self.response_in(side, &request.message, status);
        for (name, value) in lines {
            builder = builder.header(*name, value);
        }
        let sip = Sip::new(request.message.method(), status);
        ctx.respond(self.to(side), request.key, builder, sip);
    }

    /// The start of a response of our own.
    pub(super) fn response_in(&self, side: Side, request: &Message, status: u16) -> Builder {
        let (tag, phrase) = (self.legs[side].tag.text(), crate::failure::phrase(status));
        let builder = Builder::response_to(request, status, phrase, Some(tag.as_str()));
        self.session_id.write(builder, side)
    }

    /// True if nothing of the call is left.
    pub(crate) fn is_over(&self) -> bool {
        self.is_finished() && self.ledger.is_closed()
    }

    /// True if all that is left of the call are requests for rules that nobody answered: it waits until those must have
    /// ended, and takes nobody's place.
    pub(crate) fn is_remnant(&self) -> bool {
        self.is_finished() && self.ledger.is_unknown()
    }

    fn is_finished(&self) -> bool {
        self.ending.as_ref().is_some_and(|ending| ending.is_over()) && self.invite.is_none()
    }

    /// Gives back what the machine's tables hold of it.
    pub(crate) fn forget(&mut self, ctx: &mut Context<'_>) {
        for side in [Side::A, Side::B] {
            ctx.shared.tags.remove(&self.legs[side].tag);
        }
        ctx.shared.forget_rules(self.id, self.rules.drain(..));
        self.forget_behind(ctx);
        ctx.shared.trunks.forget(self.id);
        ctx.stop(&mut self.ledger_timer);
        ctx.event(Event::Ended { call: self.id });
    }

    /// The realms of a side and of the other.
    pub(crate) fn realms(&self, side: Side) -> (RealmId, RealmId) {
        (self.legs[side].realm, self.legs[side.other()].realm)
    }

    /// The other leg, if `replaces` names a dialog of `side`.
    pub(crate) fn other_leg(
        &self,
        config: &Config,
        side: Side,
        replaces: &Replaces<'_>,
    ) -> Option<OtherLeg<'_>> {
        let named = (replaces.call_id, replaces.to_tag, replaces.from_tag);
        let is_named = |dialog: &Dialog| (dialog.call_id(), dialog.local_tag(), dialog.remote_tag()) == named;
        let pair = self.pair_where(side, is_named).filter(|_| self.ending.is_none())?;
        let dialog = self.dialog(side.other(), pair)?;
        let ((named_in, realm), hop) = (self.realms(side), self.legs[side.other()].hop_of(config, dialog));
        Some(OtherLeg { named_in, realm, dialog, hop })
    }

    pub(crate) fn info(&self) -> CallInfo {
        let state = match (&self.ending, self.established) {
            (Some(_), _) => CallState::Ending,
            (None, Some(_)) => CallState::Established,
            (None, None) => CallState::SettingUp,
        };
        CallInfo {
            id: self.id,
            state,
            realms: Sides { a: self.legs.a.realm, b: self.legs.b.realm },
            from: self.from.to_string(),
            to: self.to.to_string(),
            started: self.started,
            established: self.established,
            open_rules: self.ledger.open_rules(),
        }
    }

    pub(crate) fn rules(&self) -> impl Iterator<Item = RuleInfo> {
        self.ledger.rules()
    }

    pub(crate) fn detail(&self) -> CallDetail {
        let leg = |leg: &Leg| {
            leg.dialog.as_ref().map(|dialog| LegInfo { call_id: dialog.call_id().to_owned(), hop: leg.hop })
        };
        CallDetail {
            info: self.info(),
            legs: Sides { a: leg(&self.legs.a), b: leg(&self.legs.b) },
            rules: self.ledger.rules().collect(),
        }
    }
}
