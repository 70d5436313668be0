//! Every situation that `tests/flows/rows.txt` names as simulated comes about, and none is named that is not counted.

use std::collections::BTreeSet;
use std::path::Path;

use sim::{Choice, NAMES, Occasions, Plan};

const CALLS: u32 = 40;
/// More than are needed, by far.
const SEEDS: u64 = 600;

#[test]
fn what_a_row_names_as_simulated_comes_about() {
    let rows = Path::new(env!("CARGO_MANIFEST_DIR")).join("../flows/rows.txt");
    let rows = std::fs::read_to_string(rows).unwrap();
    let mut named = BTreeSet::new();
    for line in rows.lines().filter(|line| line.starts_with('§')) {
        let simulated = line.split(" | ").nth(2).unwrap_or_default().trim();
        // What begins with a dash says why there is nothing.
        for name in simulated.split(';').map(str::trim).filter(|_| !simulated.starts_with('-')) {
            assert!(NAMES.contains(&name), "{line}\nis not counted: {name}");
            named.insert(name);
        }
    }
    let unnamed: Vec<&&str> = NAMES.iter().filter(|name| !named.contains(**name)).collect();
    assert!(unnamed.is_empty(), "shows no row: {unnamed:?}");
    let mut seen = Occasions::default();
    let mut missing: Vec<&str> = NAMES.to_vec();
    for seed in 1..=SEEDS {
        seen.add(&sim::judge(Plan::new(seed, CALLS, &Choice::default())).occasions);
        missing.retain(|name| seen.count(name) == 0);
        if missing.is_empty() {
            return;
        }
    }
    panic!("in {SEEDS} worlds never came about: {missing:?}\n{seen}");
}
