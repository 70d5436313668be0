//! Rules that were confirmed after their request had failed with a timeout: the session ends them itself.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use machine::Instant;
use midcom::{Failure, FailureClass, Prid};

/// How long a refused end waits before it is asked for again.
const RETRY: Duration = Duration::from_secs(1);

/// At most one entry for each request that may be open.
#[derive(Debug, Default)]
pub(super) struct Strays {
    asked: BTreeMap<u32, Prid>,
    again: VecDeque<(Instant, Prid)>,
}

impl Strays {
    /// The end of a rule has been asked for under this TID.
    pub(super) fn asked(&mut self, tid: u32, prid: Prid) {
        self.asked.insert(tid, prid);
    }

    /// It was granted.
    pub(super) fn ended(&mut self, tid: u32) {
        self.asked.remove(&tid);
    }

    /// It was refused: asked again if the middlebox only could not, and the rule is there.
    pub(super) fn refused(&mut self, now: Instant, tid: u32, failure: Failure) {
        if let Some(prid) = self.asked.remove(&tid)
            && failure.class() == FailureClass::Technical
            && failure != Failure::NoSuchRule
        {
            self.again.push_back((now + RETRY, prid));
        }
    }

    /// Takes a rule whose end is due to be asked for again.
    pub(super) fn due(&mut self, now: Instant) -> Option<Prid> {
        self.next().filter(|at| *at <= now)?;
        self.again.pop_front().map(|(_, prid)| prid)
    }

    /// When that is next so.
    pub(super) fn next(&self) -> Option<Instant> {
        self.again.front().map(|(at, _)| *at)
    }

    /// The session is over: whoever opens the next one lists the rules.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::ZERO + Duration::from_secs(seconds)
    }

    #[test]
    fn what_the_middlebox_could_not_end_is_asked_for_again() {
        let mut strays = Strays::default();
        strays.asked(7, Prid(1));
        strays.refused(at(5), 7, Failure::ConfigurationFailed);
        assert_eq!((strays.due(at(5)), strays.next()), (None, Some(at(6))));
        assert_eq!((strays.due(at(6)), strays.next()), (Some(Prid(1)), None));
    }

    #[test]
    fn a_rule_that_is_gone_or_not_ours_is_not() {
        let mut strays = Strays::default();
        for (tid, failure) in [(1, Failure::NoSuchRule), (2, Failure::NotAuthorizedForRule)] {
            strays.asked(tid, Prid(tid));
            strays.refused(at(0), tid, failure);
        }
        strays.asked(3, Prid(3));
        strays.ended(3);
        strays.refused(at(0), 3, Failure::ConfigurationFailed);
        assert_eq!(strays.next(), None);
    }
}
