//! `[[policy]]`: what may be opened when, line by line.

use std::ops::{Range, RangeInclusive};

use ipnet::IpNet;
use machine::week::Window;

use super::agent::Protocol;
use super::key::{Absent, Key, Section, Table};
use super::kind::{Either, List, Network, OneOf, Place, Ports, Text};
use super::middlebox::Middlebox;
use super::problem::{Problems, did_you_mean};
use super::window::Windows;

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Do {
    Allow,
    Deny,
}

/// One line; empty lists speak of everything.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub verdict: Do,
    /// Names as agents have them: `local`, that of a section, the address of a peer.
    pub agents: Vec<String>,
    pub inside: Vec<IpNet>,
    pub outside: Vec<IpNet>,
    pub ports: Option<RangeInclusive<u16>>,
    pub protocol: Option<Protocol>,
    pub when: Vec<Window>,
}

/// Each line is looked at for every request.
pub(super) const LINES_MAX: usize = 256;

static DO: Key<OneOf<Do>> = Key {
    name: "do",
    kind: OneOf { words: &[("allow", Do::Allow), ("deny", Do::Deny)] },
    absent: Absent::Required,
    text: "Whether what the line speaks of may be opened.",
};
static AGENTS: Key<List<Place<Text>>> = Key {
    name: "agents",
    kind: List { of: Place(Text { what: "name of an agent" }), max: 64 },
    absent: Absent::Literal("[]"),
    text: "Whose rules: \"local\", the NAME of an `[middlebox.agent.NAME]`, or the address of one of `peers`. Empty: everybody's.",
};
static INSIDE: Key<List<Network>> = Key {
    name: "inside",
    kind: List { of: Network, max: 256 },
    absent: Absent::Literal("[]"),
    text: "Where the inside end is. Empty: anywhere.",
};
static OUTSIDE: Key<List<Network>> = Key {
    name: "outside",
    kind: List { of: Network, max: 256 },
    absent: Absent::Literal("[]"),
    text: "Where the outside end is. Empty: anywhere.",
};
static PORTS: Key<Ports> = Key {
    name: "ports",
    kind: Ports { min: 1 },
    absent: Absent::Derived("every port"),
    text: "Ports to which packets go: inside for what comes in, outside for what goes out.",
};
static PROTOCOL: Key<OneOf<Protocol>> = Key {
    name: "protocol",
    kind: OneOf { words: &[("udp", Protocol::Udp), ("tcp", Protocol::Tcp)] },
    absent: Absent::Derived("every protocol"),
    text: "By which protocol.",
};
static WHEN: Key<Either<Windows, List<Windows>>> = Key {
    name: "when",
    kind: Either(Windows, List { of: Windows, max: 16 }),
    absent: Absent::Derived("always"),
    text: "When the line counts, by the clock of `time-zone`; a time that ends before it begins ends on the next day. What is no longer allowed when a time is over ends at once.",
};

pub(super) static SECTION: Section = Section {
    heading: "[[policy]]",
    text: "The standing policy of the middlebox half: the first line that speaks of all that an agent asks for decides, and what no line speaks of is \
           allowed, as far as the agent's authority goes. End with `do = \"deny\"` alone to allow nothing else. A line that denies a part of what is asked \
           refuses it: with 0x034C where it is a wildcard (the agent then asks again for one host), else with 0x0341. At most 256 lines.",
    keys: &[&DO, &AGENTS, &INSIDE, &OUTSIDE, &PORTS, &PROTOCOL, &WHEN],
};

impl Line {
    pub(super) fn read(
        span: Range<usize>,
        table: &toml::de::DeTable<'_>,
        middlebox: &Middlebox,
        problems: &mut Problems,
    ) -> Option<Self> {
        let table = Table::open(&SECTION, Some(table), span, &[], problems);
        let named = table.value(&AGENTS, problems);
        for (name, span) in &named {
            known(name, span.clone(), middlebox, problems);
        }
        let when = table.given(&WHEN, problems);
        Some(Self {
            agents: named.into_iter().map(|(name, _)| name).collect(),
            inside: table.value(&INSIDE, problems),
            outside: table.value(&OUTSIDE, problems),
            ports: table.given(&PORTS, problems),
            protocol: table.given(&PROTOCOL, problems),
            when: match when {
                None => Vec::new(),
                Some(super::kind::Chosen::One(windows)) => windows,
                Some(super::kind::Chosen::Other(lists)) => lists.into_iter().flatten().collect(),
            },
            verdict: table.required(&DO, problems)?,
        })
    }
}

fn known(name: &str, span: Range<usize>, middlebox: &Middlebox, problems: &mut Problems) {
    let peers: Vec<String> = middlebox.peers.iter().map(ToString::to_string).collect();
    let sections = middlebox.agents.iter().map(|agent| agent.name.as_str());
    let names: Vec<&str> = sections.chain(peers.iter().map(String::as_str)).chain(["local"]).collect();
    if names.contains(&name) {
        return;
    }
    let help = did_you_mean(name, names.iter().copied()).map_or_else(
        || format!("known here: {}", names.join(", ")),
        |near| format!("did you mean \"{near}\"?"),
    );
    problems.push_with_help(span, format!("unknown agent `{name}`"), "no agent of this name", help);
}
