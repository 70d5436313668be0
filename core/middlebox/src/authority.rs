//! Who may open what. The only place that can make a [`Permit`]. `docs/pinholes.md` §2.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use midcom::{Direction, Failure, Lifetime, Network, Tuple};

use crate::entry::Key;
use crate::realm::Realms;

/// Names an agent. The runtime resolves it (peer credentials, certificate) to one of [`Policy::agents`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AgentId(pub u32);

/// What one agent may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPolicy {
    /// Its name: the owner that PRS tells.
    pub name: String,
    /// Where A0 must lie.
    pub internal: Vec<Network>,
    /// The inside destination ports that inbound rules may open.
    pub ports: RangeInclusive<u16>,
    /// How many rules it may have at a time.
    pub rules_max: u32,
    /// The longest lifetime it is granted.
    pub lifetime_max: Lifetime,
}

/// The standing policy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Policy {
    /// The agents that may open sessions.
    pub agents: BTreeMap<AgentId, AgentPolicy>,
    /// Networks to and from which nothing may be opened, on either side.
    pub deny: Vec<Network>,
}

/// What an enable rule opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    /// Which way.
    pub direction: Direction,
    /// A0.
    pub internal: Tuple,
    /// A3.
    pub external: Tuple,
}

/// The proof that an entry is allowed. An engine cannot be asked to open anything without one, and only
/// [`Authority::permit`] makes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit(Key);

impl Permit {
    /// What is allowed.
    #[must_use]
    pub fn key(&self) -> Key {
        self.0
    }
}

/// Decides what agents may open.
#[derive(Debug, Clone)]
pub struct Authority {
    /// The sides of the middlebox.
    realms: Realms,
    /// The standing policy.
    policy: Policy,
}

impl Authority {
    /// An authority for these realms and this policy.
    #[must_use]
    pub fn new(realms: Realms, policy: Policy) -> Self {
        Self { realms, policy }
    }

    /// The permits for what an agent wants to open, in the order of the ports; never for more than it asks for.
    ///
    /// # Errors
    /// The failure that the negative reply carries.
    pub fn permit(&self, agent: AgentId, opening: &Opening) -> Result<Vec<Permit>, Failure> {
        let _ = (agent, opening, &self.realms, &self.policy);
        Err(Failure::NotAuthorizedForTransaction)
    }
}
