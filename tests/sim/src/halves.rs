//! What the two halves ask for, and the octets between them.

use std::time::Duration;

use bytes::Bytes;
use midcom::AgentEvent;
use middlebox::BatchId;
use sip::locate::Place;
use sip::transport::Protocol;

use crate::agent::{self, PAUSE};
use crate::faults::STRANGER;
use crate::gate;
use crate::log::{Lane, Way};
use crate::model::SETTLE;
use crate::plan::place;
use crate::queue::{Happening, Life, Seat, Who};
use crate::world::World;
use crate::{elsewhere, wire};

impl World {
    /// Tells the agent everything that waits, and carries out what it asks for.
    pub(crate) fn agent_works(&mut self) {
        let mut wishes = Vec::new();
        self.agent.work(self.now, &mut wishes);
        self.grant_agent(wishes);
    }

    pub(crate) fn grant_agent(&mut self, wishes: Vec<agent::Wish>) {
        let mut complete = false;
        for wish in wishes {
            match wish {
                agent::Wish::Send { gate, bytes } => self.send_to_gate(gate, bytes),
                agent::Wish::Hang { gate } => self.agent_hangs(gate),
                agent::Wish::Told { gate, event } => self.agent_hears(gate, &event),
                agent::Wish::Machine(output) => match output {
                    b2bua::Output::Transmit { hop, bytes } => self.agent_sends(hop, bytes),
                    b2bua::Output::Resolve { id, wish } => self.look_up(id, &wish.host),
                    b2bua::Output::Event(event) => self.agent_says(event),
                    b2bua::Output::ShutdownComplete => complete = true,
                    b2bua::Output::Midcom { .. } => {}
                },
            }
        }
        if complete {
            self.agent_stops();
        }
        self.arm(Who::Agent);
    }

    fn agent_hears(&mut self, gate: usize, event: &AgentEvent) {
        match event {
            // An answer that was sent before everything stood still: it is up when octets move again.
            AgentEvent::Up(_) if self.gates[gate].stalled > self.now => {}
            AgentEvent::Up(_) => self.model.up(self.now, gate),
            AgentEvent::Down(_) => self.model.down(self.now, gate),
            AgentEvent::Reply(..) | AgentEvent::Notification(_) => return,
        }
        self.note(None, format_args!("agent: gate {gate}: {event:?}"));
    }

    fn agent_sends(&mut self, hop: sip::transport::Hop, bytes: Bytes) {
        let v6 = self.plan.house.v6;
        let outside = hop.listener == agent::listener(true);
        let (hop, bytes) = self.tampered(hop, bytes);
        let to_switch = hop.remote == place::switch(v6, outside);
        let found = match to_switch {
            true => self.directory.of_user(wire::user(&bytes).unwrap_or_default()),
            false => self.directory.at(hop.remote),
        };
        let is_there = |seat: &usize| self.handsets[*seat].outside == outside;
        let seats: Vec<usize> = found.iter().copied().filter(is_there).collect();
        let leaving = self.books.leaving.take();
        let Some(first) = seats.first() else {
            let is_stranger = hop.remote.ip() == place::host(v6, outside, STRANGER);
            if !to_switch && !is_stranger {
                // Nobody of that realm is there: it was named by somebody of another one, or stands for no place at all.
                let (what, call) = (wire::Headline(&bytes), leaving.map(|(call, ..)| call));
                let text = format!("the agent sends {what} to {}, where nobody of that side is", hop.remote);
                self.violation(call, text);
            }
            return self.note(None, format_args!("agent sends {} to nobody", wire::Headline(&bytes)));
        };
        self.log.mix(&bytes);
        self.check_final(self.handsets[*first].seat.call, &bytes);
        let from_call = leaving.as_ref().map(|(_, id, ..)| *id);
        if let (Some(id), false) = (from_call, bytes.starts_with(b"SIP/2.0")) {
            let inserts = self.plan.house.realms[usize::from(!outside)].precondition.is_some();
            self.books.reader.leaves((self.agent.life, id), &bytes, inserts);
        }
        if let Some((call, id, side, message)) = leaving {
            self.note_session(call, id, side, true, (&message, &bytes));
        }
        let from = place::agent(v6, outside);
        if seats.len() > 1 {
            self.fork(&seats, from, &bytes);
        }
        for seat in &seats {
            let (call, name) = (self.handsets[*seat].seat.call, self.name(*seat));
            let way = Way { from: Lane::Agent, to: self.lane(*seat), is_lost: false };
            self.arrow(call, way, format_args!("      agent sends {} to {name}", wire::Headline(&bytes)));
            self.check_shown(*seat, &bytes);
            self.check_passed_on(*seat, from_call, &bytes);
            self.check_quirks(*seat, &bytes);
        }
        if let [seat] = seats[..] {
            self.note_place(seat, &bytes);
            let bytes = self.past_proxy(seat, bytes);
            self.over(seat, || Happening::ToPhone { seat, from, bytes: bytes.clone() });
        }
    }

