//! The world: everybody in one thread, and the loop that lets things happen.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use machine::{Instant, Machine as _, Outbox, Rng};
use phone::{CallNumber, Phone};
use sip::transaction::TimerValues;

use crate::agent::Agent;
use crate::directory::Directory;
use crate::gate::Gate;
use crate::log::{Lane, Log, Way};
use crate::model::Model;
use crate::plan::{End, Link, Plan, Script, place};
use crate::queue::{Happening, Queue, Seat, Who};
use crate::tally::Tally;
use crate::{agent, elsewhere, wire};

/// No run does more: a machine that spins is caught here.
const HAPPENINGS_MAX: u64 = 40_000_000;
/// So many timeouts without time passing mean that a machine spins.
const SPINS_MAX: u32 = 10_000;

/// A phone in its place.
pub(crate) struct Handset {
    pub(crate) seat: Seat,
    pub(crate) machine: Phone,
    pub(crate) outside: bool,
    pub(crate) address: SocketAddr,
    pub(crate) user: String,
    pub(crate) link: Link,
    pub(crate) rng: Rng,
    pub(crate) armed: Option<Instant>,
}

/// A broken promise.
#[derive(Debug, Clone)]
pub struct Violation {
    /// When.
    pub at: Instant,
    /// The number of the call it is about, if it is about one.
    pub call: Option<u32>,
    /// What should not be.
    pub what: String,
}

/// Everybody.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) now: Instant,
    pub(crate) queue: Queue,
    pub(crate) log: Log,
    pub(crate) agent: Agent,
    pub(crate) gates: Vec<Gate>,
    /// Two for each call of the plan, and behind all of these the further phones of callees.
    pub(crate) handsets: Vec<Handset>,
    pub(crate) directory: Directory,
    pub(crate) model: Model,
    pub(crate) tally: Tally,
    pub(crate) violations: Vec<Violation>,
    /// Draws what the network between the halves and the observer do.
    pub(crate) rng: Rng,
    pub(crate) connections: u64,
    pub(crate) books: crate::books::Books,
    /// When the last octet of each control connection arrives, at the middlebox and at the agent.
    pub(crate) streams: Vec<(Instant, Instant)>,
    spins: u32,
    pub(crate) curfew: bool,
    /// Nothing is left.
    pub(crate) over: bool,
}

impl World {
    pub(crate) fn new(plan: Plan, is_logged: bool) -> Self {
        let mut rng = Rng::from_number(plan.seed ^ 0x0070_6f73_7465_726e);
        let agent = Agent::new(rng.fork());
        let gates = (0..plan.house.gates).map(|_| Gate::new(&plan.house, rng.fork())).collect();
        let mut world = Self {
            now: Instant::ZERO,
            queue: Queue::default(),
            log: Log::new(is_logged),
            agent,
            gates,
            handsets: Vec::new(),
            directory: Directory::default(),
            model: Model::new(&plan),
            tally: Tally::default(),
            violations: Vec::new(),
            rng,
            connections: 0,
            books: crate::books::Books::default(),
            streams: vec![(Instant::ZERO, Instant::ZERO); plan.house.gates],
            spins: 0,
            curfew: false,
            over: false,
            plan,
        };
        world.prepare();
        world
    }

    fn prepare(&mut self) {
        for (call, script) in self.plan.calls.iter().enumerate() {
            if !script.is_referred() {
                self.queue.put(script.start, Happening::Dial { call });
            }
            for end in End::BOTH {
                self.handsets.push(handset(self.plan.seed, script, Seat { call, end, branch: 0 }));
            }
        }
        // Behind them, so that those of a call are found by its position.
        for (call, script) in self.plan.calls.iter().enumerate() {
            for branch in 1..=script.branches.len() {
                let seat = Seat { call, end: End::Callee, branch };
                self.handsets.push(handset(self.plan.seed, script, seat));
            }
            if script.takeover.is_some() {
                let seat = Seat { call, end: End::Caller, branch: 1 };
                self.handsets.push(handset(self.plan.seed, script, seat));
            }
        }
        self.directory = Directory::new(&self.handsets, |seat, address| {
            let Seat { call, end, branch } = self.handsets[seat].seat;
            let named = self.plan.calls[call].phone(end, branch).0.named;
            let proxy = elsewhere::behind_proxy(&self.plan.house, self.handsets[seat].outside, address);
            [named.contact, named.route].contains(&Some(proxy)).then_some(proxy)
        });
        for (at, fault) in &self.plan.faults {
            self.queue.put(*at, Happening::Fault(*fault));
        }
        self.queue.put(self.plan.curfew, Happening::Curfew { round: 0 });
        self.queue.put(Instant::from_nanos(1), Happening::Look);
        for gate in 0..self.gates.len() {
            self.start_gate(gate);
        }
        self.start_agent();
    }

