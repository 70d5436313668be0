//! A middlebox, its engine and its agents, in one hand.

use std::collections::BTreeMap;
use std::time::Duration;

use machine::{Instant, Machine, Outbox, Rng};
use midcom::{
    Direction, Failure, Gid, IpVersionChoice, Lifetime, NatService, Notification, Parity, PortParity, Prid,
    Protocol, Reply, Request, Tuple,
};

use crate::memory::{Memory, Packet, Route};
use crate::{
    AgentId, AgentPolicy, BatchId, Change, Config, Engine, Event, Input, Key, Middlebox, Nat, Operation,
    Output, Policy, Realm, Realms, ReversePath, Rights, SessionId, Side, StoredRule, Transport, count,
};

pub(super) const ALICE: AgentId = AgentId(1);
pub(super) const BOB: AgentId = AgentId(2);
/// May make disable rules.
pub(super) const GUARD: AgentId = AgentId(3);
/// May access all rules.
pub(super) const CHIEF: AgentId = AgentId(4);
pub(super) const A1: SessionId = SessionId(1);
pub(super) const A2: SessionId = SessionId(2);
pub(super) const B1: SessionId = SessionId(3);
pub(super) const G1: SessionId = SessionId(4);
pub(super) const C1: SessionId = SessionId(5);

pub(super) const LIFETIME_MAX: Lifetime = Lifetime(600);
pub(super) const RULES_MAX: u32 = 200;

pub(super) fn realms() -> Realms {
    let realm = |name: &str, side, networks: &[&str]| Realm {
        name: name.into(),
        side,
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        ports: 16384..=32767,
        interfaces: Vec::new(),
        managed: true,
        reverse_path: ReversePath::Strict,
    };
    Realms::new(vec![realm("inside", Side::Inside, &["10.0.40.0/24"]), realm("outside", Side::Outside, &[])])
        .unwrap()
}

pub(super) fn policy() -> Policy {
    let agent = |name: &str, disable, administer| AgentPolicy {
        name: name.into(),
        internal: vec!["10.0.40.0/24".parse().unwrap()],
        ports: 16384..=32767,
        rules_max: RULES_MAX,
        lifetime_max: LIFETIME_MAX,
        rights: Rights { disable, administer, ..Rights::default() },
    };
    let agents = [
        (ALICE, agent("alice", false, false)),
        (BOB, agent("bob", false, false)),
        (GUARD, agent("guard", true, false)),
        (CHIEF, agent("chief", false, true)),
    ];
    Policy { agents: BTreeMap::from(agents), ..Policy::default() }
}

pub(super) fn config() -> Config {
    Config {
        realms: realms(),
        policy: policy(),
        nat: Nat::default(),
        tcp: false,
        journal: false,
        orphan_grace: Duration::from_secs(30),
    }
}

pub(super) fn engine() -> Memory {
    let route = |network: &str, interface: &str| Route {
        network: network.parse().unwrap(),
        interface: interface.into(),
    };
    Memory::new(realms(), vec![route("10.0.40.0/24", "in"), route("0.0.0.0/0", "out")])
}

pub(super) struct World {
    pub(super) now: Instant,
    pub(super) middlebox: Middlebox,
    pub(super) engine: Memory,
    /// Batches are kept back until `World::release`.
    pub(super) hold: bool,
    pub(super) held: Option<(BatchId, Vec<Operation>)>,
    /// What was written down.
    pub(super) journal: BTreeMap<Prid, StoredRule>,
    /// Everything that left, in order.
    pub(super) log: Vec<Output>,
    tid: u32,
}

impl World {
    /// Alice with two sessions, Bob and the guard with one.
    pub(super) fn new() -> Self {
        Self::behind(Nat::default())
    }

    /// The same behind outside addresses.
    pub(super) fn behind(nat: Nat) -> Self {
        let mut world = Self::empty_behind(nat);
        for (session, agent) in [(A1, ALICE), (A2, ALICE), (B1, BOB), (G1, GUARD)] {
            world.input(Input::Opened { session, agent });
        }
        world.run();
        world.log.clear();
        world
    }

    pub(super) fn empty() -> Self {
        Self::empty_behind(Nat::default())
    }

    pub(super) fn empty_behind(nat: Nat) -> Self {
        Self::with(Config { nat, ..config() })
    }

    /// Somebody writes down what it says; nobody has a session.
    pub(super) fn journaled() -> Self {
        Self::with(Config { journal: true, orphan_grace: Duration::ZERO, ..config() })
    }

