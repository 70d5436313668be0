//! The observer: what it checks while the world goes on.

use std::net::SocketAddr;
use std::time::Duration;

use b2bua::CallId;
use b2bua::ledger::SourcePolicy;
use machine::Machine as _;
use middlebox::memory::Packet;
use middlebox::{Status, Transport};

use crate::far::{Far, Flow};
use crate::gate;
use crate::manners;
use crate::model::{Incarnation, SETTLE, above, index};
use crate::plan::{End, place};
use crate::queue::{Happening, Seat};
use crate::told::Told;
use crate::wire;
use crate::world::World;

/// Where a packet comes in.
pub(crate) fn interface(outside: bool) -> &'static str {
    if outside { "out" } else { "in" }
}

/// Where a description wants its first stream over UDP in use, and where RTCP if that has a port of its own.
fn told_place(flows: &[sdp::MediaFlow]) -> Option<Told> {
    let in_use = || flows.iter().filter(|flow| flow.protocol == sdp::Protocol::Udp && !flow.is_held());
    if in_use().all(|flow| flow.ice == sdp::Ice::None) {
        let flow = in_use().next()?;
        let rtcp = flow.rtcp.filter(|_| !flow.rtcp_mux);
        return Some((flow.destination(), rtcp.map(|rtcp| SocketAddr::new(rtcp.address, rtcp.port))));
    }
    let usable = |flow: &&sdp::MediaFlow| flow.ice == sdp::Ice::Rtp && gate::PORTS.contains(&flow.rtp);
    let place = in_use().find(usable)?.destination();
    let is_rtcp = |flow: &sdp::MediaFlow| flow.ice == sdp::Ice::Rtcp && flow.destination() == above(place, 1);
    Some((place, in_use().any(|flow| is_rtcp(flow) && !flow.rtcp_mux).then(|| above(place, 1))))
}

impl World {
    /// Looks, and will look again.
    pub(crate) fn look(&mut self) {
        self.model.lose(self.now);
        for gate in 0..self.gates.len() {
            let up = self.model.sites[gate].up;
            if up.is_some_and(|up| up + SETTLE <= self.now) && self.model.storms == 0 {
                self.model.settled(self.now, gate);
            }
            self.gates[gate].engine.advance(self.now);
            self.check_entries(gate);
        }
        self.talk();
        for call in 0..self.plan.calls.len() {
            self.check_media(call);
            self.check_sessions(call);
        }
        for _ in 0..4 {
            self.probe();
        }
        if self.curfew && self.is_idle() {
            self.over = true;
        }
        let pause = if self.curfew { 1_000 } else { 20 + self.rng.below(400) };
        self.queue.put(self.now + Duration::from_millis(pause), Happening::Look);
    }

    /// Every entry of an engine must serve a call that lives.
    pub(crate) fn check_entries(&mut self, gate: usize) {
        let keys: Vec<middlebox::Key> = self.gates[gate].engine.keys().copied().collect();
        self.tally.entries += keys.len() as u64;
        for key in keys {
            // What is left over after a restart stands for the place of a call that has ended.
            let excused = self.model.is_excused(self.now, gate, &key);
            let site = &mut self.model.sites[gate];
            let wrong = if excused { None } else { site.lent.see(self.now, &key) };
            if let Some(wrong) = wrong {
                let suspect = self.model.suspect(self.now, gate, &key);
                self.violation(suspect, format!("gate {gate}: {wrong}"));
            }
            if self.model.justifies(self.now, gate, &key) {
                continue;
            }
            let suspect = self.model.suspect(self.now, gate, &key);
            let text = format!("gate {gate} lets {key} pass, which no call needs");
            self.violation(suspect, text);
            // Once is enough.
            self.model.sites[gate].excused.insert(key, self.now + Duration::from_secs(100_000));
        }
    }

