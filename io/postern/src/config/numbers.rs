//! `[timers]`, `[limits]` and `[codes]`.

use std::ops::Range;
use std::time::Duration;

use super::key::{Absent, Key, Section, Table};
use super::kind::{FailureCode, Integer, OneOf, OrOff, Time};
use super::problem::Problems;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// `[timers]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Timers {
    pub t1: Duration,
    pub t2: Duration,
    pub t4: Duration,
    pub timer_c: Duration,
    pub hold: Duration,
    pub answer: Duration,
    pub close: Duration,
    pub rule_lifetime: Duration,
    pub connection_idle: Duration,
    pub message: Duration,
    pub handshake: Duration,
    pub ping: Option<Duration>,
}

macro_rules! time_key {
    ($name:ident, $key:literal, $default:literal, $low:expr, $high:expr, $text:literal) => {
        static $name: Key<Time> = Key {
            name: $key,
            kind: Time { range: $low..=$high },
            absent: Absent::Literal($default),
            text: $text,
        };
    };
}

time_key!(
    T1,
    "t1",
    "\"500ms\"",
    Duration::from_millis(50),
    Duration::from_secs(5),
    "Round-trip time estimate of SIP (RFC 3261 §17.1.1.1). Transactions give up after 64 times this."
);
time_key!(
    T2,
    "t2",
    "\"4s\"",
    SECOND,
    Duration::from_secs(32),
    "Longest interval between retransmissions of requests other than INVITE and of responses to INVITE."
);
time_key!(T4, "t4", "\"5s\"", SECOND, Duration::from_secs(32), "How long a message stays in the network.");
time_key!(
    TIMER_C,
    "timer-c",
    "\"3m\"",
    Duration::from_secs(10),
    HOUR,
    "How long a phone may ring before the call is given up (RFC 3261 §16.6 asks for more than 3 minutes at proxies)."
);
time_key!(
    HOLD,
    "hold",
    "\"2s\"",
    Duration::from_millis(10),
    Duration::from_secs(30),
    "How long a message with SDP is held while the middlebox opens its pinholes. Then the call fails."
);
time_key!(
    ANSWER,
    "answer",
    "\"1s\"",
    Duration::from_millis(10),
    Duration::from_secs(30),
    "How long the pinholes of an ending call wait for the peer's answer to BYE. Then they are closed without it."
);
time_key!(
    CLOSE,
    "close",
    "\"1s\"",
    Duration::from_millis(10),
    Duration::from_secs(30),
    "How long the answer to BYE waits for the middlebox to confirm that the pinholes are closed."
);
time_key!(
    RULE_LIFETIME,
    "rule-lifetime",
    "\"10m\"",
    Duration::from_secs(10),
    Duration::from_secs(86_400),
    "Lifetime asked for each rule. It is extended when half of it is gone; with every process dead a pinhole lives at \
     most this long."
);
time_key!(
    CONNECTION_IDLE,
    "connection-idle",
    "\"15m\"",
    Duration::from_secs(10),
    Duration::from_secs(86_400),
    "How long a connection may be silent before it is closed."
);
time_key!(
    MESSAGE,
    "message",
    "\"32s\"",
    MS,
    HOUR,
    "How long a peer may take to finish a message it has begun to send over a connection, or to take one it is sent."
);
time_key!(
    HANDSHAKE,
    "handshake",
    "\"5s\"",
    Duration::from_millis(100),
    Duration::from_secs(60),
    "How long a peer may take for the handshakes of TLS and WebSocket together, from the connection on; then it is closed."
);

static PING: Key<OrOff> = Key {
    name: "ping",
    kind: OrOff(Time { range: SECOND..=HOUR }),
    absent: Absent::Literal("\"off\""),
    text: "How often the next hops of routes with more than one are asked with OPTIONS whether they are there; those that are \
           names are not asked, and at most 256 are. One that does not answer within 64 times `t1`, cannot be reached, or \
           answers 503 gets calls only after the others of its route, until it answers again.",
};

