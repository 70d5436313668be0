//! Facts about the middlebox, in the past tense. Logs, metrics and test expectations read them.

use midcom::{Failure, Lifetime, Prid, Tuple};

use crate::authority::{AgentId, Opening};
use crate::entry::Key;
use crate::middlebox::{RequestKind, SessionId};

/// Why a rule ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndCause {
    /// Its agent asked (PLC with lifetime 0).
    Requested,
    /// Its lifetime ran out.
    Expired,
    /// The operator revoked it.
    Revoked,
    /// A new policy no longer allows it.
    Withdrawn,
    /// A disable rule forbids it.
    Disabled,
    /// Its entries were lost from the kernel and could not be made again.
    Lost,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// A session opened.
    SessionOpened {
        /// Which.
        session: SessionId,
        /// Whose.
        agent: AgentId,
    },
    /// A session was refused: its agent is unknown or there are too many.
    SessionRefused {
        /// Which.
        session: SessionId,
        /// Whose.
        agent: AgentId,
    },
    /// A session closed. Its rules live on.
    SessionClosed {
        /// Which.
        session: SessionId,
    },
    /// A reservation was made.
    RuleReserved {
        /// The rule.
        prid: Prid,
        /// Its owner.
        agent: AgentId,
        /// Lifetime granted.
        lifetime: Lifetime,
    },
    /// A rule lets packets pass; the engine has confirmed it.
    RuleEnabled {
        /// The rule.
        prid: Prid,
        /// Its owner.
        agent: AgentId,
        /// What it opened.
        opening: Opening,
        /// Lifetime granted.
        lifetime: Lifetime,
    },
    /// A rule forbids; the engine has confirmed that what it ended is closed.
    RuleDisabled {
        /// The rule.
        prid: Prid,
        /// Its owner.
        agent: AgentId,
        /// A0.
        internal: Tuple,
        /// A3.
        external: Tuple,
        /// Lifetime granted.
        lifetime: Lifetime,
        /// How many enable rules it ended.
        ended: usize,
    },
    /// A rule got a new lifetime.
    LifetimeChanged {
        /// The rule.
        prid: Prid,
        /// Lifetime granted.
        lifetime: Lifetime,
    },
    /// A rule is gone; the engine has confirmed it.
    RuleEnded {
        /// The rule.
        prid: Prid,
        /// Its owner.
        agent: AgentId,
        /// Why.
        cause: EndCause,
    },
    /// A request was refused.
    RequestRefused {
        /// By whom it was sent.
        agent: AgentId,
        /// What it asked for.
        request: RequestKind,
        /// Why.
        failure: Failure,
    },
    /// A batch came back from the engine.
    BatchApplied {
        /// Operations in it.
        operations: usize,
        /// Those that failed.
        failed: usize,
    },
    /// Entries were found at start.
    EntriesAdopted {
        /// How many.
        entries: usize,
    },
    /// Rules were read back after a restart.
    RulesRestored {
        /// Those that live on.
        rules: usize,
        /// Those whose lifetime is over, or that are not allowed any more.
        dropped: usize,
    },
    /// Adopted entries that no rule needed were removed.
    OrphansRemoved {
        /// How many.
        entries: usize,
    },
    /// The engine held something else than it should.
    DriftFound {
        /// Entries that were gone.
        missing: usize,
        /// Entries that nobody had asked for.
        foreign: usize,
    },
    /// The engine could not be compared with the rule table.
    VerificationFailed,
    /// An entry could not be removed; it is tried again, and the kernel ends it at its lifetime in any case.
    RemovalFailed {
        /// Which.
        key: Key,
    },
}
