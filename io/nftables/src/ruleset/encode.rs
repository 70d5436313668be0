//! Statements as the kernel's expressions.

use std::net::IpAddr;

use super::statement::{End, Family, Field, HELD_S, Header, Rewrite, Statement, Verdict};
use crate::config::Mark;
use crate::netlink::{Writer, uapi};

/// The first register: a lookup's key begins here, everything else fits in it too.
const REG: u32 = uapi::REG_00;
/// Where checksums are, in their headers.
const IPV4_CHECKSUM: u32 = 10;
const UDP_CHECKSUM: u32 = 6;
/// Length of an interface name in a register.
const NAME_LEN: usize = 16;

impl Statement {
    /// Writes the expressions of this statement as list elements.
    pub(crate) fn encode(&self, list: &mut Writer) {
        match self {
            Self::ClearMark(mark) => set_mark(list, Mark { value: 0, mask: mark.mask }),
            Self::SetMark(mark) => set_mark(list, *mark),
            Self::Marked(mark) => {
                load_meta(list, uapi::META_MARK, REG);
                bitwise(list, REG, &mark.mask.to_ne_bytes(), &[0; 4]);
                compare(list, uapi::CMP_EQ, &mark.value.to_ne_bytes());
            }
            Self::Family(family) => family_is(list, *family),
            Self::Protocol(number) => protocol_is(list, *number),
            Self::InputInterface(name) => interface_is(list, uapi::META_IIFNAME, name),
            Self::OutputInterface(name) => interface_is(list, uapi::META_OIFNAME, name),
            Self::InputInterfaceNotIn(set) => {
                load_meta(list, uapi::META_IIFNAME, REG);
                lookup(list, set, Find::Not);
            }
            Self::NoRouteBack { strict } => no_route_back(list, *strict),
            Self::AddressVerdict(family, end, map) => {
                load_address(list, *family, *end);
                lookup(list, map, Find::Verdict);
            }
            Self::AddressIn(family, end, set) => {
                load_address(list, *family, *end);
                lookup(list, set, Find::Is);
            }
            Self::Address(end, address) => address_is(list, *end, *address),
            Self::Ports(end, ports) => {
                load_port(list, *end, REG);
                range(list, &ports.start().to_be_bytes(), &ports.end().to_be_bytes());
            }
            Self::In(fields, set) => {
                load_fields(list, fields);
                lookup(list, set, Find::Is);
            }
            Self::Remember(fields, set) => {
                load_fields(list, fields);
                remember(list, set);
            }
            Self::Dscp(family, dscp) => set_dscp(list, *family, *dscp),
            Self::RawIs(header, offset, octet) => {
                payload(list, header.base(), u32::from(offset / 8), 1, REG);
                compare(list, uapi::CMP_EQ, &[*octet]);
            }
            Self::IcmpType(family, kind) => {
                family_is(list, *family);
                protocol_is(list, family.icmp());
                payload(list, uapi::TRANSPORT_HEADER, 0, 1, REG);
                compare(list, uapi::CMP_EQ, &[*kind]);
            }
            Self::Limit(rate) => limit(list, *rate),
            Self::NoChecksum => {
                payload(list, uapi::TRANSPORT_HEADER, UDP_CHECKSUM, 2, REG);
                compare(list, uapi::CMP_EQ, &[0; 2]);
            }
            Self::Rewrite(rewrite) => rewrite.encode(list),
            Self::TcpOpening => tcp_opening(list),
            Self::TrackedAs(states) => tracked_as(list, *states),
            Self::Trace => trace(list),
            Self::Counter => expression(list, "counter", |_| {}),
            Self::NoTrack => expression(list, "notrack", |_| {}),
            Self::Then(verdict) => expression(list, "immediate", |data| {
                data.be32(uapi::IMMEDIATE_DREG, 0);
                data.nest(uapi::IMMEDIATE_DATA, |data| verdict.encode(data));
            }),
        }
    }
}

fn interface_is(list: &mut Writer, key: u32, name: &str) {
    load_meta(list, key, REG);
    compare(list, uapi::CMP_EQ, &interface_name(name));
}

fn address_is(list: &mut Writer, end: End, address: IpAddr) {
    load_address(list, Family::of(address), end);
    match address {
        IpAddr::V4(address) => compare(list, uapi::CMP_EQ, &address.octets()),
        IpAddr::V6(address) => compare(list, uapi::CMP_EQ, &address.octets()),
    }
}

