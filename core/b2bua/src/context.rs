//! What a call works with while it handles one input, and what all calls share.

use std::time::Duration;

use bytes::Bytes;
use machine::map::{Map, Seeded};
use machine::onlooker::{Onlooker, see_map};
use machine::week::MinuteOfWeek;
use machine::{Instant, Outbox, Rng, Text, TimerId, Timers};
use midcom::{Lifetime, MiddleboxId, Prid, Request};
use sip::endpoint::{ClientKey, Endpoint, Incoming, ServerKey, Transmit};
use sip::locate::Wish;
use sip::message::{Builder, Method, Name};
use sip::transport::Hop;

use crate::acks::{Ack, Acks};
use crate::admission::count::Counts;
use crate::agents::{Again, Agents, Asker};
use crate::alone::{Alone, AloneId};
use crate::authentication::Asking;
use crate::call::Pair;
use crate::config::{Config, NextHop, RealmId};
use crate::event::{CallId, Event, Sip};
use crate::failures::Failures;
use crate::health::Health;
use crate::io::{LookupId, Output};
use crate::ledger::{LedgerRequest, RequestIds};
use crate::names::Names;
use crate::precondition::memory::Unwilling;
use crate::side::Side;
use crate::tag::Tag;
use crate::trunk::Trunks;
use crate::trunk::config::TrunkId;

/// What all calls share.
#[derive(Debug, Clone)]
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) rng: Rng,
    pub(crate) ids: RequestIds,
    pub(crate) agents: Agents,
    pub(crate) acks: Acks,
    pub(crate) timers: Timers<(CallId, Wake)>,
    /// Our tags: whose dialogs they are of.
    pub(crate) tags: Map<Tag, (CallId, Side)>,
    /// Requests of ours without a final response.
    pub(crate) clients: Map<ClientKey, CallId>,
    /// INVITEs without a final response of ours.
    pub(crate) servers: Map<ServerKey, CallId>,
    /// Rules that calls own or have owned.
    pub(crate) rules: Map<(MiddleboxId, Prid), CallId>,
    /// Callees that want no preconditions.
    pub(crate) unwilling: Unwilling,
    /// Names being looked up, for whom.
    pub(crate) lookups: Map<LookupId, Looking>,
    /// What belongs to no call.
    pub(crate) alone: Alone,
    /// Servers that did not work.
    pub(crate) failures: Failures,
    /// How many calls the lines of the call policy have let in.
    pub(crate) counts: Counts,
    /// What time it is for them, once it is known.
    pub(crate) minute: Option<MinuteOfWeek>,
    /// Next hops that are asked whether they are there.
    pub(crate) health: Health,
    /// Names that servers must prove.
    pub(crate) names: Names,
    /// Servers that ask who we are.
    pub(crate) trunks: Trunks,
    /// Peers that are asked who they are.
    pub(crate) asking: Asking,
    lookups_made: u64,
    /// Used again for every call of the endpoint.
    transmits: Outbox<Transmit>,
    /// Used again for every call of a ledger.
    pub(crate) requests: Outbox<LedgerRequest>,
}

/// For whom a name is being looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Looking {
    Call(CallId),
    Alone(AloneId),
    Trunk(TrunkId),
}

/// What a call wants to be woken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// A held message waits too long.
    Hold,
    /// RFC 3261 §16.6 step 11.
    TimerC,
    /// RFC 3261 §9.1: no final response 64*T1 after CANCEL.
    CancelUnanswered,
    /// RFC 3261 §13.3.1.4: the 2xx is due again.
    RepeatAnswer,
    /// RFC 3261 §13.3.1.4: no ACK after 64*T1.
    AckMissing,
    /// RFC 3262 §3: a reliable provisional response is due again.
    RepeatProvisional(Pair),
    /// RFC 3262 §3: no PRACK after 64*T1.
    PrackMissing(Pair),
    /// `docs/calls.md` §4: the callee's offer is not answered.
    AnswerMissing,
    /// RFC 3261 §14.1: a re-INVITE of our own is due again after 491.
    OfferAgain,
    /// RFC 3311 §5.3: another request of our own is.
    AskAgain,
    /// A step of taking the call down takes too long.
    Ending,
    /// RFC 4028: a side's session is to be refreshed, or ends.
    Session(Side),
    /// `docs/calls.md` §7: it is time to look whether media passes.
    Media,
    /// The call policy lets the call last no longer.
    Longest,
    /// The ledger has something to do.
    Ledger,
}

