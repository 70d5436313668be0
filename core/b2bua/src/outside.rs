//! Requests outside any dialog: INVITEs that make calls, OPTIONS to us, and what we do not take part in.
//! RFC 3261 §8.2, §11.

use std::collections::VecDeque;

use ::admission::Offence;
use machine::{Instant, Outbox};
use midcom::{Failure, MiddleboxId};
use sdp::precondition::Strength;
use sip::dialog::Dialog;
use sip::message::{Builder, Message, Method, Name, Scheme, Uri};

use crate::admission::{self, Filtered, Terms};
use crate::alone;
use crate::b2bua::{B2bua, Service};
use crate::call::{Call, Plan, Request};
use crate::config::{Config, NextHop, RealmId, Registrar, Then};
use crate::context::Context;
use crate::event::{CallId, Event, Sip};
use crate::failure::{Verdict, phrase};
use crate::io::Output;
use crate::ledger::{Crossing, MediaPath};
use crate::leg::body::Body;
use crate::leg::headers;
use crate::leg::session_timer::SessionTimer;
use crate::named::Target;
use crate::precondition::text;
use crate::route::{self, Facts};
use crate::side::{Side, Sides};
use crate::tag::Tag;

/// Where a user is called first, and where then.
type Contacts = (Option<Box<Target>>, VecDeque<Target>);

/// True if an INVITE insists on preconditions and could not be told how far they are.
fn lacks_100rel(invite: &Message) -> bool {
    let Body::Description(description) = Body::of(invite) else { return false };
    text::strength(description) == Some(Strength::Mandatory) && !headers::supports_100rel(invite)
}

/// True if To has a tag: the request is meant for a dialog.
pub(crate) fn has_tag(request: &Message) -> bool {
    request.to().is_ok_and(|to| to.tag().is_some())
}

impl B2bua {
    pub(crate) fn on_outside_request(&mut self, now: Instant, request: Request, out: &mut Outbox<Output>) {
        let Some(request) = self.admit(now, request, out) else { return };
        let from = self.config.realm_of(request.hop.listener);
        match request.message.method() {
            Method::Invite => self.on_call(now, request, out),
            Method::Register if let Some(here) = from.and_then(|from| self.registrar_of(from)) => {
                self.register_here(now, here, request, out);
            }
            method
                if let Some(from) = from.filter(|from| self.is_passed(*from, method, &request.message)) =>
            {
                self.pass(now, from, request, out);
            }
            Method::Options => {
                let mut ctx = self.context(now, out);
                if !ctx.refuses_extension(&request) {
                    let timer = ctx.times_sessions(&request);
                    ctx.answer_alone(&request, 200, &abilities(timer));
                }
            }
            //= RFC 3261 §15.1.2: BYE without a dialog.
            Method::Bye => self.context(now, out).answer_alone(&request, 481, &[]),
            //= RFC 3261 §8.2.1: methods we know, but take no part in outside a call.
            Method::Register
            | Method::Prack
            | Method::Update
            | Method::Info
            | Method::Refer
            | Method::Notify
            | Method::Subscribe
            | Method::Message
            | Method::Publish => {
                let allow = [(Name::Allow, headers::ALLOW_OUTSIDE)];
                self.context(now, out).answer_alone(&request, 405, &allow);
            }
            //= RFC 3261 §21.5.2: a method we do not know.
            Method::Other(_) => self.context(now, out).answer_alone(&request, 501, &[]),
            // The endpoint keeps these to itself.
            Method::Ack | Method::Cancel => {}
        }
    }

    /// True if a request outside calls is passed on: its realm may send such, and OPTIONS are not for us.
    fn is_passed(&self, from: RealmId, method: &Method, request: &Message) -> bool {
        let is_for_us = || {
            let uri = Uri::parse(request.request_uri());
            uri.is_ok_and(|uri| uri.user().is_none() && route::is_us(&self.config, &uri))
        };
        //= RFC 3261 §16.3 step 3: OPTIONS with no hops left are answered.
        let has_hops = || request.max_forwards().ok().flatten() != Some(0);
        self.passes(from, method) && !(*method == Method::Options && (is_for_us() || !has_hops()))
    }

