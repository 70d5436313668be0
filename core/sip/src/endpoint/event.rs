//! What an endpoint gives: bytes for the network, events for the transaction user.

use bytes::Bytes;

use super::{ClientKey, ServerKey};
use crate::message::Message;
use crate::transport::Hop;

/// Bytes to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transmit {
    /// Where to. Over TCP: on `connection` if it is named and still open, otherwise on any connection to `remote`,
    /// opened if need be.
    pub hop: Hop,
    /// One message.
    pub bytes: Bytes,
}

/// What the transaction user hears.
#[derive(Debug, Clone)]
pub enum Incoming {
    /// A new server transaction; the checks that need no transaction user are done, an INVITE has got its 100.
    /// The message knows its source, so `Builder::response_to` writes `received` and `rport`.
    Request {
        /// Its name, for [`super::Endpoint::respond`].
        key: ServerKey,
        /// Where it came from.
        hop: Hop,
        /// The request; never ACK or CANCEL.
        message: Message,
    },
    /// An ACK that is not the business of a transaction: to a 2xx, or stray.
    Ack {
        /// Where it came from.
        hop: Hop,
        /// The ACK.
        message: Message,
    },
    /// An INVITE without final response is to be given up; the CANCEL has been answered. The transaction user owes
    /// the INVITE its 487.
    Cancel {
        /// The INVITE.
        invite: ServerKey,
        /// The CANCEL, for its Reason.
        message: Message,
    },
    /// A response to one of our requests: every 1xx, the first final one, and every 2xx to an INVITE.
    Response {
        /// The request.
        key: ClientKey,
        /// The response.
        message: Message,
    },
    /// A 2xx to an INVITE of ours that is forgotten. Whoever remembers the call acknowledges it and says BYE.
    Stray2xx {
        /// Where it came from.
        hop: Hop,
        /// The response.
        message: Message,
    },
    /// A request of ours got no final response. The transaction is gone.
    ClientFailed {
        /// The request.
        key: ClientKey,
        /// Why.
        why: ClientFailure,
    },
    /// What could not be read; it was answered or dropped.
    Malformed {
        /// Where it came from.
        hop: Hop,
    },
    /// The end of an INVITE server transaction, or news of its response.
    ServerGone {
        /// The transaction.
        key: ServerKey,
        /// Why.
        why: ServerEnd,
    },
}

/// Why a request got no final response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientFailure {
    //= RFC 3261 §8.1.3.1: a timeout counts as 408.
    /// Nobody answered in time: timer B or F. To be treated as a 408.
    Timeout,
    //= RFC 3261 §8.1.3.1: a transport error counts as 503.
    /// It could not be delivered. To be treated as a 503.
    Transport,
}

impl ClientFailure {
    /// The status code as which it counts.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Timeout => 408,
            Self::Transport => 503,
        }
    }
}

/// What became of an INVITE server transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerEnd {
    /// The final failure was never acknowledged (timer H); gone.
    AckTimeout,
    /// Its time is over (timer I or L); gone.
    Ended,
    /// A response could not be delivered. The transaction stays, to absorb repetitions (RFC 6026 §7.1).
    Transport,
}

/// What was thrown away or answered without a transaction, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Datagrams that are only line ends, or STUN: keep-alives.
    pub keep_alives: u64,
    /// Requests that could not be read and were answered (400, 505, 513 …).
    pub malformed_answered: u64,
    /// Messages that could not be read and could not be answered; broken responses.
    pub malformed_dropped: u64,
    /// Requests answered without a transaction by our own checks (416, 481 to CANCEL, 482, 483).
    pub refused: u64,
    /// Requests answered 503 at the limit.
    pub overloaded: u64,
    /// Repetitions of requests that a transaction absorbed.
    pub repeated_requests: u64,
    /// Repetitions sent by us on timers A, E and G.
    pub repetitions_sent: u64,
    /// Responses whose Via is not ours, or that have several.
    pub foreign_responses: u64,
    /// Responses to requests nobody remembers, except 2xx to INVITE.
    pub stray_responses: u64,
}
