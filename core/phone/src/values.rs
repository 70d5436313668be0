//! What the phone is told, and what it says.

use std::net::SocketAddr;

use bytes::Bytes;
use sdp::Direction;
use sip::endpoint::Transmit;
use sip::transport::Hop;

use crate::Remote;

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
    /// Take another phone's place in a call of its own ([`crate::Phone::place`]).
    TakeOver {
        /// The URI to call.
        to: String,
        /// Where to send.
        next: Hop,
        /// The dialog to replace.
        replaces: String,
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
    /// Change the session: hold is [`Direction::SendOnly`] with the same address. A no-op while the protocol does not
    /// allow an offer.
    Offer {
        /// Which call.
        call: CallNumber,
        /// What is wanted.
        offer: Offer,
    },
    /// A re-INVITE without SDP: the other side shall offer.
    Ask(CallNumber),
    /// Refer the other end of an answered call to somebody else ([`Event::ReferAnswered`], [`Event::Notified`]).
    Refer {
        /// Which.
        call: CallNumber,
        /// The value of Refer-To.
        to: String,
    },
    /// Tell who has referred us how that goes: a no-op if nobody has, or has been told the end.
    Notify {
        /// The call that the REFER came in.
        call: CallNumber,
        /// 100 to 699.
        status: u16,
    },
    /// Forget everything, as after a loss of power.
    Reboot,
}

impl Event {
    /// The call it happened in.
    #[must_use]
    pub fn call(&self) -> CallNumber {
        match self {
            Self::Calling { call, .. }
            | Self::Called { call, .. }
            | Self::Alerting { call }
            | Self::Ringing { call, .. }
            | Self::Answered { call, .. }
            | Self::Offered { call }
            | Self::Changed { call, .. }
            | Self::ChangeRefused { call, .. }
            | Self::Moved { call, .. }
            | Self::Refreshed { call }
            | Self::Redirected { call, .. }
            | Self::Referred { call, .. }
            | Self::ReferAnswered { call, .. }
            | Self::Notified { call, .. }
            | Self::NotifyAnswered { call, .. }
            | Self::Ended { call, .. } => *call,
        }
    }
}

/// A new offer in a dialog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// In which request.
    pub by: By,
    /// Where RTP is wanted from now on.
    pub media: SocketAddr,
    /// Who may send.
    pub direction: Direction,
    /// The port for video: a stream is added, moved or, with `None`, removed.
    pub video: Option<u16>,
    /// Fax instead of audio (T.38, `udptl`), at the port of audio.
    pub fax: bool,
}

/// The request that carries an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// re-INVITE, in answered calls.
    Invite,
    /// UPDATE, also before the answer.
    Update,
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
    /// Somebody calls. The phone does not ring yet: that is [`Event::Alerting`].
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
    /// The phone rings: if the call fails from here on, it was a ghost ring.
    Alerting {
        /// The call.
        call: CallNumber,
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
    /// An offer of ours inside a dialog left.
    Offered {
        /// The call.
        call: CallNumber,
    },
    /// A re-INVITE, UPDATE or PRACK of either side changed the session, or an ACK brought the answer.
    Changed {
        /// The call.
        call: CallNumber,
        /// Where the other side wants media now.
        remote: Option<Remote>,
    },
    /// Our change was refused; the call goes on as before.
    ChangeRefused {
        /// The call.
        call: CallNumber,
        /// The status code.
        status: u16,
        /// Its Warning.
        warning: Option<String>,
    },
    /// The phone itself names another address from now on ([`crate::Oddities::moves_in_answer`]).
    Moved {
        /// The call.
        call: CallNumber,
        /// Where it wants RTP now.
        media: SocketAddr,
    },
    /// The session timer was started again by a request without SDP, or by one of ours that changed nothing.
    Refreshed {
        /// The call.
        call: CallNumber,
    },
    /// A 3xx sends us elsewhere; [`Event::Ended`] follows unless the phone does.
    Redirected {
        /// The call.
        call: CallNumber,
        /// The URI of the first Contact.
        to: String,
    },
    /// The other end refers us to somebody: the owner calls there, and tells by [`Input::Notify`] what comes of it.
    Referred {
        /// The call that the REFER came in.
        call: CallNumber,
        /// The URI to call, without headers.
        to: String,
        /// Its Replaces header, without escapes.
        replaces: Option<String>,
    },
    /// Our REFER got its final response.
    ReferAnswered {
        /// The call.
        call: CallNumber,
        /// The status code.
        status: u16,
    },
    /// The one whom we have referred says how far it is.
    Notified {
        /// The call.
        call: CallNumber,
        /// The status code in its message; 0 if there is none.
        status: u16,
    },
    /// Our NOTIFY got its final response.
    NotifyAnswered {
        /// The call.
        call: CallNumber,
        /// The status code.
        status: u16,
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
