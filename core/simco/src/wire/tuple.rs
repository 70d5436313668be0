//! Address tuples, RFC 4540 §4.3.8.
//!
//! ```text
//! full:           | 0 ver | prefix | protocol | location | port (2) | range (2) | address (4 or 16) |
//! protocols only: | 1 ver | prefix | protocol | location |
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use midcom::{Failure, Network, Protocol, Tuple};

use super::attribute::{Attributes, Kind, Writer};

/// Where an address is (RFC 5189 §2.3.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Location {
    /// A0: the endpoint behind the middlebox.
    Internal,
    /// A1: the middlebox, as the internal endpoint sees it.
    Inside,
    /// A2: the middlebox, as the external endpoint sees it.
    Outside,
    /// A3: the endpoint in front of the middlebox.
    External,
}

impl Location {
    const fn octet(self) -> u8 {
        match self {
            Self::Internal => 0,
            Self::Inside => 1,
            Self::Outside => 2,
            Self::External => 3,
        }
    }

    const fn from_octet(octet: u8) -> Option<Self> {
        match octet {
            0 => Some(Self::Internal),
            1 => Some(Self::Inside),
            2 => Some(Self::Outside),
            3 => Some(Self::External),
            _ => None,
        }
    }
}

/// An IP version as tuples write it: 1 and 2, not 4 and 6.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IpVersion {
    /// IPv4, written 1.
    V4,
    /// IPv6, written 2.
    V6,
}

impl IpVersion {
    const fn nibble(self) -> u8 {
        match self {
            Self::V4 => 0x1,
            Self::V6 => 0x2,
        }
    }
}

/// What is said of an address that was not assigned: the "protocols only" tuple of a reservation on a firewall.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Unassigned {
    /// IP version outside.
    pub version: IpVersion,
    /// The protocol reserved.
    pub protocol: Protocol,
}

impl Default for Unassigned {
    /// IPv4, any protocol.
    fn default() -> Self {
        Self { version: IpVersion::V4, protocol: Protocol::Any }
    }
}

/// High nibble of the first octet of a tuple without address and ports.
const PROTOCOLS_ONLY: u8 = 0x1;

/// What a tuple carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Address and ports.
    Full(Tuple),
    /// No more than a protocol, and an IP version if one was said.
    ProtocolsOnly(Option<IpVersion>, Protocol),
}

/// Reads the value of one address tuple.
///
/// # Errors
/// [`Failure::BadlyFormed`] for fields that have no meaning, [`Failure::IllegalPortCount`] for a range of 0.
pub(super) fn read(value: &[u8]) -> Result<(Location, Extent), Failure> {
    let (&[kind, prefix, protocol, location], rest) =
        value.split_first_chunk().ok_or(Failure::BadlyFormed)?;
    let location = Location::from_octet(location).ok_or(Failure::BadlyFormed)?;
    let protocol = Protocol::from_number(protocol);
    if kind >> 4 == PROTOCOLS_ONLY && rest.is_empty() {
        // In a reply the IP version may be 0: §8.2.2 copies it from a request where 0 means "any".
        let version = match kind & 0xf {
            0 => None,
            1 => Some(IpVersion::V4),
            2 => Some(IpVersion::V6),
            _ => return Err(Failure::BadlyFormed),
        };
        return Ok((location, Extent::ProtocolsOnly(version, protocol)));
    }
    let (&[p0, p1, r0, r1], address) = rest.split_first_chunk().ok_or(Failure::BadlyFormed)?;
    let address = address_of(kind, address).ok_or(Failure::BadlyFormed)?;
    let network = Network::new(address, prefix).map_err(|_| Failure::BadlyFormed)?;
    let (port, range) = (u16::from_be_bytes([p0, p1]), u16::from_be_bytes([r0, r1]));
    //= RFC 4540 §4.3.8: a port range is at least 1.
    if range == 0 {
        return Err(Failure::IllegalPortCount);
    }
    Ok((location, Extent::Full(Tuple { network, protocol, port, range })))
}

/// The address behind a first octet `0x01` (IPv4) or `0x02` (IPv6).
fn address_of(kind: u8, octets: &[u8]) -> Option<IpAddr> {
    match kind {
        0x01 => <[u8; 4]>::try_from(octets).ok().map(|octets| Ipv4Addr::from(octets).into()),
        0x02 => <[u8; 16]>::try_from(octets).ok().map(|octets| Ipv6Addr::from(octets).into()),
        _ => None,
    }
}

