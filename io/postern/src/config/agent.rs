//! `[middlebox.agent.NAME]`: an agent that the middlebox half knows by name, and what it may do.

use std::net::IpAddr;
use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use toml::de::DeTable;

use super::key::{Absent, Key, Section, Table};
use super::kind::{AbsolutePath, Address, Bool, Integer, List, Network, OneOf, Ports, Text, Time};
use super::middlebox::{LIFETIMES, RULES};
use super::problem::Problems;

/// Agents of one middlebox that have a table of their own.
const AGENTS_MAX: usize = 64;

/// One agent.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub name: String,
    pub certificates: Vec<String>,
    pub peers: Vec<IpAddr>,
    pub users: Vec<String>,
    /// The file of its secret.
    pub secret: Option<PathBuf>,
    /// Where that is said.
    pub secret_place: Range<usize>,
    pub internal: Vec<IpNet>,
    pub ports: RangeInclusive<u16>,
    pub rules_max: u32,
    pub lifetime_max: Duration,
    pub protocols: Vec<Protocol>,
    pub rate_max: Option<u32>,
    pub disable: bool,
    pub administer: bool,
}

/// The transport protocol of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Udp,
    Tcp,
}

/// What an agent may do whose table does not say otherwise.
pub(super) struct Usual {
    pub internal: Vec<IpNet>,
    pub ports: RangeInclusive<u16>,
    pub rules_max: u32,
    pub lifetime_max: Duration,
    /// Addresses and users that are agents without a table.
    pub peers: Vec<IpAddr>,
    pub users: Vec<String>,
}

static CERTIFICATES: Key<List<Text>> = Key {
    name: "certificates",
    kind: List { of: Text { what: "name in a certificate" }, max: 16 },
    absent: Absent::Literal("[]"),
    text: "Names in the certificates by which it is known over TLS: a DNS name or URI among the certificate's alternative \
           names, or its common name if it has none of these.",
};
static PEERS: Key<List<Address>> = Key {
    name: "peers",
    kind: List { of: Address, max: 64 },
    absent: Absent::Literal("[]"),
    text: "Addresses from which it connects over plain TCP.",
};
static USERS: Key<List<Text>> = Key {
    name: "users",
    kind: List { of: Text { what: "user name or number" }, max: 16 },
    absent: Absent::Literal("[]"),
    text: "Users as which it connects through the Unix socket.",
};
static SECRET: Key<AbsolutePath> = Key {
    name: "secret",
    kind: AbsolutePath,
    absent: Absent::Derived("none: its certificate, address or user is enough"),
    text: "A file with a secret of 32 to 1,024 octets that this agent and this middlebox have, and nobody else \
           (`openssl rand -hex 32`). The agent then has to prove that it has it (RFC 4540 §7.3), and the middlebox proves the same \
           to an agent that asks, besides what `certificates`, `peers` and `users` say; where they say nothing, the secret alone says who it \
           is, from any address. Nobody but its owner, root or the user of the half, may be able to change the file, and others \
           may not read it. It is read at the start and by reload.",
};
static INTERNAL: Key<List<Network>> = Key {
    name: "internal",
    kind: List { of: Network, max: 64 },
    absent: Absent::Derived("`internal` of `[middlebox]`"),
    text: "Networks into which it may open rules. An empty list: none, for an agent that only denies or administers.",
};
static PORTS: Key<Ports> = Key {
    name: "ports",
    kind: Ports { min: 1024 },
    absent: Absent::Derived("`ports` of `[middlebox]`"),
    text: "Ports that it may open inside: some or all of `ports` of `[middlebox]`.",
};
static RULES_MAX: Key<Integer> = Key {
    name: "max-rules",
    kind: RULES,
    absent: Absent::Derived("`max-rules` of `[middlebox]`"),
    text: "Rules it may hold at a time.",
};
static LIFETIME_MAX: Key<Time> = Key {
    name: "max-lifetime",
    kind: LIFETIMES,
    absent: Absent::Derived("`max-lifetime` of `[middlebox]`"),
    text: "The longest lifetime that its rules are granted.",
};
static PROTOCOLS: Key<List<OneOf<Protocol>>> = Key {
    name: "protocols",
    kind: List { of: OneOf { words: &[("udp", Protocol::Udp), ("tcp", Protocol::Tcp)] }, max: 2 },
    absent: Absent::Literal("[]"),
    text: "Protocols of its rules. An empty list: all that the middlebox can.",
};
static RATE_MAX: Key<Integer> = Key {
    name: "max-rate",
    kind: Integer { range: 1..=1_000_000, unit: "requests a second" },
    absent: Absent::Derived("no limit"),
    text: "How many requests a second it may make that open or forbid something; as many may come at once. More are refused with \
           0x0342. What ends or extends a rule is not counted.",
};
static DISABLE: Key<Bool> = Key {
    name: "disable",
    kind: Bool,
    absent: Absent::Literal("false"),
    text: "Whether it may make disable rules (PDR), for anybody's addresses: and over the rules of all agents: for an intrusion detection system.",
};
static ADMINISTER: Key<Bool> = Key {
    name: "administer",
    kind: Bool,
    absent: Absent::Literal("false"),
    text: "Whether it hears of, lists, changes and ends the rules of every agent, and not its own only.",
};

