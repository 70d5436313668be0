//! A phone of a flow: writes plain SIP and remembers just enough of its dialog.
//!
//! `A > METHOD words…` sends a request: inside the dialog if there is one, otherwise outside any.
//! `B > STATUS [METHOD] words…` answers the last request of that method (INVITE if none is named).
//! ACK to a final failure is sent without being asked; a PRACK names the last reliable response unless a RAck is given.
//!
//! | word | does |
//! |---|---|
//! | `c=ADDR m=KIND PORT … a=TEXT` | session description; `o=N` its version |
//! | `m=KIND:PROTO PORT …` | another protocol than RTP/AVP |
//! | `m=KIND*N PORT …` | the m-line N times |
//! | `a=curr:…`, `a=des:…`, `a=conf:…` | with the words that belong to it (RFC 3312 §4) |
//! | `body=TYPE:TEXT` | another body, `~` is a space and `|` the end of a line |
//! | `{Name: value}` | one more header field, or in place of the one that the phone writes |
//! | `{-Name}` | without that header field |
//! | `sip:…` `uri=URI` | another Request-URI |
//! | `tag=T` | our tag: another early dialog |
//! | `to=T` `from=T` | another To or From tag than the dialog's |
//! | `cseq=N` | another number |
//! | `again` | the same bytes as the last message of that method, or with that status |
//! | `back` | the last request of that method that was received, sent back as a proxy would |
//! | `auth=USER:PASSWORD` | credentials for the last challenge |
//! | `new` | forget the dialog first |

use std::fmt::Write;
use std::net::SocketAddr;

use bytes::Bytes;
use sip::digest::{Challenge, Secret, Session};
use sip::message::{Message, Name};

/// A phone.
#[derive(Debug)]
pub struct Phone {
    letter: char,
    /// Where it is.
    pub address: SocketAddr,
    uri: String,
    /// Stands in every branch and Call-ID of its own, so that two flows can follow one another.
    run: String,
    branches: u32,
    calls: u32,
    dialog: Option<Dialog>,
    /// Number and branch of our last INVITE.
    invite: (u32, u32),
    /// RAck for the last reliable response.
    rack: Option<String>,
    /// What we were asked last, and with which status.
    asked: Option<(u16, Session)>,
    received: Vec<Message>,
    sent: Vec<(String, Bytes)>,
}

#[derive(Debug, Clone)]
struct Dialog {
    call_id: String,
    local: String,
    /// Without tag.
    remote_uri: String,
    remote_tag: Option<String>,
    target: String,
    cseq: u32,
}

/// The words behind a method or a status.
#[derive(Debug, Default)]
struct Words {
    uri: Option<String>,
    tag: Option<String>,
    to: Option<String>,
    from: Option<String>,
    cseq: Option<u32>,
    auth: Option<String>,
    method: Option<String>,
    headers: Vec<String>,
    sdp: Vec<String>,
    body: Option<(String, String)>,
    version: u32,
    again: bool,
    back: bool,
    new: bool,
}

impl Phone {
    /// A phone; `uri` is where its first request goes.
    #[must_use]
    pub fn new(letter: char, address: SocketAddr, uri: String) -> Self {
        Self {
            letter,
            address,
            uri,
            run: String::new(),
            branches: 0,
            calls: 0,
            dialog: None,
            invite: (0, 0),
            rack: None,
            asked: None,
            received: Vec::new(),
            sent: Vec::new(),
        }
    }

    /// The letter that stands for it.
    #[must_use]
    pub fn letter(&self) -> char {
        self.letter
    }

    /// What its last dialog is called in flows: `$CALL-A` its Call-ID, `$OURS-A` the B2BUA's tag, `$THEIRS-A` its own.
    #[must_use]
    pub fn names(&self) -> Vec<(String, String)> {
        let Some(dialog) = &self.dialog else { return Vec::new() };
        let name = |kind: &str| format!("${kind}-{}", self.letter);
        let mut names = vec![(name("CALL"), dialog.call_id.clone()), (name("THEIRS"), dialog.local.clone())];
        names.extend(dialog.remote_tag.clone().map(|tag| (name("OURS"), tag)));
        names
    }

    /// The same phone in another run.
    #[must_use]
    pub fn of_run(self, number: usize) -> Self {
        Self { run: format!("-run{number}"), ..self }
    }

