//! What an engine holds: one entry is one element of a hash set. `docs/pinholes.md` §3 and §4.
//!
//! A rule needs one or more entries, and an entry may be needed by several rules; the machine counts that, an
//! engine only sees keys. A key says exactly which packets it admits, see [`Key::admits`].

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use midcom::{Network, Protocol};
use thiserror::Error;

pub use crate::authority::Permit;
use crate::realm::Realms;

/// The transport protocols an entry can be made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// UDP: packets pass from the source to the destination, never back.
    Udp,
    /// TCP: the source may send the first SYN. Packets of the opposite direction (source and destination swapped)
    /// pass too, except a SYN without ACK. The engine implies this; there is no second entry for it.
    Tcp,
}

impl Transport {
    /// The protocol as MIDCOM says it.
    #[must_use]
    pub fn protocol(self) -> Protocol {
        match self {
            Self::Udp => Protocol::Udp,
            Self::Tcp => Protocol::Tcp,
        }
    }
}

/// One destination port, or an even port and the odd one above it: what one element of a set with the port mask
/// 0xffff or 0xfffe matches.
///
/// Wider blocks do not exist: each further mask would cost every packet one more lookup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortBlock {
    first: u16,
    pair: bool,
}

impl PortBlock {
    /// One port; `None` for port 0, which no packet may use.
    #[must_use]
    pub fn one(port: u16) -> Option<Self> {
        (port != 0).then_some(Self { first: port, pair: false })
    }

    /// An even port and the next one; `None` for an odd port and for 0.
    #[must_use]
    pub fn pair(first: u16) -> Option<Self> {
        (first != 0 && first.is_multiple_of(2)).then_some(Self { first, pair: true })
    }

    /// The lowest port.
    #[must_use]
    pub fn first(self) -> u16 {
        self.first
    }

    /// True for two ports, false for one.
    #[must_use]
    pub fn is_pair(self) -> bool {
        self.pair
    }

    /// What a port is masked with before it is compared with [`PortBlock::first`].
    #[must_use]
    pub fn mask(self) -> u16 {
        if self.pair { 0xfffe } else { 0xffff }
    }

    /// True if `port` is one of them.
    #[must_use]
    pub fn contains(self, port: u16) -> bool {
        port & self.mask() == self.first
    }

    /// Cuts `count` consecutive ports from `first` on into blocks, lowest first. `None` if they include port 0 or
    /// go beyond 65535, or for a count of 0.
    #[must_use]
    pub fn split(first: u16, count: u16) -> Option<Vec<Self>> {
        let end = u32::from(first) + u32::from(count);
        if first == 0 || count == 0 || end > 0x1_0000 {
            return None;
        }
        let mut blocks = Vec::with_capacity(usize::from(count) / 2 + 2);
        let mut port = u32::from(first);
        while port < end {
            let pair = port.is_multiple_of(2) && port + 1 < end;
            // Below 65536 because `end` is at most that.
            blocks.push(Self { first: u16::try_from(port).unwrap_or(u16::MAX), pair });
            port += if pair { 2 } else { 1 };
        }
        Some(blocks)
    }
}

/// `4000` or `4000-4001`.
impl fmt::Display for PortBlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pair {
            true => write!(f, "{}-{}", self.first, self.first | 1),
            false => write!(f, "{}", self.first),
        }
    }
}

/// Who may send: the three key classes, in the order in which the gate tries them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Source {
    /// One port of one host: class (source, source port, destination, destination port), one destination port.
    Exact {
        /// The host.
        address: IpAddr,
        /// Its port, never 0.
        port: u16,
    },
    /// Any port of one host: class (source, destination, destination port).
    Host(IpAddr),
    /// Any port of any host of a network: class (destination, destination port), guarded by the sender's network.
    /// It is always one of [`Realms::zones`]; the sender's zone is the longest match, see [`Realms::zone_of`].
    Network(Network),
}

impl Source {
    /// True if a packet from `address`, `port` comes from here.
    #[must_use]
    pub fn admits(&self, realms: &Realms, address: IpAddr, port: u16) -> bool {
        match self {
            Self::Exact { address: host, port: exact } => *host == address && *exact == port,
            Self::Host(host) => *host == address,
            Self::Network(network) => realms.zone_of(address).is_some_and(|zone| zone.network == *network),
        }
    }

