//! Every limit of the middlebox, with the answer given at the limit.

use std::time::Duration;

/// Networks in all realms together; more is a configuration error.
pub const ZONES_MAX: usize = 256;
/// Open sessions; the next one is terminated (AST) at once.
pub const SESSIONS_MAX: usize = 1024;
/// Rules of all agents together; the next request is refused with [`midcom::Failure::NoResources`].
pub const RULES_MAX: usize = 1 << 20;
/// Disable rules of all agents together, which every enable rule is compared with; the next one is refused with
/// [`midcom::Failure::NoResources`].
pub const DISABLE_RULES_MAX: usize = 1024;
/// Consecutive ports of one enable rule; more is refused with [`midcom::Failure::IllegalPortCount`].
pub const PORTS_PER_RULE_MAX: u16 = 64;
/// Outside addresses of a NAT; more is a configuration error.
pub const OUTSIDE_ADDRESSES_MAX: usize = 64;
/// How long an outside port rests before another rule may have it: a phone that has not heard of the end of its call
/// sends for 64*T1 at most. With no other port left a request is refused with [`midcom::Failure::LackOfPorts`].
pub const PORT_REST: Duration = Duration::from_secs(32);
/// Entries of one rule; more is refused with [`midcom::Failure::NoResources`].
pub const ENTRIES_PER_RULE_MAX: usize = 256;
/// Requests waiting for the engine; the next one is refused with [`midcom::Failure::NoResources`].
pub const QUEUE_MAX: usize = 65_536;
/// Operations in one batch, from which on further requests wait for the next one.
pub const BATCH_OPERATIONS_MAX: usize = 4096;
/// Identifiers in one PRL reply; more is refused with [`midcom::Failure::ReplyTooBig`] (RFC 4540 §8.7).
pub const LIST_MAX: usize = 8191;
/// How long before the kernel would end an entry by itself the machine ends the rule, so that the event is heard and
/// nothing is deleted that is already gone. Half of the lifetime for lifetimes below twice this.
pub const EXPIRY_LEAD: Duration = Duration::from_secs(2);
/// How long after a failed removal it is tried again.
pub const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// For how long at most the removal of an entry that somebody else made is tried again.
pub const FOREIGN_LIFETIME: Duration = Duration::from_secs(3600);
/// How long what an entry has let pass between networks that are not managed is kept out after its last packet.
pub const HELD_TIME: Duration = Duration::from_secs(300);
/// Flows held at a time; what passes beyond that is not kept out when it is closed.
pub const HELD_MAX: usize = 1 << 18;
