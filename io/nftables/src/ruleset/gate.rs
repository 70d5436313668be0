//! The gate: `docs/pinholes.md` §3 as chains and sets.
//!
//! The sender's address chooses a chain (the zone of longest match); that chain asks whether the packet came in where
//! such a sender lives and only then looks for an entry, so that counters never count a spoofed packet.

use ipnet::IpNet;
use middlebox::{Realm, ReversePath, Zone};

use super::intervals::disjoint;
use super::nat::{self, Part, Translated};
use super::quoted::{self, Quoted};
use super::statement::{End, Family, Field, Statement, Verdict};
use super::table::{Chain, ElementSet, Hook, Set, SetKind, Table};
use super::{banned, held};
use crate::config::{GateConfig, Mode};
use crate::netlink::uapi;

/// The raw priority: before connection tracking, after defragmentation.
const RAW: i32 = -300;
/// Where packets end that an entry lets in; counts them.
pub(crate) const OPEN: &str = "open";
/// Where UDP begins; what it counts it drops.
pub(crate) const UDP_PACKETS: &str = "udp_packets";
/// The same for what this host sends itself.
pub(crate) const OWN_UDP_PACKETS: &str = "own_udp_packets";
/// How the chains that look for entries begin.
const ENTRIES: &str = "entries_from_";
/// Where ICMP begins.
const ICMP_PACKETS: &str = "icmp_packets";
const OWN_ICMP_PACKETS: &str = "own_icmp_packets";
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Names a set of entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum SetId {
    /// One port of one host to one port.
    Exact(Family),
    /// Any port of one host, to one port or (true) to an aligned pair.
    Host(Family, bool),
    /// Any port of any host of a network.
    Network(IpNet, bool),
    /// What the destination becomes, or the source.
    Translation(Translated, Part),
    /// By which ICMP errors are recognised.
    Quoted(Quoted),
}

impl SetId {
    /// Every set that a gate has.
    pub(crate) fn all(config: &GateConfig) -> Vec<Self> {
        let realms = &config.realms;
        let fixed = Family::BOTH
            .iter()
            .flat_map(|family| [Self::Exact(*family), Self::Host(*family, false), Self::Host(*family, true)]);
        let zones = realms.zones().iter().map(|zone| zone.network);
        let by_zone = zones.flat_map(|net| [Self::Network(net, false), Self::Network(net, true)]);
        let classes: Vec<Self> = fixed.chain(by_zone).collect();
        let quoted: Vec<Self> =
            classes.iter().filter_map(|class| Quoted::of(*class)).map(Self::Quoted).collect();
        [classes, quoted, Translated::all(config)].concat()
    }

    pub(crate) fn family(self) -> Family {
        match self {
            Self::Exact(family) | Self::Host(family, _) => family,
            Self::Network(network, _) => Family::of(network.addr()),
            Self::Translation(of, _) => of.family(),
            Self::Quoted(quoted) => quoted.class().family(),
        }
    }

    /// True for a set of aligned pairs.
    pub(crate) fn is_pair(self) -> bool {
        match self {
            Self::Exact(_) | Self::Translation(..) => false,
            Self::Host(_, pair) | Self::Network(_, pair) => pair,
            Self::Quoted(quoted) => quoted.class().is_pair(),
        }
    }

    /// The set's name. It tells the whole meaning of its elements, so that a set found after a change of the
    /// configuration is never read as something else.
    pub(crate) fn name(self) -> String {
        let pairs = if self.is_pair() { "_pairs" } else { "" };
        match self {
            Self::Exact(family) => format!("exact{}", family.digit()),
            Self::Host(family, _) => format!("host{}{pairs}", family.digit()),
            Self::Network(network, _) => format!("from_{}{pairs}", zone_name(network)),
            Self::Translation(of, part) => of.name(part),
            Self::Quoted(quoted) => format!("quoted_{}", quoted.class().name()),
        }
    }

    /// Whether its elements count what they admit: one of an entry's elements does.
    pub(crate) fn counts(self) -> bool {
        match self {
            Self::Exact(_) | Self::Host(..) | Self::Network(..) => true,
            Self::Translation(of, part) => of.counts(part),
            Self::Quoted(_) => false,
        }
    }

