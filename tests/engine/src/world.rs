//! The world of the cases: who lives where.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use midcom::{Direction, Lifetime, Network, Tuple};
use middlebox::{
    AgentId, AgentPolicy, Authority, Key, Nat, Opening, Operation, Permit, Policy, Realm, Realms,
    ReversePath, Rights, Side, Transport,
};

use crate::{Bench, Shot};

/// A network segment at the gate, each behind an interface of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// 10.0.40.0/24 and fd00:40::/64.
    Inside,
    /// 198.51.100.0/24 and 2001:db8:51::/64.
    Outside,
    /// 192.0.2.0/24 and 2001:db8:33::/64: routed by the gate, but in no realm.
    Third,
}

/// A machine with an address of each version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host {
    /// Where it is.
    pub place: Place,
    /// Its IPv4 address.
    pub v4: Ipv4Addr,
    /// Its IPv6 address.
    pub v6: Ipv6Addr,
}

impl Host {
    pub(crate) fn at(self, version: Version, port: u16) -> SocketAddr {
        let address: IpAddr = match version {
            Version::V4 => self.v4.into(),
            Version::V6 => self.v6.into(),
        };
        SocketAddr::new(address, port)
    }
}

/// A phone inside.
pub const INSIDE: Host = host(Place::Inside, [10, 0, 40, 7], [0xfd00, 0x40, 0, 0, 0, 0, 0, 7]);
/// Another one.
pub const INSIDE_OTHER: Host = host(Place::Inside, [10, 0, 40, 8], [0xfd00, 0x40, 0, 0, 0, 0, 0, 8]);
/// A phone outside.
pub const OUTSIDE: Host = host(Place::Outside, [198, 51, 100, 9], [0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 9]);
/// Another one.
pub const OUTSIDE_OTHER: Host =
    host(Place::Outside, [198, 51, 100, 10], [0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 10]);
/// A machine that belongs to nobody's media.
pub const THIRD: Host = host(Place::Third, [192, 0, 2, 3], [0x2001, 0xdb8, 0x33, 0, 0, 0, 0, 3]);
/// The gate itself, on the outside: where its NAT has its addresses.
pub const GATEWAY: Host = host(Place::Outside, [198, 51, 100, 1], [0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 1]);
/// The only agent.
pub const AGENT: AgentId = AgentId(1);

const fn host(place: Place, v4: [u8; 4], v6: [u16; 8]) -> Host {
    let [a, b, c, d] = v4;
    let [s, t, u, v, w, x, y, z] = v6;
    Host { place, v4: Ipv4Addr::new(a, b, c, d), v6: Ipv6Addr::new(s, t, u, v, w, x, y, z) }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V6,
}

pub(crate) const VERSIONS: [Version; 2] = [Version::V4, Version::V6];

fn network(host: Host, version: Version) -> Network {
    let prefix = match version {
        Version::V4 => 24,
        Version::V6 => 64,
    };
    Network::new(host.at(version, 0).ip(), prefix).expect("24 and 64 are prefix lengths").trunc()
}

/// The realms that every engine under test is given: both sides managed on ports 16384 to 32767.
#[must_use]
pub fn realms() -> Realms {
    let realm = |name: &str, side, host| Realm {
        name: name.into(),
        side,
        networks: VERSIONS.iter().map(|version| network(host, *version)).collect(),
        ports: 16384..=32767,
        interfaces: Vec::new(),
        managed: true,
        reverse_path: ReversePath::Strict,
    };
    Realms::new(vec![realm("inside", Side::Inside, INSIDE), realm("outside", Side::Outside, OUTSIDE)])
        .expect("two realms with different networks")
}

/// The same where nothing is managed: what is closed is held.
///
/// # Panics
/// Never: they are good realms.
#[must_use]
pub fn unmanaged() -> Realms {
    let mut realms = realms().realms().to_vec();
    realms.iter_mut().for_each(|realm| realm.managed = false);
    Realms::new(realms).expect("the same networks")
}

/// The outside addresses of the cases about translation: the gate's own, on ports that no realm's media have.
///
/// # Panics
/// Never: they are good addresses.
#[must_use]
pub fn nat() -> Nat {
    Nat::new(vec![GATEWAY.v4.into(), GATEWAY.v6.into()], 40000..=40063).expect("two addresses of the gate")
}

/// An authority that lets [`AGENT`] open everything between the realms.
#[must_use]
pub fn authority() -> Authority {
    authority_for(realms())
}

/// An authority for other realms than the engine's: it permits keys for networks that the engine does not know.
#[must_use]
pub fn foreign_authority() -> Authority {
    let mut strange = realms().realms().to_vec();
    strange[1].networks = VERSIONS.iter().map(|version| network(THIRD, *version)).collect();
    authority_for(Realms::new(strange).expect("two realms with different networks"))
}

fn authority_for(realms: Realms) -> Authority {
    let agent = AgentPolicy {
        name: "contract".into(),
        internal: VERSIONS.iter().map(|version| network(INSIDE, *version)).collect(),
        ports: 1..=65535,
        rules_max: u32::MAX,
        lifetime_max: Lifetime(u32::MAX),
        rights: Rights::default(),
    };
    Authority::new(realms, Policy { agents: BTreeMap::from([(AGENT, agent)]), ..Policy::default() }, true)
}

