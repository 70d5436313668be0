//! Replays every target; what CI runs instead of a fuzzing engine.

use postern_fuzz_targets::{TARGETS, replay};

/// Another seed is another walk; this one is the same on every machine.
const SEED: u64 = 1;
/// A few seconds for each target.
const MUTATIONS: usize = 5_000;

#[test]
fn every_target_survives_its_corpora_and_their_mutations() {
    let seed = std::env::var("FUZZ_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(SEED);
    let count = std::env::var("FUZZ_COUNT").ok().and_then(|count| count.parse().ok()).unwrap_or(MUTATIONS);
    for target in TARGETS {
        replay(target, seed, count);
    }
}
