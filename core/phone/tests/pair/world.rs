//! Two phones on one wire without loss; time jumps from event to event.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use machine::{Instant, Machine, Outbox, Rng};
use postern_phone::{
    Answer, By, CallNumber, Config, Event, Extensions, Input, Named, Oddities, Offer, Output, Phone, Remote,
};
use sdp::Direction;
use sip::transaction::TimerValues;
use sip::transport::{Hop, ListenerId, Protocol};

pub(crate) fn address(host: usize, port: u16) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host as u8 + 1], port))
}

pub(crate) fn hop(host: usize) -> Hop {
    Hop {
        listener: ListenerId(0),
        protocol: Protocol::Udp,
        remote: address(host, 5060),
        connection: None,
        name: None,
    }
}

pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) phones: [Phone; 2],
    pub(crate) wire: BTreeMap<(Instant, usize), (usize, Bytes)>,
    pub(crate) sent: usize,
    pub(crate) events: Vec<(usize, Event)>,
    pub(crate) log: Vec<String>,
    /// All messages, by who sent them.
    all: Vec<(usize, Bytes)>,
    /// Somebody on the wire who changes texts, given the start line as well.
    pub(crate) rewrite: Option<fn(&str, String) -> String>,
}

pub(crate) const CALL: CallNumber = CallNumber(1);

impl Pair {
    pub(crate) fn new(answer: Answer, oddities: [Oddities; 2]) -> Self {
        Self::of(|host, config| {
            config.answer = answer;
            config.oddities = oddities[host];
        })
    }

    /// Phone 0 calls phone 1; both are as `change` makes them of plain ones that answer after a second.
    pub(crate) fn of(change: impl Fn(usize, &mut Config)) -> Self {
        let mut rng = Rng::from_number(1);
        let phones = [0, 1].map(|host| {
            let mut config = Config {
                user: ["anna", "bert"][host].to_owned(),
                address: address(host, 5060),
                named: Named::default(),
                protocol: Protocol::Udp,
                media: address(host, 4000),
                answer: ACCEPT,
                timers: TimerValues::default(),
                extensions: Extensions::default(),
                oddities: Oddities::default(),
            };
            change(host, &mut config);
            Phone::new(config, rng.fork())
        });
        Self {
            now: Instant::ZERO,
            phones,
            wire: BTreeMap::new(),
            sent: 0,
            events: Vec::new(),
            log: Vec::new(),
            all: Vec::new(),
            rewrite: None,
        }
    }

    pub(crate) fn calling(answer: Answer, oddities: [Oddities; 2]) -> Self {
        Self::new(answer, oddities).call()
    }

    /// As [`Pair::of`]; phone 0 has dialled.
    pub(crate) fn calling_of(change: impl Fn(usize, &mut Config)) -> Self {
        Self::of(change).call()
    }

    pub(crate) fn call(mut self) -> Self {
        let pair = &mut self;
        pair.input(0, Input::Call { to: "sip:bert@192.0.2.2".to_owned(), next: hop(1) });
        self
    }

    pub(crate) fn input(&mut self, host: usize, input: Input) {
        let mut out = Outbox::new();
        self.phones[host].handle(self.now, input, &mut out);
        self.carry_out(host, out);
    }

    pub(crate) fn carry_out(&mut self, host: usize, out: Outbox<Output>) {
        for output in out {
            match output {
                Output::Event(event) => self.events.push((host, event)),
                Output::Transmit(transmit) => {
                    let line = transmit.bytes.split(|&byte| byte == b'\r').next().unwrap_or_default();
                    let word = String::from_utf8_lossy(line).into_owned();
                    let word = word.split(' ').find(|word| *word != "SIP/2.0").unwrap().to_owned();
                    self.log.push(format!("{host} {word}"));
                    self.sent += 1;
                    self.all.push((host, transmit.bytes.clone()));
                    let at = self.now + Duration::from_millis(1);
                    self.wire.insert((at, self.sent), (1 - host, self.on_the_way(transmit.bytes)));
                }
            }
        }
    }

    fn on_the_way(&self, bytes: Bytes) -> Bytes {
        let Some(rewrite) = self.rewrite else { return bytes };
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let body = rewrite(head, body.to_owned());
        let lines = head.split("\r\n").map(|line| match line.starts_with("Content-Length:") {
            true => format!("Content-Length: {}", body.len()),
            false => line.to_owned(),
        });
        Bytes::from(format!("{}\r\n\r\n{body}", lines.collect::<Vec<_>>().join("\r\n")))
    }

