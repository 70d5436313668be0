//! Hash maps whose seed is chosen by the caller, so that a run can be repeated, and so that strangers who choose
//! the keys (Call-IDs, branches) cannot choose the collisions.
//!
//! Iterating over one gives an arbitrary order: never let that order reach an output. Where order matters use
//! `BTreeMap`.

use std::hash::BuildHasher;

use foldhash::SharedSeed;
use foldhash::fast::{FoldHasher, SeedableRandomState};

use crate::Rng;

/// A hash map with a chosen seed.
pub type Map<K, V> = hashbrown::HashMap<K, V, Seeded>;
/// A hash set with a chosen seed.
pub type Set<K> = hashbrown::HashSet<K, Seeded>;

/// The hasher state of [`Map`] and [`Set`].
#[derive(Debug, Clone)]
pub struct Seeded(SeedableRandomState);

impl Seeded {
    /// A state drawn from `rng`.
    #[must_use]
    pub fn new(rng: &mut Rng) -> Self {
        Self(SeedableRandomState::with_seed(rng.bits(), SharedSeed::global_fixed()))
    }
}

impl BuildHasher for Seeded {
    type Hasher = FoldHasher<'static>;
    fn build_hasher(&self) -> FoldHasher<'static> {
        self.0.build_hasher()
    }
}
