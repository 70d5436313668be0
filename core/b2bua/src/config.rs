//! What the B2BUA is told about the world: plain typed values, checked at the edge.
//!
//! There are no strings to interpret and no defaults to fill in here, except where a type says so with `Default`.
//! Realms, listeners and middleboxes are named by their position, so a configuration is one consistent value.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use midcom::{Lifetime, MiddleboxId};
use sip::locate::Place;
use sip::message::Method;
use sip::transport::{Hop, ListenerId, Protocol};

use crate::{admission, ledger};

pub use crate::authentication::config::{Authentication, User, Users};
pub use crate::failure::Codes;
pub use crate::limits::Limits;
pub use crate::trunk::config::{Register, Trunk, TrunkId};
pub use crate::user::UserPattern;

/// One of the realms, by position in [`Config::realms`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RealmId(pub u16);

/// Everything the B2BUA is told.
#[derive(Debug, Clone)]
pub struct Config {
    /// The sides of the border.
    pub realms: Vec<Realm>,
    /// Where we listen; [`ListenerId`] is the position.
    pub listeners: Vec<Listener>,
    /// Where calls go; the first that matches decides.
    pub routes: Vec<Route>,
    /// Which calls are let in; the first that fits decides, and without one they are.
    pub admission: Vec<admission::Line>,
    /// The middleboxes we are the agent of; [`MiddleboxId`] is the position.
    pub middleboxes: Vec<Middlebox>,
    /// How long we wait for what.
    pub timers: Timers,
    /// How much of everything.
    pub limits: Limits,
    /// The lifetime asked for every rule (`rule-lifetime`, default 600 s).
    pub rule_lifetime: Lifetime,
    /// Which status code says which failure.
    pub codes: Codes,
    /// The name that stands in `Warning` (RFC 3261 §20.43) instead of our address; a token.
    pub pseudonym: String,
    /// Which of the parallel B2BUAs this is; every tag, Call-ID and branch carries it.
    pub shard: u8,
    /// What happens in calls where the documents leave a choice.
    pub policy: CallPolicy,
    /// Servers that want to know who we are; [`TrunkId`] is the position.
    pub trunks: Vec<Trunk>,
    /// Who has a password with us.
    pub users: Users,
}

/// A side of the border.
#[derive(Debug, Clone)]
pub struct Realm {
    /// As the configuration calls it.
    pub name: String,
    /// Its media networks and ports, its source policy. The Internet side names `0.0.0.0/0` and `::/0`.
    pub pinholes: Arc<ledger::Realm>,
    /// What its phones can do, and what is asked of them.
    pub policy: RealmPolicy,
    /// Methods of requests outside calls that its peers may have passed on: REGISTER, MESSAGE, OPTIONS, NOTIFY, PUBLISH, INFO.
    pub pass: Vec<Method>,
    /// Whether its peers must show who they are, and when.
    pub authentication: Option<Authentication>,
    /// Whether its phones register with us.
    pub registrar: Option<Registrar>,
}

/// How we keep phones registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registrar {
    /// The shortest time, in seconds; who asks for less gets 423.
    pub min_s: u32,
    /// The longest, in seconds; who asks for more gets this.
    pub max_s: u32,
}

/// An address we receive SIP on.
#[derive(Debug, Clone)]
pub struct Listener {
    /// The realm whose messages arrive here.
    pub realm: RealmId,
    /// What is spoken here.
    pub protocol: Protocol,
    /// The bound address.
    pub address: SocketAddr,
    /// `host[:port]` as peers reach it: written into Via and Contact (RFC 3261 §18.1.1).
    pub sent_by: String,
}

impl Listener {
    /// Our Contact here (RFC 3261 §8.1.1.8); `user` may be empty.
    pub(crate) fn contact<'a>(&'a self, user: &'a str, is_sips: bool) -> OwnContact<'a> {
        OwnContact { user, is_sips, listener: self }
    }
}

/// A Contact of ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OwnContact<'a> {
    user: &'a str,
    is_sips: bool,
    listener: &'a Listener,
}

