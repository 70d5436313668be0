//! The ledger against a toy middlebox, step by step and at random.

mod exchanges;
mod fallback;
mod figures;
mod forks;
mod narrowing;
mod nat;
mod random;
mod toy;
mod upkeep;

use std::sync::Arc;
use std::time::Duration;

use machine::{Instant, Outbox};
use midcom::{Capabilities, Direction, Failure, IpVersions, Lifetime, MiddleboxId, Reply, Request, Tuple};
use sdp::{MediaPolicy, Refusal, Session};

use super::*;
use crate::config::OnHold;
use toy::Toy;

/// One ledger, one middlebox with side B inside: A calls from outside, unless a test says otherwise.
struct Bench {
    ledger: Ledger,
    ids: RequestIds,
    out: Outbox<LedgerRequest>,
    now: Instant,
    toy: Toy,
    /// Requests not yet answered, oldest first.
    open: Vec<LedgerRequest>,
}

fn realm(networks: &[&str], source: SourcePolicy) -> Arc<Realm> {
    let media = MediaPolicy {
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        ports: 16384..=32767,
        own_addresses: vec![],
        outside_places: Vec::new(),
        flows_max: 8,
    };
    Arc::new(Realm { media, source, early_media: true })
}

fn capabilities() -> Capabilities {
    Capabilities {
        firewall: true,
        nat: false,
        port_translation: false,
        protocol_translation: false,
        twice_nat: false,
        disable_rules: true,
        internal_wildcards: true,
        external_wildcards: true,
        port_wildcards: true,
        persistent: true,
        inside: IpVersions::Both,
        outside: IpVersions::Both,
        lifetime_max: Lifetime(3600),
    }
}

fn terms(source: SourcePolicy) -> Terms {
    let crossing = Crossing {
        middlebox: MiddleboxId(0),
        inside: Side::B,
        capabilities: capabilities(),
        up: true,
        partner: None,
    };
    Terms {
        path: MediaPath::from_iter([crossing]),
        realms: Sides { a: realm(&["192.0.2.0/24"], source), b: realm(&["10.0.0.0/24"], source) },
        rule_lifetime: Lifetime(600),
        rules_max: 64,
        reserve: false,
        crucial: Crucial::FirstAudio,
        hold: OnHold::Keep,
    }
}

/// One m-line a word: `20000`, `20000@10.0.0.8`, `video:20002`, with `,mux`, `,rtcp=20009`, `,sendonly` or
/// `,ice=20000@10.0.0.8` (a candidate) behind.
fn description(address: &str, streams: &str) -> Vec<u8> {
    let mut text = format!("v=0\r\no=- 1 1 IN IP4 {address}\r\ns=-\r\nc=IN IP4 {address}\r\nt=0 0\r\n");
    for stream in streams.split_whitespace() {
        let mut parts = stream.split(',');
        let first = parts.next().unwrap();
        let (media, place) = match first.split_once(':') {
            Some((media, place)) if media.chars().all(char::is_alphabetic) => (media, place),
            Some(_) | None => ("audio", first),
        };
        let (port, own) = place.split_once('@').map_or((place, None), |(port, own)| (port, Some(own)));
        text += &format!("m={media} {port} RTP/AVP 0\r\n");
        if let Some(own) = own {
            let family = if own.contains(':') { "IP6" } else { "IP4" };
            text += &format!("c=IN {family} {own}\r\n");
        }
        for attribute in parts {
            text += &match attribute.split_once('=') {
                Some(("ice", place)) => {
                    let (port, host) = place.split_once('@').unwrap_or((place, address));
                    format!("a=candidate:1 1 UDP 1 {host} {port} typ host\r\n")
                }
                Some((name, value)) => format!("a={name}:{value}\r\n"),
                None if attribute == "mux" => "a=rtcp-mux\r\n".to_owned(),
                None => format!("a={attribute}\r\n"),
            };
        }
    }
    text.into_bytes()
}

const A: &str = "192.0.2.7";
const B: &str = "10.0.0.7";

fn session(bytes: &[u8]) -> Session<'_> {
    Session::parse(bytes).unwrap()
}

impl Bench {
    fn new(source: SourcePolicy) -> Self {
        Self::with(terms(source))
    }

    fn with(terms: Terms) -> Self {
        Self {
            ledger: Ledger::new(terms),
            ids: RequestIds::default(),
            out: Outbox::new(),
            now: Instant::ZERO,
            toy: Toy::default(),
            open: vec![],
        }
    }

    /// What the ledger has asked since the last look, as text, one request a line.
    fn asked(&mut self) -> Vec<String> {
        let new: Vec<_> = self.out.drain().collect();
        let texts = new.iter().map(|request| text(&request.request)).collect();
        self.open.extend(new);
        texts
    }

