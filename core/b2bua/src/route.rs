//! Where a call goes: `docs/configuration.md`, routes.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use sip::locate::Place;
use sip::message::{Message, Scheme, Uri};
use sip::transport::{Hop, ListenerId, NameId, Protocol};

use crate::config::{Config, Host, Listener, NextHop, Realm, RealmId, Route, Then, UserPattern, When};

/// What routes are chosen by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    /// The realm it arrived in.
    pub(crate) from: RealmId,
    /// The address it came from.
    pub(crate) source: IpAddr,
    /// Whom it is for.
    pub(crate) callee: Option<Uri<'a>>,
    /// Whom it says that it is from.
    pub(crate) caller: Option<Uri<'a>>,
}

impl<'a> Facts<'a> {
    /// Those of a request outside a dialog.
    pub(crate) fn of(request: &'a Message, from: RealmId, source: IpAddr) -> Self {
        let caller = request.from().ok().and_then(|address| Uri::parse(address.uri()).ok());
        Self { from, source: source.to_canonical(), callee: Uri::parse(request.request_uri()).ok(), caller }
    }

    /// True if they are all that a route or a line of policy asks for.
    pub(crate) fn fit(&self, when: &When) -> bool {
        let user = |patterns: &[UserPattern], uri: Option<Uri<'_>>| {
            let user = uri.and_then(|uri| uri.user()).unwrap_or_default();
            patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(user))
        };
        let host = self.callee.and_then(|uri| uri.host());
        let is_host = |name: &String| {
            let name = sip::message::Host::parse(name);
            name.zip(host).is_some_and(|(name, host)| name.is_equivalent(&host))
        };
        user(&when.users, self.callee)
            && user(&when.callers, self.caller)
            && (when.hosts.is_empty() || when.hosts.iter().any(is_host))
            && (when.sources.is_empty() || when.sources.iter().any(|network| network.contains(&self.source)))
    }
}

/// The first route that fits, with its number, counted from 1. One that leads back into the realm must say so (`from`).
pub(crate) fn choose<'c>(config: &'c Config, facts: &Facts<'_>) -> Option<(usize, &'c Then)> {
    let fits = |route: &Route| {
        let leads_back = matches!(&route.then, Then::Call { to, .. } if *to == facts.from);
        (!leads_back || route.from == Some(facts.from))
            && route.from.is_none_or(|realm| realm == facts.from)
            && facts.fit(&route.when)
    };
    let (position, route) = config.routes.iter().enumerate().find(|(_, route)| fits(route))?;
    Some((position + 1, &route.then))
}

/// True if a route refuses the call.
pub(crate) fn refuses(config: &Config, facts: &Facts<'_>) -> bool {
    matches!(choose(config, facts), Some((_, Then::Refuse { .. })))
}

/// The realm and the first next hop that a call goes to.
pub(crate) fn leads_to<'c>(config: &'c Config, facts: &Facts<'_>) -> Option<(RealmId, &'c NextHop)> {
    match choose(config, facts)?.1 {
        Then::Call { to, next_hops } => Some((*to, next_hops.first()?)),
        Then::Registered { .. } | Then::Refuse { .. } => None,
    }
}

/// All next hops, with their realms.
fn next_hops(config: &Config) -> impl Iterator<Item = (RealmId, &NextHop)> {
    config.routes.iter().flat_map(|route| {
        let (to, hops) = match &route.then {
            Then::Call { to, next_hops } => (*to, next_hops.as_slice()),
            Then::Registered { .. } | Then::Refuse { .. } => (RealmId(u16::MAX), [].as_slice()),
        };
        hops.iter().map(move |hop| (to, hop))
    })
}

/// The hop to a next hop that needs no name service; `listener` is one of its realm.
pub(crate) fn hop(next_hop: &NextHop, listener: ListenerId) -> Option<Hop> {
    //= RFC 3263 §4.2: a numeric host is used as it is, with the port given or 5060.
    let Place { protocol, address } = place(next_hop)?;
    Some(Hop { listener, protocol, remote: address, connection: None, name: None })
}