impl fmt::Display for OwnContact<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, is_sips, listener: Listener { sent_by, protocol, .. } } = *self;
        let at = if user.is_empty() { "" } else { "@" };
        //= RFC 3261 §8.1.1.8, §12.1.1; RFC 5630 §5.1.1.2: a SIPS URI where, and only where, the call was made with one.
        let scheme = if is_sips { "sips" } else { "sip" };
        let transport = match (protocol, is_sips) {
            (Protocol::Udp, _) | (Protocol::Tls, true) => "",
            (Protocol::Tcp, _) => ";transport=tcp",
            //= exception RFC 5630 §5.1.2: `transport=tls` is not to be used; without it phones would come back over UDP.
            (Protocol::Tls, false) => ";transport=tls",
            //= RFC 7118 §5.2: one word for both.
            (Protocol::Ws | Protocol::Wss, _) => ";transport=ws",
        };
        write!(f, "<{scheme}:{user}{at}{sent_by}{transport}>")
    }
}

/// Where calls go.
///
/// A call that arrived in realm X takes the first route whose `from` is X or unset, that fits the call. One that leads
/// back into X counts only if its `from` is X. Without a matching route the caller gets 404.
#[derive(Debug, Clone)]
pub struct Route {
    /// Only calls from this realm; `None`: from any.
    pub from: Option<RealmId>,
    /// Only calls that are all of this.
    pub when: When,
    /// What becomes of them.
    pub then: Then,
}

impl Route {
    /// The route of all calls into a realm.
    #[must_use]
    pub fn always(to: RealmId, next_hop: NextHop) -> Self {
        Self { from: None, when: When::default(), then: Then::Call { to, next_hops: vec![next_hop] } }
    }
}

/// What becomes of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Then {
    /// It goes on.
    Call {
        /// The realm it leaves into.
        to: RealmId,
        /// The servers or phones that get it, each if those before it do not work; at least one.
        next_hops: Vec<NextHop>,
    },
    /// It goes on to whoever it is for, at the places where that user is registered with us.
    Registered {
        /// The realm of those phones.
        to: RealmId,
    },
    /// It is refused.
    Refuse {
        /// With this status code.
        status: u16,
    },
}

/// What a call must be; an empty list asks for nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct When {
    /// The user part of the Request-URI is one of these.
    pub users: Vec<UserPattern>,
    /// The host of the Request-URI is one of these; names and addresses, IPv6 in brackets.
    pub hosts: Vec<String>,
    /// The user part of From is one of these.
    pub callers: Vec<UserPattern>,
    /// It came from an address in one of these.
    pub sources: Vec<IpNet>,
}

/// Whom to send to, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NextHop {
    /// An address, or a name that the runtime resolves (RFC 3263).
    pub host: Host,
    /// The port; `None`: as RFC 3263 finds it, 5060 for an address.
    pub port: Option<u16>,
    /// The transport; `None`: as RFC 3263 finds it, UDP for an address.
    pub transport: Option<Protocol>,
    /// True if it may be reached over TLS only, as a SIPS URI is.
    pub secure: bool,
    /// The trunk that it is: its challenges are answered.
    pub trunk: Option<TrunkId>,
}

impl NextHop {
    /// The same, reached in no other way than a SIPS URI is; `None` if its transport is another.
    //= RFC 5630 §5.3: what is described by a SIPS URI never goes over a link that is not secure.
    #[must_use]
    pub fn secured(self) -> Option<Self> {
        self.transport.is_none_or(Protocol::is_secure).then_some(Self { secure: true, ..self })
    }
}

impl From<Hop> for NextHop {
    fn from(hop: Hop) -> Self {
        Self {
            host: Host::Address(hop.remote.ip()),
            port: Some(hop.remote.port()),
            transport: Some(hop.protocol),
            secure: false,
            trunk: None,
        }
    }
}

/// An address or a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// An IP literal.
    Address(IpAddr),
    /// A DNS name.
    Name(String),
}

/// A middlebox we are the agent of: it lies on the path of every call between a realm inside and a realm outside of it.
/// Several on one path all have to agree.
#[derive(Debug, Clone)]
pub struct Middlebox {
    /// As the configuration calls it.
    pub name: String,
    /// The realms of A0. None of them is `outside` too.
    pub inside: Vec<RealmId>,
    /// The realms of A3.
    pub outside: Vec<RealmId>,
    /// The other of a pair: packets of a call cross one of the two, and each can do without the other (decision 0026).
    pub standby_for: Option<MiddleboxId>,
}

