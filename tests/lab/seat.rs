//! A phone of a flow at a real socket, beside the phone that the machine alone talks with: what both are told must be the
//! same, up to what each run draws by lot.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flows::phone::Phone;
use flows::render;
use netns::Host;
use sip::message::Message;

/// How long a message may take on a busy machine; it only bounds a failure.
const PATIENCE: Duration = Duration::from_secs(60);
/// How the Call-IDs of requests that no flow knows begin.
const PING: &str = "ping-";

/// See the module.
pub(crate) struct Seat {
    pub(crate) phone: Phone,
    socket: UdpSocket,
    border: SocketAddr,
    received: VecDeque<Bytes>,
    /// The last of our own questions that was answered.
    pong: u64,
    /// What it heard last.
    last: Option<String>,
}

/// What is called one thing in the real run and another in the machine's own.
#[derive(Debug, Default)]
pub(crate) struct Names {
    of_machine: BTreeMap<String, String>,
    of_real: BTreeMap<String, String>,
}

impl Seat {
    /// A place at this address of a host, from where calls go to this border.
    pub(crate) fn new(host: &Host, address: &str, border: &str) -> io::Result<Self> {
        let socket = host.run(|| UdpSocket::bind(address))?;
        socket.set_nonblocking(true)?;
        let border = border.parse().map_err(io::Error::other)?;
        let address = address.parse().map_err(io::Error::other)?;
        let phone = Phone::new('-', address, String::new());
        Ok(Self { phone, socket, border, received: VecDeque::new(), pong: 0, last: None })
    }

    /// Another phone sits down; what was said to the last one is not for it.
    pub(crate) fn sit(&mut self, letter: char, target: &str, run: usize) -> io::Result<()> {
        self.phone = Phone::new(letter, self.phone.address, target.to_owned()).of_run(run);
        self.listen()?;
        self.received.clear();
        Ok(())
    }

    pub(crate) fn send(&self, bytes: &[u8]) -> io::Result<()> {
        match self.socket.send_to(bytes, self.border) {
            // That nobody listens there any more is told with what is sent next.
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => Ok(()),
            sent => sent.map(drop),
        }
    }

