//! `[realm.NAME]`: a side of the border.

use std::ops::{Range, RangeInclusive};

use ipnet::IpNet;

use super::address::{Listen, ListenKind};
use super::key::{Absent, Key, Section, Table};
use super::kind::{Bool, List, Network, OneOf, Ports, Text};
use super::problem::Problems;

/// From whom media may come through a pinhole of this realm (`docs/pinholes.md`, source policy).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Strict,
    Address,
    Realm,
}

/// One realm.
#[derive(Debug, Clone)]
pub(crate) struct Realm {
    pub name: String,
    /// Where its heading stands.
    pub span: Range<usize>,
    pub listen: Vec<(Listen, Range<usize>)>,
    pub media: Vec<IpNet>,
    pub media_ports: RangeInclusive<u16>,
    pub source: Source,
    pub interfaces: Vec<String>,
    pub early_media: bool,
}

static LISTEN: Key<List<ListenKind>> = Key {
    name: "listen",
    kind: List { of: ListenKind, max: 16 },
    absent: Absent::Required,
    text: "Addresses on which SIP of this realm is served. The first of a transport is the one that calls leave from. \
           What arrives on an interface that belongs to another realm only (by its listeners' addresses or its \
           `interfaces`) is not heard: otherwise whoever outside can reach this address calls as if from inside.",
};
static MEDIA: Key<List<Network>> = Key {
    name: "media",
    kind: List { of: Network, max: 64 },
    absent: Absent::Literal("[]"),
    text: "Networks in which this realm's phones send and receive media. For the inside realm they are what the \
           firewall protects: UDP on `media-ports` to and from them passes only through pinholes. An SDP that names \
           an address outside them is refused. Empty, for a realm that is not inside: any address.",
};
static MEDIA_PORTS: Key<Ports> = Key {
    name: "media-ports",
    kind: Ports { min: 1024 },
    absent: Absent::Derived("`\"16384-32767\"` where the realm has `media`, else any port from 1024"),
    text: "UDP ports of media in this realm. A range above 32767 takes in the ports that DNS, QUIC and NTP of every \
           host in `media` use; keep it below.",
};
static SOURCE: Key<OneOf<Source>> = Key {
    name: "source",
    kind: OneOf {
        words: &[("strict", Source::Strict), ("address", Source::Address), ("realm", Source::Realm)],
    },
    absent: Absent::Literal("\"address\""),
    text: "From whom media of this realm is let in: exactly the address and port its SDP names, that address from any \
           port, or any address of the realm's media networks.",
};
static INTERFACES: Key<List<Text>> = Key {
    name: "interfaces",
    kind: List { of: Text { what: "name of a network interface" }, max: 64 },
    absent: Absent::Literal("[]"),
    text: "Network interfaces on which this realm's media arrives. Empty: for a realm with `media` the reverse path decides \
           (`[middlebox] reverse-path`); for one without, those that carry the addresses of its `listen`, so that a host \
           behind a third interface is not everybody else. Where the listeners are on another host the reverse path decides.",
};
static EARLY_MEDIA: Key<Bool> = Key {
    name: "early-media",
    kind: Bool,
    absent: Absent::Literal("true"),
    text: "Whether phones of this realm may hear media before the call is answered. If not, pinholes are reserved \
           first and enabled only when both addresses are known.",
};

pub(super) static SECTION: Section = Section {
    heading: "[realm.NAME]",
    text: "A realm is a side of the border: its listeners, its networks, its rules for media. The name is yours; at \
           most 16 realms.",
    keys: &[&LISTEN, &MEDIA, &MEDIA_PORTS, &SOURCE, &INTERFACES, &EARLY_MEDIA],
};

impl Realm {
    pub(super) fn read(
        name: &str,
        span: Range<usize>,
        table: &toml::de::DeTable<'_>,
        problems: &mut Problems,
    ) -> Self {
        let table = Table::open(&SECTION, Some(table), span.clone(), &[], problems);
        let listen = table.required(&LISTEN, problems);
        if listen.as_ref().is_some_and(Vec::is_empty) {
            problems.push(
                table.place(&LISTEN),
                format!("realm {name} listens nowhere"),
                "needs at least one entry",
            );
        }
        let interfaces = table.value(&INTERFACES, problems);
        if let Some(long) = interfaces.iter().find(|interface| interface.len() > 15) {
            problems.push(
                table.place(&INTERFACES),
                format!("`{long}` is no interface name"),
                "at most 15 characters (Linux IFNAMSIZ)",
            );
        }
        let media = table.value(&MEDIA, problems);
        let ports = if media.is_empty() { 1024..=u16::MAX } else { 16384..=32767 };
        Self {
            name: name.to_owned(),
            span,
            listen: listen.unwrap_or_default(),
            media,
            media_ports: table.given(&MEDIA_PORTS, problems).unwrap_or(ports),
            source: table.value(&SOURCE, problems),
            interfaces,
            early_media: table.value(&EARLY_MEDIA, problems),
        }
    }
}
