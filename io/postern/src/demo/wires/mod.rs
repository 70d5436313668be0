//! A second view of a scene that asks neither phones nor Postern: what the kernel of the firewall's host sees on both of its
//! cables, in one order.
//!
//! What it needs to know of time it sees there as well: the INVITE, its final response, BYE, and the [`Phase::After`] of a
//! sentinel. A packet has passed if it has left on the other cable; which one it is, its number says.

mod view;

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use netns::Host;
use nix::errno::Errno;
use nix::net::if_::if_nametoindex;
use nix::sys::socket::{AddressFamily, LinkAddr, SockFlag, SockProtocol, SockType, recvfrom, socket};

use super::media::Phase;
use super::scene::Scene;
use super::verdict::Count;
use view::View;
pub(crate) use view::{Seen, Way};

/// How often the socket is emptied, so that it never overflows.
const LOOK: Duration = Duration::from_millis(5);
/// `PACKET_OUTGOING` of `packet(7)`.
const OUTGOING: u8 = 4;

/// The socket, and what it has shown.
#[derive(Debug)]
struct Watch {
    cables: OwnedFd,
    /// Interface numbers: outside, inside.
    interfaces: [usize; 2],
    view: View,
}

/// Watches both cables of the firewall as long as it lives.
#[derive(Debug)]
pub(crate) struct Wires {
    watch: Arc<Mutex<Watch>>,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Wires {
    /// Begins to watch a scene on the firewall's host, whose cables and own addresses, outside and inside, are these.
    ///
    /// # Errors
    /// The kernel's refusal to open the socket.
    pub(crate) fn new(
        firewall: &Host,
        names: [&str; 2],
        own: [IpAddr; 2],
        scene: &Scene,
    ) -> io::Result<Self> {
        let (cables, interfaces) = firewall.run(|| {
            let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            let cables = socket(AddressFamily::Packet, SockType::Datagram, flags, SockProtocol::EthAll)?;
            let number = |name| if_nametoindex(name).map(|number| number as usize);
            Ok((cables, [number(names[0])?, number(names[1])?]))
        })?;
        let view = View::new(own, [scene.caller_media, scene.callee_media]);
        let watch = Arc::new(Mutex::new(Watch { cables, interfaces, view }));
        let over = Arc::new(AtomicBool::new(false));
        let (looked_at, is_over) = (Arc::clone(&watch), Arc::clone(&over));
        let thread = thread::spawn(move || {
            while !is_over.load(Ordering::Relaxed) {
                // An error comes again when the view is asked.
                let _ = looked_at.lock().unwrap_or_else(PoisonError::into_inner).read();
                thread::sleep(LOOK);
            }
        });
        Ok(Self { watch, over, thread: Some(thread) })
    }

    /// Everything up to now.
    ///
    /// # Errors
    /// If the kernel shows nothing any more.
    pub(crate) fn seen(&self) -> io::Result<Seen> {
        self.look(View::seen)
    }

    /// Packets of one direction that a phone has marked with a phase.
    ///
    /// # Errors
    /// As [`Wires::seen`].
    pub(crate) fn marked(&self, inward: bool, phase: Phase) -> io::Result<Count> {
        self.look(|view| view.count(|packet| packet.inward == inward && packet.phase == phase as u8))
    }

    /// Packets of one direction that have passed.
    ///
    /// # Errors
    /// As [`Wires::seen`].
    pub(crate) fn passed(&self, inward: bool) -> io::Result<u64> {
        self.look(|view| view.count(|packet| packet.inward == inward).heard)
    }

    fn look<T>(&self, of: impl FnOnce(&View) -> T) -> io::Result<T> {
        let mut watch = self.watch.lock().unwrap_or_else(PoisonError::into_inner);
        watch.read()?;
        Ok(of(&watch.view))
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has already said so on stderr.
            let _ = thread.join();
        }
    }
}

impl Watch {
    /// Takes in all that the kernel has seen.
    fn read(&mut self) -> io::Result<()> {
        let mut buffer = [0; 4096];
        loop {
            match recvfrom::<LinkAddr>(self.cables.as_raw_fd(), &mut buffer) {
                Ok((length, Some(link))) if self.interfaces.contains(&link.ifindex()) => {
                    let is_outside = link.ifindex() == self.interfaces[0];
                    let leaves = link.pkttype() == OUTGOING;
                    // Not IPv4: what hosts say to find each other.
                    let _ = self.view.take(is_outside, leaves, buffer.get(..length).unwrap_or_default());
                }
                Ok(_) | Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(()),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