    /// What reaches a phone: if it has entered a proxy into the route, not that entry.
    fn past_proxy(&self, seat: usize, bytes: Bytes) -> Bytes {
        let Seat { call, end, branch } = self.handsets[seat].seat;
        let is_behind = self.plan.calls[call].phone(end, branch).0.named.route.is_some();
        match is_behind && wire::status(&bytes) > 0 {
            true => Bytes::from(elsewhere::without_record_route(&bytes)),
            false => bytes,
        }
    }

    fn look_up(&mut self, id: b2bua::LookupId, host: &str) {
        let switch = place::switch(self.plan.house.v6, host.starts_with("outside"));
        let place = Place { protocol: Protocol::Udp, address: switch };
        let places = if self.rng.percent(3) { Vec::new() } else { vec![place] };
        let at = self.now + Duration::from_millis(self.rng.below(300));
        self.queue.put(at, Happening::Resolved { life: self.agent.life, id, places });
    }

    /// Tells a middlebox something, if it is still the same process.
    pub(crate) fn gate_input(&mut self, gate: usize, life: Life, input: middlebox::Input) {
        if self.gates[gate].life == life && self.gates[gate].machine.is_some() {
            self.gates[gate].inputs.push_back(input);
            self.gate_works(gate);
        }
    }

    pub(crate) fn gate_works(&mut self, gate: usize) {
        let mut wishes = Vec::new();
        self.gates[gate].work(self.now, &mut wishes);
        self.grant_gate(gate, wishes);
    }

    pub(crate) fn grant_gate(&mut self, gate: usize, wishes: Vec<gate::Wish>) {
        let mut complete = false;
        for wish in wishes {
            match wish {
                gate::Wish::Send { connection, bytes } => self.send_to_agent(gate, connection, bytes),
                gate::Wish::Hang { connection } => {
                    let at = self.arrival(gate);
                    self.queue.put(at, Happening::AgentLoses { gate, connection });
                }
                gate::Wish::Machine(output) => match output {
                    middlebox::Output::Apply { batch, operations } => {
                        let (at, life) = (self.engine_time(gate), self.gates[gate].life);
                        self.queue.put(at, Happening::Commit { gate, life, batch, operations });
                    }
                    middlebox::Output::Verify { keys } => {
                        let (at, life) = (self.engine_time(gate), self.gates[gate].life);
                        self.queue.put(at, Happening::Verify { gate, life, keys });
                    }
                    middlebox::Output::Count { session, tid, rules } => {
                        let passed = middlebox::count(&mut self.gates[gate].engine, &rules);
                        let passed = self.plan.told(self.now, passed);
                        let counted = middlebox::Input::Counted { session, tid, passed };
                        self.gates[gate].inputs.push_back(counted);
                        self.gate_works(gate);
                    }
                    middlebox::Output::Event(event) => self.gate_says(gate, event),
                    middlebox::Output::ShutdownComplete => complete = true,
                    // No journal is kept here.
                    middlebox::Output::Journal(_)
                    | middlebox::Output::Reply { .. }
                    | middlebox::Output::Notify { .. }
                    | middlebox::Output::Terminate { .. } => {}
                },
            }
        }
        if complete {
            self.kill_gate(gate);
        }
        self.arm(Who::Gate(gate));
    }

    fn gate_says(&mut self, gate: usize, event: middlebox::Event) {
        let site = &mut self.model.sites[gate];
        if let middlebox::Event::RemovalFailed { key } = event {
            // It is tried again every second.
            site.excused.insert(key, self.now + SETTLE);
        }
        let is_late = site.up.is_none_or(|up| up + SETTLE > self.now);
        if is_late && matches!(event, middlebox::Event::OrphansRemoved { .. }) {
            // An agent that did not come back in time has lost what its calls had.
            self.model.disturb();
        }
        self.note(None, format_args!("gate {gate}: {event:?}"));
    }

    /// When the engine will have done something.
    fn engine_time(&mut self, gate: usize) -> machine::Instant {
        let usual = self.rng.below(self.plan.house.engine.as_nanos() as u64 + 1);
        self.now + Duration::from_nanos(usual) + self.gates[gate].slow
    }

    pub(crate) fn commit(
        &mut self,
        gate: usize,
        life: Life,
        batch: BatchId,
        operations: &[middlebox::Operation],
    ) {
        let half = &mut self.gates[gate];
        // A process that was killed may have written its batch, but not after another has begun.
        let written = half.life == life && (half.machine.is_some() || self.rng.percent(50));
        if !written {
            return;
        }
        let results = half.commit(self.now, operations, self.plan.sabotage);
        self.tally.batches += 1;
        self.check_entries(gate);
        let at = self.now + Duration::from_nanos(self.rng.below(1_000_000));
        self.queue.put(at, Happening::Applied { gate, life, batch, results });
    }

