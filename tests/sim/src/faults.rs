//! What goes wrong.

use std::time::Duration;

use b2bua::Input;
use bytes::Bytes;

use crate::gate::GRACE;
use crate::mishaps::Fault;
use crate::model::SETTLE;
use crate::plan::place;
use crate::queue::{Happening, Life, Who};
use crate::world::World;

/// The pause after which the agent asks for a close again that was refused; the middlebox tries sooner.
const AGAIN: Duration = Duration::from_secs(2);
/// How long a half may take to stop (`docs/operation.md`: 5 s).
const STOP_MAX: Duration = Duration::from_secs(5);

/// The host of those who belong to no call.
pub(crate) const STRANGER: u8 = 99;

impl World {
    pub(crate) fn start_agent(&mut self) {
        self.agent.start(&self.plan.house);
        let life = self.agent.life;
        self.model.life = life;
        self.note(None, format_args!("agent {life} starts"));
        for gate in 0..self.gates.len() {
            self.queue.put(self.now, Happening::Connect { life, gate });
        }
    }

    pub(crate) fn start_gate(&mut self, gate: usize) {
        let now = self.now;
        self.gates[gate].start(now);
        self.note(None, format_args!("gate {gate} starts"));
        self.model.begins_again(now, gate);
        self.model.sites[gate].lent.forget();
        let excused = &mut self.model.sites[gate].excused;
        excused.extend(self.gates[gate].engine.keys().map(|key| (*key, now + GRACE + SETTLE)));
        self.gate_works(gate);
    }

    fn kill_agent(&mut self) {
        for gate in 0..self.gates.len() {
            if let Some(connection) = self.agent.links[gate].connection {
                let at = self.now + self.plan.house.control;
                self.queue.put(at, Happening::GateLoses { gate, connection });
            }
            self.model.down(self.now, gate);
            // What it was about to close stays until the next one lists it, or until its lifetime is over.
            let (now, until) = (self.now, self.now + self.model.lifetime() + SETTLE);
            let excused = self.model.sites[gate].excused.values_mut();
            excused.filter(|end| **end >= now).for_each(|end| *end = until.max(*end));
        }
        self.agent.kill();
        self.model.agent_died(self.now);
        self.note(None, format_args!("agent is dead"));
    }

    /// Everything is said: the sessions are ended in order, and the process ends.
    pub(crate) fn agent_stops(&mut self) {
        let (now, mut wishes) = (self.now, Vec::new());
        for gate in 0..self.gates.len() {
            self.agent.with_link(gate, &mut wishes, |session, out| session.close(now, out));
        }
        for wish in wishes {
            if let crate::agent::Wish::Send { gate, bytes } = wish {
                self.send_last(gate, bytes);
            }
        }
        self.kill_agent();
    }

    fn send_last(&mut self, gate: usize, bytes: Vec<u8>) {
        if let Some(connection) = self.agent.links[gate].connection {
            self.queue.put(self.streams[gate].0.max(self.now), Happening::ToGate { gate, connection, bytes });
        }
    }

