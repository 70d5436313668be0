//! Address tuples A0 to A3: RFC 5189 §2.3.5, wildcards included.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// An address with a prefix length; a prefix shorter than the address is a wildcard.
pub type Network = IpNet;

/// The transport protocol of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Any protocol; ports mean nothing then.
    Any,
    /// UDP, 17.
    Udp,
    /// TCP, 6.
    Tcp,
    /// Another IANA protocol number; a middlebox may refuse it.
    Other(u8),
}

impl Protocol {
    /// The IANA number; 0 for any.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Any => 0,
            Self::Udp => 17,
            Self::Tcp => 6,
            Self::Other(number) => number,
        }
    }

    /// The protocol of an IANA number; 0 is any.
    #[must_use]
    pub fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Any,
            17 => Self::Udp,
            6 => Self::Tcp,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Udp => f.write_str("udp"),
            Self::Tcp => f.write_str("tcp"),
            Self::Other(number) => write!(f, "proto-{number}"),
        }
    }
}

/// One end of a rule: who may send or receive, on which ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tuple {
    /// The address, or a network as a wildcard.
    pub network: Network,
    /// The transport protocol.
    pub protocol: Protocol,
    /// The first port; 0 is any port, and the range then means nothing.
    pub port: u16,
    /// How many consecutive ports, at least 1. 0 with any address and any port: whoever said it named a protocol only.
    pub range: u16,
}

impl Tuple {
    /// Exactly `range` ports of one host.
    #[must_use]
    pub fn host(address: SocketAddr, protocol: Protocol, range: u16) -> Self {
        Self { network: Network::from(address.ip()), protocol, port: address.port(), range }
    }

    /// A whole network, any port.
    #[must_use]
    pub fn network(network: Network, protocol: Protocol, range: u16) -> Self {
        Self { network, protocol, port: 0, range }
    }

    /// Every address of IPv4 or of IPv6 and every port, said by naming neither: what RFC 4540 §4.3.8 calls "protocols only".
    #[must_use]
    pub fn protocol_only(ipv4: bool, protocol: Protocol) -> Self {
        const V4: Network = Network::new_assert(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        const V6: Network = Network::new_assert(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);
        Self { network: if ipv4 { V4 } else { V6 }, protocol, port: 0, range: 0 }
    }

    /// True for a [`Tuple::protocol_only`].
    #[must_use]
    pub fn is_protocol_only(&self) -> bool {
        self.range == 0 && self.port == 0 && self.network.prefix_len() == 0
    }

    /// The address; the network's address where it is a wildcard.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.network.addr()
    }

    /// True if more than one address matches.
    #[must_use]
    pub fn wildcards_address(&self) -> bool {
        self.network.prefix_len() < self.network.max_prefix_len()
    }

    /// True if any port matches.
    #[must_use]
    pub fn wildcards_port(&self) -> bool {
        //= RFC 4540 §8.3.1, §8.8.2: a wildcard of the protocol is one of ports, whatever the port fields say.
        self.port == 0 || self.protocol == Protocol::Any
    }

    /// The last port, for an exact tuple whose range fits (`port + range - 1 <= 65535`).
    #[must_use]
    pub fn last_port(&self) -> u16 {
        self.port.saturating_add(self.range.saturating_sub(1))
    }

    /// True if some packet end matches both tuples.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        let addresses = self.network.contains(&other.network) || other.network.contains(&self.network);
        let protocols = self.protocol == other.protocol
            || self.protocol == Protocol::Any
            || other.protocol == Protocol::Any;
        let any_port = |tuple: &Self| tuple.wildcards_port() || tuple.protocol == Protocol::Any;
        let ports = any_port(self)
            || any_port(other)
            || (self.port <= other.last_port() && other.port <= self.last_port());
        addresses && protocols && ports
    }
}

/// `udp 10.0.0.7:4000-4001`, `udp 10.0.0.0/24:*`.
impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.protocol)?;
        match (self.wildcards_address(), self.network.addr()) {
            (true, _) => write!(f, "{}", self.network)?,
            (false, IpAddr::V4(address)) => write!(f, "{address}")?,
            (false, IpAddr::V6(address)) => write!(f, "[{address}]")?,
        }
        match (self.port, self.range) {
            (0, _) => f.write_str(":*"),
            (port, 0 | 1) => write!(f, ":{port}"),
            (port, _) => write!(f, ":{port}-{}", self.last_port()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(network: &str, port: u16, range: u16) -> Tuple {
        Tuple { network: network.parse().unwrap(), protocol: Protocol::Udp, port, range }
    }

    #[test]
    fn overlap_needs_address_protocol_and_port() {
        let pair = tuple("10.0.0.7/32", 4000, 2);
        assert!(pair.overlaps(&tuple("10.0.0.0/24", 0, 1)));
        assert!(pair.overlaps(&tuple("10.0.0.7/32", 4001, 1)));
        assert!(!pair.overlaps(&tuple("10.0.0.7/32", 4002, 2)));
        assert!(!pair.overlaps(&tuple("10.0.1.0/24", 0, 1)));
        assert!(!pair.overlaps(&Tuple { protocol: Protocol::Tcp, ..pair }));
        // Without a protocol a port means nothing.
        assert!(pair.overlaps(&Tuple { protocol: Protocol::Any, port: 9, ..pair }));
    }

    #[test]
    fn is_written_as_people_say_it() {
        assert_eq!(tuple("10.0.0.7/32", 4000, 2).to_string(), "udp 10.0.0.7:4000-4001");
        assert_eq!(tuple("10.0.0.0/24", 0, 2).to_string(), "udp 10.0.0.0/24:*");
        assert_eq!(tuple("2001:db8::1/128", 9, 1).to_string(), "udp [2001:db8::1]:9");
    }
}
