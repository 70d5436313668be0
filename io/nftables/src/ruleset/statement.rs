//! The few things our rules say. Each is written twice, for people ([`Display`](std::fmt::Display), nft's language)
//! and for the kernel (`encode.rs`), from one value.

use std::fmt;
use std::net::IpAddr;
use std::ops::RangeInclusive;

use crate::config::Mark;
use crate::netlink::uapi;

/// How long what is remembered is kept out after its last packet, in seconds.
pub(super) const HELD_S: u32 = 300;

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    pub(crate) const BOTH: [Self; 2] = [Self::V4, Self::V6];

    pub(crate) fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }

    /// `4` or `6`, for names.
    pub(crate) fn digit(self) -> char {
        match self {
            Self::V4 => '4',
            Self::V6 => '6',
        }
    }

    /// The protocol in which errors are reported.
    pub(crate) fn icmp(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 58,
        }
    }

    /// The types of its messages that are errors about a packet on its way: RFC 792, RFC 4443 §2.1.
    pub(crate) fn errors(self) -> &'static [u8] {
        match self {
            Self::V4 => &[3, 11, 12],
            Self::V6 => &[1, 2, 3, 4],
        }
    }

    /// Octets of an address.
    pub(crate) fn width(self) -> usize {
        match self {
            Self::V4 => 4,
            Self::V6 => 16,
        }
    }
}

/// One end of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum End {
    Source,
    Destination,
}

impl End {
    fn letter(self) -> char {
        match self {
            Self::Source => 's',
            Self::Destination => 'd',
        }
    }
}

/// Where octets are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Header {
    Network,
    Transport,
}

/// A part of a set's key, taken from the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Field {
    /// The transport protocol.
    Protocol,
    /// An address.
    Address(Family, End),
    /// A port.
    Port(End),
    /// A port without its lowest bit: the even one of a pair.
    PortPair(End),
    /// Bits that nft has no name for; of a `pair` the lowest one is left out.
    Raw { header: Header, offset: u16, length: u16, pair: bool },
}

impl Field {
    pub(super) fn raw(header: Header, offset: u16, length: u16) -> Self {
        Self::Raw { header, offset, length, pair: false }
    }
}

/// What becomes of a packet.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Verdict {
    Accept,
    Drop,
    Return,
    Jump(String),
    Goto(String),
}

/// A condition or an action of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Statement {
    /// Clears the bits of the mark that are ours.
    ClearMark(Mark),
    /// Sets our bits, and no others.
    SetMark(Mark),
    /// Our bits are set as only we set them.
    Marked(Mark),
    /// IPv4 or IPv6.
    Family(Family),
    /// The transport protocol is this one.
    Protocol(u8),
    /// The packet came in on this interface.
    InputInterface(String),
    /// The packet leaves on this interface.
    OutputInterface(String),
    /// The interface on which it came in is not in the set.
    InputInterfaceNotIn(String),
    /// There is no route back to the sender: none at all, or (`strict`) none through the interface it came in on.
    NoRouteBack { strict: bool },
    /// The verdict that a map gives for an address.
    AddressVerdict(Family, End, String),
    /// An address is in a set.
    AddressIn(Family, End, String),
    /// An address is this one.
    Address(End, IpAddr),
    /// A port is in a range; the protocol has been asked before.
    Ports(End, RangeInclusive<u16>),
    /// The fields together are in a set.
    In(Vec<Field>, String),
    /// The packet's DSCP becomes this (RFC 2474 §3).
    Dscp(Family, u8),
    /// The fields together are put into a set, or live there anew.
    Remember(Vec<Field>, String),
    /// An octet, so many bits behind a header's begin, is this one.
    RawIs(Header, u16, u8),
    /// An ICMP message of this type.
    IcmpType(Family, u8),
    /// So many packets per second, and as many at once, go on.
    Limit(u32),
    /// UDP whose sender has computed no checksum; the protocol has been asked before.
    NoChecksum,
    /// One end becomes what two maps give for the fields.
    Rewrite(Box<Rewrite>),
    /// A TCP segment that opens a connection: SYN without ACK.
    TcpOpening,
    /// Connection tracking says one of these states (`CT_…` bits).
    TrackedAs(u32),
    /// Has the kernel report which rules the packet meets.
    Trace,
    /// Counts.
    Counter,
    /// Keeps connection tracking away.
    NoTrack,
    /// Ends.
    Then(Verdict),
}

/// Address and port written over one end of a UDP packet. Both maps are asked with the fields as they were before.
///
/// nft has no words for "asked before": its text says the same maps one after the other, and a table that nft made from it
/// would look for the port with the new address, find nothing, and let no such packet through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Rewrite {
    pub(crate) family: Family,
    pub(crate) end: End,
    /// The key of both maps.
    pub(crate) fields: Vec<Field>,
    pub(crate) addresses: String,
    pub(crate) ports: String,
    /// Whether there is a checksum to be kept right.
    pub(crate) checksum: bool,
}

