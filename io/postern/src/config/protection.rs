//! `[protection]`, and the rates of realms: who may be heard at all (`docs/protection.md`).

use std::ops::Range;
use std::time::Duration;

use ipnet::IpNet;

use super::key::{Absent, Key, Section, Table};
use super::kind::{Integer, List, Network, OrOff, Text, Time};
use super::problem::Problems;

/// So many a second; 0 for any number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Rates {
    pub requests: u32,
    pub calls: u32,
    pub registrations: u32,
}

/// `[protection]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Protection {
    pub source: Rates,
    pub calls_at_once: u32,
    pub never_ban: Vec<IpNet>,
    /// How long a ban lasts; `None`: nobody is banned but by the operator.
    pub ban_for: Option<Duration>,
    pub offences: u32,
    pub within: Duration,
    pub scanners: Vec<String>,
    pub emergency: Vec<String>,
    pub wait: Duration,
}

/// The largest rate: far above what one core can hear.
const RATE_MAX: u32 = 1_000_000;

macro_rules! rate_key {
    ($name:ident, $key:literal, $default:literal, $unit:literal, $text:literal) => {
        static $name: Key<Integer> = Key {
            name: $key,
            kind: Integer { range: 0..=RATE_MAX, unit: $unit },
            absent: Absent::Literal($default),
            text: $text,
        };
    };
}

rate_key!(
    REQUESTS,
    "requests-per-source",
    "100",
    "requests a second",
    "Requests of one source (an IPv4 address, or the /64 of an IPv6 address), but for those inside calls; two seconds' worth may \
     come at once, and ten times as many responses. More are dropped unanswered. 0: any number."
);
rate_key!(
    CALLS,
    "calls-per-source",
    "20",
    "calls a second",
    "INVITEs outside calls of one source, likewise. More are answered 503 with Retry-After. 0: any number."
);
rate_key!(
    REGISTRATIONS,
    "registrations-per-source",
    "20",
    "requests a second",
    "REGISTERs of one source, likewise. More are answered 503 with Retry-After. 0: any number."
);
rate_key!(
    AT_ONCE,
    "calls-at-once-per-source",
    "0",
    "calls",
    "Calls of one source at a time. One more is answered 503 with Retry-After. 0: any number."
);
static NEVER_BAN: Key<List<Network>> = Key {
    name: "never-ban",
    kind: List { of: Network, max: 256 },
    absent: Absent::Literal("[]"),
    text: "Networks whose hosts are never banned, whatever they or somebody in their name may do, and for which no rate of a source holds. \
           Next hops and trunks are always among them: those that routes name by address, and by name as soon as it has been looked up.",
};
static BAN_FOR: Key<OrOff> = Key {
    name: "ban-for",
    kind: OrOff(Time { range: Duration::from_secs(1)..=Duration::from_secs(30 * 86_400) }),
    absent: Absent::Literal("\"10m\""),
    text: "How long a source is banned: nothing of it is heard. With \"off\" nobody is banned but by `postern ban`.",
};
static OFFENCES: Key<Integer> = Key {
    name: "ban-after",
    kind: Integer { range: 1..=1_000, unit: "offences" },
    absent: Absent::Literal("20"),
    text: "After how many offences a source is banned: messages of scanners, nonsense, malformed messages, requests that we ourselves \
           answer 404, and REGISTER answered 403. Only what is surely its own counts: what came over a connection, and over UDP an INVITE \
           whose 404 it has acknowledged.",
};
static WITHIN: Key<Time> = Key {
    name: "ban-within",
    kind: Time { range: Duration::from_secs(1)..=Duration::from_secs(86_400) },
    absent: Absent::Literal("\"1m\""),
    text: "Within which time these offences must be.",
};
static SCANNERS: Key<List<Text>> = Key {
    name: "scanners",
    kind: List { of: Text { what: "part of a User-Agent" }, max: 64 },
    absent: Absent::Literal(
        r#"["friendly-scanner", "friendly-request", "sipvicious", "sipcli", "sip-scan", "sipsak", "sundayddr", "iwar", "sivus", "sipv", "smap", "vaxsipuseragent", "vaxipuseragent", "siparmyknife", "pplsip"]"#,
    ),
    text: "Requests outside calls whose User-Agent has one of these in it, in small or capital letters, are dropped unanswered.",
};
static EMERGENCY: Key<List<Text>> = Key {
    name: "emergency",
    kind: List { of: Text { what: "number" }, max: 32 },
    absent: Absent::Literal("[\"112\", \"911\"]"),
    text: "Numbers whose calls no rate of calls and no overload refuses, beside `urn:service:sos` (RFC 5031): users of Request-URIs.",
};
static WAIT: Key<Time> = Key {
    name: "overload-wait",
    kind: Time { range: Duration::from_millis(1)..=Duration::from_secs(5) },
    absent: Absent::Literal("\"50ms\""),
    text: "How long a new call may wait until there is time for it, behind everything that belongs to calls there are. While one has \
           waited longer, further ones are answered 503 with Retry-After as they arrive.",
};

pub(super) static SECTION: Section = Section {
    heading: "[protection]",
    text: "Who may be heard at all. Decided before a message is parsed; see `docs/protection.md`.",
    keys: &[
        &REQUESTS,
        &CALLS,
        &REGISTRATIONS,
        &AT_ONCE,
        &NEVER_BAN,
        &BAN_FOR,
        &OFFENCES,
        &WITHIN,
        &SCANNERS,
        &EMERGENCY,
        &WAIT,
    ],
};

impl Protection {
    pub(super) fn read(
        span: Range<usize>,
        table: Option<&toml::de::DeTable<'_>>,
        problems: &mut Problems,
    ) -> Self {
        let table = Table::open(&SECTION, table, span, &[], problems);
        Self {
            source: Rates {
                requests: table.value(&REQUESTS, problems),
                calls: table.value(&CALLS, problems),
                registrations: table.value(&REGISTRATIONS, problems),
            },
            calls_at_once: table.value(&AT_ONCE, problems),
            never_ban: table.value(&NEVER_BAN, problems),
            ban_for: table.value(&BAN_FOR, problems),
            offences: table.value(&OFFENCES, problems),
            within: table.value(&WITHIN, problems),
            scanners: table.value(&SCANNERS, problems).iter().map(|text| text.to_lowercase()).collect(),
            emergency: table.value(&EMERGENCY, problems),
            wait: table.value(&WAIT, problems),
        }
    }
}

rate_key!(
    REALM_REQUESTS,
    "requests-per-second",
    "0",
    "requests a second",
    "Requests of all sources of this realm together, but for those inside calls; two seconds' worth may come at once. More are dropped \
     unanswered. 0: any number."
);
rate_key!(
    REALM_CALLS,
    "calls-per-second",
    "0",
    "calls a second",
    "INVITEs outside calls of all sources of this realm together, likewise. More are answered 503 with Retry-After. 0: any number."
);
rate_key!(
    REALM_REGISTRATIONS,
    "registrations-per-second",
    "0",
    "requests a second",
    "REGISTERs of all sources of this realm together, likewise. More are answered 503 with Retry-After. 0: any number."
);

/// The keys of a realm.
pub(super) const OF_REALM: [&Key<Integer>; 3] = [&REALM_REQUESTS, &REALM_CALLS, &REALM_REGISTRATIONS];

impl Rates {
    /// Those of a realm.
    pub(super) fn of_realm(table: &Table<'_, '_>, problems: &mut Problems) -> Self {
        let [requests, calls, registrations] = OF_REALM.map(|key| table.value(key, problems));
        Self { requests, calls, registrations }
    }
}