pub(super) static TIMERS: Section = Section {
    heading: "[timers]",
    text: "Times of SIP, of the pinholes and of connections.",
    keys: &[
        &T1,
        &T2,
        &T4,
        &TIMER_C,
        &HOLD,
        &ANSWER,
        &CLOSE,
        &RULE_LIFETIME,
        &CONNECTION_IDLE,
        &MESSAGE,
        &HANDSHAKE,
        &PING,
    ],
};

impl Timers {
    pub(super) fn read(
        span: Range<usize>,
        table: Option<&toml::de::DeTable<'_>>,
        problems: &mut Problems,
    ) -> Self {
        let table = Table::open(&TIMERS, table, span, &[], problems);
        let timers = Self {
            t1: table.value(&T1, problems),
            t2: table.value(&T2, problems),
            t4: table.value(&T4, problems),
            timer_c: table.value(&TIMER_C, problems),
            hold: table.value(&HOLD, problems),
            answer: table.value(&ANSWER, problems),
            close: table.value(&CLOSE, problems),
            rule_lifetime: table.value(&RULE_LIFETIME, problems),
            connection_idle: table.value(&CONNECTION_IDLE, problems),
            message: table.value(&MESSAGE, problems),
            handshake: table.value(&HANDSHAKE, problems),
            ping: table.value(&PING, problems),
        };
        if timers.t2 < timers.t1 {
            problems.push(table.place(&T2), "`t2` is shorter than `t1`", "retransmissions would speed up");
        }
        timers
    }
}

/// `[limits]`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub calls: u32,
    pub connections: u32,
    pub connections_per_peer: u32,
    pub handshakes: u32,
    pub streams: u32,
    pub rules_per_call: u32,
    pub registrations: u32,
    pub subscriptions: u32,
    pub history: u32,
}

macro_rules! number_key {
    ($name:ident, $key:literal, $default:literal, $range:expr, $unit:literal, $text:literal) => {
        static $name: Key<Integer> = Key {
            name: $key,
            kind: Integer { range: $range, unit: $unit },
            absent: Absent::Literal($default),
            text: $text,
        };
    };
}

number_key!(
    CALLS,
    "calls",
    "20_000",
    1..=1_000_000,
    "calls",
    "Calls at a time. One more is answered 503 with Retry-After."
);
number_key!(
    CONNECTIONS,
    "connections",
    "1_000",
    1..=100_000,
    "connections",
    "Connections at a time, over TCP, TLS and WebSocket. One more is closed as it arrives."
);
number_key!(
    CONNECTIONS_PER_PEER,
    "connections-per-peer",
    "100",
    1..=100_000,
    "connections",
    "Connections with one address at a time."
);
number_key!(
    HANDSHAKES,
    "handshakes",
    "200",
    1..=100_000,
    "handshakes",
    "Peers at a time whose handshake of TLS or WebSocket is under way. One more pushes out the one that has taken longest."
);
number_key!(STREAMS, "streams", "8", 1..=64, "m-lines", "Media streams of one SDP. More are answered 488.");
number_key!(
    RULES_PER_CALL,
    "rules-per-call",
    "64",
    2..=1_000,
    "rules",
    "Rules that one call may hold at a time. More are answered 488."
);
number_key!(
    REGISTRATIONS,
    "registrations",
    "10_000",
    0..=1_000_000,
    "contacts",
    "Contacts of phones that are registered through us at a time. A REGISTER for a further one is answered 503."
);
number_key!(
    SUBSCRIPTIONS,
    "subscriptions",
    "10_000",
    0..=1_000_000,
    "subscriptions",
    "Subscriptions that go through us at a time. A SUBSCRIBE for a further one, or a REFER outside a call, is answered 503. One address has at most half of them."
);
number_key!(
    HISTORY,
    "history",
    "1_000",
    0..=100_000,
    "calls",
    "Ended calls that `postern call` can still show; about 1 kB each."
);

pub(super) static LIMITS: Section = Section {
    heading: "[limits]",
    text: "What a stranger, or a fault, can use up.",
    keys: &[
        &CALLS,
        &CONNECTIONS,
        &CONNECTIONS_PER_PEER,
        &HANDSHAKES,
        &STREAMS,
        &RULES_PER_CALL,
        &REGISTRATIONS,
        &SUBSCRIPTIONS,
        &HISTORY,
    ],
};

