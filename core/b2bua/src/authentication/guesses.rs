//! How often somebody has guessed a password wrongly.

use std::collections::BTreeMap;
use std::net::IpAddr;

use machine::Instant;

use crate::limits::{GUESS_MEMORY, GUESSERS_MAX, GUESSES_MAX};

/// Wrong answers, by where they came from and whose they pretended to be.
#[derive(Debug, Clone, Default)]
pub(super) struct Guesses(BTreeMap<(IpAddr, Box<str>), (u32, Instant)>);

impl Guesses {
    /// One more.
    pub(super) fn note(&mut self, now: Instant, source: IpAddr, user: &str) {
        self.0.retain(|_, (_, until)| *until > now);
        let key = (source, user.into());
        if self.0.len() < GUESSERS_MAX || self.0.contains_key(&key) {
            let (count, _) = self.0.entry(key).or_insert((0, now + GUESS_MEMORY));
            *count += 1;
        }
    }

    /// True if nobody there may try again for this user yet.
    pub(super) fn are_too_many(&self, now: Instant, source: IpAddr, user: &str) -> bool {
        let guesses = self.0.get(&(source, user.into()));
        guesses.is_some_and(|(count, until)| *count >= GUESSES_MAX && *until > now)
    }
}
