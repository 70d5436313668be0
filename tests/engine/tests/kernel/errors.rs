//! ICMP errors, real ones and forged ones: RFC 792, RFC 4443.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;

use engine_contract::{Bench, Host, INSIDE, INSIDE_OTHER, OUTSIDE, OUTSIDE_OTHER, Shot, THIRD};
use libtest_mimic::Failed;
use middlebox::Operation;
use netns::again;
use nftables::{Features, GateConfig};
use nix::sys::socket::{MsgFlags, SockProtocol, recv};

use crate::firewall::Kernel;
use crate::network::{Network, PATIENCE, SENTINEL, SHOTS, octets, on_one_processor, raw, send_raw};
use crate::promises::{add, permit, shot};

const FAR: u16 = 17000;
const NEAR: u16 = 20000;
/// How many errors are sent at a time.
const ROUND: u32 = 10;
/// An administrator who has nothing to do with connection tracking, and who lets no error out by himself.
const WITHOUT_TRACKING: &str = "flush chain inet filter forward
    add rule inet filter forward udp dport 7 accept
    add rule inet filter forward meta mark & 0x01000000 == 0x01000000 accept";
/// One who lets everything out but errors.
const NO_ERRORS_OUT: &str =
    "insert rule inet filter forward meta l4proto { icmp, ipv6-icmp } ct state != untracked drop";

/// An error about a packet that was sent.
#[derive(Debug, Clone, Copy)]
struct Report {
    /// Who reports it.
    by: Host,
    /// To whom.
    to: IpAddr,
    /// Type and code.
    kind: (u8, u8),
    /// The packet.
    about: Shot,
    /// The protocol that the quoted packet says.
    protocol: u8,
}

/// Nobody listens at the other end of an entry: whoever sends is told so by the host itself. Closed, it hears nothing.
pub(crate) fn closed_port() -> Result<(), Failed> {
    for rules in ["", WITHOUT_TRACKING] {
        let mut kernel = Kernel::new(Features::ALL)?;
        kernel.nft(NO_ERRORS_OUT)?;
        kernel.nft(rules)?;
        for v4 in [true, false] {
            for shot in [shot(v4, (OUTSIDE, FAR), (INSIDE, NEAR)), shot(v4, (INSIDE, NEAR), (OUTSIDE, FAR))] {
                assert!(!told(&kernel.network, shot)?, "nothing is open");
                assert_eq!(kernel.engine().apply(&[add(shot)]), [Ok(())]);
                assert!(told(&kernel.network, shot)?, "it is open: {shot:?}");
                assert_eq!(kernel.engine().apply(&[Operation::Remove { key: permit(shot).key() }]), [Ok(())]);
                assert!(!told(&kernel.network, shot)?, "it is closed");
            }
        }
    }
    Ok(())
}

/// Whether the sender of a packet hears that nobody listens. Whatever it is told comes before what is sent behind.
fn told(network: &Network, shot: Shot) -> io::Result<bool> {
    let (here, there) = (network.home(shot.source.ip()), network.home(shot.destination.ip()));
    there.sysctl("net/ipv4/icmp_ratelimit", "0")?;
    there.sysctl("net/ipv6/icmp/ratelimit", "0")?;
    let bell = |host: &netns::Host, address: IpAddr| {
        let bell = host.run(|| UdpSocket::bind((address, SENTINEL)))?;
        bell.set_read_timeout(Some(PATIENCE))?;
        Ok::<_, io::Error>(bell)
    };
    let bells = [bell(here, shot.source.ip())?, bell(there, shot.destination.ip())?];
    let sender = here.run(|| UdpSocket::bind(shot.source))?;
    sender.connect(shot.destination)?;
    let ring = |host: &netns::Host, from: &UdpSocket, to: &UdpSocket| {
        host.run(|| {
            on_one_processor()?;
            from.send_to(b"bell", to.local_addr()?).map(drop)
        })?;
        again(|| to.recv(&mut [0; 8])).map(drop)
    };
    here.run(|| {
        on_one_processor()?;
        sender.send(b"x").map(drop)
    })?;
    ring(here, &bells[0], &bells[1])?;
    ring(there, &bells[1], &bells[0])?;
    Ok(sender.take_error()?.is_some_and(|error| error.kind() == ErrorKind::ConnectionRefused))
}

/// Whatever is forged about a packet that passed: only what says exactly who sent it to whom and comes from where it may
/// come from reaches its sender, while the entry is there.
pub(crate) fn no_others() -> Result<(), Failed> {
    for rules in ["", WITHOUT_TRACKING] {
        let mut kernel = Kernel::new(Features::ALL)?;
        kernel.nft(rules)?;
        for v4 in [true, false] {
            let passed = shot(v4, (INSIDE, NEAR), (OUTSIDE, FAR));
            let kinds: &[(u8, u8)] =
                if v4 { &[(3, 4), (3, 3), (11, 0), (12, 0)] } else { &[(1, 4), (2, 0), (3, 0), (4, 0)] };
            let whole =
                Report { by: OUTSIDE, to: passed.source.ip(), kind: kinds[0], about: passed, protocol: 17 };
            assert_eq!(report(&kernel.network, whole)?, 0, "nothing is open");
            assert_eq!(kernel.engine().apply(&[add(passed)]), [Ok(())]);
            for kind in kinds {
                for by in [OUTSIDE, OUTSIDE_OTHER] {
                    assert_eq!(
                        report(&kernel.network, Report { by, kind: *kind, ..whole })?,
                        ROUND,
                        "{kind:?}"
                    );
                }
            }
            for other in others(v4, whole) {
                assert_eq!(report(&kernel.network, other)?, 0, "{other:?}");
            }
            assert_eq!(kernel.engine().apply(&[Operation::Remove { key: permit(passed).key() }]), [Ok(())]);
            assert_eq!(report(&kernel.network, whole)?, 0, "it is closed");
        }
    }
    observed_errors_are_the_administrators()
}

