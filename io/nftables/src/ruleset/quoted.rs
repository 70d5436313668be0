//! ICMP errors about packets that an entry has let pass: `docs/pinholes.md` §3, "ICMP errors".
//!
//! What an error quotes is looked for in sets of their own, one beside each set of entries. A lookup in the entries
//! themselves would work in the kernel, but nft cannot load again what it then prints ("datatype mismatch"): quoted
//! octets are plain numbers to it. A set whose key is declared as such numbers it reads back.

use ipnet::IpNet;

use super::gate::{SetId, zone_name};
use super::statement::{End, Family, Field, Header, Statement, Verdict};
use super::table::Chain;
use crate::config::{GateConfig, Mode};

/// Where errors end that may pass.
const ERROR: &str = "error";
/// Errors let through per second, and at once; more are for the administrator's rules to judge.
const RATE: u32 = 1000;
/// The first octet of a quoted IPv4 header without options; with options the ports lie elsewhere.
const PLAIN_HEADER: u8 = 0x45;

/// Entries by whose packets errors are recognised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Quoted {
    Exact(Family),
    Host(Family, bool),
    Network(IpNet, bool),
}

impl Quoted {
    /// The quotes of a set of entries; packets that are translated have none.
    pub(crate) fn of(class: SetId) -> Option<Self> {
        match class {
            SetId::Exact(family) => Some(Self::Exact(family)),
            SetId::Host(family, pair) => Some(Self::Host(family, pair)),
            SetId::Network(network, pair) => Some(Self::Network(network, pair)),
            SetId::Translation(..) | SetId::Quoted(_) => None,
        }
    }

    /// The set of entries.
    pub(crate) fn class(self) -> SetId {
        match self {
            Self::Exact(family) => SetId::Exact(family),
            Self::Host(family, pair) => SetId::Host(family, pair),
            Self::Network(network, pair) => SetId::Network(network, pair),
        }
    }

    /// The protocol, to whom the error goes, and the quoted addresses and ports, in as few pieces as can be: nft 1.0.6
    /// has no room to note more than four. Where any sender of a network may send, its address is left aside.
    pub(super) fn fields(self) -> Vec<Field> {
        let family = self.class().family();
        let width = u16::try_from(family.width()).unwrap_or(0) * 8;
        // Behind eight octets of ICMP.
        let (protocol, source, ports, receiver) = match family {
            Family::V4 => (64 + 72, 64 + 96, 64 + 160, 128),
            Family::V6 => (64 + 48, 64 + 64, 64 + 320, 192),
        };
        let quoted = |offset, length| Field::raw(Header::Transport, offset, length);
        let port = Field::Raw {
            header: Header::Transport,
            offset: ports + 16,
            length: 16,
            pair: self.class().is_pair(),
        };
        let to = Field::raw(Header::Network, receiver, width);
        match self {
            Self::Exact(_) => vec![quoted(protocol, 8), to, quoted(source, 2 * width + 32)],
            Self::Host(..) => vec![quoted(protocol, 8), to, quoted(source, 2 * width), port],
            Self::Network(..) => vec![quoted(protocol, 8), quoted(source + width, width), port],
        }
    }
}

/// The chains that look for quotes: those that others jump to first.
pub(super) fn chains(config: &GateConfig) -> Vec<Chain> {
    if config.mode == Mode::Observe {
        return Vec::new();
    }
    let pass = vec![
        Statement::Limit(RATE),
        Statement::Counter,
        Statement::SetMark(config.mark),
        Statement::NoTrack,
        Statement::Then(Verdict::Accept),
    ];
    let zones = config.realms.zones().iter().map(|zone| zone.network);
    let to = |network| {
        let rules = [false, true].map(|pair| pass_if(Quoted::Network(network, pair)));
        Chain::inner(to_name(network), rules.to_vec())
    };
    let about = |family: Family| {
        let sets = [Quoted::Exact(family), Quoted::Host(family, false), Quoted::Host(family, true)];
        let mut rules = sets.map(pass_if).to_vec();
        rules.push(vec![Statement::AddressVerdict(family, End::Destination, receivers_name(family))]);
        Chain::inner(errors_name(family), rules)
    };
    let mut chains = vec![Chain::inner(ERROR, vec![pass])];
    chains.extend(zones.map(to));
    chains.extend(Family::BOTH.map(about));
    chains
}

fn pass_if(quoted: Quoted) -> Vec<Statement> {
    let set = SetId::Quoted(quoted);
    vec![Statement::In(set.fields(), set.name()), Statement::Then(Verdict::Goto(ERROR.into()))]
}

fn errors_name(family: Family) -> String {
    format!("errors{}", family.digit())
}

/// The map that knows the chain for whom an error is for.
pub(super) fn receivers_name(family: Family) -> String {
    format!("error_receivers{}", family.digit())
}

/// How the chains begin that such a map names.
pub(super) const TO: &str = "errors_to_";

fn to_name(network: IpNet) -> String {
    format!("{TO}{}", zone_name(network))
}

/// The end of a zone's chain: whoever reports an error lives where it came in, as with every other packet.
pub(super) fn reported(config: &GateConfig, family: Family) -> Option<Vec<Statement>> {
    (config.mode == Mode::Enforce).then(|| {
        vec![Statement::Protocol(family.icmp()), Statement::Then(Verdict::Goto(errors_name(family)))]
    })
}

/// Errors, by the zone of whoever reports them, which `map` knows: a chain for each IP version, and one called `name`.
pub(super) fn packets(config: &GateConfig, name: &str, map: &str) -> Vec<Chain> {
    if config.mode == Mode::Observe {
        return Vec::new();
    }
    let of = |family: Family| format!("{name}{}", family.digit());
    let by_reporter = |family: Family| {
        let senders = format!("{map}{}", family.digit());
        Chain::inner(of(family), vec![vec![Statement::AddressVerdict(family, End::Source, senders)]])
    };
    let rule = |family: Family, kind: u8| {
        let plain = (family == Family::V4).then_some(Statement::RawIs(Header::Transport, 64, PLAIN_HEADER));
        let begin = [Statement::IcmpType(family, kind)].into_iter().chain(plain);
        begin.chain([Statement::Then(Verdict::Goto(of(family)))]).collect()
    };
    let rules =
        Family::BOTH.into_iter().flat_map(|family| family.errors().iter().map(move |kind| (family, *kind)));
    let all = Chain::inner(name, rules.map(|(family, kind)| rule(family, kind)).collect());
    Family::BOTH.map(by_reporter).into_iter().chain([all]).collect()
}
