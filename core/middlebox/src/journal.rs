//! What survives a restart: rules with owner, tuples and deadline. RFC 5189 §2.1.6 ("persistent"), `docs/pinholes.md` §2.
//!
//! Write-ahead: what a batch makes of the rules is told with [`Output::Journal`] before the engine is asked and before
//! any answer leaves. So after a crash the journal knows at least every rule that an agent was told of, and none that an
//! agent was told is gone. What it knows beyond that nobody was told; the owner finds it in its list.

use std::collections::BTreeSet;

use machine::{Instant, Outbox};
use midcom::{Direction, Gid, Parity, Prid, Protocol, Tuple};

use crate::authority::{AgentId, Opening};
use crate::event::Event;
use crate::middlebox::{Middlebox, Output};
use crate::rule::{Action, Barrier, Phase, Rule};

/// What a stored rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredAction {
    /// It is reserved.
    Reserve {
        /// The protocol it was made for.
        protocol: Protocol,
        /// How many ports.
        ports: u16,
    },
    /// Packets pass.
    Enable {
        /// Parity asked for.
        parity: Parity,
        /// Which way.
        direction: Direction,
        /// A0.
        internal: Tuple,
        /// A3.
        external: Tuple,
    },
    /// No pinhole is opened.
    Disable {
        /// A0.
        internal: Tuple,
        /// A3.
        external: Tuple,
    },
}

/// A rule as it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredRule {
    /// Its identifier.
    pub prid: Prid,
    /// Its group.
    pub group: Gid,
    /// Its owner.
    pub owner: AgentId,
    /// What it does.
    pub action: StoredAction,
    /// When its lifetime ends.
    pub deadline: Instant,
}

/// One thing to write down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// A rule is there, newly or with something else about it.
    Put(StoredRule),
    /// A rule is gone.
    Forget(Prid),
}

/// What is not written down yet.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// Whether anything is written down at all.
    pub(crate) kept: bool,
    /// Whether it cannot be written at this time.
    pub(crate) stuck: bool,
    changed: BTreeSet<Prid>,
}

impl Journal {
    pub(crate) fn new(kept: bool) -> Self {
        Self { kept, ..Self::default() }
    }

    /// A rule is another one now.
    pub(crate) fn mark(&mut self, prid: Prid) {
        if self.kept {
            self.changed.insert(prid);
        }
    }
}

impl Middlebox {
    /// Tells what has changed since it was last told.
    pub(crate) fn write_down(&mut self, out: &mut Outbox<Output>) {
        let changed = std::mem::take(&mut self.journal.changed);
        if changed.is_empty() {
            return;
        }
        let change = |prid: Prid| match self.table.rule(prid).filter(|rule| !rule.ending) {
            Some(rule) => Change::Put(stored(prid, rule)),
            None => Change::Forget(prid),
        };
        let changes = changed.into_iter().map(change).collect();
        out.push(Output::Journal(changes));
    }

    /// Everything that should be written down.
    pub fn stored(&self) -> impl Iterator<Item = StoredRule> + '_ {
        let there = self.table.iter().filter(|(_, rule)| !rule.ending);
        there.map(|(prid, rule)| stored(prid, rule))
    }

    /// What was written down before a restart becomes rules again, as far as the policy of today allows it and their
    /// lifetime is not over. The engine is compared with them next.
    pub(crate) fn restore(&mut self, now: Instant, rules: &[StoredRule], out: &mut Outbox<Output>) {
        let mut restored = 0;
        for stored in rules {
            self.journal.mark(stored.prid);
            let Some(action) = self.action_of(stored).filter(|_| stored.deadline > now) else { continue };
            let StoredRule { prid, group, owner, deadline, .. } = *stored;
            let phase = Phase::Live;
            let rule = Rule { group, owner, action, since: now, deadline, phase, timer: None, ending: false };
            if !self.table.insert_as(prid, rule) {
                continue;
            }
            let left = self.table.rule(prid).map_or(midcom::Lifetime::END, |rule| rule.remaining(now));
            self.start_timer(prid, left);
            self.need(prid);
            restored += 1;
        }
        out.push(Output::Event(Event::RulesRestored { rules: restored, dropped: rules.len() - restored }));
    }

    /// What a stored rule does, if it may still do it.
    fn action_of(&self, stored: &StoredRule) -> Option<Action> {
        Some(match stored.action {
            StoredAction::Reserve { protocol, ports } => {
                self.authority.agent(stored.owner)?;
                Action::Reserve { protocol, ports, outside: None }
            }
            StoredAction::Enable { parity, direction, internal, external } => {
                let opening = Opening { direction, internal, external };
                let permits = self.authority.permit(stored.owner, &opening).ok()?.into_boxed_slice();
                Action::Enable { parity, opening, outside: None, permits }
            }
            StoredAction::Disable { internal, external } => {
                let barrier = Barrier { internal, external };
                self.may_disable(stored.owner).ok()?;
                self.authority.allows_barrier(&barrier).ok()?;
                Action::Disable(barrier)
            }
        })
    }
}

fn stored(prid: Prid, rule: &Rule) -> StoredRule {
    let action = match &rule.action {
        Action::Reserve { protocol, ports, .. } => {
            StoredAction::Reserve { protocol: *protocol, ports: *ports }
        }
        Action::Enable { parity, opening, .. } => {
            let Opening { direction, internal, external } = *opening;
            StoredAction::Enable { parity: *parity, direction, internal, external }
        }
        Action::Disable(Barrier { internal, external }) => {
            StoredAction::Disable { internal: *internal, external: *external }
        }
    };
    StoredRule { prid, group: rule.group, owner: rule.owner, action, deadline: rule.deadline }
}
