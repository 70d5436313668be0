//! Two phones of a flow at real sockets, and the program between them.

use std::collections::BTreeSet;
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::Bytes;
use flows::Script;
use flows::kernel::Move;
use flows::phone::Phone;
use flows::render;
use serde_json::Value;
use sip::message::Message;

use crate::world::{Postern, World, signal};

const OUTSIDE: &str = "192.0.2.10:5060";
const INSIDE: &str = "10.0.0.5:5060";
/// How the Call-IDs of requests that no flow knows begin.
const PING: &str = "ping-";
/// How long a message may take; it only bounds a failure.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long nobody is waited for who should not come.
const QUIET: Duration = Duration::from_millis(30);

/// See the module.
pub(crate) struct Stage<'w> {
    postern: Postern<'w>,
    outside: UdpSocket,
    inside: UdpSocket,
    /// Call-IDs of flows that are over; what still comes of them is nobody's business.
    past: BTreeSet<String>,
    runs: usize,
    /// As many questions of our own were sent, and that one was answered last.
    pings: u64,
    pongs: u64,
}

/// One of the two phones of the flow that is played.
struct Seat {
    phone: Phone,
    border: SocketAddr,
    received: Vec<Bytes>,
    /// As many of them have been looked at.
    read: usize,
}

/// One flow on the stage.
struct Play<'s, 'w> {
    stage: &'s mut Stage<'w>,
    seats: [Seat; 2],
    a_inside: bool,
    show: Vec<String>,
    call_ids: BTreeSet<String>,
}

impl<'w> Stage<'w> {
    pub(crate) fn new(world: &'w World, config: &str) -> io::Result<Self> {
        let postern = world.postern(config)?;
        let bind = |host: &netns::Host, address: &str| {
            let socket = host.run(|| UdpSocket::bind(address))?;
            socket.set_nonblocking(true)?;
            Ok::<_, io::Error>(socket)
        };
        let (outside, inside) = (bind(&world.outside, OUTSIDE)?, bind(&world.inside, INSIDE)?);
        Ok(Self { postern, outside, inside, past: BTreeSet::new(), runs: 0, pings: 0, pongs: 0 })
    }

    /// Plays a flow to its end.
    pub(crate) fn play(&mut self, script: &Script, moves: &[Move]) -> io::Result<()> {
        self.runs += 1;
        let value =
            |name: &str| script.settings.iter().find(|(set, _)| set == name).map(|(_, value)| &**value);
        let a_inside = value("call") == Some("inside");
        let show = value("show").unwrap_or_default().split(',').map(|name| name.trim().to_owned());
        let show = show.filter(|name| !name.is_empty()).collect();
        let seat = |letter, inside: bool, target: &str| {
            let (own, border) =
                if inside { (INSIDE, "10.0.0.1:5060") } else { (OUTSIDE, "203.0.113.1:5060") };
            Ok::<_, io::Error>(Seat {
                phone: Phone::new(letter, address(own)?, target.to_owned()).of_run(self.runs),
                border: address(border)?,
                received: Vec::new(),
                read: 0,
            })
        };
        let target = if a_inside { "sip:b@10.0.0.1" } else { "sip:b@203.0.113.1" };
        let seats = [seat('A', a_inside, target)?, seat('B', !a_inside, "sip:a@203.0.113.1")?];
        let mut play = Play { stage: self, seats, a_inside, show, call_ids: BTreeSet::new() };
        let played = moves.iter().try_for_each(|one| play.make(one)).and_then(|()| play.nothing_is_left());
        let call_ids = std::mem::take(&mut play.call_ids);
        self.past.extend(call_ids);
        played
    }

    /// Ends whatever a flow has left, for the next one.
    pub(crate) fn clear(&mut self) -> io::Result<()> {
        signal(self.postern.half("middlebox")?, "CONT")?;
        self.postern.wait_for("the calls of a flow have ended", || {
            let calls = self.postern.json(&["calls"])?;
            // One that is ending may wait for an answer that no phone gives any more.
            let alive = each(&calls, "calls").filter(|call| call["state"] != "ending");
            let ids: Vec<u64> = alive.filter_map(|call| call["id"].as_u64()).collect();
            for id in &ids {
                // It may have ended by itself meanwhile.
                let _gone = self.postern.text(&["kick", &id.to_string()]);
            }
            Ok(ids.is_empty() && self.postern.pinholes()? == (0, 0))
        })
    }
}

