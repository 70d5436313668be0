//! How the phones of the model write: as those of flows do, so that a path can be printed as a flow.

use std::fmt::Write;
use std::net::SocketAddr;

use b2bua::side::Side;
use bytes::Bytes;
use machine::Text;
use sip::message::{Message, Name};

/// A phone's end of a dialog.
#[derive(Debug, Clone)]
pub struct Dialog {
    /// Call-ID.
    pub call_id: String,
    /// To or From without tag.
    pub remote_uri: String,
    /// The other end's tag, once it is known.
    pub remote_tag: Option<String>,
    /// Where requests go.
    pub target: String,
    /// The number of the last request.
    pub cseq: u32,
}

/// A session description as a flow writes it, and as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sdp {
    /// Whose.
    pub side: Side,
    /// Whether its author is inside.
    pub is_inside: bool,
    /// How often it has changed.
    pub moved: u16,
    /// That of the second early dialog, which is another host.
    pub is_other: bool,
    /// What it says of a precondition.
    pub met: Met,
}

/// How far a precondition is (RFC 3312).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Met {
    /// Nothing is said of one.
    Unsaid,
    /// It is wanted.
    Wanted,
    /// It is wanted, and whoever reads this is asked to say when it is met.
    Confirm,
    /// It is met.
    Yes,
}

impl Met {
    fn lines(self) -> &'static [&'static str] {
        const MANDATORY: &str = "a=des:fw mandatory e2e sendrecv";
        match self {
            Self::Unsaid => &[],
            Self::Wanted => &["a=curr:fw e2e none", MANDATORY],
            Self::Confirm => &["a=curr:fw e2e none", MANDATORY, "a=conf:fw e2e sendrecv"],
            Self::Yes => &["a=curr:fw e2e sendrecv", MANDATORY],
        }
    }
}

impl Sdp {
    /// Where media shall go.
    #[must_use]
    pub fn place(self) -> (&'static str, u16) {
        match (self.is_inside, self.is_other) {
            (false, false) => ("192.0.2.10", 20_000 + 2 * self.moved),
            (false, true) => ("192.0.2.11", 21_000 + 2 * self.moved),
            (true, true) => ("10.0.40.8", 31_000 + 2 * self.moved),
            (true, false) => ("10.0.40.7", 30_000 + 2 * self.moved),
        }
    }

    fn version(self) -> u16 {
        self.moved + 1 + u16::from(self.met == Met::Yes)
    }

    /// The words of a flow.
    #[must_use]
    pub fn words(self) -> String {
        let (address, port) = self.place();
        let version = if self.version() == 1 { String::new() } else { format!(" o={}", self.version()) };
        let lines: String = self.met.lines().iter().map(|line| format!(" {line}")).collect();
        format!(" c={address} m=audio {port}{lines}{version}")
    }

    fn text(self) -> String {
        let (address, port) = self.place();
        let (letter, version) = (self.side, self.version());
        let lines: String = self.met.lines().iter().map(|line| format!("{line}\r\n")).collect();
        format!(
            "v=0\r\no={letter} 7 {version} IN IP4 192.0.2.99\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n\
             m=audio {port} RTP/AVP 0\r\n{lines}"
        )
    }
}

/// What a phone writes with.
#[derive(Debug, Clone, Copy)]
pub struct Pen {
    /// Whose.
    pub side: Side,
    /// Where it is.
    pub address: SocketAddr,
    /// Which of its tags: 1, or 2 for the second early dialog.
    pub tag: u8,
}

/// Whom the caller calls: somebody at our address on its side.
#[must_use]
pub fn callee(is_inside: bool) -> &'static str {
    if is_inside { "sip:b@10.0.0.1" } else { "sip:b@203.0.113.1" }
}

impl Pen {
    /// Whether its owner is inside.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        self.address == flows::world::INSIDE
    }

    /// A request; the branch is made of method and number.
    #[must_use]
    pub fn request(
        self,
        (method, number): (&str, u32),
        dialog: &Dialog,
        sdp: Option<Sdp>,
        header: Option<&str>,
    ) -> Text<Bytes> {
        let Self { side, address, tag: own } = self;
        let transaction = if method == "CANCEL" { "INVITE" } else { method };
        // CANCEL repeats the INVITE's To.
        let tag = dialog.remote_tag.as_deref().filter(|_| method != "CANCEL" || number > 1);
        let tag = tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let mut text = format!(
            "{method} {} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK-{side}-{transaction}-{number}\r\n\
             Max-Forwards: 70\r\nFrom: \"Phone {side}\" <sip:{side}@{side}.example>;tag={side}-{own}\r\n\
             To: <{}>{tag}\r\nCall-ID: {}\r\nCSeq: {number} {method}\r\n",
            dialog.target, dialog.remote_uri, dialog.call_id
        );
        if method != "CANCEL" && method != "BYE" {
            let _written = write!(text, "Contact: <sip:{side}@{address}>\r\n");
        }
        finish(text, sdp, header)
    }

    /// A response.
    #[must_use]
    pub fn response(
        self,
        request: &Message,
        status: u16,
        sdp: Option<Sdp>,
        header: Option<&str>,
    ) -> Text<Bytes> {
        let Self { side, address, tag } = self;
        let mut text = format!("SIP/2.0 {status} {}\r\n", phrase(status));
        for header in request.headers() {
            let value = String::from_utf8_lossy(header.value);
            let _written = match header.name {
                Name::Via | Name::From | Name::CallId | Name::CSeq => {
                    write!(text, "{}: {value}\r\n", header.name)
                }
                Name::To if value.contains("tag=") => write!(text, "To: {value}\r\n"),
                Name::To => write!(text, "To: {value};tag={side}-{tag}\r\n"),
                _ => Ok(()),
            };
        }
        if request.method().text() == "INVITE" && status < 300 {
            let _written = write!(text, "Contact: <sip:{side}@{address}>\r\n");
        }
        finish(text, sdp, header)
    }

    /// The ACK to a final failure: part of its transaction.
    #[must_use]
    pub fn ack_to_failure(self, target: &str, response: &Message) -> Text<Bytes> {
        let value = |name| String::from_utf8_lossy(response.header(name).unwrap_or_default()).into_owned();
        let number = response.cseq().map_or(0, |cseq| cseq.number);
        let text = format!(
            "ACK {target} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: {number} ACK\r\n",
            value(Name::Via),
            value(Name::From),
            value(Name::To),
            value(Name::CallId),
        );
        finish(text, None, None)
    }
}

fn finish(mut text: String, sdp: Option<Sdp>, header: Option<&str>) -> Text<Bytes> {
    if let Some(header) = header {
        let _written = write!(text, "{header}\r\n");
    }
    let body = sdp.map(Sdp::text).unwrap_or_default();
    if !body.is_empty() {
        text += "Content-Type: application/sdp\r\n";
    }
    let _written = write!(text, "Content-Length: {}\r\n\r\n{body}", body.len());
    Text(Bytes::from(text))
}

fn phrase(status: u16) -> &'static str {
    match status {
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        486 => "Busy Here",
        487 => "Request Terminated",
        _ => "As The Model Says",
    }
}
