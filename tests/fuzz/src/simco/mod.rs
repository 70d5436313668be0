//! Both ends of a SIMCO session. An input is a row of steps, each an octet and what it needs; `tests/simco` has the
//! cases from which inputs are made.
//!
//! | step | behind it |
//! |---|---|
//! | `RECEIVE` | into how many pieces; length (two octets); the octets |
//! | `PASS` | seconds |
//! | `REPLY` | to which open request; with what |
//! | `ASK` | to the agent: a request; to the middlebox: a rule event |
//! | `END` | the session is to end |
//! | `LINK` | the connection breaks, or is there again |

pub mod agent;
pub mod middlebox;

use midcom::{
    Capabilities, Direction, Failure, Gid, IpVersions, Lifetime, Parity, Passed, Prid, Protocol, Reply,
    Request, RuleStatus, Tuple,
};

use simco::wire::{HEADER_LEN, Header};

use crate::reader::Reader;

const RECEIVE: u8 = 0;
const PASS: u8 = 1;
const REPLY: u8 = 2;
const ASK: u8 = 3;
const END: u8 = 4;
const LINK: u8 = 5;
const STEPS: u8 = 6;

/// Pieces of the language: headers, attributes, whole messages.
const WORDS: &[&[u8]] = &[
    &[RECEIVE, 0, 0, 16],
    &[RECEIVE, 1, 0, 8],
    &[PASS, 5],
    &[PASS, 61],
    &[REPLY, 0, 0],
    &[REPLY, 0, 200],
    &[ASK, 1, 1],
    &[END],
    &[LINK],
    &[1, 1, 0, 8, 0, 0, 0, 1, 0, 1, 0, 4, 3, 0, 0, 0],
    &[1, 2, 0, 0, 0, 0, 0, 2],
    &[1, 3, 0, 0, 0, 0, 0, 3],
    &[1, 0x22, 0, 0, 0, 0, 0, 4],
    &[2, 1, 0, 12, 0, 0, 0, 1, 0, 4, 0, 8, 0x90, 0xe5, 0, 0, 0, 0, 14, 16],
    &[2, 0x15, 0, 0, 0, 0, 0, 2],
    &[3, 0x41, 0, 0, 0, 0, 0, 2],
    &[4, 1, 0, 0, 0, 0, 0, 1],
    &[4, 3, 0, 16, 0, 0, 0, 1, 0, 5, 0, 4, 0, 0, 0, 1, 0, 7, 0, 4, 0, 0, 0, 0],
    &[0, 5, 0, 4, 0, 0, 0, 1],
    &[0, 7, 0, 4, 0, 0, 1, 44],
    &[0, 9, 0, 12, 1, 0x20, 0x11, 0, 0x4e, 0x20, 0, 2, 10, 1, 8, 3],
    &[0, 11, 0, 4, 0, 1, 0, 0],
    &[0xff, 0xff],
    &[0xff, 0xf8],
    &[0x20, 0x01],
];

/// The octets that arrive, in pieces.
fn pieces<'a>(reader: &mut Reader<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
    let how = usize::from(reader.octet());
    let len = usize::from(reader.number());
    let bytes = reader.take(len);
    let size = if how == 0 { bytes.len().max(1) } else { how };
    bytes.chunks(size)
}

/// How many whole messages `arrived` has with `piece`; it keeps the rest.
fn whole(arrived: &mut Vec<u8>, piece: &[u8]) -> usize {
    let mut messages = 0;
    arrived.extend_from_slice(piece);
    while let Some((header, rest)) = Header::split(arrived) {
        if rest.len() < usize::from(header.length) {
            break;
        }
        messages += 1;
        arrived.drain(..HEADER_LEN + usize::from(header.length));
    }
    messages
}

/// The parts of a case that are about `side`, as inputs.
fn inputs(case: &str, side: &str) -> Vec<Vec<u8>> {
    let mut inputs: Vec<(bool, Vec<u8>)> = Vec::new();
    // Where the octets begin that are being read.
    let mut receiving = None;
    for line in case.lines() {
        let text = line.split(';').next().unwrap_or(line);
        let mut words = text.split_whitespace();
        if !line.starts_with(' ') {
            receiving = None;
        }
        let input = inputs.last_mut().map(|(_, input)| input);
        match (words.next(), words.next(), input) {
            (Some("side"), Some(which), _) => inputs.push((which == side, Vec::new())),
            (Some(">"), Some("receive"), Some(input)) => {
                input.extend([RECEIVE, if line.len().is_multiple_of(3) { 5 } else { 0 }, 0, 0]);
                receiving = Some(input.len());
                receive(input, input.len(), words);
            }
            (Some(">"), Some(what), Some(input)) => step(input, what, words),
            (_, _, Some(input)) => {
                if let Some(start) = receiving {
                    receive(input, start, text.split_whitespace());
                }
            }
            _ => {}
        }
    }
    inputs.into_iter().filter(|(wanted, _)| *wanted).map(|(_, input)| input).collect()
}