    pub(super) fn open(&mut self) {
        for (session, agent) in [(A1, ALICE), (A2, ALICE), (B1, BOB), (G1, GUARD)] {
            self.input(Input::Opened { session, agent });
        }
    }

    /// A new process finds what this one has left: a journal and, unless the machine was restarted, the engine.
    pub(super) fn restarted(mut self, engine_lost: bool) -> Self {
        let mut fresh = Self::journaled();
        std::mem::swap(&mut fresh.engine, &mut self.engine);
        if engine_lost {
            fresh.engine.flush();
        }
        (fresh.now, fresh.tid, fresh.journal) = (self.now, self.tid, self.journal);
        let rules = fresh.journal.values().copied().collect();
        fresh.input(Input::Restored { rules });
        let entries = Engine::entries(&mut fresh.engine).unwrap();
        fresh.input(Input::Adopted { entries });
        fresh.open();
        fresh
    }

    fn with(config: Config) -> Self {
        let engine = engine().with_nat(config.nat.clone());
        Self {
            now: Instant::ZERO,
            middlebox: Middlebox::new(config, Rng::from_number(7)),
            engine,
            hold: false,
            held: None,
            journal: BTreeMap::new(),
            log: Vec::new(),
            tid: 0,
        }
    }

    /// Hands over one input and does what is asked, but lets nothing become due.
    pub(super) fn input(&mut self, input: Input) {
        let mut out = Outbox::new();
        self.middlebox.handle(self.now, input, &mut out);
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Outbox<Output>) {
        for output in out {
            self.log.push(output.clone());
            match output {
                Output::Apply { batch, operations } if self.hold => self.held = Some((batch, operations)),
                Output::Apply { batch, operations } => {
                    let results = self.engine.apply(&operations);
                    self.input(Input::Applied { batch, results });
                }
                Output::Journal(changes) => {
                    for change in changes {
                        match change {
                            Change::Put(rule) => drop(self.journal.insert(rule.prid, rule)),
                            Change::Forget(prid) => drop(self.journal.remove(&prid)),
                        }
                    }
                }
                Output::Verify { keys } => {
                    let drift = self.engine.verify(&keys);
                    self.input(Input::Verified { drift });
                }
                Output::Count { session, tid, rules } => {
                    let passed = count(&mut self.engine, &rules);
                    self.input(Input::Counted { session, tid, passed });
                }
                Output::Reply { .. }
                | Output::Notify { .. }
                | Output::Terminate { .. }
                | Output::Event(_)
                | Output::ShutdownComplete => {}
            }
        }
    }

    /// Lets everything that is due now happen.
    pub(super) fn run(&mut self) {
        while self.middlebox.next_timeout().is_some_and(|(at, _)| at <= self.now) {
            let mut out = Outbox::new();
            self.middlebox.handle_timeout(self.now, &mut out);
            self.carry_out(out);
        }
    }

    /// Lets the engine do what was kept back.
    pub(super) fn release(&mut self) {
        self.hold = false;
        if let Some((batch, operations)) = self.held.take() {
            let results = self.engine.apply(&operations);
            self.input(Input::Applied { batch, results });
        }
        self.run();
    }

