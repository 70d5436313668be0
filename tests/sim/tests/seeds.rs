//! The seeds that run with every change. A longer run: `docs/simulation.md`.

use sim::{Choice, Fault, Outcome, Plan, Sabotage, Tally};

const CALLS: u32 = 40;

fn run(seed: u64, calls: u32) -> Outcome {
    sim::run(Plan::new(seed, calls, &Choice::default()))
}

/// `POSTERN_SEED=…` runs one seed alone.
fn wanted() -> Option<u64> {
    std::env::var("POSTERN_SEED").ok()?.parse().ok()
}

#[test]
fn every_promise_is_kept_in_a_thousand_worlds() {
    let seeds = wanted().map_or(1..=1000, |seed| seed..=seed);
    let mut tally = Tally::default();
    let all = seeds.clone().count();
    for seed in seeds {
        let outcome = sim::judge(Plan::new(seed, CALLS, &Choice::default()));
        assert!(outcome.is_good(), "{}", run(seed, CALLS));
        tally.add(&outcome.tally);
    }
    println!("{tally}");
    // A simulation in which nothing happens proves nothing.
    if all > 100 {
        let calls = u64::from(CALLS) * all as u64;
        assert_eq!(tally.dialled, calls);
        assert!(tally.answered > calls / 4 && tally.cut > calls / 50, "{tally}");
        assert!(tally.must_pass > calls && tally.must_not > calls && tally.orphans > 100, "{tally}");
        // Transfers of each kind, and calls that fall silent.
        let told =
            [tally.referred, tally.refused_refers, tally.notified, tally.late_notifies, tally.silenced];
        assert!(told.into_iter().all(|count| count > 5), "{tally}");
    }
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in 1..=20 {
        let (first, second) = (run(seed, CALLS), run(seed, CALLS));
        assert_eq!(first.log.hash(), second.log.hash(), "seed {seed}");
        assert_eq!(first.log.len(), second.log.len(), "seed {seed}");
        assert_eq!(first.tally, second.tally, "seed {seed}");
    }
    assert_ne!(run(1, CALLS).log.hash(), run(2, CALLS).log.hash());
}

#[test]
fn a_run_does_not_depend_on_its_log() {
    for seed in 1..=20 {
        let (told, untold) = (run(seed, CALLS), sim::judge(Plan::new(seed, CALLS, &Choice::default())));
        assert_eq!(told.tally, untold.tally, "seed {seed}");
        assert!(untold.log.is_empty() && !told.log.is_empty(), "seed {seed}");
    }
}

#[test]
fn an_engine_that_lies_is_found_out() {
    let found = |sabotage| {
        let outcomes = (1..=20).map(|seed| {
            let plan = Plan::new(seed, CALLS, &Choice { without: vec!["all".into()], ..Choice::default() });
            sim::run(Plan { sabotage: Some(sabotage), ..plan })
        });
        outcomes.filter(|outcome| !outcome.is_good()).count()
    };
    assert_eq!((found(Sabotage::KeepsEntries), found(Sabotage::LosesEntries)), (20, 20));
}

/// In how many of so many seeds the observer notices what is done wrong.
fn found(sabotage: Sabotage, seeds: u64) -> usize {
    let outcomes = (1..=seeds).map(|seed| {
        let plan = Plan::new(seed, CALLS, &Choice { without: vec!["all".into()], ..Choice::default() });
        sim::judge(Plan { sabotage: Some(sabotage), ..plan })
    });
    outcomes.filter(|outcome| !outcome.is_good()).count()
}

#[test]
fn an_agent_that_believes_every_contact_is_found_out() {
    assert!(found(Sabotage::TrustsContacts, 20) > 10);
}

#[test]
fn an_agent_that_changes_keys_is_found_out() {
    assert!(found(Sabotage::ChangesKeys, 20) > 10);
}

#[test]
fn an_agent_that_mistreats_transfers_is_found_out() {
    for sabotage in [Sabotage::LeavesReferTo, Sabotage::EndsSubscriptions] {
        let found = found(sabotage, 60);
        assert!(found > 10, "{sabotage:?}: {found}");
    }
}

#[test]
fn an_engine_that_counts_wrong_is_found_out() {
    // As many as have a house that looks at counters.
    let looks = |seed: &u64| Plan::new(*seed, CALLS, &Choice::default()).house.policy.media_timeout.is_some();
    let houses = (1..=60).filter(looks).count();
    assert!(houses > 4);
    for sabotage in [Sabotage::CountsNothing, Sabotage::CountsAnything] {
        let found = found(sabotage, 60);
        assert!(found * 3 > houses, "{sabotage:?}: {found} of {houses}");
    }
}

#[test]
fn a_world_without_faults_is_found_among_the_seeds() {
    let quiet = (1..=100).filter(|seed| Plan::new(*seed, CALLS, &Choice::default()).is_quiet()).count();
    assert!(quiet >= 3, "{quiet}");
}

#[test]
fn every_fault_happens() {
    let mut kinds: Vec<&str> = (1..=100)
        .flat_map(|seed| Plan::new(seed, CALLS, &Choice::default()).faults)
        .map(|(_, fault): (_, Fault)| fault.kind())
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    assert_eq!(kinds.len(), 14, "{kinds:?}");
}

#[test]
fn one_call_alone_is_the_same_call() {
    let all = Plan::new(7, CALLS, &Choice::default());
    let alone = Plan::new(7, CALLS, &Choice { only: vec![5], ..Choice::default() });
    let call = all.calls.iter().find(|call| call.number == 5);
    assert_eq!(format!("{:?}", alone.calls.first()), format!("{call:?}"));
    assert_eq!(all.faults, alone.faults);
}

#[test]
fn a_thousand_calls_share_one_world() {
    let outcome = run(4711, 1000);
    assert!(outcome.is_good(), "{outcome}");
}
