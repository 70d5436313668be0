//! What a phone is, and what it can.

use std::net::SocketAddr;
use std::time::Duration;

use sip::message::Refresher;
use sip::transaction::TimerValues;
use sip::transport::Protocol;

use crate::{Oddities, Precondition, Shape};

/// What a phone is.
#[derive(Debug, Clone)]
pub struct Config {
    /// The user part of its address, also its user name in SDP: letters and digits.
    pub user: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it says that it listens, if not there: in Contact and in Record-Route, as if a proxy stood before it.
    pub named: Named,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it wants RTP; RTCP is one port above.
    pub media: SocketAddr,
    /// What it does when it is called.
    pub answer: Answer,
    /// The timers of its transactions.
    pub timers: TimerValues,
    /// What it can beyond RFC 3261.
    pub extensions: Extensions,
    /// How it misbehaves.
    pub oddities: Oddities,
}

/// Where a phone says that it listens, if not where it does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Named {
    /// In Contact.
    pub contact: Option<SocketAddr>,
    /// In a Record-Route, as if a proxy stood before it.
    pub route: Option<SocketAddr>,
}

/// What a phone does when it is called; 100 and, except before a refusal at once, 180 come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 200 after this time.
    Accept {
        /// How long it rings.
        after: Duration,
    },
    /// A final failure after this time; a 3xx names [`MOVED`] at the phone's own address.
    Reject {
        /// 300 to 699.
        status: u16,
        /// How long it rings.
        after: Duration,
    },
    /// Rings until [`crate::Input::Accept`], [`crate::Input::Reject`] or the caller ends it.
    Ring,
}

/// The user to whom a phone that answers 3xx redirects its callers.
pub const MOVED: &str = "moved";

/// What a phone can beyond RFC 3261, and how it uses its freedom there. By default it is a plain phone: nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Extensions {
    /// Reliable provisional responses (RFC 3262).
    pub reliable: Reliable,
    /// UPDATE (RFC 3311).
    pub update: bool,
    /// A precondition (RFC 3312); it brings reliable responses and UPDATE with it.
    pub precondition: Option<Precondition>,
    /// Session timers (RFC 4028).
    pub session: Option<SessionTimer>,
    /// What it says before it answers.
    pub progress: Progress,
    /// Its INVITE has no offer: the callee makes it.
    pub delayed_offer: bool,
    /// Its PRACK for a reliable answer carries a new offer (RFC 3262 §5).
    pub offers_in_prack: bool,
    /// The port for video, if it accepts video when that is offered; otherwise video is answered with port 0.
    pub video: Option<u16>,
    /// What its descriptions look like.
    pub shape: Shape,
    /// Offers again after a 491, when the RFC says it may.
    pub retries: bool,
    /// Refers its peer to others, and lets itself be referred (RFC 3515); what it is told it does not do by itself.
    pub refers: bool,
    /// Calls where a 3xx says, at most [`REDIRECTIONS_MAX`] times.
    pub follows: bool,
}

/// How often a phone follows a 3xx in one call.
pub const REDIRECTIONS_MAX: u8 = 3;

/// What a phone thinks of reliable provisional responses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reliable {
    /// It does not know them: `Require: 100rel` gets 420, and PRACK 405.
    #[default]
    Unknown,
    /// It acknowledges them, and sends them to callers who support them.
    Supported,
    /// It insists: `Require` as a caller, 421 to callers without as a callee.
    Required,
}

/// What a callee says before it answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Progress {
    /// 180 without SDP.
    #[default]
    Ringing,
    /// 180 with SDP: early media; the answer itself if the 180 is reliable.
    RingingWithSdp,
    /// 183 with SDP, and then 180.
    Session,
    /// Nothing but the final response.
    Silent,
}

/// What a phone wants of session timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionTimer {
    /// The interval it asks for, in seconds.
    pub interval_s: u32,
    /// The shortest interval it takes, in seconds; anything shorter gets 422.
    pub minimum_s: u32,
    /// Who shall refresh, seen from the sender of its request or response; `None` leaves it to the peer.
    pub refresher: Option<Refresher>,
}