impl Middlebox {
    /// Whether it lies between two realms, and if so whether `a` is the one inside.
    #[must_use]
    pub fn between(&self, a: RealmId, b: RealmId) -> Option<bool> {
        let lies = |inside: RealmId, outside: RealmId| {
            self.inside.contains(&inside) && self.outside.contains(&outside)
        };
        if lies(a, b) {
            return Some(true);
        }
        lies(b, a).then_some(false)
    }
}

/// Choices for all calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallPolicy {
    /// Whether every middlebox must reserve what the answer will need before the INVITE leaves (`docs/calls.md` §5).
    pub reserve: bool,
    /// Which streams a call cannot live without.
    pub crucial: Crucial,
    /// What happens to the pinholes of a stream on hold.
    pub hold: OnHold,
    /// What is done with a 3xx.
    pub redirect: Redirect,
    /// How long the counters of all rules of a call that is not on hold may stand still; `None`: for ever.
    pub media_timeout: Option<Duration>,
}

impl Default for CallPolicy {
    fn default() -> Self {
        Self {
            reserve: false,
            crucial: Crucial::FirstAudio,
            hold: OnHold::Keep,
            redirect: Redirect::Relay,
            media_timeout: None,
        }
    }
}

/// Choices for the legs of one realm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RealmPolicy {
    /// The type of precondition its phones are asked for when a plain phone calls them; `None`: none is inserted.
    pub precondition: Option<PreconditionType>,
    /// Session timers (RFC 4028) on its legs.
    pub session: SessionPolicy,
    /// How long its phones behind NATs of their own are told that they are registered, at most; `None`: as long as the
    /// registrar says.
    pub refresh: Option<Duration>,
}

/// The streams a call cannot live without: when the firewall takes one of their pinholes back, the call ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Crucial {
    /// The first audio m-line; without audio every m-line.
    FirstAudio,
    /// Every m-line of these media types, lower case: "audio", "video"; without any of them every m-line.
    Media(Vec<String>),
    /// Every m-line.
    All,
}

/// What happens to the pinholes of a stream on hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnHold {
    /// They stay.
    Keep,
    /// Those of the silent direction are closed, except for RTCP.
    Close,
}

/// What is done with a 3xx.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Redirect {
    /// The caller gets it, Contact included.
    Relay,
    /// We try its contacts, by q value, at most this many in one call.
    Follow {
        /// At least 1.
        most: u8,
    },
}

/// A type of precondition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PreconditionType {
    /// Firewall, draft §5.2: status `e2e`, strength `mandatory` or `none`.
    Fw,
    /// Quality of service, RFC 3312.
    Qos,
}

/// Session timers of one realm's legs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionPolicy {
    /// The interval asked for; `None`: no session timers, none asked for and none refreshed.
    pub interval: Option<Duration>,
    /// Min-SE: the shortest interval accepted, at least 90 s.
    pub minimum: Duration,
}

/// How long we wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timers {
    /// RFC 3261 §17.1.1.1: the round-trip estimate, 500 ms.
    pub t1: Duration,
    /// The longest retransmission interval, 4 s.
    pub t2: Duration,
    /// How long a message stays in the network, 5 s.
    pub t4: Duration,
    /// RFC 3261 §16.6 step 11: how long an INVITE may stay unanswered since its last 1xx, 180 s.
    pub timer_c: Duration,
    /// How long a message waits for its pinholes, 2 s.
    pub hold: Duration,
    /// How long rules wait for the peer's answer to BYE before they are closed anyway, 1 s.
    pub answer: Duration,
    /// How long the answer to BYE waits for the rules to be closed, 1 s.
    pub close: Duration,
    /// How long a shutdown takes at most, 4.5 s.
    pub shutdown: Duration,
    /// How often next hops are asked with OPTIONS whether they are there; `None`: never.
    pub ping: Option<Duration>,
}

impl Default for Timers {
    fn default() -> Self {
        Self {
            t1: Duration::from_millis(500),
            t2: Duration::from_secs(4),
            t4: Duration::from_secs(5),
            timer_c: Duration::from_secs(180),
            hold: Duration::from_secs(2),
            answer: Duration::from_secs(1),
            close: Duration::from_secs(1),
            shutdown: Duration::from_millis(4500),
            ping: None,
        }
    }
}

impl Timers {
    /// How long RFC 3261 waits for an answer: 64*T1.
    #[must_use]
    pub fn t1_64(&self) -> Duration {
        self.t1 * 64
    }
}

