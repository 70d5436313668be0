//! Everything that can happen to the B2BUA, and everything it can ask for.

use bytes::Bytes;
use machine::week::MinuteOfWeek;
use midcom::{AgentEvent, MiddleboxId, Request, RequestId};
use sip::locate::{Place, Wish};
use sip::transport::Hop;

use crate::admission;
use crate::config::{Route, Users};
use crate::event::{CallId, Event};
use crate::info::RegistrationInfo;

/// What can happen.
#[derive(Debug, Clone)]
pub enum Input {
    /// A datagram, or one frame of a stream, arrived.
    Message {
        /// From where.
        hop: Hop,
        /// The bytes.
        bytes: Bytes,
    },
    /// What was sent to `hop` cannot get there: an ICMP error, a refused or broken connection (RFC 3261 §18.4).
    TransportFailed {
        /// Where to.
        hop: Hop,
    },
    /// Something happened on the session with a middlebox.
    Midcom {
        /// Which.
        middlebox: MiddleboxId,
        /// What.
        event: AgentEvent,
    },
    /// The answer to [`Output::Resolve`].
    Resolved {
        /// Which question.
        id: LookupId,
        /// The places in the order in which they are to be tried; empty if there are none.
        places: Vec<Place>,
    },
    /// An operator ends a call.
    Kick {
        /// Which.
        call: CallId,
    },
    /// What counts from now on, all of it at once; calls there are go on as they are.
    Reload(Box<Reload>),
    /// What time it is, in the time zone of the call policy; needed where that knows times.
    Clock(MinuteOfWeek),
    /// Contacts that an earlier process had: from a file, for instance. Those whose time is over, whose name is none of ours, or
    /// for which there is no room are left out.
    Registered(Vec<RegistrationInfo>),
    /// End every call and take no new ones; [`Output::ShutdownComplete`] follows.
    Shutdown,
}

/// What may change while there are calls.
#[derive(Debug, Clone)]
pub struct Reload {
    /// Where calls go.
    pub routes: Vec<Route>,
    /// Which are let in.
    pub admission: Vec<admission::Line>,
    /// Who has a password; `None`: whoever had one.
    pub users: Option<Users>,
}

/// What it asks for, to be carried out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes.
    Transmit {
        /// Where to.
        hop: Hop,
        /// A whole message.
        bytes: Bytes,
    },
    /// Ask a middlebox.
    Midcom {
        /// Which.
        middlebox: MiddleboxId,
        /// Comes back with the reply.
        id: RequestId,
        /// What.
        request: Request,
    },
    /// Find where the servers of a name are ([`sip::locate`]). Answered by [`Input::Resolved`].
    Resolve {
        /// Comes back with the answer.
        id: LookupId,
        /// What is looked for.
        wish: Wish,
    },
    /// Something happened.
    Event(Event),
    /// Every call has ended, or the time for it is up.
    ShutdownComplete,
}

/// A question to the name service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);
