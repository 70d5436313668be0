//! The machine. It only dispatches: SIP events to the call or out of any, middlebox events through the table of
//! agents to the ledgers, timers to whoever set them.

use admission::Offence;
use machine::map::{Map, Seeded};
use machine::onlooker::{Onlooker, see_map};
use machine::{Instant, Machine, Outbox, Rng};
use midcom::{AgentEvent, Failure, MiddleboxId, Notification, Prid, Reply, RequestId};
use sip::endpoint::{self, ClientKey, Endpoint, Incoming};
use sip::locate::Place;
use sip::message::{Message, Method};
use sip::transaction::TimerValues;
use sip::transport::{Hop, ListenerId, NameId, Protocol};

use crate::admission::count::Counts;
use crate::agents::{Again, Asker};
use crate::alone::registrations;
use crate::authentication;
use crate::call::{Call, Cut, Request, stray};
use crate::config::{Config, Listener};
use crate::context::{Context, Looking, Recipient, Shared};
use crate::event::{CallId, Cause, Event};
use crate::failure::{Reason, Verdict};
use crate::info::{CallDetail, CallInfo, Holdings, RegistrationInfo};
use crate::io::{Input, Output, Reload};
use crate::outside::has_tag;
use crate::side::Side;
use crate::tag::Tag;

/// The SIP side of Postern.
#[derive(Debug, Clone)]
pub struct B2bua {
    pub(crate) config: Config,
    pub(crate) shared: Shared,
    pub(crate) calls: Map<CallId, Box<Call>>,
    pub(crate) calls_made: u64,
    /// Those that are over but for rules which may or may not exist.
    pub(crate) remnants: usize,
    pub(crate) service: Service,
    /// Used again for every message.
    incoming: Outbox<Incoming>,
}

/// Whether new calls are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    /// They are.
    Open,
    /// No more; those that are left end until then.
    Closing(Instant),
    /// The shutdown is complete.
    Closed,
}

/// The listener from which requests leave that are too long for a datagram: TCP of the same realm.
fn longer(config: &Config, of: &Listener) -> Option<ListenerId> {
    let place = Place { protocol: Protocol::Tcp, address: of.address };
    config.listener_to(of.realm, &place).filter(|_| of.protocol == Protocol::Udp)
}

impl B2bua {
    /// A B2BUA without calls. `rng` is the only source of tags, branches and identifiers.
    #[must_use]
    pub fn new(config: Config, mut rng: Rng) -> Self {
        let listeners = (0..).map(ListenerId).zip(&config.listeners);
        let endpoint = endpoint::Config {
            timers: TimerValues {
                t1: config.timers.t1,
                t2: config.timers.t2,
                t4: config.timers.t4,
                c: config.timers.timer_c,
                ..TimerValues::default()
            },
            listeners: listeners
                .map(|(id, listener)| endpoint::Listener {
                    id,
                    protocol: listener.protocol,
                    address: listener.address,
                    sent_by: listener.sent_by.clone(),
                    longer: longer(&config, listener),
                })
                .collect(),
            branch_prefix: format!("{:02x}", config.shard),
            limits: endpoint::Limits::default(),
        };
        let endpoint = Endpoint::new(endpoint, rng.fork());
        let calls = Map::with_hasher(Seeded::new(&mut rng));
        let mut shared = Shared::new(endpoint, config.middleboxes.len(), rng);
        shared.counts = Counts::new(&config.admission);
        Self {
            config,
            shared,
            calls,
            calls_made: 0,
            remnants: 0,
            service: Service::Open,
            incoming: Outbox::new(),
        }
    }

    /// The configuration it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The name that the other end of a secure connection must prove (RFC 5922 §7.3).
    #[must_use]
    pub fn name(&self, id: NameId) -> Option<&str> {
        self.shared.names.name(id)
    }

    /// The other of a pair of middleboxes, of which a call needs one (decision 0026).
    #[must_use]
    pub fn partner(&self, of: MiddleboxId) -> Option<MiddleboxId> {
        self.config.partner(of)
    }

