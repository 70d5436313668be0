//! What the simulation reads in SIP messages: little, without the parser that it tests, and without a copy.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use middlebox::Transport;

/// `INVITE c7b`, `200 OK (INVITE) +sdp`.
pub(crate) struct Headline<'m>(pub(crate) &'m [u8]);

impl fmt::Display for Headline<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let first = first(self.0);
        let sdp = if body(self.0).is_empty() { "" } else { " +sdp" };
        match first.strip_prefix("SIP/2.0 ") {
            Some(status) => write!(f, "{status} ({}){sdp}", method(self.0)),
            None => write!(f, "{}{sdp}", first.strip_suffix(" SIP/2.0").unwrap_or(first)),
        }
    }
}

/// The next line, without its end, and what comes behind it.
fn line(text: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memmem::find(text, b"\r\n") {
        Some(at) => (&text[..at], &text[at + 2..]),
        None => (text, &[]),
    }
}

/// Empty for what is no text: who writes so is no phone of ours.
fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap_or_default()
}

fn first(message: &[u8]) -> &str {
    text(line(message).0)
}

/// The status code; 0 for a request.
pub(crate) fn status(message: &[u8]) -> u16 {
    let status = message.strip_prefix(b"SIP/2.0 ").and_then(|rest| rest.get(..3));
    status.and_then(|status| text(status).parse().ok()).unwrap_or(0)
}

/// The method that stands in CSeq.
pub(crate) fn method(message: &[u8]) -> &str {
    field(message, "CSeq").and_then(|value| value.split(' ').nth(1)).unwrap_or_default()
}

/// The Request-URI.
pub(crate) fn uri(message: &[u8]) -> Option<&str> {
    first(message).split(' ').nth(1)
}

/// The user part of the Request-URI.
pub(crate) fn user(message: &[u8]) -> Option<&str> {
    let uri = uri(message)?;
    Some(uri.strip_prefix("sip:")?.split_once('@')?.0)
}

/// The first value of a header field, written in full and in its usual case.
pub(crate) fn field<'m>(message: &'m [u8], name: &str) -> Option<&'m str> {
    let mut rest = message;
    loop {
        let (line, behind) = line(rest);
        if line.is_empty() {
            return None;
        }
        if let Some(value) = line.strip_prefix(name.as_bytes()).and_then(|line| line.strip_prefix(b":")) {
            return Some(text(value).trim());
        }
        rest = behind;
    }
}

/// The branch of the topmost Via.
pub(crate) fn branch(message: &[u8]) -> Option<&str> {
    let via = field(message, "Via")?;
    via.split(';').find_map(|parameter| parameter.strip_prefix("branch="))
}

/// Everything behind the empty line.
pub(crate) fn body(message: &[u8]) -> &[u8] {
    memchr::memmem::find(message, b"\r\n\r\n").map_or(&[], |at| &message[at + 4..])
}

/// Where somebody receives, over what.
pub(crate) type Place = (Transport, SocketAddr);

/// Where nothing is received: the port of who opens a TCP connection.
const DISCARD: u16 = 9;

/// Where the sender of a description receives: one address, each m-line's port, each candidate.
pub(crate) fn places(message: &[u8]) -> Vec<Place> {
    let body = text(body(message));
    let address = body.lines().find_map(|line| line.strip_prefix("c=")?.split(' ').nth(2)?.parse().ok());
    let Some(address): Option<IpAddr> = address else { return Vec::new() };
    let place = |line: &str| {
        let mut words = line.strip_prefix("m=")?.split(' ').skip(1);
        let port = words.next()?.parse().ok().filter(|port| *port != 0 && *port != DISCARD)?;
        let is_tcp = words.next()?.starts_with("TCP");
        let transport = if is_tcp { Transport::Tcp } else { Transport::Udp };
        Some((transport, SocketAddr::new(address, port)))
    };
    let candidates = candidates(body).map(|(_, place)| (Transport::Udp, place));
    body.lines().filter_map(place).chain(candidates).collect()
}

/// The candidates of streams in use that somebody can send to, and of which component each is.
pub(crate) fn candidates(sdp: &str) -> impl Iterator<Item = (u8, SocketAddr)> {
    let mut in_use = false;
    sdp.lines().filter_map(move |line| {
        if let Some(stream) = line.strip_prefix("m=") {
            in_use = stream.split(' ').nth(1) != Some("0");
        }
        if !in_use {
            return None;
        }
        let mut words = line.strip_prefix("a=candidate:")?.split(' ').skip(1);
        let component = words.next()?.parse().ok()?;
        let mut words = words.skip_while(|word| *word != "UDP").skip(2);
        let (address, port) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some((component, SocketAddr::new(address, port)))
    })
}