    pub(crate) fn verify(&mut self, gate: usize, life: Life, keys: &[middlebox::Key]) {
        use middlebox::Engine as _;
        if self.gates[gate].life == life {
            self.gates[gate].engine.advance(self.now);
            let drift = self.gates[gate].engine.verify(keys);
            self.gate_input(gate, life, middlebox::Input::Verified { drift });
        }
    }

    /// When octets sent now will have arrived.
    fn arrival(&mut self, gate: usize) -> machine::Instant {
        let travel = self.plan.house.control.as_nanos() as u64;
        let at = self.now + Duration::from_nanos(travel / 2 + self.rng.below(travel / 2 + 1));
        at.max(self.gates[gate].stalled)
    }

    /// Cuts octets anywhere, as a stream may.
    fn fragments(&mut self, mut bytes: Vec<u8>) -> Vec<Vec<u8>> {
        let mut fragments = Vec::new();
        while self.rng.percent(30) && bytes.len() > 1 {
            let at = 1 + self.rng.below(bytes.len() as u64 - 1) as usize;
            let rest = bytes.split_off(at);
            fragments.push(std::mem::replace(&mut bytes, rest));
        }
        fragments.push(bytes);
        fragments
    }

    fn send_to_gate(&mut self, gate: usize, bytes: Vec<u8>) {
        let Some(connection) = self.agent.links[gate].connection else { return };
        for bytes in self.fragments(bytes) {
            let at = self.arrival(gate).max(self.streams[gate].0);
            self.streams[gate].0 = at;
            self.queue.put(at, Happening::ToGate { gate, connection, bytes });
        }
    }

    fn send_to_agent(&mut self, gate: usize, connection: u64, bytes: Vec<u8>) {
        for bytes in self.fragments(bytes) {
            let at = self.arrival(gate).max(self.streams[gate].1);
            self.streams[gate].1 = at;
            self.queue.put(at, Happening::FromGate { gate, connection, bytes });
        }
    }

    pub(crate) fn reach_gate(&mut self, gate: usize, connection: u64, bytes: &[u8]) {
        self.log.mix(bytes);
        let (now, mut wishes) = (self.now, Vec::new());
        self.gates[gate]
            .with_session(connection, &mut wishes, |session, out| session.receive(now, bytes, out));
        self.grant_gate(gate, wishes);
        self.gate_works(gate);
    }

    pub(crate) fn reach_link(&mut self, gate: usize, connection: u64, bytes: &[u8]) {
        if self.agent.links.get(gate).and_then(|link| link.connection) != Some(connection) {
            return;
        }
        self.log.mix(bytes);
        let (now, mut wishes) = (self.now, Vec::new());
        self.agent.with_link(gate, &mut wishes, |session, out| session.receive(now, bytes, out));
        self.grant_agent(wishes);
        self.agent_works();
    }

    /// The agent tries to reach a middlebox.
    pub(crate) fn connect(&mut self, life: Life, gate: usize) {
        let alive = self.agent.life == life && self.agent.machine.is_some();
        if !alive || self.agent.links[gate].connection.is_some() {
            return;
        }
        let connection = self.connections + 1;
        if self.gates[gate].stalled > self.now || !self.gates[gate].accept(self.now, connection) {
            return self.queue.put(self.now + PAUSE, Happening::Connect { life, gate });
        }
        self.connections = connection;
        self.agent.links[gate].connection = Some(connection);
        self.streams[gate] = (self.now, self.now);
        let (now, mut wishes) = (self.now, Vec::new());
        self.agent.with_link(gate, &mut wishes, |session, out| session.connected(now, out));
        self.grant_agent(wishes);
        self.agent_works();
        self.arm(Who::Gate(gate));
    }

    /// The agent gives a connection up.
    pub(crate) fn agent_hangs(&mut self, gate: usize) {
        let Some(connection) = self.agent.links[gate].connection.take() else { return };
        let at = self.arrival(gate).max(self.streams[gate].0);
        self.queue.put(at, Happening::GateLoses { gate, connection });
        let life = self.agent.life;
        self.queue.put(self.now + PAUSE, Happening::Connect { life, gate });
    }

    pub(crate) fn gate_loses(&mut self, gate: usize, connection: u64) {
        let (now, mut wishes) = (self.now, Vec::new());
        self.gates[gate].with_session(connection, &mut wishes, |session, out| session.disconnected(now, out));
        self.gates[gate].sessions.remove(&connection);
        self.grant_gate(gate, wishes);
        self.gate_works(gate);
    }

    pub(crate) fn agent_loses(&mut self, gate: usize, connection: u64) {
        if self.agent.links.get(gate).and_then(|link| link.connection) != Some(connection) {
            return;
        }
        self.agent.links[gate].connection = None;
        let (now, mut wishes) = (self.now, Vec::new());
        self.agent.with_link(gate, &mut wishes, |session, out| session.disconnected(now, "it broke", out));
        self.grant_agent(wishes);
        self.agent_works();
        let life = self.agent.life;
        self.queue.put(self.now + PAUSE, Happening::Connect { life, gate });
    }
}
