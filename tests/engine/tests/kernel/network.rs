//! Five private hosts: a firewall with four networks, and a machine (with one or two addresses) in each.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use engine_contract::{INSIDE, INSIDE_OTHER, OUTSIDE, OUTSIDE_OTHER, Place, Shot, THIRD};
use middlebox::Transport;
use netns::{Host, again};
use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, recv, sendto, socket,
};
use nix::unistd::Pid;

/// The administrator lets everybody reach this port everywhere: what was sent before a packet to it, on the same way,
/// has arrived when it arrives. So no clock decides a test.
pub(crate) const SENTINEL: u16 = 7;

/// Only a broken test waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) static SHOTS: AtomicU64 = AtomicU64::new(1);

/// The hosts and their cables.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) firewall: Host,
    inside: Host,
    outside: Host,
    third: Host,
    impostor: Host,
}

/// Lives beside [`THIRD`] and says that it is the phone outside.
const IMPOSTOR: engine_contract::Host = engine_contract::Host {
    place: Place::Third,
    v4: Ipv4Addr::new(203, 0, 113, 66),
    v6: Ipv6Addr::new(0x2001, 0xdb8, 0x66, 0, 0, 0, 0, 0x66),
};

impl Network {
    pub(crate) fn new() -> io::Result<Self> {
        let network = Self {
            firewall: Host::new("firewall")?,
            inside: Host::new("inside")?,
            outside: Host::new("outside")?,
            third: Host::new("third")?,
            impostor: Host::new("impostor")?,
        };
        let firewall = &network.firewall;
        // An address under test for duplicates sends no neighbour solicitations for a second or two.
        for host in [firewall, &network.inside, &network.outside, &network.third, &network.impostor] {
            host.sysctl("net/ipv6/conf/default/accept_dad", "0")?;
            host.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
            host.sysctl("net/ipv4/conf/default/rp_filter", "0")?;
        }
        network.connect(&network.inside, "inside0", &[INSIDE, INSIDE_OTHER])?;
        network.connect(&network.outside, "outside0", &[OUTSIDE, OUTSIDE_OTHER])?;
        network.connect(&network.third, "third0", &[THIRD])?;
        network.connect(&network.impostor, "fourth0", &[IMPOSTOR])?;
        network.impostor.address("lo", IpAddr::from(OUTSIDE.v4).into())?;
        network.impostor.address("lo", IpAddr::from(OUTSIDE.v6).into())?;
        firewall.forward()?;
        Ok(network)
    }

    fn connect(&self, host: &Host, name: &str, phones: &[engine_contract::Host]) -> io::Result<()> {
        self.firewall.cable(name, host, "eth0")?;
        for phone in phones {
            host.address("eth0", net(phone.v4.into())?)?;
            host.address("eth0", net(phone.v6.into())?)?;
        }
        for address in [IpAddr::from(phones[0].v4), IpAddr::from(phones[0].v6)] {
            let gateway = gateway(address);
            self.firewall.address(name, net(gateway)?)?;
            let everybody = if address.is_ipv4() { "0.0.0.0/0" } else { "::/0" };
            host.route(everybody.parse().map_err(io::Error::other)?, gateway)?;
        }
        Ok(())
    }

    pub(crate) fn host(&self, place: Place) -> &Host {
        match place {
            Place::Inside => &self.inside,
            Place::Outside => &self.outside,
            Place::Third => &self.third,
        }
    }

    /// The host that has this address.
    pub(crate) fn home(&self, address: IpAddr) -> &Host {
        self.host(place_of(address))
    }

    /// Sends `count` packets and says how many arrived where the address lives that they are to arrive with.
    pub(crate) fn send(&self, shot: Shot, count: u32, length: usize) -> io::Result<u32> {
        self.send_with(shot, |id| fire(shot, count, length, id))
    }

    /// The same over UDP, from a sender that computes no checksum.
    pub(crate) fn send_without_checksum(&self, shot: Shot, count: u32, length: usize) -> io::Result<u32> {
        self.send_with(shot, |id| {
            let socket = raw(shot.source.ip(), SockProtocol::Udp)?;
            let mut datagram = Vec::with_capacity(length);
            let whole = u16::try_from(length + 8).map_err(io::Error::other)?;
            for field in [shot.source.port(), shot.destination.port(), whole, 0] {
                datagram.extend(field.to_be_bytes());
            }
            datagram.extend(id);
            datagram.resize(usize::from(whole), b'x');
            send_raw(&socket, shot.destination.ip(), &datagram, count)
        })
    }

    fn send_with(&self, shot: Shot, fire: impl FnOnce([u8; 8]) -> io::Result<()> + Send) -> io::Result<u32> {
        let id = SHOTS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let (seen_from, arrival) = shot.arrives;
        let home = self.home(arrival.ip());
        let receiver = home.run(|| Receiver::open(shot.transport, arrival))?;
        let bell = home.run(|| UdpSocket::bind((arrival.ip(), SENTINEL)))?;
        bell.set_read_timeout(Some(PATIENCE))?;
        let lies = shot.from == Place::Third && place_of(shot.source.ip()) != Place::Third;
        let (sender, itself) = match (lies, shot.from) {
            (true, _) => (&self.impostor, IMPOSTOR),
            (false, Place::Inside) => (&self.inside, INSIDE),
            (false, Place::Outside) => (&self.outside, OUTSIDE),
            (false, Place::Third) => (&self.third, THIRD),
        };
        let honest: IpAddr = if shot.destination.is_ipv4() { itself.v4.into() } else { itself.v6.into() };
        sender.run(|| {
            on_one_processor()?;
            fire(id)?;
            let ringer = UdpSocket::bind((honest, SENTINEL))?;
            ringer.send_to(&id, (arrival.ip(), SENTINEL)).map(drop)
        })?;
        let mut buffer = [0; 8];
        while buffer != id {
            again(|| bell.recv(&mut buffer))?;
        }
        receiver.count(seen_from, arrival, id)
    }
}

