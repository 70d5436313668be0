//! A phone on its host: the machine of `core/phone` with a socket, a clock and a thread.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use machine::{Instant, Machine as _, Outbox};
use netns::Host;
use phone::{
    Answer, Config, Event, Extensions, Input, Named, Oddities, Output, Phone, Precondition, Provision,
};
use sdp::precondition::{Strength, Type};
use sip::transaction::TimerValues;
use sip::transport::{Hop, ListenerId, Protocol};

use crate::clock::Clock;
use crate::seed;

const SIP_PORT: u16 = 5060;
/// How long a phone sleeps at most before it looks for a wish of its user.
const PATIENCE: Duration = Duration::from_millis(10);
/// How long the callee's phone rings.
const RINGS: Duration = Duration::from_millis(300);
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// What a phone asks for that shall not ring in vain: draft-kiesel-mmusic-firewall-sip-00 §5.2.
const FIREWALL: Precondition =
    Precondition { of: Type::Fw, strength: Strength::Mandatory, provision: Provision::ByNetwork };

/// A phone that runs.
pub(crate) struct Handset {
    wishes: Sender<Input>,
    events: Receiver<Event>,
    thread: Option<JoinHandle<()>>,
}

impl Handset {
    /// Puts a phone on a host; it answers calls after ringing a little. One that `insists` rings only when the firewalls
    /// are open.
    ///
    /// # Errors
    /// The kernel's refusal to open its socket.
    pub(crate) fn new(
        host: &Host,
        user: &str,
        address: IpAddr,
        media: SocketAddr,
        insists: bool,
    ) -> io::Result<Self> {
        let address = SocketAddr::new(address, SIP_PORT);
        let socket = host.run(|| UdpSocket::bind(address))?;
        let config = Config {
            user: user.to_owned(),
            address,
            named: Named::default(),
            protocol: Protocol::Udp,
            media,
            answer: Answer::Accept { after: RINGS },
            timers: TimerValues::default(),
            extensions: Extensions { precondition: insists.then_some(FIREWALL), ..Extensions::default() },
            oddities: Oddities::default(),
        };
        let phone = Phone::new(config, seed::rng()?);
        let (wishes, wanted) = channel();
        let (told, events) = channel();
        let thread = thread::spawn(move || Line { phone, socket, clock: Clock::start(), told }.run(&wanted));
        Ok(Self { wishes, events, thread: Some(thread) })
    }

    /// The user wants something.
    pub(crate) fn wish(&self, input: Input) {
        // A phone whose thread has ended says no more; whoever waits for its events notices.
        let _ = self.wishes.send(input);
    }

    /// Calls somebody by way of a border.
    pub(crate) fn call(&self, user: &str, border: &str) -> io::Result<()> {
        let remote = SocketAddr::new(border.parse().map_err(io::Error::other)?, SIP_PORT);
        self.wish(Input::Call { to: format!("sip:{user}@{border}"), next: hop(remote) });
        Ok(())
    }

    /// The next event, if one comes within `patience`.
    pub(crate) fn event(&self, patience: Duration) -> Option<Event> {
        self.events.recv_timeout(patience).ok()
    }
}

impl Drop for Handset {
    fn drop(&mut self) {
        // Dropping the sender ends the thread.
        let (unused, _) = channel();
        self.wishes = unused;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn hop(remote: SocketAddr) -> Hop {
    Hop { listener: ListenerId(0), protocol: Protocol::Udp, remote, connection: None, name: None }
}

/// What the phone's thread owns.
struct Line {
    phone: Phone,
    socket: UdpSocket,
    clock: Clock,
    told: Sender<Event>,
}

impl Line {
    fn run(mut self, wanted: &Receiver<Input>) {
        let mut out = Outbox::new();
        let mut buffer = vec![0; DATAGRAM_BYTES_MAX];
        loop {
            loop {
                match wanted.try_recv() {
                    Ok(input) => self.phone.handle(self.clock.now(), input, &mut out),
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                }
            }
            if let Some((length, remote)) = self.receive(&mut buffer) {
                let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
                let input = Input::Received { hop: hop(remote), bytes };
                self.phone.handle(self.clock.now(), input, &mut out);
            }
            self.phone.handle_timeout(self.clock.now(), &mut out);
            self.perform(&mut out);
        }
    }

    fn receive(&self, buffer: &mut [u8]) -> Option<(usize, SocketAddr)> {
        let now = self.clock.now();
        let due = self.phone.next_timeout().map_or(PATIENCE, |(at, _)| Instant::since(at, now));
        // A read time-out of zero would mean "for ever".
        let wait = due.clamp(Duration::from_millis(1), PATIENCE);
        self.socket.set_read_timeout(Some(wait)).ok()?;
        self.socket.recv_from(buffer).ok()
    }

    fn perform(&self, out: &mut Outbox<Output>) {
        for output in out.drain() {
            match output {
                // UDP may lose it; the phone's transactions repeat it.
                Output::Transmit(transmit) => {
                    let _ = self.socket.send_to(&transmit.bytes, transmit.hop.remote);
                }
                Output::Event(event) => {
                    let _ = self.told.send(event);
                }
            }
        }
    }
}
