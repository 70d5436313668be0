//! `[middlebox]`, or several `[[middlebox]]`: the firewalls between the realms, their agents and what they may open.

use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;
use middlebox::Nat;

use super::agent::{self, Agent, Usual};
use super::connect::{Connect, ConnectKind, Serve, ServeKind};
use super::key::{Absent, Key, Section, Table};
use super::kind::{AbsolutePath, Address, Integer, List, MarkBit, Network, OneOf, Ports, Text, Time};
use super::nat;
use super::problem::Problems;
use super::realm::Realm;
use super::sides;
use super::tls::{self, Tls};
use super::window::Zone;

/// What carries out the rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Engine {
    Nftables,
    None,
}

/// Whether the gate acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Enforce,
    Observe,
}

/// How the source of a packet is checked where a realm names no interfaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReversePath {
    Strict,
    Loose,
    Off,
}

/// How many rules an agent may be allowed.
pub(super) const RULES: Integer = Integer { range: 1..=1_048_576, unit: "rules" };
/// How long a rule may be allowed to live.
pub(super) const LIFETIMES: Time = Time { range: Duration::from_secs(10)..=Duration::from_secs(86_400) };

/// One middlebox.
#[derive(Debug, Clone)]
pub(crate) struct Middlebox {
    pub name: String,
    pub engine: Engine,
    pub mode: Mode,
    /// Which realms are inside, by position.
    pub inside: Vec<usize>,
    /// Which realms are outside; none of them is inside.
    pub outside: Vec<usize>,
    /// The name of the one that it stands by for, and where that is said.
    pub standby_for: Option<(String, Range<usize>)>,
    pub connect: Connect,
    pub socket: PathBuf,
    pub listen: Vec<Serve>,
    /// For agents that connect over TLS.
    pub serve_tls: Option<Tls>,
    /// For connecting over TLS.
    pub connect_tls: Option<Tls>,
    /// The file of the secret that the agent half has with it, and where that is said.
    pub secret: Option<(PathBuf, Range<usize>)>,
    pub peers: Vec<IpAddr>,
    pub users: Vec<String>,
    pub internal: Vec<IpNet>,
    pub ports: RangeInclusive<u16>,
    pub deny: Vec<IpNet>,
    pub journal: Option<PathBuf>,
    pub never_deny: Vec<IpNet>,
    pub time_zone: Option<jiff::tz::TimeZone>,
    pub rules_max: u32,
    pub lifetime_max: Duration,
    pub mark: u32,
    pub dscp: Option<u8>,
    /// Octets a second.
    pub cap: Option<u32>,
    pub reverse_path: ReversePath,
    /// Agents with a table of their own, in the order of the file.
    pub agents: Vec<Agent>,
    /// The outside addresses; none where nothing is translated.
    pub nat: Nat,
}

