//! The middlebox machine and the engine in memory: whatever agents ask and strangers do, the engine holds what the
//! rules say, and every request has one answer.
//!
//! | step | behind it |
//! |---|---|
//! | `ASK` | on which session; what; three octets about it |
//! | `WIRE` | on which session; length; a SIMCO message without its header's length and TID |
//! | `PASS` | tenths of seconds |
//! | `HOLD` | the engine does not answer until the next of these, or until time has passed; bit 0 |
//! | `REFUSE` | an entry the engine refuses from now on; 0: none any more |
//! | `ROOM` | how many entries fit |
//! | `LOSE` | an entry that a stranger deletes; 0: all of them |
//! | `SESSION` | which session ends and begins anew |
//! | `REVOKE` | a rule |
//! | `POLICY` | how much of the usual policy is left |
//! | `SHUTDOWN` | |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use machine::{Instant, Machine as _, Outbox, Rng};
use midcom::{
    Direction, Gid, IpVersionChoice, Lifetime, NatService, Parity, PortParity, Prid, Protocol, Request, Tuple,
};
use middlebox::memory::{Memory, Route};
use middlebox::{
    AgentId, AgentPolicy, BatchId, Config, Engine as _, Input, Key, Middlebox, Nat, Operation, Output,
    Policy, Realm, Realms, ReversePath, Rights, SessionId, Side,
};
use simco::wire::{AgentMessage, Header};

use crate::reader::{Reader, choose};
use crate::{Corpus, Target};

/// See [`run`].
pub const TARGET: Target = Target {
    name: "middlebox",
    run,
    mutations: 100_000,
    corpora: &[Corpus::Inputs("fuzz/corpus/middlebox"), Corpus::Cases("simco", "case", inputs)],
    words: &[
        &[ASK, 0, 0, 0, 1, 2],
        &[ASK, 0, 0, 1, 1, 60],
        &[ASK, 1, 1, 1, 1, 2],
        &[ASK, 2, 5, 0, 0, 0],
        &[ASK, 0, 5, 0, 0, 0],
        &[ASK, 0, 2, 0, 0, 9],
        &[ASK, 0, 4, 0, 0, 3],
        &[ASK, 0, 7, 0, 0, 0],
        &[PASS, 0],
        &[PASS, 30],
        &[PASS, 255],
        &[HOLD, 1],
        &[HOLD, 0],
        &[REFUSE, 1],
        &[REFUSE, 0],
        &[ROOM, 1],
        &[LOSE, 0],
        &[LOSE, 1],
        &[SESSION, 0],
        &[REVOKE, 0],
        &[POLICY, 0],
        &[POLICY, 3],
        &[SHUTDOWN],
    ],
};

const ASK: u8 = 0;
const WIRE: u8 = 1;
const PASS: u8 = 2;
const HOLD: u8 = 3;
const REFUSE: u8 = 4;
const ROOM: u8 = 5;
const LOSE: u8 = 6;
const SESSION: u8 = 7;
const REVOKE: u8 = 8;
const POLICY: u8 = 9;
const SHUTDOWN: u8 = 10;
const STEPS: u8 = 11;

/// How late the engine's answer may be: below the lead with which rules end before their entries would.
const HOLD_MAX: Duration = Duration::from_millis(1900);

const SESSIONS: [(SessionId, AgentId); 3] =
    [(SessionId(1), AgentId(1)), (SessionId(2), AgentId(1)), (SessionId(3), AgentId(2))];

/// Every message that a case sends, each followed by a while.
fn inputs(case: &str) -> Vec<Vec<u8>> {
    let mut input = Vec::new();
    for message in case.split("> receive ").skip(1) {
        let message = message.split("\n<").next().unwrap_or(message).lines();
        let octets = message.flat_map(|line| {
            let line = line.split(';').next().unwrap_or(line);
            line.split_whitespace().map_while(|word| u8::from_str_radix(word, 16).ok())
        });
        let octets: Vec<u8> = octets.take(255).collect();
        if octets.len() > 8 {
            input.extend([WIRE, 0, octets.len() as u8 - 6, octets[0], octets[1]]);
            input.extend(&octets[8..]);
            input.extend([PASS, 0]);
        }
    }
    vec![input]
}