    /// Asks the program something that no flow knows; see [`Seat::has_pong`].
    pub(crate) fn ping(&self, number: u64) -> io::Result<()> {
        let (own, border) = (self.phone.address, self.border);
        let ping = format!(
            "OPTIONS sip:{border} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKping{number}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:ping@{own}>;tag=p\r\nTo: <sip:{border}>\r\n\
             Call-ID: {PING}{number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        self.send(ping.as_bytes())
    }

    pub(crate) fn has_pong(&self, number: u64) -> bool {
        self.pong == number
    }

    /// Takes in what has arrived. True if there was anything.
    pub(crate) fn listen(&mut self) -> io::Result<bool> {
        let (mut room, mut any) = ([0; 65_536], false);
        loop {
            let length = match self.socket.recv(&mut room) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(any),
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            any = true;
            let bytes = Bytes::copy_from_slice(&room[..length]);
            let message = Message::parse(bytes.clone()).ok();
            let call_id = message.as_ref().and_then(|message| message.call_id().ok()).unwrap_or_default();
            match call_id.strip_prefix(PING) {
                Some(number) => self.pong = number.parse().unwrap_or(self.pong),
                None => {
                    let ack = self.phone.receive(&bytes);
                    self.received.push_back(bytes);
                    ack.map_or(Ok(()), |ack| self.send(&ack))?;
                }
            }
        }
    }

    /// Says this, in the words of a flow.
    pub(crate) fn says(&mut self, words: &str) -> io::Result<()> {
        let bytes = self.phone.send(words).map_err(io::Error::other)?;
        self.send(&bytes)
    }

    /// Waits until it hears this next, 100 left out: the beginning of what a flow would write, with these header fields.
    pub(crate) fn hears(&mut self, wanted: &str, show: &[&str]) -> io::Result<String> {
        let show: Vec<String> = show.iter().map(|name| (*name).to_owned()).collect();
        let until = Instant::now() + PATIENCE;
        while Instant::now() < until {
            self.listen()?;
            match self.next().map(|bytes| render::sip(&bytes, &show)) {
                Some(heard) if heard.starts_with(wanted) => {
                    self.last = Some(heard.clone());
                    return Ok(heard);
                }
                // What is said once more is the same as before.
                Some(heard) if heard == "100" || Some(&heard) == self.last.as_ref() => {}
                Some(heard) => return Err(io::Error::other(format!("heard {heard}, not {wanted}"))),
                None => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Err(io::Error::other(format!("waited in vain for {wanted}")))
    }

    /// True if it was told something that nobody has looked at.
    pub(crate) fn has_news(&self) -> bool {
        !self.received.is_empty()
    }

    /// What it was told next.
    pub(crate) fn next(&mut self) -> Option<Bytes> {
        self.received.pop_front()
    }
}

impl Names {
    /// Learns from two messages that should be the same what is called how in either run.
    pub(crate) fn learn(&mut self, machine: &Bytes, real: &Bytes) {
        let [ours, theirs] = [machine, real].map(|bytes| drawn(&String::from_utf8_lossy(bytes)));
        for (ours, theirs) in ours.iter().zip(&theirs).filter(|(ours, theirs)| ours.len() == theirs.len()) {
            for (ours, theirs) in ours.iter().zip(theirs).filter(|(ours, theirs)| ours != theirs) {
                // What comes first is right: a later message may be a wrong one.
                self.of_real.entry(theirs.clone()).or_insert_with(|| ours.clone());
                self.of_machine.entry(ours.clone()).or_insert_with(|| theirs.clone());
            }
        }
    }

    /// What a phone says in the machine's run, in the words of the real one.
    pub(crate) fn real(&self, words: &str) -> String {
        replaced(words, &self.of_machine)
    }

    /// Both messages as a flow writes them, the real one in the words of the machine's run.
    pub(crate) fn compare(&self, machine: &Bytes, real: &Bytes, show: &[String]) -> (String, String) {
        let text = replaced(&String::from_utf8_lossy(real), &self.of_real);
        (comparable(&render::sip(machine, show)), comparable(&render::sip(&Bytes::from(text), show)))
    }
}

/// The words in header fields that are drawn by lot, field by field.
fn drawn(message: &str) -> Vec<Vec<String>> {
    const FIELDS: [&str; 9] =
        ["Via", "From", "To", "Call-ID", "CSeq", "RSeq", "RAck", "Session-ID", "Replaces"];
    let head = message.split("\r\n\r\n").next().unwrap_or_default();
    let fields = head.split("\r\n").filter_map(|line| line.split_once(": "));
    let random = fields.filter(|(name, _)| FIELDS.contains(name) || ["Refer-To", "Contact"].contains(name));
    // What a registrar calls a phone, and no other word of a Contact, is drawn.
    let is_drawn = |name: &str, word: &str| name != "Contact" || flows::world::is_name(word);
    random
        .map(|(name, value)| words(value).filter(|word| is_drawn(name, word)).map(str::to_owned).collect())
        .collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty())
}

fn replaced(text: &str, names: &BTreeMap<String, String>) -> String {
    let mut all = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find(|letter: char| letter.is_ascii_alphanumeric()) {
        let (before, from) = rest.split_at(start);
        let end = from.find(|letter: char| !letter.is_ascii_alphanumeric()).unwrap_or(from.len());
        let (word, behind) = from.split_at(end);
        all.push_str(before);
        all.push_str(names.get(word).map_or(word, String::as_str));
        rest = behind;
    }
    all + rest
}

/// Without what no two runs have in common and no name is: a time drawn by lot (RFC 3261 §14.2), the length of a body with
/// numbers drawn by lot, the port that a configuration file always has.
fn comparable(text: &str) -> String {
    let mut text = text.replace(":5060", "");
    for field in ["{Retry-After: ", "{Content-Length: "] {
        if let Some((before, after)) = text.split_once(field) {
            let rest = after.trim_start_matches(|letter: char| letter.is_ascii_digit());
            text = format!("{before}{field}…{rest}");
        }
    }
    text
}
