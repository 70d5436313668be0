//! What admission says.

use std::net::IpAddr;
use std::time::Duration;

use sip::transport::Protocol;

use crate::ban::BanReason;
use crate::source::Source;

/// What is done with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It goes on.
    Now,
    /// It wants to become a call, and goes on when those before it have had their turn.
    NewCall,
    /// The same, but nobody is asked whether there is time: an emergency call.
    Emergency,
    /// Nobody hears of it.
    Drop(Why),
    /// It is answered 503 with Retry-After.
    Refuse(Why),
}

/// Why a message is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// Its source is banned.
    Banned,
    /// Its source sends too many requests.
    SourceRequests,
    /// Too many calls.
    SourceCalls,
    /// Too many REGISTERs.
    SourceRegistrations,
    /// Its source has as many calls as it may have at a time.
    SourceCallsAtOnce,
    /// All sources of its realm together send too many requests.
    RealmRequests,
    /// Too many calls.
    RealmCalls,
    /// Too many REGISTERs.
    RealmRegistrations,
    /// It says that it comes from a program that looks for open doors.
    Scanner,
    /// It is no SIP.
    Nonsense,
    /// There is no time for new calls.
    Overload,
}

impl Why {
    /// As it stands in logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Banned => "banned",
            Self::SourceRequests => "requests-per-source",
            Self::SourceCalls => "calls-per-source",
            Self::SourceRegistrations => "registrations-per-source",
            Self::SourceCallsAtOnce => "calls-at-once-per-source",
            Self::RealmRequests => "requests-per-realm",
            Self::RealmCalls => "calls-per-realm",
            Self::RealmRegistrations => "registrations-per-realm",
            Self::Scanner => "scanner",
            Self::Nonsense => "nonsense",
            Self::Overload => "overload",
        }
    }
}

/// What a source has done that honest ones seldom do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Offence {
    /// A message of a program that looks for open doors.
    Scanner,
    /// What is no SIP at all.
    Nonsense,
    /// SIP that cannot be read.
    Malformed,
    /// A request for whom nobody is: we ourselves have no route and no registration (404).
    Unroutable,
    /// Credentials that are wrong, or for a user that does not exist. A request without credentials is none: everybody
    /// begins like that.
    Authentication,
    /// More than its rates allow; said once a second, and bans nobody.
    Flood,
}

impl Offence {
    /// As it stands in logs.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Scanner => "scanner",
            Self::Nonsense => "nonsense",
            Self::Malformed => "malformed",
            Self::Unroutable => "unroutable",
            Self::Authentication => "authentication",
            Self::Flood => "flood",
        }
    }
}

/// Whether an offence was surely that of its source: over UDP anybody can write any address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof<'t> {
    /// It was: it came over a connection.
    Given,
    /// It will be, if its INVITE's refusal is acknowledged: this tag in To was minted for that refusal, and told to nobody else.
    Asked(&'t str),
    /// Nobody will know.
    None,
}

impl Proof<'_> {
    /// Connections prove where their peer is.
    #[must_use]
    pub fn of(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Udp => Self::None,
            Protocol::Tcp | Protocol::Tls | Protocol::Ws | Protocol::Wss => Self::Given,
        }
    }
}

/// What must be done beside the message itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// The kernel is to drop SIP from there for so long, if there is one that does.
    Ban(Source, Duration),
    /// No longer.
    Unban(Source),
    /// For the log.
    Event(Event),
}

/// Facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A source has done something that honest ones seldom do.
    Rejected {
        /// Its address.
        address: IpAddr,
        /// What.
        what: Offence,
        /// Whether it is known to have been there: over UDP anybody can write any address.
        proven: bool,
    },
    /// So many lines like that were left out in the second before.
    LeftOut(u64),
    /// A source is banned from now on.
    Banned {
        /// Which.
        source: Source,
        /// For how long.
        lasts: Duration,
        /// Why.
        why: BanReason,
    },
    /// A source would have been banned, and there is no room.
    NoRoom(Source),
    /// A ban has ended.
    Unbanned(Source),
}
