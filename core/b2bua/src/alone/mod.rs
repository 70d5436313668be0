//! Requests that belong to no call and are passed on: REGISTER, and what a realm may send besides (`pass`).
//!
//! ```text
//!  Looking --name found--> Asked --final response--> goes back        no place, unreachable, 503: the next place
//!                                  silence: 504, and the next request goes to the others first
//! ```
//!
//! Each is one transaction on either side (RFC 3261 §16 would call it stateful), with Call-IDs that tell nothing of the
//! other side's hosts.

mod contact;
mod refresh;
mod register;
pub(crate) mod registrar;
pub(crate) mod registrations;
mod service_route;
mod subscribe;
mod subscription;

use std::collections::{BTreeMap, VecDeque};
use std::hash::BuildHasher;

use machine::map::Seeded;
use machine::onlooker::Onlooker;
use machine::{Instant, Outbox, Rng};
use sip::endpoint::{ClientFailure, ClientKey};
use sip::locate::Place;
use sip::message::{Builder, CSeq, Message, Method, Name, Scheme};
use sip::transport::Hop;

use self::register::Asked;
use self::registrations::Registrations;
use self::subscribe::{Usage, subscribes};
use self::subscription::Subscriptions;
use crate::b2bua::{B2bua, Service};
use crate::call::Request;
use crate::config::{Host, NextHop, RealmId, Then};
use crate::context::{Context, Shared};
use crate::failure::{Verdict, phrase};
use crate::io::Output;
use crate::leg::body::Body;
use crate::leg::carried::Carried;
use crate::leg::headers;
use crate::named::Target;
use crate::outside::secured;
use crate::route::{self, Facts};
use crate::side::Side;
use crate::tag::call_id;
use crate::trunk::config::TrunkId;

/// What is said of a name of ours that nobody has any more.
pub(crate) const NOBODY: &str = "nobody is registered by this name any more";

/// A request being passed on, numbered from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct AloneId(u64);

/// Everything outside calls that is passed on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Alone {
    pub(crate) registrations: Registrations,
    pub(crate) subscriptions: Subscriptions,
    open: BTreeMap<AloneId, Passing>,
    clients: BTreeMap<ClientKey, AloneId>,
    /// Turns Call-IDs into others; made with the first.
    disguise: Option<[Seeded; 2]>,
    made: u64,
}

/// One of them.
#[derive(Debug, Clone)]
struct Passing {
    request: Request,
    from: RealmId,
    to: RealmId,
    /// Places that have not been tried.
    hops: VecDeque<Hop>,
    /// Next hops that have not been looked up.
    next_hops: VecDeque<NextHop>,
    /// The trunk that the places are of.
    trunk: Option<TrunkId>,
    /// Where it was sent last.
    at: Option<Hop>,
    /// The name that is being looked up.
    looked_up: Option<Box<str>>,
    /// Whom it is for; `None`: whom the sender wrote.
    target: Option<Target>,
    /// What a REGISTER asks for.
    asked: Vec<Asked>,
    /// Route as the sender's registrar wants it.
    service_route: Vec<Box<[u8]>>,
    usage: Usage,
}

impl Alone {
    /// How many requests are being passed on.
    pub(crate) fn len(&self) -> usize {
        self.open.len()
    }

    fn number(&mut self) -> AloneId {
        self.made += 1;
        AloneId(self.made)
    }

    /// When something is to be forgotten, and what.
    pub(crate) fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        let registration = self.registrations.next_timeout().map(|at| (at, "registration expires"));
        let subscription = self.subscriptions.next_timeout().map(|at| (at, "subscription expires"));
        [registration, subscription].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// True if a transaction passes a request on.
    pub(crate) fn is_open(&self, key: ClientKey) -> bool {
        self.clients.contains_key(&key)
    }

    /// The number of a request that is sent again with credentials.
    //= RFC 3261 §22.2: one higher.
    pub(crate) fn next_cseq(&mut self, key: ClientKey, request: &Message) -> Option<u32> {
        let passing = self.open.get(self.clients.get(&key)?)?;
        let (id, side) = match passing.usage {
            Usage::None => return request.cseq().ok()?.number.checked_add(1),
            Usage::Begins(id, _) => (id, Side::B),
            Usage::Within(id, side) => (id, side),
        };
        self.subscriptions.get_mut(id)?.next_cseq(side)
    }

    /// The request was sent again, by another transaction.
    pub(crate) fn rename(&mut self, key: ClientKey, new: ClientKey) {
        if let Some(id) = self.clients.remove(&key) {
            self.clients.insert(new, id);
        }
    }

