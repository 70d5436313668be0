//! A phone that can say anything, but mostly says what fits: its messages are made of those it has received.

use std::fmt::Write;
use std::net::SocketAddr;

use bytes::Bytes;
use sip::message::{Message, Name};
use sip::transport::Hop;

use crate::reader::{choose, recent};

pub(super) const METHODS: [&str; 10] =
    ["BYE", "INVITE", "INFO", "OPTIONS", "UPDATE", "MESSAGE", "PRACK", "REFER", "NOTIFY", "FANCY"];
pub(super) const STATUS: [u16; 20] =
    [200, 180, 183, 100, 202, 302, 401, 404, 408, 481, 486, 487, 491, 500, 503, 603, 420, 422, 580, 405];
/// Fields that mean something to a B2BUA.
pub(super) const EXTRA: [&str; 28] = [
    "Require: 100rel",
    "Supported: 100rel, timer, replaces",
    "Require: histinfo",
    "Session-Expires: 90",
    "Reason: SIP;cause=486;text=\"a\\\"b\"",
    "Retry-After: 5",
    "Session-ID: 0123456789abcdef0123456789abcdef;remote=00000000000000000000000000000000",
    "Record-Route: <sip:192.0.2.77;lr>, <sip:192.0.2.78:5070>",
    "Route: <sip:192.0.2.79>",
    "Replaces: x;to-tag=a;from-tag=b",
    "Max-Forwards: 0",
    "Max-Breadth: 1",
    "Contact: <sip:other@198.51.100.4:5080;transport=tcp>",
    "Contact: <sips:x@[2001:db8::1]>",
    "Warning: 399 a \"b\r\n c\"",
    "Subject: \u{e9}\u{1}",
    "RSeq: 1",
    "RAck: 1 1 INVITE",
    "Refer-To: <sip:c@203.0.113.1>",
    "Proxy-Require: x",
    "Content-Disposition: session;handling=optional",
    "Via: SIP/2.0/UDP 203.0.113.1;branch=z9hG4bKx",
    "Accept: text/plain",
    "Event: refer",
    "Refer-To: <sip:c@h?Replaces=x%3Bto-tag%3Da%3Bfrom-tag%3Db>",
    "Unsupported: precondition",
    "Min-SE: 3600",
    "Require: timer, precondition",
];

#[derive(Debug)]
pub(super) struct Phone {
    letter: char,
    address: SocketAddr,
    /// Where its messages come from when it speaks UDP and TCP.
    pub(super) hops: [Hop; 2],
    pub(super) sent: Vec<(Hop, Bytes)>,
    pub(super) received: Vec<Message>,
    made: u32,
}

/// What a phone writes into a message beside what every message has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// Body.
    pub(super) body: u8,
    /// Bits: which tag (0, 1), oddities (2, 3), an extension of the method in question (4, 5; 6 for its number), and
    /// preconditions in the description (7).
    pub(super) bits: u8,
}

impl Shape {
    pub(super) const PLAIN: Self = Self { body: 0, bits: 0 };
}

impl Phone {
    pub(super) fn new(letter: char, hops: [Hop; 2]) -> Self {
        let address = hops[0].remote;
        Self { letter, address, hops, sent: Vec::new(), received: Vec::new(), made: 0 }
    }

    /// A transaction of its own, at `letter`'s address.
    fn branch(&mut self) -> String {
        self.made += 1;
        format!("z9hG4bK-{}-{}", self.letter, self.made)
    }

    pub(super) fn invite(&mut self, tcp: bool, shape: Shape) -> String {
        let (branch, letter, address) = (self.branch(), self.letter, self.address);
        let made = self.made;
        let transport = if tcp { "TCP" } else { "UDP" };
        let target =
            *choose(&["sip:x@203.0.113.1", "sip:x@10.0.0.1;user=phone", "tel:+15551234"], shape.bits >> 2);
        let text = format!(
            "INVITE {target} SIP/2.0\r\nVia: SIP/2.0/{transport} {address};branch={branch}\r\n\
             Max-Forwards: 70\r\nFrom: \"{letter}\" <sip:{letter}@example.net>;tag={letter}{made}\r\n\
             To: <{target}>\r\nCall-ID: {letter}{made}@example.net\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:{letter}@{address}>\r\n{}",
            extensions(shape)
        );
        finish(text, shape)
    }

    /// A response to a request that was received.
    pub(super) fn response(&self, which: u8, status: u16, shape: Shape) -> Option<String> {
        let requests: Vec<&Message> = self.received.iter().filter(|message| message.is_request()).collect();
        self.response_to(recent(&requests, which)?, status, shape)
    }