static ENGINE: Key<OneOf<Engine>> = Key {
    name: "engine",
    kind: OneOf { words: &[("nftables", Engine::Nftables), ("none", Engine::None)] },
    absent: Absent::Literal("\"nftables\""),
    text: "What carries out the rules. With \"none\" no firewall is asked: calls are passed on and nothing is opened \
           for their media.",
};
static NAME: Key<Text> = Key {
    name: "name",
    kind: Text { what: "name of your choice" },
    absent: Absent::Derived("`middlebox`; each of several `[[middlebox]]` needs one"),
    text: "What the commands and the log call it.",
};
static MODE: Key<OneOf<Mode>> = Key {
    name: "mode",
    kind: OneOf { words: &[("enforce", Mode::Enforce), ("observe", Mode::Observe)] },
    absent: Absent::Literal("\"enforce\""),
    text: "With \"observe\" the gate changes nothing on any packet: it counts what it would let in and what it would \
           drop (`postern status`), and your own firewall decides about media as before.",
};
static STANDBY_FOR: Key<Text> = Key {
    name: "standby-for",
    kind: Text { what: "name of another middlebox" },
    absent: Absent::Derived("none"),
    text: "Another of the `[[middlebox]]`, between the same realms, if packets cross one of the two and the other takes over when that one \
           fails. Every rule is made at both; while one of them is away the other is enough, and one that is back is given the rules of all calls. \
           Neither may translate addresses, and `media-timeout` ends no call while one of the two is away.",
};
static CONNECT: Key<ConnectKind> = Key {
    name: "connect",
    kind: ConnectKind,
    absent: Absent::Derived("the local `socket`"),
    text: "A middlebox on another machine, spoken to by SIMCO over TLS, or over plain TCP where the network is trusted. Its \
           certificate must be for HOST. `postern run` starts no middlebox for it.",
};
static SECRET: Key<AbsolutePath> = Key {
    name: "secret",
    kind: AbsolutePath,
    absent: Absent::Derived("none: the connection says who the middlebox is"),
    text: "A file with the secret that the agent half and this middlebox have (`secret` of `[middlebox.agent.NAME]` there). The \
           agent half then has the middlebox prove that it has it (RFC 4540 §7.2), opens no session with one that cannot, and proves the same where it is asked. \
           The same is asked of the file as there; it is read before each connection, as the user of the agent half.",
};
static SOCKET: Key<AbsolutePath> = Key {
    name: "socket",
    kind: AbsolutePath,
    absent: Absent::Derived("`simco.sock` in `run-dir`"),
    text: "The Unix socket on which the middlebox half serves SIMCO to the agent half.",
};
static LISTEN: Key<List<ServeKind>> = Key {
    name: "listen",
    kind: List { of: ServeKind, max: 8 },
    absent: Absent::Literal("[]"),
    text: "Addresses on which the middlebox half serves SIMCO to agents on other machines: over TLS, where an agent is \
           known by its certificate (`certificates` of `[middlebox.agent.NAME]`), or over plain TCP, where it is known by \
           its address (`peers`). Plain TCP is for networks you trust.",
};
static PEERS: Key<List<Address>> = Key {
    name: "peers",
    kind: List { of: Address, max: 64 },
    absent: Absent::Literal("[]"),
    text: "Addresses from which agents may connect over plain TCP, each an agent called by its address. Those of \
           `[middlebox.agent.NAME]` may too; no other address.",
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
static JOURNAL: Key<AbsolutePath> = Key {
    name: "journal",
    kind: AbsolutePath,
    absent: Absent::Derived(
        "none: rules end with the middlebox half, and what the kernel holds waits 30 s for its agents",
    ),
    text: "A file in which the rules are written down before they are opened and before agents are told, in a directory that exists and \
           keeps its files (not `run-dir`). Rules then survive a restart of the middlebox half and of the machine, with their identifiers, \
           and agents are told so.",
};
static NEVER_DENY: Key<List<Network>> = Key {
    name: "never-deny",
    kind: List { of: Network, max: 256 },
    absent: Absent::Literal("[]"),
    text: "Networks, inside or outside, that no disable rule and no `postern deny` may touch, alone or with others: your trunks. One that would is \
           refused with 0x034A.",
};
static TIME_ZONE: Key<Zone> = Key {
    name: "time-zone",
    kind: Zone,
    absent: Absent::Derived("the time zone of this host"),
    text: "The time zone of `when` in `[[policy]]`.",
};
static RULES_MAX: Key<Integer> = Key {
    name: "max-rules",
    kind: RULES,
    absent: Absent::Literal("100_000"),
    text: "Rules an agent may hold at a time. A call with audio takes two, during a change four.",
};
static LIFETIME_MAX: Key<Time> = Key {
    name: "max-lifetime",
    kind: LIFETIMES,
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
static DSCP: Key<Integer> = Key {
    name: "dscp",
    kind: Integer { range: 0..=63, unit: "" },
    absent: Absent::Derived("none: packets keep what they came with"),
    text: "The DSCP that packets get which a pinhole lets through: 46 for expedited forwarding (RFC 3246), as networks that give voice \
           precedence expect it.",
};
static MAX_BANDWIDTH: Key<Integer> = Key {
    name: "max-bandwidth",
    kind: Integer { range: 16..=1_000_000, unit: "kbit/s" },
    absent: Absent::Derived("none: as much as comes"),
    text: "The most that one pinhole lets pass (a stream's RTP and RTCP in one direction), IP headers included; two seconds' worth may come at once. \
           What is more is dropped where the pinhole's media network is `managed`, and elsewhere left to your own rules. \
           Voice takes 64 to 100, a video stream some thousand.",
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
    text: "The firewall between the realms. The whole section may be left out. Where there are several, each is a section \
           `[[middlebox]]` with a `name`, at most 16: in a row on one path, or on different paths. Which calls need which \
           follows from `inside` and `outside`; a call that needs several goes on when all have agreed. One of them may be \
           this host's own; the others have `connect`, and what they grant to whom is written in a file on their own host.",
    keys: &[
        &NAME,
        &ENGINE,
        &MODE,
        &sides::INSIDE,
        &sides::OUTSIDE,
        &STANDBY_FOR,
        &CONNECT,
        &SECRET,
        &SOCKET,
        &LISTEN,
        &tls::CERTIFICATE,
        &tls::KEY,
        &tls::CLIENT_CA,
        &tls::CA,
        &PEERS,
        &USERS,
        &INTERNAL,
        &PORTS,
        &DENY,
        &JOURNAL,
        &NEVER_DENY,
        &TIME_ZONE,
        &RULES_MAX,
        &LIFETIME_MAX,
        &MARK,
        &DSCP,
        &MAX_BANDWIDTH,
        &REVERSE_PATH,
        &nat::ADDRESSES,
        &nat::PORTS,
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
        let tables = table;
        let table = Table::open(&SECTION, table, span.clone(), &["agent"], problems);
        let name = table.given(&NAME, problems).unwrap_or_else(|| "middlebox".into());
        let engine = table.value(&ENGINE, problems);
        let (inside, outside) = sides::read(&table, engine, realms, span, problems);
        let socket = table.given(&SOCKET, problems).unwrap_or_else(|| run_dir.join("simco.sock"));
        let listen = table.value(&LISTEN, problems);
        let peers = table.value(&PEERS, problems);
        let serve_tls = doors(&table, tables, (&listen, &peers), problems);
        let inside = inside?;
        let others = || (0..realms.len()).filter(|position| !inside.contains(position)).collect();
        let outside = outside.unwrap_or_else(|| Some(others()))?;
        let connect = table.given(&CONNECT, problems);
        let tls = matches!(connect, Some(Connect::Tls(_))).then(|| table.place(&CONNECT));
        let connect_tls = tls::to_connect(&table, tls, problems);
        sides::check(&table, (&inside, &outside), realms, problems);
        if engine == Engine::Nftables && connect.is_none() {
            sides::one_is_everybody_else(&table, inside.iter().chain(&outside), realms, problems);
        }
        let protected: Vec<&Realm> = inside.iter().filter_map(|position| realms.get(*position)).collect();
        let internal = table.given(&INTERNAL, problems);
        let media = || protected.iter().flat_map(|realm| realm.media.iter().copied()).collect();
        let usual = Usual {
            internal: internal.unwrap_or_else(media),
            ports: ports(engine, &table, &protected, problems),
            rules_max: table.value(&RULES_MAX, problems),
            lifetime_max: table.value(&LIFETIME_MAX, problems),
            peers,
            users: table.given(&USERS, problems).unwrap_or_default(),
        };
        let agents = tables.map(|table| agent::read(table, &usual, problems)).unwrap_or_default();
        let Usual { internal, ports, rules_max, lifetime_max, peers, users } = usual;
        let mode = table.value(&MODE, problems);
        let nat = nat::read(&table, mode, (realms, &protected), problems)?;
        Some(Self {
            name,
            engine,
            mode,
            connect: connect.unwrap_or_else(|| Connect::Unix(socket.clone())),
            socket,
            listen,
            serve_tls,
            connect_tls,
            secret: table.given(&SECRET, problems).map(|path| (path, table.place(&SECRET))),
            peers,
            users,
            internal,
            ports,
            deny: table.value(&DENY, problems),
            journal: table.given(&JOURNAL, problems),
            never_deny: table.value(&NEVER_DENY, problems),
            time_zone: table.given(&TIME_ZONE, problems),
            rules_max,
            lifetime_max,
            agents,
            mark: table.value(&MARK, problems),
            dscp: table.given(&DSCP, problems).and_then(|dscp| u8::try_from(dscp).ok()),
            cap: table.given(&MAX_BANDWIDTH, problems).map(|kilobits| kilobits * 125),
            reverse_path: table.value(&REVERSE_PATH, problems),
            nat,
            inside,
            outside,
            standby_for: table.given(&STANDBY_FOR, problems).map(|name| (name, table.place(&STANDBY_FOR))),
        })
    }

    /// True if its rules are carried out on this host, by a middlebox half that `postern run` starts.
    pub(crate) fn is_local(&self) -> bool {
        self.engine == Engine::Nftables && matches!(self.connect, Connect::Unix(_))
    }

    /// Where a complaint about the name stands.
    pub(super) fn name_place(table: &toml::de::DeTable<'_>, otherwise: Range<usize>) -> Range<usize> {
        table.get(NAME.name).map_or(otherwise, toml::Spanned::span)
    }
}

/// Who may come in where: the files of TLS, if it is served.
fn doors(
    table: &Table<'_, '_>,
    tables: Option<&toml::de::DeTable<'_>>,
    (listen, peers): (&[Serve], &[IpAddr]),
    problems: &mut Problems,
) -> Option<Tls> {
    let named = tables.is_some_and(|table| table.contains_key("agent"));
    let tls = listen.iter().any(|serve| serve.tls).then(|| table.place(&LISTEN));
    let serve_tls = tls::to_serve(table, tls, problems);
    if listen.iter().any(|serve| serve.tls) && !named {
        problems.push_with_help(
            table.place(&LISTEN),
            "SIMCO over TLS needs a list of agents",
            "nobody could open a session here",
            "[middlebox.agent.NAME] with `certificates`, the names in the agent's certificate",
        );
    }
    if listen.iter().any(|serve| !serve.tls) && peers.is_empty() && !named {
        problems.push_with_help(
            table.place(&LISTEN),
            "SIMCO over plain TCP needs a list of peers",
            "anybody could open the firewall here",
            "add `peers = [\"ADDRESS\"]` with the agents' addresses",
        );
    }
    serve_tls
}

/// What agents may open: nothing that the gate does not close again.
fn ports(
    engine: Engine,
    table: &Table<'_, '_>,
    protected: &[&Realm],
    problems: &mut Problems,
) -> RangeInclusive<u16> {
    let low = protected.iter().map(|realm| *realm.media_ports.start()).max().unwrap_or(1024);
    let high = protected.iter().map(|realm| *realm.media_ports.end()).min().unwrap_or(u16::MAX);
    let ports = table.given(&PORTS, problems).unwrap_or(low..=high);
    let managed = |port: &u16| (low..=high).contains(port);
    if engine == Engine::Nftables && !(managed(ports.start()) && managed(ports.end())) {
        let realms = protected.iter().map(|realm| {
            let (low, high) = (realm.media_ports.start(), realm.media_ports.end());
            format!("`media-ports` of realm {} are {low}-{high}", realm.name)
        });
        problems.push_with_help(
            table.place(&PORTS),
            "agents could open ports that the gate does not close",
            realms.collect::<Vec<_>>().join(", "),
            "what passed there could go on after the call where `established` is accepted; widen `media-ports`",
        );
    }
    ports
}
