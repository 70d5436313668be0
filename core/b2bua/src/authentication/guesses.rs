//! How often somebody has guessed a password wrongly.

use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;

use machine::Instant;

use crate::limits::{GUESS_MEMORY, GUESSERS_MAX, GUESSES_MAX, GUESSES_OF_ONE_MAX};

/// Wrong answers to challenges that were fresh: those were read at the address that they are counted for, so that nobody else
/// is kept out.
#[derive(Debug, Clone, Default)]
pub(super) struct Guesses {
    /// By where they came from and whose they pretended to be.
    of_user: Recent<(IpAddr, Box<str>)>,
    /// By where they came from alone.
    of_source: Recent<IpAddr>,
}

impl Guesses {
    /// One more.
    pub(super) fn note(&mut self, now: Instant, source: IpAddr, user: &str) {
        self.of_user.note(now, (source, user.into()));
        self.of_source.note(now, source);
    }

    /// True if nobody there may try again for this user yet.
    pub(super) fn are_too_many(&self, now: Instant, source: IpAddr, user: &str) -> bool {
        self.of_user.count(now, &(source, user.into())) >= GUESSES_MAX
            || self.of_source.count(now, &source) >= GUESSES_OF_ONE_MAX
    }
}

/// What has happened how often since it happened first.
#[derive(Debug, Clone)]
struct Recent<K> {
    counts: BTreeMap<K, (u32, Instant)>,
    /// The order in which they are forgotten.
    due: VecDeque<(Instant, K)>,
}

impl<K> Default for Recent<K> {
    fn default() -> Self {
        Self { counts: BTreeMap::new(), due: VecDeque::new() }
    }
}

impl<K: Ord + Clone> Recent<K> {
    fn note(&mut self, now: Instant, key: K) {
        while self.due.front().is_some_and(|(until, _)| *until <= now) {
            self.forget_oldest();
        }
        if let Some((count, _)) = self.counts.get_mut(&key) {
            *count = count.saturating_add(1);
            return;
        }
        // Whoever fills the table makes room for himself, and not for the next guess of an older one only.
        if self.counts.len() >= GUESSERS_MAX {
            self.forget_oldest();
        }
        let until = now + GUESS_MEMORY;
        self.due.push_back((until, key.clone()));
        self.counts.insert(key, (1, until));
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key)) = self.due.pop_front() {
            self.counts.remove(&key);
        }
    }

    fn count(&self, now: Instant, key: &K) -> u32 {
        self.counts.get(key).filter(|(_, until)| *until > now).map_or(0, |(count, _)| *count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const MALLORY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 66));

    #[test]
    fn so_many_for_one_user_and_more_for_all_of_a_place() {
        let mut guesses = Guesses::default();
        let now = Instant::ZERO;
        for _ in 0..GUESSES_MAX {
            assert!(!guesses.are_too_many(now, MALLORY, "alice"));
            guesses.note(now, MALLORY, "alice");
        }
        assert!(guesses.are_too_many(now, MALLORY, "alice"));
        assert!(!guesses.are_too_many(now, ALICE, "alice"), "she is elsewhere");
        assert!(!guesses.are_too_many(now, MALLORY, "bob"));
        for number in GUESSES_MAX..GUESSES_OF_ONE_MAX {
            guesses.note(now, MALLORY, &number.to_string());
        }
        assert!(guesses.are_too_many(now, MALLORY, "bob"));
        assert!(!guesses.are_too_many(now + GUESS_MEMORY, MALLORY, "alice"));
    }

    #[test]
    fn a_full_table_forgets_the_oldest_and_still_counts() {
        let mut guesses = Guesses::default();
        for number in 0..GUESSERS_MAX {
            guesses.note(Instant::ZERO, ALICE, &number.to_string());
        }
        for _ in 0..GUESSES_MAX {
            guesses.note(Instant::ZERO, MALLORY, "alice");
        }
        assert!(guesses.are_too_many(Instant::ZERO, MALLORY, "alice"));
        assert_eq!(guesses.of_user.counts.len(), GUESSERS_MAX);
        assert_eq!(guesses.of_user.due.len(), GUESSERS_MAX);
    }
}
