//! What operators are shown about calls.

use machine::Instant;
use sip::transport::Hop;

use crate::config::RealmId;
use crate::event::CallId;
use crate::ledger::RuleInfo;
use crate::side::Sides;

/// How far a call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// No final response yet.
    SettingUp,
    /// The caller has the answer.
    Established,
    /// It is being taken down.
    Ending,
}

/// One line of the list of calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallInfo {
    /// The call.
    pub id: CallId,
    /// How far it is.
    pub state: CallState,
    /// Where it came from and where it goes.
    pub realms: Sides<RealmId>,
    /// The caller's address-of-record (From).
    pub from: String,
    /// The callee's (To).
    pub to: String,
    /// When the INVITE arrived.
    pub started: Instant,
    /// When the answer was acknowledged.
    pub established: Option<Instant>,
    /// Rules that are or may be alive.
    pub open_rules: usize,
}

/// One call in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallDetail {
    /// The line of the list.
    pub info: CallInfo,
    /// Both legs; B's is missing until its INVITE leaves.
    pub legs: Sides<Option<LegInfo>>,
    /// Its rules, in the order in which they were asked for.
    pub rules: Vec<RuleInfo>,
}

/// One leg.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegInfo {
    /// Its Call-ID.
    pub call_id: String,
    /// Where its messages go.
    pub hop: Hop,
}

/// A contact that has been registered through us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistrationInfo {
    /// What the registrar calls it: the user part of our Contact, `p-` and 16 hexadecimal digits.
    pub name: String,
    /// The realm of the phone.
    pub realm: RealmId,
    /// The realm of the registrar.
    pub registrar: RealmId,
    /// Whom the phone is registered for (To).
    pub aor: String,
    /// The URI of its Contact.
    pub contact: String,
    /// What tells its contacts apart: its instance and reg-id (RFC 5626), or the URI of its Contact.
    pub phone: String,
    /// Where its REGISTER came from, which is where it is reached.
    pub hop: Hop,
    /// Path of its REGISTER (RFC 3327), topmost first.
    pub path: Vec<Vec<u8>>,
    /// When it is forgotten if nobody registers it again.
    pub expires: Instant,
}

/// A trunk, and whether it knows where we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrunkInfo {
    /// As the configuration calls it.
    pub name: String,
    /// The realm it is in.
    pub realm: RealmId,
    /// The user of our address-of-record there.
    pub user: String,
    /// Its host.
    pub domain: String,
    /// How far it is.
    pub state: TrunkState,
    /// Why the last REGISTER came to nothing; empty if it did not.
    pub why: String,
}

/// Whether a trunk knows where we are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrunkState {
    /// It is not told.
    Unregistered,
    /// It is being told for the first time, or since it has forgotten.
    Registering,
    /// It knows.
    Registered {
        /// Where it was told.
        hop: Hop,
        /// Until then, unless it is told again.
        until: Instant,
    },
    /// It would not listen.
    Failed {
        /// When it is tried again.
        again: Instant,
    },
}

/// How much the machine remembers. Nothing of it outlives calls by more than the time their last messages may be
/// repeated in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Holdings {
    /// Calls.
    pub calls: usize,
    /// SIP transactions.
    pub transactions: usize,
    /// Timers of calls.
    pub timers: usize,
    /// Tags of dialogs.
    pub tags: usize,
    /// Which call a transaction belongs to.
    pub transaction_owners: usize,
    /// Which call a rule belongs to.
    pub rule_owners: usize,
    /// ACKs that may have to be repeated.
    pub acks: usize,
    /// Requests to middleboxes without a reply.
    pub requests: usize,
    /// Questions to the name service without an answer.
    pub lookups: usize,
    /// Requests outside calls that are being passed on.
    pub alone: usize,
}

impl Holdings {
    /// True if nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