impl Play<'_, '_> {
    fn make(&mut self, one: &Move) -> io::Result<()> {
        match one {
            Move::Send { who, words } => {
                let seat = usize::from(*who == 'B');
                let bytes = self.seats[seat].phone.send(words).map_err(io::Error::other)?;
                self.send(seat, &bytes)?;
                self.is_taken_in(seat)
            }
            Move::Expect { line, a, b } => {
                self.expect(0, a).and_then(|()| self.expect(1, b)).map_err(|error| at(*line, &error))
            }
            Move::Rules { line, rules } => self.has(rules).map_err(|error| at(*line, &error)),
            Move::Pause => signal(self.stage.postern.half("middlebox")?, "STOP"),
            Move::Resume => signal(self.stage.postern.half("middlebox")?, "CONT"),
            Move::Revoke(rule) => self.revoke(rule),
            Move::Kick => self.kick(),
            Move::Pass(time) => {
                let until = Instant::now() + *time;
                while Instant::now() < until {
                    self.listen()?;
                }
                Ok(())
            }
        }
    }

    fn send(&mut self, seat: usize, bytes: &[u8]) -> io::Result<()> {
        let border = self.seats[seat].border;
        self.socket(seat).send_to(bytes, border).map(drop)
    }

    /// Waits until the program has read what a phone has sent: until it has answered what came behind that.
    fn is_taken_in(&mut self, seat: usize) -> io::Result<()> {
        self.stage.pings += 1;
        let (number, own, border) =
            (self.stage.pings, self.seats[seat].phone.address, self.seats[seat].border);
        let ping = format!(
            "OPTIONS sip:{border} SIP/2.0\r\nVia: SIP/2.0/UDP {own};branch=z9hG4bKping{number}\r\n\
             Max-Forwards: 70\r\nFrom: <sip:ping@{own}>;tag=p\r\nTo: <sip:{border}>\r\n\
             Call-ID: {PING}{number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
        );
        let until = Instant::now() + PATIENCE;
        self.send(seat, ping.as_bytes())?;
        while self.stage.pongs != number {
            self.listen()?;
            if Instant::now() > until {
                return Err(io::Error::other("nothing is answered any more"));
            }
        }
        Ok(())
    }

    fn socket(&self, seat: usize) -> &UdpSocket {
        if (seat == 0) == self.a_inside { &self.stage.inside } else { &self.stage.outside }
    }

