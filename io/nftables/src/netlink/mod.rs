//! Netlink by hand: the few messages this crate sends, and the kernel's answers to them.
//!
//! Before changing this folder read `netlink(7)` and the two facts that cost others days: an attribute's length has 16
//! bits and wraps silently (so [`LIST_MAX`]), and a batch larger than the socket's send buffer is refused whole.

mod attributes;
mod message;
mod socket;
pub(crate) mod uapi;

#[cfg(test)]
pub(crate) use attributes::Messages;
pub(crate) use attributes::{Attribute, Attributes, Received, be32, be64, text};
pub(crate) use message::{Batch, Message, Writer};
pub(crate) use socket::{CommitError, Socket};

/// How long a list of set elements may become, in bytes, before the next message is begun. Nested attributes end at
/// 65,535 bytes; some 800 elements of the largest kind fit in this.
pub(crate) const LIST_MAX: usize = 60_000;