/// Packets of one processor stay in order on all queues on their way.
pub(crate) fn on_one_processor() -> io::Result<()> {
    let mut processors = CpuSet::new();
    processors.set(0)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &processors)?)
}

fn place_of(address: IpAddr) -> Place {
    let is = |host: engine_contract::Host| address == host.v4 || address == host.v6;
    match () {
        () if is(INSIDE) || is(INSIDE_OTHER) => Place::Inside,
        () if is(THIRD) => Place::Third,
        () => Place::Outside,
    }
}

fn net(address: IpAddr) -> io::Result<ipnet::IpNet> {
    let length = if address.is_ipv4() { 24 } else { 64 };
    ipnet::IpNet::new(address, length).map_err(io::Error::other)
}

/// The first address of a network is the firewall's.
fn gateway(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, _] = address.octets();
            [a, b, c, 1].into()
        }
        IpAddr::V6(address) => {
            let mut parts = address.segments();
            parts[7] = 1;
            parts.into()
        }
    }
}

fn fire(shot: Shot, count: u32, length: usize, id: [u8; 8]) -> io::Result<()> {
    match shot.transport {
        Transport::Udp => {
            let socket = UdpSocket::bind(shot.source)?;
            let mut datagram = id.to_vec();
            datagram.resize(length.max(8), b'x');
            for _ in 0..count {
                socket.send_to(&datagram, shot.destination)?;
            }
        }
        Transport::Tcp => {
            let socket = raw(shot.source.ip(), SockProtocol::Tcp)?;
            send_raw(&socket, shot.destination.ip(), &segment(shot, id), count)?;
        }
    }
    Ok(())
}

pub(crate) fn send_raw(socket: &OwnedFd, to: IpAddr, packet: &[u8], count: u32) -> io::Result<()> {
    let to = SockaddrStorage::from(SocketAddr::new(to, 0));
    for _ in 0..count {
        sendto(socket.as_raw_fd(), packet, &to, MsgFlags::empty())?;
    }
    Ok(())
}

/// A raw socket bound to an address.
pub(crate) fn raw(address: IpAddr, protocol: SockProtocol) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(address, 0)))?;
    Ok(fd)
}

/// A TCP header without options whose sequence and acknowledgement numbers are the shot's number.
fn segment(shot: Shot, id: [u8; 8]) -> Vec<u8> {
    let mut segment = Vec::with_capacity(20);
    segment.extend(shot.source.port().to_be_bytes());
    segment.extend(shot.destination.port().to_be_bytes());
    segment.extend(id);
    segment.extend([0x50, if shot.opens { 0x02 } else { 0x10 }, 0xff, 0xff, 0, 0, 0, 0]);
    let mut pseudo = octets(shot.source.ip());
    pseudo.extend(octets(shot.destination.ip()));
    pseudo.extend([0, 6, 0, 20]);
    pseudo.extend(&segment);
    let sum = pseudo.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u32>();
    let folded = (sum & 0xffff) + (sum >> 16);
    let folded = (folded & 0xffff) + (folded >> 16);
    let checksum = !u16::try_from(folded).unwrap_or(0);
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
    segment
}

pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

enum Receiver {
    Udp(UdpSocket),
    Tcp(OwnedFd),
}

impl Receiver {
    fn open(transport: Transport, at: SocketAddr) -> io::Result<Self> {
        Ok(match transport {
            Transport::Udp => Self::Udp(UdpSocket::bind(at)?),
            Transport::Tcp => Self::Tcp(raw(at.ip(), SockProtocol::Tcp)?),
        })
    }

    /// How many packets of a shot are there. All of them must say the same sender.
    fn count(&self, from: SocketAddr, at: SocketAddr, id: [u8; 8]) -> io::Result<u32> {
        let mut buffer = [0; 4096];
        let mut count = 0;
        loop {
            let received = match self {
                Self::Udp(socket) => {
                    socket.set_nonblocking(true)?;
                    socket.recv_from(&mut buffer)
                }
                Self::Tcp(fd) => recv(fd.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)
                    .map(|length| (length, from))
                    .map_err(Into::into),
            };
            let (length, sender) = match received {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(count),
                Err(error) => return Err(error),
            };
            // A raw IPv4 socket gives the IP header too; TCP has the number behind its ports.
            let start = match (self, at) {
                (Self::Udp(_), _) => 0,
                (Self::Tcp(_), SocketAddr::V4(_)) => 24,
                (Self::Tcp(_), SocketAddr::V6(_)) => 4,
            };
            if buffer[..length].get(start..start + 8) == Some(&id[..]) {
                assert_eq!(sender, from, "a packet says another sender than it should");
                count += 1;
            }
        }
    }
}
