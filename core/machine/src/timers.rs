//! Timers of a machine: an ordered set of deadlines, each with a meaning.

use std::collections::BTreeMap;

use crate::Instant;

/// Names one running timer, so that it can be stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimerId {
    at: Instant,
    sequence: u64,
}

impl TimerId {
    /// When it is due.
    #[must_use]
    pub fn at(self) -> Instant {
        self.at
    }
}

/// Deadlines in order; equal deadlines fire in the order in which they were set.
#[derive(Debug, Clone)]
pub struct Timers<K> {
    due: BTreeMap<TimerId, K>,
    sequence: u64,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { due: BTreeMap::new(), sequence: 0 }
    }
}

impl<K> Timers<K> {
    /// No timers.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a timer that gives `key` back at `at`.
    pub fn set(&mut self, at: Instant, key: K) -> TimerId {
        let id = TimerId { at, sequence: self.sequence };
        self.sequence += 1;
        self.due.insert(id, key);
        id
    }

    /// Stops a timer. Stopping one that has fired does nothing.
    pub fn stop(&mut self, id: TimerId) {
        self.due.remove(&id);
    }

    /// Takes the first timer that is due at `now`.
    pub fn pop(&mut self, now: Instant) -> Option<K> {
        let first = self.due.first_entry()?;
        (first.key().at <= now).then(|| first.remove())
    }

    /// The first deadline and what it means.
    #[must_use]
    pub fn next(&self) -> Option<(Instant, &K)> {
        self.due.first_key_value().map(|(id, key)| (id.at, key))
    }

    /// How many timers run.
    #[must_use]
    pub fn len(&self) -> usize {
        self.due.len()
    }

    /// True when none runs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_in_order_and_never_early() {
        let mut timers = Timers::new();
        timers.set(Instant::from_nanos(20), 'b');
        let stopped = timers.set(Instant::from_nanos(5), 'x');
        timers.set(Instant::from_nanos(10), 'a');
        timers.set(Instant::from_nanos(20), 'c');
        timers.stop(stopped);
        timers.stop(stopped);
        assert_eq!(timers.pop(Instant::from_nanos(9)), None);
        assert_eq!(timers.next(), Some((Instant::from_nanos(10), &'a')));
        let fired: String = std::iter::from_fn(|| timers.pop(Instant::from_nanos(20))).collect();
        assert_eq!(fired, "abc");
        assert!(timers.is_empty());
    }
}