struct World {
    now: Instant,
    middlebox: Middlebox,
    engine: Memory,
    /// The engine keeps its answer back.
    hold: bool,
    held: Option<(BatchId, Vec<Operation>)>,
    open: BTreeSet<(SessionId, u32)>,
    /// Their session is ending: they may be answered or not.
    pardoned: BTreeSet<(SessionId, u32)>,
    /// The runtime's sessions: which of them is which by now.
    sessions: [SessionId; 3],
    /// Those that the middlebox has not ended.
    alive: BTreeSet<SessionId>,
    tids: u32,
    stopped: bool,
}

/// Plays an input, then lets everybody close everything.
pub fn run(input: &[u8]) {
    let mut world = World::new();
    let mut reader = Reader(input);
    while !reader.is_empty() {
        world.step(&mut reader);
        world.check();
    }
    world.end();
}

impl World {
    fn new() -> Self {
        let realms = realms();
        let route = |network: &str, interface: &str| {
            network.parse().ok().map(|network| Route { network, interface: interface.into() })
        };
        let routes = [route("10.0.40.0/24", "in"), route("0.0.0.0/0", "out")].into_iter().flatten().collect();
        let config = Config {
            realms: realms.clone(),
            policy: policy(255),
            nat: Nat::default(),
            tcp: true,
            journal: false,
            orphan_grace: Duration::from_secs(30),
        };
        let mut world = Self {
            now: Instant::ZERO,
            middlebox: Middlebox::new(config, Rng::from_number(7)),
            engine: Memory::new(realms, routes),
            hold: false,
            held: None,
            open: BTreeSet::new(),
            pardoned: BTreeSet::new(),
            sessions: SESSIONS.map(|(session, _)| session),
            alive: SESSIONS.into_iter().map(|(session, _)| session).collect(),
            tids: 0,
            stopped: false,
        };
        for (session, agent) in SESSIONS {
            world.input(Input::Opened { session, agent });
        }
        world
    }

    fn step(&mut self, reader: &mut Reader<'_>) {
        match reader.octet() % STEPS {
            ASK => {
                let (session, what) = (reader.octet(), reader.octet());
                let request = self.request(what, reader);
                self.ask(session, request);
            }
            WIRE => {
                let (session, len) = (reader.octet(), reader.octet());
                let octets = reader.take(len.into());
                let &[basic_type, sub_type, ref payload @ ..] = octets else { return };
                let header = Header { basic_type, sub_type, length: payload.len() as u16, tid: 1 };
                if let Ok(AgentMessage::Rule(request)) = AgentMessage::decode(header, payload) {
                    self.ask(session, request);
                }
            }
            PASS => {
                let time = Duration::from_millis(100) * reader.octet().into();
                self.pass(if self.hold { time.min(HOLD_MAX) } else { time });
                self.hold = false;
                self.release();
            }
            HOLD => {
                self.hold = reader.octet() & 1 == 1;
                if !self.hold {
                    self.release();
                }
            }
            REFUSE => match self.key(reader.octet()) {
                Some(key) => self.engine.refuse(key),
                None => self.engine.relent(),
            },
            ROOM => self.engine.limit(reader.octet().into()),
            LOSE => {
                match self.key(reader.octet()) {
                    Some(key) => self.engine.lose(&key),
                    None => self.engine.flush(),
                }
                self.input(Input::Disturbed);
            }
            SESSION => self.renew(reader.octet()),
            REVOKE => {
                let prid = self.prid(reader.octet());
                self.input(Input::Revoke { prid });
            }
            POLICY => self.input(Input::Policy(Box::new(policy(reader.octet())))),
            step => {
                assert_eq!(step, SHUTDOWN);
                self.stopped = true;
                self.input(Input::Shutdown);
            }
        }
    }

    /// One of the rules there are.
    fn prid(&self, which: u8) -> Prid {
        let rules: Vec<Prid> = self.middlebox.rules(self.now).map(|rule| rule.prid).collect();
        if rules.is_empty() { Prid(u32::from(which)) } else { *choose(&rules, which) }
    }

    fn key(&self, which: u8) -> Option<Key> {
        let keys: Vec<Key> = self.engine.keys().copied().collect();
        (which > 0 && !keys.is_empty()).then(|| *choose(&keys, which))
    }

