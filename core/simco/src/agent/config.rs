//! What an agent's session is made with, and what it asks for.

use std::time::Duration;

use midcom::AgentEvent;

/// What an agent's session is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Answer to a middlebox that challenges us; empty if nothing was agreed, and then most will refuse. What is longer
    /// than 4,096 octets cannot be sent and counts as empty.
    pub token: Vec<u8>,
    /// How long a request may wait for its reply before it fails with [`midcom::Failure::Timeout`].
    pub reply_timeout: Duration,
    /// How long a middlebox may owe a reply before the session is given up as dead.
    pub silence_max: Duration,
    /// How long an incomplete message may stand still.
    pub incomplete_max: Duration,
    /// How many replies may be due at once; further requests fail with [`midcom::Failure::NoResources`].
    pub open_requests_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            token: Vec::new(),
            reply_timeout: Duration::from_secs(4),
            silence_max: Duration::from_secs(30),
            incomplete_max: Duration::from_secs(60),
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
    /// Close the connection; the session is over. [`super::Session::connected`] starts the next one.
    Close,
}
