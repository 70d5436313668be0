//! Connections of peers that are used the other way: RFC 5923 §8.2.

use std::net::SocketAddr;

use bytes::Bytes;
use sip::message::{Message, Name, Via};
use sip::transport::{ConnectionId, Hop};

use super::{Place, Streams};

impl Streams {
    /// A message has come: if its sender asks for that, calls to where it says that it is go down this connection.
    //= RFC 5923 §8.2, §9.2: only over TLS, and only from a peer that has proven who it is.
    pub(crate) fn learn_alias(&mut self, id: ConnectionId, bytes: &Bytes) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        if connection.domains.is_empty() || connection.ours {
            return;
        }
        let hop = connection.hop;
        let Some(port) = advertised(hop, bytes) else { return };
        let alias = (hop.listener, SocketAddr::new(hop.remote.ip(), port));
        // Each connection has one, the last it was given: no peer can fill the table.
        if let Some(former) = connection.alias.replace(alias).filter(|former| *former != alias) {
            self.forget_alias(former, id);
        }
        self.aliases.insert(alias, id);
    }

    /// Forgets that a place is reached by a connection, unless it is reached by another since.
    pub(super) fn forget_alias(&mut self, alias: Place, id: ConnectionId) {
        if self.aliases.get(&alias) == Some(&id) {
            self.aliases.remove(&alias);
        }
    }

    /// The connection by which a place can be reached that must prove this name.
    //= RFC 5923 §8.2: if the resolved address is that of an alias, and its peer has proven the name that was resolved.
    pub(super) fn alias_of(&self, hop: Hop, name: Option<&str>) -> Option<ConnectionId> {
        let (id, name) = (self.aliases.get(&(hop.listener, hop.remote))?, name?);
        let domains = &self.connections.get(id)?.domains;
        domains.iter().any(|domain| domain.eq_ignore_ascii_case(name)).then_some(*id)
    }
}

/// The port that the sender of a request can be reached at, if it wants its connection used.
fn advertised(hop: Hop, bytes: &Bytes) -> Option<u16> {
    // Most messages have no such word.
    memchr::memmem::find(bytes, b"alias")?;
    let message = Message::parse(bytes.clone()).ok().filter(Message::is_request)?;
    let via = Via::parse(message.values(Name::Via).next()?).ok()?;
    via.params()
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("alias"))
        .then(|| via.port().unwrap_or_else(|| hop.protocol.port()))
}

#[cfg(test)]
mod tests {
    use sip::transport::{ListenerId, Protocol};

    use super::*;

    #[test]
    fn only_a_request_with_the_parameter_asks_for_it() {
        //= test RFC 5923 §8.2: the parameter of the topmost Via, its port or 5061.
        let remote = ([192, 0, 2, 1], 40_000).into();
        let hop =
            Hop { listener: ListenerId(0), protocol: Protocol::Tls, remote, connection: None, name: None };
        let asked = |start: &str, via: &str| {
            let text = format!(
                "{start}\r\nVia: SIP/2.0/TLS {via}\r\nFrom: <sip:a@b>;tag=alias\r\nTo: <sip:c@d>;tag=1\r\nCall-ID: x\r\n\
                 CSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
            );
            advertised(hop, &Bytes::from(text))
        };
        let request = "OPTIONS sip:a@b SIP/2.0";
        assert_eq!(asked(request, "pbx.example;branch=z9hG4bK1;alias"), Some(5061));
        assert_eq!(asked(request, "192.0.2.1:5071;alias;branch=z9hG4bK1"), Some(5071));
        assert_eq!(asked(request, "192.0.2.1:5071;branch=z9hG4bKalias"), None);
        assert_eq!(asked("SIP/2.0 200 OK", "192.0.2.1:5071;branch=z9hG4bK1;alias"), None);
    }
}
