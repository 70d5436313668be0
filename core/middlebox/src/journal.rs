//! What survives a restart: rules with owner, tuples and deadline. RFC 5189 §2.1.6 ("persistent"), `docs/pinholes.md` §2.
//!
//! Write-ahead: what a batch makes of the rules is told with [`Output::Journal`] before the engine is asked and before
//! any answer leaves. So after a crash the journal knows at least every rule that an agent was told of, and none that an
//! agent was told is gone. What it knows beyond that nobody was told; the owner finds it in its list.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use machine::{Instant, Outbox};
use midcom::{Direction, Gid, Parity, Prid, Protocol, Tuple};

use crate::authority::{AgentId, Opening};
use crate::event::Event;
use crate::middlebox::{Middlebox, Output};
use crate::nat::Outside;
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
        /// A2, where addresses are translated.
        outside: Option<StoredOutside>,
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
        /// A2, where addresses are translated.
        outside: Option<StoredOutside>,
    },
    /// No pinhole is opened.
    Disable {
        /// A0.
        internal: Tuple,
        /// A3.
        external: Tuple,
    },
}

/// A2 as it is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StoredOutside {
    /// Its address, and the lowest port.
    pub at: SocketAddr,
    /// Whose the ports are.
    pub lease: StoredLease,
}

/// Whose outside ports are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StoredLease {
    /// The rule's alone.
    Own,
    /// Of all rules of its owner that came to them by the same endpoint inside.
    Shared {
        /// The lowest port of that endpoint.
        port: u16,
        /// Which of its outside places: that of this group.
        group: Gid,
        /// How many ports it has.
        range: u16,
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
            Some(rule) => Change::Put(self.stored_rule(prid, rule)),
            None => Change::Forget(prid),
        };
        let changes = changed.into_iter().map(change).collect();
        out.push(Output::Journal(changes));
    }

    /// Everything that should be written down.
    pub fn stored(&self) -> impl Iterator<Item = StoredRule> + '_ {
        let there = self.table.iter().filter(|(_, rule)| !rule.ending);
        there.map(|(prid, rule)| self.stored_rule(prid, rule))
    }

    /// What was written down before a restart becomes rules again, as far as the policy of today allows it and their
    /// lifetime is not over. The engine is compared with them next.
    ///
    /// Disable rules come first: a crash may have cut off that the rules were ended which one of them has met.
    pub(crate) fn restore(&mut self, now: Instant, rules: &[StoredRule], out: &mut Outbox<Output>) {
        let denies = |stored: &&StoredRule| matches!(stored.action, StoredAction::Disable { .. });
        let others = rules.iter().filter(|stored| !denies(stored));
        let mut restored = 0;
        self.elements.reserve(rules.len());
        for stored in rules.iter().filter(denies).chain(others) {
            match stored.deadline > now && self.restore_one(now, stored).is_some() {
                true => restored += 1,
                // Of the others the journal says already what is so.
                false => self.journal.mark(stored.prid),
            }
        }
        out.push(Output::Event(Event::RulesRestored { rules: restored, dropped: rules.len() - restored }));
    }

    fn restore_one(&mut self, now: Instant, stored: &StoredRule) -> Option<()> {
        let StoredRule { prid, group, owner, deadline, .. } = *stored;
        if !self.table.has_place(prid, group, owner) {
            return None;
        }
        let action = self.action_of(now, stored)?;
        let phase = Phase::Live;
        let rule = Rule { group, owner, action, since: now, deadline, phase, timer: None, ending: false };
        let left = rule.remaining(now);
        self.table.insert_as(prid, rule);
        self.start_timer(prid, left);
        self.need(prid);
        Some(())
    }

    /// What a stored rule does, if it may still do it.
    fn action_of(&mut self, now: Instant, stored: &StoredRule) -> Option<Action> {
        let owner = stored.owner;
        match stored.action {
            StoredAction::Reserve { protocol, ports, outside } => {
                self.authority.agent(owner)?;
                let outside = match outside {
                    // A0 is not known yet: only how many ports it will have.
                    Some(outside) => {
                        let inside = Tuple::host(outside.at, protocol, ports);
                        Some(self.translator.take_again(owner, &inside, &outside)?)
                    }
                    None => None,
                };
                Some(Action::Reserve { protocol, ports, outside })
            }
            StoredAction::Enable { parity, direction, internal, external, outside } => {
                let opening = Opening { direction, internal, external };
                self.table.unbarred(&opening).ok()?;
                // A rule of before addresses were translated, or after, is not one of now.
                if self.is_translated(&opening).ok()? != outside.is_some() {
                    return None;
                }
                let outside = match outside {
                    Some(outside) => Some(self.translator.take_again(owner, &internal, &outside)?),
                    None => None,
                };
                match self.permits(owner, &opening, outside.as_ref()) {
                    Ok(permits) => Some(Action::Enable { parity, opening, outside, permits }),
                    Err(_) => {
                        outside.into_iter().for_each(|outside| self.translator.release(now, outside));
                        None
                    }
                }
            }
            StoredAction::Disable { internal, external } => {
                let barrier = Barrier { internal, external };
                self.may_disable(owner).ok()?;
                self.authority.allows_barrier(&barrier).ok()?;
                Some(Action::Disable(barrier))
            }
        }
    }

    fn stored_rule(&self, prid: Prid, rule: &Rule) -> StoredRule {
        let a2 = |outside: &Option<Outside>| outside.as_ref().map(|outside| self.translator.stored(outside));
        let action = match &rule.action {
            Action::Reserve { protocol, ports, outside } => {
                StoredAction::Reserve { protocol: *protocol, ports: *ports, outside: a2(outside) }
            }
            Action::Enable { parity, opening, outside, .. } => {
                let Opening { direction, internal, external } = *opening;
                StoredAction::Enable { parity: *parity, direction, internal, external, outside: a2(outside) }
            }
            Action::Disable(Barrier { internal, external }) => {
                StoredAction::Disable { internal: *internal, external: *external }
            }
        };
        StoredRule { prid, group: rule.group, owner: rule.owner, action, deadline: rule.deadline }
    }
}
