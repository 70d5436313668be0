//! Where the peer of a dialog is found: RFC 3261 §12.2.1.1, within what its realm may have called.

use std::net::SocketAddr;

use sip::dialog::Dialog;
use sip::message::Uri;
use sip::transport::{Hop, Protocol};

use crate::config::{Config, RealmId};
use crate::route;

/// A peer, and where it was found first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Found {
    /// The realm it is in.
    pub(crate) realm: RealmId,
    /// Its messages came from there, or the route says so.
    pub(crate) hop: Hop,
    /// True if no hop may be without TLS.
    pub(crate) is_sips: bool,
}

impl Found {
    /// Where requests inside a dialog with it go.
    ///
    //= RFC 3261 §12.2.1.1: the first of the route set, or the remote target.
    //= exception RFC 3263 §4: a name there is not looked up again; the peer stays where it was found first.
    //= exception RFC 3261 §12.2.1.1: so it does if the address is that of another realm.
    pub(crate) fn hop_of(self, config: &Config, dialog: &Dialog) -> Hop {
        let Ok(uri) = Uri::parse(dialog.next_hop()) else { return self.hop };
        let Some(address) = uri.host().and_then(|host| host.address()) else { return self.hop };
        let asked = Protocol::of_uri(&uri).ok().flatten();
        let protocol = asked.unwrap_or(if self.is_sips { Protocol::Tls } else { Protocol::Udp });
        let remote = SocketAddr::new(address, uri.port().unwrap_or_else(|| protocol.port()));
        self.hop_to(config, remote, protocol)
    }

    fn hop_to(self, config: &Config, remote: SocketAddr, protocol: Protocol) -> Hop {
        let same_peer = self.hop.protocol == protocol && self.hop.remote.ip() == remote.ip();
        match config.listener_in(self.realm, protocol) {
            // The connection that exists is used, whatever port the peer would accept another one on.
            _ if same_peer => Hop { remote, ..self.hop },
            // Nobody has another realm called from inside of it.
            _ if !route::may_be_at(config, self.realm, self.hop.remote.ip(), remote.ip()) => self.hop,
            Some(listener) if protocol.can_connect() && (protocol.is_secure() || !self.is_sips) => {
                Hop { listener, protocol, remote, connection: None, name: None }
            }
            Some(_) | None => self.hop,
        }
    }
}
