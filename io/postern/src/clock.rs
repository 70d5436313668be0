//! The only clock: the machines are told the time.

use machine::Instant;

/// Nanoseconds since this value was made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(std::time::Instant);

impl Clock {
    /// A clock that starts now.
    pub(crate) fn start() -> Self {
        Self(std::time::Instant::now())
    }

    /// The time for the machines.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_nanos(u64::try_from(self.0.elapsed().as_nanos()).unwrap_or(u64::MAX))
    }

    /// A machine's time for the runtime's timers.
    pub(crate) fn deadline(&self, at: Instant) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.0 + at.since(Instant::ZERO))
    }
}
