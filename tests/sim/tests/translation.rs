//! Houses with a NAT: they are there, they change nothing else, and whoever translates wrongly is found out.

use sim::{Choice, Plan, Sabotage};

const CALLS: u32 = 40;

fn without(kind: &str) -> Choice {
    Choice { without: vec![kind.into()], ..Choice::default() }
}

/// Seeds whose house has a NAT.
fn translating(seeds: std::ops::RangeInclusive<u64>) -> impl Iterator<Item = u64> {
    seeds.filter(|seed| Plan::new(*seed, 1, &Choice::default()).house.nat.is_some())
}

#[test]
fn a_nat_changes_nothing_else_of_a_plan() {
    let mut seen = 0;
    for seed in translating(1..=100) {
        let (with, without) =
            (Plan::new(seed, CALLS, &Choice::default()), Plan::new(seed, CALLS, &without("nat")));
        assert_eq!(format!("{:?}", with.calls), format!("{:?}", without.calls), "seed {seed}");
        assert_eq!((with.faults, with.curfew), (without.faults, without.curfew), "seed {seed}");
        assert!(without.house.nat.is_none());
        seen += 1;
    }
    assert!((10..=40).contains(&seen), "{seen} of 100");
}

#[test]
fn an_engine_that_translates_wrongly_is_found_out() {
    for sabotage in [Sabotage::TranslatesBeside, Sabotage::KeepsSources, Sabotage::KeepsDestinations] {
        for seed in translating(1..=60) {
            let plan = Plan::new(seed, CALLS, &without("all"));
            let honest = sim::judge(plan.clone());
            assert!(honest.is_good(), "seed {seed}");
            let media = ["NAT: call from inside", "NAT: call from outside"];
            if media.iter().all(|name| honest.occasions.count(name) == 0) {
                continue;
            }
            let outcome = sim::judge(Plan { sabotage: Some(sabotage), ..plan });
            assert!(!outcome.is_good(), "{sabotage:?} in seed {seed}");
        }
    }
}

#[test]
fn where_nothing_is_translated_the_same_engines_do_no_wrong() {
    let plain = (1..=10).filter(|seed| Plan::new(*seed, 1, &Choice::default()).house.nat.is_none());
    for seed in plain {
        let plan = Plan::new(seed, CALLS, &Choice::default());
        assert!(
            sim::judge(Plan { sabotage: Some(Sabotage::TranslatesBeside), ..plan }).is_good(),
            "seed {seed}"
        );
    }
}
