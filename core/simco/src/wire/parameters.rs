//! Attributes that are sets of small fields: version, capabilities, and the parameter sets of PRR and PER.
//! RFC 4540 §4.3.1, §4.3.3, §4.3.9, §4.3.10.

use midcom::{
    Capabilities, Direction, Failure, IpVersionChoice, IpVersions, Lifetime, NatService, Parity, PortParity,
    Protocol,
};

use super::attribute::{Attributes, Kind, Writer};

/// A version of SIMCO.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    /// Major number.
    pub major: u8,
    /// Minor number.
    pub minor: u8,
}

impl Version {
    /// The version of RFC 4540, and the only one spoken here.
    pub const SIMCO_3_0: Self = Self { major: 3, minor: 0 };
}

/// `| NM 2 bits | PP 2 | IPi 2 | IPo 2 | protocol | number of ports (2) |`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ReserveSet {
    pub(super) service: NatService,
    pub(super) parity: PortParity,
    pub(super) inside: IpVersionChoice,
    pub(super) outside: IpVersionChoice,
    pub(super) protocol: Protocol,
    pub(super) ports: u16,
}

/// `| parity | direction | reserved (2) |`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct EnableSet {
    pub(super) parity: Parity,
    pub(super) direction: Direction,
}

impl Writer<'_> {
    pub(super) fn version(&mut self, version: Version) {
        self.put(Kind::Version, &[version.major, version.minor, 0, 0]);
    }

    pub(super) fn reserve_set(&mut self, set: ReserveSet) {
        let service = match set.service {
            NatService::Traditional => 0b01,
            NatService::Twice => 0b10,
        };
        let parity = match set.parity {
            PortParity::Any => 0b00,
            PortParity::Odd => 0b01,
            PortParity::Even => 0b10,
        };
        let first = service << 6 | parity << 4 | choice_bits(set.inside) << 2 | choice_bits(set.outside);
        let [p0, p1] = set.ports.to_be_bytes();
        self.put(Kind::ReserveSet, &[first, set.protocol.number(), p0, p1]);
    }

    pub(super) fn enable_set(&mut self, parity: Parity, direction: Direction) {
        let parity = match parity {
            Parity::Any => 0x00,
            Parity::Same => 0x03,
        };
        let direction = match direction {
            Direction::Inbound => 0x01,
            Direction::Outbound => 0x02,
            Direction::Bidirectional => 0x03,
        };
        self.put(Kind::EnableSet, &[parity, direction, 0, 0]);
    }

    /// `| type of middlebox | I E P S IIV 2 bits EIV 2 bits | reserved (2) | longest lifetime (4) |`
    pub(super) fn capabilities(&mut self, can: &Capabilities) {
        //= RFC 4540 §4.3.3: port, protocol and twice NAT bits need the NAT bit.
        let kind = bit(can.firewall, 0x80)
            | bit(can.nat, 0x40)
            | bit(can.disable_rules, 0x10)
            | bit(can.nat && can.port_translation, 0x01)
            | bit(can.nat && can.protocol_translation, 0x02)
            | bit(can.nat && can.twice_nat, 0x04);
        let flags = bit(can.internal_wildcards, 0x80)
            | bit(can.external_wildcards, 0x40)
            | bit(can.port_wildcards, 0x20)
            | bit(can.persistent, 0x10)
            | versions_bits(can.inside) << 2
            | versions_bits(can.outside);
        let [l0, l1, l2, l3] = can.lifetime_max.0.to_be_bytes();
        self.put(Kind::Capabilities, &[kind, flags, 0, 0, l0, l1, l2, l3]);
    }
}

