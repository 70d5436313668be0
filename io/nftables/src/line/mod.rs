//! The administrator's line: where it is needed, how it reads, and who else uses our bit of the mark.
//! `docs/pinholes.md` §3, "Mark" and "The line".

mod expressions;
mod notes;
mod remedy;
mod rules;
mod sources;
mod walk;
mod xt;

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::ops::RangeInclusive;

use crate::config::Mark;
use crate::engine::TABLE;
use crate::netlink::{Message, Received, Socket, text, uapi};
use crate::ruleset::{family_name, hook_name};
use crate::{Error, firewall};

use expressions::Packet;
use rules::Chains;
use walk::Walk;

pub use notes::Note;
pub use remedy::{Keeper, Managed};
pub use sources::{SourceTranslation, source_translations};
pub use walk::Passage;

/// Routing rules: the attributes that name marks.
const RTM_GETRULE: u16 = 34;
const FRA_PRIORITY: u16 = 6;
const FRA_FWMARK: u16 = 10;
const FRA_FWMASK: u16 = 16;

/// The rule for nftables, without its place.
#[must_use]
pub fn nftables_line(mark: Mark) -> String {
    let words: Vec<_> = firewall::line(mark).iter().map(ToString::to_string).collect();
    words.join(" ")
}

/// The arguments for iptables and ip6tables, without the chain.
#[must_use]
pub fn iptables_line(mark: Mark) -> String {
    let Mark { value, mask } = mark;
    format!("-m conntrack --ctstate UNTRACKED -m mark --mark {value:#x}/{mask:#x} -j ACCEPT")
}

/// A chain that decides about packets that the gate let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BaseChain {
    /// Which chain.
    pub place: Place,
    /// `forward`, `input` or `output`.
    pub hook: &'static str,
    /// Where it stands among the chains of that hook.
    pub priority: i32,
    /// Whether it, or a chain to which it leads, has the line as a rule of its own.
    pub has_line: bool,
    /// What becomes of a packet that the gate let in: the worst of the families asked about.
    pub passage: Passage,
    /// Who keeps its rules.
    pub keeper: Keeper,
}

/// A rule, or a chain's policy.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Spot {
    /// The chain.
    pub place: Place,
    /// The rule's handle (`nft -a list ruleset` shows it); `None` for the policy.
    pub rule: Option<u64>,
}

/// Somebody else who looks at our bits, or writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkUse {
    /// A rule asks for bits of ours.
    Reads(Place),
    /// A rule writes bits of ours: media stops where it runs behind the gate.
    Writes(Place),
    /// A rule keeps bits of ours in a connection's mark, or asks for them there.
    Connection(Place),
    /// A routing rule (`ip rule`) with this priority asks for bits of ours.
    RoutingRule(u32),
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// `ip`, `ip6`, `inet`, …
    pub family: &'static str,
    /// The table's name.
    pub table: String,
    /// The chain's name.
    pub chain: String,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {} {}, chain {}", self.family, self.table, self.chain)
    }
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rule {
            Some(handle) => write!(f, "the rule with handle {handle} of {}", self.place),
            None => write!(f, "the policy of {}", self.place),
        }
    }
}

impl fmt::Display for MarkUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reads(place) => write!(f, "{place} asks for the mark"),
            Self::Writes(place) => write!(f, "{place} writes the mark"),
            Self::Connection(place) => {
                write!(f, "{place} keeps it in the mark of connections, or asks for it there")
            }
            Self::RoutingRule(priority) => write!(f, "routing rule {priority} asks for the mark"),
        }
    }
}

/// What stands around the gate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Base chains at forward, input and output that are not ours, in the order in which packets meet them.
    pub chains: Vec<BaseChain>,
    /// Chains that have the line but see no packet to be forwarded.
    pub stray_lines: Vec<Place>,
    /// Who else uses our bits.
    pub mark_uses: Vec<MarkUse>,
    /// Tables of old iptables, which nothing here can look into: the packet must tell.
    pub legacy: Vec<String>,
    /// What else is worth knowing.
    pub notes: Vec<Note>,
}

/// What the gate lets in, as far as it is known beforehand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The gate's mark.
    pub mark: Mark,
    /// Destination ports.
    pub ports: RangeInclusive<u16>,
    /// Whether there is IPv4 among it.
    pub v4: bool,
    /// Whether there is IPv6 among it.
    pub v6: bool,
}

