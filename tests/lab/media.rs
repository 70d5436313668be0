//! Both ends of a call's media: numbered packets each way, of which none may be lost and to which none may be added.

use std::io::{self, ErrorKind};
use std::net::UdpSocket;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use netns::Host;

use crate::raw::bind;
use crate::world::{INSIDE, OUTSIDE, World};

/// Where the caller hears RTP; RTCP is one above.
pub(crate) const RTP_OUTSIDE: u16 = 20_000;
/// Where the callee hears RTP.
pub(crate) const RTP_INSIDE: u16 = 22_000;
/// One packet in each direction.
const TICK: Duration = Duration::from_millis(10);
/// What arrived at the four media sockets.
#[derive(Debug, Default, Clone)]
pub(crate) struct Tally {
    heard: (u64, u64),
    /// Packets that are missing: to whom, and their numbers.
    pub(crate) lost: Vec<String>,
    /// Length and sender of what was not sent by the other end's media socket as part of its stream.
    pub(crate) strange: Vec<(usize, String)>,
}

/// Both ends of the media: numbered packets each way.
pub(crate) struct Media {
    /// RTP and RTCP of the caller, RTP and RTCP of the callee.
    pub(crate) sockets: [UdpSocket; 4],
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Media {
    pub(crate) fn start(world: &World) -> io::Result<Self> {
        let open = |host: &Host, address: &str, port: u16| {
            let socket = bind(host, &format!("{address}:{port}"))?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        let sockets = [
            open(&world.outside, OUTSIDE, RTP_OUTSIDE)?,
            open(&world.outside, OUTSIDE, RTP_OUTSIDE + 1)?,
            open(&world.inside, INSIDE, RTP_INSIDE)?,
            open(&world.inside, INSIDE, RTP_INSIDE + 1)?,
        ];
        let (tally, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (tally, stop) = (Arc::clone(&tally), Arc::clone(&stop));
            let sockets = [
                sockets[0].try_clone()?,
                sockets[1].try_clone()?,
                sockets[2].try_clone()?,
                sockets[3].try_clone()?,
            ];
            move || talk(&sockets, &tally, &stop)
        });
        Ok(Self { sockets, tally, stop, thread: Some(thread) })
    }

    pub(crate) fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Packets heard in order by the caller and by the callee.
    pub(crate) fn heard(&self) -> (u64, u64) {
        self.tally().heard
    }

    /// Forgets strange packets, when they were wanted.
    pub(crate) fn take_strange(&self) -> Vec<(usize, String)> {
        std::mem::take(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner).strange)
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Sends a numbered packet each way in every tick and reads what has come.
fn talk(sockets: &[UdpSocket; 4], tally: &Mutex<Tally>, stop: &AtomicBool) {
    let mut number: u64 = 0;
    let mut next = (0, 0);
    let mut due = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        let packet = number.to_be_bytes();
        number += 1;
        let _ = sockets[0].send_to(&packet, (INSIDE, RTP_INSIDE));
        let _ = sockets[2].send_to(&packet, (OUTSIDE, RTP_OUTSIDE));
        due += TICK;
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let mut tally = tally.lock().unwrap_or_else(PoisonError::into_inner);
        let Tally { heard, lost, strange } = &mut *tally;
        listen(
            &sockets[0],
            &format!("{INSIDE}:{RTP_INSIDE}"),
            Some((&mut next.0, &mut heard.0, lost)),
            strange,
        );
        listen(
            &sockets[2],
            &format!("{OUTSIDE}:{RTP_OUTSIDE}"),
            Some((&mut next.1, &mut heard.1, lost)),
            strange,
        );
        listen(&sockets[1], "", None, strange);
        listen(&sockets[3], "", None, strange);
    }
}

/// The number expected next, how many were heard, and what is missing.
type Stream<'s> = (&'s mut u64, &'s mut u64, &'s mut Vec<String>);

fn listen(
    socket: &UdpSocket,
    peer: &str,
    mut stream: Option<Stream<'_>>,
    strange: &mut Vec<(usize, String)>,
) {
    let mut buffer = [0; 65_535];
    loop {
        let (length, sender) = match socket.recv_from(&mut buffer) {
            Ok(received) => received,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            // An ICMP error for something sent: the peer's socket is not there any more.
            Err(_) => return,
        };
        let number = <[u8; 8]>::try_from(&buffer[..length]).map(u64::from_be_bytes).ok();
        match (&mut stream, number.filter(|_| sender.to_string() == peer)) {
            (Some((next, heard, lost)), Some(number)) => {
                if number != **next {
                    lost.push(format!("from {peer}: {next} to {number}"));
                }
                **next = number + 1;
                **heard += 1;
            }
            (Some(_) | None, Some(_) | None) => strange.push((length, sender.to_string())),
        }
    }
}
