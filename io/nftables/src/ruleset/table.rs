//! A table with its chains and sets.

use super::encode::{capped, interface_name, named};
use super::held;
use super::intervals::{Interval, end_of, octets};
use super::statement::{End, Family, Field, HELD_S, Header, Statement, Verdict};
use crate::netlink::{Batch, Writer, uapi};

/// How long the kernel waits between two searches for expired elements, in milliseconds. They match no longer from
/// the moment they expire; this only frees memory, and with a million elements a search takes 60 ms.
pub(super) const COLLECT_MS: u32 = 10_000;

/// How many flows are held at a time in each IP version; what is beyond that is not held when it is closed.
pub(crate) const HELD_MAX: u32 = 1 << 18;

/// A note that nft leaves with sets (byte order of keys: this host's); it needs one to print interface names.
const NAMES_ARE_TEXT: [u8; 6] = {
    let [a, b, c, d] = 1u32.to_ne_bytes();
    [0, 4, a, b, c, d]
};

/// Where a base chain listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hook {
    pub(crate) number: u32,
    pub(crate) priority: i32,
    pub(crate) drop: bool,
}

/// A chain and its rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) name: String,
    pub(crate) hook: Option<Hook>,
    pub(crate) rules: Vec<Vec<Statement>>,
}

/// An element of a set that never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Element {
    Interface(String),
    Interval(Interval<Option<Verdict>>),
}

/// A set of entries: hashed, with timeout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ElementSet {
    pub(crate) fields: Vec<Field>,
    pub(crate) size: u32,
    /// Whether each element counts what it admits.
    pub(crate) counter: bool,
    /// The octets a second that each lets pass.
    pub(crate) cap: Option<u32>,
    /// What a map gives for a key.
    pub(crate) data: Option<Field>,
}

/// What kind of set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SetKind {
    /// Filled by the engine.
    Entries(ElementSet),
    /// Sources whose SIP is dropped, filled by the engine.
    Banned(ElementSet),
    /// What an entry has let pass, filled by the gate's own rules.
    Held(Family),
    /// Interface names.
    Interfaces(Vec<String>),
    /// Addresses.
    Networks(Family, Vec<Interval<()>>),
    /// Addresses with a verdict each.
    Verdicts(Family, Vec<Interval<Verdict>>),
}

impl SetKind {
    /// True for what the configuration says and nothing that passes changes.
    pub(crate) fn is_fixed(&self) -> bool {
        match self {
            Self::Entries(_) | Self::Banned(_) | Self::Held(_) => false,
            Self::Interfaces(_) | Self::Networks(..) | Self::Verdicts(..) => true,
        }
    }
}

/// A named set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Set {
    pub(crate) name: String,
    pub(crate) kind: SetKind,
}

/// A table of family inet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) sets: Vec<Set>,
    /// Those that others jump to come first.
    pub(crate) chains: Vec<Chain>,
}

impl Table {
    /// Adds messages that make this table's sets, chains and rules. The table itself exists; sets for which `keep` says true
    /// exist too.
    pub(crate) fn create(&self, batch: &mut Batch, keep: impl Fn(&Set) -> bool) {
        self.create_chains(batch, |_| true);
        self.create_sets(batch, |set| !keep(set));
        self.create_rules(batch);
    }

    /// Adds messages that make these chains, without their rules.
    pub(crate) fn create_chains(&self, batch: &mut Batch, these: impl Fn(&Chain) -> bool) {
        for chain in self.chains.iter().filter(|chain| these(chain)) {
            batch.message(uapi::NEWCHAIN, uapi::NLM_F_CREATE, uapi::INET, |w| chain.encode(w, &self.name));
        }
    }

    /// Adds messages that make these sets, with what is in them from the start.
    pub(crate) fn create_sets(&self, batch: &mut Batch, these: impl Fn(&Set) -> bool) {
        for (position, set) in self.sets.iter().enumerate().filter(|(_, set)| these(set)) {
            let id = u32::try_from(position).unwrap_or(u32::MAX).saturating_add(1);
            batch.message(uapi::NEWSET, uapi::NLM_F_CREATE, uapi::INET, |w| set.encode(w, &self.name, id));
            set.fill(batch, &self.name);
        }
    }

