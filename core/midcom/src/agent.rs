//! What an agent's session tells the one who uses it, whatever the wire protocol.

use crate::{Capabilities, Failure, Notification, Reply};

/// One of the middleboxes an agent knows, by position in its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MiddleboxId(pub u16);

/// Ties a reply to its request; chosen by the user of the session, never reused while a request is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// What happens on an agent's session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AgentEvent {
    /// The session is open; requests may be sent.
    Up(Capabilities),
    /// The session is gone; open requests have each been answered with [`Failure::SessionLost`] before this.
    Down(DownReason),
    /// An answer.
    Reply(RequestId, Result<Reply, Failure>),
    /// Something the middlebox says unasked.
    Notification(Notification),
}

/// Why a session is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DownReason {
    /// The connection could not be made or broke.
    Connection(String),
    /// The middlebox ended it (AST).
    Terminated,
    /// The middlebox refused it.
    Refused(Failure),
    /// The peer broke the protocol; the text says how.
    PeerMisbehaved(String),
    /// The middlebox was asked to prove who it is, and could not.
    Unproven,
    /// We ended it.
    Closed,
}