impl Wake {
    pub(crate) fn meaning(self) -> &'static str {
        match self {
            Self::Hold => "a held message waits too long",
            Self::TimerC => "INVITE unanswered (timer C)",
            Self::CancelUnanswered => "CANCEL without effect",
            Self::RepeatAnswer => "2xx repeated until ACK",
            Self::AckMissing => "no ACK",
            Self::RepeatProvisional(_) => "18x repeated until PRACK",
            Self::PrackMissing(_) => "no PRACK",
            Self::AskAgain => "request of our own again after 491",
            Self::OfferAgain => "re-INVITE again after 491",
            Self::AnswerMissing => "offer in 2xx unanswered",
            Self::Ending => "call takes too long to end",
            Self::Session(_) => "session refresh or expiry",
            Self::Media => "whether media passes",
            Self::Longest => "longest duration",
            Self::Ledger => "pinhole lifetimes",
        }
    }
}

impl Shared {
    pub(crate) fn new(endpoint: Endpoint, middleboxes: usize, mut rng: Rng) -> Self {
        Self {
            endpoint,
            ids: RequestIds::default(),
            agents: Agents::new(middleboxes, &mut rng),
            acks: Acks::new(&mut rng),
            timers: Timers::new(),
            tags: Map::with_hasher(Seeded::new(&mut rng)),
            clients: Map::with_hasher(Seeded::new(&mut rng)),
            servers: Map::with_hasher(Seeded::new(&mut rng)),
            rules: Map::with_hasher(Seeded::new(&mut rng)),
            lookups: Map::with_hasher(Seeded::new(&mut rng)),
            alone: Alone::default(),
            unwilling: Unwilling::default(),
            failures: Failures::default(),
            counts: Counts::default(),
            minute: None,
            health: Health::default(),
            names: Names::default(),
            trunks: Trunks::default(),
            asking: Asking::default(),
            lookups_made: 0,
            transmits: Outbox::new(),
            requests: Outbox::new(),
            rng,
        }
    }

    /// Everything, for an explorer.
    pub(crate) fn show(&self, onlooker: &mut dyn Onlooker) {
        let Self {
            endpoint,
            rng: _,
            ids: _,
            agents,
            acks,
            timers,
            tags,
            clients,
            servers,
            rules,
            unwilling,
            lookups,
            alone,
            failures,
            counts,
            minute,
            health,
            names: _,
            trunks,
            asking,
            lookups_made: _,
            transmits: _,
            requests: _,
        } = self;
        onlooker.see(timers);
        agents.show(onlooker);
        acks.show(onlooker);
        endpoint.show(onlooker);
        see_map(tags, onlooker);
        see_map(clients, onlooker);
        see_map(servers, onlooker);
        see_map(rules, onlooker);
        see_map(lookups, onlooker);
        alone.show(onlooker);
        // When each is forgotten matters to later calls only.
        onlooker.see(&unwilling.callees());
        onlooker.see(failures);
        counts.show(onlooker);
        onlooker.see(minute);
        onlooker.see(health);
        onlooker.see(trunks);
        onlooker.see(asking);
    }

    /// Forgets rules that a call no longer owns. A middlebox may have given an identifier to another call since.
    pub(crate) fn forget_rules(&mut self, owner: CallId, rules: impl Iterator<Item = (MiddleboxId, Prid)>) {
        for rule in rules {
            if self.rules.get(&rule) == Some(&owner) {
                self.rules.remove(&rule);
            }
        }
    }

    /// Keeps the memory of an outbox whose requests have been sent.
    pub(crate) fn give_back(&mut self, mut requests: Outbox<LedgerRequest>) {
        requests.drain();
        self.requests = requests;
    }
}

/// What a call works with while it handles one input.
#[derive(Debug)]
pub(crate) struct Context<'c> {
    pub(crate) now: Instant,
    pub(crate) config: &'c Config,
    pub(crate) shared: &'c mut Shared,
    pub(crate) out: &'c mut Outbox<Output>,
}

/// Which call, and to which of its sides something goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Recipient {
    pub(crate) call: CallId,
    pub(crate) side: Side,
}