    /// An INVITE that wants to become a call.
    fn on_call(&mut self, now: Instant, request: Request, out: &mut Outbox<Output>) {
        if self.service != Service::Open || self.is_full() {
            let verdict = Verdict::plain(503, "no more calls are taken").later();
            return self.context(now, out).refuse_alone(&request, &verdict);
        }
        if self.context(now, out).refuses_extension(&request) {
            return;
        }
        if lacks_100rel(&request.message) {
            //= RFC 3312 §11: preconditions need 100rel. RFC 3261 §21.4.15: what is missing is named.
            let lines = [(Name::Require, headers::REL100)];
            return self.context(now, out).answer_alone(&request, 421, &lines);
        }
        let plan = match self.plan(now, &request) {
            Ok(plan) => plan,
            Err(verdict) => return self.context(now, out).refuse_alone(&request, &verdict),
        };
        let mut sessions = plan.sessions;
        if let Err(minimum_s) = sessions.a.asked_by_peer(&request.message) {
            //= RFC 4028 §9: the interval is too short.
            let lines = [(Name::MinSe, minimum_s.to_string())];
            let lines = lines.each_ref().map(|(name, value)| (*name, value.as_str()));
            return self.context(now, out).answer_alone(&request, 422, &lines);
        }
        let plan = Plan { sessions, ..plan };
        let request = match plan.terms.filter(&request.message) {
            Filtered::AsItCame => request,
            Filtered::Other(message) => Request { message, ..request },
            Filtered::Nothing(verdict, _) => return self.context(now, out).refuse_alone(&request, &verdict),
        };
        let tag = Tag::mint(self.config.shard, &mut self.shared.rng);
        let uas = match Dialog::uas(&request.message, tag.text().as_str()) {
            Ok(dialog) => dialog,
            Err(defect) => {
                let verdict = Verdict::plain(defect.status(), defect.to_string());
                return self.context(now, out).refuse_alone(&request, &verdict);
            }
        };
        if let Err(verdict) = self.shared.counts.take(now, &self.config.admission, &plan.terms.limiting) {
            return self.context(now, out).refuse_alone(&request, &verdict);
        }
        self.calls_made += 1;
        let id = CallId(self.calls_made);
        let trunk = self.trunk_of_caller(plan.realms.a, &request);
        self.shared.trunks.bind(id, Side::A, trunk, request.hop);
        let call = Call::start(&mut self.context(now, out), id, request, plan, (tag, uas));
        self.calls.insert(id, Box::new(call));
        self.with_call(now, out, id, Call::begin);
    }

    /// True at the limit of calls. Remnants have one of their own, as large.
    fn is_full(&self) -> bool {
        let limit = self.config.limits.calls;
        self.calls.len() - self.remnants >= limit || self.calls.len() >= limit.saturating_mul(2)
    }

    /// Where the call goes and through which middleboxes.
    fn plan(&self, now: Instant, request: &Request) -> Result<Plan, Verdict> {
        let config = &self.config;
        let nowhere = || Verdict::plain(404, "no route leads out of this realm");
        let from = config.realm_of(request.hop.listener).ok_or_else(nowhere)?;
        let replaces = self.replacement(&request.message, from, request.hop.remote.ip());
        let (replaces, target) = replaces.map_or((None, None), |it| (Some(it.value), it.target));
        let target = target.or_else(|| self.registered(&request.message, from));
        let (target, contacts) = match target {
            Some(target) => (Some(Box::new(target)), VecDeque::new()),
            None => self.contacts_by_route(from, request)?,
        };
        let is_sips = Uri::parse(request.message.request_uri()).is_ok_and(|uri| uri.scheme() == Scheme::Sips);
        let (to, mut next_hops, listener) = match target.as_ref() {
            Some(target) => (target.realm, vec![NextHop::from(target.hop)].into(), Some(target.hop.listener)),
            None if self.is_for_name(&request.message, from) => {
                return Err(Verdict::plain(404, alone::NOBODY));
            }
            None => {
                let facts = Facts::of(&request.message, from, request.hop.remote.ip());
                let (to, next_hops) = match route::choose(config, &facts).ok_or_else(nowhere)? {
                    (_, Then::Call { to, next_hops }) => (*to, self.in_order(now, next_hops)),
                    (_, Then::Registered { .. }) => return Err(nowhere()),
                    (number, Then::Refuse { status }) => {
                        return Err(Verdict::plain(*status, format!("route {number} refuses this call")));
                    }
                };
                let next_hops = if is_sips { secured(config, to, next_hops) } else { next_hops };
                let listener = next_hops.front().and_then(|hop| route::listener(config, to, hop));
                (to, next_hops, listener)
            }
        };
        if is_sips && !next_hops.front().is_some_and(|hop| route::protocol(hop).is_secure()) {
            return Err(Verdict::sips_not_allowed());
        }
        let no_listener = || Verdict::plain(500, "no listener towards the next hop");
        let next_hop = next_hops.pop_front().ok_or_else(no_listener)?;
        let listener = listener.ok_or_else(no_listener)?;
        let terms = self.terms(request, (from, to))?;
        let pinholes = |realm| config.realm(realm).map(|realm| realm.pinholes.clone()).ok_or_else(nowhere);
        let path = self.media_path(from, to)?;
        //= RFC 3608 §6.1: it leads to the registrar's proxies, and a trunk is another server.
        let service_route = match target {
            Some(_) => Vec::new(),
            None if next_hop.trunk.is_some() => Vec::new(),
            None => self.service_route(&request.message, (from, request.hop.remote), to),
        };
        let realms = Sides { a: from, b: to };
        let session = |realm| {
            config.realm(realm).map(|realm| SessionTimer::new(realm.policy.session)).ok_or_else(nowhere)
        };
        Ok(Plan {
            sessions: Sides { a: session(from)?, b: session(to)? },
            realms,
            is_sips,
            next_hop,
            next_hops,
            listener,
            path,
            pinholes: Sides { a: pinholes(from)?, b: pinholes(to)? },
            replaces,
            target,
            service_route,
            terms,
            contacts,
        })
    }

