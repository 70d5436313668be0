//! The whole SIP side as one machine: a back-to-back user agent (RFC 7092: signalling only, SDP-modifying) that asks
//! middleboxes for pinholes before it passes media addresses on. Normative: `docs/calls.md`.
//!
//! [`B2bua`] takes datagrams, middlebox events and answers to name look-ups, and says what to send, what to ask and
//! what happened. It does no I/O and has no clock.

mod acks;
pub mod admission;
mod agents;
mod alone;
mod authentication;
mod b2bua;
mod call;
pub mod config;
mod context;
mod event;
pub mod explain;
mod failure;
mod failures;
mod health;
mod info;
mod io;
pub mod ledger;
mod leg;
mod limits;
mod named;
mod names;
mod offence;
mod outside;
mod precondition;
mod route;
pub mod side;
mod tag;
mod trunk;
mod user;

pub use b2bua::B2bua;
pub use event::{CallId, Cause, Event, Sip};
pub use info::{CallDetail, CallInfo, CallState, Holdings, LegInfo, RegistrationInfo, TrunkInfo, TrunkState};
pub use io::{Input, LookupId, Output, Reload};
