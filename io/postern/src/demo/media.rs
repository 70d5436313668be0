//! What the demo's phones say and hear: RTP and RTCP from one socket pair each, every packet marked with the phase in
//! which it was sent, so that the other side can count what came through when.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use netns::Host;

/// An RTP packet of 20 ms G.711: 12 octets of header, 160 of sound (RFC 3551 §4.5.14).
const RTP_LEN: usize = 172;
/// The pause between two RTP packets.
const PACKET_TIME: Duration = Duration::from_millis(20);
/// How long a receiver waits before it looks whether the demo is over.
const POLL: Duration = Duration::from_millis(50);
/// The mark of our packets, where RTP has its synchronization source.
const SSRC: [u8; 4] = *b"post";
/// Outside the managed range, and let through by the administrator's own rules: what arrives there tells that everything
/// sent before it has arrived or been dropped.
pub(super) const SENTINEL_PORT: u16 = 7;

/// Where in its life a call was when a packet was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Before the INVITE.
    Before = 0,
    /// While the rules are opened or closed: a packet of this phase may or may not pass.
    Between = 1,
    /// From the moment both phones are in the call until one hangs up.
    During = 2,
    /// After the 200 to BYE.
    After = 3,
}

impl Phase {
    pub(crate) const ALL: [Self; PHASES] = [Self::Before, Self::Between, Self::During, Self::After];
}

const PHASES: usize = 4;

/// Packets by phase.
#[derive(Debug, Default)]
struct Counts([AtomicU64; PHASES]);