    /// How phones of a realm are kept registered, if they are with us.
    fn registrar_of(&self, from: RealmId) -> Option<(RealmId, Registrar)> {
        Some((from, self.config.realm(from)?.registrar?))
    }

    /// Where a call goes that is for a user registered with us: to the first, and then to the others.
    fn contacts_by_route(&self, from: RealmId, request: &Request) -> Result<Contacts, Verdict> {
        let facts = Facts::of(&request.message, from, request.hop.remote.ip());
        let is_for_name = self.is_for_name(&request.message, from);
        let Some((_, Then::Registered { to })) = route::choose(&self.config, &facts).filter(|_| !is_for_name)
        else {
            return Ok((None, VecDeque::new()));
        };
        let mut contacts: VecDeque<Target> = self.reach_user(*to, facts.callee)?.into();
        //= RFC 5630 §5.3: a SIPS URI is reached over TLS or not at all, whichever of its contacts that is.
        if facts.callee.is_some_and(|uri| uri.scheme() == Scheme::Sips) {
            contacts.retain(|contact| contact.hop.protocol.is_secure());
            if contacts.is_empty() {
                return Err(Verdict::sips_not_allowed());
            }
        }
        Ok((contacts.pop_front().map(Box::new), contacts))
    }
}

impl B2bua {
    /// On which terms the call policy lets a call in, or why it does not.
    fn terms(&self, request: &Request, (from, to): (RealmId, RealmId)) -> Result<Box<Terms>, Verdict> {
        let lines = &self.config.admission;
        let facts = Facts::of(&request.message, from, request.hop.remote.ip());
        let decision = admission::decide(lines, &facts, to, self.shared.minute);
        match decision.refusal(lines) {
            Some(verdict) => Err(verdict),
            None => Ok(Box::new(Terms::of(lines, &decision))),
        }
    }

    /// The middleboxes between two realms. One that is away keeps every call out, unless it has a partner that is there.
    fn media_path(&self, from: RealmId, to: RealmId) -> Result<MediaPath, Verdict> {
        let all: Vec<(MiddleboxId, bool)> = self.config.path(from, to).collect();
        let mut path = MediaPath::new();
        for (middlebox, a_inside) in &all {
            let partner = self.config.partner(*middlebox);
            let said = |middlebox| self.shared.agents.capabilities(middlebox);
            let (own, other) = (said(*middlebox), partner.and_then(said));
            let Some(capabilities) = own.or(other) else {
                return Err(Verdict::of_middlebox(&self.config.codes, Failure::NoSession, 0, false));
            };
            // Two that translate would give two outside addresses.
            let partner = partner.filter(|_| !capabilities.nat);
            if own.is_none() && partner.is_none() {
                return Err(Verdict::of_middlebox(&self.config.codes, Failure::NoSession, 0, false));
            }
            let position = |partner| all.iter().position(|(other, _)| *other == partner);
            let partner = partner.and_then(position).and_then(|position| u8::try_from(position).ok());
            let inside = if *a_inside { Side::A } else { Side::B };
            path.push(Crossing { middlebox: *middlebox, inside, capabilities, up: own.is_some(), partner });
        }
        Ok(path)
    }

