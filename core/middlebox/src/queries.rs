//! What can be asked about the middlebox without changing it.

use machine::Instant;
use midcom::{Capabilities, Direction, Gid, Lifetime, Prid, Protocol, Tuple};

use crate::authority::{AgentId, Permit};
use crate::entry::Key;
use crate::middlebox::Middlebox;
use crate::realm::Side;
use crate::rule::{Action, Phase, Rule};

/// Counts since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// Requests refused.
    pub refused: u64,
    /// Confirmed rules that ended.
    pub ended: u64,
    /// Batches the engine has answered.
    pub batches: u64,
    /// Operations in them.
    pub operations: u64,
    /// Operations that failed.
    pub operations_failed: u64,
    /// Entries found at start.
    pub adopted: u64,
    /// Adopted entries that a rule took over.
    pub orphans_taken: u64,
    /// Adopted entries that no rule needed.
    pub orphans_removed: u64,
    /// Entries that somebody else had removed.
    pub drift_missing: u64,
    /// Entries that somebody else had made.
    pub drift_foreign: u64,
}

/// What there is now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Open sessions.
    pub sessions: usize,
    /// Rules, reservations included.
    pub rules: usize,
    /// Groups.
    pub groups: usize,
    /// Entries the engine has confirmed, orphans included.
    pub entries: usize,
    /// Adopted entries that still wait for an agent.
    pub orphans: usize,
    /// Outside ports that rules and adopted entries have; those that rest after use are not among them.
    pub outside_ports: usize,
    /// Requests and ends that wait for their turn.
    pub queued: usize,
    /// Counts since the start.
    pub tally: Tally,
}

/// What a rule does, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleAction {
    /// It only holds its place.
    Reserved {
        /// For this protocol.
        protocol: Protocol,
        /// A2, where addresses are translated.
        outside: Option<Tuple>,
    },
    /// Packets pass.
    Enabled {
        /// Which way.
        direction: Direction,
        /// A0.
        internal: Tuple,
        /// A3.
        external: Tuple,
        /// A2, where addresses are translated.
        outside: Option<Tuple>,
    },
    /// Nothing may pass between them.
    Disabled {
        /// A0.
        internal: Tuple,
        /// A3.
        external: Tuple,
    },
}

/// One rule, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleInfo<'a> {
    /// The rule.
    pub prid: Prid,
    /// Its group.
    pub group: Gid,
    /// Its owner.
    pub owner: AgentId,
    /// Its owner's name; empty if the policy no longer knows it.
    pub owner_name: &'a str,
    /// What it does.
    pub action: RuleAction,
    /// When it was made.
    pub since: Instant,
    /// What is left of its lifetime.
    pub remaining: Lifetime,
    /// The entries it needs; several rules may need the same.
    pub entries: Vec<Key>,
}

impl Middlebox {
    /// All confirmed rules, in the order of their identifiers.
    pub fn rules(&self, now: Instant) -> impl Iterator<Item = RuleInfo<'_>> + '_ {
        let confirmed = self.table.iter().filter(|(_, rule)| rule.phase != Phase::New);
        confirmed.map(move |(prid, rule)| self.describe(now, prid, rule))
    }

    /// One confirmed rule.
    #[must_use]
    pub fn rule(&self, now: Instant, prid: Prid) -> Option<RuleInfo<'_>> {
        let rule = self.table.rule(prid).filter(|rule| rule.phase != Phase::New)?;
        Some(self.describe(now, prid, rule))
    }

    fn describe<'a>(&'a self, now: Instant, prid: Prid, rule: &Rule) -> RuleInfo<'a> {
        let outside = rule.action.outside().map(|outside| outside.tuple);
        let action = match &rule.action {
            Action::Reserve { protocol, .. } => RuleAction::Reserved { protocol: *protocol, outside },
            Action::Enable { opening, .. } => RuleAction::Enabled {
                direction: opening.direction,
                internal: opening.internal,
                external: opening.external,
                outside,
            },
            Action::Disable(barrier) => {
                RuleAction::Disabled { internal: barrier.internal, external: barrier.external }
            }
        };
        RuleInfo {
            prid,
            group: rule.group,
            owner: rule.owner,
            owner_name: self.authority.agent(rule.owner).map_or("", |agent| agent.name.as_str()),
            action,
            since: rule.since,
            remaining: rule.remaining(now),
            entries: rule.permits().iter().map(Permit::key).collect(),
        }
    }

    /// The keys that the engine should hold, sorted; orphans included.
    #[must_use]
    pub fn expected_keys(&self) -> Vec<Key> {
        self.elements.expected()
    }

    /// True if the engine's entry for a key has ended by itself: what was found at start and nobody came back for.
    #[must_use]
    pub fn has_run_out(&self, now: Instant, key: &Key) -> bool {
        self.elements.installed_until(key).is_some_and(|until| until <= now)
    }

    /// True if nothing waits: no request, no answer of the engine, no operation to be tried again.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let waits = !self.queue.is_empty() || self.elements.touched() > 0 || self.disturbed;
        !waits && self.retry.is_empty() && self.flight.is_idle()
    }

    /// What there is now.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            sessions: self.sessions.len(),
            rules: self.table.len(),
            groups: self.table.groups(),
            entries: self.elements.installed(),
            orphans: self.elements.orphans(),
            outside_ports: self.translator.taken(),
            queued: self.queue.len(),
            tally: self.tally,
        }
    }

    /// What is announced to an agent when its session opens; `None` for a stranger.
    #[must_use]
    pub fn capabilities(&self, agent: AgentId) -> Option<Capabilities> {
        let policy = self.authority.agent(agent)?;
        let realms = self.authority.realms();
        let nat = !self.translator.nat().is_empty();
        Some(Capabilities {
            firewall: true,
            //= RFC 4540 §4.3.4: a NAT that translates ports as well says both.
            nat,
            port_translation: nat,
            protocol_translation: false,
            twice_nat: false,
            disable_rules: true,
            internal_wildcards: true,
            external_wildcards: true,
            port_wildcards: true,
            // Without a journal entries survive a restart, rules do not: agents enable them again and take the entries over.
            persistent: self.journal.kept,
            inside: realms.versions(Side::Inside),
            outside: realms.versions(Side::Outside),
            lifetime_max: policy.lifetime_max,
        })
    }
}