/// SYN without ACK.
fn tcp_opening(list: &mut Writer) {
    protocol_is(list, 6);
    payload(list, uapi::TRANSPORT_HEADER, 13, 1, REG);
    bitwise(list, REG, &[0x12], &[0]);
    compare(list, uapi::CMP_EQ, &[0x02]);
}

impl Rewrite {
    /// The key stays in its registers for both maps; what they give goes behind it, and only then into the packet.
    fn encode(&self, list: &mut Writer) {
        load_fields(list, &self.fields);
        let key: usize = self.fields.iter().map(|field| field.width()).sum();
        let address = REG + u32::try_from(key / 4).unwrap_or(0);
        let (offset, length) = place(self.family, self.end);
        let port = address + length / 4;
        map(list, &self.addresses, address);
        map(list, &self.ports, port);
        let checksum_of_ip = match self.family {
            Family::V4 => Some(IPV4_CHECKSUM),
            Family::V6 => None,
        };
        // The kernel leaves a UDP checksum of 0 alone here, but not where the checksum's place is told.
        write(list, uapi::NETWORK_HEADER, (offset, length), address, checksum_of_ip, true);
        let checksum = self.checksum.then_some(UDP_CHECKSUM);
        write(list, uapi::TRANSPORT_HEADER, (port_offset(self.end), 2), port, checksum, false);
    }
}

fn map(list: &mut Writer, name: &str, register: u32) {
    expression(list, "lookup", |data| {
        data.text(uapi::LOOKUP_SET, name);
        data.be32(uapi::LOOKUP_SREG, REG);
        data.be32(uapi::LOOKUP_DREG, register);
    });
}

/// Writes a register into the packet and keeps right the checksum at this place of the same header; with `pseudo` that of
/// the transport, which covers addresses.
fn write(
    list: &mut Writer,
    base: u32,
    (offset, length): (u32, u32),
    register: u32,
    checksum: Option<u32>,
    pseudo: bool,
) {
    expression(list, "payload", |data| {
        data.be32(uapi::PAYLOAD_SREG, register);
        data.be32(uapi::PAYLOAD_BASE, base);
        data.be32(uapi::PAYLOAD_OFFSET, offset);
        data.be32(uapi::PAYLOAD_LEN, length);
        let kind = if checksum.is_some() { uapi::CSUM_INET } else { uapi::CSUM_NONE };
        data.be32(uapi::PAYLOAD_CSUM_TYPE, kind);
        data.be32(uapi::PAYLOAD_CSUM_OFFSET, checksum.unwrap_or(0));
        data.be32(uapi::PAYLOAD_CSUM_FLAGS, if pseudo { uapi::CSUM_F_PSEUDO_HEADER } else { 0 });
    });
}

impl Verdict {
    /// Writes the verdict as data, for an immediate or a map's element.
    pub(crate) fn encode(&self, data: &mut Writer) {
        let signed = |code: i32| u32::from_ne_bytes(code.to_ne_bytes());
        let (code, chain) = match self {
            Self::Accept => (uapi::ACCEPT, None),
            Self::Drop => (uapi::DROP, None),
            Self::Return => (signed(uapi::RETURN), None),
            Self::Jump(chain) => (signed(uapi::JUMP), Some(chain)),
            Self::Goto(chain) => (signed(uapi::GOTO), Some(chain)),
        };
        data.nest(uapi::DATA_VERDICT, |verdict| {
            verdict.be32(uapi::VERDICT_CODE, code);
            if let Some(chain) = chain {
                verdict.text(uapi::VERDICT_CHAIN, chain);
            }
        });
    }
}

/// An expression inside a list.
fn expression(list: &mut Writer, name: &str, fill: impl FnOnce(&mut Writer)) {
    list.nest(uapi::LIST_ELEM, |element| named(element, name, fill));
}

/// An expression's name and data, as sets want it for their elements.
pub(super) fn named(element: &mut Writer, name: &str, fill: impl FnOnce(&mut Writer)) {
    element.text(uapi::EXPR_NAME, name);
    element.nest(uapi::EXPR_DATA, fill);
}

fn set_mark(list: &mut Writer, mark: Mark) {
    load_meta(list, uapi::META_MARK, REG);
    bitwise(list, REG, &(!mark.mask).to_ne_bytes(), &mark.value.to_ne_bytes());
    expression(list, "meta", |data| {
        data.be32(uapi::META_KEY, uapi::META_MARK);
        data.be32(uapi::META_SREG, REG);
    });
}

impl Header {
    fn base(self) -> u32 {
        match self {
            Self::Network => uapi::NETWORK_HEADER,
            Self::Transport => uapi::TRANSPORT_HEADER,
        }
    }
}