    pub(super) fn response_to(&self, request: &Message, status: u16, shape: Shape) -> Option<String> {
        let mut text = format!("SIP/2.0 {status} Any\r\n");
        for header in request.headers() {
            let (line, name) = (String::from_utf8_lossy(header.line), header.name);
            match name {
                Name::Via | Name::From | Name::CallId | Name::CSeq | Name::RecordRoute => text += &line,
                Name::To if request.to().ok()?.tag().is_some() || shape.bits & 4 != 0 => text += &line,
                Name::To => {
                    let tag = self.tag(shape);
                    write!(text, "{};tag={tag}\r\n", line.trim_end()).ok()?;
                }
                _ => {}
            }
        }
        let (letter, address) = (self.letter, self.address);
        if shape.bits & 8 == 0 {
            write!(text, "Contact: <sip:{letter}@{address}>\r\n").ok()?;
        }
        match status {
            101..200 if shape.bits & 16 != 0 => {
                write!(text, "Require: 100rel\r\nRSeq: {}\r\n", 1 + (shape.bits >> 5 & 3)).ok()?;
            }
            200..300 if shape.bits & 16 != 0 => {
                let refresher = if shape.bits & 32 == 0 { "uac" } else { "uas" };
                write!(text, "Session-Expires: 90;refresher={refresher}\r\nAllow: INVITE, UPDATE\r\n")
                    .ok()?;
            }
            422 => text += "Min-SE: 120\r\n",
            _ => {}
        }
        Some(finish(text, shape))
    }

    /// The tag it answers with: one of four, so that there can be forks.
    fn tag(&self, shape: Shape) -> String {
        format!("{}-{}", self.letter, shape.bits & 3)
    }

    /// A request in the dialog of a message that was received.
    pub(super) fn request(&mut self, which: u8, method: &str, shape: Shape) -> Option<String> {
        let message = recent(&self.received, which)?.clone();
        let (from, to) = ends(&message)?;
        let (from, to) = if message.is_request() {
            let tag = if to.contains(";tag=") { String::new() } else { format!(";tag={}", self.tag(shape)) };
            (to + &tag, from)
        } else {
            (from, to)
        };
        let target = message.contacts().next()?.ok()?.uri().to_owned();
        let branch = self.branch();
        let number = match shape.bits & 12 {
            12 => 1,
            _ => 10 + self.made,
        };
        let (letter, address) = (self.letter, self.address);
        let mut text = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch={branch}\r\nMax-Forwards: 70\r\n\
             From: {from}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {number} {method}\r\n\
             Contact: <sip:{letter}@{address}>\r\n",
            message.call_id().ok()?
        );
        text += &match method {
            "PRACK" => self.acknowledged(which).unwrap_or_default(),
            "INVITE" | "UPDATE" => extensions(shape),
            _ => String::new(),
        };
        Some(finish(text, shape))
    }

    /// RAck for one of the reliable responses that were received.
    fn acknowledged(&self, which: u8) -> Option<String> {
        let reliable: Vec<&Message> =
            self.received.iter().filter(|message| message.header(Name::RSeq).is_some()).collect();
        let response = recent(&reliable, which)?;
        let number = String::from_utf8_lossy(response.header(Name::RSeq)?).into_owned();
        Some(format!("RAck: {number} {} INVITE\r\n", response.cseq().ok()?.number))
    }

    /// ACK to a final response to INVITE that was received.
    pub(super) fn ack(&mut self, which: u8, shape: Shape) -> Option<String> {
        let finals = self.received.iter().filter(|message| is_final(message)).collect::<Vec<_>>();
        let response = (*recent(&finals, which)?).clone();
        self.ack_to(&response, shape)
    }

    pub(super) fn ack_to(&mut self, response: &Message, shape: Shape) -> Option<String> {
        let (from, to) = ends(response)?;
        let branch = self.branch();
        let via = match response.status() {
            200..300 => format!("SIP/2.0/UDP {};branch={branch}", self.address),
            _ => String::from_utf8_lossy(response.values(Name::Via).next()?).into_owned(),
        };
        let target = response.contacts().find_map(Result::ok);
        let target =
            target.map_or_else(|| "sip:x@203.0.113.1".to_owned(), |contact| contact.uri().to_owned());
        let text = format!(
            "ACK {target} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\n\
             Call-ID: {}\r\nCSeq: {} ACK\r\n",
            response.call_id().ok()?,
            response.cseq().ok()?.number
        );
        Some(finish(text, shape))
    }

    /// CANCEL for an INVITE that was sent.
    pub(super) fn cancel(&self, which: u8) -> Option<(Hop, String)> {
        let invites: Vec<_> = self.sent.iter().filter(|(_, bytes)| bytes.starts_with(b"INVITE ")).collect();
        let (hop, bytes) = recent(&invites, which)?;
        let invite = Message::parse(bytes.clone()).ok()?;
        let (from, to) = ends(&invite)?;
        let text = format!(
            "CANCEL {} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {}\r\n\
             CSeq: {} CANCEL\r\nContent-Length: 0\r\n\r\n",
            invite.request_uri(),
            String::from_utf8_lossy(invite.values(Name::Via).next()?),
            invite.call_id().ok()?,
            invite.cseq().ok()?.number
        );
        Some((*hop, text))
    }
}