    /// Few addresses and ports, so that rules share entries and meet.
    fn request(&self, what: u8, reader: &mut Reader<'_>) -> Request {
        let (who, port, seconds) = (reader.octet(), reader.octet(), reader.octet());
        let prid = self.prid(who);
        let lifetime = Lifetime(if seconds == 255 { u32::MAX } else { seconds.into() });
        let protocol = *choose(&[Protocol::Udp, Protocol::Udp, Protocol::Tcp, Protocol::Any], who >> 6);
        let tuple = |network: &str, port: u8| Tuple {
            network: network.parse().unwrap_or_else(|error| panic!("{network}: {error}")),
            protocol,
            port: if port == 0 { 0 } else { 19_999 + u16::from(port & 15) },
            range: 1 + u16::from(port >> 4 & 7),
        };
        let near = choose::<&str>(&["10.0.40.7/32", "10.0.40.8/32", "10.0.40.0/24", "10.9.9.9/32"], who);
        let far = choose::<&str>(&["0.0.0.0/0", "198.51.100.9/32", "198.51.100.0/24", "::/0"], who >> 2);
        let (internal, external) = (tuple(near, port), tuple(far, if port & 128 == 0 { 0 } else { port }));
        let direction =
            *choose(&[Direction::Inbound, Direction::Outbound, Direction::Bidirectional], who >> 4);
        let group = (what & 16 != 0).then_some(Gid(prid.0));
        let parity = Parity::Any;
        match what & 7 {
            0 | 1 => Request::Enable { parity, direction, internal, external, lifetime, group },
            2 => Request::EnableReserved { prid, parity, direction, internal, external, lifetime },
            3 => Request::Reserve {
                service: NatService::Twice,
                inside: IpVersionChoice::Any,
                outside: IpVersionChoice::V4,
                protocol,
                ports: port.into(),
                parity: PortParity::Even,
                lifetime,
                group,
            },
            4 => Request::Lifetime { prid, lifetime },
            5 => Request::Lifetime { prid, lifetime: Lifetime::END },
            6 if what & 8 == 0 => Request::Status { prid },
            7 if what & 8 == 0 => Request::Count { prids: vec![prid] },
            6 => Request::Disable { internal, external, lifetime },
            _ => Request::List,
        }
    }

    fn ask(&mut self, session: u8, request: Request) {
        let session = *choose(&self.sessions, session);
        self.tids += 1;
        if self.alive.contains(&session) && !self.stopped {
            self.open.insert((session, self.tids));
        }
        self.input(Input::Request { session, tid: self.tids, request });
    }

    fn renew(&mut self, which: u8) {
        let which = usize::from(which) % SESSIONS.len();
        let session = self.sessions[which];
        self.input(Input::Closed { session });
        self.open.retain(|(of, _)| *of != session);
        let (session, agent) = (SessionId(session.0 + 3), SESSIONS[which].1);
        self.sessions[which] = session;
        self.alive.insert(session);
        self.input(Input::Opened { session, agent });
    }

    fn input(&mut self, input: Input) {
        let mut out = Outbox::new();
        self.middlebox.handle(self.now, input, &mut out);
        self.carry_out(out);
    }

