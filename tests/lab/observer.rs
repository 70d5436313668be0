//! What the kernel of a phone's host sees on its cable, in order: the SIP messages and each media packet, sent and heard.
//!
//! Nothing of ours is asked, and neither is the phone: a packet counts when it has crossed the cable.

use std::cell::{Ref, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};

use netns::Host;
use nix::errno::Errno;
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce};
use nix::sys::socket::{
    AddressFamily, LinkAddr, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, recvfrom,
    sendto, setsockopt, socket,
};

/// Room for packets that nobody has looked at yet.
const BUFFER: usize = 16 << 20;
/// `PACKET_HOST` and `PACKET_OUTGOING` of `packet(7)`.
const TO_US: u8 = 0;
const FROM_US: u8 = 4;
/// Protocol numbers (IANA).
const TCP: u8 = 6;
const UDP: u8 = 17;
/// The first interface of every network namespace.
const LOOPBACK: usize = 1;
/// RTCP packet types (RFC 3550 §12.1) where RTP has marker bit and payload type.
const RTCP: std::ops::RangeInclusive<u8> = 200..=207;

/// Which way a packet crossed the cable, seen from the phone's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Sent,
    Heard,
}

/// What makes one RTP packet different from all others: stream and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Number {
    pub(crate) ssrc: u32,
    pub(crate) sequence: u16,
    pub(crate) timestamp: u32,
}

/// What a packet carries.
#[derive(Debug, Clone)]
pub(crate) enum Load {
    Sip(String),
    Rtp(Number),
    /// RTCP, a knock, or anything else in UDP.
    Other(Vec<u8>),
    /// The first packet of a TCP connection.
    Syn,
}

/// One packet on the cable.
#[derive(Debug, Clone)]
pub(crate) struct Packet {
    pub(crate) way: Way,
    pub(crate) from: SocketAddrV4,
    pub(crate) to: SocketAddrV4,
    pub(crate) load: Load,
}

impl Packet {
    /// The SIP message in it.
    pub(crate) fn sip(&self) -> Option<&str> {
        match &self.load {
            Load::Sip(text) => Some(text),
            Load::Rtp(_) | Load::Other(_) | Load::Syn => None,
        }
    }

    /// The RTP packet in it.
    pub(crate) fn rtp(&self) -> Option<Number> {
        match &self.load {
            Load::Rtp(number) => Some(*number),
            Load::Sip(_) | Load::Other(_) | Load::Syn => None,
        }
    }
}

/// Listens on a host's cable.
#[derive(Debug)]
pub(crate) struct Observer {
    host: Host,
    cable: OwnedFd,
    seen: RefCell<Vec<Packet>>,
}

impl Observer {
    pub(crate) fn on(host: &Host) -> io::Result<Self> {
        let cable = host.run(|| {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            Ok(socket(AddressFamily::Packet, SockType::Datagram, flags, SockProtocol::EthAll)?)
        })?;
        // Only real root may go beyond the system's limit.
        setsockopt(&cable, RcvBufForce, &BUFFER).or_else(|_| setsockopt(&cable, RcvBuf, &BUFFER))?;
        Ok(Self { host: host.clone(), cable, seen: RefCell::default() })
    }

    /// Everything seen so far.
    pub(crate) fn seen(&self) -> io::Result<Ref<'_, Vec<Packet>>> {
        let mut buffer = [0; 65_535];
        loop {
            match recvfrom::<LinkAddr>(self.cable.as_raw_fd(), &mut buffer) {
                Ok((length, Some(link))) if link.ifindex() != LOOPBACK => {
                    let packet = packet(link.pkttype(), &buffer[..length]);
                    self.seen.borrow_mut().extend(packet);
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(self.seen.borrow()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// How many packets are of this kind.
    pub(crate) fn count(&self, is_it: impl Fn(&Packet) -> bool) -> io::Result<usize> {
        Ok(self.seen()?.iter().filter(|packet| is_it(packet)).count())
    }

    /// RTP packets heard.
    pub(crate) fn heard(&self) -> io::Result<usize> {
        self.count(|packet| packet.way == Way::Heard && packet.rtp().is_some())
    }

    /// Sends a packet with these octets as if it came from one of the host's sockets, whoever has that open.
    pub(crate) fn send_as(&self, from: SocketAddrV4, to: SocketAddrV4, octets: &[u8]) -> io::Result<()> {
        let length = u16::try_from(8 + octets.len()).map_err(io::Error::other)?;
        let mut datagram = Vec::with_capacity(length.into());
        datagram.extend(from.port().to_be_bytes());
        datagram.extend(to.port().to_be_bytes());
        datagram.extend(length.to_be_bytes());
        // No checksum (RFC 768).
        datagram.extend([0, 0]);
        datagram.extend(octets);
        self.host.run(|| {
            let fd = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Udp)?;
            let address = |ip: &Ipv4Addr| SockaddrStorage::from(SocketAddr::new((*ip).into(), 0));
            bind(fd.as_raw_fd(), &address(from.ip()))?;
            sendto(fd.as_raw_fd(), &datagram, &address(to.ip()), MsgFlags::empty())?;
            Ok(())
        })
    }
}

/// The UDP packet in an IPv4 packet, or the SYN, unless it is for this host's own ears. A later fragment is none.
fn packet(kind: u8, ip: &[u8]) -> Option<Packet> {
    let way = match kind {
        TO_US => Way::Heard,
        FROM_US => Way::Sent,
        _ => return None,
    };
    let header = usize::from(ip.first()? & 0xf) * 4;
    let protocol = if ip.first()? >> 4 == 4 { *ip.get(9)? } else { return None };
    // RFC 9293 §3.1: SYN without ACK.
    let is_syn = protocol == TCP && ip.get(header + 13)? & 0x12 == 0x02;
    let is_first = ip.get(6)? & 0x1f == 0 && *ip.get(7)? == 0;
    let (addresses, udp) = (ip.get(12..20)?, ip.get(header..)?);
    let address =
        |at: usize| Ipv4Addr::new(addresses[at], addresses[at + 1], addresses[at + 2], addresses[at + 3]);
    if !(protocol == UDP || is_syn)
        || !is_first
        || address(0) == address(4)
        || address(0).is_loopback()
        || udp.len() < 8
    {
        return None;
    }
    let from = SocketAddrV4::new(address(0), u16::from_be_bytes([udp[0], udp[1]]));
    let to = SocketAddrV4::new(address(4), u16::from_be_bytes([udp[2], udp[3]]));
    if is_syn {
        return Some(Packet { way, from, to, load: Load::Syn });
    }
    let length = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
    Some(Packet { way, from, to, load: load(from, to, udp.get(8..length).unwrap_or_default()) })
}

fn load(from: SocketAddrV4, to: SocketAddrV4, octets: &[u8]) -> Load {
    if from.port() == 5060 || to.port() == 5060 {
        return Load::Sip(String::from_utf8_lossy(octets).into_owned());
    }
    match octets {
        // RFC 3550 §5.1: version 2, payload type, sequence number, timestamp, SSRC.
        [first, second, s0, s1, t0, t1, t2, t3, i0, i1, i2, i3, ..]
            if first >> 6 == 2 && !RTCP.contains(second) =>
        {
            Load::Rtp(Number {
                ssrc: u32::from_be_bytes([*i0, *i1, *i2, *i3]),
                sequence: u16::from_be_bytes([*s0, *s1]),
                timestamp: u32::from_be_bytes([*t0, *t1, *t2, *t3]),
            })
        }
        _ => Load::Other(octets.to_vec()),
    }
}
