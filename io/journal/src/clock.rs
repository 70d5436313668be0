//! Deadlines outlive the clock of a process: on disk they are times of the clock on the wall.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use machine::Instant;

/// Which time of the wall an [`Instant`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wall {
    /// The time of the wall when the machine's clock began, in milliseconds since 1970.
    zero_ms: u64,
    now: Instant,
}

impl Wall {
    /// The clock on the wall as it is now, for a machine whose time is `now`.
    #[must_use]
    pub fn read(now: Instant) -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self::at(u64::try_from(since.as_millis()).unwrap_or(u64::MAX), now)
    }

    /// The same for a clock that shows so many milliseconds since 1970.
    #[must_use]
    pub fn at(wall_ms: u64, now: Instant) -> Self {
        Self { zero_ms: wall_ms.saturating_sub(millis(now)), now }
    }

    /// How far another reading is from this one: somebody has set the clock by so much in between.
    #[must_use]
    pub fn differs_by(&self, other: &Self) -> Duration {
        Duration::from_millis(self.zero_ms.abs_diff(other.zero_ms))
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.of(self.now)
    }

    /// The time of the wall of a machine's time.
    pub(crate) fn of(&self, at: Instant) -> u64 {
        self.zero_ms.saturating_add(millis(at))
    }

    /// What a deadline on the wall is now, if it is not over. `written` is when it was written down: a rule never lives
    /// longer than it was to live then, wherever the clock has been put.
    pub(crate) fn deadline(&self, deadline_ms: u64, written_ms: u64) -> Option<Instant> {
        let left = deadline_ms.saturating_sub(self.now_ms().max(written_ms));
        (left > 0).then(|| self.now + Duration::from_millis(left))
    }
}

fn millis(at: Instant) -> u64 {
    at.as_nanos() / 1_000_000
}
