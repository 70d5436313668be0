//! `[realm.NAME]`: a side of the border.

use std::ops::{Range, RangeInclusive};
use std::time::Duration;

use ipnet::IpNet;

use super::address::{Listen, ListenKind};
use super::key::{Absent, Key, Section, Table};
use super::kind::{Bool, List, Network, OneOf, OrOff, Ports, Text, Time};
use super::problem::Problems;
use super::protection::{OF_REALM, Rates};
use super::sip_tls::{self, SipTls};

/// From whom media may come through a pinhole of this realm (`docs/pinholes.md`, source policy).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Strict,
    Address,
    Realm,
}

/// The type of precondition that phones of this realm are asked for (RFC 3312, and the draft's `fw`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Precondition {
    Off,
    Fw,
    Qos,
}

/// Methods of requests outside calls that may be passed on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    Register,
    Message,
    Options,
    Notify,
    Publish,
    Info,
    Subscribe,
    Refer,
}

/// One realm.
#[derive(Debug, Clone)]
pub(crate) struct Realm {
    pub name: String,
    /// Where its heading stands.
    pub span: Range<usize>,
    pub listen: Vec<(Listen, Range<usize>)>,
    /// Where one of its listeners speaks TLS.
    pub tls: Option<SipTls>,
    pub media: Vec<IpNet>,
    pub media_ports: RangeInclusive<u16>,
    pub managed: bool,
    pub source: Source,
    pub local_media: bool,
    pub interfaces: Vec<String>,
    pub early_media: bool,
    pub precondition: Precondition,
    pub session_expires: Option<Duration>,
    pub min_se: Duration,
    pub pass: Vec<Pass>,
    pub refresh: Option<Duration>,
    pub rates: Rates,
    /// What its peers are asked for, in which realm.
    pub authenticate: Vec<Asked>,
    pub digest_realm: String,
    /// The shortest and the longest time for which its phones register with us, if they do.
    pub registrar: Option<(Duration, Duration)>,
}

static LISTEN: Key<List<ListenKind>> = Key {
    name: "listen",
    kind: List { of: ListenKind, max: 16 },
    absent: Absent::Required,
    text: "Addresses on which SIP of this realm is served. The first of a transport is the one that calls leave from. \
           What arrives on an interface that belongs to another realm only (by its listeners' addresses or its \
           `interfaces`) is not heard: otherwise whoever outside can reach this address calls as if from inside.",
};
static MEDIA: Key<List<Network>> = Key {
    name: "media",
    kind: List { of: Network, max: 64 },
    absent: Absent::Literal("[]"),
    text: "Networks in which this realm's phones send and receive media. For the inside realm they are what the \
           firewall protects: UDP on `media-ports` to and from them passes only through pinholes. An SDP that names \
           an address outside them is refused. Empty, for a realm that is not inside: any address.",
};
static MEDIA_PORTS: Key<Ports> = Key {
    name: "media-ports",
    kind: Ports { min: 1024 },
    absent: Absent::Derived(
        "`\"16384-32767\"` where the realm has `media` and is `managed`, else any port from 1024",
    ),
    text: "UDP ports of media in this realm. A range above 32767 takes in the ports that DNS, QUIC and NTP of every \
           host in `media` use; keep it below.",
};
static MANAGED: Key<Bool> = Key {
    name: "managed",
    kind: Bool,
    absent: Absent::Literal("true"),
    text: "Whether UDP on `media-ports` to and from `media` passes only through pinholes. Turn it off where phones take any port \
           (softphones, WebRTC) and a range would cut off other things: then nothing is dropped by range. What a pinhole has let pass is \
           kept out once it is closed, until nobody has sent it for 5 minutes; what never passed through one is for your own rules.",
};
static SOURCE: Key<OneOf<Source>> = Key {
    name: "source",
    kind: OneOf {
        words: &[("strict", Source::Strict), ("address", Source::Address), ("realm", Source::Realm)],
    },
    absent: Absent::Literal("\"address\""),
    text: "From whom media of this realm is let in: exactly the address and port its SDP names, that address from any \
           port, or any address of the realm's media networks.",
};
static LOCAL_MEDIA: Key<Bool> = Key {
    name: "local-media",
    kind: Bool,
    absent: Absent::Literal("false"),
    text: "Whether phones or a PBX of this realm live on this very host, at addresses of its own that are among `media`. \
           Without it an SDP that names an address of this host is refused. What the host sends itself then passes the \
           same gate, and your `input` and `output` chains need the line as `forward` does.",
};
static INTERFACES: Key<List<Text>> = Key {
    name: "interfaces",
    kind: List { of: Text { what: "name of a network interface" }, max: 64 },
    absent: Absent::Literal("[]"),
    text: "Network interfaces on which this realm's media arrives. Empty: for a realm with `media` the reverse path decides \
           (`[middlebox] reverse-path`); for one without, those that carry the addresses of its `listen`, so that a host \
           behind a third interface is not everybody else. Where the listeners are on another host the reverse path decides.",
};
static EARLY_MEDIA: Key<Bool> = Key {
    name: "early-media",
    kind: Bool,
    absent: Absent::Literal("true"),
    text: "Whether phones of this realm may hear media before the call is answered. If not, pinholes are reserved \
           first and enabled only when both addresses are known.",
};