/// Who may send, as a rule says it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum From {
    /// One port (and those that follow) of a host.
    Port(Host, u16),
    /// Any port of a host.
    Anything(Host),
    /// Any port of the host's network.
    Everybody(Host),
}

/// A rule for UDP from `source` to `range` ports of `destination`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rule {
    pub(crate) version: Version,
    pub(crate) source: From,
    pub(crate) destination: (Host, u16),
    pub(crate) range: u16,
}

impl Rule {
    /// The permits an authority gives for it.
    pub(crate) fn permits(self, authority: &Authority, transport: Transport) -> Vec<Permit> {
        let opening = self.opening(transport);
        authority.permit(AGENT, &opening).expect("the contract's authority allows everything")
    }

    /// The same where the inside end is this port of the gate, and those that follow, to the outside.
    pub(crate) fn permits_behind(self, port: u16) -> Vec<Permit> {
        let opening = self.opening(Transport::Udp);
        let outside = Tuple::host(GATEWAY.at(self.version, port), Transport::Udp.protocol(), self.range);
        authority()
            .permit_translated(AGENT, &opening, &outside)
            .expect("the contract's authority allows everything")
    }

    fn opening(self, transport: Transport) -> Opening {
        let protocol = transport.protocol();
        let source = match self.source {
            From::Port(host, port) => Tuple::host(host.at(self.version, port), protocol, self.range),
            From::Anything(host) => Tuple::host(host.at(self.version, 0), protocol, self.range),
            From::Everybody(host) => Tuple::network(network(host, self.version), protocol, self.range),
        };
        let (host, port) = self.destination;
        let destination = Tuple::host(host.at(self.version, port), protocol, self.range);
        match host.place {
            Place::Inside => {
                Opening { direction: Direction::Inbound, internal: destination, external: source }
            }
            Place::Outside | Place::Third => {
                Opening { direction: Direction::Outbound, internal: source, external: destination }
            }
        }
    }

    pub(crate) fn keys(self) -> Vec<Key> {
        self.permits(&authority(), Transport::Udp).iter().map(Permit::key).collect()
    }
}

pub(crate) const LONG: Duration = Duration::from_secs(300);

/// Opens a rule for UDP, or fails the case.
pub(crate) fn open(bench: &mut dyn Bench, rule: Rule, lifetime: Duration) {
    open_for(bench, rule, Transport::Udp, lifetime);
}

pub(crate) fn open_for(bench: &mut dyn Bench, rule: Rule, transport: Transport, lifetime: Duration) {
    let permits = rule.permits(&authority(), transport);
    let operations: Vec<_> = permits.into_iter().map(|permit| Operation::Add { permit, lifetime }).collect();
    all_succeed(bench, &operations);
}

pub(crate) fn extend(bench: &mut dyn Bench, rule: Rule, lifetime: Duration) {
    let permits = rule.permits(&authority(), Transport::Udp);
    let operations: Vec<_> =
        permits.into_iter().map(|permit| Operation::Extend { permit, lifetime }).collect();
    all_succeed(bench, &operations);
}

pub(crate) fn close(bench: &mut dyn Bench, rule: Rule) {
    let operations: Vec<_> = rule.keys().into_iter().map(|key| Operation::Remove { key }).collect();
    all_succeed(bench, &operations);
}

pub(crate) fn all_succeed(bench: &mut dyn Bench, operations: &[Operation]) {
    let results = bench.engine().apply(operations);
    assert_eq!(results.len(), operations.len(), "one result per operation");
    for (operation, result) in operations.iter().zip(results) {
        assert_eq!(result, Ok(()), "{operation:?}");
    }
}

/// Removes everything.
pub(crate) fn empty(bench: &mut dyn Bench) {
    let entries = bench.engine().entries().expect("the engine can be asked");
    let operations: Vec<_> = entries.iter().map(|entry| Operation::Remove { key: entry.key }).collect();
    all_succeed(bench, &operations);
}

/// A UDP packet from a port of one host to a port of another.
pub(crate) fn udp(version: Version, source: (Host, u16), destination: (Host, u16)) -> Shot {
    let (from, source) = (source.0.place, source.0.at(version, source.1));
    let destination = destination.0.at(version, destination.1);
    let arrives = (source, destination);
    Shot { from, transport: Transport::Udp, source, destination, opens: false, arrives }
}

const ROUND: u32 = 10;

/// All of ten packets pass.
#[track_caller]
pub(crate) fn passes(bench: &mut dyn Bench, shot: Shot) {
    assert_eq!(bench.send(shot, ROUND), ROUND, "must pass: {shot:?}");
}

/// None of ten packets passes.
#[track_caller]
pub(crate) fn is_stopped(bench: &mut dyn Bench, shot: Shot) {
    assert_eq!(bench.send(shot, ROUND), 0, "must not pass: {shot:?}");
}
