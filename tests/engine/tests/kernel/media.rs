//! Media that does not stop: numbered packets in one direction, as fast as a careless phone sends.

use std::io;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use engine_contract::Shot;
use netns::again;

use crate::network::{Network, SENTINEL, on_one_processor};

/// One direction of a call.
pub(crate) struct Stream {
    shared: Arc<Shared>,
    sender: JoinHandle<io::Result<()>>,
    receiver: JoinHandle<io::Result<()>>,
    bell: UdpSocket,
}

#[derive(Default)]
struct Shared {
    sent: AtomicU64,
    /// The highest number that arrived, plus one.
    arrived: AtomicU64,
    count: AtomicU64,
    hang_up: AtomicBool,
    all_arrived: AtomicBool,
}

impl Stream {
    /// Begins to send from both phones, the one of `shots[0]`'s source first. Each sends and receives on one port.
    pub(crate) fn call(network: &Network, shots: [Shot; 2]) -> io::Result<[Self; 2]> {
        let phone = |shot: Shot| {
            network.home(shot.source.ip()).run(|| {
                let socket = UdpSocket::bind(shot.source)?;
                socket.set_read_timeout(Some(Duration::from_millis(20)))?;
                let bell = UdpSocket::bind((shot.source.ip(), SENTINEL))?;
                bell.set_read_timeout(Some(Duration::from_secs(10)))?;
                Ok((socket, bell))
            })
        };
        let phones = [phone(shots[0])?, phone(shots[1])?];
        let start = |from: usize, to: usize| -> io::Result<Self> {
            let shared = Arc::new(Shared::default());
            let (here, there) = (shared.clone(), shared.clone());
            let (socket, ringer) = (phones[from].0.try_clone()?, phones[from].1.try_clone()?);
            let (received, bell) = (phones[to].0.try_clone()?, phones[to].1.try_clone()?);
            Ok(Self {
                sender: thread::spawn(move || send(&here, shots[from], &socket, &ringer)),
                receiver: thread::spawn(move || receive(&there, &received)),
                shared,
                bell,
            })
        };
        Ok([start(0, 1)?, start(1, 0)?])
    }

    /// How many packets arrived so far.
    pub(crate) fn count(&self) -> u64 {
        self.shared.count.load(Ordering::SeqCst)
    }

    /// The number that the next packet gets at the earliest.
    pub(crate) fn next_number(&self) -> u64 {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// Stops, waits until everything on the way has arrived or was dropped, and says which number was the last to
    /// arrive, plus one.
    pub(crate) fn stop(self) -> io::Result<u64> {
        self.shared.hang_up.store(true, Ordering::SeqCst);
        again(|| self.bell.recv(&mut [0; 8]))?;
        self.shared.all_arrived.store(true, Ordering::SeqCst);
        let panicked = |_| io::Error::other("a thread of a stream panicked");
        self.sender.join().map_err(panicked)??;
        self.receiver.join().map_err(panicked)??;
        Ok(self.shared.arrived.load(Ordering::SeqCst))
    }

    /// Stops, and says how many packets did not arrive.
    pub(crate) fn lost(self) -> io::Result<u64> {
        let shared = Arc::clone(&self.shared);
        self.stop()?;
        Ok(shared.sent.load(Ordering::SeqCst) - shared.count.load(Ordering::SeqCst))
    }
}

fn send(shared: &Shared, shot: Shot, from: &UdpSocket, ringer: &UdpSocket) -> io::Result<()> {
    on_one_processor()?;
    while !shared.hang_up.load(Ordering::SeqCst) {
        let number = shared.sent.fetch_add(1, Ordering::SeqCst);
        from.send_to(&number.to_be_bytes(), shot.destination)?;
        thread::sleep(Duration::from_micros(200));
    }
    ringer.send_to(&[0; 8], (shot.arrives.1.ip(), SENTINEL)).map(drop)
}

fn receive(shared: &Shared, socket: &UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 8];
    loop {
        // Asked before looking, so that nothing can arrive unseen between the two.
        let last_look = shared.all_arrived.load(Ordering::SeqCst);
        match again(|| socket.recv(&mut buffer)) {
            Ok(_) => {
                shared.count.fetch_add(1, Ordering::SeqCst);
                shared.arrived.fetch_max(u64::from_be_bytes(buffer) + 1, Ordering::SeqCst);
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && last_look => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
}