static PRECONDITION: Key<OneOf<Precondition>> = Key {
    name: "precondition",
    kind: OneOf {
        words: &[("off", Precondition::Off), ("fw", Precondition::Fw), ("qos", Precondition::Qos)],
    },
    absent: Absent::Literal("\"off\""),
    text: "Whether phones of this realm are asked, with a precondition of this type, to ring only when the pinholes are \
           there, although the caller did not ask (RFC 3312). A phone that cannot is called again without it at once, and \
           not asked again for an hour; one that ignores what it is asked rings anyway. Use `fw` towards phones that know the \
           draft, `qos` towards those that know only RFC 3312.",
};
static SESSION_EXPIRES: Key<OrOff> = Key {
    name: "session-expires",
    kind: OrOff(Time { range: SESSION_MIN..=SESSION_MAX }),
    absent: Absent::Literal("\"30m\""),
    text: "The session interval that phones of this realm are asked for (RFC 4028): a call that \
           nobody refreshes within it is ended. With \"off\" there are no session timers on these legs.",
};
static MIN_SE: Key<Time> = Key {
    name: "min-se",
    kind: Time { range: SESSION_MIN..=SESSION_MAX },
    absent: Absent::Literal("\"90s\""),
    text: "The shortest session interval that a phone of this realm may ask for; below it the \
           call is answered 422.",
};

static PASS: Key<List<OneOf<Pass>>> = Key {
    name: "pass",
    kind: List {
        of: OneOf {
            words: &[
                ("REGISTER", Pass::Register),
                ("MESSAGE", Pass::Message),
                ("OPTIONS", Pass::Options),
                ("NOTIFY", Pass::Notify),
                ("PUBLISH", Pass::Publish),
                ("INFO", Pass::Info),
                ("SUBSCRIBE", Pass::Subscribe),
                ("REFER", Pass::Refer),
            ],
        },
        max: 8,
    },
    absent: Absent::Literal("[]"),
    text: "Requests outside calls that peers of this realm may send to the other side, by method; they take the routes of calls. Others \
           are answered 405. With `REGISTER` phones of this realm register through us: the registrar is told a name of ours for each \
           phone, and calls it by that name. A registrar asks its phones by `OPTIONS` and tells them of messages by `NOTIFY`: those \
           belong into its realm's list. What belongs to a subscription that `SUBSCRIBE` or `REFER` has made passes both ways by \
           itself.",
};

