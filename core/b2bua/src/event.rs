//! What happens, as facts: ladders, logs, metrics, call lists and test expectations are readers of this one stream.
//!
//! An event for a SIP message is a few numbers and costs no allocation.

use std::time::Duration;

use admission::Offence;
use midcom::{Failure, MiddleboxId, Prid, Request, RequestId};
use sip::message::{Message, Method, Name};
use sip::transport::Hop;

use crate::config::RealmId;
use crate::failure::cause;
use crate::leg::body::Body;
use crate::side::Side;
use crate::trunk::config::TrunkId;

/// A call, numbered from 1 in the order of arrival; never used twice while the process lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

impl std::fmt::Display for CallId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A fact, past tense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// An INVITE was admitted as a call.
    Started {
        /// The call.
        call: CallId,
        /// Where it came from.
        from: RealmId,
        /// Where it goes.
        to: RealmId,
        /// The caller's address-of-record (From).
        caller: Box<str>,
        /// The callee's (To).
        callee: Box<str>,
        /// Call-ID of the INVITE.
        call_id: Box<str>,
        /// Where the INVITE came from.
        hop: Hop,
    },
    /// The INVITE left for a next hop; once more for each that is tried.
    Called {
        /// The call.
        call: CallId,
        /// Where to.
        hop: Hop,
    },
    /// The name service knows no address of a next hop, or none that a listener of its realm can send to.
    NotFound {
        /// The call.
        call: CallId,
        /// The name.
        name: Box<str>,
    },
    /// A next hop does not answer OPTIONS any more, or does again.
    ServerChanged {
        /// Where it is.
        hop: Hop,
        /// Whether it answers.
        is_up: bool,
    },
    /// A SIP message of a call arrived and was taken up; retransmissions were absorbed before.
    Received {
        /// The call.
        call: CallId,
        /// From which side.
        side: Side,
        /// What.
        message: Sip,
    },
    /// A SIP message of a call left.
    Sent {
        /// The call.
        call: CallId,
        /// To which side.
        side: Side,
        /// What.
        message: Sip,
    },
    /// A message waits until its pinholes are confirmed.
    Held {
        /// The call.
        call: CallId,
        /// Who sent it.
        from: Side,
    },
    /// A middlebox was asked something for a call.
    Asked {
        /// The call.
        call: CallId,
        /// Which middlebox.
        middlebox: MiddleboxId,
        /// Comes back in [`Event::Answered`].
        id: RequestId,
        /// For requests that open something: the side that media may then travel to.
        toward: Option<Side>,
        /// What.
        request: Request,
    },
    /// A middlebox answered, or will not.
    Answered {
        /// The call.
        call: CallId,
        /// Which middlebox.
        middlebox: MiddleboxId,
        /// To which request.
        id: RequestId,
        /// The rule it is about, where the reply names one.
        result: Result<Option<Prid>, Failure>,
    },
    /// A middlebox ended or changed a rule of a call by itself (ARE).
    RuleChanged {
        /// The call.
        call: CallId,
        /// Which middlebox.
        middlebox: MiddleboxId,
        /// The rule.
        prid: Prid,
        /// Seconds it still lives; 0: it is gone.
        lifetime_s: u32,
    },
    /// A wide rule could not be narrowed and stays.
    StaysWide {
        /// The call.
        call: CallId,
        /// Position of the m-line, from 0.
        stream: u16,
        /// Why.
        failure: Failure,
    },
    /// The firewall took away what a stream of a running call needs. The call goes on without it, and both peers are told.
    StreamLost {
        /// The call.
        call: CallId,
        /// Position of the m-line, from 0.
        stream: u16,
        /// Why it could not be had again; `None` if the middlebox ended the rule by itself.
        failure: Option<Failure>,
    },
    /// The callee's phone rang or was answered, and then the firewall refused what the call needed.
    GhostRing {
        /// The call.
        call: CallId,
        /// Whether rules had been reserved before.
        reserved: bool,
    },
    /// The firewall refused what the call needed before the callee's phone rang.
    GhostRingPrevented {
        /// The call.
        call: CallId,
        /// Whether rules were reserved.
        reserved: bool,
    },
    /// The caller acknowledged the answer.
    Established {
        /// The call.
        call: CallId,
    },
    /// The call began to end, or was refused.
    Ending {
        /// The call.
        call: CallId,
        /// Why.
        cause: Cause,
        /// The failure in the words of our `Warning`; empty if it was none of ours.
        why: Box<str>,
    },
    /// The last rule is closed and the last message sent.
    Ended {
        /// The call.
        call: CallId,
    },
    /// A peer has done what honest ones seldom do.
    Offended {
        /// From where.
        hop: Hop,
        /// What.
        what: Offence,
        /// The tag in To of the response that refuses its INVITE, which was minted for that response: its ACK proves that
        /// whoever is there has sent the INVITE. A connection proves it anyway.
        told: Option<Box<str>>,
    },
    /// A request outside any call was answered.
    AnsweredAlone {
        /// From where.
        hop: Hop,
        /// What.
        message: Sip,
        /// For an INVITE, its Request-URI as it came.
        target: Box<str>,
        /// The failure in the words of our `Warning`; empty if there is none.
        why: Box<str>,
    },
    /// A registrar has taken a contact.
    Registered {
        /// What it calls it: the user part of our Contact.
        name: Box<str>,
        /// Whether it had it before.
        again: bool,
        /// The realm of the phone.
        realm: RealmId,
        /// Whom the phone is registered for (To).
        aor: Box<str>,
        /// Where the phone is.
        hop: Hop,
    },
    /// A contact was removed, or nobody has registered it again in time.
    Unregistered {
        /// What the registrar called it.
        name: Box<str>,
        /// The realm of the phone.
        realm: RealmId,
        /// Whom it was registered for.
        aor: Box<str>,
        /// Where it was.
        hop: Hop,
    },
    /// Somebody has not shown who it is, or speaks for somebody else.
    NotAuthenticated {
        /// Where it is.
        hop: Hop,
        /// The realm it is in.
        realm: RealmId,
        /// Who it says that it is; its own words.
        user: Box<str>,
        /// The method of the request.
        method: Method,
        /// What was wrong.
        why: Box<str>,
    },
    /// A trunk knows where we are.
    TrunkRegistered {
        /// Which.
        trunk: TrunkId,
        /// Whether it knew before.
        again: bool,
        /// Where it was told.
        hop: Hop,
        /// For how long, in seconds.
        lives_s: u32,
    },
    /// A trunk does not know any more where we are: the time is over, or it was told that we go.
    TrunkForgets {
        /// Which.
        trunk: TrunkId,
    },
    /// A trunk could not be told where we are.
    TrunkFailed {
        /// Which.
        trunk: TrunkId,
        /// Why.
        why: Box<str>,
        /// When it is tried again.
        pause: Duration,
    },
    /// A trunk's challenge could not be answered.
    TrunkRefused {
        /// Which.
        trunk: TrunkId,
        /// The method of the request.
        method: Method,
        /// Why.
        why: Box<str>,
    },
    /// The session with a middlebox opened.
    MiddleboxUp(MiddleboxId),
    /// The session with a middlebox is gone.
    MiddleboxDown(MiddleboxId),
    /// A middlebox does not know how to say what has passed, so `media-timeout` ends no call there. Said once per
    /// session.
    CannotCount(MiddleboxId),
    /// A rule that no call owns was found at a middlebox and is being closed.
    OrphanClosed {
        /// Which middlebox.
        middlebox: MiddleboxId,
        /// The rule.
        prid: Prid,
    },
}