impl Writer<'_> {
    /// Appends a tuple as it was said: with address and ports, or the protocol only.
    pub(super) fn tuple(&mut self, location: Location, tuple: &Tuple) {
        if tuple.is_protocol_only() {
            let version = if tuple.address().is_ipv4() { IpVersion::V4 } else { IpVersion::V6 };
            return self.protocols_only(location, Unassigned { version, protocol: tuple.protocol });
        }
        let mut value = [0; 24];
        let (version, len) = match tuple.address() {
            IpAddr::V4(address) => {
                value[8..12].copy_from_slice(&address.octets());
                (IpVersion::V4, 12)
            }
            IpAddr::V6(address) => {
                value[8..24].copy_from_slice(&address.octets());
                (IpVersion::V6, 24)
            }
        };
        let prefix = tuple.network.prefix_len();
        value[..4].copy_from_slice(&[version.nibble(), prefix, tuple.protocol.number(), location.octet()]);
        value[4..6].copy_from_slice(&tuple.port.to_be_bytes());
        value[6..8].copy_from_slice(&tuple.range.max(1).to_be_bytes());
        self.put(Kind::Tuple, &value[..len]);
    }

    /// Appends a tuple without address and ports.
    pub(super) fn protocols_only(&mut self, location: Location, unassigned: Unassigned) {
        //= RFC 4540 §8.2.2: version and protocol as asked for, prefix length 0.
        let kind = PROTOCOLS_ONLY << 4 | unassigned.version.nibble();
        self.put(Kind::Tuple, &[kind, 0, unassigned.protocol.number(), location.octet()]);
    }
}

impl Attributes<'_> {
    /// A0 and A3 of a request.
    ///
    /// # Errors
    /// Those of [`read`]; [`Failure::BadlyFormed`] for a tuple without an IP version, [`Failure::Inconsistent`] unless
    /// the first is A0 and the second A3.
    pub(super) fn ends(&self) -> Result<(Tuple, Tuple), Failure> {
        let &[first, second] = self.tuples() else { return Err(Failure::BadlyFormed) };
        let (first, second) = (read(first)?, read(second)?);
        //= RFC 4540 §8.3.1: the first tuple is the internal one, the second the external one.
        Ok((at(Location::Internal, first)?, at(Location::External, second)?))
    }

    /// The tuples of a reply by their location; one per location.
    pub(super) fn places(&self) -> Result<Places, Failure> {
        let mut places = Places::default();
        for value in self.tuples() {
            let (location, extent) = read(value)?;
            let place = match location {
                Location::Internal => &mut places.internal,
                Location::Inside => &mut places.inside,
                Location::Outside => &mut places.outside,
                Location::External => &mut places.external,
            };
            if place.replace(extent).is_some() {
                return Err(Failure::BadlyFormed);
            }
        }
        Ok(places)
    }
}

/// The tuple of a request, if it is where it belongs.
fn at(location: Location, (found, extent): (Location, Extent)) -> Result<Tuple, Failure> {
    let tuple = extent.tuple().ok_or(Failure::BadlyFormed)?;
    if found == location { Ok(tuple) } else { Err(Failure::Inconsistent) }
}

/// The tuples of a reply.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Places {
    pub(super) internal: Option<Extent>,
    pub(super) inside: Option<Extent>,
    pub(super) outside: Option<Extent>,
    pub(super) external: Option<Extent>,
}

impl Extent {
    /// The address and ports, if there are any.
    pub(super) fn full(self) -> Option<Tuple> {
        match self {
            Self::Full(tuple) => Some(tuple),
            Self::ProtocolsOnly(..) => None,
        }
    }

    /// The end of a rule that it describes; `None` without an IP version.
    pub(super) fn tuple(self) -> Option<Tuple> {
        match self {
            Self::Full(tuple) => Some(tuple),
            //= RFC 4540 §8.3.1: without an address every address and every port is meant.
            Self::ProtocolsOnly(version, protocol) => {
                version.map(|version| Tuple::protocol_only(version == IpVersion::V4, protocol))
            }
        }
    }

    /// The protocol.
    pub(super) fn protocol(self) -> Protocol {
        match self {
            Self::Full(tuple) => tuple.protocol,
            Self::ProtocolsOnly(_, protocol) => protocol,
        }
    }
}

/// The end of a rule that must be there.
///
/// # Errors
/// [`Failure::BadlyFormed`] if it is not.
pub(super) fn end(extent: Option<Extent>) -> Result<Tuple, Failure> {
    extent.and_then(Extent::tuple).ok_or(Failure::BadlyFormed)
}
