//! Where messages come from and go to: RFC 3261 §18, as values.

use std::fmt;
use std::net::SocketAddr;

/// The transport protocol under SIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// One message per datagram.
    Udp,
    /// A stream of messages.
    Tcp,
}

impl Protocol {
    /// True if the transport delivers or says that it could not; SIP then does not retransmit.
    #[must_use]
    pub fn is_reliable(self) -> bool {
        match self {
            Self::Udp => false,
            Self::Tcp => true,
        }
    }

    /// The protocol of a Via transport or a `transport` parameter; case does not matter.
    #[must_use]
    pub fn from_token(token: &str) -> Option<Self> {
        [Self::Udp, Self::Tcp].into_iter().find(|protocol| protocol.token().eq_ignore_ascii_case(token))
    }

    /// As Via writes it.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.token())
    }
}

/// One of our listening addresses, by position in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListenerId(pub u16);

/// A connection of a stream transport, numbered by the runtime; never used twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// Where a message came from, or where it goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Hop {
    /// Our side.
    pub listener: ListenerId,
    /// What carries it.
    pub protocol: Protocol,
    /// The other side.
    pub remote: SocketAddr,
    /// The connection; `None` over UDP, and for a stream when any connection to `remote` will do.
    pub connection: Option<ConnectionId>,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.remote)
    }
}
