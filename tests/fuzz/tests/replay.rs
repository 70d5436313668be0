//! Replays every target; what CI runs instead of a fuzzing engine.

use postern_fuzz_targets::{TARGETS, replay};

/// Another seed is another walk; this one is the same on every machine.
const SEED: u64 = 1;

/// `FUZZ_TARGET` chooses one target, `FUZZ_SEED` another walk, `FUZZ_COUNT` how long it is.
#[test]
fn every_target_survives_its_corpora_and_their_mutations() {
    let number = |name| std::env::var(name).ok().and_then(|number| number.parse().ok());
    let chosen = std::env::var("FUZZ_TARGET").ok();
    let is_chosen = |name| chosen.as_ref().is_none_or(|chosen| chosen == name);
    let targets: Vec<_> = TARGETS.iter().filter(|target| is_chosen(target.name)).collect();
    assert!(!targets.is_empty(), "no target {chosen:?}");
    for target in targets {
        let count = number("FUZZ_COUNT").unwrap_or(target.mutations);
        replay(target, number("FUZZ_SEED").unwrap_or(SEED), count as usize);
    }
}
