//! One frame: that a rule is there, with everything about it, or that it is gone.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;
use midcom::{Direction, Gid, Parity, Prid, Protocol, Tuple};
use middlebox::{AgentId, Change, StoredAction, StoredLease, StoredOutside, StoredRule};

use crate::clock::Wall;

const PUT: u8 = 1;
const FORGET: u8 = 2;
/// What a rule does. Those with an outside address came later; a file without them reads as ever.
const RESERVE: u8 = 0;
const ENABLE: u8 = 1;
const DISABLE: u8 = 2;
const RESERVE_OUTSIDE: u8 = 3;
const ENABLE_OUTSIDE: u8 = 4;
/// Whose outside ports are.
const OWN: u8 = 0;
const SHARED: u8 = 1;
/// Length, its complement (a length that is wrong must not look like a frame that a crash has cut off), checksum.
const HEAD: usize = 8;
/// The longest payload is far below this.
const PAYLOAD_MAX: usize = 256;

/// A frame that has been read, or is to be written.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    prid: Prid,
    /// The rule, but for its deadline; `None`: it is gone.
    rule: Option<(StoredRule, u64, u64)>,
}

/// What comes next in a file.
pub(crate) enum Next<'a> {
    /// Nothing, or what a crash has left of something.
    End,
    /// A frame and what is behind it.
    Frame(Frame, &'a [u8]),
    /// Something else.
    Wrong(&'static str),
}

impl Frame {
    pub(crate) fn of(change: &Change, wall: &Wall) -> Self {
        match change {
            Change::Forget(prid) => Self { prid: *prid, rule: None },
            Change::Put(rule) => {
                Self { prid: rule.prid, rule: Some((*rule, wall.of(rule.deadline), wall.now_ms())) }
            }
        }
    }

    pub(crate) fn prid(&self) -> u32 {
        self.prid.0
    }

    pub(crate) fn is_there(&self) -> bool {
        self.rule.is_some()
    }

    /// The rule with its deadline in the time of now, if it still lives.
    pub(crate) fn rule(&self, wall: &Wall) -> Option<StoredRule> {
        let (rule, deadline, written) = self.rule?;
        Some(StoredRule { deadline: wall.deadline(deadline, written)?, ..rule })
    }

    pub(crate) fn write(&self, to: &mut Vec<u8>) {
        let start = to.len();
        to.extend([0; HEAD]);
        match &self.rule {
            None => {
                to.push(FORGET);
                to.extend(self.prid.0.to_be_bytes());
            }
            Some((rule, deadline, written)) => {
                to.push(PUT);
                to.extend(self.prid.0.to_be_bytes());
                to.extend(rule.group.0.to_be_bytes());
                to.extend(rule.owner.0.to_be_bytes());
                to.extend(deadline.to_be_bytes());
                to.extend(written.to_be_bytes());
                write_action(&rule.action, to);
            }
        }
        let payload = to.get(start + HEAD..).unwrap_or_default();
        let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
        let ([l0, l1], [n0, n1]) = (length.to_be_bytes(), (!length).to_be_bytes());
        let [c0, c1, c2, c3] = crc(payload).to_be_bytes();
        let head = [l0, l1, n0, n1, c0, c1, c2, c3];
        if let Some(place) = to.get_mut(start..start + HEAD) {
            place.copy_from_slice(&head);
        }
    }

    pub(crate) fn read(bytes: &[u8]) -> Next<'_> {
        // Blocks that were given to the file and never written to are zeros.
        if bytes.iter().all(|byte| *byte == 0) {
            return Next::End;
        }
        let Some((&[l0, l1, n0, n1, c0, c1, c2, c3], rest)) = bytes.split_first_chunk() else {
            return Next::End;
        };
        let length = u16::from_be_bytes([l0, l1]);
        let whole = length == !u16::from_be_bytes([n0, n1]);
        let length = usize::from(length);
        if !whole && rest.iter().all(|byte| *byte == 0) {
            // The crash has cut the head off.
            return Next::End;
        }
        if !whole || length == 0 || length > PAYLOAD_MAX {
            return Next::Wrong("no frame has this length");
        }
        let Some((payload, behind)) = rest.split_at_checked(length) else { return Next::End };
        if crc(payload) != u32::from_be_bytes([c0, c1, c2, c3]) {
            // The last one may be what a crash has left of it.
            return if behind.iter().all(|byte| *byte == 0) {
                Next::End
            } else {
                Next::Wrong("a wrong checksum")
            };
        }
        let mut reader = Reader(payload);
        match reader.frame() {
            Some(frame) if reader.0.is_empty() => Next::Frame(frame, behind),
            Some(_) | None => Next::Wrong("a frame that means nothing"),
        }
    }
}

fn write_action(action: &StoredAction, to: &mut Vec<u8>) {
    match action {
        StoredAction::Reserve { protocol, ports, outside } => {
            to.extend([if outside.is_some() { RESERVE_OUTSIDE } else { RESERVE }, protocol.number()]);
            to.extend(ports.to_be_bytes());
            outside.iter().for_each(|outside| write_outside(outside, to));
        }
        StoredAction::Enable { parity, direction, internal, external, outside } => {
            let parity = match parity {
                Parity::Any => 0,
                Parity::Same => 3,
            };
            let direction = match direction {
                Direction::Inbound => 1,
                Direction::Outbound => 2,
                Direction::Bidirectional => 3,
            };
            to.extend([if outside.is_some() { ENABLE_OUTSIDE } else { ENABLE }, parity, direction]);
            write_tuple(internal, to);
            write_tuple(external, to);
            outside.iter().for_each(|outside| write_outside(outside, to));
        }
        StoredAction::Disable { internal, external } => {
            to.push(DISABLE);
            write_tuple(internal, to);
            write_tuple(external, to);
        }
    }
}

