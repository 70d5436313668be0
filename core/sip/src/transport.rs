//! Where messages come from and go to: RFC 3261 §18, as values.

use std::fmt;
use std::net::SocketAddr;

use crate::message::{Scheme, Uri};

/// The transport protocol under SIP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// One message per datagram.
    Udp,
    /// A stream of messages.
    Tcp,
    /// A stream of messages, encrypted.
    Tls,
    /// One message per WebSocket message (RFC 7118); only peers connect.
    Ws,
    /// The same, encrypted.
    Wss,
}

impl Protocol {
    const ALL: [Self; 5] = [Self::Udp, Self::Tcp, Self::Tls, Self::Ws, Self::Wss];

    /// True if the transport delivers or says that it could not; SIP then does not retransmit.
    #[must_use]
    pub fn is_reliable(self) -> bool {
        match self {
            Self::Udp => false,
            //= RFC 7118 §5: WebSocket counts as reliable.
            Self::Tcp | Self::Tls | Self::Ws | Self::Wss => true,
        }
    }

    /// True if nobody on the way can read along.
    #[must_use]
    pub fn is_secure(self) -> bool {
        match self {
            Self::Tls | Self::Wss => true,
            Self::Udp | Self::Tcp | Self::Ws => false,
        }
    }

    /// True if we can be the one who connects.
    #[must_use]
    pub fn can_connect(self) -> bool {
        match self {
            Self::Udp | Self::Tcp | Self::Tls => true,
            Self::Ws | Self::Wss => false,
        }
    }

    /// The port where nobody names one.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            //= RFC 3261 §18.1.1: 5060, and 5061 over TLS.
            Self::Udp | Self::Tcp => 5060,
            Self::Tls => 5061,
            //= RFC 7118 §5.5: those of HTTP.
            Self::Ws => 80,
            Self::Wss => 443,
        }
    }

    /// The protocol of a Via; case does not matter.
    #[must_use]
    pub fn from_token(token: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|protocol| protocol.token().eq_ignore_ascii_case(token))
    }

    /// As Via writes it.
    #[must_use]
    pub fn token(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Ws => "WS",
            Self::Wss => "WSS",
        }
    }

    /// The protocol that a URI asks for; `Ok(None)` if it leaves that open, an error if it asks for what does not exist.
    ///
    //= RFC 3261 §26.2.2: `sips` is TLS, whatever runs under it; `transport=tls` says the same of one hop.
    //= RFC 7118 §5.2, §5.5: `ws` is secure in a `sips` URI. `wss` is not of the RFC, but what some phones write.
    pub fn of_uri(uri: &Uri<'_>) -> Result<Option<Self>, NoSuchTransport> {
        let is_sips = uri.scheme() == Scheme::Sips;
        let word =
            uri.param("transport").map(|word| Self::from_token(word).ok_or(NoSuchTransport)).transpose()?;
        match (is_sips, word) {
            (false, word) => Ok(word),
            (true, None | Some(Self::Tcp | Self::Tls)) => Ok(Some(Self::Tls)),
            (true, Some(Self::Ws | Self::Wss)) => Ok(Some(Self::Wss)),
            (true, Some(Self::Udp)) => Err(NoSuchTransport),
        }
    }
}

/// A URI asks for a transport that does not exist, or not together with its scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSuchTransport;

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

/// A name that the other end of a secure connection must prove to be its own, by its number in the table of names that
/// the transaction user keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameId(pub u32);

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
    /// Whom a connection that is made must lead to: the name whose servers were looked for (RFC 5922 §7.3). `None`: to
    /// whoever has the address.
    pub name: Option<NameId>,
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.protocol, self.remote)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_says_what_it_is_reached_over() {
        let of = |uri| Protocol::of_uri(&Uri::parse(uri).unwrap());
        //= test RFC 3261 §26.2.2: sips means TLS.
        assert_eq!(of("sip:a@h"), Ok(None));
        assert_eq!(of("sip:a@h;transport=Tcp"), Ok(Some(Protocol::Tcp)));
        assert_eq!(of("sip:a@h;transport=tls"), Ok(Some(Protocol::Tls)));
        assert_eq!(of("sips:a@h"), Ok(Some(Protocol::Tls)));
        assert_eq!(of("sips:a@h;transport=tcp"), Ok(Some(Protocol::Tls)));
        //= test RFC 7118 §5.2: ws, and secure in sips.
        assert_eq!(of("sip:a@h.invalid;transport=ws"), Ok(Some(Protocol::Ws)));
        assert_eq!(of("sips:a@h.invalid;transport=ws"), Ok(Some(Protocol::Wss)));
        assert_eq!(of("sips:a@h;transport=udp"), Err(NoSuchTransport));
        assert_eq!(of("sip:a@h;transport=sctp"), Err(NoSuchTransport));
    }
}
