//! What the engine holds and which rules need it: an entry is the union of the rules that need it.
//! `docs/pinholes.md` §4.
//!
//! Nothing here is a command. Rules come and go, what they touch is remembered, and [`Elements::plan`] compares what
//! is wanted with what is installed: at most one operation per key, whatever happened in between.

use std::collections::{BTreeMap, BTreeSet};

use machine::map::{Map, Seeded};
use machine::{Instant, Rng};
use midcom::Prid;
use smallvec::SmallVec;

use crate::authority::Permit;
use crate::entry::{Key, Operation};
use crate::hairpin::Hairpins;
use crate::nat::Nat;
use crate::realm::Realms;

#[derive(Debug, Clone, Default)]
struct Element {
    /// The rules that need it, each with its deadline.
    users: SmallVec<[(Prid, Instant); 1]>,
    /// When the engine's entry ends by itself; `None` while there is none.
    installed: Option<Instant>,
}

/// All elements.
#[derive(Debug, Clone)]
pub(crate) struct Elements {
    elements: Map<Key, Element>,
    /// What is translated, by the same key without: two of them cannot be there at a time.
    translated: BTreeMap<Key, Key>,
    /// What two of them make together: needed while both are, by nobody of its own.
    hairpins: Hairpins,
    /// Found at start and not yet needed by a rule; left alone until their grace ends.
    orphans: BTreeSet<Key>,
    /// What may differ from what is wanted.
    touched: BTreeSet<Key>,
}

/// One operation and what it leads to.
#[derive(Debug)]
pub(crate) struct Step {
    /// What the engine is asked.
    pub(crate) operation: Operation,
    /// When the entry then ends; `None` if it is then gone.
    pub(crate) target: Option<Instant>,
}

impl Elements {
    pub(crate) fn new(rng: &mut Rng, nat: Nat, realms: Realms) -> Self {
        let elements = Map::with_hasher(Seeded::new(rng));
        let (translated, hairpins) = (BTreeMap::new(), Hairpins::new(nat, realms));
        Self { elements, translated, hairpins, orphans: BTreeSet::new(), touched: BTreeSet::new() }
    }

    /// How many entries the engine should hold now.
    pub(crate) fn installed(&self) -> usize {
        self.elements.values().filter(|element| element.installed.is_some()).count()
    }

    pub(crate) fn orphans(&self) -> usize {
        self.orphans.len()
    }

    pub(crate) fn touched(&self) -> usize {
        self.touched.len()
    }

    /// The keys the engine should hold, sorted.
    pub(crate) fn expected(&self) -> Vec<Key> {
        let held = self.elements.iter().filter(|(_, element)| element.installed.is_some());
        let mut keys: Vec<_> = held.map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys
    }

