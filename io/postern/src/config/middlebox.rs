//! `[middlebox]`: the firewall between the realms, its agents and what they may open.

use std::net::{IpAddr, SocketAddr};
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use super::key::{Absent, Key, Section, Table};
use super::kind::{
    AbsolutePath, Address, AddressAndPort, Integer, List, MarkBit, Network, OneOf, Place, Ports, Text, Time,
};
use super::problem::Problems;
use super::realm::Realm;
use super::route;

/// What carries out the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Nftables,
    None,
}

/// How the source of a packet is checked where a realm names no interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReversePath {
    Strict,
    Loose,
    Off,
}

/// How the agent half reaches the middlebox half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Connect {
    Unix(PathBuf),
    Tcp(SocketAddr),
}

/// The section.
#[derive(Debug, Clone)]
pub(crate) struct Middlebox {
    pub engine: Engine,
    /// Which realm is inside, by position.
    pub inside: usize,
    pub connect: Connect,
    pub socket: PathBuf,
    pub listen: Vec<SocketAddr>,
    pub peers: Vec<IpAddr>,
    pub users: Vec<String>,
    pub internal: Vec<IpNet>,
    pub ports: RangeInclusive<u16>,
    pub deny: Vec<IpNet>,
    pub rules_max: u32,
    pub lifetime_max: Duration,
    pub mark: u32,
    pub reverse_path: ReversePath,
}

static ENGINE: Key<OneOf<Engine>> = Key {
    name: "engine",
    kind: OneOf { words: &[("nftables", Engine::Nftables), ("none", Engine::None)] },
    absent: Absent::Literal("\"nftables\""),
    text: "What carries out the rules. With \"none\" no firewall is asked: calls are passed on and nothing is opened \
           for their media.",
};
static INSIDE: Key<Place<Text>> = Key {
    name: "inside",
    kind: Place(Text { what: "name of a realm" }),
    absent: Absent::Derived("the realm called `inside`; without one, the only realm that has `media`"),
    text: "The realm that the firewall protects.",
};
static CONNECT: Key<AddressAndPort> = Key {
    name: "connect",
    kind: AddressAndPort,
    absent: Absent::Derived("the local `socket`"),
    text: "A middlebox on another machine, spoken to by SIMCO over plain TCP; use it only over a network you trust. \
           `postern run` then starts no middlebox of its own.",
};
static SOCKET: Key<AbsolutePath> = Key {
    name: "socket",
    kind: AbsolutePath,
    absent: Absent::Derived("`simco.sock` in `run-dir`"),
    text: "The Unix socket on which the middlebox half serves SIMCO to the agent half.",
};
static LISTEN: Key<List<AddressAndPort>> = Key {
    name: "listen",
    kind: List { of: AddressAndPort, max: 8 },
    absent: Absent::Literal("[]"),
    text: "TCP addresses on which the middlebox half serves SIMCO to agents on other machines (port 7626 is SIMCO's). \
           Needs `peers`.",
};
static PEERS: Key<List<Address>> = Key {
    name: "peers",
    kind: List { of: Address, max: 64 },
    absent: Absent::Literal("[]"),
    text: "The only addresses from which agents may connect over TCP.",
};
static USERS: Key<List<Text>> = Key {
    name: "users",
    kind: List { of: Text { what: "user name or number" }, max: 16 },
    absent: Absent::Derived("the user of the agent half"),
    text: "Users whose processes may open rules through the Unix socket. root and the middlebox's own user always may.",
};
static INTERNAL: Key<List<Network>> = Key {
    name: "internal",
    kind: List { of: Network, max: 64 },
    absent: Absent::Derived("`media` of the inside realm"),
    text: "Networks into which agents may open rules.",
};
static PORTS: Key<Ports> = Key {
    name: "ports",
    kind: Ports { min: 1024 },
    absent: Absent::Derived("`media-ports` of the inside realm"),
    text: "Ports that agents may open inside: some or all of the inside realm's `media-ports`.",
};
static DENY: Key<List<Network>> = Key {
    name: "deny",
    kind: List { of: Network, max: 1024 },
    absent: Absent::Literal("[]"),
    text: "Networks, inside or outside, for which no rule is ever opened.",
};
static RULES_MAX: Key<Integer> = Key {
    name: "max-rules",
    kind: Integer { range: 1..=1_000_000, unit: "rules" },
    absent: Absent::Literal("100_000"),
    text: "Rules an agent may hold at a time. A call with audio takes two, during a change four.",
};
static LIFETIME_MAX: Key<Time> = Key {
    name: "max-lifetime",
    kind: Time { range: Duration::from_secs(10)..=Duration::from_secs(86_400) },
    absent: Absent::Literal("\"1h\""),
    text: "The longest lifetime granted to a rule. Below the agent's `rule-lifetime` it wins.",
};
static MARK: Key<MarkBit> = Key {
    name: "mark",
    kind: MarkBit,
    absent: Absent::Literal("0x1000000"),
    text: "The bit of the packet mark that says \"through a pinhole\". No other bit is touched. The default is clear of \
           mwan3, Cilium, Tailscale and kube-proxy.",
};
static REVERSE_PATH: Key<OneOf<ReversePath>> = Key {
    name: "reverse-path",
    kind: OneOf {
        words: &[("strict", ReversePath::Strict), ("loose", ReversePath::Loose), ("off", ReversePath::Off)],
    },
    absent: Absent::Literal("\"strict\""),
    text: "How a packet's source is checked where its realm names no interfaces: the route back must leave by the \
           interface it came in on, must exist, or is not looked at.",
};

