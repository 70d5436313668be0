//! What agents and middleboxes say to each other: RFC 5189 as values.
//!
//! Meaning only, no bytes: the wire crates (`simco`, later SNMP, NSIS and PCP) translate. Words are the RFC's:
//! A0 *internal*, A1 *inside*, A2 *outside*, A3 *external* (RFC 5189 §2.3.5).

mod agent;
mod failure;
mod message;
mod tuple;

pub use agent::{AgentEvent, DownReason, MiddleboxId, RequestId};
pub use failure::{Failure, FailureClass};
pub use message::{
    Capabilities, Direction, Gid, IpVersionChoice, IpVersions, NatService, Notification, Parity, Passed,
    PortParity, Prid, Reply, Request, RuleStatus,
};
pub use tuple::{Network, Protocol, Tuple};

/// A lifetime in seconds, as asked or as granted. Zero ends a rule (RFC 5189 §2.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lifetime(pub u32);

impl Lifetime {
    /// The lifetime that ends a rule.
    pub const END: Self = Self(0);
}
