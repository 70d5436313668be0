//! Who may be heard at all: rates, scanners, bans and overload, decided on the first bytes of a message, before anybody
//! parses it. It has no clock and no socket; time is an argument and every table has a limit (`limits.rs`).
//!
//! ```text
//!            bytes                     at once: responses, requests inside calls, everything that makes no call
//!   network --------> Admission::judge ----------------------------------------------------------------> B2bua
//!                       |      |   \                      new calls
//!                 drop <+      |    `---> Backlog ------------------------------------------------------> B2bua
//!                   503 <------+             |  its oldest has waited too long, or it is full
//!                   503 <--------------------+
//! ```
//!
//! What is kept from whom, and why a forged datagram bans nobody: `docs/protection.md`.

mod admission;
mod backlog;
mod ban;
mod config;
mod event;
mod glance;
pub mod limits;
mod rate;
mod refusal;
mod scanner;
mod source;
mod table;

pub use admission::Admission;
pub use backlog::Backlog;
pub use ban::{BanInfo, BanReason};
pub use config::{Config, Rates, WhenToBan};
pub use event::{Event, Offence, Output, Proof, Verdict, Why};
pub use glance::{Glance, Kind};
pub use refusal::Refusal;
pub use source::Source;
