//! A telephone line: two phones' hosts under observation, Postern between them, and what must be true of every call.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use crate::observer::{Load, Number, Observer, Packet, Way};
use crate::raw::header;
use crate::witness::expect;
use crate::world::{INSIDE, OUTSIDE, Postern, World};

/// Enough sound in one direction to call it a conversation: half a second.
const TALK: usize = 25;
/// A port at which neither phone nor Postern has any interest, and that is no media port.
const IDLE: u16 = 9999;

/// One of the two ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Outside,
    Inside,
}

impl End {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Outside => Self::Inside,
            Self::Inside => Self::Outside,
        }
    }
}

/// Both ends of what is said, and Postern in the middle.
pub(crate) struct Line<'w> {
    pub(crate) postern: &'w Postern<'w>,
    outside: Observer,
    inside: Observer,
}

impl<'w> Line<'w> {
    pub(crate) fn watch(world: &World, postern: &'w Postern<'w>) -> io::Result<Self> {
        let line =
            Self { postern, outside: Observer::on(&world.outside)?, inside: Observer::on(&world.inside)? };
        expect(line.passes(&line.likely()?)?, 0, "packets that pass before there is a call")?;
        Ok(line)
    }

    pub(crate) fn at(&self, end: End) -> &Observer {
        match end {
            End::Outside => &self.outside,
            End::Inside => &self.inside,
        }
    }

    /// Waits until a SIP message of this kind has crossed the cable of that end so many times, retransmissions counted.
    pub(crate) fn until(&self, end: End, way: Way, kind: &str) -> io::Result<()> {
        self.until_seen(end, way, kind, 1)
    }

    /// The same where earlier ones do not suffice.
    pub(crate) fn until_seen(&self, end: End, way: Way, kind: &str, times: usize) -> io::Result<()> {
        let what = format!("{end:?} has {way:?} {kind:?} {times} times");
        self.wait_for(&what, || Ok(self.messages(end, way, kind)?.len() >= times))
    }

    /// The SIP messages of this kind: a method, or a status code and the method it answers, without retransmissions.
    pub(crate) fn messages(&self, end: End, way: Way, kind: &str) -> io::Result<Vec<String>> {
        let mut found: Vec<String> = Vec::new();
        for packet in self.at(end).seen()?.iter().filter(|packet| packet.way == way) {
            if let Some(text) =
                packet.sip().filter(|text| is_kind(text, kind) && !found.iter().any(|one| one == text))
            {
                found.push(text.to_owned());
            }
        }
        Ok(found)
    }

    /// Waits until these ends have heard half a second more of sound.
    pub(crate) fn until_heard(&self, ends: &[End]) -> io::Result<()> {
        let before = ends.iter().map(|end| self.at(*end).heard()).collect::<io::Result<Vec<_>>>()?;
        self.wait_for(&format!("{ends:?} hears the other"), || {
            let mut all = true;
            for (end, before) in ends.iter().zip(&before) {
                all &= self.at(*end).heard()? >= before + TALK;
            }
            Ok(all)
        })
    }

    /// Waits until half a second of sound has come to this port of an end.
    pub(crate) fn until_heard_at(&self, end: End, port: u16) -> io::Result<()> {
        let is_it =
            |packet: &Packet| packet.way == Way::Heard && packet.rtp().is_some() && packet.to.port() == port;
        self.wait_for(&format!("{end:?} hears at {port}"), || Ok(self.at(end).count(is_it)? >= TALK))
    }

    /// Says something by hand between these ports, to a phone that sends everything back; each packet goes there and comes back.
    pub(crate) fn echo(&self, end: End, from: u16, to: u16) -> io::Result<()> {
        let here = |end| address(if end == End::Outside { OUTSIDE } else { INSIDE }, 0).map(|a| *a.ip());
        let [from, to] = [SocketAddrV4::new(here(end)?, from), SocketAddrV4::new(here(end.other())?, to)];
        // RFC 3550 §5.1: version 2, PCMU, sequence number, timestamp, SSRC; 20 ms of silence.
        let ssrc = u32::try_from(crate::raw::number()).map_err(io::Error::other)?;
        for number in 0..TALK as u16 {
            let head = [&[0x80, 0], &number.to_be_bytes()[..], &[0; 4], &ssrc.to_be_bytes()].concat();
            self.at(end).send_as(from, to, &[head, vec![0xff; 160]].concat())?;
        }
        let comes_back = |p: &Packet| {
            p.way == Way::Heard && p.to == from && p.rtp().is_some_and(|number| number.ssrc == ssrc)
        };
        self.wait_for("what was said has come back", || Ok(self.at(end).count(comes_back)? == TALK))
    }