    /// Runs for so long.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            let next = [
                self.wire.first_key_value().map(|((at, _), _)| *at),
                self.phones[0].next_timeout().map(|next| next.0),
                self.phones[1].next_timeout().map(|next| next.0),
            ];
            let Some(next) = next.into_iter().flatten().min().filter(|next| *next <= end) else { break };
            self.now = self.now.max(next);
            while let Some(first) = self.wire.first_entry().filter(|entry| entry.key().0 <= self.now) {
                let (host, bytes) = first.remove();
                self.input(host, Input::Received { hop: hop(1 - host), bytes });
            }
            for host in [0, 1] {
                let mut out = Outbox::new();
                self.phones[host].handle_timeout(self.now, &mut out);
                self.carry_out(host, out);
            }
        }
        self.now = end;
    }

    pub(crate) fn finish(&mut self) {
        self.run(Duration::from_secs(120));
        assert!(self.phones.iter().all(Phone::is_idle), "something is left over: {:?}", self.log);
    }

    pub(crate) fn ends(&self) -> Vec<(usize, u16)> {
        self.events
            .iter()
            .filter_map(|(host, event)| match event {
                Event::Ended { status, .. } => Some((*host, *status)),
                _ => None,
            })
            .collect()
    }
}

pub(crate) const ACCEPT: Answer = Answer::Accept { after: Duration::from_secs(1) };
/// What both phones are unless a test says otherwise.
pub(crate) const GOOD: fn() -> [Oddities; 2] = Default::default;

pub(crate) fn offer(by: By, media: SocketAddr, direction: Direction) -> Input {
    Input::Offer { call: CALL, offer: Offer { by, media, direction, video: None, fax: false } }
}

/// What the tests look for.
impl Pair {
    /// The last message that `host` sent or received whose start line begins so.
    pub(crate) fn find(&self, start: &str) -> Bytes {
        let found = self.all.iter().rev().find(|(_, bytes)| bytes.starts_with(start.as_bytes()));
        found.map(|(_, bytes)| bytes.clone()).unwrap()
    }

    /// All messages of a host that begin so, in order.
    pub(crate) fn sent_by(&self, host: usize, start: &str) -> Vec<Bytes> {
        let all = self.all.iter().filter(|(by, bytes)| *by == host && bytes.starts_with(start.as_bytes()));
        all.map(|(_, bytes)| bytes.clone()).collect()
    }

    /// The lengths of the bodies of all messages whose start line begins so (after the SIP version, for a response).
    pub(crate) fn bodies(&self, start: &str) -> Vec<usize> {
        let is_it = |text: &str| text.trim_start_matches("SIP/2.0 ").starts_with(start);
        let texts = self.all.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned());
        texts
            .filter(|text| is_it(text))
            .map(|text| text.split("\r\n\r\n").nth(1).map_or(0, str::len))
            .collect()
    }

    /// All bodies, in order.
    pub(crate) fn all_sdp(&self) -> Vec<String> {
        let texts = self.all.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned());
        texts
            .filter_map(|text| text.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()))
            .filter(|body| !body.is_empty())
            .collect()
    }

    /// All `o=` lines, in order.
    pub(crate) fn origins(&self) -> Vec<String> {
        let texts: Vec<_> =
            self.all.iter().map(|(_, bytes)| String::from_utf8_lossy(bytes).into_owned()).collect();
        let lines = texts.iter().flat_map(|text| text.lines());
        lines.filter(|line| line.starts_with("o=")).map(str::to_owned).collect()
    }

    /// Gives a message to a host, as if it came from the other.
    pub(crate) fn deliver(&mut self, host: usize, bytes: Bytes) {
        self.input(host, Input::Received { hop: hop(1 - host), bytes });
    }

    fn remotes(&self, host: usize) -> impl DoubleEndedIterator<Item = &Remote> {
        self.events.iter().filter(move |(at, _)| *at == host).filter_map(|(_, event)| match event {
            Event::Ringing { remote, .. }
            | Event::Answered { remote, .. }
            | Event::Changed { remote, .. } => remote.as_ref(),
            _ => None,
        })
    }

    /// Where a phone sends now.
    pub(crate) fn remote(&self, host: usize) -> Option<SocketAddr> {
        self.remotes(host).next_back()?.rtp
    }

    /// The last SDP a phone got.
    pub(crate) fn last_sdp(&self, host: usize) -> String {
        String::from_utf8(self.remotes(host).next_back().unwrap().sdp.to_vec()).unwrap()
    }

    /// Whether each phone was in the call.
    pub(crate) fn answered(&self) -> [bool; 2] {
        [0, 1].map(|host| {
            self.events.iter().any(|(at, event)| *at == host && matches!(event, Event::Answered { .. }))
        })
    }
}
