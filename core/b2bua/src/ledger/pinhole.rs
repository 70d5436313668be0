//! What one rule lets pass, and how that is written as a MIDCOM rule: the table of `docs/calls.md` §2.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use midcom::{Direction, Network, Tuple};
use sdp::{MediaFlow, Protocol};

use crate::side::Side;

/// One way through, for one stream: whoever is in `source` may send to these ports; over TCP, may
/// open connections to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pinhole {
    /// The m-line it serves.
    pub(super) stream: u16,
    /// The side that receives.
    pub(super) toward: Side,
    /// Where it receives.
    pub(super) place: Place,
    /// Who may send: one host, or a network.
    pub(super) source: Network,
    /// From which port on, as many as the place has; 0 for any.
    pub(super) source_port: u16,
}

/// One port of a host, or an even port and the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) address: IpAddr,
    pub(super) port: u16,
    /// 1 or 2.
    pub(super) range: u16,
    pub(super) protocol: Protocol,
}

impl Place {
    /// The port of a flow for media.
    pub(super) fn one(flow: &MediaFlow) -> Self {
        Self { address: flow.address, port: flow.rtp, range: 1, protocol: flow.protocol }
    }

    /// Its protocol as MIDCOM numbers it.
    pub(super) fn transport(self) -> midcom::Protocol {
        match self.protocol {
            Protocol::Udp => midcom::Protocol::Udp,
            Protocol::Tcp => midcom::Protocol::Tcp,
        }
    }

    /// True if every port of `other` is one of ours.
    pub(super) fn covers(self, other: Self) -> bool {
        (self.address, self.protocol) == (other.address, other.protocol)
            && self.port <= other.port
            && u32::from(other.port) + u32::from(other.range) <= u32::from(self.port) + u32::from(self.range)
    }

    fn overlaps(self, other: Self) -> bool {
        (self.address, self.protocol) == (other.address, other.protocol)
            && u32::from(self.port) < u32::from(other.port) + u32::from(other.range)
            && u32::from(other.port) < u32::from(self.port) + u32::from(self.range)
    }
}

impl Pinhole {
    /// One whose place is not known yet: that of a reservation for an answer to come.
    pub(super) fn unplaced(stream: u16, toward: Side, protocol: Protocol, v4: bool, range: u16) -> Self {
        let address: IpAddr = if v4 { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let place = Place { address, port: 0, range, protocol };
        Self { stream, toward, place, source: address.into(), source_port: 0 }
    }

    /// True if the place is not known yet.
    pub(super) fn is_unplaced(&self) -> bool {
        self.place.address.is_unspecified() && self.place.port == 0
    }

    /// True if a reservation made without a place will do for `other`.
    pub(super) fn would_do_for(&self, other: &Self) -> bool {
        let Place { address, range, protocol, .. } = self.place;
        self.is_unplaced()
            && protocol == other.place.protocol
            && address.is_ipv4() == other.place.address.is_ipv4()
            && other.place.range <= range
    }

    /// True if both serve the same stream in the same direction.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        self.stream == other.stream && self.toward == other.toward
    }

    /// True if every packet that `other` lets pass passes here too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let offset = other.place.port.wrapping_sub(self.place.port);
        let ports = self.source_port == 0
            || (other.source_port != 0 && other.source_port == self.source_port.wrapping_add(offset));
        self.is_beside(other)
            && self.place.covers(other.place)
            && self.source.contains(&other.source)
            && ports
    }

    /// True if some packet may pass both.
    pub(super) fn overlaps(&self, other: &Self) -> bool {
        let sources = self.source.contains(&other.source) || other.source.contains(&self.source);
        // The source port rises with the port it leads to, so two rules meet in all common ports or in none.
        let offset = other.place.port.wrapping_sub(self.place.port);
        let ports = self.source_port == 0
            || other.source_port == 0
            || other.source_port == self.source_port.wrapping_add(offset);
        self.is_beside(other) && self.place.overlaps(other.place) && sources && ports
    }

    /// True if more than one host may send: an address wildcard.
    pub(super) fn wildcards_address(&self) -> bool {
        self.source.prefix_len() < self.source.max_prefix_len()
    }

    /// Direction, A0 and A3 at a middlebox that has `inside` on its inside.
    //= RFC 5189 §2.3.5: A0 is the inside endpoint, A3 the outside one, whoever sends.
    pub(super) fn tuples(&self, inside: Side) -> (Direction, Tuple, Tuple) {
        let (Place { address, port, range, .. }, protocol) = (self.place, self.place.transport());
        let destination = Tuple { network: Network::from(address), protocol, port, range };
        let source = Tuple { network: self.source, protocol, port: self.source_port, range };
        match inside == self.toward {
            true => (Direction::Inbound, destination, source),
            false => (Direction::Outbound, source, destination),
        }
    }
}