    /// All calls, oldest first.
    pub fn calls(&self) -> impl Iterator<Item = CallInfo> + '_ {
        self.call_ids().into_iter().filter_map(|id| self.calls.get(&id)).map(|call| call.info())
    }

    /// One call.
    #[must_use]
    pub fn call(&self, id: CallId) -> Option<CallDetail> {
        self.calls.get(&id).map(|call| call.detail())
    }

    /// Which call each confirmed rule belongs to, oldest call first.
    pub fn rule_owners(&self) -> impl Iterator<Item = (MiddleboxId, Prid, CallId)> + '_ {
        self.call_ids()
            .into_iter()
            .filter_map(|id| self.calls.get(&id))
            .flat_map(|call| call.rules().filter_map(|rule| Some((rule.middlebox, rule.prid?, call.id))))
    }

    /// True for the tag of a dialog of ours, which nobody else can guess.
    #[must_use]
    pub fn knows_tag(&self, tag: &str) -> bool {
        Tag::parse(tag).is_some_and(|tag| self.shared.tags.contains_key(&tag))
    }

    /// True for a request that a transaction has taken: this one only repeats it, and is answered as that was.
    #[must_use]
    pub fn is_repeated(&self, request: &Message) -> bool {
        self.shared.endpoint.is_repeated(request)
    }

    /// Everybody who has registered through us, sorted by realm and by whom they are registered for.
    pub fn registrations(&self) -> impl Iterator<Item = RegistrationInfo> + '_ {
        self.shared.alone.registrations.iter().map(|(name, binding)| binding.info(name))
    }

    /// How many that are.
    #[must_use]
    pub fn registrations_len(&self) -> usize {
        self.shared.alone.registrations.len()
    }

    /// One of them, by what the registrar calls it.
    #[must_use]
    pub fn registration(&self, name: &str) -> Option<RegistrationInfo> {
        let name = registrations::name_of(name)?;
        self.shared.alone.registrations.get(name).map(|binding| binding.info(name))
    }

    /// How many subscriptions go through us.
    #[must_use]
    pub fn subscriptions_len(&self) -> usize {
        self.shared.alone.subscriptions.len()
    }

    /// How much is remembered.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        let shared = &self.shared;
        let (clients, servers) = shared.endpoint.len();
        Holdings {
            calls: self.calls.len(),
            transactions: clients + servers,
            timers: shared.timers.len(),
            tags: shared.tags.len(),
            transaction_owners: shared.clients.len() + shared.servers.len(),
            rule_owners: shared.rules.len(),
            acks: shared.acks.len(),
            requests: shared.agents.open(),
            lookups: shared.lookups.len(),
            alone: shared.alone.len(),
        }
    }

    /// Shows everything that decides what it will do: all but its configuration, statistics, empty buffers, and where
    /// new identifiers come from. Identifiers are seen as they are; which of them are equal is all that matters.
    pub fn show(&self, onlooker: &mut dyn Onlooker) {
        let Self { config: _, shared, calls, calls_made: _, remnants: _, service, incoming: _ } = self;
        onlooker.see(service);
        // Calls first: they name most of what follows.
        see_map(calls, onlooker);
        shared.show(onlooker);
    }

    fn call_ids(&self) -> Vec<CallId> {
        let mut ids: Vec<CallId> = self.calls.keys().copied().collect();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn context<'c>(&'c mut self, now: Instant, out: &'c mut Outbox<Output>) -> Context<'c> {
        Context { now, config: &self.config, shared: &mut self.shared, out }
    }

    /// Lets one call work, and takes it out when nothing of it is left.
    pub(crate) fn with_call(
        &mut self,
        now: Instant,
        out: &mut Outbox<Output>,
        id: CallId,
        work: impl FnOnce(&mut Call, &mut Context<'_>),
    ) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let mut ctx = Context { now, config: &self.config, shared: &mut self.shared, out };
        self.remnants -= usize::from(call.is_remnant());
        work(call, &mut ctx);
        call.offer_owed(&mut ctx);
        self.remnants += usize::from(call.is_remnant());
        if call.is_over() {
            call.forget(&mut ctx);
            self.calls.remove(&id);
        }
    }

    fn on_message(&mut self, now: Instant, hop: Hop, bytes: bytes::Bytes, out: &mut Outbox<Output>) {
        let mut incoming = std::mem::take(&mut self.incoming);
        self.context(now, out).receive(hop, bytes, &mut incoming);
        self.on_incoming(now, incoming, out);
    }

    fn on_incoming(&mut self, now: Instant, mut incoming: Outbox<Incoming>, out: &mut Outbox<Output>) {
        for event in incoming.drain() {
            match event {
                Incoming::Request { key, hop, message } => {
                    let refer_to = self.refer_to(&message, hop.remote.ip());
                    self.on_request(now, Request { key, hop, message, refer_to }, out);
                }
                Incoming::Ack { message, .. } => {
                    if let Some((id, side)) = self.dialog_of(&message) {
                        self.with_call(now, out, id, |call, ctx| call.on_ack(ctx, side, message));
                    }
                }
                Incoming::Cancel { invite, message } => {
                    if let Some(id) = self.shared.servers.get(&invite).copied() {
                        self.with_call(now, out, id, |call, ctx| call.on_cancel(ctx, &message));
                    }
                }
                Incoming::Malformed { hop } => self.context(now, out).offended(hop, Offence::Malformed),
                Incoming::Response { key, message } => self.on_response(now, key, message, out),
                Incoming::ClientFailed { key, why } if self.on_trunk_silent(now, key, why, out) => {}
                Incoming::ClientFailed { key, why } => match self.shared.clients.remove(&key) {
                    Some(id) => {
                        self.with_call(now, out, id, |call, ctx| call.on_client_failed(ctx, key, why));
                    }
                    None if self.on_alone_failed(now, key, why, out) => {}
                    None => self.on_ping(now, key, None, out),
                },
                // A 2xx that comes after everything was forgotten cannot be told from a forged one: not answered.
                // The end of an INVITE transaction changes nothing: 2xx are repeated by the call until ACK.
                Incoming::Stray2xx { .. } | Incoming::ServerGone { .. } => {}
            }
        }
        self.incoming = incoming;
    }

    /// The call and side whose tag of ours stands in To.
    pub(crate) fn dialog_of(&self, request: &Message) -> Option<(CallId, Side)> {
        let tag = Tag::parse(request.to().ok()?.tag()?)?;
        self.shared.tags.get(&tag).copied()
    }

    fn on_request(&mut self, now: Instant, request: Request, out: &mut Outbox<Output>) {
        if authentication::protects_description(&request.message) {
            let verdict = Verdict::plain(403, authentication::PROTECTED);
            return self.context(now, out).refuse_alone(&request, &verdict);
        }
        if !has_tag(&request.message) {
            return self.on_outside_request(now, request, out);
        }
        match self.dialog_of(&request.message) {
            Some((id, side)) => self.with_call(now, out, id, |call, ctx| call.on_request(ctx, side, request)),
            None if let Some(of) = self.shared.alone.subscriptions.of(&request.message) => {
                self.pass_subscribed(now, of, request, out);
            }
            //= RFC 3261 §12.2.2: a request for a dialog we do not have.
            None => self.context(now, out).answer_alone(&request, 481, &[]),
        }
    }

    fn on_response(&mut self, now: Instant, key: ClientKey, message: Message, out: &mut Outbox<Output>) {
        let Some(message) = self.past_challenge(now, key, message, out) else { return };
        let invite = message.method() == Method::Invite;
        let accepted = invite && (200..300).contains(&message.status());
        let id = match self.shared.clients.get(&key).copied() {
            Some(id) => id,
            None if self.on_alone_response(now, key, &message, out) => return,
            None if self.on_trunk_response(now, key, &message, out) => return,
            None if accepted => return self.context(now, out).acknowledge_again(key, &message),
            None => return self.on_ping(now, key, Some(message.status()), out),
        };
        // A 2xx to INVITE is repeated until our ACK arrives.
        if message.status() >= 200 && !accepted {
            self.shared.clients.remove(&key);
        }
        self.with_call(now, out, id, |call, ctx| call.on_response(ctx, key, message));
    }

    fn on_midcom(
        &mut self,
        now: Instant,
        middlebox: MiddleboxId,
        event: AgentEvent,
        out: &mut Outbox<Output>,
    ) {
        match event {
            AgentEvent::Up(capabilities) => {
                self.shared.agents.up(middlebox, capabilities);
                let mut ctx = self.context(now, out);
                ctx.event(Event::MiddleboxUp(middlebox));
                ctx.ask_for(middlebox, Again::List);
            }
            AgentEvent::Down(_) => {
                self.shared.agents.down(middlebox);
                self.context(now, out).event(Event::MiddleboxDown(middlebox));
                for id in self.call_ids() {
                    self.with_call(now, out, id, |call, ctx| call.on_session_down(ctx, middlebox));
                }
            }
            AgentEvent::Reply(id, result) => self.on_reply(now, middlebox, id, result, out),
            AgentEvent::Notification(Notification::RuleEvent { prid, lifetime }) => {
                if let Some(id) = self.shared.rules.get(&(middlebox, prid)).copied() {
                    self.with_call(now, out, id, |call, ctx| {
                        call.on_rule_event(ctx, middlebox, prid, lifetime)
                    });
                }
            }
            // The session's end follows as an event of its own.
            AgentEvent::Notification(Notification::SessionTermination) => {}
        }
    }

    fn on_reply(
        &mut self,
        now: Instant,
        middlebox: MiddleboxId,
        id: RequestId,
        result: Result<Reply, Failure>,
        out: &mut Outbox<Output>,
    ) {
        match (self.shared.agents.answered(id), result) {
            (Some(Asker::Call(call)), result) => {
                self.with_call(now, out, call, |call, ctx| call.on_reply(ctx, middlebox, id, result));
            }
            (Some(Asker::Late), Ok(Reply::Enabled { prid, .. } | Reply::Reserved { prid, .. })) => {
                self.context(now, out).close_orphan(middlebox, prid);
            }
            (Some(Asker::List), Ok(Reply::List(known))) => self.on_list(now, middlebox, known, out),
            (Some(Asker::List), Err(_)) => self.shared.agents.ask_again(now, middlebox, Again::List),
            (Some(Asker::Orphan(_)), Ok(_) | Err(Failure::NoSuchRule)) => {}
            (Some(Asker::Orphan(prid)), Err(_)) => {
                self.shared.agents.ask_again(now, middlebox, Again::Orphan(prid));
            }
            (Some(Asker::Count(call)), result) => {
                if let Err(Failure::WrongMessageSubType) = result
                    && self.shared.agents.cannot_count(middlebox)
                {
                    self.context(now, out).event(Event::CannotCount(middlebox));
                }
                self.with_call(now, out, call, |call, ctx| call.on_counted(ctx, id, result));
            }
            (Some(Asker::Late | Asker::List) | None, _) => {}
        }
    }

    /// What a middlebox holds of ours after a reconnect: what no call owns is closed, what is missing made again.
    fn on_list(
        &mut self,
        now: Instant,
        middlebox: MiddleboxId,
        mut known: Vec<Prid>,
        out: &mut Outbox<Output>,
    ) {
        known.sort_unstable();
        for prid in &known {
            if !self.is_owned(middlebox, *prid) {
                self.context(now, out).close_orphan(middlebox, *prid);
            }
        }
        for id in self.call_ids() {
            self.with_call(now, out, id, |call, ctx| call.on_session_up(ctx, middlebox, &known));
        }
    }

    /// True if a call counts on a rule, or is closing it: one that it has forgotten is nobody's.
    fn is_owned(&self, middlebox: MiddleboxId, prid: Prid) -> bool {
        let owner = self.shared.rules.get(&(middlebox, prid)).and_then(|id| self.calls.get(id));
        owner.is_some_and(|call| call.has_rule(middlebox, prid))
    }

    fn on_kick(&mut self, now: Instant, id: CallId, out: &mut Outbox<Output>) {
        let verdict = Verdict::new(480, "ended by the operator", "");
        self.with_call(now, out, id, |call, ctx| call.cut(ctx, Cut { cause: Cause::Kicked, verdict }));
    }

    fn on_shutdown(&mut self, now: Instant, out: &mut Outbox<Output>) {
        if self.service != Service::Open {
            return;
        }
        self.service = Service::Closing(now + self.config.timers.shutdown);
        self.leave_trunks(now, out);
        for id in self.call_ids() {
            let verdict = Verdict::new(503, "service is being stopped", "").later();
            self.with_call(now, out, id, |call, ctx| call.cut(ctx, Cut { cause: Cause::Shutdown, verdict }));
        }
    }

    /// Other routes and another call policy: the calls that are there count on.
    fn reload(&mut self, Reload { routes, admission, users }: Reload) {
        let (counts, places) = self.shared.counts.moved(&self.config.admission, &admission);
        self.calls.values_mut().for_each(|call| call.renumber_terms(&places));
        self.shared.counts = counts;
        (self.config.routes, self.config.admission) = (routes, admission);
        if let Some(users) = users {
            self.config.users = users;
        }
    }

    /// Says that a shutdown is complete, once.
    fn finish_shutdown(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let Service::Closing(deadline) = self.service else { return };
        let is_done = self.calls.is_empty() && self.shared.trunks.is_quiet();
        if is_done || deadline <= now {
            self.service = Service::Closed;
            out.push(Output::ShutdownComplete);
        }
    }
}

