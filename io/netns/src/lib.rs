//! Private hosts: network namespaces joined by virtual cables (veth), without any installed tool.
//!
//! The demo and the tests that need a real kernel build their networks with this crate. Nothing outside the new
//! namespaces is read or changed, and everything is gone when the last process in them ends.

mod again;
mod host;
mod rtnetlink;
mod user;

pub use again::again;
pub use host::Host;
pub use user::{become_root, is_root};
