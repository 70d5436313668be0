//! A middlebox half: the machine, its SIMCO sessions, and the engine that outlives them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use machine::{Instant, Machine as _, Outbox, Rng};
use middlebox::memory::{Memory, Route};
use middlebox::{
    AgentId, AgentPolicy, Config, Engine as _, EngineFailure, Input, Middlebox, Nat, Output, Policy, Realm,
    Realms, ReversePath, Rights, SessionId, Side,
};
use simco::middlebox as end;

use crate::plan::{House, place};
use crate::queue::Life;
use crate::sabotage::Sabotage;

/// The only agent.
pub(crate) const AGENT: AgentId = AgentId(1);
/// How long entries found at start are kept.
pub(crate) const GRACE: Duration = Duration::from_secs(30);
/// The media ports of both realms.
pub(crate) const PORTS: std::ops::RangeInclusive<u16> = 16_384..=32_767;

/// A middlebox half and its engine.
pub(crate) struct Gate {
    /// `None` while the process is dead.
    pub(crate) machine: Option<Middlebox>,
    pub(crate) engine: Memory,
    pub(crate) life: Life,
    pub(crate) sessions: BTreeMap<u64, end::Session>,
    /// What must still be told to the machine.
    pub(crate) inputs: VecDeque<Input>,
    /// The engine takes so much longer.
    pub(crate) slow: Duration,
    /// When that was over the last time.
    pub(crate) quick: Instant,
    /// The engine refuses everything.
    pub(crate) sick: bool,
    /// No octet moves before.
    pub(crate) stalled: Instant,
    /// Hosts that are denied.
    pub(crate) denied: bool,
    pub(crate) armed: Option<Instant>,
    pub(crate) stopping: bool,
    pub(crate) rng: Rng,
    house: House,
}

/// What a session or the machine wants the world to do.
#[derive(Debug)]
pub(crate) enum Wish {
    Send { connection: u64, bytes: Vec<u8> },
    Hang { connection: u64 },
    Machine(Output),
}

impl Gate {
    pub(crate) fn new(house: &House, rng: Rng) -> Self {
        let route = |outside: bool, interface: &str| Route {
            network: network(house, outside),
            interface: interface.to_owned(),
        };
        let engine = Memory::new(realms(house), vec![route(false, "in"), route(true, "out")]);
        let engine = engine.with_nat(nat(house));
        Self {
            machine: None,
            engine,
            life: 0,
            sessions: BTreeMap::new(),
            inputs: VecDeque::new(),
            slow: Duration::ZERO,
            quick: Instant::ZERO,
            sick: false,
            stalled: Instant::ZERO,
            denied: false,
            armed: None,
            stopping: false,
            rng,
            house: house.clone(),
        }
    }

    /// Starts a process, which finds the engine as it was left.
    pub(crate) fn start(&mut self, now: Instant) {
        let config = Config {
            realms: realms(&self.house),
            policy: self.policy(),
            nat: nat(&self.house),
            tcp: true,
            journal: false,
            orphan_grace: GRACE,
        };
        self.life += 1;
        self.stopping = false;
        self.machine = Some(Middlebox::new(config, self.rng.fork()));
        self.engine.advance(now);
        self.engine.set_available(true);
        let entries = self.engine.entries().unwrap_or_default();
        self.engine.set_available(!self.sick);
        self.inputs.push_back(Input::Adopted { entries });
    }

    pub(crate) fn kill(&mut self) {
        self.machine = None;
        self.sessions.clear();
        self.inputs.clear();
    }

    /// The policy that is in force now.
    pub(crate) fn policy(&self) -> Policy {
        let internal = vec![network(&self.house, false)];
        let agent = AgentPolicy {
            name: "agent".to_owned(),
            internal,
            ports: PORTS,
            rules_max: 10_000,
            lifetime_max: midcom::Lifetime(self.house.lifetime_max_s),
            rights: Rights::default(),
        };
        let denied = [10, 12, 14].map(|host| place::host(self.house.v6, true, host).into());
        let deny = if self.denied { denied.to_vec() } else { Vec::new() };
        Policy { agents: BTreeMap::from([(AGENT, agent)]), deny, ..Policy::default() }
    }

    /// An agent connects; false if nobody is there.
    pub(crate) fn accept(&mut self, now: Instant, connection: u64) -> bool {
        let Some(capabilities) = self.machine.as_ref().and_then(|machine| machine.capabilities(AGENT)) else {
            return false;
        };
        if self.stopping {
            return false;
        }
        let config = end::Config::new(capabilities, end::Admission::Admitted);
        self.sessions.insert(connection, end::Session::new(now, config));
        true
    }

    /// Lets one session work.
    pub(crate) fn with_session(
        &mut self,
        connection: u64,
        wishes: &mut Vec<Wish>,
        work: impl FnOnce(&mut end::Session, &mut Outbox<end::Output>),
    ) {
        let Some(session) = self.sessions.get_mut(&connection) else { return };
        let mut out = Outbox::new();
        work(session, &mut out);
        let id = SessionId(connection);
        for output in out {
            match output {
                end::Output::Send(bytes) => wishes.push(Wish::Send { connection, bytes }),
                end::Output::Opened => self.inputs.push_back(Input::Opened { session: id, agent: AGENT }),
                end::Output::Request { tid, request } => {
                    self.inputs.push_back(Input::Request { session: id, tid, request });
                }
                end::Output::Closed => self.inputs.push_back(Input::Closed { session: id }),
                end::Output::Close => {
                    self.sessions.remove(&connection);
                    wishes.push(Wish::Hang { connection });
                }
            }
        }
    }