    /// Both hear each other, and the firewall would let more of the same pass.
    pub(crate) fn talk(&self) -> io::Result<()> {
        self.until_heard(&[End::Outside, End::Inside])
    }

    pub(crate) fn wait_for(&self, what: &str, is_true: impl FnMut() -> io::Result<bool>) -> io::Result<()> {
        self.postern
            .wait_for(what, is_true)
            .map_err(|error| io::Error::other(format!("{error}\n{}", self.story())))
    }

    /// The same for what takes its time.
    pub(crate) fn wait_within(
        &self,
        patience: Duration,
        what: &str,
        is_true: impl FnMut() -> io::Result<bool>,
    ) -> io::Result<()> {
        let waited = self.postern.wait_within(patience, what, is_true);
        waited.map_err(|error| io::Error::other(format!("{error}\n{}", self.story())))
    }

    /// Waits until no call and no pinhole is left, and then tells whether what passed was all of what had to pass and nothing else.
    pub(crate) fn is_over(&self) -> io::Result<()> {
        self.wait_for("no call and no pinhole is left", || {
            let calls = self.postern.json(&["calls"])?;
            Ok(calls["calls"].as_array().is_some_and(Vec::is_empty) && self.postern.pinholes()? == (0, 0))
        })?;
        let told = |error| io::Error::other(format!("{error}\n{}", self.story()));
        expect(self.passes(&self.used()?)?, 0, "packets that pass after the call, where media passed in it")
            .map_err(told)?;
        for end in [End::Outside, End::Inside] {
            self.nothing_was_lost(end).map_err(told)?;
            self.nothing_was_added(end).map_err(told)?;
            self.nothing_came_late(end).map_err(told)?;
        }
        expect(self.postern.log().contains("panicked"), false, "a panic in the log")
    }

    /// Each RTP packet that this end sent before the call's end, to a port that it had been told, was heard by the other.
    /// (SIPp sends back what it hears, also before it knows the other's SDP. That must not pass.)
    fn nothing_was_lost(&self, end: End) -> io::Result<()> {
        let far = self.at(end.other()).seen()?;
        let heard: HashSet<Number> =
            far.iter().filter(|packet| packet.way == Way::Heard).filter_map(Packet::rtp).collect();
        let (mut told, mut lost) = (HashSet::new(), Vec::new());
        for packet in self.at(end).seen()?.iter() {
            match (packet.way, &packet.load) {
                (_, Load::Sip(text)) if is_kind(text, "BYE") => break,
                (Way::Heard, Load::Sip(text)) => told.extend(ports(text)),
                (Way::Sent, Load::Rtp(number))
                    if told.contains(&packet.to.port()) && !heard.contains(number) =>
                {
                    lost.push((packet.from, packet.to, *number));
                }
                (Way::Sent | Way::Heard, _) => {}
            }
        }
        expect(lost, Vec::new(), &format!("RTP packets lost that {end:?} sent"))
    }

    /// Each media packet that this end heard was sent by the other, to a port that this end had announced before.
    fn nothing_was_added(&self, end: End) -> io::Result<()> {
        let sent: HashSet<Number> = self
            .at(end.other())
            .seen()?
            .iter()
            .filter(|p| p.way == Way::Sent)
            .filter_map(Packet::rtp)
            .collect();
        let mut announced = HashSet::new();
        for packet in self.at(end).seen()?.iter() {
            match (packet.way, &packet.load) {
                (Way::Sent, Load::Sip(text)) => announced.extend(ports(text)),
                (Way::Heard, Load::Rtp(number)) if !sent.contains(number) => {
                    return Err(io::Error::other(format!("{end:?} heard what nobody sent: {packet:?}")));
                }
                (Way::Heard, Load::Rtp(_)) if !announced.contains(&packet.to.port()) => {
                    return Err(io::Error::other(format!(
                        "{end:?} heard at a port it had not announced: {packet:?}"
                    )));
                }
                (Way::Heard, Load::Other(_))
                    if packet.to.port() != IDLE && !announced.contains(&(packet.to.port() & !1)) =>
                {
                    return Err(io::Error::other(format!("{end:?} heard what is no media: {packet:?}")));
                }
                (Way::Sent | Way::Heard, _) => {}
            }
        }
        Ok(())
    }