    /// While two phones talk and nothing went wrong, both directions pass.
    fn check_media(&mut self, call: usize) {
        let flows = self.model.must_pass(self.now, call);
        for Flow { transport, from, to, outside, opens, arrives } in flows.iter().copied() {
            self.tally.must_pass += 1;
            let packet =
                Packet { transport, source: from, destination: to, interface: interface(outside), opens };
            let what = if transport == Transport::Tcp { "TCP " } else { "" };
            let wrong = match self.carry(&packet) {
                Err(gate) => format!("gate {gate} stops {what}{from} -> {to}, which was negotiated"),
                Ok(ends) if ends != arrives => {
                    format!("{what}{from} -> {to} becomes {ends:?}, and not {arrives:?}")
                }
                Ok(_) => continue,
            };
            self.violation(Some(call), wrong);
            self.model.views[call].disturbed = true;
        }
        if !flows.is_empty() {
            self.note_translated(call);
        }
    }

    /// Sends a packet that nobody has asked for: between strangers, from a wrong port, on a wrong side.
    fn probe(&mut self) {
        let seats = self.handsets.len() as u64;
        if seats == 0 {
            return;
        }
        let (from, to) = (self.rng.below(seats) as usize, self.rng.below(seats) as usize);
        let (from, to) = (self.handsets[from].seat, self.handsets[to].seat);
        let source = *self.model.views[from.call].wanted(from);
        let target = self.aim(to);
        let outside = self.model.views[from.call].outside[index(from.end)];
        let (source, outside, spoofed) = match self.rng.below(4) {
            0 => (source, outside, false),
            // A stranger of the same side.
            1 => {
                (SocketAddr::new(place::host(self.plan.house.v6, outside, 77), source.port()), outside, false)
            }
            2 => (above(source, 7), outside, false),
            // An address of the other side.
            _ => (source, !outside, true),
        };
        let target = above(target, self.rng.below(3) as u16);
        self.tally.must_not += 1;
        let is_tcp = self.rng.percent(10);
        let transport = if is_tcp { Transport::Tcp } else { Transport::Udp };
        let target = if is_tcp { above(target, 200) } else { target };
        let interface = interface(outside);
        let packet = Packet { transport, source, destination: target, interface, opens: is_tcp };
        let Ok(arrived) = self.carry(&packet) else { return };
        if spoofed {
            return self.violation(Some(to.call), format!("{source} -> {target} passes from the wrong side"));
        }
        let served = |gate: usize| self.model.may_pass(self.now, gate, &packet, arrived);
        if !(0..self.gates.len()).all(served) {
            let what = format!("{source} -> {target} passes as {arrived:?}, which nobody negotiated");
            self.violation(Some(to.call), what);
        }
    }

