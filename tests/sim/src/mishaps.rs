//! What goes wrong in a run, drawn before it begins; `faults.rs` lets it happen.

use std::time::Duration;

use machine::{Instant, Rng};

use crate::plan::{House, millis, pick};

/// Something that goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// kill -9 of the agent half; a new one comes later.
    KillAgent(Duration),
    /// SIGTERM of the agent half; a new one comes later.
    StopAgent(Duration),
    /// kill -9 of a middlebox half; a new one comes later and finds the engine as it was left.
    KillGate(usize, Duration),
    /// SIGTERM of a middlebox half; a new one comes later.
    StopGate(usize, Duration),
    /// The control connection breaks.
    Break(usize),
    /// The control connection stands still for so long.
    Stall(usize, Duration),
    /// The engine takes so long for each batch, for so long.
    Slow(usize, Duration, Duration),
    /// The engine refuses everything, for so long.
    Sick(usize, Duration),
    /// The engine takes no further entry, for so long.
    Full(usize, Duration),
    /// An operator revokes a rule.
    Revoke(usize),
    /// An operator ends a call.
    Kick,
    /// A stranger flushes our sets.
    Flush(usize),
    /// The policy denies half of the hosts outside, for so long.
    Deny(usize, Duration),
    /// A stranger sends requests of calls that are not his.
    Forge,
}

impl Fault {
    /// Its name for [`crate::Choice::without`].
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::KillAgent(_) => "kill-agent",
            Self::StopAgent(_) => "stop-agent",
            Self::KillGate(..) => "kill-gate",
            Self::StopGate(..) => "stop-gate",
            Self::Break(_) => "break",
            Self::Stall(..) => "stall",
            Self::Slow(..) => "slow",
            Self::Sick(..) => "sick",
            Self::Full(..) => "full",
            Self::Revoke(_) => "revoke",
            Self::Kick => "kick",
            Self::Flush(_) => "flush",
            Self::Deny(..) => "deny",
            Self::Forge => "forge",
        }
    }
}

/// The faults of a run until a moment, in order.
pub(crate) fn draw_faults(rng: &mut Rng, house: &House, until: Instant, calls: u64) -> Vec<(Instant, Fault)> {
    let mut faults = Vec::new();
    let kinds: [fn(&mut Rng, usize) -> Fault; 14] = [
        |rng, _| Fault::KillAgent(millis(rng, 10, 40_000)),
        |rng, _| Fault::StopAgent(millis(rng, 10, 10_000)),
        |rng, gate| Fault::KillGate(gate, millis(rng, 10, 40_000)),
        |rng, gate| Fault::StopGate(gate, millis(rng, 10, 10_000)),
        |_, gate| Fault::Break(gate),
        |rng, gate| Fault::Stall(gate, millis(rng, 10, 40_000)),
        |rng, gate| Fault::Slow(gate, millis(rng, 10, 4_000), millis(rng, 100, 20_000)),
        |rng, gate| Fault::Sick(gate, millis(rng, 100, 10_000)),
        |rng, gate| Fault::Full(gate, millis(rng, 100, 20_000)),
        |_, gate| Fault::Revoke(gate),
        |_, _| Fault::Kick,
        |_, gate| Fault::Flush(gate),
        |rng, gate| Fault::Deny(gate, millis(rng, 100, 20_000)),
        |_, _| Fault::Forge,
    ];
    for make in kinds {
        let mut rng = rng.fork();
        // In most runs a kind does not happen, in some it happens often.
        let count = pick(&mut rng, &[0, 0, 0, 1, 2, 1 + calls / 10]);
        for _ in 0..count {
            let at = Instant::ZERO + millis(&mut rng, 100, until.since(Instant::ZERO).as_millis() as u64);
            let gate = rng.below(house.gates as u64) as usize;
            faults.push((at, make(&mut rng, gate)));
        }
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}
