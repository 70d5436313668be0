//! What `postern ban`, `unban` and `bans` ask and are told, and what the agent half asks of the kernel's bans.

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// A source is to be banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ban {
    /// One address; of an IPv6 address its /64 is meant.
    pub source: IpNet,
    pub lasts_s: u64,
}

/// `postern bans`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bans {
    pub bans: Vec<BanLine>,
}

/// A line of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BanLine {
    pub source: IpNet,
    pub remaining_s: u64,
    /// `operator`, `before` this process began, or the last offence.
    pub why: String,
    /// What the kernel has dropped; missing where the agent half alone keeps it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
}