/// DSCP lies across the first two octets of the header, beside the version and, in IPv6, the flow label.
fn set_dscp(list: &mut Writer, family: Family, dscp: u8) {
    let (keep, dscp, checksum) = match family {
        Family::V4 => ([0xff, 0x03], [0, dscp << 2], Some(IPV4_CHECKSUM)),
        Family::V6 => ([0xf0, 0x3f], [dscp >> 2, dscp << 6], None),
    };
    payload(list, uapi::NETWORK_HEADER, 0, 2, REG);
    bitwise(list, REG, &keep, &dscp);
    write(list, uapi::NETWORK_HEADER, (0, 2), REG, checksum, false);
}

fn remember(list: &mut Writer, set: &str) {
    expression(list, "dynset", |data| {
        data.text(uapi::DYNSET_SET, set);
        data.be32(uapi::DYNSET_OP, uapi::DYNSET_OP_UPDATE);
        data.be32(uapi::DYNSET_SREG_KEY, REG);
        data.be64(uapi::DYNSET_TIMEOUT, u64::from(HELD_S) * 1000);
    });
}

/// What each element of a set does with the packets it admits, where there is a cap: it lets so many octets a second pass,
/// and counts them, from `counted` on: packets and octets.
pub(crate) fn capped(list: &mut Writer, cap: u32, counted: Option<(u64, u64)>) {
    expression(list, "limit", |data| {
        data.be64(uapi::LIMIT_RATE, u64::from(cap));
        data.be64(uapi::LIMIT_UNIT, 1);
        data.be32(uapi::LIMIT_BURST, cap);
        data.be32(uapi::LIMIT_TYPE, uapi::LIMIT_PKT_BYTES);
        data.be32(uapi::LIMIT_FLAGS, 0);
    });
    expression(list, "counter", |data| {
        if let Some((packets, octets)) = counted {
            data.be64(uapi::COUNTER_BYTES, octets);
            data.be64(uapi::COUNTER_PACKETS, packets);
        }
    });
}

fn limit(list: &mut Writer, rate: u32) {
    expression(list, "limit", |data| {
        data.be64(uapi::LIMIT_RATE, u64::from(rate));
        data.be64(uapi::LIMIT_UNIT, 1);
        data.be32(uapi::LIMIT_BURST, rate);
        data.be32(uapi::LIMIT_TYPE, 0);
        data.be32(uapi::LIMIT_FLAGS, 0);
    });
}

fn tracked_as(list: &mut Writer, states: u32) {
    expression(list, "ct", |data| {
        data.be32(uapi::CT_DREG, REG);
        data.be32(uapi::CT_KEY, uapi::CT_STATE);
    });
    bitwise(list, REG, &states.to_ne_bytes(), &[0; 4]);
    compare(list, uapi::CMP_NEQ, &[0; 4]);
}

fn trace(list: &mut Writer) {
    expression(list, "immediate", |data| {
        data.be32(uapi::IMMEDIATE_DREG, REG);
        data.nest(uapi::IMMEDIATE_DATA, |data| data.bytes(uapi::DATA_VALUE, &[1]));
    });
    expression(list, "meta", |data| {
        data.be32(uapi::META_KEY, uapi::META_NFTRACE);
        data.be32(uapi::META_SREG, REG);
    });
}

fn family_is(list: &mut Writer, family: Family) {
    load_meta(list, uapi::META_NFPROTO, REG);
    let number = match family {
        Family::V4 => uapi::IPV4,
        Family::V6 => uapi::IPV6,
    };
    compare(list, uapi::CMP_EQ, &[number]);
}

fn protocol_is(list: &mut Writer, number: u8) {
    load_meta(list, uapi::META_L4PROTO, REG);
    compare(list, uapi::CMP_EQ, &[number]);
}

/// An interface's name as the kernel compares it: filled up with zeros.
pub(super) fn interface_name(name: &str) -> [u8; NAME_LEN] {
    let mut bytes = [0; NAME_LEN];
    // The last octet stays zero; no interface has a longer name.
    for (byte, letter) in bytes.iter_mut().take(NAME_LEN - 1).zip(name.bytes()) {
        *byte = letter;
    }
    bytes
}

fn no_route_back(list: &mut Writer, strict: bool) {
    let through = if strict { uapi::FIB_F_IIF } else { 0 };
    expression(list, "fib", |data| {
        data.be32(uapi::FIB_DREG, REG);
        data.be32(uapi::FIB_RESULT, uapi::FIB_RESULT_OIF);
        data.be32(uapi::FIB_FLAGS, uapi::FIB_F_SADDR | uapi::FIB_F_PRESENT | through);
    });
    compare(list, uapi::CMP_EQ, &[0; 4]);
}