    /// The rules that need a key; of what two keys make, those of both.
    pub(crate) fn users(&self, key: &Key) -> impl Iterator<Item = Prid> + '_ {
        let both = move |(one, other): &&(Key, Key)| {
            [one, other].iter().all(|key| self.elements.get(*key).is_some_and(|e| !e.users.is_empty()))
        };
        let pairs = self.hairpins.pairs(key).into_iter().flatten();
        let made_of = pairs.filter(both).flat_map(|(one, other)| [*one, *other]);
        let keys = made_of.chain([*key]);
        let elements = keys.filter_map(move |key| self.elements.get(&key));
        elements.flat_map(|element| element.users.iter().map(|(prid, _)| *prid))
    }

    /// What a key makes together with others.
    pub(crate) fn hairpins_of(&self, key: &Key) -> Vec<Key> {
        self.hairpins.of(key)
    }

    /// True if a rule needs the same element for packets that become something else.
    pub(crate) fn contradicts(&self, key: &Key) -> bool {
        let other = self.translated.get(&key.plain()).filter(|other| *other != key);
        let plain = key.translation().map(|_| key.plain());
        [other.copied(), plain].into_iter().flatten().any(|other| self.users(&other).next().is_some())
    }

    /// When the engine's entry ends.
    pub(crate) fn installed_until(&self, key: &Key) -> Option<Instant> {
        self.elements.get(key).and_then(|element| element.installed)
    }

    /// A rule needs this key until `deadline`, newly or with a new deadline. True if it takes over an orphan.
    pub(crate) fn need(&mut self, key: Key, prid: Prid, deadline: Instant) -> bool {
        let element = self.elements.entry(key).or_default();
        match element.users.iter_mut().find(|(user, _)| *user == prid) {
            Some(user) => user.1 = deadline,
            None => element.users.push((prid, deadline)),
        }
        self.touched.insert(key);
        self.take_the_place_of_others(&key);
        for turned in self.hairpins.join(&key, &self.translated) {
            self.elements.entry(turned).or_default();
            self.orphans.remove(&turned);
            self.touched.insert(turned);
        }
        self.orphans.remove(&key)
    }

    /// What was found at start under the same element, for packets that become something else, is removed with this batch.
    fn take_the_place_of_others(&mut self, key: &Key) {
        let plain = key.plain();
        let other = match key.translation() {
            Some(_) => self.translated.insert(plain, *key).filter(|other| other != key),
            None => self.translated.get(&plain).copied(),
        };
        for other in other.into_iter().chain(key.translation().map(|_| plain)) {
            if self.orphans.remove(&other) {
                self.touched.insert(other);
            }
        }
    }

    fn remove(&mut self, key: &Key) {
        self.elements.remove(key);
        self.hairpins.forget(key);
        if key.translation().is_some() && self.translated.get(&key.plain()) == Some(key) {
            self.translated.remove(&key.plain());
        }
    }

    /// A rule no longer needs this key.
    pub(crate) fn release(&mut self, key: Key, prid: Prid) {
        if let Some(element) = self.elements.get_mut(&key) {
            element.users.retain(|(user, _)| *user != prid);
            self.touched.insert(key);
            self.touched.extend(self.hairpins.of(&key));
        }
    }

    /// Makes room for what so many rules will need.
    pub(crate) fn reserve(&mut self, rules: usize) {
        self.elements.reserve(rules);
    }

    /// Something was found in the engine: an orphan to be kept for a while.
    pub(crate) fn adopt(&mut self, key: Key, until: Instant) {
        let element = self.elements.entry(key).or_default();
        element.installed = Some(until);
        if key.translation().is_some() && key.turned_source().is_none() {
            self.translated.entry(key.plain()).or_insert(key);
        }
        let needed = self.users(&key).next().is_some();
        match needed {
            false => self.orphans.insert(key),
            true => self.touched.insert(key),
        };
    }

    /// Something was found in the engine that must go.
    pub(crate) fn reject(&mut self, key: Key, until: Instant) {
        self.elements.entry(key).or_default().installed = Some(until);
        self.orphans.remove(&key);
        self.touched.insert(key);
    }

    /// The engine has lost an entry. True if a rule needs it.
    pub(crate) fn lost(&mut self, key: Key) -> bool {
        let Some(element) = self.elements.get_mut(&key) else { return false };
        element.installed = None;
        self.touched.insert(key);
        self.orphans.remove(&key);
        self.users(&key).next().is_some()
    }

    /// The grace of the orphans is over; says how many there were.
    pub(crate) fn drop_orphans(&mut self) -> usize {
        let orphans = std::mem::take(&mut self.orphans);
        let count = orphans.len();
        self.touched.extend(orphans);
        count
    }

    /// Of the entries that no rule needs (adopted ones, ones on their way out, and `failed` ones), those that match:
    /// they are to go now.
    pub(crate) fn close_unneeded(
        &mut self,
        failed: &BTreeSet<Key>,
        matches: impl Fn(&Key) -> bool,
    ) -> Vec<Key> {
        let there = |key: &Key| self.elements.get(key).is_some_and(|element| element.installed.is_some());
        let unneeded = self.orphans.iter().chain(&self.touched).chain(failed);
        let unneeded = unneeded.filter(|key| matches(key) && there(key) && self.users(key).next().is_none());
        let gone: BTreeSet<Key> = unneeded.copied().collect();
        self.orphans.retain(|key| !gone.contains(key));
        self.touched.extend(gone.iter().copied());
        gone.into_iter().collect()
    }

    /// Looks at these keys again next time.
    pub(crate) fn touch(&mut self, keys: impl IntoIterator<Item = Key>) {
        self.touched.extend(keys);
    }

    /// The engine has done a step.
    pub(crate) fn done(&mut self, key: Key, target: Option<Instant>) {
        if let Some(element) = self.elements.get_mut(&key) {
            element.installed = target;
            if element.installed.is_none() && self.users(&key).next().is_none() {
                self.remove(&key);
            }
        }
    }

    /// What the engine must do so that it holds what is wanted, in the order of the keys; at most `most` steps, and the
    /// rest another time.
    pub(crate) fn plan(
        &mut self,
        now: Instant,
        most: usize,
        permit: impl Fn(Prid, Key) -> Option<Permit>,
    ) -> Vec<Step> {
        let mut steps = Vec::with_capacity(self.touched.len().min(most));
        while steps.len() < most {
            let Some(key) = self.touched.pop_first() else { break };
            if self.orphans.contains(&key) {
                continue;
            }
            let Some(installed) = self.elements.get(&key).map(|element| element.installed) else { continue };
            let wanted = self.wanted(&key, now, &permit);
            match step(key, installed, now, wanted) {
                Some(step) => steps.push(step),
                None if installed.is_none() && self.users(&key).next().is_none() => self.remove(&key),
                None => {}
            }
        }
        steps
    }

    /// Until when a key is wanted, and the proof that it may be.
    fn wanted(
        &self,
        key: &Key,
        now: Instant,
        permit: &impl Fn(Prid, Key) -> Option<Permit>,
    ) -> Option<(Permit, Instant)> {
        let by_rules = |key: &Key| -> Option<(Permit, Instant)> {
            // The latest deadline counts; one that has passed is none.
            let users = self.elements.get(key)?.users.iter();
            let (prid, deadline) = users.max_by_key(|(_, deadline)| *deadline)?;
            (*deadline > now).then(|| Some((permit(*prid, *key)?, *deadline)))?
        };
        if key.turned_source().is_none() {
            return by_rules(key);
        }
        let together = |(one, other): &(Key, Key)| {
            let ((outward, first), (inward, second)) = (by_rules(one)?, by_rules(other)?);
            Some((self.hairpins.permit(&outward, &inward)?, first.min(second)))
        };
        self.hairpins.pairs(key)?.iter().filter_map(together).max_by_key(|(_, deadline)| *deadline)
    }
}

fn step(
    key: Key,
    installed: Option<Instant>,
    now: Instant,
    wanted: Option<(Permit, Instant)>,
) -> Option<Step> {
    match (wanted, installed) {
        (None, None) => None,
        (None, Some(_)) => Some(Step { operation: Operation::Remove { key }, target: None }),
        (Some((_, deadline)), Some(until)) if deadline == until => None,
        (Some((permit, deadline)), installed) => {
            let lifetime = deadline.since(now);
            let operation = match installed.is_some_and(|until| until > now) {
                true => Operation::Extend { permit, lifetime },
                false => Operation::Add { permit, lifetime },
            };
            Some(Step { operation, target: Some(deadline) })
        }
    }
}