    /// `docs/calls.md` §1.1: a place is passed on only when there is a way to it.
    pub(crate) fn check_passed_on(&mut self, seat: usize, from: Option<CallId>, bytes: &[u8]) {
        let body = wire::body(bytes);
        let call = self.handsets[seat].seat.call;
        let digest = crate::log::digest(bytes);
        // What a NOTIFY carries is no description.
        if body.is_empty() || wire::method(bytes) == "NOTIFY" || !self.books.passed_on.insert(digest) {
            return;
        }
        // Without early media an offer has a reservation at most, and sometimes it comes in a response.
        let script = &self.plan.calls[call];
        let asks = script.offers.iter().any(|(_, _, offer)| offer.by.is_none());
        let offers = wire::status(bytes) == 0 || asks || script.caller.extensions.delayed_offer;
        let has_nat = self.plan.house.nat.is_some();
        // Through a NAT nothing passes before the answer.
        let early = offers && (!self.plan.house.early_media || has_nat);
        let is_calm = self.model.storms == 0 && self.model.is_lasting(self.now);
        // Two calls that share a phone are not kept apart here.
        let is_shared = script.takeover.is_some() && self.model.views[call].incarnations.len() > 1;
        if early || self.model.views[call].disturbed || !is_calm || is_shared {
            return;
        }
        // What still reaches a phone after another one has got the call concerns nobody's media.
        let Seat { end, branch, .. } = self.handsets[seat].seat;
        let is_anothers = |one: &Incarnation| one.won.is_some_and(|(won, _)| won != branch);
        if end == End::Callee && self.model.views[call].incarnations.iter().any(is_anothers) {
            return;
        }
        if self.model.views[call].is_older((self.agent.life, from), end, branch) {
            return;
        }
        let Ok(session) = sdp::Session::parse(body) else {
            return self
                .violation(Some(call), "the agent passes on a description that cannot be read".to_owned());
        };
        let flows = sdp::flows(&session).unwrap_or_default();
        let Some((place, rtcp)) = told_place(&flows) else { return };
        let outside = self.handsets[seat].outside;
        let view = &self.model.views[call];
        // Inside a call, who gets the offer sends from where the other end knows it.
        let talking =
            view.beliefs[index(end)].iter().filter(|((of, _), _)| *of == branch).map(|(_, one)| one);
        let talking = talking.into_iter().find(|belief| belief.answered.is_some());
        let source = talking.map_or_else(|| view.wanted[index(end)][branch], |belief| belief.local);
        // What leaves by a NAT says its port.
        let strict = self.plan.house.sources.contains(&SourcePolicy::Strict) || has_nat;
        let crossing = view.offering != [false; 2] && wire::status(bytes) != 0;
        // An answer of which the other end has not heard yet has moved it; our own offer then brings it back.
        let undecided = strict || crossing || view.answering || view.unsure;
        // Nothing leads to such a port; with ICE the description names other places.
        let is_usable = gate::PORTS.contains(&source.port());
        // What a phone refuses it refuses again when it is refreshed: nothing has been opened for that.
        let refuses = talking.and_then(|belief| belief.far.as_ref()).is_some_and(Far::is_refused);
        if talking.is_some() && undecided || !is_usable || refuses {
            return;
        }
        let rtcp = rtcp.map(|rtcp| (above(source, 1), rtcp));
        for (source, destination) in [Some((source, place)), rtcp].into_iter().flatten() {
            self.tally.must_pass += 1;
            let what = wire::Headline(bytes);
            let wrong = match self.carried(source, destination, outside) {
                Err(gate) => format!("gate {gate} stops {source} -> {destination}"),
                Ok(ends) if !self.is_well_carried(call, (source, destination), ends) => {
                    format!("{source} -> {destination} becomes {ends:?}")
                }
                Ok(_) => continue,
            };
            self.violation(Some(call), format!("{wrong}, though {what} has been passed on"));
        }
        if has_nat && (180..190).contains(&wire::status(bytes)) {
            self.books.reader.note("NAT: early media");
        }
    }

    /// Each INVITE gets exactly one final response, and each UPDATE.
    pub(crate) fn check_final(&mut self, call: usize, bytes: &[u8]) {
        if let Some(first) = self.books.finals.leaves(self.now, self.agent.life, bytes) {
            let then = wire::status(bytes);
            let method = wire::method(bytes);
            self.violation(Some(call), format!("{method} is answered {first} and then {then}"));
        }
    }

    fn is_idle(&self) -> bool {
        let phones = (0..self.handsets.len()).all(|seat| self.is_phone_idle(seat));
        let agent = self.agent.machine.as_ref().is_some_and(|machine| machine.holdings().is_empty());
        let gates = self.gates.iter().all(|gate| {
            let is_empty = |status: Status| (status.rules, status.entries) == (0, 0);
            gate.machine.as_ref().is_some_and(|machine| machine.is_quiet() && is_empty(machine.status()))
                && gate.engine.keys().next().is_none()
        });
        phones && agent && gates
    }

    /// True if nothing is left in a phone but what it refuses to answer.
    fn is_phone_idle(&self, seat: usize) -> bool {
        let handset = &self.handsets[seat];
        let Seat { call, end, branch } = handset.seat;
        let odd = self.plan.calls[call].phone(end, branch).0.oddities;
        let mut beliefs =
            self.model.views[call].beliefs[index(end)].iter().filter(|((of, _), _)| *of == branch);
        let told = beliefs.all(|(_, belief)| !belief.ends.is_empty());
        // One that has lost its memory tells nothing any more.
        let forgot = odd.reboots_after.is_some() && handset.machine.is_idle();
        let silent = odd.ignores_bye || odd.silent_after_cancel || odd.answers_reinvite_late.is_some();
        forgot || told && (silent || handset.machine.is_idle())
    }

