//! Typed header fields, one per file. Each is read when it is asked for and borrows from the message.

mod cseq;
mod name_addr;
mod via;

pub(crate) use cseq::parts as cseq_parts;

pub use cseq::CSeq;
pub use name_addr::NameAddr;
pub use via::{MAGIC_COOKIE, Via};
