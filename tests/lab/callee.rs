//! A phone by hand: takes one call, or as many as it has media ports, and is busy to all others.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use netns::Host;

use crate::raw::{Wire, header, sdp};
use crate::world::{INSIDE, World};

/// A phone that takes calls, is busy to all others, and remembers what it was asked.
pub(crate) struct Callee {
    asked: Arc<Mutex<Vec<String>>>,
    offer: Arc<Mutex<Option<String>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Callee {
    /// Answers the first INVITE with media at this port.
    pub(crate) fn start(world: &World, port: u16) -> io::Result<Self> {
        Self::at(&world.inside, &format!("{INSIDE}:5060"), (INSIDE, port))
    }

    /// The same on another host, with media somewhere else than SIP.
    pub(crate) fn at(host: &Host, address: &str, (media, port): (&'static str, u16)) -> io::Result<Self> {
        Self::of_calls(host, address, media, vec![port])
    }

    /// Takes one call for each of these ports, in their order.
    pub(crate) fn of_calls(
        host: &Host,
        address: &str,
        media: &'static str,
        ports: Vec<u16>,
    ) -> io::Result<Self> {
        let wire = Wire::bind(host, address)?;
        wire.socket.set_read_timeout(Some(Duration::from_millis(50)))?;
        let (asked, offer, stop) = (Arc::default(), Arc::default(), Arc::new(AtomicBool::new(false)));
        let thread = thread::spawn({
            let (asked, offer, stop) = (Arc::clone(&asked), Arc::clone(&offer), Arc::clone(&stop));
            move || serve(&wire, (media, ports), (&asked, &offer), &stop)
        });
        Ok(Self { asked, offer, stop, thread: Some(thread) })
    }

    /// The INVITE that it has answered last.
    pub(crate) fn offer(&self) -> Option<String> {
        self.offer.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Methods of the requests so far, ACK left out, retransmissions once.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Callee {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(
    wire: &Wire,
    (media, ports): (&str, Vec<u16>),
    (asked, offer): (&Mutex<Vec<String>>, &Mutex<Option<String>>),
    stop: &AtomicBool,
) {
    let mut buffer = vec![0; 65_535];
    let (mut ports, mut branches) = (ports.into_iter(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, remote)) = wire.socket.recv_from(&mut buffer) else { continue };
        let request = String::from_utf8_lossy(&buffer[..length]).into_owned();
        let method = request.split(' ').next().unwrap_or_default().to_owned();
        let branch = header(&request, "Via").to_owned();
        if method == "ACK"
            || method.starts_with("SIP/")
            || branches.contains(&(method.clone(), branch.clone()))
        {
            continue;
        }
        branches.push((method.clone(), branch));
        let response = match method.as_str() {
            "INVITE" => match ports.next() {
                Some(port) => {
                    *offer.lock().unwrap_or_else(PoisonError::into_inner) = Some(request.clone());
                    answer(wire, &request, "200 OK", &sdp(media, port))
                }
                None => answer(wire, &request, "486 Busy Here", ""),
            },
            _ => answer(wire, &request, "200 OK", ""),
        };
        asked.lock().unwrap_or_else(PoisonError::into_inner).push(method);
        let _ = wire.socket.send_to(response.as_bytes(), remote);
    }
}

/// An answer to a request, as text.
pub(crate) fn answer(wire: &Wire, request: &str, status: &str, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in request.split("\r\n").take_while(|line| !line.is_empty()) {
        if ["Via: ", "From: ", "Call-ID: ", "CSeq: ", "Record-Route: "]
            .iter()
            .any(|name| line.starts_with(name))
        {
            text.push_str(&format!("{line}\r\n"));
        } else if line.starts_with("To: ") {
            let tag = if line.contains(";tag=") { "" } else { ";tag=callee" };
            text.push_str(&format!("{line}{tag}\r\n"));
        }
    }
    let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
    text.push_str(&format!(
        "Contact: <sip:bob@{}>\r\n{kind}Content-Length: {}\r\n\r\n{body}",
        wire.local,
        body.len()
    ));
    text
}