    /// Takes out what a transaction belongs to.
    fn take(&mut self, key: ClientKey) -> Option<(AloneId, Passing)> {
        let id = self.clients.remove(&key)?;
        Some((id, self.open.remove(&id)?))
    }

    /// The same name for the same Call-ID, as long as this process lives: a registrar tells the requests of one phone by it.
    //= RFC 3261 §10.2.4: all registrations from one phone have one Call-ID.
    fn disguised(&mut self, rng: &mut Rng, call_id: &str) -> String {
        let hashers = self.disguise.get_or_insert_with(|| [Seeded::new(rng), Seeded::new(rng)]);
        let [first, second] = hashers.each_ref().map(|hasher| hasher.hash_one(call_id));
        format!("{first:016x}{second:016x}")
    }

    pub(crate) fn show(&self, onlooker: &mut dyn Onlooker) {
        let Self { registrations, subscriptions, open, clients, disguise: _, made: _ } = self;
        registrations.show(onlooker);
        subscriptions.show(onlooker);
        onlooker.see(open);
        onlooker.see(clients);
    }
}

impl B2bua {
    /// True if a realm may send requests with this method outside calls.
    pub(crate) fn passes(&self, from: RealmId, method: &Method) -> bool {
        self.config.realm(from).is_some_and(|realm| realm.pass.contains(method))
    }

    /// A request outside calls that its realm may send.
    pub(crate) fn pass(&mut self, now: Instant, from: RealmId, request: Request, out: &mut Outbox<Output>) {
        if self.context(now, out).refuses_extension(&request) {
            return;
        }
        if self.service != Service::Open {
            let verdict = Verdict::plain(503, "service is being stopped").later();
            return self.context(now, out).refuse_alone(&request, &verdict);
        }
        if self.shared.alone.len() >= self.config.limits.alone {
            let verdict = Verdict::plain(503, "too many requests are being passed on").later();
            return self.context(now, out).refuse_alone(&request, &verdict);
        }
        let mut passing = Passing::new(request, from);
        match self.plan_alone(now, &mut passing) {
            Ok(()) if self.answer_refresh(now, &passing, out) => {}
            Ok(()) => {
                let id = self.shared.alone.number();
                self.context(now, out).try_next(id, passing);
            }
            Err(verdict) => self.context(now, out).refuse_alone(&passing.request, &verdict),
        }
    }

    /// Where it goes: to the phone that a name of ours stands for, or by route.
    fn plan_alone(&mut self, now: Instant, passing: &mut Passing) -> Result<(), Verdict> {
        let message = &passing.request.message;
        let registers = *message.method() == Method::Register;
        let reach = if registers { None } else { self.registered(message, passing.from) };
        if reach.is_none() && !registers && self.is_for_name(message, passing.from) {
            return Err(Verdict::plain(404, NOBODY));
        }
        match reach {
            Some(reach) => {
                (passing.to, passing.hops) = (reach.realm, [reach.hop].into());
                passing.target = Some(reach);
            }
            None => self.plan_by_route(now, passing)?,
        }
        //= RFC 3608 §6.1: it leads to the registrar's proxies, and a trunk is another server.
        let is_trunk = passing.next_hops.iter().any(|hop| hop.trunk.is_some());
        if !registers && passing.target.is_none() && !is_trunk {
            let Request { message, hop, .. } = &passing.request;
            passing.service_route = self.service_route(message, (passing.from, hop.remote), passing.to);
        }
        if registers {
            passing.asked = self.ask_for_bindings(passing)?;
        }
        if subscribes(passing.request.message.method()) {
            self.subscribe(passing)?;
        }
        Ok(())
    }

    fn plan_by_route(&self, now: Instant, passing: &mut Passing) -> Result<(), Verdict> {
        let message = &passing.request.message;
        let facts = Facts::of(message, passing.from, passing.request.hop.remote.ip());
        match route::choose(&self.config, &facts) {
            Some((_, Then::Call { to, next_hops })) => {
                let is_sips = facts.callee.is_some_and(|uri| uri.scheme() == Scheme::Sips);
                let next_hops = self.in_order(now, next_hops);
                passing.next_hops = if is_sips { secured(&self.config, *to, next_hops) } else { next_hops };
                passing.to = *to;
            }
            Some((_, Then::Registered { to })) => {
                let contacts = self.reach_user(*to, facts.callee)?;
                let Some(first) = contacts.into_iter().next() else {
                    return Err(Verdict::plain(480, "not registered"));
                };
                (passing.to, passing.hops) = (first.realm, [first.hop].into());
                passing.target = Some(first);
            }
            Some((number, Then::Refuse { status })) => {
                return Err(Verdict::plain(*status, format!("route {number} refuses this")));
            }
            None => return Err(Verdict::plain(404, "no route leads out of this realm")),
        }
        Ok(())
    }