    fn is_v4(&self) -> bool {
        match self {
            Self::Exact { address, .. } | Self::Host(address) => address.is_ipv4(),
            Self::Network(network) => network.addr().is_ipv4(),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact { address, port } => write!(f, "{}", SocketAddr::new(*address, *port)),
            Self::Host(IpAddr::V6(address)) => write!(f, "[{address}]:*"),
            Self::Host(address) => write!(f, "{address}:*"),
            Self::Network(network) => write!(f, "{network}:*"),
        }
    }
}

/// One end of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum End {
    /// Who sends.
    Source,
    /// Who receives.
    Destination,
}

/// What is written into the packets that an entry admits, over one end of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Translation {
    /// Over which.
    pub end: End,
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// Names an entry and says what it admits, and what becomes of it. One key, one element; two keys that differ in
/// nothing but their translation would be the same element and must never be wanted at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    transport: Transport,
    source: Source,
    destination: IpAddr,
    ports: PortBlock,
    /// Last, so that keys of one element are neighbours in every order.
    translation: Option<Translation>,
    /// What becomes of the source too, where the destination is written: see [`Key::hairpin`].
    turned: Option<Translation>,
}

impl Key {
    /// A key; `None` if source and destination differ in IP version, if an exact source comes with a pair of ports
    /// (masking both ports would admit crossed pairs), or if its port is 0. Engines use it to read a key back.
    #[must_use]
    pub fn new(transport: Transport, source: Source, destination: IpAddr, ports: PortBlock) -> Option<Self> {
        let exact_fits = match source {
            Source::Exact { port, .. } => port != 0 && !ports.is_pair(),
            Source::Host(_) | Source::Network(_) => true,
        };
        let same_version = source.is_v4() == destination.is_ipv4();
        let (translation, turned) = (None, None);
        let key = Self { transport, source, destination, ports, translation, turned };
        (exact_fits && same_version).then_some(key)
    }

    /// The same for packets that are rewritten; `None` if the address is of another IP version, its port is 0, the key
    /// admits a pair of ports (each needs a port of its own), or the source to be rewritten is not one port of one
    /// host. TCP is not translated.
    #[must_use]
    pub fn translated(self, translation: Translation) -> Option<Self> {
        let source_fits = match (translation.end, self.source) {
            (End::Destination, _) | (End::Source, Source::Exact { .. }) => true,
            (End::Source, Source::Host(_) | Source::Network(_)) => false,
        };
        let fits = translation.address.is_ipv4() == self.destination.is_ipv4()
            && translation.port != 0
            && !self.ports.is_pair()
            && self.transport == Transport::Udp;
        (source_fits && fits).then_some(Self { translation: Some(translation), ..self })
    }

    /// The same for packets of which both ends are rewritten: one port of one host inside sends to an outside place, which
    /// is another host inside, and is seen by it as its own outside place. `None` as for each end by itself.
    #[must_use]
    pub fn turned(self, destination: (IpAddr, u16), source: (IpAddr, u16)) -> Option<Self> {
        let of = |end, (address, port)| Translation { end, address, port };
        let turned = self.translated(of(End::Source, source))?.translation;
        Some(Self { turned, ..self.translated(of(End::Destination, destination))? })
    }

    /// What leaves by one key and comes in by another at once; `None` if the one does not lead to the other.
    #[must_use]
    pub fn hairpin(realms: &Realms, outward: &Self, inward: &Self) -> Option<Self> {
        let (seen, reached) = (outward.translation?, inward.translation?);
        let fits = (seen.end, reached.end) == (End::Source, End::Destination)
            && outward.turned.is_none()
            && inward.turned.is_none()
            && outward.transport == inward.transport
            && inward.admits(realms, (seen.address, seen.port), (outward.destination, outward.ports.first));
        let key = fits.then(|| outward.plain())?;
        key.turned((reached.address, reached.port), (seen.address, seen.port))
    }

    /// What is written into the packets, if anything is; where both ends are, over the destination.
    #[must_use]
    pub fn translation(&self) -> Option<Translation> {
        self.translation
    }

    /// What is written over the source, where the destination is written too.
    #[must_use]
    pub fn turned_source(&self) -> Option<Translation> {
        self.turned
    }

    /// Source and destination between the gate and the rewriting of the source, where both ends are rewritten.
    #[must_use]
    pub fn behind_routing(&self) -> Option<(SocketAddr, SocketAddr)> {
        let (Some(_), Some(reached), Source::Exact { address, port }) =
            (self.turned, self.translation, self.source)
        else {
            return None;
        };
        Some((SocketAddr::new(address, port), SocketAddr::new(reached.address, reached.port)))
    }