    /// Does what is asked, in order; what the engine says is heard after that.
    fn carry_out(&mut self, out: Outbox<Output>) {
        let mut answers = Vec::new();
        for output in out {
            match output {
                Output::Reply { session, tid, .. } => {
                    let which = (session, tid);
                    let was_open = self.open.remove(&which) || self.pardoned.remove(&which);
                    assert!(was_open, "{which:?} was not open");
                }
                Output::Apply { batch, operations } => {
                    let keys: BTreeSet<Key> = operations.iter().map(Operation::key).collect();
                    assert_eq!(keys.len(), operations.len(), "one operation per key");
                    assert!(self.held.is_none(), "one batch at a time");
                    self.held = Some((batch, operations));
                }
                Output::Verify { keys } => {
                    let drift = self.engine.verify(&keys);
                    answers.push(Input::Verified { drift });
                }
                Output::Count { session, tid, rules } => {
                    let passed = middlebox::count(&mut self.engine, &rules);
                    answers.push(Input::Counted { session, tid, passed });
                }
                Output::Terminate { session } => {
                    self.alive.remove(&session);
                    let (ended, open) = self.open.iter().partition(|(of, _)| *of == session);
                    self.pardoned.extend::<BTreeSet<_>>(ended);
                    self.open = open;
                }
                Output::Journal(_) | Output::Notify { .. } | Output::Event(_) | Output::ShutdownComplete => {}
            }
        }
        for input in answers {
            self.input(input);
        }
        if !self.hold {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some((batch, operations)) = self.held.take() {
            let results = self.engine.apply(&operations);
            self.input(Input::Applied { batch, results });
        }
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        let mut rounds = 0;
        while let Some((at, _)) = self.middlebox.next_timeout().filter(|(at, _)| *at <= until) {
            rounds += 1;
            assert!(rounds < 2_000, "always something due: {:?}", self.middlebox.next_timeout());
            self.now = self.now.max(at);
            self.engine.advance(self.now);
            let mut out = Outbox::new();
            self.middlebox.handle_timeout(self.now, &mut out);
            self.carry_out(out);
        }
        self.now = until;
        self.engine.advance(self.now);
    }

    /// When nothing is under way, the engine has the entries of the rules and no other.
    fn check(&self) {
        let held = self.held.is_some();
        if held || !self.middlebox.is_quiet() {
            return;
        }
        assert_eq!(self.open, BTreeSet::new(), "quiet, and not answered");
        let rules = self.middlebox.rules(self.now).flat_map(|rule| rule.entries);
        let wanted: BTreeSet<Key> = rules.collect();
        let there: BTreeSet<Key> = self.engine.keys().copied().collect();
        assert_eq!(there, wanted);
    }

    fn end(&mut self) {
        self.hold = false;
        self.release();
        self.engine.relent();
        self.engine.limit(usize::MAX);
        self.pass(Duration::from_secs(60));
        self.check();
        if self.stopped {
            return;
        }
        self.input(Input::Policy(Box::new(policy(255))));
        (0..3).for_each(|which| self.renew(which));
        let owners: BTreeMap<AgentId, u8> =
            (0..).zip(SESSIONS).map(|(index, (_, agent))| (agent, index)).collect();
        let rules: Vec<_> = self.middlebox.rules(self.now).map(|rule| (rule.owner, rule.prid)).collect();
        for (owner, prid) in rules {
            self.ask(owners[&owner], Request::Lifetime { prid, lifetime: Lifetime::END });
        }
        self.pass(Duration::from_secs(60));
        self.check();
        let status = self.middlebox.status();
        assert_eq!((status.rules, status.groups, status.entries, status.queued), (0, 0, 0, 0));
        assert_eq!(self.engine.keys().count(), 0);
        assert_eq!(self.middlebox.next_timeout(), None);
    }
}

fn realms() -> Realms {
    let realm = |name: &str, side, networks: &[&str]| Realm {
        name: name.into(),
        side,
        networks: networks.iter().filter_map(|network| network.parse().ok()).collect(),
        ports: 16_384..=32_767,
        interfaces: Vec::new(),
        managed: true,
        reverse_path: ReversePath::Strict,
    };
    Realms::new(vec![realm("inside", Side::Inside, &["10.0.40.0/24"]), realm("outside", Side::Outside, &[])])
        .unwrap_or_else(|error| panic!("{error}"))
}

/// `much`: bits 0 and 1 which agents there are, bit 2 all ports, bit 3 nobody is denied, the rest how many rules.
fn policy(much: u8) -> Policy {
    let agent = |name: &str| AgentPolicy {
        name: name.into(),
        internal: "10.0.40.0/24".parse().into_iter().collect(),
        ports: if much & 4 == 0 { 20_000..=20_003 } else { 16_384..=32_767 },
        rules_max: u32::from(much >> 4),
        lifetime_max: Lifetime(600),
        rights: Rights { disable: name == "bob", ..Rights::default() },
    };
    let agents = [(AgentId(1), agent("alice"), 1), (AgentId(2), agent("bob"), 2)];
    let agents = agents.into_iter().filter(|(_, _, bit)| much & bit != 0);
    let deny = if much & 8 == 0 { "10.0.40.8/32".parse().into_iter().collect() } else { Vec::new() };
    Policy { agents: agents.map(|(id, agent, _)| (id, agent)).collect(), deny, ..Policy::default() }
}
