//! The rule table: identifiers, groups and who owns what. RFC 5189 §2.1.5, §2.3.3.

use std::collections::{BTreeMap, BTreeSet};

use machine::Rng;
use midcom::{Failure, Gid, Prid};

use crate::authority::{AgentId, Opening};
use crate::limits;
use crate::rule::{Action, Barrier, Phase, Rule};

#[derive(Debug, Clone)]
struct Group {
    owner: AgentId,
    members: u32,
}

/// All rules.
#[derive(Debug, Clone)]
pub(crate) struct Table {
    rules: BTreeMap<Prid, Rule>,
    owned: BTreeMap<AgentId, BTreeSet<Prid>>,
    groups: BTreeMap<Gid, Group>,
    /// What the disable rules among them forbid.
    barriers: BTreeMap<Prid, Barrier>,
    last_prid: u32,
    last_gid: u32,
}

impl Table {
    /// An empty table. Identifiers start at random, so that one from before a restart hardly ever names a rule of now.
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let mut start = || (rng.bits() >> 32) as u32;
        Self {
            rules: BTreeMap::new(),
            owned: BTreeMap::new(),
            groups: BTreeMap::new(),
            barriers: BTreeMap::new(),
            last_prid: start(),
            last_gid: start(),
        }
    }

    pub(crate) fn rule(&self, prid: Prid) -> Option<&Rule> {
        self.rules.get(&prid)
    }

    pub(crate) fn rule_mut(&mut self, prid: Prid) -> Option<&mut Rule> {
        self.rules.get_mut(&prid)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Prid, &Rule)> {
        self.rules.iter().map(|(prid, rule)| (*prid, rule))
    }

    pub(crate) fn len(&self) -> usize {
        self.rules.len()
    }

    pub(crate) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// How many rules an agent has.
    pub(crate) fn count(&self, owner: AgentId) -> usize {
        self.owned.get(&owner).map_or(0, BTreeSet::len)
    }

    /// The confirmed rules of an agent, in the order of their identifiers.
    pub(crate) fn confirmed(&self, owner: AgentId) -> impl Iterator<Item = Prid> + '_ {
        let owned = self.owned.get(&owner).into_iter().flatten().copied();
        owned.filter(|prid| self.rule(*prid).is_some_and(|rule| rule.phase != Phase::New))
    }

    /// The confirmed rules of all agents.
    pub(crate) fn all_confirmed(&self) -> impl Iterator<Item = Prid> + '_ {
        self.iter().filter(|(_, rule)| rule.phase != Phase::New).map(|(prid, _)| prid)
    }

    /// How many disable rules there are.
    pub(crate) fn barriers(&self) -> usize {
        self.barriers.len()
    }

    /// Whether no disable rule forbids what is to be opened.
    ///
    /// # Errors
    /// [`Failure::Conflict`].
    pub(crate) fn unbarred(&self, opening: &Opening) -> Result<(), Failure> {
        //= RFC 4540 §8.8.2: while a disable rule lives, enable rules that conflict with it are refused, whoever asks.
        let barred = self.barriers.values().any(|barrier| barrier.bars(opening));
        if barred { Err(Failure::Conflict) } else { Ok(()) }
    }

    /// Whether an agent may add a rule to a group.
    ///
    /// # Errors
    /// [`Failure::NoSuchGroup`], [`Failure::NotAuthorizedForGroup`].
    pub(crate) fn joinable(&self, agent: AgentId, group: Option<Gid>) -> Result<(), Failure> {
        let Some(group) = group else { return Ok(()) };
        //= RFC 4540 §8.3.1: a group that is named must exist, and must be the agent's own.
        let group = self.groups.get(&group).ok_or(Failure::NoSuchGroup)?;
        if group.owner == agent { Ok(()) } else { Err(Failure::NotAuthorizedForGroup) }
    }

    /// Room for one more rule.
    ///
    /// # Errors
    /// [`Failure::NoResources`].
    pub(crate) fn room(&self, agent: AgentId, rules_max: u32) -> Result<(), Failure> {
        let mine = u32::try_from(self.count(agent)).unwrap_or(u32::MAX);
        let full = mine >= rules_max || self.rules.len() >= limits::RULES_MAX;
        if full { Err(Failure::NoResources) } else { Ok(()) }
    }

    /// The group asked for, or the number of a new one, which begins to exist with its first rule.
    pub(crate) fn group_or_new(&mut self, group: Option<Gid>) -> Gid {
        if let Some(group) = group {
            return group;
        }
        loop {
            self.last_gid = self.last_gid.wrapping_add(1);
            let fresh = Gid(self.last_gid);
            if !self.groups.contains_key(&fresh) {
                return fresh;
            }
        }
    }

    /// Adds a rule under an identifier of its own.
    pub(crate) fn insert(&mut self, rule: Rule) -> Prid {
        let prid = loop {
            self.last_prid = self.last_prid.wrapping_add(1);
            let fresh = Prid(self.last_prid);
            if !self.rules.contains_key(&fresh) {
                break fresh;
            }
        };
        self.insert_as(prid, rule);
        prid
    }

    /// True if a rule can have this identifier again: there is none with it, and its group is nobody else's.
    pub(crate) fn has_place(&self, prid: Prid, group: Gid, owner: AgentId) -> bool {
        let others = self.groups.get(&group).is_some_and(|group| group.owner != owner);
        !self.rules.contains_key(&prid) && !others
    }

    /// Adds a rule under the identifier it had, where [`Table::has_place`] for it.
    pub(crate) fn insert_as(&mut self, prid: Prid, rule: Rule) {
        //= RFC 5189 §2.3.3: a group begins with its first rule and has one owner.
        let group = self.groups.entry(rule.group).or_insert(Group { owner: rule.owner, members: 0 });
        group.members += 1;
        self.owned.entry(rule.owner).or_default().insert(prid);
        if let Action::Disable(barrier) = rule.action {
            self.barriers.insert(prid, barrier);
        }
        self.rules.insert(prid, rule);
    }

    /// Takes a rule out.
    pub(crate) fn remove(&mut self, prid: Prid) -> Option<Rule> {
        let rule = self.rules.remove(&prid)?;
        self.barriers.remove(&prid);
        if let Some(owned) = self.owned.get_mut(&rule.owner) {
            owned.remove(&prid);
            if owned.is_empty() {
                self.owned.remove(&rule.owner);
            }
        }
        if let Some(group) = self.groups.get_mut(&rule.group) {
            group.members -= 1;
            //= RFC 5189 §2.4.1: a group ends with its last rule.
            if group.members == 0 {
                self.groups.remove(&rule.group);
            }
        }
        Some(rule)
    }
}
