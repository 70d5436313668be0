//! Requests and what answers carry. The same values are printed by the commands under `-j`.

use std::path::{Path, PathBuf};

use midcom::Direction;
use serde::{Deserialize, Serialize};

pub(crate) use super::ban::{Ban, BanLine, Bans};
pub(crate) use super::deny::{DenialLine, Denials, Denied, Deny, End, Lift};
use crate::ladder::Row;

/// A longer line is refused. A whole configuration fits, escaped as JSON has it.
pub(crate) const LINE_BYTES_MAX: usize = 16 << 20;

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub(crate) enum Request {
    /// How the half is. Both halves.
    Status,
    /// All calls. Agent half.
    Calls {
        /// Those that ended lately too.
        #[serde(default)]
        ended: bool,
    },
    /// Who has registered through us. Agent half.
    Registrations,
    Trunks,
    /// One call with its ladder. Agent half.
    Call {
        /// Its number.
        id: u64,
    },
    /// Which call each rule belongs to, at every middlebox. Agent half.
    Owners,
    /// Rows of all ladders as they happen. Agent half.
    Watch,
    /// End a call. Agent half.
    Kick {
        /// Its number.
        id: u64,
    },
    /// All rules. Middlebox half.
    Pinholes {
        /// With what the kernel holds and has counted.
        #[serde(default)]
        kernel: bool,
    },
    /// Send a packet of our own through the firewall. Middlebox half.
    Prove {
        /// From outside to inside.
        inward: bool,
        /// IPv4; otherwise IPv6.
        v4: bool,
    },
    /// Make a disable rule. Middlebox half.
    Deny(Deny),
    /// All disable rules. Middlebox half.
    Denials,
    /// End disable rules. Middlebox half.
    Lift(Lift),
    /// All sources that are banned. Both halves.
    Bans,
    /// Hear nothing of a source. Agent half, and from it the middlebox half.
    Ban(Ban),
    /// Hear it again. Likewise.
    Unban {
        /// Whom.
        source: ipnet::IpNet,
    },
    /// Take another configuration. Both halves.
    Reload(Reload),
    /// End a rule. Middlebox half.
    Revoke {
        /// Its identifier.
        pid: u32,
    },
    /// End all rules of a group. Middlebox half.
    RevokeGroup {
        /// Its identifier.
        group: u32,
    },
}

/// A configuration to be taken; the answer is the names of the keys that have changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Reload {
    /// Where it was read, for messages.
    pub path: String,
    pub text: String,
    /// Only say whether it would be taken.
    #[serde(default)]
    pub check: bool,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Answer {
    /// What was asked for.
    Ok(serde_json::Value),
    /// Why not.
    Error(String),
}

impl Answer {
    /// An answer that carries a value.
    pub(crate) fn of<T: Serialize>(value: &T) -> Self {
        serde_json::to_value(value).map_or_else(|error| Self::Error(error.to_string()), Self::Ok)
    }

    /// As a line, newline included.
    pub(crate) fn line(&self) -> String {
        // Values made of our own types can always be written.
        let text = serde_json::to_string(self).unwrap_or_else(|error| format!("{{\"error\":\"{error}\"}}"));
        format!("{text}\n")
    }
}

/// `postern registrations`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registrations {
    pub registrations: Vec<RegistrationLine>,
}

/// A line of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegistrationLine {
    /// Whom the phone is registered for.
    pub aor: String,
    /// Its own Contact, and what the registrar knows instead: the user part of a Contact of ours.
    pub contact: String,
    pub name: String,
    /// Where it is reached: where its REGISTER came from.
    pub transport: String,
    pub address: String,
    pub realm: String,
    /// The realm of the registrar.
    pub registrar: String,
    pub expires_s: u64,
}

/// `postern trunks`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trunks {
    pub trunks: Vec<TrunkLine>,
}

/// A line of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TrunkLine {
    pub name: String,
    pub realm: String,
    /// As whom we are known there.
    pub user: String,
    /// `unregistered`: it need not know where we are; `registering`, `registered`, `failed`.
    pub state: String,
    /// Where it was told.
    pub at: Option<String>,
    /// How long it remembers, or until it is told again.
    pub seconds: Option<u64>,
    /// Why the last attempt failed.
    pub why: Option<String>,
}

/// `postern calls`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Calls {
    pub calls: Vec<CallLine>,
}

/// A line of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallLine {
    pub id: u64,
    /// `setting-up`, `established`, `ending`, `ended`.
    pub state: String,
    pub from_realm: String,
    pub to_realm: String,
    /// Caller and callee as From and To name them.
    pub from: String,
    pub to: String,
    /// Call-ID of the caller's leg.
    pub call_id: String,
    /// When the INVITE arrived and when all was over, by the clock of the agent's host.
    pub started: Option<jiff::Timestamp>,
    pub ended: Option<jiff::Timestamp>,
    /// Seconds since the INVITE arrived; for an ended call, until it ended.
    pub age_s: u64,
    pub established: bool,
    pub rules: usize,
    /// Why it ended.
    pub cause: Option<String>,
}

/// `postern call ID`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CallReport {
    pub call: CallLine,
    /// Call-ID and peer of the caller's leg and of the callee's.
    pub legs: Vec<Leg>,
    /// What is open for it, or about to be.
    #[serde(default)]
    pub rules: Vec<RuleLine>,
    pub ladder: Vec<Row>,
}