impl Limits {
    pub(super) fn read(
        span: Range<usize>,
        table: Option<&toml::de::DeTable<'_>>,
        problems: &mut Problems,
    ) -> Self {
        let table = Table::open(&LIMITS, table, span, &[], problems);
        Self {
            calls: table.value(&CALLS, problems),
            connections: table.value(&CONNECTIONS, problems),
            connections_per_peer: table.value(&CONNECTIONS_PER_PEER, problems),
            handshakes: table.value(&HANDSHAKES, problems),
            streams: table.value(&STREAMS, problems),
            rules_per_call: table.value(&RULES_PER_CALL, problems),
            registrations: table.value(&REGISTRATIONS, problems),
            subscriptions: table.value(&SUBSCRIPTIONS, problems),
            history: table.value(&HISTORY, problems),
        }
    }
}

/// Which family of codes a failure of the firewall is told with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CodeSet {
    Standard,
    Dedicated,
}

/// `[codes]`: status codes by class of failure.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Codes {
    pub unreachable: u16,
    pub technical: u16,
    pub temporary: u16,
    pub policy: u16,
    pub policy_in_call: u16,
    pub sdp: u16,
    pub precondition: u16,
}

static SET: Key<OneOf<CodeSet>> = Key {
    name: "set",
    kind: OneOf { words: &[("standard", CodeSet::Standard), ("dedicated", CodeSet::Dedicated)] },
    absent: Absent::Literal("\"standard\""),
    text: "The family of codes: those of RFC 3261, or 590 Firewall Failure, 591 Firewall Temporarily Closed and \
           592 Firewall Policy. Single codes below win over it.",
};

macro_rules! code_key {
    ($name:ident, $key:literal, $default:literal, $text:literal) => {
        static $name: Key<FailureCode> =
            Key { name: $key, kind: FailureCode, absent: Absent::Derived($default), text: $text };
    };
}

code_key!(
    UNREACHABLE,
    "unreachable",
    "504; dedicated: 590",
    "No session with the middlebox, or no answer from it."
);
code_key!(TECHNICAL, "technical", "500; dedicated: 590", "The middlebox could not; sent with Retry-After.");
code_key!(TEMPORARY, "temporary-policy", "500; dedicated: 591", "Forbidden for now; sent with Retry-After.");
code_key!(POLICY, "policy", "403; dedicated: 592", "Forbidden.");
code_key!(POLICY_IN_CALL, "policy-in-call", "488; dedicated: 592", "Forbidden, inside a call.");
code_key!(SDP, "sdp", "488", "Our own check of the SDP refused it.");
code_key!(
    PRECONDITION,
    "precondition",
    "580",
    "Any of these where caller or callee insists on the precondition that the pinholes are (RFC 3312 §8)."
);

pub(super) static CODES: Section = Section {
    heading: "[codes]",
    text: "With which status code a failure of the firewall is told to the caller; the same code stands in Reason. Codes \
           that phones and proxies would act upon in another way (401, 407, 408, 420, 481, 487, 491, 503 and the like) are \
           refused.",
    keys: &[&SET, &UNREACHABLE, &TECHNICAL, &TEMPORARY, &POLICY, &POLICY_IN_CALL, &SDP, &PRECONDITION],
};

impl Codes {
    pub(super) fn read(
        span: Range<usize>,
        table: Option<&toml::de::DeTable<'_>>,
        problems: &mut Problems,
    ) -> Self {
        let table = Table::open(&CODES, table, span, &[], problems);
        let dedicated = table.value(&SET, problems) == CodeSet::Dedicated;
        let mut code = |key: &Key<FailureCode>, standard: u16, other: u16| {
            table.given(key, problems).unwrap_or(if dedicated { other } else { standard })
        };
        Self {
            unreachable: code(&UNREACHABLE, 504, 590),
            technical: code(&TECHNICAL, 500, 590),
            temporary: code(&TEMPORARY, 500, 591),
            policy: code(&POLICY, 403, 592),
            policy_in_call: code(&POLICY_IN_CALL, 488, 592),
            sdp: code(&SDP, 488, 488),
            precondition: code(&PRECONDITION, 580, 580),
        }
    }
}
