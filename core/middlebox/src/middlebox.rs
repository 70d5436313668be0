//! The machine: inputs, outputs, and who handles what.

use std::time::Duration;

use machine::{Instant, Machine, Outbox};
use midcom::{Failure, Notification, Prid, Reply, Request};

use crate::authority::{AgentId, Policy};
use crate::engine::Drift;
use crate::entry::{EngineFailure, Entry, Key, Operation};
use crate::event::Event;
use crate::realm::Realms;

/// Names a session; chosen by the runtime, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Names a batch of operations; chosen by the machine, rising.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// What kind of request, for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestKind {
    /// PRR.
    Reserve,
    /// PER.
    Enable,
    /// PEA.
    EnableReserved,
    /// PDR.
    Disable,
    /// PLC with a lifetime above zero.
    Lifetime,
    /// PLC with lifetime zero.
    End,
    /// PRS.
    Status,
    /// PRL.
    List,
}

/// Everything a middlebox must know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// The sides; the engine must have been given the same.
    pub realms: Realms,
    /// The standing policy; replaced while running by [`Input::Policy`].
    pub policy: Policy,
    /// Whether the engine can do TCP rules; otherwise they are refused with 0x0354.
    pub tcp: bool,
    /// How long entries found at start are kept for agents that come back (30 s is a good value).
    pub orphan_grace: Duration,
}

/// Everything that can happen.
#[derive(Debug, Clone)]
pub enum Input {
    /// A session has opened (SIMCO: the SE reply has been sent).
    Opened {
        /// Which.
        session: SessionId,
        /// Whose, by the proof the transport gave.
        agent: AgentId,
    },
    /// A session is gone, for whatever reason.
    Closed {
        /// Which.
        session: SessionId,
    },
    /// An agent asks.
    Request {
        /// On which session.
        session: SessionId,
        /// Ties the reply to it.
        tid: u32,
        /// What.
        request: Request,
    },
    /// The engine has carried out a batch: one result per operation, in order.
    Applied {
        /// Which.
        batch: BatchId,
        /// What came of each.
        results: Vec<Result<(), EngineFailure>>,
    },
    /// What the engine held when it started; to be given before the first session opens.
    Adopted {
        /// All of it.
        entries: Vec<Entry>,
    },
    /// Somebody else may have changed what the engine holds.
    Disturbed,
    /// The answer to [`Output::Verify`].
    Verified {
        /// What differs, or why that cannot be said.
        drift: Result<Drift, EngineFailure>,
    },
    /// A new standing policy. Rules it no longer allows end.
    Policy(Box<Policy>),
    /// The operator ends a rule. One that does not exist is ignored.
    Revoke {
        /// Which.
        prid: Prid,
    },
    /// Ends all sessions and accepts nothing more. Entries stay until their lifetime ends, so that a restart does not
    /// interrupt media.
    Shutdown,
}

/// Everything it can ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// The answer to a request.
    Reply {
        /// On which session.
        session: SessionId,
        /// The request's.
        tid: u32,
        /// What came of it.
        result: Result<Reply, Failure>,
    },
    /// Something said unasked.
    Notify {
        /// On which session.
        session: SessionId,
        /// What.
        notification: Notification,
    },
    /// Operations for the engine; answer with [`Input::Applied`].
    Apply {
        /// Names the batch.
        batch: BatchId,
        /// At most one per key.
        operations: Vec<Operation>,
    },
    /// Compare the engine with these keys (sorted); answer with [`Input::Verified`].
    Verify {
        /// What should be there.
        keys: Vec<Key>,
    },
    /// End a session (AST).
    Terminate {
        /// Which.
        session: SessionId,
    },
    /// A fact.
    Event(Event),
    /// After [`Input::Shutdown`]: nothing is in flight any more.
    ShutdownComplete,
}

/// The firewall side as one machine.
#[derive(Debug)]
pub struct Middlebox {
    config: Config,
}

impl Middlebox {
    /// A middlebox without rules.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config }
    }
}

impl Machine for Middlebox {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        let _ = (now, input, out, &self.config);
    }

    fn handle_timeout(&mut self, _now: Instant, _out: &mut Outbox<Output>) {}

    fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
}
