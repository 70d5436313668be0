//! The octets of RFC 4540 §4 and §5: every message and attribute, in both directions.
//!
//! Decoding borrows from the input; encoding appends to a vector. All integers are big endian, and nothing is ever
//! padded. A message that cannot be decoded gives the [`midcom::Failure`] with which a middlebox refuses it.
//!
//! | file | what |
//! |---|---|
//! | `header` | the eight octets in front (§4.2) |
//! | `types` | message types (§4.2.2, §4.2.4) |
//! | `failure` | negative replies (§4.2.3) |
//! | `attribute` | type, length, value (§4.3): which may stand where, and how often |
//! | `parameters` | version, capabilities, the parameter sets of PRR and PER (§4.3.1, §4.3.3, §4.3.9, §4.3.10) |
//! | `tuple` | address tuples (§4.3.8) |
//! | `request` | what an agent sends (§5.2, §5.3.2 to §5.3.8) |
//! | `reply` | what a middlebox sends (§5.1, §5.2, §5.3.9 to §5.3.19) |
//! | `counters` | PRC, our own (`docs/simco.md`) |
//! | `status` | the three answers to PRS (§5.3.13 to §5.3.15) |

mod attribute;
mod counters;
mod failure;
mod header;
mod parameters;
mod reply;
mod request;
mod status;
mod tuple;
mod types;

pub use attribute::{OPAQUE_LEN_MAX, Opaque};
pub use counters::COUNTED_MAX;
pub use failure::{code_of, failure_of};
pub use header::{BasicType, HEADER_LEN, Header};
pub use parameters::Version;
pub use reply::{MiddleboxMessage, PRIDS_MAX, encode_reply};
pub use request::AgentMessage;
pub use tuple::{IpVersion, Location, Unassigned};
pub use types::{NotificationType, ReplyType, RequestType};

/// Most octets behind the header of any message: 65,536 with the header (RFC 4540 §8.7).
pub const PAYLOAD_LEN_MAX: u16 = 65_528;