/// The transport to a next hop that is a number.
//= RFC 3263 §4.1: UDP for a SIP URI and TLS for a SIPS URI, unless the URI says otherwise.
pub(crate) fn protocol(next_hop: &NextHop) -> Protocol {
    next_hop.transport.unwrap_or(if next_hop.secure { Protocol::Tls } else { Protocol::Udp })
}

/// The listener of a realm that reaches a next hop; for a name without a transport any will do until it is found.
pub(crate) fn listener(config: &Config, realm: RealmId, next_hop: &NextHop) -> Option<ListenerId> {
    let first = || config.listener_in(realm, *config.speaks(realm, next_hop.secure).first()?);
    match (&next_hop.host, next_hop.transport) {
        (_, Some(transport)) => config.listener_in(realm, transport),
        (Host::Address(_), None) => {
            let listener = place(next_hop).and_then(|place| config.listener_to(realm, &place));
            listener.or_else(|| config.listener_in(realm, protocol(next_hop)))
        }
        (Host::Name(_), None) => first(),
    }
}

/// Where a next hop is that needs no name service.
pub(crate) fn place(next_hop: &NextHop) -> Option<Place> {
    match next_hop.host {
        Host::Address(address) => {
            let protocol = protocol(next_hop);
            let address = SocketAddr::new(address, next_hop.port.unwrap_or_else(|| protocol.port()));
            Some(Place { protocol, address })
        }
        Host::Name(_) => None,
    }
}

/// The hops to places that a realm can send to, in their order; `name` is whose places they are.
//= RFC 5922 §7.3: what is proven is the name that was looked for, not one that the name service has put in its place.
pub(crate) fn hops(config: &Config, realm: RealmId, places: &[Place], name: Option<NameId>) -> Vec<Hop> {
    let hop = |place: &Place| {
        let Place { protocol, address: remote } = *place;
        let listener = config.listener_to(realm, place)?;
        let name = name.filter(|_| protocol.is_secure());
        Some(Hop { listener, protocol, remote, connection: None, name })
    };
    places.iter().filter_map(hop).collect()
}

/// The Request-URI of the outgoing INVITE.
///
/// What the caller wrote, unless it wrote us: then user and parameters stay and the next hop takes our place. A URI
/// that names somebody else travels untouched to the next hop, which will know.
pub(crate) fn request_uri(config: &Config, invite: &Message, next_hop: &NextHop) -> String {
    let text = invite.request_uri();
    match Uri::parse(text) {
        Ok(uri) if is_us(config, &uri) => readdressed(&uri, next_hop),
        Ok(_) | Err(_) => text.to_owned(),
    }
}

/// True if a URI's host and port are one of our listeners.
pub(crate) fn is_us(config: &Config, uri: &Uri<'_>) -> bool {
    config.listeners.iter().any(|listener| is_listener(listener, uri))
}

/// True if they are one of our listeners in this realm: who says so means somebody to be reached through us.
pub(crate) fn is_us_in(config: &Config, realm: RealmId, uri: &Uri<'_>) -> bool {
    config.listeners.iter().any(|listener| listener.realm == realm && is_listener(listener, uri))
}

fn is_listener(listener: &Listener, uri: &Uri<'_>) -> bool {
    let (default, scheme) = (listener.protocol.port(), uri.scheme());
    //= RFC 3261 §19.1.2: the port that a URI does not name is that of its scheme.
    let usual = if scheme == Scheme::Sips { Protocol::Tls } else { Protocol::Udp };
    let asked = Protocol::of_uri(uri).ok().flatten().unwrap_or(usual);
    let port = uri.port().unwrap_or_else(|| asked.port());
    uri.host().is_some_and(|host| {
        let bound = host.address() == Some(listener.address.ip()) && port == listener.address.port();
        let (name, advertised_port) = split_sent_by(&listener.sent_by, default);
        let advertised = sip::message::Host::parse(name).is_some_and(|name| name.is_equivalent(&host));
        bound || (advertised && port == advertised_port)
    })
}