pub(super) static SECTION: Section = Section {
    heading: "[middlebox]",
    text: "The firewall between the realms. The whole section may be left out.",
    keys: &[
        &ENGINE,
        &INSIDE,
        &CONNECT,
        &SOCKET,
        &LISTEN,
        &PEERS,
        &USERS,
        &INTERNAL,
        &PORTS,
        &DENY,
        &RULES_MAX,
        &LIFETIME_MAX,
        &MARK,
        &REVERSE_PATH,
    ],
};

impl Middlebox {
    pub(super) fn read(
        span: Range<usize>,
        table: Option<&toml::de::DeTable<'_>>,
        realms: &[Realm],
        run_dir: &Path,
        problems: &mut Problems,
    ) -> Option<Self> {
        let table = Table::open(&SECTION, table, span.clone(), &[], problems);
        let engine = table.value(&ENGINE, problems);
        let inside = match table.given(&INSIDE, problems) {
            Some(name) => route::realm(&name, realms, problems),
            None => find_inside(engine, realms, span, problems),
        };
        let socket = table.given(&SOCKET, problems).unwrap_or_else(|| run_dir.join("simco.sock"));
        let listen = table.value(&LISTEN, problems);
        let peers = table.value(&PEERS, problems);
        if !listen.is_empty() && peers.is_empty() {
            problems.push_with_help(
                table.place(&LISTEN),
                "SIMCO over plain TCP needs a list of peers",
                "anybody could open the firewall here",
                "add `peers = [\"ADDRESS\"]` with the agents' addresses",
            );
        }
        let realm = realms.get(inside?)?;
        let ports = table.given(&PORTS, problems).unwrap_or_else(|| realm.media_ports.clone());
        let managed = |port| realm.media_ports.contains(port);
        if engine == Engine::Nftables && !(managed(ports.start()) && managed(ports.end())) {
            let (low, high) = (realm.media_ports.start(), realm.media_ports.end());
            problems.push_with_help(
                table.place(&PORTS),
                "agents could open ports that the gate does not close",
                format!("`media-ports` of realm {} are {low}-{high}", realm.name),
                "what passed there could go on after the call where `established` is accepted; widen `media-ports`",
            );
        }
        Some(Self {
            engine,
            inside: inside?,
            connect: table
                .given(&CONNECT, problems)
                .map_or_else(|| Connect::Unix(socket.clone()), Connect::Tcp),
            socket,
            listen,
            peers,
            users: table.given(&USERS, problems).unwrap_or_default(),
            internal: table.given(&INTERNAL, problems).unwrap_or_else(|| realm.media.clone()),
            ports,
            deny: table.value(&DENY, problems),
            rules_max: table.value(&RULES_MAX, problems),
            lifetime_max: table.value(&LIFETIME_MAX, problems),
            mark: table.value(&MARK, problems),
            reverse_path: table.value(&REVERSE_PATH, problems),
        })
    }
}

/// The realm that is inside when the file does not say so.
fn find_inside(
    engine: Engine,
    realms: &[Realm],
    span: Range<usize>,
    problems: &mut Problems,
) -> Option<usize> {
    let named = realms.iter().position(|realm| realm.name == "inside");
    let mut with_media = realms.iter().enumerate().filter(|(_, realm)| !realm.media.is_empty());
    let only = match (with_media.next(), with_media.next()) {
        (Some((index, _)), None) => Some(index),
        (Some(_) | None, Some(_)) | (None, None) => None,
    };
    let found = named.or(only).or_else(|| (engine == Engine::None && !realms.is_empty()).then_some(0));
    if found.is_none() && !realms.is_empty() && problems.is_empty() {
        problems.push_with_help(
            span,
            "no realm is inside",
            "which realm does the firewall protect?",
            "call it [realm.inside], or write `inside = \"NAME\"` under [middlebox], and give it `media` networks",
        );
    }
    let unprotected = found.and_then(|index| realms.get(index)).filter(|realm| realm.media.is_empty());
    // If something else is wrong already, the missing networks may only be misspelt.
    if let Some(realm) = unprotected.filter(|_| engine != Engine::None && problems.is_empty()) {
        problems.push_with_help(
            realm.span.clone(),
            format!("realm {} has no `media`", realm.name),
            "the firewall would protect nothing",
            "name the networks of its phones: media = [\"10.0.40.0/24\"]",
        );
    }
    found
}