    /// The key of the same element without a translation.
    #[must_use]
    pub fn plain(&self) -> Self {
        Self { translation: None, turned: None, ..*self }
    }

    /// Source and destination of an admitted packet behind the gate.
    #[must_use]
    pub fn rewrite(&self, source: SocketAddr, destination: SocketAddr) -> (SocketAddr, SocketAddr) {
        let source = self.turned.map_or(source, |turned| SocketAddr::new(turned.address, turned.port));
        match self.translation {
            None => (source, destination),
            Some(Translation { end: End::Source, address, port }) => {
                (SocketAddr::new(address, port), destination)
            }
            Some(Translation { end: End::Destination, address, port }) => {
                (source, SocketAddr::new(address, port))
            }
        }
    }

    /// The transport protocol.
    #[must_use]
    pub fn transport(&self) -> Transport {
        self.transport
    }

    /// Who may send.
    #[must_use]
    pub fn source(&self) -> Source {
        self.source
    }

    /// Who receives.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        self.destination
    }

    /// On which ports.
    #[must_use]
    pub fn ports(&self) -> PortBlock {
        self.ports
    }

    /// True if a packet from `source` to `destination` matches, interfaces and the TCP reverse direction left aside.
    #[must_use]
    pub fn admits(&self, realms: &Realms, source: (IpAddr, u16), destination: (IpAddr, u16)) -> bool {
        self.destination == destination.0
            && self.ports.contains(destination.1)
            && self.source.admits(realms, source.0, source.1)
    }
}

/// `udp 198.51.100.9:* -> 10.0.40.7:4000-4001`; with translation `udp 198.51.100.9:* -> 203.0.113.1:30000 = 10.0.40.7:4000`
/// and `udp 10.0.40.7:4000 -> 198.51.100.9:5000 as 203.0.113.1:30000`; with both
/// `udp 10.0.40.7:4000 -> 203.0.113.1:30002 = 10.0.40.8:5000 as 203.0.113.1:30000`.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} -> ", self.transport.protocol(), self.source)?;
        match self.destination {
            IpAddr::V4(address) => write!(f, "{address}:{}", self.ports)?,
            IpAddr::V6(address) => write!(f, "[{address}]:{}", self.ports)?,
        }
        match self.translation {
            None => Ok(()),
            Some(Translation { end: End::Source, address, port }) => {
                write!(f, " as {}", SocketAddr::new(address, port))
            }
            Some(Translation { end: End::Destination, address, port }) => {
                write!(f, " = {}", SocketAddr::new(address, port))
            }
        }?;
        match self.turned {
            None => Ok(()),
            Some(Translation { address, port, .. }) => write!(f, " as {}", SocketAddr::new(address, port)),
        }
    }
}

/// What passed through one entry since it was installed. Extending keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes, IP header included.
    pub bytes: u64,
}

/// An entry as an engine reports it, at start and for inspection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which.
    pub key: Key,
    /// How long it still lives.
    pub remaining: Duration,
    /// What it let pass.
    pub counter: Counter,
}

/// One change that an engine is asked to make. The lifetime counts from the commit and is never zero.
///
/// `Add` and `Extend` differ only in what the machine believes is there: both must leave the entry in place with
/// exactly this lifetime, whether it was there or not. `Extend` may also shorten.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Installs an entry believed absent.
    Add {
        /// What, with the proof that it is allowed.
        permit: Permit,
        /// For how long.
        lifetime: Duration,
    },
    /// Gives an entry believed present a new lifetime, longer or shorter, without a gap. Its counter is kept.
    Extend {
        /// What, with the proof that it is allowed.
        permit: Permit,
        /// For how long from now on.
        lifetime: Duration,
    },
    /// Removes an entry. One that is not there is a success.
    Remove {
        /// Which.
        key: Key,
    },
}

impl Operation {
    /// The entry it is about.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Add { permit, .. } | Self::Extend { permit, .. } => permit.key(),
            Self::Remove { key } => *key,
        }
    }
}

/// Why an engine did not do one operation. The entry is then as it was before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Error)]
pub enum EngineFailure {
    /// No room in a set, or no memory.
    #[error("the engine is full")]
    Full,
    /// The engine cannot express this key, for example a network it has no zone for.
    #[error("the engine cannot express this entry")]
    Unsupported,
    /// The kernel said no; the number is its errno.
    #[error("the kernel refused the entry (errno {0})")]
    Refused(i32),
    /// The engine has lost its kernel, its table or its privilege.
    #[error("the engine is not available")]
    Unavailable,
}