    pub(crate) fn kill_gate(&mut self, gate: usize) {
        let connections: Vec<u64> = self.gates[gate].sessions.keys().copied().collect();
        let at = (self.now + self.plan.house.control).max(self.streams[gate].1);
        for connection in connections {
            self.queue.put(at, Happening::AgentLoses { gate, connection });
        }
        self.gates[gate].kill();
        // Until another one starts, nothing ends an entry but its lifetime.
        let until = self.now + self.model.lifetime() + SETTLE;
        let excused = &mut self.model.sites[gate].excused;
        excused.extend(self.gates[gate].engine.keys().map(|key| (*key, until)));
        self.note(None, format_args!("gate {gate} is dead"));
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        self.tally.faults += 1;
        self.note(None, format_args!("FAULT {fault:?}"));
        let over = |time: Duration| (self.now + time, Happening::Over(fault));
        match fault {
            Fault::KillAgent(time) if self.agent.machine.is_some() => {
                self.kill_agent();
                self.queue.put(self.now + time, Happening::Over(fault));
            }
            Fault::StopAgent(time) if self.agent.machine.is_some() && !self.agent.stopping => {
                let (at, over) = over(STOP_MAX + time);
                self.queue.put(at, over);
                self.agent.stopping = true;
                self.queue.put(self.now + STOP_MAX, Happening::Deadline(Who::Agent, self.agent.life));
                self.agent.inputs.push_back(Input::Shutdown);
                self.agent_works();
            }
            Fault::KillGate(gate, time) if self.gates[gate].machine.is_some() => {
                self.kill_gate(gate);
                self.queue.put(self.now + time, Happening::Over(fault));
            }
            Fault::StopGate(gate, time)
                if self.gates[gate].machine.is_some() && !self.gates[gate].stopping =>
            {
                let (at, over) = over(STOP_MAX + time);
                self.queue.put(at, over);
                self.gates[gate].stopping = true;
                let life = self.gates[gate].life;
                self.queue.put(self.now + STOP_MAX, Happening::Deadline(Who::Gate(gate), life));
                self.gate_input(gate, life, middlebox::Input::Shutdown);
            }
            Fault::KillAgent(_) | Fault::StopAgent(_) | Fault::KillGate(..) | Fault::StopGate(..) => {}
            Fault::Break(gate) => self.break_connection(gate),
            Fault::Stall(gate, time) => {
                // Nothing overtakes: what is sent later arrives later, on a new connection too.
                self.gates[gate].stalled = self.gates[gate].stalled.max(self.now + time);
                self.model.down(self.now, gate);
                let (at, over) = over(time);
                self.queue.put(at, over);
            }
            Fault::Slow(gate, each, time) => {
                self.gates[gate].slow = each;
                let (at, over) = over(time);
                self.queue.put(at, over);
            }
            Fault::Sick(gate, time) => {
                self.sicken(gate, time);
                self.storm(fault, time);
            }
            Fault::Full(gate, time) => {
                let entries = self.gates[gate].engine.keys().count();
                self.gates[gate].engine.limit(entries);
                self.storm(fault, time);
            }
            Fault::Flush(gate) => {
                self.gates[gate].engine.flush();
                self.model.views.iter_mut().for_each(|view| view.counted.forget());
                let at = self.now + Duration::from_nanos(self.rng.below(1_000_000_000));
                let life = self.gates[gate].life;
                self.queue.put(at, Happening::Disturbed { gate, life });
                self.storm(fault, SETTLE);
            }
            Fault::Deny(gate, time) => {
                self.deny(gate, true);
                self.storm(fault, time);
            }
            Fault::Revoke(gate) => self.revoke(gate),
            Fault::Kick => self.kick(),
            Fault::Forge => self.forge(),
        }
    }

    /// An engine refuses everything: what is being removed stays at least until it works again.
    fn sicken(&mut self, gate: usize, time: Duration) {
        self.gates[gate].sick = true;
        self.gates[gate].engine.set_available(false);
        let (now, until) = (self.now, self.now + time + SETTLE);
        let excused = self.model.sites[gate].excused.values_mut();
        excused.filter(|end| **end >= now).for_each(|end| *end = until.max(*end));
    }

    /// For so long, and for all calls that live meanwhile, nothing is certain.
    fn storm(&mut self, fault: Fault, time: Duration) {
        self.model.storms += 1;
        self.model.disturb();
        self.queue.put(self.now + time, Happening::Over(fault));
    }

    pub(crate) fn fault_over(&mut self, fault: Fault) {
        match fault {
            Fault::KillAgent(_) | Fault::StopAgent(_) => {
                if self.agent.machine.is_none() {
                    self.start_agent();
                }
            }
            Fault::KillGate(gate, _) | Fault::StopGate(gate, _) => {
                if self.gates[gate].machine.is_none() {
                    self.start_gate(gate);
                }
            }
            Fault::Stall(gate, _) => {
                // What stood still begins to move; if the session survived, it is as good as new.
                if self.gates[gate].stalled <= self.now
                    && self.model.sites[gate].up.is_none()
                    && self.agent.links.get(gate).is_some_and(|link| link.session.is_open())
                {
                    self.model.up(self.now, gate);
                }
            }
            Fault::Slow(gate, ..) => {
                (self.gates[gate].slow, self.gates[gate].quick) = (Duration::ZERO, self.now);
            }
            Fault::Sick(gate, _) => {
                self.gates[gate].sick = false;
                self.gates[gate].engine.set_available(true);
                // What could not be removed is tried again by whoever wants it gone.
                let until = self.now + AGAIN + SETTLE;
                let site = &mut self.model.sites[gate];
                for key in self.gates[gate].engine.keys() {
                    let end = site.excused.entry(*key).or_insert(until);
                    *end = until.max(*end);
                }
                self.calm();
            }
            Fault::Full(gate, _) => {
                self.gates[gate].engine.limit(usize::MAX);
                self.calm();
            }
            Fault::Deny(gate, _) => {
                self.deny(gate, false);
                self.calm();
            }
            Fault::Flush(_) => self.calm(),
            Fault::Break(_) | Fault::Revoke(_) | Fault::Kick | Fault::Forge => {}
        }
    }