impl Context<'_> {
    pub(crate) fn event(&mut self, event: Event) {
        self.out.push(Output::Event(event));
    }

    pub(crate) fn sent(&mut self, Recipient { call, side }: Recipient, message: Sip) {
        self.event(Event::Sent { call, side, message });
    }

    fn transmit(&mut self) {
        for Transmit { hop, bytes } in self.shared.transmits.drain() {
            self.out.push(Output::Transmit { hop, bytes });
        }
    }

    /// A message arrived: what it means for us goes to `incoming`.
    pub(crate) fn receive(&mut self, hop: Hop, bytes: Bytes, incoming: &mut Outbox<Incoming>) {
        let Shared { endpoint, transmits, .. } = &mut *self.shared;
        endpoint.receive(self.now, hop, bytes, transmits, incoming);
        self.transmit();
    }

    /// What was sent to a hop cannot get there.
    pub(crate) fn transport_failed(&mut self, hop: Hop, incoming: &mut Outbox<Incoming>) {
        let Shared { endpoint, transmits, .. } = &mut *self.shared;
        endpoint.transport_failed(self.now, hop, transmits, incoming);
        self.transmit();
    }

    /// Lets the endpoint do what is due.
    pub(crate) fn endpoint_timeout(&mut self, incoming: &mut Outbox<Incoming>) {
        let Shared { endpoint, transmits, .. } = &mut *self.shared;
        endpoint.handle_timeout(self.now, transmits, incoming);
        self.transmit();
    }

    /// Sends a request that belongs to no call.
    pub(crate) fn request_alone(&mut self, hop: Hop, builder: Builder) -> ClientKey {
        self.start(None, hop, builder).0
    }

    /// Sends a response that belongs to no call.
    pub(crate) fn respond_alone(&mut self, key: ServerKey, builder: Builder) {
        let Shared { endpoint, transmits, .. } = &mut *self.shared;
        let _kept_by_the_endpoint = endpoint.respond(self.now, key, builder, transmits);
        self.transmit();
    }

    /// Sends a response; gives it back so that a 2xx can be repeated.
    pub(crate) fn respond(
        &mut self,
        to: Recipient,
        key: ServerKey,
        builder: Builder,
        message: Sip,
    ) -> Option<Bytes> {
        let bytes = self.shared.endpoint.respond(self.now, key, builder, &mut self.shared.transmits);
        if bytes.is_some() {
            self.sent(to, message);
        }
        self.transmit();
        bytes
    }

    /// Sends a request; `cause` is the request that is passed on with it.
    pub(crate) fn request(
        &mut self,
        to: Recipient,
        cause: Option<ServerKey>,
        hop: Hop,
        builder: Builder,
        message: Sip,
    ) -> ClientKey {
        let trunk = self.shared.trunks.of_leg(self.config, to, hop);
        if builder.method() == Some(&Method::Invite) {
            self.shared.trunks.forget_for_ack(to);
        }
        // It is said before it is sent.
        self.sent(to, message);
        let key = self.send_request(trunk, (cause, Some(to)), hop, builder);
        self.shared.clients.insert(key, to.call);
        key
    }

    /// Sends a request that belongs to no call, and that passes another one on.
    pub(crate) fn forward_alone(
        &mut self,
        trunk: Option<TrunkId>,
        cause: ServerKey,
        hop: Hop,
        builder: Builder,
    ) -> ClientKey {
        self.send_request(trunk, (Some(cause), None), hop, builder)
    }

    /// Starts a transaction; what was sent comes back.
    pub(crate) fn start(
        &mut self,
        cause: Option<ServerKey>,
        hop: Hop,
        builder: Builder,
    ) -> (ClientKey, Bytes) {
        let Shared { endpoint, transmits, .. } = &mut *self.shared;
        let key = match cause {
            Some(cause) => endpoint.forward(self.now, cause, hop, builder, transmits),
            None => endpoint.request(self.now, hop, builder, transmits),
        };
        let bytes = transmits.iter().next_back().map(|sent| sent.bytes.clone()).unwrap_or_default();
        self.transmit();
        (key, bytes)
    }

    /// Gives up waiting for the answer to an INVITE.
    pub(crate) fn abandon(&mut self, invite: ClientKey) {
        self.shared.endpoint.abandon(invite);
        self.shared.clients.remove(&invite);
        self.shared.trunks.abandon(invite);
    }

    /// Sends the ACK to a 2xx and keeps it for as long as the peer may repeat its 2xx.
    pub(crate) fn ack(
        &mut self,
        to: Recipient,
        invite: ClientKey,
        remote_tag: &str,
        hop: Hop,
        builder: Builder,
        message: Sip,
    ) {
        let builder = self.shared.trunks.in_ack(self.config, (to, hop), builder);
        let bytes = self.shared.endpoint.send_ack(hop, builder, &mut self.shared.transmits);
        // A copy is as large as the message; what was sent has room to spare.
        let bytes = Bytes::copy_from_slice(&bytes);
        let until = self.now + self.config.timers.t1_64();
        let ack = Ack {
            call: to.call,
            side: to.side,
            hop,
            bytes: Text(bytes),
            remote_tag: remote_tag.into(),
            strays: 0,
        };
        self.shared.acks.keep(until, invite, ack);
        self.sent(to, message);
        self.transmit();
    }

    /// Sends an ACK that is not kept.
    pub(crate) fn ack_once(&mut self, to: Recipient, hop: Hop, builder: Builder, message: Sip) {
        self.shared.endpoint.send_ack(hop, builder, &mut self.shared.transmits);
        self.sent(to, message);
        self.transmit();
    }

    /// Sends once more what was sent before.
    pub(crate) fn repeat(&mut self, hop: Hop, bytes: Bytes) {
        self.out.push(Output::Transmit { hop, bytes });
    }

    /// Sends CANCEL if RFC 3261 §9.1 allows it by now.
    pub(crate) fn cancel(
        &mut self,
        to: Recipient,
        invite: ClientKey,
        (extra, body): (&[(Name, &[u8])], &[u8]),
        message: Sip,
    ) -> bool {
        let Shared { endpoint, transmits, .. } = &mut *self.shared;
        let sent = endpoint.cancel(self.now, invite, extra, body, transmits).is_some();
        if sent {
            self.sent(to, message);
        }
        self.transmit();
        sent
    }

    pub(crate) fn wake(&mut self, call: CallId, after: Duration, what: Wake) -> TimerId {
        self.shared.timers.set(self.now + after, (call, what))
    }

    pub(crate) fn stop(&mut self, timer: &mut Option<TimerId>) {
        if let Some(timer) = timer.take() {
            self.shared.timers.stop(timer);
        }
    }

    /// Asks a middlebox.
    pub(crate) fn ask(&mut self, LedgerRequest { middlebox, id, request }: LedgerRequest, asker: Asker) {
        let deadline = self.now + self.config.timers.hold;
        self.shared.agents.asked(deadline, middlebox, id, asker);
        self.out.push(Output::Midcom { middlebox, id, request });
    }

    /// Ends a rule that no call owns.
    pub(crate) fn close_orphan(&mut self, middlebox: MiddleboxId, prid: Prid) {
        self.event(Event::OrphanClosed { middlebox, prid });
        self.ask_for(middlebox, Again::Orphan(prid));
    }

    /// Asks for what no call asks for.
    pub(crate) fn ask_for(&mut self, middlebox: MiddleboxId, what: Again) {
        let id = self.shared.ids.mint();
        let (request, asker) = match what {
            Again::List => (Request::List, Asker::List),
            Again::Orphan(prid) => (Request::Lifetime { prid, lifetime: Lifetime::END }, Asker::Orphan(prid)),
        };
        self.ask(LedgerRequest { middlebox, id, request }, asker);
    }

    /// Asks where the servers of a next hop are, for a realm; false at the limit.
    pub(crate) fn resolve(&mut self, call: CallId, realm: RealmId, next_hop: &NextHop, host: &str) -> bool {
        self.look_up(Looking::Call(call), realm, next_hop, host)
    }

    /// The same for a request outside calls.
    pub(crate) fn resolve_alone(
        &mut self,
        id: AloneId,
        realm: RealmId,
        next_hop: &NextHop,
        host: &str,
    ) -> bool {
        self.look_up(Looking::Alone(id), realm, next_hop, host)
    }

    /// The same for a trunk that is to be told where we are.
    pub(crate) fn resolve_trunk(
        &mut self,
        id: TrunkId,
        realm: RealmId,
        next_hop: &NextHop,
        host: &str,
    ) -> bool {
        self.look_up(Looking::Trunk(id), realm, next_hop, host)
    }

    fn look_up(&mut self, whom: Looking, realm: RealmId, next_hop: &NextHop, host: &str) -> bool {
        if self.shared.lookups.len() >= self.config.limits.lookups {
            return false;
        }
        self.shared.lookups_made += 1;
        let id = LookupId(self.shared.lookups_made);
        self.shared.lookups.insert(id, whom);
        let NextHop { port, transport, .. } = *next_hop;
        let speaks = self.config.speaks(realm, next_hop.secure);
        self.out.push(Output::Resolve { id, wish: Wish { host: host.to_owned(), port, transport, speaks } });
        true
    }
}