/// What must not pass.
fn others(v4: bool, whole: Report) -> Vec<Report> {
    let about = |from, to| Report { about: shot(v4, from, to), ..whole };
    let other = if v4 { IpAddr::from(INSIDE_OTHER.v4) } else { INSIDE_OTHER.v6.into() };
    let echo = if v4 { (8, 0) } else { (128, 0) };
    let redirect = if v4 { (5, 0) } else { (137, 0) };
    vec![
        about((INSIDE, NEAR), (OUTSIDE, FAR + 1)),
        about((INSIDE, NEAR), (OUTSIDE_OTHER, FAR)),
        about((INSIDE_OTHER, NEAR), (OUTSIDE, FAR)),
        about((OUTSIDE, FAR), (INSIDE, NEAR)),
        Report { to: other, ..whole },
        Report { protocol: 6, ..whole },
        Report { by: THIRD, ..whole },
        Report { kind: echo, ..whole },
        Report { kind: redirect, ..whole },
    ]
}

/// A gate that only looks leaves errors alone, as everything else.
fn observed_errors_are_the_administrators() -> Result<(), Failed> {
    let config = GateConfig { mode: nftables::Mode::Observe, ..GateConfig::new(engine_contract::realms()) };
    let mut kernel = Kernel::with(config, Features::ALL)?;
    let about = shot(true, (INSIDE, NEAR), (OUTSIDE, FAR));
    assert_eq!(kernel.engine().apply(&[add(about)]), [Ok(())]);
    let whole = Report { by: OUTSIDE, to: about.source.ip(), kind: (3, 3), about, protocol: 17 };
    assert_eq!(report(&kernel.network, whole)?, 0);
    Ok(())
}

/// Sends a report some times and says how many of them reached the host they are for.
fn report(network: &Network, report: Report) -> io::Result<u32> {
    let id = SHOTS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let v4 = report.to.is_ipv4();
    let protocol = if v4 { SockProtocol::Icmp } else { SockProtocol::IcmpV6 };
    let own: IpAddr = if v4 { report.by.v4.into() } else { report.by.v6.into() };
    let home = network.home(report.to);
    let receiver = home.run(|| raw(report.to, protocol))?;
    let bell = home.run(|| UdpSocket::bind((report.to, SENTINEL)))?;
    bell.set_read_timeout(Some(PATIENCE))?;
    network.host(report.by.place).run(|| {
        on_one_processor()?;
        send_raw(&raw(own, protocol)?, report.to, &message(report, id), ROUND)?;
        UdpSocket::bind((own, SENTINEL))?.send_to(&id, (report.to, SENTINEL)).map(drop)
    })?;
    let mut rung = [0; 8];
    while rung != id {
        again(|| bell.recv(&mut rung))?;
    }
    let (mut buffer, mut count) = ([0; 4096], 0);
    loop {
        match recv(receiver.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT) {
            // Either way 56 octets are before it: a raw IPv4 socket gives the header too.
            Ok(length) => count += u32::from(buffer[..length].get(56..64) == Some(&id[..])),
            Err(nix::errno::Errno::EAGAIN) => return Ok(count),
            Err(error) => return Err(error.into()),
        }
    }
}

/// The error with the head of the packet that it is about.
fn message(report: Report, id: [u8; 8]) -> Vec<u8> {
    let Shot { source, destination, .. } = report.about;
    // The next router takes 1,280 octets, where that is what is said.
    let mut message = vec![report.kind.0, report.kind.1, 0, 0, 0, 0, 5, 0];
    match source {
        SocketAddr::V4(_) => {
            message.extend([0x45, 0, 0, 200, 0, 1, 0, 0, 63, report.protocol, 0, 0]);
        }
        SocketAddr::V6(_) => message.extend([0x60, 0, 0, 0, 0, 180, report.protocol, 63]),
    }
    message.extend(octets(source.ip()));
    message.extend(octets(destination.ip()));
    message.extend(source.port().to_be_bytes());
    message.extend(destination.port().to_be_bytes());
    message.extend([0, 180, 0, 0]);
    message.extend(id);
    if report.to.is_ipv4() {
        // ICMPv6's covers the addresses; the kernel computes it.
        let sum: u32 = message.chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        let folded = (sum & 0xffff) + (sum >> 16);
        let checksum = !u16::try_from((folded & 0xffff) + (folded >> 16)).unwrap_or(0);
        message[2..4].copy_from_slice(&checksum.to_be_bytes());
    }
    message
}
