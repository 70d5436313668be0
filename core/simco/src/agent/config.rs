//! What an agent's session is made with, and what it asks for.

use std::time::Duration;

use midcom::AgentEvent;

use crate::authentication::{Nonce, Secret};

/// What an agent's session is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
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
            reply_timeout: Duration::from_secs(4),
            silence_max: Duration::from_secs(30),
            incomplete_max: Duration::from_secs(60),
            open_requests_max: 16_384,
        }
    }
}

/// What a connection is opened with by an agent that has a secret: it proves itself if it is asked to, and asks the
/// middlebox to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// What both have been given.
    pub secret: Secret,
    /// Random octets that were never used before.
    pub nonce: Nonce,
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