    /// The answer of the name service to a request that is being passed on.
    pub(crate) fn on_alone_resolved(
        &mut self,
        now: Instant,
        id: AloneId,
        places: &[Place],
        out: &mut Outbox<Output>,
    ) {
        let Some(mut passing) = self.shared.alone.open.remove(&id) else { return };
        let is_secure = places.iter().any(|place| place.protocol.is_secure());
        let name = passing.looked_up.take().filter(|_| is_secure);
        let name = name.and_then(|name| self.shared.names.id(&name));
        let hops = route::hops(&self.config, passing.to, places, name);
        passing.hops = self.shared.failures.last(now, hops).into();
        self.context(now, out).try_next(id, passing);
    }

    /// A response; false if it is to no request of this kind.
    pub(crate) fn on_alone_response(
        &mut self,
        now: Instant,
        key: ClientKey,
        message: &Message,
        out: &mut Outbox<Output>,
    ) -> bool {
        if !self.shared.alone.clients.contains_key(&key) {
            return false;
        }
        //= RFC 4320 §4.1: provisional responses to anything but INVITE are not worth relaying.
        if message.status() < 200 {
            return true;
        }
        let Some((id, passing)) = self.shared.alone.take(key) else { return true };
        let mut ctx = self.context(now, out);
        if message.status() == 503 {
            ctx.note_failed(&passing);
        }
        if message.status() == 503 && passing.has_more() {
            ctx.try_next(id, passing);
        } else {
            ctx.answer_passing(passing, message);
        }
        true
    }

    /// Nobody answered, or it could not be delivered; false if it is no request of this kind.
    pub(crate) fn on_alone_failed(
        &mut self,
        now: Instant,
        key: ClientKey,
        why: ClientFailure,
        out: &mut Outbox<Output>,
    ) -> bool {
        let Some((id, passing)) = self.shared.alone.take(key) else { return false };
        let mut ctx = self.context(now, out);
        ctx.note_failed(&passing);
        //= RFC 4320 §4.2: never 408 to anything but INVITE. Who has waited so long has given up by itself.
        match why {
            ClientFailure::Timeout => ctx.give_up(&passing, &Verdict::plain(504, "no answer from there")),
            ClientFailure::Transport => ctx.try_next(id, passing),
        }
        true
    }
}

impl Passing {
    fn new(request: Request, from: RealmId) -> Self {
        Self {
            request,
            from,
            to: from,
            hops: VecDeque::new(),
            next_hops: VecDeque::new(),
            trunk: None,
            at: None,
            looked_up: None,
            target: None,
            asked: Vec::new(),
            service_route: Vec::new(),
            usage: Usage::None,
        }
    }

    /// The trunk whose challenges are answered.
    // Never those to a REGISTER: it would rule over where the trunk's own calls go. A phone has a password of its own for it.
    fn trunk_that_asks(&self) -> Option<TrunkId> {
        self.trunk.filter(|_| *self.request.message.method() != Method::Register)
    }

    /// What goes into Route.
    fn routes(&self) -> &[Box<[u8]>] {
        self.target.as_ref().map_or(&self.service_route, |reach| &reach.path)
    }

    /// True if a route has said where it goes.
    fn is_routed(&self) -> bool {
        self.target.is_none() && !matches!(self.usage, Usage::Within(..))
    }

    fn has_more(&self) -> bool {
        !self.hops.is_empty() || !self.next_hops.is_empty()
    }
}

