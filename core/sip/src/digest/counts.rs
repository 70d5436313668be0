//! How often each nonce has been used: RFC 7616 §3.4, `nc`.

use std::collections::BTreeMap;

use machine::Instant;

use super::NonceId;

/// The highest count that has come with each nonce. Only what was right is counted, so strangers fill nothing.
#[derive(Debug, Clone, Default)]
pub struct Counts {
    highest: BTreeMap<NonceId, u32>,
    /// The newest that had to be forgotten while it could still be used.
    forgotten: Option<NonceId>,
}

impl Counts {
    /// Takes note of a use; false if it is a repetition, or might be one. `limit`: how many nonces are kept, at least 1.
    ///
    //= RFC 7616 §3.4: the same count twice is a replay. One below it could be one: a client that overtakes itself gets another nonce.
    pub fn take(&mut self, id: NonceId, count: u32, limit: usize) -> bool {
        if self.forgotten.is_some_and(|forgotten| id <= forgotten) {
            return false;
        }
        let highest = self.highest.entry(id).or_default();
        if count <= *highest {
            return false;
        }
        *highest = count;
        while self.highest.len() > limit {
            self.forgotten = self.highest.pop_first().map(|(id, _)| id).max(self.forgotten);
        }
        true
    }

    /// Forgets those that were made before; they are stale in any case.
    pub fn forget_before(&mut self, time: Instant) {
        self.highest = self.highest.split_off(&NonceId(time, 0));
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.highest.len()
    }

    /// True if there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.highest.is_empty()
    }
}
