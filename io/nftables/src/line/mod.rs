//! The administrator's line: where it is needed, how it reads, and who else uses our bit of the mark.
//! `docs/pinholes.md` §3, "Mark" and "The line".

mod expressions;
mod notes;

use std::fmt;
use std::fs;

use crate::config::Mark;
use crate::engine::TABLE;
use crate::netlink::{Message, Received, Socket, be32, text, uapi};
use crate::ruleset::{family_name, hook_name};
use crate::{Error, firewall};

use expressions::Reading;
pub use notes::Note;

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
    /// `ip`, `ip6`, `inet` or `bridge`.
    pub family: &'static str,
    /// The table's name.
    pub table: String,
    /// The chain's name.
    pub chain: String,
    /// `forward`, `input` or `output`.
    pub hook: &'static str,
    /// Where it stands among the chains of that hook.
    pub priority: i32,
    /// Whether its policy is to drop.
    pub drops: bool,
    /// Whether it has the line, as a rule of its own and written natively.
    pub has_line: bool,
}

impl BaseChain {
    /// The shell command that puts the line first. iptables' own chains are changed with iptables.
    #[must_use]
    pub fn command(&self, mark: Mark) -> String {
        let by_iptables = self.table == "filter" && self.chain == self.hook.to_uppercase();
        match (by_iptables, self.family) {
            (true, "ip") => format!("iptables -I {} {}", self.chain, iptables_line(mark)),
            (true, "ip6") => format!("ip6tables -I {} {}", self.chain, iptables_line(mark)),
            _ => {
                let Self { family, table, chain, .. } = self;
                format!("nft 'insert rule {family} {table} {chain} {}'", nftables_line(mark))
            }
        }
    }
}

/// Somebody else who looks at our bits, or writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkUse {
    /// A rule asks for bits of ours.
    Reads(Place),
    /// A rule writes bits of ours: media stops where it runs behind the gate.
    Writes(Place),
    /// A routing rule (`ip rule`) with this priority asks for bits of ours.
    RoutingRule(u32),
}

/// Where a rule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl fmt::Display for MarkUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reads(place) => write!(f, "{place} asks for the mark"),
            Self::Writes(place) => write!(f, "{place} writes the mark"),
            Self::RoutingRule(priority) => write!(f, "routing rule {priority} asks for the mark"),
        }
    }
}

/// What stands around the gate.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Base chains at forward, input and output that are not ours, in the order in which packets meet them.
    pub chains: Vec<BaseChain>,
    /// Who else uses our bits.
    pub mark_uses: Vec<MarkUse>,
    /// Tables of old iptables, which nothing here can look into: the packet must tell.
    pub legacy: Vec<String>,
    /// What else is worth knowing.
    pub notes: Vec<Note>,
}

/// Looks around in this thread's network namespace.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn survey(mark: Mark) -> Result<Surroundings, Error> {
    let failed = "cannot read the firewall's rules";
    let mut socket = Socket::netfilter(0).map_err(Error::kernel(failed))?;
    let mut surroundings = Surroundings::default();
    dump(&mut socket, uapi::GETCHAIN, |message| surroundings.chains.extend(base_chain(message)))
        .map_err(Error::kernel(failed))?;
    surroundings.chains.sort_by_key(|chain| (chain.hook, chain.priority));
    dump(&mut socket, uapi::GETRULE, |message| rule(message, mark, &mut surroundings))
        .map_err(Error::kernel(failed))?;
    let failed = "cannot read this machine's network configuration";
    let mut route = Socket::route().map_err(Error::kernel(failed))?;
    routing_rules(&mut route, mark, &mut surroundings).map_err(Error::kernel(failed))?;
    surroundings.notes = notes::notes(&mut socket, &mut route).map_err(Error::kernel(failed))?;
    for file in ["/proc/net/ip_tables_names", "/proc/net/ip6_tables_names"] {
        // Absent where old iptables is.
        let names = fs::read_to_string(file).unwrap_or_default();
        surroundings.legacy.extend(names.lines().map(str::to_owned));
    }
    surroundings.mark_uses.dedup();
    Ok(surroundings)
}

fn dump(socket: &mut Socket, kind: u8, mut each: impl FnMut(&Received<'_>)) -> std::io::Result<()> {
    let question = Message::nftables(kind, uapi::NLM_F_DUMP, 0, socket.next_sequence());
    socket.ask(question, |message| each(&message))
}

fn base_chain(message: &Received<'_>) -> Option<BaseChain> {
    let attributes = message.attributes();
    let hook = attributes.nested(uapi::CHAIN_HOOK);
    let number = hook.find(uapi::HOOK_HOOKNUM).and_then(be32)?;
    let decides = [uapi::FORWARD, uapi::LOCAL_IN, uapi::LOCAL_OUT].contains(&number);
    let place = place(message, uapi::CHAIN_TABLE, uapi::CHAIN_NAME)?;
    (decides && !is_ours(&place)).then(|| BaseChain {
        family: place.family,
        table: place.table,
        chain: place.chain,
        hook: hook_name(number),
        priority: hook.find(uapi::HOOK_PRIORITY).and_then(be32).map_or(0, u32::cast_signed),
        drops: attributes.find(uapi::CHAIN_POLICY).and_then(be32) == Some(uapi::DROP),
        has_line: false,
    })
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

fn rule(message: &Received<'_>, mark: Mark, surroundings: &mut Surroundings) {
    let Some(place) = place(message, uapi::RULE_TABLE, uapi::RULE_CHAIN) else { return };
    if is_ours(&place) {
        return;
    }
    let reading = Reading::of(message.attributes().nested(uapi::RULE_EXPRESSIONS), mark);
    if reading.is_line() {
        let here = |chain: &&mut BaseChain| {
            (chain.family, &chain.table, &chain.chain) == (place.family, &place.table, &place.chain)
        };
        surroundings.chains.iter_mut().filter(here).for_each(|chain| chain.has_line = true);
        return;
    }
    if reading.writes {
        surroundings.mark_uses.push(MarkUse::Writes(place));
    } else if reading.reads {
        surroundings.mark_uses.push(MarkUse::Reads(place));
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
