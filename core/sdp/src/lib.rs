//! SDP (RFC 8866) as text that is never rewritten except where we say so, and the media flows it asks for.
//!
//! Three steps, each cheap: [`Session::parse`] finds the lines of a description and copies nothing; [`flows()`] says
//! which addresses and ports its m-lines name; [`check`] refuses those that no pinhole may ever lead to. A
//! [`Patch`] writes the description again with a few lines changed and every other byte as it came: order,
//! spelling, encoding and line ends.
//!
//! What this crate does not look at: candidates for ICE over TCP (RFC 6544), names instead of addresses.

mod bundle;
mod error;
mod flows;
mod ice;
pub mod limits;
mod line;
mod media;
mod patch;
mod policy;
pub mod precondition;
mod rtcp;
mod session;
mod translate;

pub use error::{Error, Refusal, What, Why};
pub use flows::{Flows, flows, turned_off};
pub use line::{Line, Lines};
pub use media::{Direction, Ice, Media, MediaFlow, Protocol, Rtcp, Setup};
pub use patch::{Origin, Patch};
pub use policy::{MediaPolicy, check};
pub use session::Session;
pub use translate::{translated, without_ice};
