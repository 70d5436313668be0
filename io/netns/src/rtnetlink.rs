//! The few `rtnetlink(7)` messages that build a network.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use ipnet::IpNet;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket,
};

use crate::again;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLMSG_ERROR: u16 = 2;
const RTM_NEWLINK: u16 = 16;
const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_F_NODAD: u8 = 2;
const RTA_DST: u16 = 1;
const RTA_GATEWAY: u16 = 5;
const IFF_UP: u32 = 1;

/// A connection to the kernel's network configuration, in the namespace of the thread that opened it.
pub(crate) struct Route {
    socket: OwnedFd,
}

impl Route {
    pub(crate) fn open() -> io::Result<Self> {
        let socket = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkRoute,
        )?;
        Ok(Self { socket })
    }

    /// Makes a veth pair whose other end, `there`, lies in another namespace.
    pub(crate) fn cable(&mut self, here: &str, there: &str, other: BorrowedFd<'_>) -> io::Result<()> {
        let mut message = Message::new(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
        message.bytes(&[0; 16]);
        message.text(IFLA_IFNAME, here);
        message.nest(IFLA_LINKINFO, |info| {
            info.text(IFLA_INFO_KIND, "veth");
            info.nest(IFLA_INFO_DATA, |data| {
                data.nest(VETH_INFO_PEER, |peer| {
                    peer.bytes(&[0; 16]);
                    peer.text(IFLA_IFNAME, there);
                    peer.attribute(IFLA_NET_NS_FD, &other.as_raw_fd().to_ne_bytes());
                });
            });
        });
        self.ask(message)
    }

    pub(crate) fn up(&mut self, interface: &str) -> io::Result<()> {
        let index = if_nametoindex(interface)?;
        let mut message = Message::new(RTM_NEWLINK, 0);
        message.bytes(&[0; 4]);
        message.bytes(&index.to_ne_bytes());
        message.bytes(&IFF_UP.to_ne_bytes());
        message.bytes(&IFF_UP.to_ne_bytes());
        self.ask(message)
    }

    pub(crate) fn address(&mut self, interface: &str, address: IpNet) -> io::Result<()> {
        let index = if_nametoindex(interface)?;
        let mut message = Message::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
        message.bytes(&[family(address.addr()), address.prefix_len(), IFA_F_NODAD, 0]);
        message.bytes(&index.to_ne_bytes());
        message.address(IFA_LOCAL, address.addr());
        message.address(IFA_ADDRESS, address.addr());
        self.ask(message)
    }

    pub(crate) fn route(&mut self, destination: IpNet, gateway: IpAddr) -> io::Result<()> {
        // rtmsg: family, dst_len, src_len, tos, table main, protocol boot, scope universe, type unicast, flags
        let mut message = Message::new(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
        message.bytes(&[family(gateway), destination.prefix_len(), 0, 0, 254, 3, 0, 1, 0, 0, 0, 0]);
        message.address(RTA_DST, destination.network());
        message.address(RTA_GATEWAY, gateway);
        self.ask(message)
    }

    /// Sends one request and waits for its acknowledgement.
    fn ask(&mut self, message: Message) -> io::Result<()> {
        let bytes = message.finish();
        let (socket, kernel) = (self.socket.as_raw_fd(), NetlinkAddr::new(0, 0));
        again(|| Ok(sendto(socket, &bytes, &kernel, MsgFlags::empty())?))?;
        let mut buffer = [0; 4096];
        let length = again(|| Ok(recv(socket, &mut buffer, MsgFlags::empty())?))?;
        let reply = buffer.get(..length).unwrap_or_default();
        let kind = reply.get(4..6).and_then(|b| b.try_into().ok()).map(u16::from_ne_bytes);
        let errno = reply.get(16..20).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
        match (kind, errno) {
            (Some(NLMSG_ERROR), Some(0)) => Ok(()),
            (Some(NLMSG_ERROR), Some(errno)) => Err(io::Error::from_raw_os_error(-errno)),
            _ => Err(io::Error::other("the kernel did not acknowledge a network change")),
        }
    }
}

fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => 2,
        IpAddr::V6(_) => 10,
    }
}

/// A netlink message while it is written.
struct Message {
    bytes: Vec<u8>,
}

impl Message {
    fn new(kind: u16, flags: u16) -> Self {
        let mut bytes = vec![0; 16];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&(flags | NLM_F_REQUEST | NLM_F_ACK).to_ne_bytes());
        Self { bytes }
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn attribute(&mut self, kind: u16, value: &[u8]) {
        self.nest(kind, |attribute| attribute.bytes(value));
    }

    fn text(&mut self, kind: u16, text: &str) {
        self.nest(kind, |attribute| {
            attribute.bytes(text.as_bytes());
            attribute.bytes(&[0]);
        });
    }

    fn address(&mut self, kind: u16, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.attribute(kind, &address.octets()),
            IpAddr::V6(address) => self.attribute(kind, &address.octets()),
        }
    }

    /// An attribute whose value `fill` writes; padded to four octets, the padding not counted.
    fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        fill(self);
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }

    fn finish(mut self) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        self.bytes[..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes
    }
}