    fn calm(&mut self) {
        self.model.disturb();
        self.model.storms -= 1;
    }

    /// A process that was to stop has not.
    pub(crate) fn deadline(&mut self, who: Who, life: Life) {
        match who {
            Who::Agent if self.agent.life == life && self.agent.machine.is_some() => {
                self.violation(None, "the agent does not stop in time".to_owned());
                self.kill_agent();
            }
            Who::Gate(gate) if self.gates[gate].life == life && self.gates[gate].machine.is_some() => {
                // It waits for its engine; the runtime ends it, as a kill would.
                self.kill_gate(gate);
            }
            Who::Agent | Who::Gate(_) | Who::Phone(_) => {}
        }
    }

    fn break_connection(&mut self, gate: usize) {
        let Some(connection) = self.agent.links.get(gate).and_then(|link| link.connection) else { return };
        for toward_gate in [true, false] {
            let at = self.now + Duration::from_nanos(self.rng.below(20_000_000));
            let lose = match toward_gate {
                true => Happening::GateLoses { gate, connection },
                false => Happening::AgentLoses { gate, connection },
            };
            self.queue.put(at, lose);
        }
    }

    fn deny(&mut self, gate: usize, denied: bool) {
        self.gates[gate].denied = denied;
        let policy = Box::new(self.gates[gate].policy());
        let life = self.gates[gate].life;
        self.gate_input(gate, life, middlebox::Input::Policy(policy));
    }

    fn revoke(&mut self, gate: usize) {
        let Some(machine) = &self.gates[gate].machine else { return };
        let rules: Vec<midcom::Prid> = machine.rules(self.now).map(|rule| rule.prid).collect();
        let chosen = self.rng.below(rules.len() as u64) as usize;
        let Some(prid) = rules.get(chosen).copied() else { return };
        let call = self.books.rules.get(&(gate, prid)).copied();
        self.note(call, format_args!("rule {} at gate {gate} is revoked", prid.0));
        match call {
            Some(call) => self.model.views[call].disturbed = true,
            // Confirmed, but the answer has not arrived yet.
            None => self.model.disturb(),
        }
        let life = self.gates[gate].life;
        self.gate_input(gate, life, middlebox::Input::Revoke { prid });
    }

    fn kick(&mut self) {
        let Some(machine) = &self.agent.machine else { return };
        let calls: Vec<b2bua::CallId> = machine.calls().map(|info| info.id).collect();
        let chosen = self.rng.below(calls.len() as u64) as usize;
        let Some(call) = calls.get(chosen).copied() else { return };
        self.agent.inputs.push_back(Input::Kick { call });
        self.agent_works();
    }

    /// A stranger knows a Call-ID and guesses the rest: nothing may come of it.
    fn forge(&mut self) {
        let chosen = self.rng.below(self.books.call_ids.len().max(1) as u64) as usize;
        let Some((call, call_id)) = self.books.call_ids.iter().nth(chosen) else { return };
        let (call, call_id) = (*call, call_id.clone());
        let outside = self.rng.percent(50);
        let v6 = self.plan.house.v6;
        let from = std::net::SocketAddr::new(place::host(v6, outside, STRANGER), 5060);
        let number = self.rng.bits();
        let (tag, branch) = (self.rng.bits(), self.rng.bits());
        for method in ["BYE", "CANCEL", "INVITE", "ACK", "INFO"] {
            let text = format!(
                "{method} sip:x@{} SIP/2.0\r\nVia: SIP/2.0/UDP {from};branch=z9hG4bK{branch:x}{method}\r\nMax-Forwards: 70\r\n\
                 From: <sip:m@{from}>;tag={tag:x}\r\nTo: <sip:x@example.org>;tag={number:016x}\r\nCall-ID: {call_id}\r\n\
                 CSeq: 7 {method}\r\nContact: <sip:m@{from}>\r\nContent-Length: 0\r\n\r\n",
                place::agent(v6, outside)
            );
            self.tally.forged += 1;
            self.note(Some(call), format_args!("a stranger sends {method}"));
            if self.agent.machine.is_some() {
                let hop = crate::agent::hop(outside, from);
                self.agent.inputs.push_back(Input::Message { hop, bytes: Bytes::from(text) });
                self.agent_works();
            }
        }
    }
}