    /// Who hangs up, and is told that it has happened, hears nothing more of that call.
    fn nothing_came_late(&self, end: End) -> io::Result<()> {
        let seen = self.at(end).seen()?;
        for (told, packet) in seen.iter().enumerate().filter(|(_, packet)| packet.way == Way::Heard) {
            let Some(response) = packet.sip().filter(|text| is_kind(text, "200 BYE")) else { continue };
            let call = header(response, "Call-ID");
            let of_call = seen.iter().filter(|packet| packet.way == Way::Sent).filter_map(Packet::sip);
            let ports: HashSet<u16> =
                of_call.filter(|text| header(text, "Call-ID") == call).flat_map(ports).collect();
            let is_late =
                |p: &&Packet| p.way == Way::Heard && p.rtp().is_some() && ports.contains(&p.to.port());
            expect(
                seen[told..].iter().filter(is_late).count(),
                0,
                &format!("RTP packets that {end:?} heard after the call"),
            )?;
        }
        Ok(())
    }

    /// How many of these packets, sent by hand, reach the other end. One that must pass tells that the others have had their time.
    pub(crate) fn passes(&self, pairs: &[(SocketAddrV4, SocketAddrV4)]) -> io::Result<usize> {
        let [outside, inside] = [address(OUTSIDE, IDLE)?, address(INSIDE, IDLE)?];
        let text = format!("knock {}", crate::raw::number());
        let is_ours = |packet: &Packet| {
            packet.way == Way::Heard && matches!(&packet.load, Load::Other(o) if o == text.as_bytes())
        };
        for (from, to) in pairs {
            let end = if from.ip() == inside.ip() { End::Inside } else { End::Outside };
            self.at(end).send_as(*from, *to, text.as_bytes())?;
        }
        // The administrator lets everything out, and replies in.
        self.inside.send_as(inside, outside, text.as_bytes())?;
        self.wait_for("what may pass has passed outwards", || {
            Ok(self.outside.count(|p| is_ours(p) && p.to == outside)? == 1)
        })?;
        self.outside.send_as(outside, inside, text.as_bytes())?;
        self.wait_for("what may pass has passed inwards", || {
            Ok(self.inside.count(|p| is_ours(p) && p.to == inside)? == 1)
        })?;
        Ok(self.outside.count(is_ours)? + self.inside.count(is_ours)? - 2)
    }

    /// From where to where RTP has passed so far.
    pub(crate) fn used(&self) -> io::Result<Vec<(SocketAddrV4, SocketAddrV4)>> {
        let mut pairs = Vec::new();
        for end in [End::Outside, End::Inside] {
            for packet in self.at(end).seen()?.iter().filter(|p| p.way == Way::Heard && p.rtp().is_some()) {
                if !pairs.contains(&(packet.from, packet.to)) {
                    pairs.push((packet.from, packet.to));
                }
            }
        }
        Ok(pairs)
    }

    /// From where to where RTP will most likely pass, as the phones are configured.
    fn likely(&self) -> io::Result<Vec<(SocketAddrV4, SocketAddrV4)>> {
        let [outside, inside] = [address(OUTSIDE, 20_000)?, address(INSIDE, 20_000)?];
        Ok(vec![(outside, inside), (inside, outside)])
    }

    /// What was seen at both ends, RTP summed up, for a failure.
    pub(crate) fn story(&self) -> String {
        let mut story = String::new();
        for end in [End::Outside, End::Inside] {
            let _ = writeln!(story, "-- {end:?}");
            let Ok(seen) = self.at(end).seen() else { continue };
            let mut media = 0;
            for packet in seen.iter() {
                let Some(text) = packet.sip() else {
                    media += 1;
                    continue;
                };
                let _ = writeln!(
                    story,
                    "{media} packets\n{:?} {} > {}\n{text}",
                    packet.way, packet.from, packet.to
                );
                media = 0;
            }
            let _ = writeln!(story, "{media} packets");
        }
        story
    }
}

pub(crate) fn address(host: &str, port: u16) -> io::Result<SocketAddrV4> {
    Ok(SocketAddrV4::new(host.parse::<Ipv4Addr>().map_err(io::Error::other)?, port))
}

/// True for a request with this method (`BYE`), or a response with this code to this method (`200 BYE`).
pub(crate) fn is_kind(text: &str, kind: &str) -> bool {
    match kind.split_once(' ') {
        Some((code, method)) => {
            text.strip_prefix("SIP/2.0 ").is_some_and(|rest| rest.starts_with(code))
                && header(text, "CSeq").ends_with(&format!(" {method}"))
        }
        None => text.strip_prefix(kind).is_some_and(|rest| rest.starts_with(' ')),
    }
}

/// The media ports that a message announces, in its m-lines and in candidates (RFC 8839 §5.1).
pub(crate) fn ports(text: &str) -> Vec<u16> {
    let word =
        |line: &str, start: &str, at: usize| line.strip_prefix(start)?.split(' ').nth(at)?.parse().ok();
    let lines = text.lines().filter_map(|line| word(line, "m=", 1).or_else(|| word(line, "a=candidate:", 5)));
    lines.filter(|port| *port != 0).collect()
}
