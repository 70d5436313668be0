//! What the observer writes down to compare it with what comes later.

use std::collections::{BTreeMap, BTreeSet};

use b2bua::side::Side;
use b2bua::{CallId, Sip};
use bytes::Bytes;
use midcom::Prid;

use crate::queue::{Life, Seat};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Books {
    /// Whose datagram is being handled by the agent, and the datagram.
    pub(crate) arriving: Option<(Seat, Bytes)>,
    /// What the agent says of what it sends next.
    pub(crate) leaving: Option<(usize, CallId, Side, Sip)>,
    /// Which call of the plan a call of the agent is.
    pub(crate) calls: BTreeMap<(Life, CallId), usize>,
    /// Which call of the plan a rule was made for.
    pub(crate) rules: BTreeMap<(usize, Prid), usize>,
    /// The final response of each INVITE and UPDATE.
    pub(crate) finals: crate::finals::Finals,
    /// Descriptions that have been passed on already.
    pub(crate) passed_on: BTreeSet<u64>,
    /// Who has rung, by seat.
    pub(crate) rings: BTreeMap<usize, crate::ghosts::Ring>,
    /// INVITEs that went to several phones, by their branch.
    pub(crate) forks: BTreeMap<String, crate::switch::Fork>,
    /// Where phones outside were told that media is wanted, by seat, the last place last.
    pub(crate) told: BTreeMap<usize, Vec<crate::told::Told>>,
    /// Calls whose media have passed through a NAT, and in which life of the middlebox.
    pub(crate) translated: BTreeMap<usize, Life>,
    /// What has come about.
    pub(crate) reader: crate::occasions::Reader,
    /// REFERs, by the call they were sent in.
    pub(crate) referrals: BTreeMap<usize, crate::referral::Referral>,
    pub(crate) past_us: PastUs,
    /// Call-IDs of the callers.
    pub(crate) call_ids: BTreeMap<usize, String>,
}

/// Calls between phones of one side, which a transfer has made.
#[derive(Debug, Default)]
pub(crate) struct PastUs {
    /// Who is dialling, and whom.
    pub(crate) dials: Option<(usize, usize)>,
    /// Both ends, by Call-ID.
    pub(crate) ends: BTreeMap<String, (usize, usize)>,
    /// Which calls of which phones they are, and whether they last.
    pub(crate) calls: BTreeMap<(usize, phone::CallNumber), bool>,
}

impl PastUs {
    /// True if a message is one of such a call.
    pub(crate) fn has(&self, bytes: &[u8]) -> bool {
        !self.ends.is_empty()
            && crate::wire::field(bytes, "Call-ID").is_some_and(|call_id| self.ends.contains_key(call_id))
    }
}
