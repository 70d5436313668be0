//! Places that have failed lately: RFC 3263 §1 and §4.3 ask that a server that is down is not tried first by every call.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use machine::Instant;
use sip::transport::{Hop, Protocol};

use crate::limits::{FAILURE_MEMORY, FAILURES_MAX};

/// What has failed, and until when that counts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Failures(BTreeMap<(Protocol, SocketAddr), Instant>);

impl Failures {
    /// A place has failed.
    pub(crate) fn note(&mut self, now: Instant, hop: Hop) {
        self.0.retain(|_, until| *until > now);
        let place = (hop.protocol, hop.remote);
        if self.0.len() < FAILURES_MAX || self.0.contains_key(&place) {
            self.0.insert(place, now + FAILURE_MEMORY);
        }
    }

    /// True if it has failed lately.
    pub(crate) fn has(&self, now: Instant, place: (Protocol, SocketAddr)) -> bool {
        self.0.get(&place).is_some_and(|until| *until > now)
    }

    /// The same places, those that have failed lately after the others; they are tried again if nothing else works.
    pub(crate) fn last(&self, now: Instant, mut hops: Vec<Hop>) -> Vec<Hop> {
        hops.sort_by_key(|hop| self.has(now, (hop.protocol, hop.remote)));
        hops
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use sip::transport::ListenerId;

    use super::*;

    fn hop(port: u16) -> Hop {
        let remote = SocketAddr::from(([192, 0, 2, 1], port));
        Hop { listener: ListenerId(0), protocol: Protocol::Udp, remote, connection: None, name: None }
    }

    #[test]
    fn what_failed_comes_last_for_a_while() {
        let mut failures = Failures::default();
        let all = || vec![hop(1), hop(2), hop(3)];
        failures.note(Instant::ZERO, hop(1));
        assert_eq!(failures.last(Instant::ZERO, all()), [hop(2), hop(3), hop(1)]);
        let later = Instant::ZERO + FAILURE_MEMORY + Duration::from_millis(1);
        assert_eq!(failures.last(later, all()), all());
    }

    #[test]
    fn it_forgets_before_it_grows() {
        let mut failures = Failures::default();
        for port in 0..=u16::try_from(FAILURES_MAX).unwrap() {
            failures.note(Instant::ZERO, hop(port));
        }
        assert_eq!(failures.0.len(), FAILURES_MAX);
        failures.note(Instant::ZERO + FAILURE_MEMORY, hop(9));
        assert_eq!(failures.0.len(), 1);
    }
}