    /// Adds messages that make all rules.
    pub(crate) fn create_rules(&self, batch: &mut Batch) {
        for chain in &self.chains {
            for rule in &chain.rules {
                let flags = uapi::NLM_F_CREATE | uapi::NLM_F_APPEND;
                batch.message(uapi::NEWRULE, flags, uapi::INET, |writer| {
                    writer.text(uapi::RULE_TABLE, &self.name);
                    writer.text(uapi::RULE_CHAIN, &chain.name);
                    writer.nest(uapi::RULE_EXPRESSIONS, |list| {
                        rule.iter().for_each(|statement| statement.encode(list));
                    });
                });
            }
        }
    }
}

impl Chain {
    /// A chain that only other chains lead to.
    pub(crate) fn inner(name: impl Into<String>, rules: Vec<Vec<Statement>>) -> Self {
        Self { name: name.into(), hook: None, rules }
    }

    fn encode(&self, writer: &mut Writer, table: &str) {
        writer.text(uapi::CHAIN_TABLE, table);
        writer.text(uapi::CHAIN_NAME, &self.name);
        let Some(hook) = self.hook else { return };
        writer.text(uapi::CHAIN_TYPE, "filter");
        writer.be32(uapi::CHAIN_POLICY, if hook.drop { uapi::DROP } else { uapi::ACCEPT });
        writer.nest(uapi::CHAIN_HOOK, |nest| {
            nest.be32(uapi::HOOK_HOOKNUM, hook.number);
            nest.be32(uapi::HOOK_PRIORITY, u32::from_ne_bytes(hook.priority.to_ne_bytes()));
        });
    }
}

impl Set {
    /// The set's flags, as the kernel reports them.
    pub(crate) fn flags(&self) -> u32 {
        match self.kind {
            SetKind::Entries(ElementSet { data: None, .. }) => uapi::SET_F_TIMEOUT,
            SetKind::Entries(ElementSet { data: Some(_), .. }) => uapi::SET_F_TIMEOUT | uapi::SET_F_MAP,
            SetKind::Banned(_) => uapi::SET_F_TIMEOUT,
            SetKind::Held(_) => uapi::SET_F_TIMEOUT | uapi::SET_F_EVAL,
            SetKind::Interfaces(_) => 0,
            SetKind::Networks(..) => uapi::SET_F_INTERVAL,
            SetKind::Verdicts(..) => uapi::SET_F_INTERVAL | uapi::SET_F_MAP,
        }
    }

    /// The kernel wants to be told of several expressions for each element, and says of one by itself.
    fn expression_flag(&self) -> u32 {
        match self.kind {
            SetKind::Entries(ElementSet { cap: Some(_), .. }) => uapi::SET_F_EXPR,
            _ => 0,
        }
    }

    /// The key's length in octets.
    pub(crate) fn key_len(&self) -> u32 {
        let octets = match &self.kind {
            SetKind::Entries(entries) | SetKind::Banned(entries) => {
                entries.fields.iter().map(|field| field.width()).sum()
            }
            SetKind::Held(family) => held::fields(*family).iter().map(|field| field.width()).sum(),
            SetKind::Interfaces(_) => 16,
            SetKind::Networks(family, _) | SetKind::Verdicts(family, _) => family.width(),
        };
        u32::try_from(octets).unwrap_or(0)
    }

    /// The key's type in nft's numbering, which the kernel only stores for people's eyes.
    pub(crate) fn key_type(&self) -> u32 {
        match &self.kind {
            SetKind::Entries(set) | SetKind::Banned(set) => key_type(&set.fields),
            SetKind::Held(family) => key_type(&held::fields(*family)),
            SetKind::Interfaces(_) => 41,
            SetKind::Networks(family, _) | SetKind::Verdicts(family, _) => {
                Field::Address(*family, End::Source).data_type()
            }
        }
    }

