//! The agent's end of a session.

use std::time::Duration;

use machine::{Instant, Outbox};
use midcom::{AgentEvent, Request, RequestId};

/// What an agent's session is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Answer to a middlebox that challenges us; empty if nothing was agreed, and then most will refuse. At most
    /// 4,096 octets.
    pub token: Vec<u8>,
    /// How long a request may wait for its reply before it fails with [`midcom::Failure::Timeout`].
    pub reply_timeout: Duration,
    /// How long a middlebox may owe a reply before the session is given up as dead.
    pub silence_max: Duration,
    /// How many requests may wait for their reply at once; further ones fail with [`midcom::Failure::NoResources`].
    pub open_requests_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            token: Vec::new(),
            reply_timeout: Duration::from_secs(4),
            silence_max: Duration::from_secs(30),
            open_requests_max: 16_384,
        }
    }
}

/// What an agent's session asks for; carried out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Write these octets to the connection.
    Send(Vec<u8>),
    /// Tell the user of the session.
    Event(AgentEvent),
    /// Close the connection; the session is over. [`Session::connected`] starts the next one.
    Close,
}

/// The agent's end of a session with one middlebox, over any number of successive connections.
#[derive(Debug)]
pub struct Session {
    config: Config,
}

impl Session {
    /// A session without a connection.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// The connection is there: SE goes out.
    pub fn connected(&mut self, _now: Instant, _out: &mut Outbox<Output>) {}

    /// Octets arrived.
    pub fn receive(&mut self, _now: Instant, _bytes: &[u8], _out: &mut Outbox<Output>) {}

    /// The connection broke, or could not be made; `why` is for people.
    pub fn disconnected(&mut self, _now: Instant, _why: &str, _out: &mut Outbox<Output>) {}

    /// Sends a request. Its reply comes as [`AgentEvent::Reply`] with the same `id`, exactly once.
    pub fn request(&mut self, _now: Instant, _id: RequestId, _request: Request, _out: &mut Outbox<Output>) {}

    /// Ends the session with ST. Rules live on.
    pub fn close(&mut self, _now: Instant, _out: &mut Outbox<Output>) {}

    /// Does what is due.
    pub fn handle_timeout(&mut self, _now: Instant, _out: &mut Outbox<Output>) {}

    /// When [`Session::handle_timeout`] is next worth calling, and why.
    #[must_use]
    pub fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }

    /// True while requests may be sent.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.config.open_requests_max == 0
    }
}