impl Context<'_> {
    /// Sends it to the next place there is, or looks for one.
    fn try_next(&mut self, id: AloneId, mut passing: Passing) {
        loop {
            if let Some(hop) = passing.hops.pop_front() {
                return self.send_passing(id, passing, hop);
            }
            let Some(next_hop) = passing.next_hops.pop_front() else {
                let verdict = Verdict::plain(502, "no next hop could be reached");
                return self.give_up(&passing, &verdict);
            };
            passing.trunk = next_hop.trunk;
            let Host::Name(name) = &next_hop.host else {
                let listener = route::listener(self.config, passing.to, &next_hop);
                passing.hops.extend(listener.and_then(|listener| route::hop(&next_hop, listener)));
                continue;
            };
            if !self.resolve_alone(id, passing.to, &next_hop, name) {
                let verdict = Verdict::plain(500, "too many names are being looked up").later();
                return self.give_up(&passing, &verdict);
            }
            passing.looked_up = Some(name.as_str().into());
            self.shared.alone.open.insert(id, passing);
            return;
        }
    }

    /// Nobody has answered it.
    fn give_up(&mut self, passing: &Passing, verdict: &Verdict) {
        self.subscription_unanswered(passing);
        self.refuse_alone(&passing.request, verdict);
    }

    /// Where it was sent last did not work: for a while the others of its route come first.
    fn note_failed(&mut self, passing: &Passing) {
        if let Some(hop) = passing.at.filter(|_| passing.is_routed()) {
            self.shared.failures.note(self.now, hop);
        }
    }

    fn send_passing(&mut self, id: AloneId, mut passing: Passing, hop: Hop) {
        if self.is_subscribed_in_vain(&passing) {
            return self.give_up(&passing, &Verdict::plain(500, "the subscription is over"));
        }
        passing.at = Some(hop);
        let message = &passing.request.message;
        let builder = self.passed_on(&passing, hop);
        let builder = match Body::of(message) {
            Body::None => Carried::new(message).relay(builder, true),
            Body::Opaque(bytes) => Carried::new(message).relay(builder, true).body("", bytes),
            // Nothing is opened for it.
            Body::Description(_) | Body::Hidden => Carried::new(message).relay(builder, false),
        };
        let key = self.forward_alone(passing.trunk_that_asks(), passing.request.key, hop, builder);
        self.shared.alone.clients.insert(key, id);
        self.shared.alone.open.insert(id, passing);
    }

    /// What the request has of its own on the other side.
    fn passed_on(&mut self, passing: &Passing, hop: Hop) -> Builder {
        if let Some(builder) = self.subscribed_on(passing, hop) {
            return builder;
        }
        let message = &passing.request.message;
        let method = message.method();
        let uri = match &passing.target {
            Some(reach) => &*reach.uri,
            // The credentials in a REGISTER name it.
            None => message.request_uri(),
        };
        let hops = headers::max_forwards(message);
        let mut builder = Builder::request(method, uri).header_fmt(Name::MaxForwards, format_args!("{hops}"));
        for route in passing.routes() {
            builder = builder.header(Name::Route, &**route);
        }
        let text = |name| message.header(name).unwrap_or_default();
        let number = message.cseq().map_or(1, |cseq| cseq.number);
        let Shared { alone, rng, .. } = &mut *self.shared;
        let call_id = match passing.trunk_that_asks() {
            // It may be sent again with a higher number, which would be that of the phone's next one.
            Some(_) => call_id(self.config.shard, rng),
            None => alone.disguised(rng, message.call_id().unwrap_or_default()),
        };
        builder = builder
            .header(Name::From, text(Name::From))
            .header(Name::To, text(Name::To))
            .header(Name::CallId, call_id)
            .header_fmt(Name::CSeq, format_args!("{}", CSeq { number, method: method.clone() }));
        match method {
            Method::Register => self.own_contacts(builder, passing, hop),
            //= RFC 3428 §4: a MESSAGE has no Contact. RFC 3903 §4: nor needs a PUBLISH one.
            Method::Message | Method::Publish => builder,
            _ => match self.config.listener(hop.listener) {
                Some(own) => builder.header_fmt(Name::Contact, format_args!("{}", own.contact("", false))),
                None => builder,
            },
        }
    }

    /// The final response goes back.
    fn answer_passing(&mut self, passing: Passing, message: &Message) {
        let carried = Carried::new(message);
        let (status, words) = match carried.status() {
            //= RFC 3261 §16.7 step 6: 503 says something of the next hop, not of us.
            (503, _) => (500, phrase(500).to_owned()),
            other => other,
        };
        let builder = self.subscription_answered(&passing, message);
        let mut builder = builder.unwrap_or_else(|| self.response_alone(&passing.request, status, &words));
        if *passing.request.message.method() == Method::Register && status < 300 {
            builder = self.register_answered(builder, &passing, message);
        }
        let body = match Body::of(message) {
            Body::Opaque(bytes) => Some(bytes),
            Body::None | Body::Description(_) | Body::Hidden => None,
        };
        let builder = carried.relay(builder, body.is_some());
        let builder = body.into_iter().fold(builder, |builder, bytes| builder.body("", bytes));
        self.send_alone(&passing.request, builder, status);
    }
}
