//! Callees that want no preconditions: the next call to them does not ask again (`docs/calls.md` §5).
//!
//! A callee is where its calls are sent and what their Request-URI says: behind one proxy there are phones of all kinds. It
//! is forgotten after a while, because phones are replaced, and the oldest goes first where there are too many.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use machine::Instant;

use crate::limits::{UNWILLING_MAX, UNWILLING_TIME, UNWILLING_URI_MAX};

/// Who gets an INVITE.
type Callee = (SocketAddr, Box<str>);

/// Callees that want none.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unwilling {
    known: BTreeMap<Callee, Instant>,
    /// The same, with the time at which each is forgotten; the earliest first.
    order: VecDeque<(Instant, Callee)>,
}

impl Unwilling {
    /// True if this callee need not be asked.
    pub(crate) fn contains(&self, now: Instant, remote: SocketAddr, uri: &str) -> bool {
        !self.known.is_empty() && self.known.get(&(remote, uri.into())).is_some_and(|until| *until > now)
    }

    /// All that are known, remembered still or not.
    pub(crate) fn callees(&self) -> Vec<&Callee> {
        self.known.keys().collect()
    }

    /// Notes a callee. A URI beyond all measure is not worth its room.
    pub(crate) fn note(&mut self, now: Instant, remote: SocketAddr, uri: &str) {
        if uri.len() > UNWILLING_URI_MAX {
            return;
        }
        while self.order.front().is_some_and(|(until, _)| *until <= now || self.order.len() >= UNWILLING_MAX)
        {
            let Some((until, callee)) = self.order.pop_front() else { return };
            // It may have been noted again since.
            if self.known.get(&callee) == Some(&until) {
                self.known.remove(&callee);
            }
        }
        let (until, callee) = (now + UNWILLING_TIME, (remote, uri.into()));
        self.order.push_back((until, Callee::clone(&callee)));
        self.known.insert(callee, until);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn remote() -> SocketAddr {
        "10.0.40.7:5060".parse().unwrap()
    }

    #[test]
    fn a_callee_is_remembered_for_a_while() {
        let mut unwilling = Unwilling::default();
        let now = Instant::ZERO;
        unwilling.note(now, remote(), "sip:b@h");
        assert!(unwilling.contains(now, remote(), "sip:b@h"));
        assert!(!unwilling.contains(now, remote(), "sip:c@h"));
        assert!(!unwilling.contains(now + UNWILLING_TIME, remote(), "sip:b@h"));
    }

    #[test]
    fn the_oldest_goes_first() {
        let mut unwilling = Unwilling::default();
        for number in 0..=UNWILLING_MAX as u64 {
            let now = Instant::ZERO + Duration::from_millis(number);
            unwilling.note(now, remote(), &format!("sip:{number}@h"));
        }
        let now = Instant::ZERO + Duration::from_secs(60);
        assert_eq!((unwilling.known.len(), unwilling.order.len()), (UNWILLING_MAX, UNWILLING_MAX));
        assert!(!unwilling.contains(now, remote(), "sip:0@h"));
        assert!(unwilling.contains(now, remote(), "sip:1@h"));
    }

    #[test]
    fn one_that_is_noted_again_stays() {
        let mut unwilling = Unwilling::default();
        unwilling.note(Instant::ZERO, remote(), "sip:b@h");
        let later = Instant::ZERO + UNWILLING_TIME / 2;
        unwilling.note(later, remote(), "sip:b@h");
        let end = Instant::ZERO + UNWILLING_TIME;
        unwilling.note(end, remote(), "sip:c@h");
        assert!(unwilling.contains(end, remote(), "sip:b@h"));
    }
}
