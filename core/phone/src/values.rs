//! What the phone is told, and what it says.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use sdp::Direction;
use sip::endpoint::Transmit;
use sip::transaction::TimerValues;
use sip::transport::{Hop, Protocol};

use crate::Remote;

/// What a phone is.
#[derive(Debug, Clone)]
pub struct Config {
    /// The user part of its address, also its user name in SDP: letters and digits.
    pub user: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it wants RTP; RTCP is one port above.
    pub media: SocketAddr,
    /// What it does when it is called.
    pub answer: Answer,
    /// The timers of its transactions.
    pub timers: TimerValues,
    /// How it misbehaves.
    pub oddities: Oddities,
}

/// What a phone does when it is called; 100 and, except before a refusal at once, 180 come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// 200 after this time.
    Accept {
        /// How long it rings.
        after: Duration,
    },
    /// A final failure after this time.
    Reject {
        /// 300 to 699.
        status: u16,
        /// How long it rings.
        after: Duration,
    },
    /// Rings until [`Input::Accept`], [`Input::Reject`] or the caller ends it.
    Ring,
}

/// What it does wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Oddities {
    /// Never acknowledges a 2xx.
    pub never_acks: bool,
    /// Sends each 2xx to INVITE twice at once.
    pub answers_twice: bool,
    /// Answers CANCEL but never the INVITE it cancels.
    pub silent_after_cancel: bool,
    /// Does not answer BYE.
    pub ignores_bye: bool,
}

/// A call of one phone, by order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallNumber(pub u64);

/// What can happen to a phone.
#[derive(Debug, Clone)]
pub enum Input {
    /// One message came.
    Received {
        /// From where.
        hop: Hop,
        /// The message.
        bytes: Bytes,
    },
    /// This hop could not be reached.
    TransportFailed {
        /// Which.
        hop: Hop,
    },
    /// Call somebody.
    Call {
        /// The URI to call.
        to: String,
        /// Where to send.
        next: Hop,
    },
    /// Give up a call that was not answered; a no-op once it was.
    Cancel(CallNumber),
    /// End an answered call with BYE.
    HangUp(CallNumber),
    /// Answer a ringing call.
    Accept(CallNumber),
    /// Refuse a ringing call.
    Reject {
        /// Which.
        call: CallNumber,
        /// 300 to 699.
        status: u16,
    },
    /// A re-INVITE: hold is [`Direction::SendOnly`] with the same address.
    Offer {
        /// Which.
        call: CallNumber,
        /// Where RTP is wanted from now on.
        media: SocketAddr,
        /// Who may send.
        direction: Direction,
    },
}

/// What a phone asks for and says.
#[derive(Debug, Clone)]
pub enum Output {
    /// Send this.
    Transmit(Transmit),
    /// This happened.
    Event(Event),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An INVITE left.
    Calling {
        /// Its call.
        call: CallNumber,
        /// Its Call-ID.
        call_id: String,
    },
    /// Somebody calls; the phone rings.
    Called {
        /// The new call.
        call: CallNumber,
        /// Its Call-ID.
        call_id: String,
        /// The caller's From value.
        from: String,
        /// The offer, unless it will come later.
        remote: Option<Remote>,
    },
    /// The callee rings, or makes progress.
    Ringing {
        /// The call.
        call: CallNumber,
        /// The status code of the provisional response.
        status: u16,
        /// Early media.
        remote: Option<Remote>,
    },
    /// The call is answered, by either side.
    Answered {
        /// The call.
        call: CallNumber,
        /// Where the other side wants media.
        remote: Option<Remote>,
    },
    /// A re-INVITE of either side succeeded, or an ACK brought the answer.
    Changed {
        /// The call.
        call: CallNumber,
        /// Where the other side wants media now.
        remote: Option<Remote>,
    },
    /// Our re-INVITE was refused; the call goes on as before.
    ChangeRefused {
        /// The call.
        call: CallNumber,
        /// The status code.
        status: u16,
        /// Its Warning.
        warning: Option<String>,
    },
    /// The call is over.
    Ended {
        /// The call.
        call: CallNumber,
        /// The final status of the INVITE; 487 for a CANCEL that came; of the answered call's BYE otherwise.
        status: u16,
        /// Reason of the BYE or CANCEL that came.
        reason: Option<String>,
        /// Warning of the failure response that came.
        warning: Option<String>,
    },
}