    /// Lets time pass, waking the machine when it wants to be woken.
    pub(super) fn wait(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some((at, _)) = self.middlebox.next_timeout().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.engine.advance(self.now);
            self.run();
        }
        self.now = end;
        self.engine.advance(self.now);
    }

    pub(super) fn seconds(&mut self, seconds: u64) {
        self.wait(Duration::from_secs(seconds));
    }

    /// Sends a request and lets nothing become due.
    pub(super) fn send(&mut self, session: SessionId, request: Request) -> u32 {
        self.tid += 1;
        self.input(Input::Request { session, tid: self.tid, request });
        self.tid
    }

    /// Goes on counting requests where another world stopped.
    pub(super) fn resume_tids(&mut self, other: &Self) {
        self.tid = other.tid;
    }

    /// The answer that has left, if any.
    pub(super) fn answer(&self, tid: u32) -> Option<Result<Reply, Failure>> {
        self.log.iter().find_map(|output| match output {
            Output::Reply { tid: answered, result, .. } if *answered == tid => Some(result.clone()),
            _ => None,
        })
    }

    /// Sends a request and gives its answer.
    pub(super) fn ask(&mut self, session: SessionId, request: Request) -> Result<Reply, Failure> {
        let tid = self.send(session, request);
        self.run();
        self.answer(tid).expect("an answer")
    }

    /// Enables, and gives the rule and its group.
    pub(super) fn enable(&mut self, session: SessionId, request: Request) -> (Prid, Gid) {
        match self.ask(session, request) {
            Ok(Reply::Enabled { prid, group, .. }) => (prid, group),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn reserve(&mut self, session: SessionId) -> (Prid, Gid) {
        match self.ask(session, reserve(None)) {
            Ok(Reply::Reserved { prid, group, .. }) => (prid, group),
            other => panic!("{other:?}"),
        }
    }

    /// True if packets from that port of the phone outside reach the phone inside.
    pub(super) fn passes(&mut self, source: &str, destination: &str) -> bool {
        self.engine.passes(&packet(source, destination), self.now)
    }

    /// Such a packet comes, and is counted where it passes.
    pub(super) fn comes(&mut self, source: &str, destination: &str) {
        self.engine.take(&packet(source, destination), 200);
    }

    /// The rule events that left, oldest first, and forgets everything that left.
    pub(super) fn told(&mut self) -> Vec<(SessionId, Prid, u32)> {
        let told = |output| match output {
            Output::Notify { session, notification: Notification::RuleEvent { prid, lifetime } } => {
                Some((session, prid, lifetime.0))
            }
            _ => None,
        };
        self.log.drain(..).filter_map(told).collect()
    }

    pub(super) fn has_event(&self, event: &Event) -> bool {
        self.log.iter().any(|output| matches!(output, Output::Event(seen) if seen == event))
    }

    /// The positions in the log of outputs that match.
    pub(super) fn positions(&self, wanted: impl Fn(&Output) -> bool) -> Vec<usize> {
        self.log.iter().enumerate().filter(|(_, output)| wanted(output)).map(|(at, _)| at).collect()
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        self.engine.keys().copied().collect()
    }
}

pub(super) fn packet<'p>(source: &str, destination: &str) -> Packet<'p> {
    Packet {
        transport: Transport::Udp,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        interface: if source.starts_with("10.0.40.") { "in" } else { "out" },
        opens: false,
    }
}

pub(super) fn udp(network: &str, port: u16, range: u16) -> Tuple {
    Tuple { network: network.parse().unwrap(), protocol: Protocol::Udp, port, range }
}

/// Lets the phone outside (any port) send to two ports of the phone inside.
pub(super) fn inbound(port: u16) -> Request {
    enable(Direction::Inbound, udp("10.0.40.7/32", port, 2), udp("198.51.100.9/32", 0, 2), 300, None)
}

/// The phone outside as `inbound`, as an address to send from.
pub(super) const FAR: &str = "198.51.100.9:5000";

pub(super) fn enable(
    direction: Direction,
    internal: Tuple,
    external: Tuple,
    lifetime: u32,
    group: Option<Gid>,
) -> Request {
    Request::Enable {
        parity: Parity::Any,
        direction,
        internal,
        external,
        lifetime: Lifetime(lifetime),
        group,
    }
}

/// The same with another lifetime or group.
pub(super) fn with(request: Request, new_lifetime: u32, new_group: Option<Gid>) -> Request {
    match request {
        Request::Enable { direction, internal, external, .. } => {
            enable(direction, internal, external, new_lifetime, new_group)
        }
        other => other,
    }
}

pub(super) fn reserve(group: Option<Gid>) -> Request {
    Request::Reserve {
        service: NatService::Twice,
        inside: IpVersionChoice::Any,
        outside: IpVersionChoice::V4,
        protocol: Protocol::Udp,
        ports: 2,
        parity: PortParity::Even,
        lifetime: Lifetime(60),
        group,
    }
}

/// Enables a reservation with what `inbound` asks for.
pub(super) fn enable_reserved(prid: Prid, port: u16) -> Request {
    Request::EnableReserved {
        prid,
        parity: Parity::Any,
        direction: Direction::Inbound,
        internal: udp("10.0.40.7/32", port, 2),
        external: udp("198.51.100.9/32", 0, 2),
        lifetime: Lifetime(300),
    }
}

/// Forbids everything between these two.
pub(super) fn disable(internal: Tuple, external: Tuple, lifetime: u32) -> Request {
    Request::Disable { internal, external, lifetime: Lifetime(lifetime) }
}

pub(super) fn lifetime(prid: Prid, lifetime: u32) -> Request {
    Request::Lifetime { prid, lifetime: Lifetime(lifetime) }
}
