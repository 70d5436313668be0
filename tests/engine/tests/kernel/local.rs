//! Media of phones on the firewall itself: what comes to this host, and what it sends.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use engine_contract::{AGENT, Bench, OUTSIDE, Place, realms};
use libtest_mimic::Failed;
use midcom::{Direction, Lifetime, Protocol, Tuple};
use middlebox::{AgentPolicy, Authority, Opening, Operation, Permit, Policy, Realms, Rights};
use netns::again;
use nftables::{Features, GateConfig};

use crate::firewall::Kernel;
use crate::network::{SENTINEL, on_one_processor};

const NEAR: u16 = 20000;
const FAR: u16 = 17000;
const ROUND: u32 = 10;
const LINE: &str = "ct state untracked meta mark & 0x01000000 == 0x01000000 accept";

/// The firewall's own addresses towards the outside.
fn own(v4: bool) -> IpAddr {
    if v4 { [198, 51, 100, 1].into() } else { [0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 1].into() }
}

/// They are all there is inside.
fn world() -> Realms {
    let mut realms = realms().realms().to_vec();
    realms[0].networks = [true, false].map(|v4| own(v4).into()).to_vec();
    realms[1].networks.clear();
    Realms::new(realms).expect("two addresses and everybody else")
}

/// Both ends of a call.
struct Ends {
    near: UdpSocket,
    far: UdpSocket,
    bells: [UdpSocket; 2],
}

impl Ends {
    fn open(kernel: &Kernel, v4: bool) -> io::Result<Self> {
        let far: IpAddr = if v4 { OUTSIDE.v4.into() } else { OUTSIDE.v6.into() };
        let bind = |host: &netns::Host, address, port| {
            let socket = host.run(|| UdpSocket::bind((address, port)))?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        let (here, there) = (&kernel.network.firewall, kernel.network.host(Place::Outside));
        let bells = [bind(here, own(v4), SENTINEL)?, bind(there, far, SENTINEL)?];
        for bell in &bells {
            bell.set_nonblocking(false)?;
            bell.set_read_timeout(Some(Duration::from_secs(10)))?;
        }
        Ok(Self { near: bind(here, own(v4), NEAR)?, far: bind(there, far, FAR)?, bells })
    }

    /// How many of ten packets each way arrive: at this host, at the other.
    fn exchange(&self) -> io::Result<(u32, u32)> {
        let ways = [
            (&self.far, &self.near, &self.bells[1], &self.bells[0]),
            (&self.near, &self.far, &self.bells[0], &self.bells[1]),
        ];
        let mut counts = [0; 2];
        for ((from, to, ringer, bell), count) in ways.into_iter().zip(&mut counts) {
            std::thread::scope(|scope| {
                let fire = || {
                    on_one_processor()?;
                    for _ in 0..ROUND {
                        // The gate's drop at output is told to the sender.
                        let _ = from.send_to(b"media", to.local_addr()?);
                    }
                    ringer.send_to(b"bell", bell.local_addr()?).map(drop)
                };
                scope.spawn(fire).join().expect("no panic")
            })?;
            again(|| bell.recv(&mut [0; 8]))?;
            while to.recv(&mut [0; 8]).is_ok() {
                *count += 1;
            }
        }
        Ok((counts[0], counts[1]))
    }

    fn permits(&self, inward: bool) -> Result<Vec<Permit>, Failed> {
        let tuple = |address: SocketAddr| Tuple::host(address, Protocol::Udp, 1);
        let any = |address: SocketAddr| Tuple::host(SocketAddr::new(address.ip(), 0), Protocol::Udp, 1);
        let (near, far) = (self.near.local_addr()?, self.far.local_addr()?);
        let opening = match inward {
            true => Opening { direction: Direction::Inbound, internal: tuple(near), external: any(far) },
            false => Opening { direction: Direction::Outbound, internal: any(near), external: tuple(far) },
        };
        let agent = AgentPolicy {
            name: "local".into(),
            internal: vec![near.ip().into()],
            ports: 1..=65535,
            rules_max: u32::MAX,
            lifetime_max: Lifetime(u32::MAX),
            rights: Rights::default(),
        };
        let policy = Policy { agents: BTreeMap::from([(AGENT, agent)]), ..Policy::default() };
        let authority = Authority::new(world(), policy, true);
        Ok(authority.permit(AGENT, &opening).map_err(|failure| failure.to_string())?)
    }
}

/// A PBX on the firewall: nothing before, everything between, nothing after, in both directions, although connections
/// are known and the host may send what it likes.
pub(crate) fn local_media() -> Result<(), Failed> {
    let mut kernel = Kernel::with(GateConfig { local: true, ..GateConfig::new(world()) }, Features::ALL)?;
    kernel.nft(&format!(
        "insert rule inet filter input udp dport {SENTINEL} accept
         add chain inet filter output {{ type filter hook output priority 0; policy drop; }}
         add rule inet filter output udp dport {{ {SENTINEL}, 53 }} accept
         add rule inet filter output ct state established,related accept
         add rule inet filter output meta l4proto ipv6-icmp accept"
    ))?;
    for v4 in [true, false] {
        let ends = Ends::open(&kernel, v4)?;
        assert_eq!(ends.exchange()?, (0, 0), "nothing is open");
        let (inward, outward) = (ends.permits(true)?, ends.permits(false)?);
        change(&mut kernel, &[&inward, &outward], true);
        if v4 {
            assert_eq!(ends.exchange()?, (0, 0), "the lines are missing");
            kernel.nft(&format!(
                "insert rule inet filter input {LINE}; insert rule inet filter output {LINE}"
            ))?;
        }
        assert_eq!(ends.exchange()?, (ROUND, ROUND), "both are open");
        change(&mut kernel, &[&outward], false);
        assert_eq!(ends.exchange()?, (ROUND, 0), "what it sends is closed");
        change(&mut kernel, &[&inward], false);
        change(&mut kernel, &[&outward], true);
        assert_eq!(ends.exchange()?, (0, ROUND), "what comes is closed");
        change(&mut kernel, &[&outward], false);
        // Known to connection tracking from here on, if anything got so far.
        kernel.nft("insert rule inet filter output udp dport 17000 accept")?;
        assert_eq!(ends.exchange()?, (0, 0), "all is closed");
        kernel.nft("flush chain inet filter output")?;
        kernel.nft(&format!(
            "add rule inet filter output udp dport {{ {SENTINEL}, 53 }} accept
             add rule inet filter output ct state established,related accept
             add rule inet filter output meta l4proto ipv6-icmp accept
             insert rule inet filter output {LINE}"
        ))?;
    }
    Ok(())
}

fn change(kernel: &mut Kernel, permits: &[&Vec<Permit>], open: bool) {
    let lifetime = Duration::from_secs(300);
    let operation = |permit: &Permit| match open {
        true => Operation::Add { permit: permit.clone(), lifetime },
        false => Operation::Remove { key: permit.key() },
    };
    let operations: Vec<_> = permits.iter().flat_map(|some| some.iter()).map(operation).collect();
    assert!(kernel.engine().apply(&operations).iter().all(Result::is_ok));
}