impl Config {
    /// The default rule lifetime.
    pub const RULE_LIFETIME: Lifetime = Lifetime(600);

    /// The realm a listener belongs to; `None` for a listener nobody configured.
    #[must_use]
    pub fn realm_of(&self, listener: ListenerId) -> Option<RealmId> {
        self.listener(listener).map(|listener| listener.realm)
    }

    /// A listener by number.
    #[must_use]
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.listeners.get(usize::from(id.0))
    }

    /// A trunk by number.
    #[must_use]
    pub fn trunk(&self, id: TrunkId) -> Option<&Trunk> {
        self.trunks.get(usize::from(id.0))
    }

    /// A realm by number.
    #[must_use]
    pub fn realm(&self, id: RealmId) -> Option<&Realm> {
        self.realms.get(usize::from(id.0))
    }

    /// The middleboxes on the path between two realms, and whether `a` is inside of them.
    pub fn path(&self, a: RealmId, b: RealmId) -> impl Iterator<Item = (MiddleboxId, bool)> + '_ {
        let numbered = (0..).zip(&self.middleboxes);
        numbered.filter_map(move |(number, middlebox)| Some((MiddleboxId(number), middlebox.between(a, b)?)))
    }

    /// The other of a pair, whichever of the two says so.
    #[must_use]
    pub fn partner(&self, of: MiddleboxId) -> Option<MiddleboxId> {
        let own = self.middleboxes.get(usize::from(of.0))?.standby_for;
        let numbered = || (0..).map(MiddleboxId).zip(&self.middleboxes);
        own.or_else(|| numbered().find(|(_, other)| other.standby_for == Some(of)).map(|(id, _)| id))
    }

    /// The listener a realm sends from with this protocol: its first.
    #[must_use]
    pub fn listener_in(&self, realm: RealmId, protocol: Protocol) -> Option<ListenerId> {
        self.listeners_in(realm).find(|(_, listener)| listener.protocol == protocol).map(|(id, _)| id)
    }

    /// The listener a realm sends from to a place: the first of its protocol and IP version.
    #[must_use]
    pub fn listener_to(&self, realm: RealmId, place: &Place) -> Option<ListenerId> {
        let is_v4 = place.address.is_ipv4();
        let mut listeners = self.listeners_in(realm);
        let fits =
            |listener: &Listener| listener.protocol == place.protocol && listener.address.is_ipv4() == is_v4;
        listeners.find(|(_, listener)| fits(listener)).map(|(id, _)| id)
    }

    /// What a realm can send over to whom it is not connected with yet, in the order of its listeners; `secure`: to a SIPS
    /// URI.
    #[must_use]
    pub fn speaks(&self, realm: RealmId, secure: bool) -> Vec<Protocol> {
        let mut spoken = Vec::new();
        for (_, Listener { protocol, .. }) in self.listeners_in(realm) {
            let fits = protocol.can_connect() && (protocol.is_secure() || !secure);
            if fits && !spoken.contains(protocol) {
                spoken.push(*protocol);
            }
        }
        spoken
    }

    fn listeners_in(&self, realm: RealmId) -> impl Iterator<Item = (ListenerId, &Listener)> {
        (0..).map(ListenerId).zip(&self.listeners).filter(move |(_, listener)| listener.realm == realm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERNET: RealmId = RealmId(0);
    const DMZ: RealmId = RealmId(1);
    const OFFICE: RealmId = RealmId(2);

    fn middlebox(inside: &[RealmId], outside: &[RealmId]) -> Middlebox {
        Middlebox { name: "fw".into(), inside: inside.to_vec(), outside: outside.to_vec(), standby_for: None }
    }

    #[test]
    fn a_middlebox_lies_between_its_sides_and_nowhere_else() {
        let edge = middlebox(&[DMZ, OFFICE], &[INTERNET]);
        assert_eq!(edge.between(INTERNET, OFFICE), Some(false));
        assert_eq!(edge.between(OFFICE, INTERNET), Some(true));
        assert_eq!(edge.between(DMZ, OFFICE), None);
        let core = middlebox(&[OFFICE], &[INTERNET, DMZ]);
        assert_eq!(core.between(DMZ, OFFICE), Some(false));
        assert_eq!(core.between(DMZ, INTERNET), None);
    }
}
