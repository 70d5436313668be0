//! What the simulation reads in SIP messages: little, and without the parser that it tests.

use std::net::{IpAddr, SocketAddr};

/// `INVITE c7b`, `200 OK (INVITE) +sdp`.
pub(crate) fn headline(message: &[u8]) -> String {
    let first = line(message);
    let sdp = if body(message).is_empty() { "" } else { " +sdp" };
    match first.strip_prefix("SIP/2.0 ") {
        Some(status) => format!("{status} ({}){sdp}", method(message)),
        None => format!("{}{sdp}", first.strip_suffix(" SIP/2.0").unwrap_or(&first)),
    }
}

fn line(message: &[u8]) -> String {
    let end = message.iter().position(|octet| *octet == b'\r').unwrap_or(message.len());
    String::from_utf8_lossy(&message[..end]).into_owned()
}

/// The status code; 0 for a request.
pub(crate) fn status(message: &[u8]) -> u16 {
    let first = line(message);
    first.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok()).unwrap_or(0)
}

/// The method that stands in CSeq.
pub(crate) fn method(message: &[u8]) -> String {
    field(message, "CSeq").and_then(|value| value.split(' ').nth(1).map(str::to_owned)).unwrap_or_default()
}

/// The user part of the Request-URI.
pub(crate) fn user(message: &[u8]) -> Option<String> {
    let first = line(message);
    let uri = first.split(' ').nth(1)?;
    let user = uri.strip_prefix("sip:")?.split_once('@')?.0;
    Some(user.to_owned())
}

/// The first value of a header field, written in full and in its usual case.
pub(crate) fn field(message: &[u8], name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(message);
    let head = text.split("\r\n\r\n").next()?;
    let value = head.split("\r\n").find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(|value| value.trim().to_owned())
}

/// The branch of the topmost Via.
pub(crate) fn branch(message: &[u8]) -> Option<String> {
    let via = field(message, "Via")?;
    let branch = via.split(';').find_map(|parameter| parameter.strip_prefix("branch="))?;
    Some(branch.to_owned())
}

/// Everything behind the empty line.
pub(crate) fn body(message: &[u8]) -> &[u8] {
    let at = message.windows(4).position(|four| four == b"\r\n\r\n");
    at.map_or(&[], |at| &message[at + 4..])
}

/// Where the sender of a description wants RTP: one address, each m-line's port.
pub(crate) fn places(message: &[u8]) -> Vec<SocketAddr> {
    let body = String::from_utf8_lossy(body(message));
    let address = body.lines().find_map(|line| line.strip_prefix("c=")?.split(' ').nth(2)?.parse().ok());
    let Some(address): Option<IpAddr> = address else { return Vec::new() };
    let port = |line: &str| line.strip_prefix("m=")?.split(' ').nth(1)?.parse().ok();
    body.lines()
        .filter_map(port)
        .filter(|port| *port > 0)
        .map(|port| SocketAddr::new(address, port))
        .collect()
}