/// Adds octets to those that begin at `start`, and writes their number in front of them.
fn receive<'a>(input: &mut Vec<u8>, start: usize, words: impl Iterator<Item = &'a str>) {
    input.extend(words.map_while(|word| u8::from_str_radix(word, 16).ok()));
    let len = (input.len() - start) as u16;
    input[start - 2..start].copy_from_slice(&len.to_be_bytes());
}

fn step<'a>(input: &mut Vec<u8>, what: &str, mut words: impl Iterator<Item = &'a str>) {
    match what {
        "pass" => {
            let seconds = words.next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(1.0);
            input.extend([PASS, seconds.ceil() as u8]);
        }
        "reply" => {
            let refused =
                words.nth(1).is_some_and(|word| word.starts_with("refused") || word.starts_with('0'));
            input.extend([REPLY, 0, if refused { 200 } else { 0 }]);
        }
        "event" => input.extend([ASK, 1, 60]),
        "request" => input.extend([ASK, words.nth(1).map_or(0, |word| word.len() as u8), 1]),
        "terminate" | "close" => input.push(END),
        _ => input.push(LINK),
    }
}

fn tuple(number: u8) -> Tuple {
    let network = if number.is_multiple_of(2) { "10.1.8.3/32" } else { "2001:db8::/64" };
    let network = network.parse().unwrap_or_else(|error| panic!("{network}: {error}"));
    Tuple { network, protocol: Protocol::Udp, port: 20_000 + u16::from(number), range: 1 }
}

fn request(number: u8) -> Request {
    let (internal, external, lifetime) = (tuple(number), tuple(number), Lifetime(60));
    let prid = Prid(u32::from(number >> 3));
    match number % 9 {
        0 | 1 => Request::Enable {
            parity: Parity::Same,
            direction: Direction::Inbound,
            internal,
            external,
            lifetime,
            group: (number > 100).then_some(Gid(1)),
        },
        2 => Request::EnableReserved {
            prid,
            parity: Parity::Any,
            direction: Direction::Outbound,
            internal,
            external,
            lifetime,
        },
        3 => Request::Disable { internal, external, lifetime },
        4 => Request::Lifetime { prid, lifetime },
        5 => Request::Lifetime { prid, lifetime: Lifetime::END },
        6 => Request::Status { prid },
        7 => Request::Count { prids: (0..=u32::from(number)).map(Prid).collect() },
        _ => Request::List,
    }
}

/// A reply that answers `request`.
fn reply(request: &Request, number: u8) -> Result<Reply, Failure> {
    let (prid, group, lifetime) = (Prid(7), Gid(7), Lifetime(60));
    if number >= 128 {
        return Err(simco::wire::failure_of(number));
    }
    Ok(match request {
        Request::Reserve { .. } => {
            let outside = (number > 64).then(|| tuple(number));
            Reply::Reserved { prid, group, lifetime, outside, inside: None }
        }
        Request::Enable { internal, .. } | Request::EnableReserved { internal, .. } => {
            Reply::Enabled { prid, group, lifetime, outside: *internal, inside: None }
        }
        Request::Disable { .. } => Reply::Disabled { prid, lifetime },
        Request::Lifetime { lifetime: Lifetime::END, .. } => Reply::Ended,
        Request::Lifetime { .. } if number == 1 => Reply::Ended,
        Request::Lifetime { lifetime, .. } => Reply::Lifetime(*lifetime),
        Request::Status { prid } => Reply::Status(RuleStatus::Disabled {
            prid: *prid,
            internal: tuple(number),
            external: tuple(number),
            lifetime,
            owner: "owner".repeat(usize::from(number)),
        }),
        Request::Count { prids } => {
            let passed = |prid: &Prid| Passed { prid: *prid, packets: number.into() };
            Reply::Counted(prids.iter().map(passed).collect())
        }
        Request::List => Reply::List((0..u32::from(number) * 80).map(Prid).collect()),
    })
}

const CAPABILITIES: Capabilities = Capabilities {
    firewall: true,
    nat: false,
    port_translation: false,
    protocol_translation: false,
    twice_nat: false,
    disable_rules: true,
    internal_wildcards: true,
    external_wildcards: true,
    port_wildcards: true,
    persistent: false,
    inside: IpVersions::Both,
    outside: IpVersions::Both,
    lifetime_max: Lifetime(3600),
};