    /// What a map gives.
    pub(crate) fn data(self) -> Option<Field> {
        match self {
            Self::Exact(_) | Self::Host(..) | Self::Network(..) | Self::Quoted(_) => None,
            Self::Translation(of, part) => Some(of.data(part)),
        }
    }

    /// What its key is made of, for packets from the source of an entry to its destination.
    pub(crate) fn fields(self) -> Vec<Field> {
        self.fields_from(End::Source, End::Destination)
    }

    /// The same for the packets back: what was the source is now the destination.
    fn fields_back(self) -> Vec<Field> {
        self.fields_from(End::Destination, End::Source)
    }

    fn fields_from(self, source: End, destination: End) -> Vec<Field> {
        match self {
            Self::Translation(of, _) => return of.admitting().fields_from(source, destination),
            Self::Quoted(quoted) => return quoted.fields(),
            Self::Exact(_) | Self::Host(..) | Self::Network(..) => {}
        }
        let family = self.family();
        let port = if self.is_pair() { Field::PortPair(destination) } else { Field::Port(destination) };
        let to = [Field::Address(family, destination), port];
        let from = match self {
            Self::Exact(_) => vec![Field::Address(family, source), Field::Port(source)],
            Self::Host(..) => vec![Field::Address(family, source)],
            Self::Network(..) | Self::Translation(..) | Self::Quoted(_) => Vec::new(),
        };
        std::iter::once(Field::Protocol).chain(from).chain(to).collect()
    }
}

/// A network as nft accepts it in a name: no colons.
pub(super) fn zone_name(network: IpNet) -> String {
    network.to_string().replace(':', "_")
}

/// The whole table.
pub(crate) fn gate(config: &GateConfig, name: &str) -> Table {
    Table { name: name.into(), sets: sets(config), chains: chains(config) }
}

fn sets(config: &GateConfig) -> Vec<Set> {
    let realms = &config.realms;
    let entries = |id: SetId| Set {
        name: id.name(),
        kind: SetKind::Entries(ElementSet {
            fields: id.fields(),
            size: config.entries_max,
            counter: id.counts(),
            cap: config.cap.filter(|_| id.counts()),
            data: id.data(),
        }),
    };
    let mut sets: Vec<Set> = SetId::all(config).into_iter().map(entries).collect();
    sets.extend(nat::sets(config));
    sets.extend(held::sets(config));
    sets.extend(banned::sets(config));
    for (position, realm) in realms.realms().iter().enumerate() {
        if !realm.interfaces.is_empty() {
            let name = interfaces_name(position);
            sets.push(Set { name, kind: SetKind::Interfaces(realm.interfaces.clone()) });
        }
        for family in families_of(realm) {
            let networks: Vec<_> = realm.networks.iter().map(|network| (*network, ())).collect();
            let kind = SetKind::Networks(family, disjoint(family, &networks));
            sets.push(Set { name: media_name(position, family), kind });
        }
    }
    for family in Family::BOTH {
        let verdicts = |prefix: &str, verdict: fn(String) -> Verdict| {
            let chain = |network| verdict(format!("{prefix}{}", zone_name(network)));
            let zones: Vec<_> =
                realms.zones().iter().map(|zone| (zone.network, chain(zone.network))).collect();
            SetKind::Verdicts(family, disjoint(family, &zones))
        };
        let name = |word: &str| format!("{word}{}", family.digit());
        sets.push(Set { name: name("senders"), kind: verdicts("from_", Verdict::Jump) });
        if config.local {
            sets.push(Set { name: name("own_senders"), kind: verdicts(ENTRIES, Verdict::Jump) });
        }
        sets.push(Set { name: name("receivers"), kind: verdicts("back_to_", Verdict::Goto) });
        if config.mode == Mode::Enforce {
            sets.push(Set {
                name: quoted::receivers_name(family),
                kind: verdicts(quoted::TO, Verdict::Goto),
            });
        }
    }
    sets
}

fn interfaces_name(realm: usize) -> String {
    format!("interfaces_{realm}")
}

pub(super) fn media_name(realm: usize, family: Family) -> String {
    format!("media_{realm}_{}", family.digit())
}

pub(super) fn families_of(realm: &Realm) -> Vec<Family> {
    let has = |family: &Family| realm.networks.iter().any(|net| Family::of(net.addr()) == *family);
    Family::BOTH.into_iter().filter(has).collect()
}

