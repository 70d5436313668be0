//! Phones that register with us: a registrar for a site without one. RFC 3261 §10.3, RFC 3327 §5.3.
//!
//! ```text
//!  REGISTER --too short: 423, out of order: 500, no room: 403, 503--> nothing changes
//!           --200 with all contacts of the user--> each until its time is over, or it is taken back
//! ```
//!
//! The book is that of phones that register through us, in which the registrar's realm is the phone's own. A user is known by the
//! user part of its address-of-record: every name of this host is ours.

use std::cmp::Reverse;

use machine::{Instant, Outbox};
use sip::message::{Message, Name, Uri};

use super::Passing;
use super::register::is_star;
use super::registrations::Binding;
use crate::b2bua::{B2bua, Service};
use crate::call::Request;
use crate::config::{RealmId, Registrar};
use crate::context::Context;
use crate::failure::{Verdict, phrase};
use crate::io::Output;
use crate::named::Target;

/// What a binding of our own has besides.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    //= RFC 3261 §10.3 step 7: by these it is known which of two requests came first.
    pub(crate) call_id: Box<str>,
    pub(crate) cseq: u32,
    /// How much it is preferred, in thousandths.
    pub(crate) q: u16,
}

/// Why a REGISTER is refused.
enum Refusal {
    TooBrief(u32),
    Verdict(Verdict),
}

impl From<Verdict> for Refusal {
    fn from(verdict: Verdict) -> Self {
        Self::Verdict(verdict)
    }
}

impl B2bua {
    /// A REGISTER of a realm whose phones register with us.
    pub(crate) fn register_here(
        &mut self,
        now: Instant,
        (from, registrar): (RealmId, Registrar),
        request: Request,
        out: &mut Outbox<Output>,
    ) {
        if self.context(now, out).refuses_extension(&request) {
            return;
        }
        if self.service != Service::Open {
            let verdict = Verdict::plain(503, "service is being stopped").later();
            return self.context(now, out).refuse_alone(&request, &verdict);
        }
        let mut passing = Passing::new(request, from);
        match self.is_acceptable(&mut passing, registrar) {
            Ok(()) => self.context(now, out).keep(&passing, registrar),
            Err(Refusal::Verdict(verdict)) => {
                self.context(now, out).refuse_alone(&passing.request, &verdict);
            }
            Err(Refusal::TooBrief(min_s)) => {
                //= RFC 3261 §10.3 step 7: 423 names the shortest time.
                let least = min_s.to_string();
                self.context(now, out).answer_alone(&passing.request, 423, &[(Name::MinExpires, &least)]);
            }
        }
    }

    fn is_acceptable(&mut self, passing: &mut Passing, registrar: Registrar) -> Result<(), Refusal> {
        passing.asked = self.ask_for_bindings(passing)?;
        let message = &passing.request.message;
        let user = user_of(message);
        if user.is_empty() || (!self.config.users.is_empty() && !self.config.users.has(&user)) {
            //= RFC 3261 §10.3 step 5: an address-of-record that is not ours.
            return Err(Verdict::plain(404, "there is no such user").into());
        }
        let too_brief = |asked: &super::register::Asked| {
            asked.expires_s.is_some_and(|expires_s| (1..registrar.min_s).contains(&expires_s))
        };
        if passing.asked.iter().any(too_brief) {
            return Err(Refusal::TooBrief(registrar.min_s));
        }
        let (call_id, cseq) = order_of(message);
        let registrations = &self.shared.alone.registrations;
        let touched = match is_star(message) {
            true => registrations.names_of(passing.from, &user),
            false => passing.asked.iter().map(super::register::Asked::name).collect(),
        };
        let is_late = |binding: &Binding| {
            let kept = binding.kept.as_ref();
            kept.is_some_and(|kept| *kept.call_id == *call_id && kept.cseq >= cseq)
        };
        //= RFC 3261 §10.3 step 6, step 7: all or nothing.
        if touched.into_iter().filter_map(|name| registrations.get(name)).any(is_late) {
            return Err(Verdict::plain(500, "a later REGISTER has come before").into());
        }
        Ok(())
    }

