//! Group commit: all operations of a call in one transaction, and singly again if it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use middlebox::{Counter, EngineFailure, Key, Operation};

use super::element::{self, Life};
use super::{Features, TABLE, read};
use crate::netlink::{Batch, CommitError, LIST_MAX, Socket, uapi};
use crate::ruleset::{Names, SetId};

/// More than any element takes in a batch, in bytes, its fall-backs included.
const ELEMENT_MAX: usize = 320;

/// Steps of one operation: four elements, each of which may be replaced.
const STEPS_MAX: usize = 8;

/// So many steps are committed together. In larger transactions the kernel spends more on each element: 7.7 us instead of 5 with
/// 52,000 of them.
const TOGETHER_MAX: usize = 1000;

/// What is written to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kernel<'a> {
    pub(super) features: Features,
    pub(super) names: &'a Names,
    /// See [`crate::GateConfig`].
    pub(super) cap: Option<u32>,
}

/// What is to become of one element.
#[derive(Debug, Clone, Copy)]
enum Change {
    Remove,
    /// Removes what may be left of another translation, to make room for what is put.
    Clear,
    Put(Duration),
}

/// One element of one operation, ready to be written.
#[derive(Debug, Clone, Copy)]
struct Step {
    set: SetId,
    key: Key,
    change: Change,
    position: usize,
}

impl Step {
    /// The steps of an operation: all of them in one commit, or none.
    fn of(position: usize, operation: &Operation) -> impl Iterator<Item = Self> + use<> {
        let key = operation.key();
        let change = match operation {
            Operation::Add { lifetime, .. } | Operation::Extend { lifetime, .. } => Change::Put(*lifetime),
            Operation::Remove { .. } => Change::Remove,
        };
        // The kernel lets nobody write over what a map says already.
        let afresh = key.translation().is_some() && matches!(operation, Operation::Add { .. });
        let changes = afresh.then_some(Change::Clear).into_iter().chain([change]);
        let sets = element::sets_of(&key);
        sets.flat_map(move |set| changes.clone().map(move |change| Self { set, key, change, position }))
    }

    /// Steps with equal groups share messages; what is removed comes before what is put.
    fn group(&self) -> (SetId, bool) {
        (self.set, matches!(self.change, Change::Put(_)))
    }

    /// Who knows what is there comes before who only makes room.
    fn order(&self) -> ((SetId, bool), bool) {
        (self.group(), matches!(self.change, Change::Clear))
    }
}

/// Carries out operations. The flag tells that the table is not as we made it.
pub(super) fn apply(
    socket: &mut Socket,
    kernel: Kernel<'_>,
    operations: &[Operation],
) -> (Vec<Result<(), EngineFailure>>, bool) {
    let mut results = vec![Ok(()); operations.len()];
    let mut disturbed = false;
    let steps_max = (socket.send_max() / ELEMENT_MAX).clamp(1, TOGETHER_MAX);
    let mut steps = Vec::with_capacity(operations.len());
    for (position, operation) in operations.iter().enumerate() {
        if element::sets_of(&operation.key()).any(|set| kernel.names.get(set).is_none()) {
            results[position] = Err(EngineFailure::Unsupported);
            continue;
        }
        if steps.len() + STEPS_MAX > steps_max {
            disturbed |= settle(socket, kernel, &mut steps, &mut results);
        }
        steps.extend(Step::of(position, operation));
    }
    disturbed |= settle(socket, kernel, &mut steps, &mut results);
    (results, disturbed)
}

/// Commits steps together; if that fails, one operation after the other, so that only the bad one fails.
fn settle(
    socket: &mut Socket,
    kernel: Kernel<'_>,
    steps: &mut Vec<Step>,
    results: &mut [Result<(), EngineFailure>],
) -> bool {
    let mut steps = std::mem::take(steps);
    if steps.is_empty() {
        return false;
    }
    // No two operations have the same key, so their order among themselves means nothing else.
    steps.sort_by_key(Step::order);
    let mut disturbed = false;
    let Err(error) = commit(socket, kernel, &steps) else { return false };
    let mut failure = failure_of(&error);
    disturbed |= matches!(error, CommitError::Unknown(_));
    steps.sort_by_key(|step| step.position);
    let single = steps.first().map(|step| step.position) == steps.last().map(|step| step.position);
    for of_one in steps.chunk_by(|one, other| one.position == other.position) {
        if !single && failure != EngineFailure::Unavailable {
            match commit(socket, kernel, of_one) {
                Ok(()) => continue,
                Err(error) => failure = failure_of(&error),
            }
        }
        of_one.iter().for_each(|step| results[step.position] = Err(failure));
    }
    disturbed || failure == EngineFailure::Unavailable
}

