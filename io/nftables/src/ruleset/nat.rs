//! Translation: `docs/pinholes.md` §4, "NAT", as maps and chains of the gate. Stateless: connection tracking has no part in it.
//!
//! The destination is written before routing, where the entry is found; the source only behind routing, because a packet
//! that says it comes from one of this host's own addresses would be thrown away there as a "martian".

use ipnet::IpNet;
use middlebox::{Side, Zone};

use super::gate::{SetId, families_of, media_name, zone_name};
use super::intervals::{Interval, disjoint};
use super::statement::{End, Family, Field, Rewrite, Statement, Verdict};
use super::table::{Chain, Hook, Set, SetKind};
use crate::config::{GateConfig, Mode};
use crate::netlink::uapi;

/// Where source addresses are translated, in nft's words "srcnat".
const SOURCE_NAT: i32 = 100;
/// Where others have translated.
const BEHIND_NAT: i32 = 300;
/// Everything but "untracked".
const TRACKED: u32 = uapi::CT_INVALID | uapi::CT_ESTABLISHED | uapi::CT_RELATED | uapi::CT_NEW;
const UDP: u8 = 17;

/// Which packets are rewritten, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Translated {
    /// From one port of one host to an outside address, which becomes an inside one.
    InExact(Family),
    /// From any port of one host.
    InHost(Family),
    /// From any port of any host of a network.
    InNetwork(IpNet),
    /// From one port of an inside host, whose address becomes an outside one. A set of entries admits them.
    OutExact(Family),
}

/// Which of the two that are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    Address,
    Port,
}

impl Translated {
    /// The maps of a gate.
    pub(crate) fn all(config: &GateConfig) -> Vec<SetId> {
        let mut all = Vec::new();
        for family in families(config) {
            all.extend([Self::InExact(family), Self::InHost(family), Self::OutExact(family)]);
            let zones = config.realms.zones().iter();
            let outside =
                zones.filter(|zone| zone.side == Side::Outside && Family::of(zone.network.addr()) == family);
            all.extend(outside.map(|zone| Self::InNetwork(zone.network)));
        }
        let parts = [Part::Address, Part::Port];
        all.into_iter().flat_map(|of| parts.map(|part| SetId::Translation(of, part))).collect()
    }

    pub(super) fn family(self) -> Family {
        match self {
            Self::InExact(family) | Self::InHost(family) | Self::OutExact(family) => family,
            Self::InNetwork(network) => Family::of(network.addr()),
        }
    }

    pub(super) fn name(self, part: Part) -> String {
        let part = match part {
            Part::Address => "address",
            Part::Port => "port",
        };
        match self {
            Self::InExact(family) => format!("in_exact{}_{part}", family.digit()),
            Self::InHost(family) => format!("in_host{}_{part}", family.digit()),
            Self::InNetwork(network) => format!("in_from_{}_{part}", zone_name(network)),
            Self::OutExact(family) => format!("out_exact{}_{part}", family.digit()),
        }
    }

    /// What admits packets counts them: the first map asked, or the set of entries.
    pub(super) fn counts(self, part: Part) -> bool {
        self.admits() && part == Part::Address
    }

    fn end(self) -> End {
        if self.admits() { End::Destination } else { End::Source }
    }

    pub(super) fn data(self, part: Part) -> Field {
        match part {
            Part::Address => Field::Address(self.family(), self.end()),
            Part::Port => Field::Port(self.end()),
        }
    }

    /// True if being in the maps lets a packet pass.
    pub(crate) fn admits(self) -> bool {
        match self {
            Self::InExact(_) | Self::InHost(_) | Self::InNetwork(_) => true,
            Self::OutExact(_) => false,
        }
    }

    /// The set whose key is made of the same.
    pub(crate) fn admitting(self) -> SetId {
        match self {
            Self::InExact(family) | Self::OutExact(family) => SetId::Exact(family),
            Self::InHost(family) => SetId::Host(family, false),
            Self::InNetwork(network) => SetId::Network(network, false),
        }
    }

    /// Rewrites what is in the maps, with a rule of its own for packets without a checksum, and then `verdict`.
    fn rules(self, before: &[Statement], verdict: &Verdict) -> Vec<Vec<Statement>> {
        let rule = |checksum: bool| {
            let mut rule = before.to_vec();
            if !checksum {
                rule.push(Statement::NoChecksum);
            }
            rule.push(Statement::Rewrite(Box::new(Rewrite {
                family: self.family(),
                end: self.end(),
                fields: self.admitting().fields(),
                addresses: self.name(Part::Address),
                ports: self.name(Part::Port),
                checksum,
            })));
            rule.push(Statement::Then(verdict.clone()));
            rule
        };
        vec![rule(false), rule(true)]
    }
}

/// The IP versions that are translated.
fn families(config: &GateConfig) -> impl Iterator<Item = Family> + '_ {
    Family::BOTH.into_iter().filter(|family| translates(config, *family))
}

/// A gate that only looks changes no packet.
fn translates(config: &GateConfig, family: Family) -> bool {
    config.mode == Mode::Enforce && config.nat.translates(family == Family::V4)
}

fn outside_name(family: Family) -> String {
    format!("outside{}", family.digit())
}

fn inside_name(family: Family) -> String {
    format!("inside{}", family.digit())
}