    /// The contacts at which a user is registered with us in a realm, the preferred ones first, of equal ones the last registered.
    pub(crate) fn contacts_of(&self, realm: RealmId, user: &str) -> Vec<Target> {
        let registrations = &self.shared.alone.registrations;
        let names = registrations.names_of(realm, &canonical(user));
        let mut bindings: Vec<&Binding> =
            names.into_iter().filter_map(|name| registrations.get(name)).collect();
        bindings.retain(|binding| binding.registrar == realm);
        let q = |binding: &Binding| binding.kept.as_ref().map_or(Q_MOST, |kept| kept.q);
        bindings.sort_by_key(|binding| Reverse((q(binding), binding.expires)));
        bindings.into_iter().map(|binding| binding.reach.clone()).collect()
    }

    /// Where a call for a user goes that registers with us.
    //= RFC 3261 §16.5: 404 for whom we do not know, 480 for who is nowhere.
    pub(crate) fn reach_user(&self, realm: RealmId, callee: Option<Uri<'_>>) -> Result<Vec<Target>, Verdict> {
        let user = callee.and_then(|uri| uri.user()).unwrap_or_default();
        let contacts = self.contacts_of(realm, user);
        if !contacts.is_empty() {
            return Ok(contacts);
        }
        match self.config.users.has(user) {
            true => Err(Verdict::plain(480, "not registered")),
            false => Err(Verdict::plain(404, "there is no such user")),
        }
    }
}

impl Context<'_> {
    /// The contacts are kept, and the phone is told of all of its user.
    fn keep(&mut self, passing: &Passing, registrar: Registrar) {
        let message = &passing.request.message;
        let user = user_of(message);
        if is_star(message) {
            for name in self.shared.alone.registrations.names_of(passing.from, &user) {
                self.forget_registration(name);
            }
        }
        let (call_id, cseq) = order_of(message);
        for asked in &passing.asked {
            let granted = asked.expires_s.map_or(registrar.max_s, |expires_s| expires_s.min(registrar.max_s));
            let kept = Kept { call_id: call_id.clone(), cseq, q: asked.q() };
            self.register((passing, asked), granted, (None, Some(kept)));
        }
        let mut builder = self.response_alone(&passing.request, 200, phrase(200));
        let registrations = &self.shared.alone.registrations;
        //= RFC 3261 §10.3 step 8: all current bindings, each with its time.
        for binding in
            registrations.names_of(passing.from, &user).into_iter().filter_map(|name| registrations.get(name))
        {
            let lives_s = binding.expires.since(self.now).as_secs();
            let q = binding.kept.as_ref().map_or(Q_MOST, |kept| kept.q);
            let uri = &binding.reach.uri;
            builder = match q {
                Q_MOST => builder.header_fmt(Name::Contact, format_args!("<{uri}>;expires={lives_s}")),
                _ => builder.header_fmt(Name::Contact, format_args!("<{uri}>;expires={lives_s};q=0.{q:03}")),
            };
        }
        //= RFC 3327 §5.3: Path is told to who has sent it.
        let builder =
            message.values(Name::Path).fold(builder, |builder, path| builder.header(Name::Path, path));
        self.send_alone(&passing.request, builder, 200);
    }
}

/// What a contact without `q` is preferred by: 1.
pub(super) const Q_MOST: u16 = 1_000;

fn order_of(message: &Message) -> (Box<str>, u32) {
    let number = message.cseq().map_or(0, |cseq| cseq.number);
    (message.call_id().unwrap_or_default().into(), number)
}

/// The user of To, without what belongs to a telephone number.
pub(super) fn user_of(message: &Message) -> Box<str> {
    let uri = message.to().ok().and_then(|to| Uri::parse(to.uri()).ok());
    canonical(uri.and_then(|uri| uri.user()).unwrap_or_default()).into()
}

fn canonical(user: &str) -> std::borrow::Cow<'_, str> {
    crate::user::canonical(user)
}