fn failure_of(error: &CommitError) -> EngineFailure {
    match error.error().raw_os_error() {
        Some(libc::ENFILE | libc::ENOMEM | libc::ENOSPC) => EngineFailure::Full,
        // The set or the table is gone, or is no longer ours; trying every operation would take 10 ms each.
        Some(libc::ENOENT | libc::EPERM) => EngineFailure::Unavailable,
        Some(errno) => EngineFailure::Refused(errno),
        None => EngineFailure::Unavailable,
    }
}

fn commit(socket: &mut Socket, kernel: Kernel<'_>, steps: &[Step]) -> Result<(), CommitError> {
    let replaced = if kernel.features.extend { BTreeMap::new() } else { present(socket, kernel, steps) };
    let mut batch = socket.batch();
    for some in steps.chunk_by(|one, other| one.group() == other.group()) {
        match some.first().is_some_and(|step| step.group().1) {
            true => put(&mut batch, kernel, some, &replaced),
            false => remove(&mut batch, kernel, some),
        }
    }
    socket.commit(batch)
}

/// Deletes without ever failing: a DELSETELEM of what is not there would undo everybody's batch.
fn remove(batch: &mut Batch, kernel: Kernel<'_>, steps: &[Step]) {
    let names = kernel.names;
    if kernel.features.destroy {
        return write(batch, names, uapi::DESTROYSETELEM, steps, |_| Life::Named);
    }
    let mut named = BTreeSet::new();
    let once: Vec<Step> =
        steps.iter().filter(|step| named.insert(element::octets(step.set, &step.key))).copied().collect();
    write(batch, names, uapi::NEWSETELEM, &once, |_| Life::Placed);
    write(batch, names, uapi::DELSETELEM, &once, |_| Life::Named);
}

fn put(batch: &mut Batch, kernel: Kernel<'_>, steps: &[Step], replaced: &BTreeMap<Key, Counter>) {
    let before = |step: &Step| replaced.get(&step.key).copied();
    let gone: Vec<Step> = steps.iter().filter(|step| before(step).is_some()).copied().collect();
    remove(batch, kernel, &gone);
    write(batch, kernel.names, uapi::NEWSETELEM, steps, |step| match step.change {
        Change::Put(lifetime) => Life::Lives(lifetime, before(step).map(|counter| (counter, kernel.cap))),
        Change::Remove | Change::Clear => Life::Named,
    });
}

/// The counters of entries that are there already, for kernels that cannot change a lifetime in place.
fn present(socket: &mut Socket, kernel: Kernel<'_>, steps: &[Step]) -> BTreeMap<Key, Counter> {
    let counted = |step: &&Step| matches!(step.change, Change::Put(_)) && step.set.counts();
    let keys: Vec<Key> = steps.iter().filter(counted).map(|step| step.key).collect();
    // If they cannot be read the commit that follows fails too, and says why.
    let counters = read::counters(socket, kernel.names, &keys).unwrap_or_default();
    keys.into_iter().zip(counters).filter_map(|(key, counter)| Some((key, counter?))).collect()
}

/// Writes steps of one set, in as many messages as their lists need.
fn write(batch: &mut Batch, names: &Names, kind: u8, steps: &[Step], life: impl Fn(&Step) -> Life) {
    let mut rest = 0..steps.len();
    while let Some(first) = steps.get(rest.start) {
        let flags = if kind == uapi::NEWSETELEM { uapi::NLM_F_CREATE } else { 0 };
        let mut written: Range<usize> = rest.start..rest.start;
        batch.message(kind, flags, uapi::INET, |writer| {
            writer.text(uapi::ELEM_LIST_TABLE, TABLE);
            writer.text(uapi::ELEM_LIST_SET, names.get(first.set).unwrap_or_default());
            let list = writer.open(uapi::ELEM_LIST_ELEMENTS | uapi::NLA_F_NESTED);
            let begin = writer.len();
            while written.end < rest.end && writer.len() - begin < LIST_MAX {
                let step = &steps[written.end];
                element::write(writer, step.set, &step.key, life(step));
                written.end += 1;
            }
            writer.close(list);
        });
        rest.start = written.end;
    }
}