pub(super) fn is_final(message: &Message) -> bool {
    message.status() >= 200 && message.method().text() == "INVITE"
}

/// From and To as they are written.
fn ends(message: &Message) -> Option<(String, String)> {
    let value = |name| Some(String::from_utf8_lossy(message.header(name)?).into_owned());
    Some((value(Name::From)?, value(Name::To)?))
}

/// What an INVITE or UPDATE says that its sender can do.
fn extensions(shape: Shape) -> String {
    let mut text = String::new();
    if shape.bits & 16 != 0 {
        text += "Supported: 100rel, timer, precondition, replaces\r\nAllow: INVITE, ACK, BYE, CANCEL, PRACK, UPDATE\r\n";
    }
    if shape.bits & 32 != 0 {
        text += "Session-Expires: 90\r\n";
    }
    if shape.bits & 64 != 0 {
        text += if shape.bits & 128 == 0 { "Require: 100rel\r\n" } else { "Require: precondition\r\n" };
    }
    text
}

/// Adds the body.
fn finish(mut text: String, shape: Shape) -> String {
    let body = body(shape);
    if !body.is_empty() {
        text += if shape.body & 15 == 14 {
            "Content-Type: text/plain\r\n"
        } else {
            "Content-Type: application/sdp\r\n"
        };
    }
    text + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

fn body(Shape { body, bits }: Shape) -> String {
    let version = 1 + (body >> 6);
    let port = 20_000 + 10 * u16::from(body >> 4 & 3);
    let media = match body & 15 {
        0 => return String::new(),
        1 => format!("c=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"),
        2 => format!("c=IN IP4 10.0.40.7\r\nt=0 0\r\nm=audio {port} RTP/AVP 0\r\n"),
        3 => format!(
            "c=IN IP4 192.0.2.10\r\nm=audio {port} RTP/AVP 0\r\nm=video 20100 RTP/AVP 96\r\na=rtcp-mux\r\n"
        ),
        4 => format!(
            "c=IN IP4 10.0.40.7\r\nm=audio {port} RTP/AVP 0\r\nm=video 20100 RTP/AVP 96\r\na=rtcp:20105\r\n"
        ),
        5 => format!("c=IN IP4 0.0.0.0\r\nm=audio {port} RTP/AVP 0\r\n"),
        6 => "c=IN IP4 10.0.40.7\r\nm=audio 0 RTP/AVP 0\r\n".into(),
        7 => "c=IN IP4 10.0.40.7\r\nm=audio 0 RTP/AVP 0\r\nm=video 20100 RTP/AVP 96\r\n".into(),
        8 => "c=IN IP6 2001:db8:40::7\r\nm=audio 20000 RTP/AVP 0\r\n".into(),
        9 => "c=IN IP4 10.0.40.7\r\nm=audio 20000/3 RTP/AVP 0\r\n".into(),
        10 => "c=IN IP4 10.0.40.8\r\n".to_owned() + &"m=audio 20000 RTP/AVP 0\r\n".repeat(17),
        11 => "c=IN IP4 203.0.113.1\r\nm=audio 20000 RTP/AVP 0\r\n".into(),
        12 => format!("c=IN IP4 192.0.2.10\r\na=inactive\r\nm=audio {port} RTP/AVP 0\r\na=rtcp-mux\r\n"),
        13 => return "not a description\r\n".into(),
        14 => return "hello".into(),
        _ => "c=IN IP4 evil.example\r\nm=audio 20000 TCP/RTP/AVP 0\r\n".into(),
    };
    let conditions = match bits & 0b1001_0000 {
        128 => "a=curr:fw e2e none\r\na=des:fw mandatory e2e sendrecv\r\n",
        144 => "a=curr:fw e2e sendrecv\r\na=des:fw mandatory e2e sendrecv\r\na=conf:qos e2e recv\r\n",
        _ => "",
    };
    format!("v=0\r\no=- 7 {version} IN IP4 192.0.2.99\r\ns=-\r\n{media}{conditions}")
}