static REFRESH: Key<OrOff> = Key {
    name: "refresh",
    kind: OrOff(Time { range: Duration::from_secs(20)..=Duration::from_secs(3600) }),
    absent: Absent::Literal("\"off\""),
    text: "How long phones of this realm that are behind a NAT of their own are told that they are registered, at most: they register \
           again in time to keep the way to them open. What they repeat is answered here for half of the time that the registrar has \
           granted, so that it hears of them as seldom as it wants. \"off\": they are told what the registrar says.",
};

/// Requests that need an answer to a challenge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Invite,
    Register,
    Message,
    Options,
    Notify,
    Publish,
    Info,
    Subscribe,
    Refer,
}

static AUTHENTICATE: Key<List<OneOf<Asked>>> = Key {
    name: "authenticate",
    kind: List {
        of: OneOf {
            words: &[
                ("INVITE", Asked::Invite),
                ("REGISTER", Asked::Register),
                ("MESSAGE", Asked::Message),
                ("OPTIONS", Asked::Options),
                ("NOTIFY", Asked::Notify),
                ("PUBLISH", Asked::Publish),
                ("INFO", Asked::Info),
                ("SUBSCRIBE", Asked::Subscribe),
                ("REFER", Asked::Refer),
            ],
        },
        max: 9,
    },
    absent: Absent::Literal("[]"),
    text: "Requests outside calls for which peers of this realm must show that they are one of `users` (digest, RFC 7616, with SHA-256 or MD5), by method. From must then name that \
           user, or whom its `callers` allow; To of REGISTER must be that user itself. Trunks are known by their addresses and not asked, unless they would register with us. What belongs to a call is not asked for: its tags are secret.",
};
static DIGEST_REALM: Key<Text> = Key {
    name: "digest-realm",
    kind: Text { what: "realm of a challenge" },
    absent: Absent::Derived("`host`, else \"postern\""),
    text: "The realm of these challenges. Hashes in the file of `users` are made with it; credentials for other realms travel.",
};

static REGISTRAR: Key<Bool> = Key {
    name: "registrar",
    kind: Bool,
    absent: Absent::Literal("false"),
    text: "Whether phones of this realm register with us, for a site without a registrar. They must be asked who they are: `REGISTER` in `authenticate`. A route with `registered` \
           calls them.",
};
static REGISTER_MIN: Key<Time> = Key {
    name: "register-min",
    kind: Time { range: Duration::from_secs(30)..=Duration::from_secs(3_600) },
    absent: Absent::Literal("\"60s\""),
    text: "The shortest time for which a phone may register with us; one that asks for less is answered 423.",
};
static REGISTER_MAX: Key<Time> = Key {
    name: "register-max",
    kind: Time { range: Duration::from_secs(60)..=Duration::from_secs(604_800) },
    absent: Absent::Literal("\"1h\""),
    text: "The longest: one that asks for more gets this, as does one that does not say.",
};

/// RFC 4028 §4: no interval is shorter.
const SESSION_MIN: Duration = Duration::from_secs(90);
const SESSION_MAX: Duration = Duration::from_secs(86_400);

pub(super) static SECTION: Section = Section {
    heading: "[realm.NAME]",
    text: "A realm is a side of the border: its listeners, its networks, its rules for media. The name is yours; at \
           most 16 realms.",
    keys: &[
        &LISTEN,
        &sip_tls::CERTIFICATE,
        &sip_tls::KEY,
        &sip_tls::CLIENT_CA,
        &sip_tls::CLIENT_CERTIFICATE,
        &sip_tls::CA,
        &sip_tls::HOST,
        &MEDIA,
        &MEDIA_PORTS,
        &MANAGED,
        &SOURCE,
        &LOCAL_MEDIA,
        &INTERFACES,
        &EARLY_MEDIA,
        &PRECONDITION,
        &SESSION_EXPIRES,
        &MIN_SE,
        &PASS,
        &REFRESH,
        OF_REALM[0],
        OF_REALM[1],
        OF_REALM[2],
        &AUTHENTICATE,
        &DIGEST_REALM,
        &REGISTRAR,
        &REGISTER_MIN,
        &REGISTER_MAX,
    ],
};

