//! SDP (RFC 8866) as text that is never rewritten except where we say so, and the media flows it asks for.
//!
//! Three steps, each cheap: [`Session::parse`] finds the lines of a description and copies nothing; [`flows()`] says
//! which addresses and ports its m-lines name; [`check`] refuses those that no pinhole may ever lead to. A
//! [`Patch`] writes the description again with a few lines changed and every other byte as it came: order,
//! spelling, encoding and line ends.
//!
//! What this crate does not look at yet: ICE candidates (a description with ICE is treated by its `c=` and `m=`
//! lines alone), and media over TCP, which is refused because nothing could be opened for it.

mod error;
mod flows;
pub mod limits;
mod line;
mod media;
mod patch;
mod policy;
pub mod precondition;
mod rtcp;
mod session;

pub use error::{Error, Refusal, What, Why};
pub use flows::{Flows, flows};
pub use line::{Line, Lines};
pub use media::{Direction, Media, MediaFlow, Protocol, Rtcp};
pub use patch::{Origin, Patch};
pub use policy::{MediaPolicy, check};
pub use session::Session;