/// Looks around in this thread's network namespace.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn survey(expected: &Expected) -> Result<Surroundings, Error> {
    let failed = "cannot read the firewall's rules";
    let mut socket = Socket::netfilter(0).map_err(Error::kernel(failed))?;
    let packet = Packet { mark: expected.mark, ports: expected.ports.clone() };
    let chains = rules::chains(&mut socket, &packet).map_err(Error::kernel(failed))?;
    let mut surroundings = Surroundings::default();
    judge(&chains, expected, &mut surroundings);
    uses(&chains, &mut surroundings);
    let failed = "cannot read this machine's network configuration";
    let mut route = Socket::route().map_err(Error::kernel(failed))?;
    routing_rules(&mut route, expected.mark, &mut surroundings).map_err(Error::kernel(failed))?;
    surroundings.notes = notes::notes(&mut socket, &mut route).map_err(Error::kernel(failed))?;
    for file in ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"] {
        // Absent where old iptables is.
        let names = fs::read_to_string(file).unwrap_or_default();
        surroundings.legacy.extend(names.lines().map(str::to_owned));
    }
    surroundings.mark_uses.dedup();
    Ok(surroundings)
}

/// What each base chain does with what the gate let in.
fn judge(chains: &Chains, expected: &Expected, surroundings: &mut Surroundings) {
    let mut walks = [0, 1].map(|family| Walk::new(chains, family));
    let lines: BTreeSet<&Place> = chains
        .iter()
        .filter(|(_, chain)| chain.rules.iter().any(|(_, reading)| reading.is_line()))
        .map(|(place, _)| place)
        .collect();
    let mut stray = lines.clone();
    for (place, chain) in chains {
        let Some(base) = chain.base else { continue };
        if ![uapi::FORWARD, uapi::LOCAL_IN, uapi::LOCAL_OUT].contains(&base.hook) {
            continue;
        }
        let reached = walk::reach(chains, place);
        if base.hook == uapi::FORWARD {
            stray.retain(|line| !reached.contains(line));
        }
        let asked = [
            expected.v4 && ["ip", "inet", "bridge"].contains(&place.family),
            expected.v6 && ["ip6", "inet", "bridge"].contains(&place.family),
        ];
        let passages = walks.iter_mut().zip(asked).filter(|(_, asked)| *asked);
        let passages: Vec<_> = passages.map(|(walk, _)| walk.passage(place, chain)).collect();
        let Some(passage) = worst(passages) else { continue };
        let drops = match &passage {
            Passage::Shut(spot, _) => Some(&spot.place),
            Passage::Open(_) => None,
        };
        let exists = |name: &str| {
            chains.contains_key(&Place {
                family: place.family,
                table: place.table.clone(),
                chain: name.into(),
            })
        };
        surroundings.chains.push(BaseChain {
            keeper: Keeper::of(place, drops, exists),
            place: place.clone(),
            hook: hook_name(base.hook),
            priority: base.priority,
            has_line: lines.iter().any(|line| reached.contains(line)),
            passage,
        });
    }
    surroundings.chains.sort_by_key(|chain| (chain.hook, chain.priority));
    surroundings.stray_lines = stray.into_iter().cloned().collect();
}

/// One that drops, else one that may, else any.
fn worst(passages: Vec<Passage>) -> Option<Passage> {
    let rank = |passage: &Passage| match passage {
        Passage::Shut(_, false) => 3,
        Passage::Shut(_, true) => 2,
        Passage::Open(Some(_)) => 1,
        Passage::Open(None) => 0,
    };
    passages.into_iter().max_by_key(rank)
}

fn place(message: &Received<'_>, table: u16, chain: u16) -> Option<Place> {
    let attributes = message.attributes();
    let family = family_name(message.family())?;
    let (table, chain) = (text(attributes.find(table)?), text(attributes.find(chain)?));
    Some(Place { family, table, chain })
}

fn is_ours(place: &Place) -> bool {
    place.family == "inet" && place.table == TABLE
}

/// Who else uses our bits.
fn uses(chains: &Chains, surroundings: &mut Surroundings) {
    for (place, chain) in chains {
        for (_, reading) in chain.rules.iter().filter(|(_, reading)| !reading.is_line()) {
            if reading.writes {
                surroundings.mark_uses.push(MarkUse::Writes(place.clone()));
            } else if reading.reads {
                surroundings.mark_uses.push(MarkUse::Reads(place.clone()));
            } else if reading.connection {
                surroundings.mark_uses.push(MarkUse::Connection(place.clone()));
            }
        }
    }
}

fn routing_rules(route: &mut Socket, mark: Mark, surroundings: &mut Surroundings) -> std::io::Result<()> {
    let mut question = Message::new(RTM_GETRULE, uapi::NLM_F_DUMP, route.next_sequence());
    question.attributes().raw(&[0; 12]);
    route.ask(question, |message| {
        let attributes = crate::netlink::Attributes::new(message.payload.get(12..).unwrap_or_default());
        let number = |kind| {
            let value = attributes.find(kind)?.try_into().ok()?;
            Some(u32::from_ne_bytes(value))
        };
        let Some(asked) = number(FRA_FWMARK) else { return };
        let mask = number(FRA_FWMASK).unwrap_or(u32::MAX);
        if mask & mark.mask != 0 && asked != 0 {
            surroundings.mark_uses.push(MarkUse::RoutingRule(number(FRA_PRIORITY).unwrap_or(0)));
        }
    })
}