    /// The next hops of a route, those that have failed lately after the others.
    pub(crate) fn in_order(&self, now: Instant, next_hops: &[NextHop]) -> VecDeque<NextHop> {
        let failed = |next_hop: &NextHop| {
            let place = route::place(next_hop);
            place.is_some_and(|place| {
                let server = (place.protocol, place.address);
                self.shared.health.is_down(server) || self.shared.failures.has(now, server)
            })
        };
        let mut next_hops = next_hops.to_vec();
        next_hops.sort_by_key(failed);
        next_hops.into()
    }
}

/// The next hops that a SIPS URI may be sent to.
pub(crate) fn secured(config: &Config, to: RealmId, next_hops: VecDeque<NextHop>) -> VecDeque<NextHop> {
    let secured = next_hops.into_iter().filter_map(NextHop::secured);
    secured.filter(|next_hop| route::listener(config, to, next_hop).is_some()).collect()
}

/// What an OPTIONS to us is told (RFC 3261 §11.2); `timer` where sessions are timed.
fn abilities(timer: bool) -> [(Name, &'static str); 5] {
    [
        (Name::Allow, headers::ALLOW),
        (Name::Accept, "application/sdp"),
        (Name::AcceptEncoding, "identity"),
        (Name::AcceptLanguage, "en"),
        (Name::Supported, if timer { headers::SUPPORTED_TIMER } else { headers::SUPPORTED }),
    ]
}

impl Context<'_> {
    /// Answers a request that belongs to no call.
    pub(crate) fn answer_alone(&mut self, request: &Request, status: u16, lines: &[(Name, &str)]) {
        let mut builder = self.response_alone(request, status, phrase(status));
        for (name, value) in lines {
            builder = builder.header(*name, value);
        }
        self.send_alone(request, builder, status);
    }

    /// True if sessions in the realm of a request are timed.
    fn times_sessions(&self, request: &Request) -> bool {
        let realm = self.config.realm_of(request.hop.listener).and_then(|realm| self.config.realm(realm));
        realm.is_some_and(|realm| realm.policy.session.interval.is_some())
    }

    /// Answers a request that belongs to no call with 420 if it requires what cannot be had; says whether it did.
    pub(crate) fn refuses_extension(&mut self, request: &Request) -> bool {
        let timer = self.times_sessions(request);
        let unsupported = headers::unsupported(&request.message, timer).collect::<Vec<_>>().join(", ");
        if unsupported.is_empty() {
            return false;
        }
        //= RFC 3261 §8.2.2.3: what is required and cannot be had is named.
        self.answer_alone(request, 420, &[(Name::Unsupported, unsupported.as_str())]);
        true
    }

    /// Refuses a request that belongs to no call, and says why.
    pub(crate) fn refuse_alone(&mut self, request: &Request, verdict: &Verdict) {
        let tag = Tag::mint(self.config.shard, &mut self.shared.rng).text();
        if verdict.code == 404 {
            self.offended_with(request, Offence::Unroutable, &tag);
        }
        let builder =
            Builder::response_to(&request.message, verdict.code, phrase(verdict.code), Some(tag.as_str()));
        let builder = verdict.explain(builder, &self.config.pseudonym);
        self.send_explained(request, builder, verdict.code, verdict.words());
    }

    pub(crate) fn response_alone(&mut self, request: &Request, status: u16, words: &str) -> Builder {
        let tag = Tag::mint(self.config.shard, &mut self.shared.rng).text();
        Builder::response_to(&request.message, status, words, Some(tag.as_str()))
    }

    pub(crate) fn send_alone(&mut self, request: &Request, builder: Builder, status: u16) {
        self.send_explained(request, builder, status, "".into());
    }

    fn send_explained(&mut self, request: &Request, builder: Builder, status: u16, why: Box<str>) {
        let message = Sip::new(request.message.method(), status);
        let target = match message.method {
            Method::Invite => request.message.request_uri().into(),
            _ => "".into(),
        };
        self.event(Event::AnsweredAlone { hop: request.hop, message, target, why });
        self.respond_alone(request.key, builder);
    }
}
