//! Ghost rings: phones that ring though the firewall lets nobody talk. Who rang is known from the phones.

use machine::Instant;

use crate::gate;
use crate::model::{Incarnation, above};
use crate::plan::End;
use crate::world::World;

/// What a call could rely on before its callee rang.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Care {
    /// Nothing.
    #[default]
    Plain,
    /// Reserved rules.
    Reserved,
    /// A precondition that the callee understood.
    Precondition,
}

/// What is known of one phone's ringing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ring {
    /// Since when it rings.
    pub(crate) since: Option<Instant>,
    /// The INVITE that reached it had a precondition that it must wait for.
    pub(crate) must_wait: bool,
    /// It has refused the call by itself, or sent it on: nobody waits there to talk.
    pub(crate) declined: bool,
}

impl World {
    /// An INVITE reaches a phone: does it have to wait?
    pub(crate) fn note_terms(&mut self, seat: usize, bytes: &[u8]) {
        let at = self.handsets[seat].seat;
        if at.end == End::Caller || !bytes.starts_with(b"INVITE ") {
            return;
        }
        let wanted = self.plan.calls[at.call].phone(at.end, at.branch).0.extensions.precondition;
        let by_network = wanted.filter(|wanted| wanted.provision == phone::Provision::ByNetwork);
        let asks = by_network.is_some_and(|wanted| {
            let line = format!("a=des:{} mandatory e2e", wanted.of);
            memchr::memmem::find(crate::wire::body(bytes), line.as_bytes()).is_some()
        });
        self.books.rings.entry(seat).or_default().must_wait = asks;
    }

    /// A phone has ended a call with a status that is not that of CANCEL.
    pub(crate) fn declines(&mut self, seat: usize, status: u16) {
        if status >= 300
            && status != 487
            && let Some(ring) = self.books.rings.get_mut(&seat)
        {
            ring.declined = true;
        }
    }

    /// A call begins, perhaps once more: nobody has rung for it.
    pub(crate) fn forget_rings(&mut self, call: usize) {
        let handsets = &self.handsets;
        self.books.rings.retain(|seat, _| handsets[*seat].seat.call != call);
    }

    /// A phone rings. If it had to wait until it can talk, it can talk now.
    pub(crate) fn rings(&mut self, seat: usize) {
        let (call, branch) = (self.handsets[seat].seat.call, self.handsets[seat].seat.branch);
        let ring = self.books.rings.entry(seat).or_default();
        ring.since = Some(self.now);
        if !ring.must_wait {
            return;
        }
        self.tally.waited += 1;
        let precondition = |end, branch| self.plan.calls[call].phone(end, branch).0.extensions.precondition;
        if let Some(wanted) = precondition(End::Callee, branch) {
            let is_callers = precondition(End::Caller, 0).is_some();
            self.books.reader.rings(wanted.of, is_callers);
        }
        let view = &self.model.views[call];
        let is_calm = !view.disturbed && self.model.storms == 0 && self.model.is_lasting(self.now);
        // What it was told before another phone had the call it may hear afterwards; what it hears next is CANCEL.
        let is_for_it = |one: &Incarnation| one.ending.is_none() && one.won.is_none();
        if !is_calm || view.incarnations.len() != 1 || !view.incarnations.iter().all(is_for_it) {
            return;
        }
        let (caller, callee) = (view.wanted[0][0], view.wanted[1][branch]);
        let bundles = |end, branch| self.plan.calls[call].phone(end, branch).0.extensions.shape.bundle;
        let has_rtcp = !(bundles(End::Caller, 0) && bundles(End::Callee, branch));
        if !gate::PORTS.contains(&caller.port()) || !gate::PORTS.contains(&callee.port()) {
            // Nothing leads there, and nothing needs to where ICE has other places.
            return;
        }
        for (sender, from, to) in [(call * 2, caller, callee), (seat, callee, caller)] {
            for next in 0..=u16::from(has_rtcp) {
                if let Some(hindrance) = self.hindrance(sender, above(from, next), above(to, next)) {
                    let text = format!("a phone rings, but {hindrance}: its precondition is not met");
                    self.violation(Some(call), text);
                }
            }
        }
    }

    /// The agent counts a ghost ring, or one less.
    pub(crate) fn ghost(&mut self, call: Option<usize>, is_left: bool, reserved: bool) {
        let Some(call) = call else { return };
        let is_callee = |seat: &usize| {
            let at = self.handsets[*seat].seat;
            at.call == call && at.end == End::Callee
        };
        let rings: Vec<Ring> =
            self.books.rings.iter().filter(|(seat, _)| is_callee(seat)).map(|(_, ring)| *ring).collect();
        let since = rings.iter().filter_map(|ring| ring.since).min();
        let is_heard = since.is_some();
        let must_wait = !rings.is_empty() && rings.iter().all(|ring| ring.must_wait);
        let care = match (must_wait, reserved) {
            (true, _) => Care::Precondition,
            (false, true) => Care::Reserved,
            (false, false) => Care::Plain,
        };
        // What was confirmed before the ring may have got lost with its middlebox.
        let has_lasted = self
            .model
            .sites
            .iter()
            .all(|site| site.up.is_some_and(|up| since.is_none_or(|since| up <= since)));
        let is_calm = !self.model.views[call].disturbed && self.model.storms == 0 && has_lasted;
        let counted = match (is_heard, is_calm) {
            (false, _) => &mut self.tally.ghosts_prevented,
            (true, true) => &mut self.tally.ghosts_left,
            (true, false) => &mut self.tally.ghosts_by_fault,
        };
        counted[care as usize] += 1;
        let what = if is_left { "left" } else { "prevented" };
        self.note(Some(call), format_args!("      agent: ghost ring {what}"));
        // Two calls that share a callee are not kept apart here.
        let is_shared =
            self.plan.calls[call].takeover.is_some() && self.model.views[call].incarnations.len() > 1;
        if is_left && !is_heard && !is_shared {
            self.violation(Some(call), "the agent counts a ghost ring that nobody has heard".to_owned());
        }
        let waits = rings.iter().any(|ring| ring.since.is_some() && !ring.declined);
        if waits && care == Care::Precondition && is_calm {
            self.violation(
                Some(call),
                "a phone has rung for nothing, in spite of its precondition".to_owned(),
            );
        }
    }
}