impl Realm {
    /// True if its peers are asked who they are.
    pub(super) fn asks(&self) -> bool {
        !self.authenticate.is_empty()
    }

    pub(super) fn read(
        name: &str,
        span: Range<usize>,
        table: &toml::de::DeTable<'_>,
        problems: &mut Problems,
    ) -> Self {
        let table = Table::open(&SECTION, Some(table), span.clone(), &[], problems);
        let listen = table.required(&LISTEN, problems);
        if listen.as_ref().is_some_and(Vec::is_empty) {
            problems.push(
                table.place(&LISTEN),
                format!("realm {name} listens nowhere"),
                "needs at least one entry",
            );
        }
        let tls = sip_tls::read(&table, listen.as_deref().unwrap_or_default(), problems);
        let interfaces = table.value(&INTERFACES, problems);
        if let Some(long) = interfaces.iter().find(|interface| interface.len() > 15) {
            problems.push(
                table.place(&INTERFACES),
                format!("`{long}` is no interface name"),
                "at most 15 characters (Linux IFNAMSIZ)",
            );
        }
        let session_expires = table.value(&SESSION_EXPIRES, problems);
        let min_se = table.value(&MIN_SE, problems);
        if session_expires.is_some_and(|interval| interval < min_se) {
            problems.push(
                table.place(&MIN_SE),
                "`min-se` is longer than `session-expires`",
                "we would refuse what we ask for ourselves",
            );
        }
        let media = table.value(&MEDIA, problems);
        let local_media = table.value(&LOCAL_MEDIA, problems);
        if local_media && media.is_empty() {
            problems.push_with_help(
                table.place(&LOCAL_MEDIA),
                "`local-media` without `media`",
                "which of this host's addresses?",
                "name them: media = [\"203.0.113.1/32\"]",
            );
        }
        let managed = table.value(&MANAGED, problems);
        let ports = if media.is_empty() || !managed { 1024..=u16::MAX } else { 16384..=32767 };
        Self {
            name: name.to_owned(),
            span,
            listen: listen.unwrap_or_default(),
            tls,
            media,
            media_ports: table.given(&MEDIA_PORTS, problems).unwrap_or(ports),
            managed,
            source: table.value(&SOURCE, problems),
            local_media,
            interfaces,
            early_media: table.value(&EARLY_MEDIA, problems),
            precondition: table.value(&PRECONDITION, problems),
            session_expires,
            min_se,
            pass: table.value(&PASS, problems),
            refresh: table.value(&REFRESH, problems),
            rates: Rates::of_realm(&table, problems),
            registrar: registrar(&table, problems),
            authenticate: table.value(&AUTHENTICATE, problems),
            digest_realm: table
                .given(&DIGEST_REALM, problems)
                .or_else(|| table.given(&sip_tls::HOST, problems))
                .unwrap_or_else(|| "postern".into()),
        }
    }
}

fn registrar(table: &Table<'_, '_>, problems: &mut Problems) -> Option<(Duration, Duration)> {
    let (min, max) = (table.value(&REGISTER_MIN, problems), table.value(&REGISTER_MAX, problems));
    if max < min {
        problems.push(
            table.place(&REGISTER_MAX),
            "`register-max` is below `register-min`",
            "no time would fit",
        );
    }
    if !table.value(&REGISTRAR, problems) {
        return None;
    }
    if !table.value(&AUTHENTICATE, problems).contains(&Asked::Register) {
        problems.push_with_help(
            table.place(&REGISTRAR),
            "anybody could have anybody's calls",
            "a registrar must know who registers",
            "write `authenticate = [\"REGISTER\", \"INVITE\"]` in this realm",
        );
    }
    if table.value(&PASS, problems).contains(&Pass::Register) {
        problems.push(
            table.place(&REGISTRAR),
            "REGISTER cannot be passed on as well",
            "remove it from `pass`",
        );
    }
    Some((min, max))
}