    /// What it sends for these words.
    ///
    /// # Errors
    /// The word that means nothing, or what is missing for it.
    pub fn send(&mut self, text: &str) -> Result<Bytes, String> {
        let (first, rest) = text.split_once(' ').unwrap_or((text, ""));
        let words = Words::parse(rest)?;
        let key = format!("{first} {}", words.method.as_deref().unwrap_or_default());
        if words.again {
            let sent = self.sent.iter().rev().find(|(sent, _)| *sent == key);
            return sent.map(|(_, bytes)| bytes.clone()).ok_or_else(|| format!("no {first} was sent"));
        }
        if words.back {
            return self.send_back(first);
        }
        let message = match first.parse::<u16>() {
            Ok(status) => self.response(status, &words)?,
            Err(_) => self.request(first, &words)?,
        };
        let bytes = Bytes::from(message);
        self.sent.push((key, bytes.clone()));
        Ok(bytes)
    }

    fn send_back(&mut self, method: &str) -> Result<Bytes, String> {
        let request = self.received.iter().rev().find(|message| message.method().text() == method);
        let request = request.ok_or_else(|| format!("no {method} was received"))?;
        let text = String::from_utf8_lossy(request.bytes());
        let (start, rest) = text.split_once("\r\n").ok_or("no start line")?;
        self.branches += 1;
        let (address, letter, branch, run) = (self.address, self.letter, self.branches, &self.run);
        let via = format!("Via: SIP/2.0/UDP {address};branch=z9hG4bK-{letter}-{branch}{run}");
        Ok(Bytes::from(format!("{start}\r\n{via}\r\n{rest}")))
    }

    /// Takes note of what arrives; an ACK to a final failure comes back.
    pub fn receive(&mut self, bytes: &Bytes) -> Option<Bytes> {
        let message = Message::parse(bytes.clone()).ok()?;
        if message.is_request() {
            self.learn_request(&message);
            self.received.push(message);
            return None;
        }
        if matches!(message.method().text(), "SUBSCRIBE" | "REFER") {
            self.learn_response(&message);
        }
        if let Some(challenge) = Challenge::choose(&message, |_| true) {
            self.asked = Session::begin(&challenge, 1).map(|session| (message.status(), session));
        }
        if message.method().text() != "INVITE" {
            return None;
        }
        if let (Ok(Some(rseq)), Ok(cseq)) = (message.rseq(), message.cseq()) {
            self.rack = Some(format!("{rseq} {cseq}"));
        }
        self.learn_response(&message);
        (message.status() >= 300).then(|| Bytes::from(self.ack_failure(&message)))
    }

    fn learn_request(&mut self, message: &Message) {
        let subscribes = matches!(message.method().text(), "SUBSCRIBE" | "REFER");
        if subscribes && message.to().is_ok_and(|to| to.tag().is_none()) {
            self.dialog = None;
        }
        let Some(dialog) = &mut self.dialog else {
            let Ok(from) = message.from() else { return };
            self.dialog = Some(Dialog {
                call_id: message.call_id().unwrap_or_default().to_owned(),
                local: format!("{}-1", self.letter),
                remote_uri: from.uri().to_owned(),
                remote_tag: from.tag().map(str::to_owned),
                target: target(message).unwrap_or_default(),
                cseq: 0,
            });
            return;
        };
        if let Some(target) = target(message) {
            dialog.target = target;
        }
    }

    fn learn_response(&mut self, message: &Message) {
        let Some(dialog) = &mut self.dialog else { return };
        if message.call_id() != Ok(&dialog.call_id) || message.status() >= 300 {
            return;
        }
        if let Ok(to) = message.to()
            && let Some(tag) = to.tag()
            && (dialog.remote_tag.is_none() || message.status() >= 200)
        {
            dialog.remote_tag = Some(tag.to_owned());
        }
        if let Some(target) = target(message) {
            dialog.target = target;
        }
    }

