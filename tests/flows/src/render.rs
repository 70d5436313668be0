//! How what leaves is written.
//!
//! - a SIP request: method, then what it carries; a response: status, the method unless it is INVITE, then the same:
//!   `c=… m=kind port …` of a description (`o=n` with its version if that is not 1), then those header fields that
//!   tell why: `{Reason: …}`, `{Warning: …}`, `{Retry-After: …}`, `{Unsupported: …}`, and those that the setting
//!   `show` names;
//! - a message that is none, such as the answer to one without Call-ID: its first line;
//! - a MIDCOM request: `PER udp A0 <- A3` (inbound) or `->` (outbound), `PRR udp 2`, `PEA 1 udp …`, `PLC 1 0`, `PRL`;
//! - for the runtime: `resolve name:port`, `stopped`.

use std::fmt::Write;

use bytes::Bytes;
use midcom::{Direction, Protocol, Request, Tuple};
use sip::locate::Wish;
use sip::message::Message;

/// Header fields that are always shown.
const SHOWN: [&str; 4] = ["Reason", "Warning", "Retry-After", "Unsupported"];

/// A SIP message.
#[must_use]
pub fn sip(bytes: &Bytes, show: &[String]) -> String {
    let Ok(message) = Message::parse(bytes.clone()) else {
        let first = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
        return format!("unreadable: {}", String::from_utf8_lossy(first));
    };
    let mut text = match (message.is_request(), message.method().text()) {
        (true, method) => method.to_owned(),
        (false, "INVITE") => message.status().to_string(),
        (false, method) => format!("{} {method}", message.status()),
    };
    text += &description(message.body());
    for header in message.headers() {
        let name = String::from_utf8_lossy(header.raw_name);
        let is = |shown: &str| shown.eq_ignore_ascii_case(&name);
        if SHOWN.into_iter().any(is) || show.iter().any(|shown| shown == "all" || is(shown)) {
            let _written = write!(text, " {{{name}: {}}}", String::from_utf8_lossy(header.value));
        }
    }
    if show.iter().any(|shown| shown == "phrase") && !message.is_request() {
        let _written = write!(text, " {{{}}}", String::from_utf8_lossy(message.reason_phrase()));
    }
    if show.iter().any(|shown| shown == "request-uri") && message.is_request() {
        let _written = write!(text, " {{{}}}", message.request_uri());
    }
    text
}

fn description(body: &[u8]) -> String {
    if body.is_empty() {
        return String::new();
    }
    let Ok(session) = sdp::Session::parse(body) else { return format!(" body={}", body.len()) };
    let mut text = String::new();
    for line in session.lines() {
        let value = String::from_utf8_lossy(line.value).into_owned();
        let words: Vec<&str> = value.split(' ').collect();
        let _written = match (line.kind, words.as_slice()) {
            (b'o', [_, _, version, ..]) if *version != "1" => write!(text, " o={version}"),
            (b'c', [_, _, address]) => write!(text, " c={address}"),
            (b'm', [kind, port, ..]) => write!(text, " m={kind} {port}"),
            (b'a', _) => write!(text, " a={value}"),
            _ => Ok(()),
        };
    }
    text
}

/// A MIDCOM request.
#[must_use]
pub fn midcom(request: &Request) -> String {
    match request {
        Request::Enable { direction, internal, external, .. } => {
            format!("PER {}", flow(*direction, internal, external))
        }
        Request::EnableReserved { prid, direction, internal, external, .. } => {
            format!("PEA {} {}", prid.0, flow(*direction, internal, external))
        }
        Request::Reserve { protocol, ports, .. } => format!("PRR {protocol} {ports}"),
        Request::Lifetime { prid, lifetime } => format!("PLC {} {}", prid.0, lifetime.0),
        Request::Disable { internal, external, .. } => {
            format!("PDR {}", flow(Direction::Bidirectional, internal, external))
        }
        Request::Status { prid } => format!("PRS {}", prid.0),
        Request::List => "PRL".into(),
        Request::Count { prids } => {
            let prids: Vec<String> = prids.iter().map(|prid| prid.0.to_string()).collect();
            format!("PRC {}", prids.join(" "))
        }
    }
}

/// What is looked for: a name, and what the URI says besides.
pub(crate) fn wish(wish: &Wish) -> String {
    let port = wish.port.map(|port| format!(":{port}")).unwrap_or_default();
    let transport = wish.transport.map(|protocol| format!(" over {protocol}")).unwrap_or_default();
    format!("{}{port}{transport}", wish.host)
}

fn flow(direction: Direction, internal: &Tuple, external: &Tuple) -> String {
    let arrow = match direction {
        Direction::Inbound => "<-",
        Direction::Outbound => "->",
        Direction::Bidirectional => "<->",
    };
    format!("{} {} {arrow} {}", internal.protocol, end(internal), end(external))
}

fn end(tuple: &Tuple) -> String {
    let text = tuple.to_string();
    let protocol = Protocol::to_string(&tuple.protocol);
    text.strip_prefix(&protocol).map_or_else(|| text.clone(), |rest| rest.trim().to_owned())
}
