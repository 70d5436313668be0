//! Which legs' peers are trunks.

use sip::message::{Builder, Message, Name, Uri};
use sip::transport::{Hop, Protocol};

use super::config::{Trunk, TrunkId};
use super::{Sent, Trunks};
use crate::b2bua::B2bua;
use crate::call::Request;
use crate::config::{Config, Host, RealmId};
use crate::context::Recipient;
use crate::event::CallId;
use crate::route;
use crate::side::Side;

/// A leg whose peer is a trunk.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    trunk: TrunkId,
    /// Where it was found.
    hop: Hop,
    /// Credentials of the INVITE that was accepted last, for its ACK.
    accepted: Vec<(Name, Box<str>)>,
}

impl Trunks {
    /// The peer of a leg is a trunk from now on, or is none.
    pub(crate) fn bind(&mut self, call: CallId, side: Side, trunk: Option<TrunkId>, hop: Hop) {
        match trunk {
            Some(trunk) => {
                self.bound.insert((call, side), Bound { trunk, hop, accepted: Vec::new() });
            }
            None => {
                self.bound.remove(&(call, side));
            }
        }
    }

    /// The call is over.
    pub(crate) fn forget(&mut self, call: CallId) {
        for side in [Side::A, Side::B] {
            self.bound.remove(&(call, side));
        }
    }

    /// The trunk whose credentials a request to this hop may have.
    ///
    //= RFC 3261 §22.1: credentials are for one protection space; here that is where the trunk is, and over nothing less secure.
    pub(crate) fn of_leg(&self, config: &Config, to: Recipient, hop: Hop) -> Option<TrunkId> {
        let bound = self.bound.get(&(to.call, to.side))?;
        let trunk = config.trunk(bound.trunk)?;
        let is_granted = || self.granted_at(bound.trunk).is_some_and(|granted| granted.remote == hop.remote);
        let is_there = hop.remote == bound.hop.remote || trunk.is_sent_to(hop) || is_granted();
        let is_secure = hop.protocol.is_secure()
            || !(bound.hop.protocol.is_secure() || self.must_be_secure(bound.trunk, trunk));
        (is_there && is_secure && config.realm_of(hop.listener) == Some(trunk.realm)).then_some(bound.trunk)
    }

    /// True if nothing less secure than TLS may carry credentials.
    fn must_be_secure(&self, id: TrunkId, trunk: &Trunk) -> bool {
        trunk.is_secure() || self.granted_at(id).is_some_and(|granted| granted.protocol.is_secure())
    }

    /// An INVITE leaves: what the last one had is not for its ACK.
    pub(crate) fn forget_for_ack(&mut self, to: Recipient) {
        if let Some(bound) = self.bound.get_mut(&(to.call, to.side)) {
            bound.accepted.clear();
        }
    }

    /// An INVITE was accepted: its ACK has the same credentials.
    pub(super) fn keep_for_ack(&mut self, sent: &Sent) {
        let bound = sent.to.and_then(|to| self.bound.get_mut(&(to.call, to.side)));
        if let Some(bound) = bound {
            let written = sent.credentials.iter();
            bound.accepted = written.map(|own| (own.kind.name(), own.value.clone())).collect();
        }
    }

    /// Adds the credentials of the INVITE to its ACK, if that goes to the trunk as well: Contact may name anybody.
    //= RFC 3261 §13.2.2.4, §22.1: the same, because nobody can be asked for them in an ACK.
    pub(crate) fn in_ack(&self, config: &Config, (to, hop): (Recipient, Hop), builder: Builder) -> Builder {
        if self.of_leg(config, to, hop).is_none() {
            return builder;
        }
        let accepted = self.bound.get(&(to.call, to.side)).map_or(&[][..], |bound| &bound.accepted);
        accepted.iter().fold(builder, |builder, (name, value)| builder.header(*name, value.as_bytes()))
    }
}

impl Trunk {
    /// True if it is reached over TLS only, or always.
    fn is_secure(&self) -> bool {
        self.next_hop.secure || self.next_hop.transport.is_some_and(Protocol::is_secure)
    }

    /// True if requests to a hop go to it.
    fn is_sent_to(&self, hop: Hop) -> bool {
        let (address, port) = (hop.remote.ip().to_canonical(), hop.remote.port());
        let is_next_hop =
            route::place(&self.next_hop).is_some_and(|place| place.address == (address, port).into());
        is_next_hop || self.addresses.iter().any(|network| network.contains(&address))
    }

    /// True if it has the address of a hop without being asked where it is; it may call from any port.
    fn has(&self, hop: Hop) -> bool {
        let address = hop.remote.ip().to_canonical();
        self.next_hop.host == Host::Address(address)
            || self.addresses.iter().any(|network| network.contains(&address))
    }
}

impl B2bua {
    /// The trunk that a call comes from: it is at the address, and if several are, the call is for the user that it was told of.
    pub(crate) fn trunk_of_caller(&self, from: RealmId, request: &Request) -> Option<TrunkId> {
        let Request { hop, message, .. } = request;
        let trunks = &self.shared.trunks;
        let mut there = (0..).map(TrunkId).zip(&self.config.trunks).filter(|(id, trunk)| {
            let registered = trunks.granted_at(*id).map(|granted| granted.remote.ip());
            trunk.realm == from
                && (trunk.has(*hop) || registered == Some(hop.remote.ip()))
                && (hop.protocol.is_secure() || !trunks.must_be_secure(*id, trunk))
        });
        let first = there.next()?;
        let user = |message: &Message| {
            let uri = Uri::parse(message.request_uri()).ok();
            uri.and_then(|uri| uri.user()).unwrap_or_default().to_owned()
        };
        let user = user(message);
        let is_meant = |(_, trunk): &(TrunkId, &Trunk)| {
            trunk.register.as_ref().is_some_and(|register| register.contact_user == user)
        };
        if is_meant(&first) { Some(first.0) } else { Some(there.find(is_meant).unwrap_or(first).0) }
    }
}