impl fmt::Display for Rewrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = together(&self.fields);
        let address = Field::Address(self.family, self.end);
        let (header, letter) = (if self.checksum { "udp" } else { "th" }, self.end.letter());
        write!(f, "{address} set {fields} map @{} ", self.addresses)?;
        write!(f, "{header} {letter}port set {fields} map @{}", self.ports)
    }
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Protocol => f.write_str("meta l4proto"),
            Self::Address(Family::V4, end) => write!(f, "ip {}addr", end.letter()),
            Self::Address(Family::V6, end) => write!(f, "ip6 {}addr", end.letter()),
            Self::Port(end) => write!(f, "th {}port", end.letter()),
            Self::PortPair(end) => write!(f, "th {}port & 0xfffe", end.letter()),
            Self::Raw { header, offset, length, pair } => {
                write!(f, "@{},{offset},{length}{}", header, if *pair { " & 0xfffe" } else { "" })
            }
        }
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network => "nh",
            Self::Transport => "th",
        })
    }
}

/// Fields as one key.
fn together(fields: &[Field]) -> String {
    fields.iter().map(ToString::to_string).collect::<Vec<_>>().join(" . ")
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accept => f.write_str("accept"),
            Self::Drop => f.write_str("drop"),
            Self::Return => f.write_str("return"),
            Self::Jump(chain) => write!(f, "jump {chain}"),
            Self::Goto(chain) => write!(f, "goto {chain}"),
        }
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClearMark(mark) => write!(f, "meta mark set meta mark & {:#010x}", !mark.mask),
            Self::SetMark(Mark { value, mask }) if value == mask => {
                write!(f, "meta mark set meta mark | {value:#010x}")
            }
            Self::SetMark(mark) => {
                write!(f, "meta mark set meta mark & {:#010x} | {:#010x}", !mark.mask, mark.value)
            }
            Self::Marked(mark) => write!(f, "meta mark & {:#010x} == {:#010x}", mark.mask, mark.value),
            Self::Family(Family::V4) => f.write_str("meta nfproto ipv4"),
            Self::Family(Family::V6) => f.write_str("meta nfproto ipv6"),
            Self::Protocol(number) => write!(f, "meta l4proto {}", protocol(*number)),
            Self::InputInterface(name) => write!(f, "iifname \"{name}\""),
            Self::OutputInterface(name) => write!(f, "oifname \"{name}\""),
            Self::InputInterfaceNotIn(set) => write!(f, "iifname != @{set}"),
            Self::NoRouteBack { strict: true } => f.write_str("fib saddr . iif oif missing"),
            Self::NoRouteBack { strict: false } => f.write_str("fib saddr oif missing"),
            Self::AddressVerdict(family, end, map) => {
                write!(f, "{} vmap @{map}", Field::Address(*family, *end))
            }
            Self::AddressIn(family, end, set) => write!(f, "{} @{set}", Field::Address(*family, *end)),
            Self::Address(end, address) => {
                write!(f, "{} {address}", Field::Address(Family::of(*address), *end))
            }
            Self::Ports(end, ports) => {
                write!(f, "th {}port {}-{}", end.letter(), ports.start(), ports.end())
            }
            Self::In(fields, set) => write!(f, "{} @{set}", together(fields)),
            Self::Remember(fields, set) => {
                write!(f, "update @{set} {{ {} timeout {HELD_S}s }}", together(fields))
            }
            Self::Dscp(Family::V4, dscp) => write!(f, "ip dscp set {dscp}"),
            Self::Dscp(Family::V6, dscp) => write!(f, "ip6 dscp set {dscp}"),
            Self::RawIs(header, offset, octet) => write!(f, "@{header},{offset},8 {octet:#04x}"),
            Self::IcmpType(family, kind) => write!(f, "{} type {}", icmp(*family), icmp_type(*family, *kind)),
            Self::Limit(rate) => write!(f, "limit rate {rate}/second burst {rate} packets"),
            Self::NoChecksum => f.write_str("udp checksum 0"),
            Self::Rewrite(rewrite) => rewrite.fmt(f),
            Self::TcpOpening => f.write_str("tcp flags & (syn | ack) == syn"),
            Self::TrackedAs(states) => write!(f, "ct state {}", tracked(*states)),
            Self::Trace => f.write_str("meta nftrace set 1"),
            Self::Counter => f.write_str("counter"),
            Self::NoTrack => f.write_str("notrack"),
            Self::Then(verdict) => verdict.fmt(f),
        }
    }
}

fn icmp(family: Family) -> &'static str {
    match family {
        Family::V4 => "icmp",
        Family::V6 => "icmpv6",
    }
}

fn icmp_type(family: Family, kind: u8) -> String {
    match (family, kind) {
        (Family::V4, 3) | (Family::V6, 1) => "destination-unreachable".into(),
        (Family::V6, 2) => "packet-too-big".into(),
        (Family::V4, 11) | (Family::V6, 3) => "time-exceeded".into(),
        (Family::V4, 12) | (Family::V6, 4) => "parameter-problem".into(),
        (_, other) => other.to_string(),
    }
}

fn protocol(number: u8) -> String {
    match number {
        1 => "icmp".into(),
        6 => "tcp".into(),
        17 => "udp".into(),
        58 => "ipv6-icmp".into(),
        other => other.to_string(),
    }
}

fn tracked(states: u32) -> String {
    let names = [
        (uapi::CT_ESTABLISHED, "established"),
        (uapi::CT_RELATED, "related"),
        (uapi::CT_UNTRACKED, "untracked"),
    ];
    let set: Vec<_> = names.iter().filter(|(bit, _)| states & bit != 0).map(|(_, name)| *name).collect();
    set.join(",")
}