    /// Tells the machine everything that waits.
    pub(crate) fn work(&mut self, now: Instant, wishes: &mut Vec<Wish>) {
        let mut out = Outbox::new();
        while let Some(input) = self.inputs.pop_front() {
            let Some(machine) = &mut self.machine else { return };
            machine.handle(now, input, &mut out);
            self.carry_out(now, &mut out, wishes);
        }
    }

    /// Does what is due.
    pub(crate) fn handle_timeout(&mut self, now: Instant, wishes: &mut Vec<Wish>) {
        let mut out = Outbox::new();
        if let Some(machine) = &mut self.machine {
            machine.handle_timeout(now, &mut out);
        }
        self.carry_out(now, &mut out, wishes);
        let due = |session: &end::Session| session.next_timeout().is_some_and(|(at, _)| at <= now);
        let due: Vec<u64> =
            self.sessions.iter().filter(|(_, session)| due(session)).map(|(id, _)| *id).collect();
        for connection in due {
            self.with_session(connection, wishes, |session, out| session.handle_timeout(now, out));
        }
        self.work(now, wishes);
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let sessions = self.sessions.values().filter_map(end::Session::next_timeout).map(|(at, _)| at);
        let machine = self.machine.as_ref().and_then(|machine| machine.next_timeout()).map(|(at, _)| at);
        sessions.chain(machine).min()
    }

    fn carry_out(&mut self, now: Instant, out: &mut Outbox<Output>, wishes: &mut Vec<Wish>) {
        for output in out.drain() {
            match output {
                Output::Reply { session, tid, result } => {
                    self.with_session(session.0, wishes, |session, out| session.reply(now, tid, result, out));
                }
                Output::Notify { session, notification } => {
                    self.with_session(session.0, wishes, |session, out| {
                        session.notify(now, notification, out)
                    });
                }
                Output::Terminate { session } => {
                    self.with_session(session.0, wishes, |session, out| session.terminate(now, out));
                }
                Output::Apply { .. }
                | Output::Verify { .. }
                | Output::Count { .. }
                | Output::Journal(_)
                | Output::Event(_)
                | Output::ShutdownComplete => {
                    wishes.push(Wish::Machine(output));
                }
            }
        }
    }

    /// The engine carries out a batch.
    pub(crate) fn commit(
        &mut self,
        now: Instant,
        operations: &[middlebox::Operation],
        sabotage: Option<Sabotage>,
    ) -> Vec<Result<(), EngineFailure>> {
        self.engine.advance(now);
        let before = sabotage.map(|_| self.engine.clone());
        let results = self.engine.apply(operations);
        match sabotage {
            None
            | Some(
                Sabotage::CountsNothing
                | Sabotage::CountsAnything
                | Sabotage::TrustsContacts
                | Sabotage::LeavesReferTo
                | Sabotage::ChangesKeys
                | Sabotage::EndsSubscriptions
                | Sabotage::TranslatesBeside
                | Sabotage::KeepsSources
                | Sabotage::KeepsDestinations,
            ) => {}
            Some(Sabotage::KeepsEntries) => {
                let removes = operations.iter().any(|one| matches!(one, middlebox::Operation::Remove { .. }));
                if let Some(before) = before.filter(|_| removes) {
                    self.engine = before;
                }
            }
            Some(Sabotage::LosesEntries) => operations.iter().for_each(|one| self.engine.lose(&one.key())),
        }
        results
    }
}

/// The networks of the realms: phones outside live in one network too, so that a stranger's is a third one.
pub(crate) fn network(house: &House, outside: bool) -> midcom::Network {
    let length = if house.v6 { 48 } else { 24 };
    let any = if house.v6 {
        std::net::Ipv6Addr::UNSPECIFIED.into()
    } else {
        std::net::Ipv4Addr::UNSPECIFIED.into()
    };
    match outside {
        true => midcom::Network::new(any, 0),
        false => midcom::Network::new(place::host(house.v6, false, 0), length),
    }
    .map_or_else(|_| midcom::Network::from(any), |network| network.trunc())
}

fn nat(house: &House) -> Nat {
    house.nat.clone().unwrap_or_default()
}

fn realms(house: &House) -> Realms {
    let realm = |name: &str, side, networks| Realm {
        name: name.to_owned(),
        side,
        networks,
        ports: PORTS,
        interfaces: Vec::new(),
        managed: true,
        reverse_path: ReversePath::Strict,
    };
    let inside = realm("inside", Side::Inside, vec![network(house, false)]);
    let outside = realm("outside", Side::Outside, Vec::new());
    // Two realms on two sides with different networks are never refused.
    Realms::new(vec![inside, outside]).expect("the realms of the simulation fit together")
}
