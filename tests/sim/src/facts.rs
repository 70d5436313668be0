//! What the agent says of its calls, and what the model takes from it.

use b2bua::side::Side;
use b2bua::{CallId, Cause, Event, Sip};
use midcom::{MiddleboxId, Prid, Request};
use sip::message::Method;

use crate::books::Books;
use crate::log::{Lane, Way};
use crate::model::{Incarnation, SETTLE};
use crate::queue::Seat;
use crate::world::World;

impl World {
    pub(crate) fn agent_says(&mut self, event: Event) {
        let Books { arriving, reader, .. } = &mut self.books;
        reader.hears(self.agent.life, &event, arriving.as_ref().map(|(_, bytes)| &**bytes));
        match event {
            Event::Started { call: id, .. } => self.begins(id),
            Event::Ending { call: id, cause, why } => {
                if let Some(call) = self.known(id) {
                    self.note_silence(call, id, &why);
                }
                self.is_ending(id, cause);
            }
            Event::Ended { call: id } => self.has_ended(id),
            Event::Received { call: id, side, message } => self.agent_has(id, side, &message),
            Event::Sent { call: id, side, message } => {
                self.books.leaving = self.known(id).map(|call| (call, id, side, message));
            }
            Event::Asked { call: id, middlebox, id: request, request: what, .. } => {
                let (call, gate, number) = (self.known(id), middlebox.0, request.0);
                if let (Some(call), Request::Lifetime { lifetime, .. }) = (call, &what) {
                    self.check_extension(call, id, lifetime.0);
                }
                let way = Way { from: Lane::Agent, to: Lane::Gate, is_lost: false };
                self.arrow(call, way, format_args!("      agent asks gate {gate}: {number} {what:?}"));
            }
            Event::Answered { call: id, middlebox, id: request, result } => {
                let (call, gate, number) = (self.known(id), middlebox.0, request.0);
                let way = Way { from: Lane::Gate, to: Lane::Agent, is_lost: false };
                self.arrow(call, way, format_args!("      gate {gate} answers: {number} {result:?}"));
                if let (Some(call), Ok(Some(prid))) = (call, result) {
                    self.books.rules.insert((usize::from(gate), prid), call);
                }
            }
            Event::RuleChanged { call: id, middlebox, prid, lifetime_s } => {
                let (call, gate, rule) = (self.known(id), middlebox.0, prid.0);
                self.note(call, format_args!("      gate {gate}: rule {rule} has {lifetime_s} s"));
            }
            Event::GhostRing { call: id, reserved } => self.ghost(self.known(id), true, reserved),
            Event::GhostRingPrevented { call: id, reserved } => self.ghost(self.known(id), false, reserved),
            Event::OrphanClosed { middlebox, prid } => self.orphan(middlebox, prid),
            Event::Held { .. }
            | Event::Called { .. }
            | Event::NotFound { .. }
            | Event::StaysWide { .. }
            | Event::StreamLost { .. }
            | Event::Established { .. }
            | Event::AnsweredAlone { .. }
            | Event::Offended { .. }
            | Event::ServerChanged { .. }
            | Event::Registered { .. }
            | Event::Unregistered { .. }
            | Event::TrunkRegistered { .. }
            | Event::TrunkForgets { .. }
            | Event::NotAuthenticated { .. }
            | Event::TrunkFailed { .. }
            | Event::TrunkRefused { .. }
            | Event::MiddleboxUp(_)
            | Event::MiddleboxDown(_)
            | Event::CannotCount(_) => {}
        }
    }

    /// Which call of the plan one of the living agent is.
    fn known(&self, id: CallId) -> Option<usize> {
        self.books.calls.get(&(self.agent.life, id)).copied()
    }

    fn begins(&mut self, id: CallId) {
        let Some((Seat { call, .. }, _)) = self.books.arriving else { return };
        let life = self.agent.life;
        self.books.calls.insert((life, id), call);
        self.model.begins(self.now, call, life, id);
        self.forget_rings(call);
        self.note(Some(call), format_args!("      agent: call {id} begins"));
    }

    fn is_ending(&mut self, id: CallId, cause: Cause) {
        let call = self.known(id);
        self.note(call, format_args!("      agent: call {id} is ending: {cause:?}"));
        if let Some(call) = call {
            self.incarnation(call, id, |one| one.ending = Some(cause));
        }
        let by_us = matches!(cause, Cause::Cut(_) | Cause::Revoked(_) | Cause::Kicked | Cause::Shutdown);
        self.tally.cut += u64::from(by_us);
        self.tally.expired += u64::from(cause == Cause::Cut(408));
    }

    fn has_ended(&mut self, id: CallId) {
        let call = self.known(id);
        self.note(call, format_args!("      agent: call {id} has ended"));
        if let Some(call) = call {
            let ghost = self.model.ghost(self.now);
            self.incarnation(call, id, |one| (one.ended, one.ghost) = (true, ghost.clone()));
        }
        (0..self.gates.len()).for_each(|gate| self.check_entries(gate));
    }

    /// The agent takes up what has arrived. The first 2xx to the INVITE says which phone has the call.
    fn agent_has(&mut self, id: CallId, side: Side, message: &Sip) {
        let Some((Seat { call, branch, .. }, bytes)) = self.books.arriving.clone() else { return };
        if self.known(id) != Some(call) {
            return;
        }
        let now = self.now;
        let is_answer = message.method == Method::Invite && (200..300).contains(&message.status);
        if side == Side::B && is_answer {
            self.incarnation(call, id, |one| {
                one.won.get_or_insert((branch, now));
            });
        }
        let is_of = |one: &Incarnation| one.id == id && one.won.is_some_and(|(won, _)| won != branch);
        let is_loser = side == Side::B && self.model.views[call].incarnations.iter().any(is_of);
        if !is_loser {
            self.note_session(call, id, side, false, (message, &bytes));
        }
    }

    pub(crate) fn incarnation(&mut self, call: usize, id: CallId, change: impl Fn(&mut Incarnation)) {
        let life = self.agent.life;
        let all = &mut self.model.views[call].incarnations;
        all.iter_mut().filter(|one| one.life == life && one.id == id).for_each(change);
    }

    /// A rule without a call is being closed: its entries may stay for as long as that takes.
    fn orphan(&mut self, middlebox: MiddleboxId, prid: Prid) {
        self.tally.orphans += 1;
        let gate = usize::from(middlebox.0);
        let call = self.books.rules.get(&(gate, prid)).copied();
        self.note(call, format_args!("      agent: gate {gate}: orphan {} is closed", prid.0));
        let Some(machine) = &self.gates[gate].machine else { return };
        for key in machine.rule(self.now, prid).map(|rule| rule.entries).unwrap_or_default() {
            self.model.sites[gate].excused.insert(key, self.now + SETTLE);
        }
    }
}
