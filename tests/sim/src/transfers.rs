//! Who sends whom to whom: drawn, like everything else. `referral.rs` lets it happen.

use std::time::Duration;

use machine::Rng;

use crate::plan::{End, House, Script, millis, pick};

/// The call that comes of a transfer has the number of the one that it comes of, and so much more.
pub(crate) const REFERRED: u32 = 1_000_000;
/// The phones of such a call listen on ports of their own.
const PORTS: u16 = 60_000;

/// An end refers the other one to somebody.
#[derive(Debug, Clone, Copy)]
pub struct Transfer {
    /// Who refers.
    pub by: End,
    /// So long after it saw the answer.
    pub after: Duration,
    /// To whom.
    pub third: Third,
    /// Another call of the plan, from which on the third is looked for.
    pub other: usize,
    /// Who refers hangs up when it hears how the call to the third went; else it stays until it would have hung up anyway.
    pub hangs_up: bool,
    /// What the call to the third is drawn from.
    seed: u64,
}

/// To whom somebody is referred.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Third {
    /// To a phone on the referrer's own side, by its address: it is called through us, and that call is one of the plan.
    Near,
    /// To a number that the referrer reaches through us: the referred phone reaches it on its own side.
    Number,
    /// To a phone on the referred side, by its address; from outside that is refused.
    Address,
    /// To a phone on the referred side to which the referrer talks in another call: attended (RFC 5589 §7).
    Attended,
}

impl Script {
    /// One call of twelve is transferred.
    pub(crate) fn draw_transfer(&mut self, rng: &mut Rng, calls: u32) {
        if !self.branches.is_empty() || self.takeover.is_some() || !rng.percent(8) {
            return;
        }
        let thirds =
            [Third::Near, Third::Near, Third::Number, Third::Address, Third::Attended, Third::Attended];
        self.transfer = Some(Transfer {
            by: pick(rng, &End::BOTH),
            after: millis(rng, 0, 10_000),
            third: pick(rng, &thirds),
            other: rng.below(u64::from(calls)) as usize,
            hangs_up: rng.percent(70),
            seed: rng.bits(),
        });
        for party in [&mut self.caller, &mut self.callee] {
            party.extensions.refers = true;
            party.oddities.forgets_referral = rng.percent(10);
        }
        // Mostly it is there for long enough.
        if rng.percent(50) {
            self.cancel = None;
            self.hang_ups.iter_mut().for_each(|(_, after)| *after += Duration::from_secs(15));
        }
    }

    /// The call that comes of the transfer, if it goes through us: from the referred side to the other one.
    pub(crate) fn referred(&self, house: &House) -> Option<Self> {
        let transfer = self.transfer.filter(|transfer| transfer.third == Third::Near)?;
        let mut rng = Rng::from_number(transfer.seed);
        let from_outside = self.is_outside(transfer.by.other());
        let mut script = loop {
            // Half of all calls come from the side wanted.
            let script = Self::draw(&mut rng.fork(), self.number, house, Duration::from_secs(1));
            if script.from_outside == from_outside {
                break script;
            }
        };
        script.number += REFERRED;
        (script.branches, script.takeover, script.transfer) = (Vec::new(), None, None);
        for (party, side) in [(&mut script.caller, 0), (&mut script.callee, 1)] {
            party.address.set_port(PORTS + (self.number % 2_500) as u16 * 2 + side);
        }
        Some(script)
    }

    /// Nobody dials it but who is told to.
    #[must_use]
    pub fn is_referred(&self) -> bool {
        self.number > REFERRED
    }
}
