//! Typed header fields, one per file, each with its accessor. A field is read when it is asked for and borrows from
//! the message. Authorization and its kin are passed on as bytes and have no type.

mod call_id;
mod content_length;
mod content_type;
mod cseq;
mod event;

mod max_forwards;
mod name_addr;
mod numbers;
mod options;
mod rack;
mod reason;
mod replaces;
mod retry_after;
mod session_expires;
mod session_id;
mod subscription_state;
mod via;
mod warning;

pub(crate) use cseq::parts as cseq_parts;

pub use content_type::ContentType;
pub use cseq::CSeq;
pub use event::Event;
pub use name_addr::NameAddr;
pub use rack::RAck;
pub use reason::Reason;
pub use replaces::Replaces;
pub use retry_after::RetryAfter;
pub use session_expires::{Refresher, SessionExpires};
pub use session_id::{SessionId, Uuid};
pub use subscription_state::SubscriptionState;
pub use via::{MAGIC_COOKIE, Via};
pub use warning::Warning;