pub(super) static SECTION: Section = Section {
    heading: "[middlebox.agent.NAME]",
    text: "An agent that the middlebox half knows by a name of your choice, at most 64. The rules of an agent are its own, \
           over any number of sessions at a time and one after the other: no other agent sees, changes or ends them. Agents \
           without such a section are the local one (`users` of `[middlebox]`), called `local`, and each address of \
           `peers`; they may do what `[middlebox]` says.",
    keys: &[
        &CERTIFICATES,
        &PEERS,
        &USERS,
        &SECRET,
        &INTERNAL,
        &PORTS,
        &RULES_MAX,
        &LIFETIME_MAX,
        &PROTOCOLS,
        &RATE_MAX,
        &DISABLE,
        &ADMINISTER,
    ],
};

impl Agent {
    fn read(
        name: &str,
        span: Range<usize>,
        table: &DeTable<'_>,
        usual: &Usual,
        problems: &mut Problems,
    ) -> Self {
        let table = Table::open(&SECTION, Some(table), span, &[], problems);
        let ports = table.given(&PORTS, problems).unwrap_or_else(|| usual.ports.clone());
        let within = |port: &u16| usual.ports.contains(port);
        if !(within(ports.start()) && within(ports.end())) {
            problems.push(
                table.place(&PORTS),
                "an agent with more ports than all agents",
                format!("`ports` of [middlebox] are {}-{}", usual.ports.start(), usual.ports.end()),
            );
        }
        Self {
            name: name.to_owned(),
            certificates: table.value(&CERTIFICATES, problems),
            peers: table.value(&PEERS, problems),
            users: table.value(&USERS, problems),
            secret: table.given(&SECRET, problems),
            secret_place: table.place(&SECRET),
            internal: table.given(&INTERNAL, problems).unwrap_or_else(|| usual.internal.clone()),
            ports,
            rules_max: table.given(&RULES_MAX, problems).unwrap_or(usual.rules_max),
            lifetime_max: table.given(&LIFETIME_MAX, problems).unwrap_or(usual.lifetime_max),
            protocols: table.value(&PROTOCOLS, problems),
            rate_max: table.given(&RATE_MAX, problems),
            disable: table.value(&DISABLE, problems),
            administer: table.value(&ADMINISTER, problems),
        }
    }

    /// True if nothing but its secret says who it is.
    pub(crate) fn is_unplaced(&self) -> bool {
        self.secret.is_some() && self.marks().next().is_none()
    }

    /// Everything by which it is known.
    fn marks(&self) -> impl Iterator<Item = String> + '_ {
        let peers = self.peers.iter().map(ToString::to_string);
        let certificates =
            self.certificates.iter().map(|name| format!("certificate {}", name.to_lowercase()));
        peers.chain(certificates).chain(self.users.iter().map(|user| format!("user {user}")))
    }
}

/// All agents of a middlebox that have a table.
pub(super) fn read(middlebox: &DeTable<'_>, usual: &Usual, problems: &mut Problems) -> Vec<Agent> {
    let Some(value) = middlebox.get("agent") else { return Vec::new() };
    let Some(table) = value.get_ref().as_table() else {
        let label = "write [middlebox.agent.NAME] on a line of its own";
        problems.push(value.span(), "`agent` is a section", label);
        return Vec::new();
    };
    if table.len() > AGENTS_MAX {
        problems.push(value.span(), format!("{} agents", table.len()), format!("at most {AGENTS_MAX}"));
        return Vec::new();
    }
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(name, _)| name.span().start);
    let peers = usual.peers.iter().map(ToString::to_string);
    let mut known: Vec<(String, String)> = peers.map(|peer| (peer, "[middlebox]".to_owned())).collect();
    known.extend(usual.users.iter().map(|user| (format!("user {user}"), "[middlebox]".to_owned())));
    let mut agents = Vec::new();
    for (name, value) in entries {
        let Some(table) = value.get_ref().as_table() else {
            let label = "write [middlebox.agent.NAME] on a line of its own";
            problems.push(name.span(), format!("`{}` is not an agent", name.get_ref()), label);
            continue;
        };
        let agent = Agent::read(name.get_ref(), name.span(), table, usual, problems);
        if ["local", "operator"].contains(&agent.name.as_str())
            || usual.peers.iter().any(|peer| peer.to_string() == agent.name)
        {
            problems.push(
                name.span(),
                format!("`{}` is the name of another agent", agent.name),
                "choose another name",
            );
        }
        if agent.marks().next().is_none() && agent.secret.is_none() {
            let label = "say by what it is known: `certificates`, `peers`, `users` or `secret`";
            problems.push(name.span(), format!("nobody is agent `{}`", agent.name), label);
        }
        for mark in agent.marks() {
            if let Some((_, other)) = known.iter().find(|(other, _)| *other == mark) {
                problems.push(name.span(), format!("{mark} is two agents"), format!("also in {other}"));
            }
            known.push((mark, format!("[middlebox.agent.{}]", agent.name)));
        }
        agents.push(agent);
    }
    agents
}
