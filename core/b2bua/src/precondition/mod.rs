//! Preconditions (RFC 3312, RFC 4032; draft-kiesel-mmusic-firewall-sip-00 §4.1.1 and §5.2): `docs/calls.md` §5.
//!
//! Three things, none of which knows SIP: what descriptions say of the firewall ([`text`]), how far a precondition is
//! that we have put into a plain caller's offer ([`progress`]), and which callees want none ([`memory`]).
//!
//! ```text
//!   the caller asks       INVITE, its answers and UPDATE pass; an answer whose pinholes are confirmed says so:
//!                         `curr:fw e2e sendrecv`. We write nothing else, and nothing about other types.
//!   the caller is plain   INVITE with lines of ours --420, 580--> INVITE once more without, and that is remembered
//!                            '--reliable 18x--> pinholes, PRACK, UPDATE (ours) --> the callee rings
//!                         The caller sees neither 18x nor lines; its answer is what the callee said last.
//! ```

pub(crate) mod memory;
pub(crate) mod progress;
pub(crate) mod text;

use sdp::precondition::Type;

use crate::config::PreconditionType;

impl PreconditionType {
    /// The word in the description.
    pub(crate) fn of(self) -> Type<'static> {
        match self {
            Self::Fw => Type::Fw,
            Self::Qos => Type::Qos,
        }
    }
}