    fn request(&mut self, method: &str, words: &Words) -> Result<String, String> {
        if words.new || self.dialog.is_none() {
            self.calls += 1;
            self.dialog = Some(Dialog {
                call_id: format!("call-{}-{}{}", self.letter, self.calls, self.run),
                local: format!("{}-1", self.letter),
                remote_uri: self.uri.clone(),
                remote_tag: None,
                target: self.uri.clone(),
                cseq: 0,
            });
        }
        let in_invite = matches!(method, "ACK" | "CANCEL");
        if method != "CANCEL" {
            self.branches += 1;
        }
        let dialog = self.dialog.as_mut().ok_or("no dialog")?;
        if !in_invite {
            dialog.cseq = words.cseq.unwrap_or(dialog.cseq + 1);
        }
        if method == "INVITE" {
            self.invite = (dialog.cseq, self.branches);
        }
        let number = if in_invite { words.cseq.unwrap_or(self.invite.0) } else { dialog.cseq };
        let branch = if method == "CANCEL" { self.invite.1 } else { self.branches };
        let (letter, address, run) = (self.letter, self.address, &self.run);
        // CANCEL repeats the INVITE's To; the flow's INVITEs that are cancelled make calls, so it has no tag.
        let remote_tag =
            words.to.as_ref().or_else(|| dialog.remote_tag.as_ref().filter(|_| method != "CANCEL"));
        let remote_tag = remote_tag.map(|tag| format!(";tag={tag}")).unwrap_or_default();
        let target = match method {
            "CANCEL" => &self.uri,
            _ => words.uri.as_ref().unwrap_or(&dialog.target),
        };
        let local = words.from.as_ref().or(words.tag.as_ref()).unwrap_or(&dialog.local);
        let mut text = format!(
            "{method} {target} SIP/2.0\r\nVia: SIP/2.0/UDP {address};branch=z9hG4bK-{letter}-{branch}{run}\r\n\
             Max-Forwards: 70\r\nFrom: \"Phone {letter}\" <sip:{letter}@{letter}.example>;tag={local}\r\n\
             To: <{}>{remote_tag}\r\nCall-ID: {}\r\nCSeq: {number} {method}\r\n",
            dialog.remote_uri, dialog.call_id
        );
        if method != "CANCEL" && method != "BYE" {
            let _written = write!(text, "Contact: <sip:{letter}@{address}>\r\n");
        }
        if let Some(rack) = self.rack.as_ref().filter(|_| method == "PRACK") {
            let _written = write!(text, "RAck: {rack}\r\n");
        }
        if let Some(auth) = &words.auth {
            let uri = target.clone();
            text += &self.credentials(auth, method, &uri)?;
        }
        words.finish(&mut text, self.letter);
        Ok(text)
    }

    /// The answer to the last challenge.
    fn credentials(&mut self, auth: &str, method: &str, uri: &str) -> Result<String, String> {
        let (user, password) = auth.split_once(':').ok_or("auth=USER:PASSWORD")?;
        let (status, session) = self.asked.as_mut().ok_or("nobody has asked")?;
        let secret = Secret::password(password).ok_or("a password")?;
        let value = session.answer(user, &secret, method, uri).ok_or("a challenge that can be answered")?;
        let name = if *status == 401 { "Authorization" } else { "Proxy-Authorization" };
        Ok(format!("{name}: {value}\r\n"))
    }

    fn ack_failure(&self, response: &Message) -> String {
        let value = |name| String::from_utf8_lossy(response.header(name).unwrap_or_default()).into_owned();
        let number = response.cseq().map_or(0, |cseq| cseq.number);
        format!(
            "ACK {} SIP/2.0\r\nVia: {}\r\nMax-Forwards: 70\r\nFrom: {}\r\nTo: {}\r\nCall-ID: {}\r\n\
             CSeq: {number} ACK\r\nContent-Length: 0\r\n\r\n",
            self.uri,
            value(Name::Via),
            value(Name::From),
            value(Name::To),
            value(Name::CallId),
        )
    }

    fn response(&self, status: u16, words: &Words) -> Result<String, String> {
        let method = words.method.as_deref().unwrap_or("INVITE");
        let request = self.received.iter().rev().find(|message| message.method().text() == method);
        let request = request.ok_or_else(|| format!("no {method} was received"))?;
        let dialog = self.dialog.as_ref().ok_or("no dialog")?;
        let tag = words.tag.as_ref().unwrap_or(&dialog.local);
        let mut text = format!("SIP/2.0 {status} {}\r\n", phrase(status));
        for header in request.headers() {
            let value = String::from_utf8_lossy(header.value);
            match header.name {
                Name::Via | Name::From | Name::CallId | Name::CSeq => {
                    let _written = write!(text, "{}: {value}\r\n", header.name);
                }
                Name::To if value.contains("tag=") || status == 100 => {
                    let _written = write!(text, "To: {value}\r\n");
                }
                Name::To => {
                    let _written = write!(text, "To: {value};tag={tag}\r\n");
                }
                _ => {}
            }
        }
        if method == "INVITE" && status < 300 {
            let _written = write!(text, "Contact: <sip:{}@{}>\r\n", self.letter, self.address);
        }
        words.finish(&mut text, self.letter);
        Ok(text)
    }
}

fn target(message: &Message) -> Option<String> {
    Some(message.contacts().next()?.ok()?.uri().to_owned())
}

fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Session Progress",
        200 => "OK",
        486 => "Busy Here",
        487 => "Request Terminated",
        _ => "As The Flow Says",
    }
}