/// Chains in an order in which nobody jumps to one that does not exist yet.
fn chains(config: &GateConfig) -> Vec<Chain> {
    let (open, fragments) = match config.mode {
        // The packet may pass: the mark says so to the administrator's line, which also asks for "untracked".
        Mode::Enforce => (vec![Statement::SetMark(config.mark), Statement::NoTrack], true),
        // Fragments are not put together either; the later ones are not counted.
        Mode::Observe => (Vec::new(), false),
    };
    let open = [vec![Statement::Counter], open, vec![Statement::Then(Verdict::Accept)]].concat();
    let open = held::remember(config).into_iter().chain(dscp(config)).chain([open]).collect();
    let mut chains = vec![Chain::inner(OPEN, open)];
    chains.extend(quoted::chains(config));
    if fragments {
        // No packet comes here. The rule alone makes the kernel put fragments together before the gate sees them.
        let never = vec![Statement::TrackedAs(uapi::CT_ESTABLISHED), Statement::Counter];
        chains.push(Chain::inner("defragmentation", vec![never]));
    }
    chains.extend(config.realms.zones().iter().map(|zone| back_to(zone.network)));
    chains.extend(Family::BOTH.map(back));
    let realms = config.realms.realms();
    chains.extend(nat::inward_chains(config));
    for zone in config.realms.zones() {
        chains.push(entries_from(config, zone.network));
        chains.push(from(config, zone));
    }
    let managed = [held::kept_out(config), managed(realms, config.mode)].concat();
    let packets = |name: &str, map: &str, managed: Vec<Vec<Statement>>| {
        let senders = Family::BOTH.map(|family| {
            let map = format!("{map}{}", family.digit());
            vec![Statement::AddressVerdict(family, End::Source, map)]
        });
        Chain::inner(name, senders.into_iter().chain(managed).collect())
    };
    chains.push(packets("tcp_packets", "senders", Vec::new()));
    let closed = managed.iter().cloned().chain(nat::closed(config));
    chains.push(packets(UDP_PACKETS, "senders", closed.collect()));
    if config.local {
        chains.push(packets("own_tcp_packets", "own_senders", Vec::new()));
        chains.push(packets(OWN_UDP_PACKETS, "own_senders", managed));
    }
    chains.extend(quoted::packets(config, ICMP_PACKETS, "senders"));
    if config.local {
        chains.extend(quoted::packets(config, OWN_ICMP_PACKETS, "own_senders"));
    }
    chains.extend(banned::chain(config));
    chains.extend(bases(config));
    chains.extend(nat::behind_routing(config));
    chains
}

/// What passes gets the administrator's DSCP.
fn dscp(config: &GateConfig) -> Vec<Vec<Statement>> {
    let dscp = config.dscp.filter(|_| config.mode == Mode::Enforce);
    let rule = |family, dscp| vec![Statement::Family(family), Statement::Dscp(family, dscp)];
    dscp.into_iter().flat_map(|dscp| Family::BOTH.map(|family| rule(family, dscp))).collect()
}

/// Where packets come into our table.
fn bases(config: &GateConfig) -> Vec<Chain> {
    let base = |name: &str, number, [udp, tcp, icmp]: [&str; 3], within: Statement| {
        let goto = |chain: &str| Statement::Then(Verdict::Goto(chain.into()));
        let mut rules = Vec::new();
        if config.mode == Mode::Enforce {
            rules.push(vec![Statement::ClearMark(config.mark)]);
        }
        if config.local {
            // What stays on this host crosses no firewall.
            rules.push(vec![within, Statement::Then(Verdict::Accept)]);
        }
        if number == uapi::PRE_ROUTING {
            rules.extend(banned::rules(config));
        }
        rules.push(vec![Statement::Protocol(UDP), goto(udp)]);
        rules.push(vec![Statement::Protocol(TCP), goto(tcp)]);
        if config.mode == Mode::Enforce {
            rules.extend(Family::BOTH.map(|family| vec![Statement::Protocol(family.icmp()), goto(icmp)]));
        }
        Chain { name: name.into(), hook: Some(Hook { number, priority: RAW, drop: false }), rules }
    };
    let comes = Statement::InputInterface("lo".into());
    let mut bases =
        vec![base("prerouting", uapi::PRE_ROUTING, [UDP_PACKETS, "tcp_packets", ICMP_PACKETS], comes)];
    if config.local {
        let leaves = Statement::OutputInterface("lo".into());
        let own = [OWN_UDP_PACKETS, "own_tcp_packets", OWN_ICMP_PACKETS];
        bases.push(base("output", uapi::LOCAL_OUT, own, leaves));
    }
    bases
}