/// The outside addresses, and who lives inside.
pub(super) fn sets(config: &GateConfig) -> Vec<Set> {
    let mut sets = Vec::new();
    for family in families(config) {
        let addresses: Vec<_> =
            config.nat.addresses.iter().map(|address| (IpNet::from(*address), ())).collect();
        let kind = SetKind::Networks(family, disjoint(family, &addresses));
        sets.push(Set { name: outside_name(family), kind });
        let zones: Vec<_> =
            config.realms.zones().iter().map(|zone| (zone.network, zone.side == Side::Inside)).collect();
        let inside = disjoint(family, &zones).into_iter().filter(|interval| interval.value);
        let inside = inside.map(|Interval { first, last, .. }| Interval { first, last, value: () });
        sets.push(Set { name: inside_name(family), kind: SetKind::Networks(family, inside.collect()) });
    }
    sets
}

/// In the chain of a zone: what is for an outside address is looked for in the maps. What comes from the inside turns round.
pub(super) fn inward(config: &GateConfig, zone: &Zone) -> Option<Vec<Statement>> {
    let family = Family::of(zone.network.addr());
    let to_us = Statement::AddressIn(family, End::Destination, outside_name(family));
    translates(config, family).then(|| match zone.side {
        Side::Outside => vec![to_us, Statement::Then(Verdict::Jump(inward_name(zone.network)))],
        Side::Inside => vec![
            Statement::Protocol(UDP),
            Statement::Ports(End::Destination, config.nat.ports.clone()),
            to_us,
            Statement::Then(Verdict::Goto(hairpin_name(family))),
        ],
    })
}

fn inward_name(network: IpNet) -> String {
    format!("in_from_{}", zone_name(network))
}

fn hairpin_name(family: Family) -> String {
    format!("hairpin{}", family.digit())
}

/// The three key classes of each outside zone, for packets to outside addresses; and the one of what turns round.
pub(super) fn inward_chains(config: &GateConfig) -> Vec<Chain> {
    let open = Verdict::Goto("open".into());
    let chain = |name, family, classes: &[Translated]| {
        let before = [Statement::Family(family), Statement::Protocol(UDP)];
        let rules = classes.iter().flat_map(|class| class.rules(&before, &open)).collect();
        Chain::inner(name, rules)
    };
    let turns = |family| chain(hairpin_name(family), family, &[Translated::InExact(family)]);
    let comes = |zone: &Zone| {
        let family = Family::of(zone.network.addr());
        let classes =
            [Translated::InExact(family), Translated::InHost(family), Translated::InNetwork(zone.network)];
        chain(inward_name(zone.network), family, &classes)
    };
    let zones = config.realms.zones().iter();
    let outside = zones
        .filter(|zone| zone.side == Side::Outside && translates(config, Family::of(zone.network.addr())));
    families(config).map(turns).chain(outside.map(comes)).collect()
}

/// What is for an outside port and matches no entry: without this a service of this host, or a connection that somebody
/// else translates, might take it.
pub(super) fn closed(config: &GateConfig) -> Vec<Vec<Statement>> {
    let rule = |family| {
        vec![
            Statement::Ports(End::Destination, config.nat.ports.clone()),
            Statement::AddressIn(family, End::Destination, outside_name(family)),
            Statement::Counter,
            Statement::Then(Verdict::Drop),
        ]
    };
    families(config).map(rule).collect()
}

/// Behind routing: what the gate has opened leaves with an outside address, or not at all.
///
/// What is ours is known here by the entry, and by who sends from which port: whoever has changed the mark behind the
/// gate, it is translated or dropped all the same.
fn outward_chain(config: &GateConfig) -> Chain {
    let mut rules = Vec::new();
    for family in families(config) {
        let untracked = || vec![Statement::TrackedAs(uapi::CT_UNTRACKED), Statement::Family(family)];
        let udp = || [untracked(), vec![Statement::Protocol(UDP)]].concat();
        rules.extend(Translated::OutExact(family).rules(&udp(), &Verdict::Accept));
        // No address of the inside is shown to the other side, whatever has become of the maps.
        let shown = |before: Vec<Statement>, set: String| {
            let rest = [
                Statement::AddressIn(family, End::Source, set),
                Statement::Counter,
                Statement::Then(Verdict::Drop),
            ];
            [before, rest.to_vec()].concat()
        };
        for (position, realm) in config.realms.realms().iter().enumerate() {
            if realm.side == Side::Inside && families_of(realm).contains(&family) {
                let media = [udp(), vec![Statement::Ports(End::Source, realm.ports.clone())]].concat();
                rules.push(shown(media, media_name(position, family)));
            }
        }
        let marked = [untracked(), vec![Statement::Marked(config.mark)]].concat();
        rules.push(shown(marked, inside_name(family)));
    }
    let hook = Hook { number: uapi::POST_ROUTING, priority: SOURCE_NAT, drop: false };
    Chain { name: "postrouting".into(), hook: Some(hook), rules }
}

/// Behind every translation: an outside port is nobody else's on the way out either. What connection tracking knows is
/// never ours.
fn exclusive_chain(config: &GateConfig) -> Chain {
    let rule = |family| {
        vec![
            Statement::TrackedAs(TRACKED),
            Statement::Protocol(UDP),
            Statement::Ports(End::Source, config.nat.ports.clone()),
            Statement::AddressIn(family, End::Source, outside_name(family)),
            Statement::Counter,
            Statement::Then(Verdict::Drop),
        ]
    };
    let hook = Hook { number: uapi::POST_ROUTING, priority: BEHIND_NAT, drop: false };
    Chain { name: "exclusive".into(), hook: Some(hook), rules: families(config).map(rule).collect() }
}

/// The chains behind routing, where anything is translated.
pub(super) fn behind_routing(config: &GateConfig) -> Vec<Chain> {
    match families(config).next() {
        Some(_) => vec![outward_chain(config), exclusive_chain(config)],
        None => Vec::new(),
    }
}