/// True if an address lies in a realm, so that it may be called because somebody there names it.
///
/// It is that of the realm whose media networks are closest around it, or of a next hop there. Where a realm's networks are
/// the whole Internet, that does not make private addresses its own: nobody outside shall have the inside called.
pub(crate) fn is_in(config: &Config, realm: RealmId, address: IpAddr) -> bool {
    let address = address.to_canonical();
    if is_ours(config, address) || !is_unicast(address) {
        return false;
    }
    if let Some((to, _)) = next_hops(config).find(|(_, hop)| hop.host == Host::Address(address)) {
        return to == realm;
    }
    let around = |realm: &Realm| {
        let networks = realm.pinholes.media.networks.iter();
        networks.filter(|network| network.contains(&address)).map(|network| network.prefix_len()).max()
    };
    let Some(here) = config.realm(realm).and_then(around) else { return false };
    let elsewhere = (0..).map(RealmId).zip(&config.realms).filter(|(id, _)| *id != realm);
    let closest = elsewhere.filter_map(|(_, other)| around(other)).all(|there| there < here);
    closest && (here > 0 || !is_private(address))
}

/// True if a peer of a realm may have its requests sent to an address that it names (Contact, Record-Route), other than the
/// one where it was found, which is `found_at`.
///
/// Servers need not lie in media networks, so that this is wider than [`is_in`]: what no other realm has. The other realms
/// have their next hops and what lies closer to their media networks; the whole Internet is close to nothing private. A
/// private address that no realm names is that of the peer only if the peer is at a private address itself and its realm is
/// not the whole Internet.
pub(crate) fn may_be_at(config: &Config, realm: RealmId, found_at: IpAddr, address: IpAddr) -> bool {
    let address = address.to_canonical();
    if is_ours(config, address) || !is_unicast(address) {
        return false;
    }
    let mut hops = next_hops(config).filter(|(_, hop)| hop.host == Host::Address(address)).peekable();
    if hops.peek().is_some() {
        return hops.any(|(to, _)| to == realm);
    }
    let around = |realm: &Realm| {
        let lengths = realm.pinholes.media.networks.iter().filter(|network| network.contains(&address));
        lengths.map(|network| network.prefix_len()).filter(|length| *length > 0 || !is_private(address)).max()
    };
    let Some(own) = config.realm(realm) else { return false };
    let elsewhere = (0..).map(RealmId).zip(&config.realms).filter(|(id, _)| *id != realm);
    match (around(own), elsewhere.filter_map(|(_, other)| around(other)).max()) {
        (Some(here), there) => there.is_none_or(|there| there < here),
        (None, Some(_)) => false,
        (None, None) if is_private(address) => is_private(found_at.to_canonical()) && !is_everywhere(own),
        (None, None) => true,
    }
}

/// True if a peer of a realm, found somewhere on the Internet, names a private address that is in nobody's network here.
///
/// What a realm with media networks does not have there is refused as that, and what is another realm's is for the middlebox
/// to refuse: it says more of such a description.
pub(crate) fn is_behind_nat(config: &Config, realm: RealmId, found_at: IpAddr, address: IpAddr) -> bool {
    if !is_private(address) || is_private(found_at.to_canonical()) || is_ours(config, address) {
        return false;
    }
    let closest = |realm: &Realm| {
        let around = realm.pinholes.media.networks.iter().filter(|network| network.contains(&address));
        around.map(|network| network.prefix_len()).max()
    };
    let Some(own) = config.realm(realm) else { return false };
    let is_anywhere = own.pinholes.media.networks.is_empty() || closest(own) == Some(0);
    let others = (0..).map(RealmId).zip(&config.realms).filter(|(id, _)| *id != realm);
    is_anywhere && others.filter_map(|(_, other)| closest(other)).all(|len| len == 0)
}

/// True if a realm's media networks are the whole Internet.
fn is_everywhere(realm: &Realm) -> bool {
    realm.pinholes.media.networks.iter().any(|network| network.prefix_len() == 0)
}