impl Counts {
    fn add(&self, phase: u8) {
        if let Some(count) = self.0.get(usize::from(phase)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn of(&self, phase: Phase) -> u64 {
        self.0[phase as usize].load(Ordering::Relaxed)
    }
}

/// What the threads of one phone share.
#[derive(Debug)]
struct Shared {
    phase: AtomicU8,
    talking: AtomicBool,
    over: AtomicBool,
    sent: Counts,
    heard: Counts,
    strays: AtomicU64,
    sentinels: AtomicU64,
}

/// The media side of a phone: it talks to its peer all the time, whether a firewall likes it or not.
pub(crate) struct Media {
    /// Where this phone receives RTP; RTCP is the next port.
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    sentinel: UdpSocket,
    threads: Vec<JoinHandle<()>>,
}

impl Media {
    /// Opens the sockets on `host` and starts to listen. It talks once [`Media::talk`] is called.
    ///
    /// # Errors
    /// The kernel's refusal to open a socket.
    pub(crate) fn new(
        host: &Host,
        address: SocketAddr,
        peer: SocketAddr,
        stranger: Option<IpAddr>,
    ) -> io::Result<Self> {
        let shared = Arc::new(Shared {
            phase: AtomicU8::new(Phase::Before as u8),
            talking: AtomicBool::new(false),
            over: AtomicBool::new(false),
            sent: Counts::default(),
            heard: Counts::default(),
            strays: AtomicU64::new(0),
            sentinels: AtomicU64::new(0),
        });
        let open = |port: u16| {
            host.run(|| {
                let socket = UdpSocket::bind((address.ip(), port))?;
                socket.set_read_timeout(Some(POLL))?;
                Ok(socket)
            })
        };
        let (rtp, rtcp) = (open(address.port())?, open(address.port() + 1)?);
        let (elsewhere, sentinel) = (open(address.port() + 4)?, open(SENTINEL_PORT)?);
        let stranger = match stranger {
            Some(ip) => Some(host.run(|| UdpSocket::bind((ip, 0)))?),
            None => None,
        };
        let mut threads = Vec::new();
        for socket in [rtp.try_clone()?, rtcp.try_clone()?] {
            threads.push(listen(Arc::clone(&shared), socket, |shared, phase| shared.heard.add(phase)));
        }
        threads.push(listen(Arc::clone(&shared), elsewhere, |shared, _| {
            shared.strays.fetch_add(1, Ordering::Relaxed);
        }));
        threads.push(listen(Arc::clone(&shared), sentinel.try_clone()?, |shared, _| {
            shared.sentinels.fetch_add(1, Ordering::Relaxed);
        }));
        threads.push(talk(Arc::clone(&shared), rtp, rtcp, stranger, peer));
        Ok(Self { address, shared, sentinel, threads })
    }

    /// Starts or stops talking.
    pub(crate) fn talk(&self, talking: bool) {
        self.shared.talking.store(talking, Ordering::Relaxed);
    }

    /// From now on packets carry this phase.
    pub(crate) fn phase(&self, phase: Phase) {
        self.shared.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// RTP and RTCP packets sent in a phase.
    pub(crate) fn sent(&self, phase: Phase) -> u64 {
        self.shared.sent.of(phase)
    }

    /// RTP and RTCP packets of the peer's phase that arrived here.
    pub(crate) fn heard(&self, phase: Phase) -> u64 {
        self.shared.heard.of(phase)
    }

    /// Packets that no negotiated flow allows and that arrived all the same.
    pub(crate) fn strays(&self) -> u64 {
        self.shared.strays.load(Ordering::Relaxed)
    }

    /// Sends packets that the administrator lets through behind everything sent before, until one has arrived. They carry the
    /// phase that has begun.
    ///
    /// # Errors
    /// If none arrives within two seconds: then the network of the demo itself is broken.
    pub(crate) fn settle(&self, other: &Self) -> io::Result<()> {
        let before = other.shared.sentinels.load(Ordering::Relaxed);
        let deadline = Instant::now() + Duration::from_secs(2);
        while other.shared.sentinels.load(Ordering::Relaxed) == before {
            if Instant::now() > deadline {
                return Err(io::Error::other("the administrator's own rule lets nothing through"));
            }
            let phase = self.shared.phase.load(Ordering::Relaxed);
            self.sentinel.send_to(&packet(0, phase), (other.address.ip(), SENTINEL_PORT))?;
            thread::sleep(PACKET_TIME);
        }
        Ok(())
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has already said so on stderr.
            let _ = thread.join();
        }
    }
}

fn listen(shared: Arc<Shared>, socket: UdpSocket, heard: fn(&Shared, u8)) -> JoinHandle<()> {
    thread::spawn(move || {
        let mut buffer = [0; 2048];
        while !shared.over.load(Ordering::Relaxed) {
            if let Ok((length, _)) = socket.recv_from(&mut buffer)
                && let Some(phase) = phase_of(&buffer[..length])
            {
                if phase & STRAY == 0 {
                    heard(&shared, phase);
                } else {
                    shared.strays.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    })
}

/// Marks packets that must never arrive: wrong port, wrong source.
const STRAY: u8 = 0x80;

/// One thread per phone sends RTP every 20 ms, RTCP with every 25th, and with each RTP packet one that must not pass.
fn talk(
    shared: Arc<Shared>,
    rtp: UdpSocket,
    rtcp: UdpSocket,
    stranger: Option<UdpSocket>,
    peer: SocketAddr,
) -> JoinHandle<()> {
    thread::spawn(move || {
        let control = SocketAddr::new(peer.ip(), peer.port() + 1);
        let elsewhere = SocketAddr::new(peer.ip(), peer.port() + 4);
        let mut sequence = 0_u16;
        while !shared.over.load(Ordering::Relaxed) {
            thread::sleep(PACKET_TIME);
            if !shared.talking.load(Ordering::Relaxed) {
                continue;
            }
            let phase = shared.phase.load(Ordering::Relaxed);
            sequence = sequence.wrapping_add(1);
            // A firewall that drops is silent; an error here is an ICMP answer to an earlier packet, and not ours to judge.
            if rtp.send_to(&packet(sequence, phase), peer).is_ok() {
                shared.sent.add(phase);
            }
            if sequence % 25 == 1 && rtcp.send_to(&packet(sequence, phase), control).is_ok() {
                shared.sent.add(phase);
            }
            let stray = packet(sequence, phase | STRAY);
            let _ = rtp.send_to(&stray, elsewhere);
            if let Some(stranger) = &stranger {
                let _ = stranger.send_to(&stray, peer);
            }
        }
    })
}

/// An RTP packet, payload type 0, with the phase as the first octet of sound.
pub(super) fn packet(sequence: u16, phase: u8) -> [u8; RTP_LEN] {
    let mut packet = [0xff; RTP_LEN];
    packet[..2].copy_from_slice(&[0x80, 0]);
    packet[2..4].copy_from_slice(&sequence.to_be_bytes());
    packet[4..8].copy_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet[8..12].copy_from_slice(&SSRC);
    packet[12] = phase;
    packet
}

/// What marks a packet of ours: its phase, and [`STRAY`].
pub(super) fn phase_of(packet: &[u8]) -> Option<u8> {
    (packet.len() == RTP_LEN && packet[8..12] == SSRC).then(|| packet[12])
}

/// The number of a packet of ours.
pub(super) fn sequence_of(packet: &[u8]) -> u16 {
    packet.get(2..4).map_or(0, |two| u16::from_be_bytes([two[0], two[1]]))
}
