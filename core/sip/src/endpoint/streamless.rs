//! Peers to which no stream leads: their long requests go in datagrams. RFC 3261 §18.1.1.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use machine::Instant;

/// How long that is believed.
const MEMORY: Duration = Duration::from_secs(600);
/// How many are remembered; of others it is found out again each time.
const PEERS_MAX: usize = 1_024;

/// Who was found to have none, and until when that counts.
#[derive(Debug, Clone, Default)]
pub(super) struct Streamless(BTreeMap<SocketAddr, Instant>);

impl Streamless {
    pub(super) fn note(&mut self, now: Instant, peer: SocketAddr) {
        self.0.retain(|_, until| *until > now);
        if self.0.len() < PEERS_MAX {
            self.0.insert(peer, now + MEMORY);
        }
    }

    pub(super) fn has(&self, now: Instant, peer: SocketAddr) -> bool {
        self.0.get(&peer).is_some_and(|until| *until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_forgets_and_does_not_grow_without_end() {
        let peer = |port: usize| SocketAddr::from(([192, 0, 2, 1], port as u16));
        let mut streamless = Streamless::default();
        for port in 1..=PEERS_MAX + 1 {
            streamless.note(Instant::ZERO, peer(port));
        }
        assert!(
            streamless.has(Instant::ZERO, peer(1)) && !streamless.has(Instant::ZERO, peer(PEERS_MAX + 1))
        );
        let later = Instant::ZERO + MEMORY;
        assert!(!streamless.has(later, peer(1)));
        streamless.note(later, peer(PEERS_MAX + 1));
        assert!(streamless.has(later, peer(PEERS_MAX + 1)));
    }
}
