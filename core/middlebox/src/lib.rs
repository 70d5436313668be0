//! The whole firewall side as one machine: RFC 5189 and RFC 4540 §8, for a firewall that may be a NAT as well.
//!
//! Agents ask through sessions ([`Input::Request`]); `authority` decides and makes permits; the rule table keeps
//! owners, groups and lifetimes; an engine ([`Engine`]) is told which entries to hold ([`Output::Apply`]) and a
//! reply leaves only after it has confirmed them. `docs/pinholes.md` says what may pass when.
//!
//! Requests are not handed to the engine one by one. They gather while the caller feeds inputs, and
//! [`machine::Machine::handle_timeout`], which is due at once, turns all of them into one batch: feed everything that
//! has arrived, then call it. One batch is out at a time; what arrives meanwhile waits for its answer.

pub mod authority;
mod batch;
mod disable;
mod elements;
pub mod engine;
pub mod entry;
pub mod event;
mod hairpin;
mod journal;
pub mod limits;
pub mod memory;
mod middlebox;
mod nat;
mod pool;
mod queries;
mod rate;
pub mod realm;
mod repair;
mod requests;
mod rule;
mod standing;
mod table;
#[cfg(test)]
mod tests;
mod translated;
mod tuples;

pub use authority::{AgentId, AgentPolicy, Authority, Opening, Permit, Policy, Rights};
pub use engine::{Drift, Engine, count};
pub use entry::{
    Counter, End, EngineFailure, Entry, Key, Operation, PortBlock, Source, Translation, Transport,
};
pub use event::{EndCause, Event};
pub use journal::{Change, StoredAction, StoredLease, StoredOutside, StoredRule};
pub use machine::week::{MinuteOfWeek, Window};
pub use middlebox::{BatchId, Config, Input, Middlebox, Output, RequestKind, SessionId};
pub use nat::{Nat, NatError};
pub use queries::{RuleAction, RuleInfo, Status, Tally};
pub use realm::{Realm, RealmError, Realms, ReversePath, Side, Zone};
pub use standing::{Line, Verdict};
