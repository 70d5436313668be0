//! What a middlebox's session is made with, and what it asks for.

use std::time::Duration;

use midcom::{Capabilities, Request};

use crate::authentication::{Nonce, Secret};

/// What is already known about an agent when its connection is accepted: who it is comes from the connection
/// (peer credentials, certificate), so this is decided before the first octet arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// It may have a session.
    Admitted,
    /// There is no room for another session: 0x0321.
    LackOfResources,
    /// The kind of connection is not acceptable: 0x0325.
    TransportProblem,
    /// The connection is not protected well enough: 0x0326.
    InsufficientSecurity,
    /// It is known and has no business here: 0x0324.
    NotAuthorized,
}

/// How an agent proves who it is, where its connection does not say enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// Random octets that were never used before: our challenge.
    pub nonce: Nonce,
    /// Who it may be: one where the connection says who, and has to be confirmed. Whoever has none of the secrets is
    /// refused with 0x0323.
    pub candidates: Vec<Candidate>,
}

/// One that an agent may prove to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// What it has been given.
    pub secret: Secret,
    /// What the SE reply says to it.
    pub capabilities: Capabilities,
}

/// What a middlebox's session is made with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// What the SE reply says.
    pub capabilities: Capabilities,
    /// Whether this agent may have a session.
    pub admission: Admission,
    /// What it has to prove, if anything.
    pub authentication: Option<Authentication>,
    /// Most octets behind the header of a request that we read; a longer one gets BFM. The longest request of RFC 4540
    /// has 4,108.
    pub payload_len_max: u16,
    /// How long an incomplete message may stand still (RFC 4540 §6 says 60 s).
    pub incomplete_max: Duration,
    /// How long a connection may last without an established session.
    pub establishment_max: Duration,
    /// How many requests may wait for their reply at once; further ones get 0x0342.
    pub open_requests_max: usize,
    /// How long an ending session waits for the replies that are still due.
    pub drain_max: Duration,
}

impl Config {
    /// The usual limits.
    #[must_use]
    pub fn new(capabilities: Capabilities, admission: Admission) -> Self {
        Self {
            capabilities,
            admission,
            authentication: None,
            payload_len_max: 8_192,
            incomplete_max: Duration::from_secs(60),
            establishment_max: Duration::from_secs(60),
            open_requests_max: 16_384,
            drain_max: Duration::from_secs(3),
        }
    }
}

/// What a middlebox's session asks for; carried out in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Write these octets to the connection.
    Send(Vec<u8>),
    /// The session is established; requests follow.
    Opened,
    /// Answer this with [`super::Session::reply`] and the same `tid`.
    Request {
        /// Transaction identifier, unique among the open requests of this session.
        tid: u32,
        /// What the agent asks for.
        request: Request,
    },
    /// An established session is over. Its rules live on; replies still due are not wanted any more.
    Closed,
    /// Close the connection once everything sent is written. Nothing comes after this.
    Close,
}
