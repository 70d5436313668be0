//! Ghost rings: phones that ring though the firewall lets nobody talk. Who rang is known from the phones.

use crate::model::above;
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

/// What is known of one call's ringing.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ring {
    /// A phone of the callee's side has rung.
    pub(crate) is_heard: bool,
    /// The INVITE that reached the callee had a precondition that it must wait for.
    pub(crate) must_wait: bool,
}

impl World {
    /// An INVITE reaches a phone: does it have to wait?
    pub(crate) fn note_terms(&mut self, seat: usize, bytes: &[u8]) {
        let at = self.handsets[seat].seat;
        if at.end == End::Caller || !bytes.starts_with(b"INVITE ") {
            return;
        }
        let wanted = self.plan.calls[at.call].callee.extensions.precondition;
        let by_network = wanted.filter(|wanted| wanted.provision == phone::Provision::ByNetwork);
        let asks = by_network.is_some_and(|wanted| {
            let line = format!("a=des:{} mandatory e2e", wanted.of);
            String::from_utf8_lossy(crate::wire::body(bytes)).contains(&line)
        });
        self.books.rings.entry(at.call).or_default().must_wait = asks;
    }

    /// A phone rings. If it had to wait until it can talk, it can talk now.
    pub(crate) fn rings(&mut self, seat: usize) {
        let call = self.handsets[seat].seat.call;
        let ring = self.books.rings.entry(call).or_default();
        ring.is_heard = true;
        if !ring.must_wait {
            return;
        }
        self.tally.waited += 1;
        let view = &self.model.views[call];
        let is_calm = !view.disturbed && self.model.storms == 0 && self.model.is_lasting(self.now);
        if !is_calm
            || view.incarnations.len() != 1
            || view.incarnations.iter().any(|one| one.ending.is_some())
        {
            return;
        }
        let [caller, callee] = view.wanted;
        let outside = view.outside;
        for (from, to, outside) in [(caller, callee, outside[0]), (callee, caller, outside[1])] {
            for next in [0, 1] {
                if let Some(gate) = self.stopped_at(above(from, next), above(to, next), outside) {
                    let text = format!(
                        "a phone rings, but gate {gate} stops {from} -> {to}: its precondition is not met"
                    );
                    self.violation(Some(call), text);
                }
            }
        }
    }

    /// The agent counts a ghost ring, or one less.
    pub(crate) fn ghost(&mut self, call: Option<usize>, is_left: bool, reserved: bool) {
        let Some(call) = call else { return };
        let Ring { is_heard, must_wait } = self.books.rings.get(&call).copied().unwrap_or_default();
        let care = match (must_wait, reserved) {
            (true, _) => Care::Precondition,
            (false, true) => Care::Reserved,
            (false, false) => Care::Plain,
        };
        let is_calm =
            !self.model.views[call].disturbed && self.model.storms == 0 && self.model.is_lasting(self.now);
        let counted = match (is_heard, is_calm) {
            (false, _) => &mut self.tally.ghosts_prevented,
            (true, true) => &mut self.tally.ghosts_left,
            (true, false) => &mut self.tally.ghosts_by_fault,
        };
        counted[care as usize] += 1;
        let text = format!("      agent: ghost ring {}", if is_left { "left" } else { "prevented" });
        self.note(Some(call), text);
        if is_left && !is_heard {
            self.violation(Some(call), "the agent counts a ghost ring that nobody has heard".to_owned());
        }
        if is_heard && care == Care::Precondition && is_calm {
            self.violation(
                Some(call),
                "a phone has rung for nothing, in spite of its precondition".to_owned(),
            );
        }
    }
}
