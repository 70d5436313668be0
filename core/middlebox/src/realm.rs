//! The realms on both sides of the gate: who lives where, and how that is checked. `docs/pinholes.md` §3.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use midcom::{IpVersions, Network};
use thiserror::Error;

use crate::limits;

/// Which side of the middlebox a realm is on (RFC 5189 §2.3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The protected side, where A0 lives.
    Inside,
    /// The other side, where A3 lives.
    Outside,
}

/// How a sender's interface is compared with the route back to it, where a realm names no interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ReversePath {
    /// The route back must leave through the interface on which the packet came in.
    #[default]
    Strict,
    /// There must be a route back.
    Loose,
    /// Not checked.
    Off,
}

/// One realm, as configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realm {
    /// Its name, for messages.
    pub name: String,
    /// Which side it is on.
    pub side: Side,
    /// Its media networks. UDP from or to them on `ports` passes only through entries ("managed"). None given:
    /// the realm is everybody who lives in no other realm, and nothing of it is managed.
    pub networks: Vec<Network>,
    /// The media ports of those networks.
    pub ports: RangeInclusive<u16>,
    /// Whether UDP from or to `networks` on `ports` passes only through entries. If not, only what an entry has let pass
    /// is kept out when it is closed, as long as somebody goes on sending it ("held").
    pub managed: bool,
    /// A packet from this realm counts only if it came in here; none given: `reverse_path` decides.
    pub interfaces: Vec<String>,
    /// See [`ReversePath`]; without meaning where interfaces are given.
    pub reverse_path: ReversePath,
}

/// One network of one realm. Every address belongs to at most one zone: the one with the longest prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Zone {
    /// The network, host bits zero.
    pub network: Network,
    /// The side of its realm.
    pub side: Side,
    /// The position of its realm in [`Realms::realms`].
    pub realm: usize,
}

/// Why a set of realms is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RealmError {
    /// Two realms claim the same network (or both claim everything else).
    #[error("realms {0} and {1} both claim {2}")]
    SharedNetwork(String, String, Network),
    /// Nobody lives on one side.
    #[error("no realm on the {0:?} side")]
    EmptySide(Side),
    /// More networks than [`limits::ZONES_MAX`].
    #[error("more than {} networks in all realms", limits::ZONES_MAX)]
    TooManyNetworks,
}

/// All realms of a middlebox, checked. Engine and machine must be given the same value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Realms {
    realms: Vec<Realm>,
    /// Longest prefix first, so that the first match is the longest.
    zones: Vec<Zone>,
}

impl Realms {
    /// Checks the realms and works out their zones.
    ///
    /// # Errors
    /// See [`RealmError`].
    pub fn new(realms: Vec<Realm>) -> Result<Self, RealmError> {
        let mut zones: Vec<Zone> = Vec::new();
        for (position, realm) in realms.iter().enumerate() {
            for network in networks_of(realm) {
                let zone = Zone { network: network.trunc(), side: realm.side, realm: position };
                match zones.iter().find(|other| other.network == zone.network) {
                    None => zones.push(zone),
                    Some(other) if other.realm == position => {}
                    Some(other) => {
                        let first = realms[other.realm].name.clone();
                        return Err(RealmError::SharedNetwork(first, realm.name.clone(), zone.network));
                    }
                }
            }
        }
        if zones.len() > limits::ZONES_MAX {
            return Err(RealmError::TooManyNetworks);
        }
        for side in [Side::Inside, Side::Outside] {
            if !zones.iter().any(|zone| zone.side == side) {
                return Err(RealmError::EmptySide(side));
            }
        }
        zones.sort_by_key(|zone| (std::cmp::Reverse(zone.network.prefix_len()), zone.network));
        Ok(Self { realms, zones })
    }

    /// The realms in the order given.
    #[must_use]
    pub fn realms(&self) -> &[Realm] {
        &self.realms
    }

    /// All zones, longest prefix first.
    #[must_use]
    pub fn zones(&self) -> &[Zone] {
        &self.zones
    }

    /// The zone in which an address lives: the longest match.
    #[must_use]
    pub fn zone_of(&self, address: IpAddr) -> Option<&Zone> {
        self.zones.iter().find(|zone| zone.network.contains(&address))
    }

    /// The side on which an address lives.
    #[must_use]
    pub fn side_of(&self, address: IpAddr) -> Option<Side> {
        self.zone_of(address).map(|zone| zone.side)
    }

    /// The zones of `side` that together are exactly the part of `network` that belongs to that side; empty if
    /// that cannot be said with whole zones, so that a rule never opens more, and never silently less.
    #[must_use]
    pub fn zones_within(&self, side: Side, network: Network) -> Vec<Network> {
        let network = network.trunc();
        // The longest zone that has all of `network` owns every address of it that no zone within has.
        let owner = self.zones.iter().find(|zone| zone.network.contains(&network));
        if owner.is_some_and(|zone| zone.side == side && zone.network != network) {
            return Vec::new();
        }
        let whole = |zone: &&Zone| network.contains(&zone.network);
        self.zones.iter().filter(|zone| zone.side == side).filter(whole).map(|zone| zone.network).collect()
    }

    /// True if an address of `network` may live in the zone `zone`: they overlap, and no zone inside `zone` has all
    /// of `network`.
    #[must_use]
    pub fn shares(&self, zone: Network, network: Network) -> bool {
        let taken = |other: &Zone| {
            other.network != zone && zone.contains(&other.network) && other.network.contains(&network)
        };
        let overlap = zone.contains(&network) || network.contains(&zone);
        overlap && !self.zones.iter().any(taken)
    }

    /// The IP versions of a side.
    #[must_use]
    pub fn versions(&self, side: Side) -> IpVersions {
        let has = |v4| self.zones.iter().any(|zone| zone.side == side && zone.network.addr().is_ipv4() == v4);
        match (has(true), has(false)) {
            (true, false) => IpVersions::V4,
            (false, true) => IpVersions::V6,
            (true, true) | (false, false) => IpVersions::Both,
        }
    }

    /// True if a UDP packet with these ends passes only through an entry: one end is a realm's media network and port.
    #[must_use]
    pub fn manages(&self, source: (IpAddr, u16), destination: (IpAddr, u16)) -> bool {
        let managed = |realm: &Realm, (address, port): (IpAddr, u16)| {
            realm.managed
                && realm.ports.contains(&port)
                && realm.networks.iter().any(|network| network.contains(&address))
        };
        self.realms.iter().any(|realm| managed(realm, source) || managed(realm, destination))
    }

    /// True if what passes between these two is remembered, and kept out once no entry lets it pass: one of them lives in
    /// media networks that are not managed.
    #[must_use]
    pub fn holds(&self, source: IpAddr, destination: IpAddr) -> bool {
        let lives =
            |realm: &Realm, address: IpAddr| realm.networks.iter().any(|network| network.contains(&address));
        let mut unmanaged = self.realms.iter().filter(|realm| !realm.managed);
        unmanaged.any(|realm| lives(realm, source) || lives(realm, destination))
    }
}

/// The networks of a realm; a realm without any is everybody else, IPv4 and IPv6.
fn networks_of(realm: &Realm) -> Vec<Network> {
    if realm.networks.is_empty() {
        let everybody: [IpAddr; 2] = [[0, 0, 0, 0].into(), [0u16; 8].into()];
        return everybody.into_iter().filter_map(|address| Network::new(address, 0).ok()).collect();
    }
    realm.networks.clone()
}