impl Attributes<'_> {
    pub(super) fn version(&self) -> Result<Version, Failure> {
        let [major, minor, ..] = self.octets::<4>(Kind::Version)?;
        Ok(Version { major, minor })
    }

    /// # Errors
    /// [`Failure::BadlyFormed`] for undefined values, [`Failure::IllegalPortCount`] for no ports at all.
    pub(super) fn reserve_set(&self) -> Result<ReserveSet, Failure> {
        let [first, protocol, p0, p1] = self.octets(Kind::ReserveSet)?;
        let service = match first >> 6 {
            0b01 => NatService::Traditional,
            // 00 and 11 are undefined and mean nothing on a firewall; "twice" is what RFC 5189 §2.3.8 wants of an
            // agent without a wish.
            _ => NatService::Twice,
        };
        let parity = match first >> 4 & 0b11 {
            0b00 => PortParity::Any,
            0b01 => PortParity::Odd,
            0b10 => PortParity::Even,
            _ => return Err(Failure::BadlyFormed),
        };
        let (inside, outside) = (choice(first >> 2 & 0b11)?, choice(first & 0b11)?);
        let ports = u16::from_be_bytes([p0, p1]);
        //= RFC 4540 §4.3.9: a port range of zero is not valid.
        if ports == 0 {
            return Err(Failure::IllegalPortCount);
        }
        let protocol = Protocol::from_number(protocol);
        Ok(ReserveSet { service, parity, inside, outside, protocol, ports })
    }

    pub(super) fn enable_set(&self) -> Result<EnableSet, Failure> {
        let [parity, direction, ..] = self.octets::<4>(Kind::EnableSet)?;
        let parity = match parity {
            0x00 => Parity::Any,
            0x03 => Parity::Same,
            _ => return Err(Failure::BadlyFormed),
        };
        let direction = match direction {
            0x01 => Direction::Inbound,
            0x02 => Direction::Outbound,
            0x03 => Direction::Bidirectional,
            _ => return Err(Failure::BadlyFormed),
        };
        Ok(EnableSet { parity, direction })
    }

    pub(super) fn capabilities(&self) -> Result<Capabilities, Failure> {
        let [kind, flags, _, _, l0, l1, l2, l3] = self.octets(Kind::Capabilities)?;
        Ok(Capabilities {
            firewall: kind & 0x80 != 0,
            nat: kind & 0x40 != 0,
            port_translation: kind & 0x41 == 0x41,
            protocol_translation: kind & 0x42 == 0x42,
            twice_nat: kind & 0x44 == 0x44,
            disable_rules: kind & 0x10 != 0,
            internal_wildcards: flags & 0x80 != 0,
            external_wildcards: flags & 0x40 != 0,
            port_wildcards: flags & 0x20 != 0,
            persistent: flags & 0x10 != 0,
            inside: versions(flags >> 2 & 0b11)?,
            outside: versions(flags & 0b11)?,
            lifetime_max: Lifetime(u32::from_be_bytes([l0, l1, l2, l3])),
        })
    }
}

fn bit(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

fn choice_bits(choice: IpVersionChoice) -> u8 {
    match choice {
        IpVersionChoice::Any => 0b00,
        IpVersionChoice::V4 => 0b01,
        IpVersionChoice::V6 => 0b10,
    }
}

fn choice(bits: u8) -> Result<IpVersionChoice, Failure> {
    match bits {
        0b00 => Ok(IpVersionChoice::Any),
        0b01 => Ok(IpVersionChoice::V4),
        0b10 => Ok(IpVersionChoice::V6),
        _ => Err(Failure::BadlyFormed),
    }
}

fn versions_bits(versions: IpVersions) -> u8 {
    match versions {
        IpVersions::V4 => 0b01,
        IpVersions::V6 => 0b10,
        IpVersions::Both => 0b11,
    }
}

fn versions(bits: u8) -> Result<IpVersions, Failure> {
    match bits {
        0b01 => Ok(IpVersions::V4),
        0b10 => Ok(IpVersions::V6),
        0b11 => Ok(IpVersions::Both),
        _ => Err(Failure::BadlyFormed),
    }
}
