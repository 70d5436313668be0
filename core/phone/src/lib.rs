//! A small SIP phone as a machine: the demo and the simulation make and take calls with it.
//!
//! It registers nowhere, sends everything to the hop it is given, speaks audio only and carries no media itself: its
//! events say where RTP goes, the owner sends it. On request it misbehaves in ways real phones do ([`Oddities`]).

mod call;
mod callee;
mod caller;
mod media;
mod phone;
mod values;

pub use media::Remote;
pub use phone::Phone;
pub use values::{Answer, CallNumber, Config, Event, Input, Oddities, Output};