/// A rule of a call, as the agent half knows it; what the middlebox half of this machine knows better takes its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RuleLine {
    /// Missing until the middlebox has confirmed it.
    pub pid: Option<u32>,
    /// The name of the middlebox.
    pub middlebox: String,
    /// Whether it is the middlebox half of this machine.
    #[serde(default)]
    pub here: bool,
    /// The m-line it serves, from 1.
    pub stream: u32,
    /// The side that receives: `A` or `B`.
    pub toward: String,
    /// `asked`, `reserved`, `open`, `closing`; `absent` where the middlebox is away and its partner has the rule.
    pub state: String,
    pub direction: String,
    pub inside: String,
    /// What the other side sees instead, where the middlebox translates.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_as: Option<String>,
    pub outside: String,
    pub remaining_s: u64,
    /// Counted by the kernel, where the middlebox half is on this machine.
    pub packets: Option<u64>,
    pub bytes: Option<u64>,
}

/// Which call each rule belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owners {
    pub rules: Vec<Owner>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Owner {
    pub call: u64,
    pub rule: RuleLine,
}

/// One leg.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Leg {
    pub side: String,
    pub call_id: String,
    pub peer: String,
}

/// A row of a call as it happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Watched {
    pub call: u64,
    pub row: Row,
}

/// `postern status`, agent half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AgentStatus {
    pub version: String,
    pub pid: u32,
    pub uptime_s: u64,
    pub listeners: Vec<String>,
    pub calls: usize,
    pub calls_begun: u64,
    pub calls_established: u64,
    pub calls_cut: u64,
    /// Phones that rang for calls that the firewall then refused.
    pub ghost_rings: u64,
    /// Calls that the firewall refused before a phone rang.
    pub ghost_rings_prevented: u64,
    pub orphans_closed: u64,
    pub connections: usize,
    pub dropped: u64,
    /// Of the realms that speak TLS: each file, and until when it is valid.
    pub certificates: Vec<String>,
    /// Next hops that do not answer OPTIONS.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub next_hops_down: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub middleboxes: Vec<MiddleboxState>,
    pub sandbox: String,
}

/// A session with a middlebox as the agent half sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MiddleboxState {
    pub name: String,
    pub address: String,
    pub up: bool,
    /// What is wrong, if it is down.
    pub trouble: Option<String>,
    /// The other of a pair, of which a call needs one (`standby-for`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub partner: Option<String>,
    /// The certificate that is shown there, and until when it is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
}

/// `postern status`, middlebox half.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct GateStatus {
    pub version: String,
    pub pid: u32,
    pub uptime_s: u64,
    pub sessions: usize,
    pub rules: usize,
    pub drifts: u64,
    /// The certificate that is shown to agents, and until when it is valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<String>,
    /// Commits to the kernel, and operations in them.
    #[serde(default)]
    pub commits: u64,
    #[serde(default)]
    pub operations: u64,
    pub engine: String,
    /// The gate changes nothing on packets.
    #[serde(default)]
    pub observes: bool,
    /// Packets that pinholes let in since the gate was made last; missing if the kernel could not be asked.
    #[serde(default)]
    pub passed: Option<u64>,
    /// Packets that it dropped, or would have.
    #[serde(default)]
    pub dropped: Option<u64>,
    pub sandbox: String,
}

/// A line of `postern pinholes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PinholeLine {
    /// Its group, where the middlebox half is on this machine.
    #[serde(default)]
    pub group: Option<u32>,
    /// The middlebox, where the agent half is on this machine and knows its name.
    #[serde(default)]
    pub middlebox: Option<String>,
    pub pid: u32,
    /// As the middlebox calls the agent; missing for a middlebox on another machine.
    #[serde(default)]
    pub owner: String,
    /// The call it belongs to, where the agent half is on this machine.
    #[serde(default)]
    pub call: Option<u64>,
    pub state: String,
    pub direction: String,
    pub inside: String,
    /// What the other side sees instead, where addresses are translated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_as: Option<String>,
    pub outside: String,
    pub remaining_s: u64,
    /// Packets and bytes that passed, with `--kernel`.
    pub packets: Option<u64>,
    pub bytes: Option<u64>,
}

/// An entry in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct EntryLine {
    pub entry: String,
    pub remaining_s: u64,
    pub packets: u64,
    pub bytes: u64,
}

/// Rules, what the kernel holds, what the kernel holds that no rule asks for, and the rules it does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Default)]
pub(crate) struct Pinholes {
    pub rules: Vec<PinholeLine>,
    /// What the kernel holds; only with `--kernel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernel: Option<Vec<EntryLine>>,
    pub missing: Vec<String>,
    pub foreign: Vec<String>,
}

/// What a packet of our own has shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProofReport {
    pub inward: bool,
    pub v4: bool,
    pub outcome: ProofOutcome,
    /// Its way, what dropped it, or why it could not be sent.
    pub text: String,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProofOutcome {
    Proven,
    Blocked,
    NotProven,
}

/// A direction as the commands write it.
pub(crate) fn way(direction: Direction) -> &'static str {
    match direction {
        Direction::Inbound => "in",
        Direction::Outbound => "out",
        Direction::Bidirectional => "both",
    }
}

/// Where the agent half is asked.
pub(crate) fn agent_socket(run_dir: &Path) -> PathBuf {
    run_dir.join("agent.sock")
}

/// Where the agent half asks the middlebox half for bans.
pub(crate) fn bans_socket(run_dir: &Path) -> PathBuf {
    run_dir.join("bans.sock")
}

/// Where the middlebox half is asked.
pub(crate) fn middlebox_socket(run_dir: &Path) -> PathBuf {
    run_dir.join("middlebox.sock")
}