    /// Answers the oldest open request as the toy does, or with `failure`.
    fn reply_with(&mut self, failure: Option<Failure>) -> Progress {
        self.asked();
        let request = self.open.remove(0);
        let result = match failure {
            Some(failure) => Err(failure),
            None => self.toy.answer(self.now, &request.request),
        };
        self.ledger.replied(self.now, request.id, result, &mut self.ids, &mut self.out)
    }

    fn reply(&mut self) -> Progress {
        self.reply_with(None)
    }

    fn refuse(&mut self, failure: Failure) -> Progress {
        self.reply_with(Some(failure))
    }

    /// Answers everything; what it meant, without the pending ones.
    fn settle(&mut self) -> Vec<Progress> {
        let mut seen = vec![];
        self.asked();
        while !self.open.is_empty() {
            seen.push(self.reply());
            self.asked();
        }
        seen.retain(|progress| *progress != Progress::Pending);
        seen
    }

    fn offered(&mut self, by: Side, address: &str, streams: &str) -> Result<Step, Refusal> {
        let bytes = description(address, streams);
        let session = session(&bytes);
        self.ledger.offered(self.now, by, &session, &mut self.ids, &mut self.out)
    }

    fn answered(&mut self, by: Side, address: &str, streams: &str) -> Result<Step, Refusal> {
        let bytes = description(address, streams);
        let session = session(&bytes);
        self.ledger.answered(self.now, by, &session, &mut self.ids, &mut self.out)
    }

    fn preview(&mut self, by: Side, address: &str, streams: &str) -> Result<Step, Refusal> {
        let bytes = description(address, streams);
        let session = session(&bytes);
        self.ledger.preview(self.now, (by, 0), &session, &mut self.ids, &mut self.out)
    }

    fn completed(&mut self) {
        self.ledger.completed(self.now, None, &mut self.ids, &mut self.out);
    }

    fn abandoned(&mut self) {
        self.ledger.abandoned(self.now, None, &mut self.ids, &mut self.out);
    }

    fn close(&mut self) {
        self.ledger.close(self.now, &mut self.ids, &mut self.out);
    }

    fn tick(&mut self, seconds: u64) -> Option<Loss> {
        self.now += Duration::from_secs(seconds);
        self.ledger.handle_timeout(self.now, &mut self.ids, &mut self.out)
    }

    fn event(&mut self, prid: u32, seconds: u32) -> EventEffect {
        let (middlebox, prid, lifetime) = (MiddleboxId(0), Prid(prid), Lifetime(seconds));
        self.toy.rules.remove(&prid);
        self.ledger.rule_event(self.now, middlebox, prid, lifetime, &mut self.ids, &mut self.out)
    }

    /// A whole exchange, all confirmed, nothing left to ask.
    fn exchange(&mut self, by: Side, offer: (&str, &str), answer: (&str, &str)) {
        self.offered(by, offer.0, offer.1).unwrap();
        self.settle();
        self.answered(by.other(), answer.0, answer.1).unwrap();
        self.settle();
        self.completed();
        self.settle();
    }
}

/// A request as the tests write it: `PER out 10.0.0.0/24:* > 192.0.2.7:20000-20001`.
fn text(request: &Request) -> String {
    let strip = |tuple: &Tuple| tuple.to_string().replace("udp ", "");
    let way = |direction: &Direction, internal: &Tuple, external: &Tuple| match direction {
        Direction::Inbound => format!("in {} < {}", strip(internal), strip(external)),
        Direction::Outbound => format!("out {} > {}", strip(internal), strip(external)),
        Direction::Bidirectional => format!("both {} {}", strip(internal), strip(external)),
    };
    let joins = |group: &Option<Gid>| group.map_or(String::new(), |Gid(group)| format!(" gid={group}"));
    match request {
        Request::Enable { direction, internal, external, group, .. } => {
            format!("PER {}{}", way(direction, internal, external), joins(group))
        }
        Request::EnableReserved { prid, direction, internal, external, .. } => {
            format!("PEA {} {}", prid.0, way(direction, internal, external))
        }
        Request::Reserve { ports, group, .. } => format!("PRR {ports}{}", joins(group)),
        Request::Lifetime { prid, lifetime } => format!("PLC {} {}", prid.0, lifetime.0),
        Request::Disable { .. } | Request::Status { .. } | Request::List | Request::Count { .. } => {
            format!("{request:?}")
        }
    }
}

/// A reply that confirms a rule.
fn confirmed(prid: u32, outside: &str) -> Reply {
    let network = outside.parse().unwrap();
    let outside = Tuple { network, protocol: midcom::Protocol::Udp, port: 20000, range: 2 };
    let (prid, group) = (Prid(prid), Gid(prid));
    Reply::Enabled { prid, group, lifetime: Lifetime(600), outside, inside: None }
}