    /// Lets everything happen until nothing is left to happen.
    pub(crate) fn run(&mut self) {
        let mut happenings = 0;
        // Six rounds of hanging up, two lives of a transaction, the lifetime of a rule; and where only a session timer
        // ends a call, the longest interval that a phone insists on.
        let session_s = if self.plan.calls.iter().any(Script::is_forgotten) { 700 } else { 0 };
        let wait_s = u64::from(self.plan.house.rule_lifetime_s) + 400 + session_s;
        let end = self.plan.curfew + Duration::from_secs(wait_s);
        while let Some((at, happening)) = self.queue.take() {
            self.spins = if at > self.now { 0 } else { self.spins + 1 };
            self.now = self.now.max(at);
            self.happen(happening);
            happenings += 1;
            if happenings > HAPPENINGS_MAX || self.spins > SPINS_MAX {
                self.violation(None, "a machine spins: its timeout is due and nothing changes".to_owned());
                return;
            }
            if !self.violations.is_empty() || self.over || self.now > end {
                break;
            }
        }
        self.tally.happenings += happenings;
    }

    /// The last look, and what came of it all.
    pub(crate) fn finish(mut self) -> crate::Outcome {
        if self.violations.is_empty() {
            self.check_end();
        }
        self.tally.runs = 1;
        self.tally.simulated_s = self.now.since(Instant::ZERO).as_secs();
        let occasions = self.books.reader.told(&self.tally);
        let Self { plan, log, violations, tally, .. } = self;
        crate::Outcome { plan, log, violations, tally, occasions }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake(who) => self.wake(who),
            Happening::Dial { call } => self.dial(call),
            Happening::Cancel { call } => self.give_up(call),
            Happening::TakeOver { seat, number } => self.take_over(seat, number),
            Happening::Refer { seat, number } => self.refer(seat, number),
            Happening::HangUp { seat, number } => self.phone_input(seat, phone::Input::HangUp(number)),
            Happening::Offer { seat, number, offer } => self.offer(seat, number, offer),
            Happening::ToAgent { seat, outside, bytes } => self.reach_agent(seat, outside, bytes),
            Happening::ToPhone { seat, from, bytes } => {
                let hop = agent::hop(self.handsets[seat].outside, from);
                let hop = sip::transport::Hop { listener: sip::transport::ListenerId(0), ..hop };
                self.phone_input(seat, phone::Input::Received { hop, bytes });
            }
            Happening::Unreachable { seat } => {
                let handset = &self.handsets[seat];
                let remote = place::agent(self.plan.house.v6, handset.outside);
                let hop = sip::transport::Hop {
                    listener: sip::transport::ListenerId(0),
                    ..agent::hop(true, remote)
                };
                self.phone_input(seat, phone::Input::TransportFailed { hop });
            }
            Happening::Resolved { life, id, places } => {
                if life == self.agent.life {
                    self.agent.inputs.push_back(b2bua::Input::Resolved { id, places });
                    self.agent_works();
                }
            }
            Happening::Connect { life, gate } => self.connect(life, gate),
            Happening::ToGate { gate, connection, bytes } => self.reach_gate(gate, connection, &bytes),
            Happening::FromGate { gate, connection, bytes } => self.reach_link(gate, connection, &bytes),
            Happening::GateLoses { gate, connection } => self.gate_loses(gate, connection),
            Happening::AgentLoses { gate, connection } => self.agent_loses(gate, connection),
            Happening::Commit { gate, life, batch, operations } => {
                self.commit(gate, life, batch, &operations)
            }
            Happening::Applied { gate, life, batch, results } => {
                self.gate_input(gate, life, middlebox::Input::Applied { batch, results });
            }
            Happening::Verify { gate, life, keys } => self.verify(gate, life, &keys),
            Happening::Disturbed { gate, life } => self.gate_input(gate, life, middlebox::Input::Disturbed),
            Happening::Fault(fault) => self.fault(fault),
            Happening::Over(fault) => self.fault_over(fault),
            Happening::Deadline(who, life) => self.deadline(who, life),
            Happening::Look => self.look(),
            Happening::Curfew { round } => self.curfew(round),
        }
    }

    /// Lets somebody's timers fire, if any is due.
    fn wake(&mut self, who: Who) {
        let now = self.now;
        match who {
            Who::Agent => {
                if self.agent.armed.is_none_or(|at| at > now) {
                    return;
                }
                self.agent.armed = None;
                let mut wishes = Vec::new();
                self.agent.handle_timeout(now, &mut wishes);
                self.grant_agent(wishes);
            }
            Who::Gate(gate) => {
                if self.gates[gate].armed.is_none_or(|at| at > now) {
                    return;
                }
                self.gates[gate].armed = None;
                let mut wishes = Vec::new();
                self.gates[gate].handle_timeout(now, &mut wishes);
                self.grant_gate(gate, wishes);
            }
            Who::Phone(seat) => {
                if self.handsets[seat].armed.is_none_or(|at| at > now) {
                    return;
                }
                self.handsets[seat].armed = None;
                let mut out = Outbox::new();
                self.handsets[seat].machine.handle_timeout(now, &mut out);
                self.grant_phone(seat, out);
            }
        }
    }

    /// Makes sure that somebody is woken when its next timer is due.
    pub(crate) fn arm(&mut self, who: Who) {
        let (next, armed) = match who {
            Who::Agent => (self.agent.next_timeout(), &mut self.agent.armed),
            Who::Gate(gate) => (self.gates[gate].next_timeout(), &mut self.gates[gate].armed),
            Who::Phone(seat) => {
                let handset = &mut self.handsets[seat];
                (handset.machine.next_timeout().map(|(at, _)| at), &mut handset.armed)
            }
        };
        let Some(next) = next.map(|at| at.max(self.now)) else { return };
        if armed.is_none_or(|at| next < at) {
            *armed = Some(next);
            self.queue.put(next, Happening::Wake(who));
        }
    }

    /// Notes a broken promise.
    pub(crate) fn violation(&mut self, call: Option<usize>, what: String) {
        let call = call.map(|call| self.plan.calls[call].number);
        self.log.line(self.now, call, None, format_args!("VIOLATION: {what}"));
        self.violations.push(Violation { at: self.now, call, what });
    }

    /// Adds a line about a call of the plan, or about all.
    pub(crate) fn note(&mut self, call: Option<usize>, text: fmt::Arguments<'_>) {
        let call = call.map(|call| self.plan.calls[call].number);
        self.log.line(self.now, call, None, text);
    }

    /// Adds a line about something that is sent in a call of the plan, if it is in one.
    pub(crate) fn arrow(&mut self, call: impl Into<Option<usize>>, way: Way, text: fmt::Arguments<'_>) {
        let call = call.into().map(|call| self.plan.calls[call].number);
        self.log.line(self.now, call, Some(way), text);
    }

    /// A datagram between a phone and the agent gets lost.
    fn note_loss(&mut self, seat: usize, happening: &Happening) {
        let (lane, call) = (self.lane(seat), self.handsets[seat].seat.call);
        let (from, to, bytes) = match happening {
            Happening::ToAgent { bytes, .. } => (lane, Lane::Agent, bytes),
            Happening::ToPhone { bytes, .. } => (Lane::Agent, lane, bytes),
            _ => return,
        };
        let way = Way { from, to, is_lost: true };
        self.arrow(call, way, format_args!("lost: {}", wire::Headline(bytes)));
    }

    /// In which column of the ladder a phone stands.
    pub(crate) fn lane(&self, seat: usize) -> Lane {
        match self.handsets[seat].seat.end {
            End::Caller => Lane::Caller,
            End::Callee => Lane::Callee,
        }
    }

    /// The name of a seat in the log: `out` or `in`, and which end.
    pub(crate) fn name(&self, seat: usize) -> &'static str {
        let handset = &self.handsets[seat];
        match (handset.seat.end, handset.seat.branch) {
            (_, 0) => {}
            (End::Caller, _) => return "taker      ",
            (End::Callee, 1) => return "callee 2   ",
            (End::Callee, _) => return "callee 3   ",
        }
        match (handset.seat.end, handset.outside) {
            (End::Caller, true) => "caller(out)",
            (End::Caller, false) => "caller(in) ",
            (End::Callee, true) => "callee(out)",
            (End::Callee, false) => "callee(in) ",
        }
    }

    /// What a phone is told.
    pub(crate) fn phone_input(&mut self, seat: usize, input: phone::Input) {
        if let phone::Input::Received { bytes, .. } = &input {
            self.log.mix(bytes);
            let (call, name) = (self.handsets[seat].seat.call, self.name(seat));
            self.note(Some(call), format_args!("      -> {name} {}", wire::Headline(bytes)));
            if !self.books.past_us.has(bytes) {
                self.note_terms(seat, bytes);
            }
        }
        let mut out = Outbox::new();
        self.handsets[seat].machine.handle(self.now, input, &mut out);
        self.grant_phone(seat, out);
    }

    fn dial(&mut self, call: usize) {
        let outside = self.handsets[call * 2].outside;
        let next = place::agent(self.plan.house.v6, outside);
        let host = match next.ip() {
            std::net::IpAddr::V4(host) => host.to_string(),
            std::net::IpAddr::V6(host) => format!("[{host}]"),
        };
        self.tally.dialled += 1;
        self.dial_to(call, format!("sip:{}@{host}", self.handsets[call * 2 + 1].user));
    }

    /// A caller calls a URI, through us, and may give up after a while.
    pub(crate) fn dial_to(&mut self, call: usize, to: String) {
        let seat = call * 2;
        let outside = self.handsets[seat].outside;
        if let Some(after) = self.plan.calls[call].cancel {
            self.queue.put(self.now + after, Happening::Cancel { call });
        }
        let next = place::agent(self.plan.house.v6, outside);
        let next =
            sip::transport::Hop { listener: sip::transport::ListenerId(0), ..agent::hop(outside, next) };
        self.phone_input(seat, phone::Input::Call { to, next });
    }

    /// A phone on the caller's side takes its place, if the call is still there.
    fn take_over(&mut self, seat: usize, number: CallNumber) {
        let call = self.handsets[seat].seat.call;
        let Some((to, replaces)) = self.handsets[seat].machine.place(number) else { return };
        let Some((party, _)) = &self.plan.calls[call].takeover else { return };
        let Some(taker) = self.directory.at(party.address).first().copied() else { return };
        let outside = self.handsets[seat].outside;
        let next = place::agent(self.plan.house.v6, outside);
        let next =
            sip::transport::Hop { listener: sip::transport::ListenerId(0), ..agent::hop(outside, next) };
        self.note(Some(call), format_args!("{} is told: Replaces: {replaces}", self.name(taker)));
        self.phone_input(taker, phone::Input::TakeOver { to, next, replaces });
    }

    fn give_up(&mut self, call: usize) {
        self.phone_input(call * 2, phone::Input::Cancel(CallNumber(1)));
    }

    /// A datagram of a phone has arrived.
    fn reach_agent(&mut self, seat: usize, outside: bool, bytes: Bytes) {
        if self.agent.machine.is_none() {
            if self.plan.house.icmp {
                let at = self.now + self.handsets[seat].link.delay;
                self.queue.put(at, Happening::Unreachable { seat });
            }
            return;
        }
        self.log.mix(&bytes);
        self.books.reader.arrives(self.agent.life, &bytes);
        let (call, name) = (self.handsets[seat].seat.call, self.name(seat));
        let way = Way { from: self.lane(seat), to: Lane::Agent, is_lost: false };
        self.arrow(call, way, format_args!("{name} -> agent {}", wire::Headline(&bytes)));
        let hop = agent::hop(outside, self.handsets[seat].address);
        if self.books.finals.arrives(self.now, self.agent.life, &bytes) {
            // What an old request offers once more, its phone has long forgotten.
            self.model.views[call].unsure = true;
        }
        self.books.arriving = Some((self.handsets[seat].seat, bytes.clone()));
        self.agent.inputs.push_back(b2bua::Input::Message { hop, bytes });
        self.agent_works();
        self.books.arriving = None;
    }

    /// Sends a datagram over a phone's link; `make` says what arrives.
    pub(crate) fn over(&mut self, seat: usize, make: impl Fn() -> Happening) {
        let link = self.handsets[seat].link;
        let copies = 1 + u32::from(self.handsets[seat].rng.percent(link.double));
        for _ in 0..copies {
            let handset = &mut self.handsets[seat];
            if handset.rng.percent(link.loss) {
                self.tally.lost += 1;
                self.note_loss(seat, &make());
                continue;
            }
            let jitter = handset.rng.below(link.jitter.as_nanos() as u64 + 1);
            let at = self.now + link.delay + Duration::from_nanos(jitter);
            self.queue.put(at, make());
        }
    }
}

fn handset(seed: u64, script: &Script, seat: Seat) -> Handset {
    let (party, answer) = script.phone(seat.end, seat.branch);
    let letter = match (seat.end, seat.branch) {
        (End::Caller, 0) => 'a',
        (End::Caller, _) => 'd',
        (End::Callee, _) => 'b',
    };
    let user = format!("c{}{letter}", script.number);
    let number =
        u64::from(script.number) * 2 + u64::from(seat.end == End::Callee) + ((seat.branch as u64) << 32);
    let mut rng = Rng::from_number(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    let config = phone::Config {
        user: user.clone(),
        address: party.address,
        named: party.named,
        protocol: sip::transport::Protocol::Udp,
        media: party.media,
        answer,
        timers: TimerValues::default(),
        extensions: party.extensions,
        oddities: party.oddities,
    };
    Handset {
        seat,
        machine: Phone::new(config, rng.fork()),
        outside: script.is_outside(seat.end),
        address: party.address,
        user,
        link: party.link,
        rng,
        armed: None,
    }
}
