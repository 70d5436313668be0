//! A rate: so many a second, and a burst of [`BURST_S`] seconds' worth.

use machine::Instant;

use crate::limits::BURST_S;

const SECOND: u64 = 1_000_000_000;

/// How far a rate has been used: the generic cell rate algorithm, one number for each (ITU-T I.371 §A). It says when what has come
/// would have come if it had kept exactly to the rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Used(u64);

impl Used {
    /// Takes one of `rate` a second; false if there is none left. A rate of 0 is no rate: everything passes.
    pub(crate) fn take(&mut self, now: Instant, rate: u64) -> bool {
        self.take_burst(now, rate, rate.saturating_mul(BURST_S))
    }

    /// The same, where `burst` may come at once.
    pub(crate) fn take_burst(&mut self, now: Instant, rate: u64, burst: u64) -> bool {
        if rate == 0 {
            return true;
        }
        let each = SECOND / rate;
        let (now, due) = (now.as_nanos(), self.0.max(now.as_nanos()));
        if due - now > each.saturating_mul(burst.saturating_sub(1)) {
            return false;
        }
        self.0 = due.saturating_add(each);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(used: &mut Used, now: Instant, rate: u64, tries: usize) -> usize {
        (0..tries).filter(|_| used.take(now, rate)).count()
    }

    #[test]
    fn a_burst_of_two_seconds_passes_and_then_the_rate() {
        let mut used = Used::default();
        let at = |seconds| Instant::from_nanos(seconds * SECOND);
        assert_eq!(taken(&mut used, at(100), 10, 1_000), 20);
        assert_eq!(taken(&mut used, at(101), 10, 1_000), 10);
        assert_eq!(taken(&mut used, at(200), 10, 1_000), 20);
    }

    #[test]
    fn a_rate_of_one_lets_two_pass_at_once() {
        let mut used = Used::default();
        assert_eq!(taken(&mut used, Instant::ZERO, 1, 5), 2);
    }

    #[test]
    fn zero_is_no_rate() {
        let mut used = Used::default();
        assert_eq!(taken(&mut used, Instant::ZERO, 0, 1_000), 1_000);
    }
}