    /// Takes in what has arrived, or waits a moment.
    fn listen(&mut self) -> io::Result<()> {
        let mut room = [0; 65_536];
        let mut heard = false;
        for seat in [0, 1] {
            loop {
                match self.socket(seat).recv(&mut room) {
                    Ok(length) => self.hear(seat, Bytes::copy_from_slice(&room[..length]))?,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
                heard = true;
            }
        }
        if !heard {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    fn hear(&mut self, seat: usize, bytes: Bytes) -> io::Result<()> {
        let message = Message::parse(bytes.clone()).ok();
        let call_id = message.as_ref().and_then(|message| message.call_id().ok()).unwrap_or_default();
        if let Some(number) = call_id.strip_prefix(PING) {
            self.stage.pongs = number.parse().unwrap_or(self.stage.pongs);
            return Ok(());
        }
        if self.stage.past.contains(call_id) {
            return Ok(());
        }
        self.call_ids.insert(call_id.to_owned());
        let again = self.seats[seat].received.contains(&bytes);
        let is_request = message.is_some_and(|message| message.is_request());
        let ack = if again && is_request { None } else { self.seats[seat].phone.receive(&bytes) };
        self.seats[seat].received.push(bytes);
        ack.map_or(Ok(()), |ack| self.send(seat, &ack))
    }

    /// The next of what a phone received that the program has not merely repeated, as a flow writes it; `wanted` may be a
    /// repetition.
    fn next(&mut self, seat: usize, wanted: Option<&str>) -> Option<String> {
        let Seat { received, read, .. } = &mut self.seats[seat];
        while let Some(bytes) = received.get(*read) {
            let again = received[..*read].contains(bytes);
            let text = render::sip(bytes, &self.show);
            *read += 1;
            if !again || wanted.is_some_and(|wanted| comparable(wanted) == comparable(&text)) {
                return Some(text);
            }
        }
        None
    }

    fn expect(&mut self, seat: usize, wanted: &[String]) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        for wanted in wanted {
            let got = loop {
                self.listen()?;
                match self.next(seat, Some(wanted)) {
                    Some(got) => break got,
                    None if Instant::now() > until => break "(nothing)".to_owned(),
                    None => {}
                }
            };
            if comparable(&got) != comparable(wanted) {
                let who = if seat == 0 { 'A' } else { 'B' };
                let all = |seat: &Seat| {
                    let texts = seat.received.iter().map(|bytes| render::sip(bytes, &[]));
                    texts.collect::<Vec<_>>().join(", ")
                };
                let [a, b] = &self.seats;
                return Err(io::Error::other(format!(
                    "{who} wanted {wanted}, got {got}; all that A got: {}; B: {}",
                    all(a),
                    all(b)
                )));
            }
        }
        Ok(())
    }

    /// Waits until the middlebox has these rules and no others, and the kernel what they need.
    fn has(&mut self, wanted: &[String]) -> io::Result<()> {
        let until = Instant::now() + PATIENCE;
        loop {
            self.listen()?;
            let report = self.stage.postern.json(&["pinholes", "--kernel"])?;
            let mut rules: Vec<String> = each(&report, "rules").map(rule).collect();
            rules.sort_unstable();
            let open = wanted.iter().any(|rule| !rule.starts_with("reserved"));
            let same = each(&report, "missing").chain(each(&report, "foreign")).next().is_none()
                && open == each(&report, "kernel").next().is_some();
            if rules == wanted && same {
                return Ok(());
            }
            if Instant::now() > until {
                return Err(io::Error::other(format!("wanted the rules {wanted:?}, there is {report}")));
            }
        }
    }

    fn revoke(&mut self, wanted: &str) -> io::Result<()> {
        let report = self.stage.postern.json(&["pinholes"])?;
        let found = each(&report, "rules").find(|line| rule(line) == *wanted);
        let pid = found.and_then(|line| line["pid"].as_u64());
        let pid = pid.ok_or_else(|| io::Error::other(format!("no rule {wanted} in {report}")))?;
        self.stage.postern.text(&["revoke", &pid.to_string()]).map(drop)
    }

    fn kick(&mut self) -> io::Result<()> {
        let calls = self.stage.postern.json(&["calls"])?;
        let id = each(&calls, "calls").filter_map(|call| call["id"].as_u64()).max();
        let id = id.ok_or_else(|| io::Error::other("there is no call to end"))?;
        self.stage.postern.text(&["kick", &id.to_string()]).map(drop)
    }

    /// Nobody has received what the flow does not say.
    fn nothing_is_left(&mut self) -> io::Result<()> {
        let until = Instant::now() + QUIET;
        while Instant::now() < until {
            self.listen()?;
        }
        for (seat, who) in [(0, 'A'), (1, 'B')] {
            if let Some(text) = self.next(seat, None) {
                return Err(io::Error::other(format!("{who} got {text}, which the flow does not say")));
            }
        }
        Ok(())
    }
}

/// Without what is drawn by lot (RFC 3261 §14.2), and without the port that a configuration file always has.
fn comparable(text: &str) -> String {
    let text = text.replace(":5060", "");
    match text.split_once("{Retry-After: ") {
        Some((before, after)) => {
            let rest = after.trim_start_matches(|letter: char| letter.is_ascii_digit());
            format!("{before}{{Retry-After: …{rest}")
        }
        None => text,
    }
}

fn each<'r>(report: &'r Value, list: &str) -> impl Iterator<Item = &'r Value> {
    report[list].as_array().into_iter().flatten()
}

/// A line of `pinholes` as flows write a rule.
fn rule(line: &Value) -> String {
    let word = |key: &str| line[key].as_str().unwrap_or_default();
    let outside = word("outside").split_once(' ').map_or("", |(_, place)| place);
    match word("direction") {
        "in" => format!("{} <- {outside}", word("inside")),
        "out" => format!("{} -> {outside}", word("inside")),
        _ => format!("reserved {}", word("inside")),
    }
}

fn at(line: usize, error: &io::Error) -> io::Error {
    io::Error::other(format!("before line {line}: {error}"))
}

fn address(text: &str) -> io::Result<SocketAddr> {
    text.parse().map_err(io::Error::other)
}