/// Packets from one zone: the right interface, then the entries.
fn from(config: &GateConfig, zone: &Zone) -> Chain {
    let Zone { network, realm: position, .. } = *zone;
    let realm = &config.realms.realms()[position];
    let mut rules = Vec::new();
    let turn_away = |why| vec![why, Statement::Then(Verdict::Return)];
    if realm.interfaces.is_empty() {
        match realm.reverse_path {
            ReversePath::Strict => rules.push(turn_away(Statement::NoRouteBack { strict: true })),
            ReversePath::Loose => rules.push(turn_away(Statement::NoRouteBack { strict: false })),
            ReversePath::Off => {}
        }
    } else {
        rules.push(turn_away(Statement::InputInterfaceNotIn(interfaces_name(position))));
    }
    rules.extend(nat::inward(config, zone));
    let entries = format!("{ENTRIES}{}", zone_name(network));
    rules.push(vec![Statement::Then(Verdict::Goto(entries))]);
    Chain::inner(format!("from_{}", zone_name(network)), rules)
}

/// The three key classes of what comes from one zone. What this host sends itself begins here: its interface is not asked.
fn entries_from(config: &GateConfig, network: IpNet) -> Chain {
    let family = Family::of(network.addr());
    let sets = [
        SetId::Exact(family),
        SetId::Host(family, false),
        SetId::Host(family, true),
        SetId::Network(network, false),
        SetId::Network(network, true),
    ];
    let mut rules = sets.map(|set| open_if(set.fields(), set)).to_vec();
    let back = Statement::Then(Verdict::Goto(format!("back{}", family.digit())));
    rules.push(vec![Statement::Protocol(TCP), back]);
    rules.extend(quoted::reported(config, family));
    Chain::inner(format!("{ENTRIES}{}", zone_name(network)), rules)
}

/// TCP segments from the destination of an entry back to its source: not one that opens a connection.
fn back(family: Family) -> Chain {
    let mut rules = vec![vec![Statement::TcpOpening, Statement::Then(Verdict::Return)]];
    let sets = [SetId::Exact(family), SetId::Host(family, false), SetId::Host(family, true)];
    rules.extend(sets.map(|set| open_if(set.fields_back(), set)));
    let receivers = format!("receivers{}", family.digit());
    rules.push(vec![Statement::AddressVerdict(family, End::Destination, receivers)]);
    Chain::inner(format!("back{}", family.digit()), rules)
}

/// The same for entries whose source is a network.
fn back_to(network: IpNet) -> Chain {
    let sets = [SetId::Network(network, false), SetId::Network(network, true)];
    let rules = sets.map(|set| open_if(set.fields_back(), set)).to_vec();
    Chain::inner(format!("back_to_{}", zone_name(network)), rules)
}

fn open_if(fields: Vec<Field>, set: SetId) -> Vec<Statement> {
    vec![
        Statement::Family(set.family()),
        Statement::In(fields, set.name()),
        Statement::Then(Verdict::Goto(OPEN.into())),
    ]
}

/// UDP from or to media networks and ports that no entry admitted. Both directions: otherwise an inside phone keeps
/// sending after the end of a call and the answers come back as "established".
fn managed(realms: &[Realm], mode: Mode) -> Vec<Vec<Statement>> {
    let end = match mode {
        Mode::Enforce => Verdict::Drop,
        // Ends our table only.
        Mode::Observe => Verdict::Accept,
    };
    let mut rules = Vec::new();
    for (position, realm) in realms.iter().enumerate().filter(|(_, realm)| realm.managed) {
        for family in families_of(realm) {
            for side in [End::Destination, End::Source] {
                rules.push(vec![
                    Statement::Ports(side, realm.ports.clone()),
                    Statement::AddressIn(family, side, media_name(position, family)),
                    Statement::Counter,
                    Statement::Then(end.clone()),
                ]);
            }
        }
    }
    rules
}
