//! What every engine must do. The cases that prove it are in `tests/engine`.

use midcom::{Passed, Prid};

use crate::entry::{Counter, EngineFailure, Entry, Key, Operation};

/// What differs between what should be in an engine and what is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Drift {
    /// Expected, not there.
    pub missing: Vec<Key>,
    /// There, not expected. An engine for which looking is expensive may leave it empty.
    pub foreign: Vec<Key>,
}

/// A packet gate that can be told to open and close. One writer: calls never overlap.
pub trait Engine {
    /// Carries out all operations, in order, in as few commits as possible, and returns only after each is
    /// confirmed: one result per operation, in the same order. An operation that fails changes nothing and harms no
    /// other (a failed batch is tried again one by one). No two operations of one call have the same key.
    ///
    /// After it returned, an added entry lets every packet it admits pass, and a removed one none.
    fn apply(&mut self, operations: &[Operation]) -> Vec<Result<(), EngineFailure>>;

    /// Compares what is there with `expected` (sorted), after repairing the engine's own scaffolding (table, chains,
    /// sets). Entries themselves are not repaired: the caller does that with [`Engine::apply`].
    ///
    /// # Errors
    /// If the scaffolding cannot be repaired or the kernel cannot be asked.
    fn verify(&mut self, expected: &[Key]) -> Result<Drift, EngineFailure>;

    /// The counters of these entries, in the same order; `None` for one that is not there.
    fn counters(&mut self, keys: &[Key]) -> Vec<Option<Counter>>;

    /// Everything that is there: for adoption at start and for inspection, not for every minute.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    fn entries(&mut self) -> Result<Vec<Entry>, EngineFailure>;
}

/// What rules have let pass, in the same order: one question for all their entries. A rule of which an entry is not
/// there, or cannot be read, is left out; a reservation has none and lets nothing pass.
pub fn count(engine: &mut impl Engine, rules: &[(Prid, Vec<Key>)]) -> Vec<Passed> {
    let keys: Vec<Key> = rules.iter().flat_map(|(_, keys)| keys).copied().collect();
    let mut counters = engine.counters(&keys).into_iter();
    let sum = |(prid, keys): &(Prid, Vec<Key>)| -> Option<Passed> {
        let counters: Vec<Option<Counter>> = counters.by_ref().take(keys.len()).collect();
        let packets: Option<Vec<u64>> =
            counters.into_iter().map(|counter| counter.map(|counter| counter.packets)).collect();
        let packets = packets.filter(|packets| packets.len() == keys.len())?;
        Some(Passed { prid: *prid, packets: packets.into_iter().fold(0, u64::wrapping_add) })
    };
    rules.iter().filter_map(sum).collect()
}