fn write_tuple(tuple: &Tuple, to: &mut Vec<u8>) {
    to.extend([tuple.protocol.number(), tuple.network.prefix_len()]);
    to.extend(tuple.port.to_be_bytes());
    to.extend(tuple.range.to_be_bytes());
    write_address(tuple.network.addr(), to);
}

fn write_outside(outside: &StoredOutside, to: &mut Vec<u8>) {
    write_address(outside.at.ip(), to);
    to.extend(outside.at.port().to_be_bytes());
    match outside.lease {
        StoredLease::Own => to.push(OWN),
        StoredLease::Shared { port, group, range } => {
            to.push(SHARED);
            to.extend(port.to_be_bytes());
            to.extend(group.0.to_be_bytes());
            to.extend(range.to_be_bytes());
        }
    }
}

fn write_address(address: IpAddr, to: &mut Vec<u8>) {
    match address {
        IpAddr::V4(address) => {
            to.push(4);
            to.extend(address.octets());
        }
        IpAddr::V6(address) => {
            to.push(6);
            to.extend(address.octets());
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn octet(&mut self) -> Option<u8> {
        self.take::<1>().map(|[octet]| octet)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Option<u64> {
        self.take().map(u64::from_be_bytes)
    }

    fn frame(&mut self) -> Option<Frame> {
        let (kind, prid) = (self.octet()?, Prid(self.u32()?));
        match kind {
            FORGET => Some(Frame { prid, rule: None }),
            PUT => {
                let (group, owner) = (Gid(self.u32()?), AgentId(self.u32()?));
                let (deadline, written) = (self.u64()?, self.u64()?);
                let action = self.action()?;
                let rule = StoredRule { prid, group, owner, action, deadline: machine::Instant::ZERO };
                Some(Frame { prid, rule: Some((rule, deadline, written)) })
            }
            _ => None,
        }
    }

    fn action(&mut self) -> Option<StoredAction> {
        Some(match self.octet()? {
            kind @ (RESERVE | RESERVE_OUTSIDE) => StoredAction::Reserve {
                protocol: Protocol::from_number(self.octet()?),
                ports: self.u16()?,
                outside: self.outside_if(kind == RESERVE_OUTSIDE)?,
            },
            kind @ (ENABLE | ENABLE_OUTSIDE) => StoredAction::Enable {
                parity: match self.octet()? {
                    0 => Parity::Any,
                    3 => Parity::Same,
                    _ => return None,
                },
                direction: match self.octet()? {
                    1 => Direction::Inbound,
                    2 => Direction::Outbound,
                    3 => Direction::Bidirectional,
                    _ => return None,
                },
                internal: self.tuple()?,
                external: self.tuple()?,
                outside: self.outside_if(kind == ENABLE_OUTSIDE)?,
            },
            DISABLE => StoredAction::Disable { internal: self.tuple()?, external: self.tuple()? },
            _ => return None,
        })
    }

    fn tuple(&mut self) -> Option<Tuple> {
        let (protocol, prefix) = (Protocol::from_number(self.octet()?), self.octet()?);
        let (port, range) = (self.u16()?, self.u16()?);
        Some(Tuple { network: IpNet::new(self.address()?, prefix).ok()?, protocol, port, range })
    }

    fn address(&mut self) -> Option<IpAddr> {
        Some(match self.octet()? {
            4 => Ipv4Addr::from(self.take::<4>()?).into(),
            6 => Ipv6Addr::from(self.take::<16>()?).into(),
            _ => return None,
        })
    }

    /// The inner `None`: there is none to be read.
    fn outside_if(&mut self, there: bool) -> Option<Option<StoredOutside>> {
        if !there {
            return Some(None);
        }
        let at = SocketAddr::new(self.address()?, self.u16()?);
        let lease = match self.octet()? {
            OWN => StoredLease::Own,
            SHARED => StoredLease::Shared { port: self.u16()?, group: Gid(self.u32()?), range: self.u16()? },
            _ => return None,
        };
        Some(Some(StoredOutside { at, lease }))
    }
}

/// CRC-32 as in IEEE 802.3.
fn crc(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = table();
    let step = |sum: u32, byte: &u8| {
        let place = usize::from((sum as u8) ^ byte);
        TABLE[place] ^ (sum >> 8)
    };
    !bytes.iter().fold(u32::MAX, step)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut place = 0;
    while place < 256 {
        let (mut sum, mut bit) = (place as u32, 0);
        while bit < 8 {
            sum = if sum & 1 == 1 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 };
            bit += 1;
        }
        table[place] = sum;
        place += 1;
    }
    table
}

#[cfg(test)]
#[test]
fn the_checksum_is_the_usual_one() {
    assert_eq!(crc(b"123456789"), 0xcbf4_3926);
}