impl Words {
    fn parse(text: &str) -> Result<Self, String> {
        let mut words = Self { version: 1, ..Self::default() };
        let mut rest = text.trim();
        while !rest.is_empty() {
            if let Some(inner) = rest.strip_prefix('{') {
                let (header, behind) = inner.split_once('}').ok_or("a { without }")?;
                words.headers.push(header.to_owned());
                rest = behind.trim_start();
                continue;
            }
            let (word, behind) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = behind.trim_start();
            match word.split_once('=') {
                Some(("m", kind)) => {
                    let (port, behind) = rest.split_once(' ').unwrap_or((rest, ""));
                    let (kind, times) = kind.split_once('*').unwrap_or((kind, "1"));
                    let times = times.parse().map_err(|_| word.to_owned())?;
                    let (kind, protocol) = kind.split_once(':').unwrap_or((kind, "RTP/AVP"));
                    words.sdp.extend(std::iter::repeat_n(format!("m={kind} {port} {protocol} 0"), times));
                    rest = behind.trim_start();
                }
                Some(("c", address)) => {
                    let family = if address.contains(':') { "IP6" } else { "IP4" };
                    words.sdp.push(format!("c=IN {family} {address}"));
                }
                Some(("uri", uri)) => words.uri = Some(uri.to_owned()),
                Some(("body", body)) => {
                    let (kind, text) = body.split_once(':').ok_or("a body without a type")?;
                    words.body = Some((kind.to_owned(), text.replace('~', " ").replace('|', "\r\n")));
                }
                Some(("a", value)) => {
                    let (value, behind) = attribute(value, rest);
                    words.sdp.push(format!("a={}", value.replace('~', " ")));
                    rest = behind;
                }
                Some(("o", version)) => words.version = version.parse().map_err(|_| word.to_owned())?,
                Some(("tag", tag)) => words.tag = Some(tag.to_owned()),
                Some(("to", tag)) => words.to = Some(tag.to_owned()),
                Some(("from", tag)) => words.from = Some(tag.to_owned()),
                Some(("auth", auth)) => words.auth = Some(auth.to_owned()),
                Some(("cseq", number)) => words.cseq = number.parse().ok(),
                _ => words.plain(word)?,
            }
        }
        Ok(words)
    }

    fn plain(&mut self, word: &str) -> Result<(), String> {
        match word {
            "again" => self.again = true,
            "back" => self.back = true,
            "new" => self.new = true,
            _ if word.starts_with("sip:") || word.starts_with("sips:") || word.starts_with("tel:") => {
                self.uri = Some(word.to_owned());
            }
            _ if word.bytes().all(|byte| byte.is_ascii_uppercase()) => self.method = Some(word.to_owned()),
            _ => return Err(format!("what does {word} mean?")),
        }
        Ok(())
    }

    /// Writes the other header fields and the body.
    fn finish(&self, text: &mut String, letter: char) {
        let mut body = String::new();
        if !self.sdp.is_empty() {
            let version = self.version;
            let _written = write!(body, "v=0\r\no={letter} 7 {version} IN IP4 192.0.2.99\r\ns=-\r\n");
            let media = self.sdp.iter().position(|line| line.starts_with("m=")).unwrap_or(self.sdp.len());
            for (position, line) in self.sdp.iter().enumerate() {
                if position == media {
                    body += "t=0 0\r\n";
                }
                let _written = write!(body, "{line}\r\n");
            }
            *text += "Content-Type: application/sdp\r\n";
        }
        if let Some((kind, other)) = &self.body {
            let _written = write!(text, "Content-Type: {kind}\r\n");
            body.clone_from(other);
        }
        let _written = write!(text, "Content-Length: {}\r\n", body.len());
        for header in &self.headers {
            Self::put(text, header);
        }
        let _written = write!(text, "\r\n{body}");
    }

    /// Adds a header field, or lets it take the place of the phone's own; `-Name` takes that away.
    fn put(text: &mut String, header: &str) {
        let name = header.strip_prefix('-').unwrap_or(header);
        let name = name.split_once(':').map_or(name, |(name, _)| name.trim());
        let goes = header.starts_with('-') || OWN.contains(&name);
        let is_it = |line: &str| line.starts_with(&format!("{name}:"));
        *text = text.split_inclusive("\r\n").filter(|line| !(goes && is_it(line))).collect();
        if !header.starts_with('-') {
            let _written = write!(text, "{header}\r\n");
        }
    }
}

/// The value of an attribute: one word with `~` for spaces, and those that belong to a precondition (RFC 3312 §4)
/// behind it.
fn attribute<'t>(word: &'t str, mut rest: &'t str) -> (String, &'t str) {
    let more = match word.split_once(':') {
        Some(("curr" | "conf", _)) => 2,
        Some(("des", _)) => 3,
        Some(_) | None => 0,
    };
    let mut value = word.to_owned();
    for _ in 0..more {
        let (next, behind) = rest.split_once(' ').unwrap_or((rest, ""));
        value = value + " " + next;
        rest = behind.trim_start();
    }
    (value, rest)
}

/// What a phone writes by itself and may stand only once.
const OWN: [&str; 9] =
    ["Call-ID", "Contact", "Content-Length", "Content-Type", "CSeq", "From", "Max-Forwards", "RAck", "To"];
