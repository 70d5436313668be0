//! A small SIP phone as a machine: the demo and the simulation make and take calls with it.
//!
//! It registers nowhere, sends everything to the hop it is given, speaks audio (and video, if told) and carries no
//! media itself: its events say where RTP goes, the owner sends it. What it can beyond RFC 3261 is chosen by
//! [`Extensions`]; on request it misbehaves in ways real phones do ([`Oddities`]).

mod ack;
mod answer;
mod bye;
mod call;
mod cancel;
mod change;
mod config;
mod dial;
mod headers;
mod invited;
mod local;
mod odd;
mod phone;
mod prack;
mod precondition;
mod progress;
mod redirect;
mod refer;
mod reinvite;
mod reliable;
mod remote;
mod replace;
mod session;
mod shape;
mod success;
mod update;
mod values;

pub use config::{
    Answer, Config, Extensions, MOVED, Named, Progress, REDIRECTIONS_MAX, Reliable, SessionTimer,
};
pub use odd::Oddities;
pub use phone::Phone;
pub use precondition::{Precondition, Provision};
pub use remote::Remote;
pub use shape::{Chat, HOST, MARK, Setup, Shape, TURNED_ON, keys};
pub use values::{By, CallNumber, Event, Input, Offer, Output};