/// True if the machine itself has an address.
fn is_ours(config: &Config, address: IpAddr) -> bool {
    let own = config.realms.iter().any(|realm| realm.pinholes.media.own_addresses.contains(&address));
    own || config.listeners.iter().any(|listener| listener.address.ip() == address)
}

fn is_unicast(address: IpAddr) -> bool {
    let everybody = match address {
        IpAddr::V4(address) => address.is_broadcast() || address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    };
    !(everybody || address.is_unspecified() || address.is_loopback() || address.is_multicast())
}

/// Addresses that mean different hosts in different places: RFC 1918, RFC 6598, RFC 4193.
fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let [first, second, ..] = address.octets();
            address.is_private() || (first == 100 && second & 0xc0 == 64)
        }
        IpAddr::V6(address) => address.is_unique_local(),
    }
}

/// Host and port of a sent-by.
fn split_sent_by(sent_by: &str, default: u16) -> (&str, u16) {
    match sent_by.rsplit_once(':') {
        Some((host, port)) if !host.starts_with('[') || host.ends_with(']') => {
            (host, port.parse().unwrap_or(default))
        }
        Some(_) | None => (sent_by, default),
    }
}

/// A URI with the next hop in our place: user and parameters stay, headers do not.
pub(crate) fn readdressed(uri: &Uri<'_>, next_hop: &NextHop) -> String {
    let scheme = if uri.scheme() == Scheme::Sips { "sips" } else { "sip" };
    let mut text = format!("{scheme}:");
    // Writing into a String cannot fail.
    if let Some(user) = uri.user() {
        let _written = match uri.password() {
            Some(password) => write!(text, "{user}:{password}@"),
            None => write!(text, "{user}@"),
        };
    }
    let _written = match &next_hop.host {
        Host::Address(IpAddr::V6(address)) => write!(text, "[{address}]"),
        Host::Address(address) => write!(text, "{address}"),
        Host::Name(name) => write!(text, "{name}"),
    };
    if let Some(port) = next_hop.port {
        let _written = write!(text, ":{port}");
    }
    for (name, value) in uri.params().filter(|(name, _)| !is_about_transport(name)) {
        let _written = match value {
            Some(value) => write!(text, ";{name}={value}"),
            None => write!(text, ";{name}"),
        };
    }
    text
}

/// Parameters that said how to reach us, not whom.
fn is_about_transport(name: &str) -> bool {
    ["transport", "maddr", "ttl", "lr"].iter().any(|ours| ours.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next_hop(host: &str, port: Option<u16>) -> NextHop {
        let host = host.parse().map_or_else(|_| Host::Name(host.into()), Host::Address);
        NextHop { host, port, transport: None, secure: false, trunk: None }
    }

    fn readdressed(uri: &str, host: &str, port: Option<u16>) -> String {
        super::readdressed(&Uri::parse(uri).unwrap(), &next_hop(host, port))
    }

    #[test]
    fn the_next_hop_takes_our_place_and_the_user_stays() {
        assert_eq!(readdressed("sip:b@203.0.113.1", "10.0.0.5", None), "sip:b@10.0.0.5");
        assert_eq!(readdressed("sip:203.0.113.1:5060", "pbx.example", Some(5080)), "sip:pbx.example:5080");
        let uri = "sip:+1;phone-context=x:pw@us.example;user=phone;transport=tcp;x";
        assert_eq!(
            readdressed(uri, "2001:db8::5", None),
            "sip:+1;phone-context=x:pw@[2001:db8::5];user=phone;x"
        );
    }

    #[test]
    fn a_sent_by_is_taken_apart() {
        assert_eq!(split_sent_by("sbc.example", 5060), ("sbc.example", 5060));
        assert_eq!(split_sent_by("sbc.example:5070", 5061), ("sbc.example", 5070));
        assert_eq!(split_sent_by("[2001:db8::1]", 5061), ("[2001:db8::1]", 5061));
        assert_eq!(split_sent_by("[2001:db8::1]:5070", 5060), ("[2001:db8::1]", 5070));
    }
}