    /// What must be true when everybody has gone home.
    pub(crate) fn check_end(&mut self) {
        match &self.agent.machine {
            None => self.violation(None, "the agent was not started again".to_owned()),
            Some(machine) => {
                let (holdings, next) = (machine.holdings(), machine.next_timeout());
                let left: Vec<b2bua::CallInfo> = machine.calls().collect();
                for info in left {
                    let call = self.books.calls.get(&(self.agent.life, info.id)).copied();
                    self.violation(call, format!("the agent still has {info:?}"));
                }
                if !holdings.is_empty() || next.is_some() {
                    self.violation(None, format!("the agent still holds {holdings:?}, due {next:?}"));
                }
            }
        }
        for gate in 0..self.gates.len() {
            self.check_gate_end(gate);
        }
        for seat in 0..self.handsets.len() {
            if !self.is_phone_idle(seat) {
                let call = self.handsets[seat].seat.call;
                self.violation(Some(call), format!("the {} is not idle", self.name(seat)));
            }
        }
        for call in 0..self.plan.calls.len() {
            self.check_outcome(call);
        }
    }

    fn check_gate_end(&mut self, gate: usize) {
        let keys = self.gates[gate].engine.keys().count();
        if keys > 0 {
            self.violation(None, format!("gate {gate} still has {keys} entries"));
        }
        let Some(machine) = &self.gates[gate].machine else {
            return self.violation(None, format!("gate {gate} was not started again"));
        };
        let status = machine.status();
        let Status { rules, groups, entries, orphans, outside_ports, queued, .. } = status;
        if [rules, groups, entries, orphans, outside_ports, queued] != [0; 6] || !machine.is_quiet() {
            self.violation(None, format!("gate {gate} still holds {status:?}"));
        }
    }

    /// One end for each call of each phone, and nobody cut off without a word.
    fn check_outcome(&mut self, call: usize) {
        let view = self.model.views[call].clone();
        for end in End::BOTH {
            for ((branch, number), belief) in &view.beliefs[index(end)] {
                let forgot = self.plan.calls[call].phone(end, *branch).0.oddities.reboots_after.is_some();
                if belief.ends.len() > 1 || belief.ends.is_empty() && !forgot {
                    let ends = belief.ends.len();
                    self.violation(Some(call), format!("{end:?}'s call {} ended {ends} times", number.0));
                }
                let nobody = !view.said[0] && !view.said[1];
                let mute = |one: &crate::model::Farewell| one.reason.is_none() && one.warning.is_none();
                let cut = belief.answered.is_some() && nobody;
                if cut && belief.ends.iter().any(mute) {
                    self.violation(Some(call), format!("{end:?} was cut off without a reason"));
                }
            }
        }
        if self.plan.is_quiet() {
            self.check_quiet(call);
        }
    }

    /// Where nothing goes wrong, calls go as their script says.
    fn check_quiet(&mut self, call: usize) {
        let (script, view) = (&self.plan.calls[call], &self.model.views[call]);
        let usual = script.parties().all(|party| manners::is_usual(&party.extensions, &party.oddities))
            && script.branches.is_empty()
            && script.takeover.is_none()
            && script.cancel.is_none()
            && script.caller.media.port() > 1024
            && script.callee.media.port() > 1024
            && script.hang_ups.iter().all(|(_, after)| *after > Duration::from_secs(3));
        let is_dialled = view.beliefs.iter().any(|all| !all.is_empty());
        let usual = usual && (is_dialled || !script.is_referred());
        let accepts =
            matches!(script.answer, phone::Answer::Accept { .. }) && !self.is_hard_to_translate(call);
        if !usual || !accepts || self.plan.house.calls_max < 100 || self.plan.house.names {
            return;
        }
        let answered = view.beliefs.iter().all(|all| all.values().any(|one| one.answered.is_some()));
        let ended = view.beliefs.iter().flat_map(|all| all.values()).flat_map(|one| &one.ends);
        let wrong = ended.filter(|one| one.status != 200).count();
        if !answered || wrong > 0 {
            self.violation(
                Some(call),
                format!("nothing went wrong, but it was not a good call: {answered} {wrong}"),
            );
        }
    }
}