fn load_fields(list: &mut Writer, fields: &[Field]) {
    let mut register = REG;
    for field in fields {
        match field {
            Field::Protocol => load_meta(list, uapi::META_L4PROTO, register),
            Field::Address(family, end) => {
                let (offset, length) = place(*family, *end);
                payload(list, uapi::NETWORK_HEADER, offset, length, register);
                register += length / 4 - 1;
            }
            Field::Port(end) => load_port(list, *end, register),
            Field::PortPair(end) => {
                load_port(list, *end, register);
                bitwise(list, register, &[0xff, 0xfe], &[0, 0]);
            }
            Field::Raw { header, offset, length, pair } => {
                payload(list, header.base(), u32::from(offset / 8), u32::from(length / 8), register);
                if *pair {
                    bitwise(list, register, &[0xff, 0xfe], &[0, 0]);
                }
                register += u32::from(length.div_ceil(32)) - 1;
            }
        }
        register += 1;
    }
}

/// Where an address lies in the IP header.
fn place(family: Family, end: End) -> (u32, u32) {
    match (family, end) {
        (Family::V4, End::Source) => (12, 4),
        (Family::V4, End::Destination) => (16, 4),
        (Family::V6, End::Source) => (8, 16),
        (Family::V6, End::Destination) => (24, 16),
    }
}

fn load_address(list: &mut Writer, family: Family, end: End) {
    family_is(list, family);
    let (offset, length) = place(family, end);
    payload(list, uapi::NETWORK_HEADER, offset, length, REG);
}

/// UDP and TCP have their ports at the same place.
fn load_port(list: &mut Writer, end: End, register: u32) {
    payload(list, uapi::TRANSPORT_HEADER, port_offset(end), 2, register);
}

fn port_offset(end: End) -> u32 {
    match end {
        End::Source => 0,
        End::Destination => 2,
    }
}

fn load_meta(list: &mut Writer, key: u32, register: u32) {
    expression(list, "meta", |data| {
        data.be32(uapi::META_KEY, key);
        data.be32(uapi::META_DREG, register);
    });
}

fn payload(list: &mut Writer, base: u32, offset: u32, length: u32, register: u32) {
    expression(list, "payload", |data| {
        data.be32(uapi::PAYLOAD_DREG, register);
        data.be32(uapi::PAYLOAD_BASE, base);
        data.be32(uapi::PAYLOAD_OFFSET, offset);
        data.be32(uapi::PAYLOAD_LEN, length);
    });
}

fn bitwise(list: &mut Writer, register: u32, mask: &[u8], xor: &[u8]) {
    expression(list, "bitwise", |data| {
        data.be32(uapi::BITWISE_SREG, register);
        data.be32(uapi::BITWISE_DREG, register);
        data.be32(uapi::BITWISE_LEN, u32::try_from(mask.len()).unwrap_or(0));
        data.nest(uapi::BITWISE_MASK, |value| value.bytes(uapi::DATA_VALUE, mask));
        data.nest(uapi::BITWISE_XOR, |value| value.bytes(uapi::DATA_VALUE, xor));
    });
}

fn compare(list: &mut Writer, operator: u32, value: &[u8]) {
    expression(list, "cmp", |data| {
        data.be32(uapi::CMP_SREG, REG);
        data.be32(uapi::CMP_OP, operator);
        data.nest(uapi::CMP_DATA, |data| data.bytes(uapi::DATA_VALUE, value));
    });
}

fn range(list: &mut Writer, from: &[u8], to: &[u8]) {
    expression(list, "range", |data| {
        data.be32(uapi::RANGE_SREG, REG);
        data.be32(uapi::RANGE_OP, 0);
        data.nest(uapi::RANGE_FROM, |data| data.bytes(uapi::DATA_VALUE, from));
        data.nest(uapi::RANGE_TO, |data| data.bytes(uapi::DATA_VALUE, to));
    });
}

/// What a lookup is to find.
enum Find {
    Is,
    Not,
    Verdict,
}

fn lookup(list: &mut Writer, set: &str, find: Find) {
    expression(list, "lookup", |data| {
        data.text(uapi::LOOKUP_SET, set);
        data.be32(uapi::LOOKUP_SREG, REG);
        match find {
            Find::Is => {}
            Find::Not => data.be32(uapi::LOOKUP_FLAGS, uapi::LOOKUP_F_INV),
            Find::Verdict => data.be32(uapi::LOOKUP_DREG, 0),
        }
    });
}