    fn encode(&self, writer: &mut Writer, table: &str, id: u32) {
        writer.text(uapi::SET_TABLE, table);
        writer.text(uapi::SET_NAME, &self.name);
        writer.be32(uapi::SET_FLAGS, self.flags() | self.expression_flag());
        writer.be32(uapi::SET_KEY_TYPE, self.key_type());
        writer.be32(uapi::SET_KEY_LEN, self.key_len());
        writer.be32(uapi::SET_ID, id);
        match &self.kind {
            SetKind::Entries(set) | SetKind::Banned(set) => {
                // nft writes it for maps too and cannot read that, so it would refuse the administrator's saved ruleset.
                if set.data.is_none() {
                    writer.be32(uapi::SET_GC_INTERVAL, COLLECT_MS);
                }
                writer.nest(uapi::SET_DESC, |desc| desc.be32(uapi::SET_DESC_SIZE, set.size));
                if let Some(data) = set.data {
                    writer.be32(uapi::SET_DATA_TYPE, data.data_type());
                    writer.be32(uapi::SET_DATA_LEN, data.octets());
                }
                match (set.cap, set.counter) {
                    // First the cap: what it keeps out is not counted.
                    (Some(cap), _) => {
                        writer.nest(uapi::SET_EXPRESSIONS, |list| capped(list, cap, None));
                    }
                    (None, true) => writer.nest(uapi::SET_EXPR, |one| named(one, "counter", |_| {})),
                    (None, false) => {}
                }
                if set.is_raw() {
                    writer.bytes(uapi::SET_USERDATA, &note_of(&set.fields));
                }
            }
            SetKind::Held(_) => {
                writer.be64(uapi::SET_TIMEOUT, u64::from(HELD_S) * 1000);
                writer.be32(uapi::SET_GC_INTERVAL, COLLECT_MS);
                writer.nest(uapi::SET_DESC, |desc| desc.be32(uapi::SET_DESC_SIZE, HELD_MAX));
            }
            SetKind::Interfaces(_) => writer.bytes(uapi::SET_USERDATA, &NAMES_ARE_TEXT),
            SetKind::Networks(..) => {}
            SetKind::Verdicts(..) => writer.be32(uapi::SET_DATA_TYPE, uapi::DATA_TYPE_VERDICT),
        }
    }

    /// Adds the elements of a set that never changes.
    fn fill(&self, batch: &mut Batch, table: &str) {
        let elements = self.elements();
        for some in elements.chunks(400) {
            batch.message(uapi::NEWSETELEM, uapi::NLM_F_CREATE, uapi::INET, |writer| {
                writer.text(uapi::ELEM_LIST_TABLE, table);
                writer.text(uapi::ELEM_LIST_SET, &self.name);
                writer.nest(uapi::ELEM_LIST_ELEMENTS, |list| {
                    some.iter().for_each(|element| self.encode_element(list, element));
                });
            });
        }
    }

    fn elements(&self) -> Vec<Element> {
        match &self.kind {
            SetKind::Entries(_) | SetKind::Banned(_) | SetKind::Held(_) => Vec::new(),
            SetKind::Interfaces(names) => names.iter().cloned().map(Element::Interface).collect(),
            SetKind::Networks(_, intervals) => intervals
                .iter()
                .map(|i| Element::Interval(Interval { first: i.first, last: i.last, value: None }))
                .collect(),
            SetKind::Verdicts(_, intervals) => intervals
                .iter()
                .map(|i| Interval { first: i.first, last: i.last, value: Some(i.value.clone()) })
                .map(Element::Interval)
                .collect(),
        }
    }