impl Machine for B2bua {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        match input {
            Input::Message { hop, bytes } => self.on_message(now, hop, bytes, out),
            Input::TransportFailed { hop } => {
                let mut incoming = std::mem::take(&mut self.incoming);
                self.context(now, out).transport_failed(hop, &mut incoming);
                self.on_incoming(now, incoming, out);
            }
            Input::Midcom { middlebox, event } => self.on_midcom(now, middlebox, event, out),
            Input::Resolved { id, places } => match self.shared.lookups.remove(&id) {
                Some(Looking::Call(id)) => {
                    self.with_call(now, out, id, |call, ctx| call.on_resolved(ctx, &places));
                }
                Some(Looking::Alone(id)) => self.on_alone_resolved(now, id, &places, out),
                Some(Looking::Trunk(id)) => self.on_trunk_resolved(now, id, &places, out),
                None => {}
            },
            Input::Kick { call } => self.on_kick(now, call, out),
            Input::Registered(known) => {
                let limit = self.config.limits.registrations;
                self.shared.alone.registrations.restore(now, known, limit);
            }
            Input::Reload(changes) => self.reload(*changes),
            Input::Clock(minute) => self.shared.minute = Some(minute),
            Input::Shutdown => self.on_shutdown(now, out),
        }
        self.finish_shutdown(now, out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let mut incoming = std::mem::take(&mut self.incoming);
        self.context(now, out).endpoint_timeout(&mut incoming);
        self.on_incoming(now, incoming, out);
        while let Some((id, wake)) = self.shared.timers.pop(now) {
            self.with_call(now, out, id, |call, ctx| call.on_wake(ctx, wake));
        }
        while let Some((request, middlebox, id)) = self.shared.agents.expired(now) {
            let result = Err(Failure::Timeout);
            self.with_call(now, out, id, |call, ctx| call.on_reply(ctx, middlebox, request, result));
        }
        while let Some((middlebox, what)) = self.shared.agents.due_again(now) {
            self.context(now, out).ask_for(middlebox, what);
        }
        self.shared.acks.handle_timeout(now);
        self.ask_servers(now, out);
        self.end_registrations(now, out);
        self.end_subscriptions(now);
        self.register_with_trunks(now, out);
        self.finish_shutdown(now, out);
    }

    fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        let calls = self.shared.timers.next().map(|(at, (_, wake))| (at, wake.meaning()));
        let agents = self.shared.agents.next_deadline().map(|at| (at, "middlebox does not reply"));
        let acks = self.shared.acks.next_timeout().map(|at| (at, "ACK may be forgotten"));
        let alone = self.shared.alone.next_timeout();
        let shutdown = match self.service {
            Service::Closing(at) => Some((at, "shutdown takes too long")),
            Service::Open | Service::Closed => None,
        };
        let round = self.next_round().map(|at| (at, "next hops are asked"));
        let trunks = self.next_registration().map(|at| (at, "a trunk is to be told where we are"));
        let due = [self.shared.endpoint.next_timeout(), calls, agents, acks, alone, trunks, round, shutdown];
        due.into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}

impl Context<'_> {
    /// A 2xx to an INVITE whose ACK has been sent: RFC 3261 §13.2.2.4.
    fn acknowledge_again(&mut self, invite: ClientKey, message: &Message) {
        let Some(ack) = self.shared.acks.of(invite).cloned() else { return };
        let tag = message.to().ok().and_then(|to| to.tag()).unwrap_or_default();
        if *ack.remote_tag == *tag {
            return self.repeat(ack.hop, ack.bytes.0);
        }
        let config = self.config;
        if !self.shared.acks.strays_of(invite).is_some_and(|strays| stray::has_room(strays, config)) {
            return;
        }
        let recipient = Recipient { call: ack.call, side: ack.side };
        stray::refuse(self, recipient, ack.hop, message, Reason::CANCELLED);
    }
}
