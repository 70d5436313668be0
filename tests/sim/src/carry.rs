//! Packets on their way through the middleboxes: who stops them, or as what they come out behind.

use std::net::SocketAddr;

use middlebox::memory::{Packet, Verdict};
use middlebox::{Key, Transport};

use crate::observe::interface;
use crate::sabotage::Sabotage;
use crate::world::World;

/// Source and destination of a packet.
pub(crate) type Ends = (SocketAddr, SocketAddr);

impl World {
    /// The same for a datagram.
    pub(crate) fn carried(&mut self, from: SocketAddr, to: SocketAddr, outside: bool) -> Result<Ends, usize> {
        let (transport, interface) = (Transport::Udp, interface(outside));
        self.carry(&Packet { transport, source: from, destination: to, interface, opens: false })
    }

    /// What a packet is behind all middleboxes, or the first one that stops it.
    pub(crate) fn carry(&mut self, packet: &Packet<'_>) -> Result<Ends, usize> {
        let mut packet = *packet;
        for (position, gate) in self.gates.iter_mut().enumerate() {
            gate.engine.advance(self.now);
            let Verdict::Accepted(key) = gate.engine.verdict(&packet) else { return Err(position) };
            let ends = written(&key, (packet.source, packet.destination), self.plan.sabotage);
            (packet.source, packet.destination) = ends;
        }
        Ok((packet.source, packet.destination))
    }
}

/// What an engine makes of a packet that an entry admits.
fn written(key: &Key, sent: Ends, sabotage: Option<Sabotage>) -> Ends {
    let right = key.rewrite(sent.0, sent.1);
    let beside = |before: SocketAddr, after: SocketAddr| match before == after {
        true => after,
        false => SocketAddr::new(after.ip(), after.port() ^ 1),
    };
    match sabotage {
        Some(Sabotage::TranslatesBeside) => (beside(sent.0, right.0), beside(sent.1, right.1)),
        Some(Sabotage::KeepsSources) => (sent.0, right.1),
        Some(Sabotage::KeepsDestinations) => (right.0, sent.1),
        Some(_) | None => right,
    }
}