    fn encode_element(&self, list: &mut Writer, element: &Element) {
        match element {
            Element::Interface(name) => {
                list.nest(uapi::LIST_ELEM, |one| key(one, &interface_name(name)));
            }
            Element::Interval(interval) => {
                let family = if self.key_len() == 4 { Family::V4 } else { Family::V6 };
                list.nest(uapi::LIST_ELEM, |one| {
                    key(one, &octets(family, interval.first));
                    if let Some(verdict) = &interval.value {
                        one.nest(uapi::ELEM_DATA, |data| verdict.encode(data));
                    }
                });
                // An interval ends where the next address begins; the last address of all has no next one.
                let next = interval.last.wrapping_add(1);
                if next != end_of(family) {
                    list.nest(uapi::LIST_ELEM, |one| {
                        key(one, &octets(family, next));
                        one.be32(uapi::ELEM_FLAGS, uapi::ELEM_F_INTERVAL_END);
                    });
                }
            }
        }
    }
}

fn key(element: &mut Writer, value: &[u8]) {
    element.nest(uapi::ELEM_KEY, |key| key.bytes(uapi::DATA_VALUE, value));
}

impl Field {
    /// Octets in a key: filled up to registers of four.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::Protocol | Self::Port(_) | Self::PortPair(_) => 4,
            Self::Address(family, _) => family.width(),
            Self::Raw { length, .. } => usize::from(length / 8).next_multiple_of(4),
        }
    }

    /// Octets in the packet.
    pub(crate) fn octets(self) -> u32 {
        match self {
            Self::Protocol => 1,
            Self::Port(_) | Self::PortPair(_) => 2,
            Self::Address(Family::V4, _) => 4,
            Self::Address(Family::V6, _) => 16,
            Self::Raw { length, .. } => u32::from(length / 8),
        }
    }

    fn data_type(self) -> u32 {
        match self {
            Self::Protocol => 12,
            Self::Address(Family::V4, _) => 7,
            Self::Address(Family::V6, _) => 8,
            Self::Port(_) | Self::PortPair(_) => 13,
            Self::Raw { .. } => 4,
        }
    }

    pub(super) fn type_name(self) -> &'static str {
        match self {
            Self::Protocol => "inet_proto",
            Self::Address(Family::V4, _) => "ipv4_addr",
            Self::Address(Family::V6, _) => "ipv6_addr",
            Self::Port(_) | Self::PortPair(_) => "inet_service",
            Self::Raw { .. } => "integer",
        }
    }
}

/// The types of a key's fields in nft's numbering.
fn key_type(fields: &[Field]) -> u32 {
    fields.iter().fold(0, |all, field| all << 6 | field.data_type())
}

impl ElementSet {
    /// True if nft has no types for its key, only places in the packet.
    pub(super) fn is_raw(&self) -> bool {
        self.fields.iter().any(|field| matches!(field, Field::Raw { .. }))
    }
}

/// The note that nft leaves with a set whose key is declared by places in the packet ("typeof"). It cannot print the
/// set without.
fn note_of(fields: &[Field]) -> Vec<u8> {
    let number = |kind: u8, value: u16| {
        let [a, b, c, d] = u32::from(value).to_ne_bytes();
        [kind, 4, a, b, c, d]
    };
    let wrapped = |kind: u8, inner: &[u8]| {
        let length = u8::try_from(inner.len()).unwrap_or(u8::MAX);
        [&[kind, length][..], inner].concat()
    };
    let mut places = Vec::new();
    for (position, field) in fields.iter().enumerate() {
        let Field::Raw { header, offset, length, .. } = *field else { continue };
        let base = match header {
            Header::Network => 2,
            Header::Transport => 3,
        };
        // No protocol, none of its fields, a header, a place.
        let place =
            [number(0, 0), number(1, 0), number(2, base), number(3, offset), number(4, length)].concat();
        // 7 is a place in the packet, 13 are several expressions together.
        let place = [&number(0, 7)[..], &wrapped(1, &place)].concat();
        places.extend(wrapped(u8::try_from(position).unwrap_or(u8::MAX), &place));
    }
    let all = [&number(0, 13)[..], &wrapped(1, &places)].concat();
    // The byte order of keys, none, and what the key is made of.
    [&number(0, 0)[..], &wrapped(3, &all)].concat()
}