/// A SIP message in numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sip {
    /// The method; a response has that of its request.
    pub method: Method,
    /// The status code; 0 for a request.
    pub status: u16,
    /// It carries a session description.
    pub sdp: bool,
    /// The SIP cause in its `Reason` header; 0 without.
    pub reason: u16,
}

impl Sip {
    /// A message without a description.
    pub(crate) fn new(method: &Method, status: u16) -> Self {
        Self { method: method.clone(), status, sdp: false, reason: 0 }
    }

    /// A message as it arrived.
    pub(crate) fn of(message: &Message) -> Self {
        let sdp = matches!(Body::of(message), Body::Description(_));
        let reason = message.values(Name::Reason).find_map(cause).unwrap_or(0);
        Self { method: message.method().clone(), status: message.status(), sdp, reason }
    }
}

/// Why a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// A side said BYE.
    Bye(Side),
    /// The caller gave up before the answer.
    Cancelled,
    /// The callee, or we, refused the INVITE with this code.
    Refused(u16),
    /// We ended it, giving this code as the reason.
    Cut(u16),
    /// We ended it, giving this code as the reason, because the firewall took a pinhole away that it needs.
    Revoked(u16),
    /// An operator ended it.
    Kicked,
    /// We are shutting down.
    Shutdown,
}
