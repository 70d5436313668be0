//! How long entries live, and what is known of them.

use std::time::Duration;

use crate::world::{
    From, LONG, Rule, VERSIONS, Version, authority, close, extend, is_stopped, open, passes, udp,
};
use crate::{Bench, INSIDE, INSIDE_OTHER, OUTSIDE, Shot};
use middlebox::{Drift, Operation, Transport};

/// Kernels end entries within a tick of their clock.
const SLACK: Duration = Duration::from_millis(300);

fn rule(version: Version) -> Rule {
    Rule { version, source: From::Anything(OUTSIDE), destination: (INSIDE, 20000), range: 2 }
}

fn shot(version: Version) -> Shot {
    udp(version, (OUTSIDE, 17000), (INSIDE, 20000))
}

pub(crate) fn ends_by_itself(bench: &mut dyn Bench) {
    for version in VERSIONS {
        open(bench, rule(version), Duration::from_secs(1));
        passes(bench, shot(version));
        bench.wait(Duration::from_secs(1) + SLACK);
        is_stopped(bench, shot(version));
    }
}

pub(crate) fn equal_extension(bench: &mut dyn Bench) {
    for version in VERSIONS {
        let lifetime = Duration::from_secs(2);
        open(bench, rule(version), lifetime);
        bench.wait(Duration::from_secs(1));
        extend(bench, rule(version), lifetime);
        bench.wait(Duration::from_secs(1) + SLACK);
        passes(bench, shot(version));
        bench.wait(Duration::from_secs(1));
        is_stopped(bench, shot(version));
    }
}

pub(crate) fn shortened(bench: &mut dyn Bench) {
    for version in VERSIONS {
        open(bench, rule(version), LONG);
        extend(bench, rule(version), Duration::from_secs(1));
        passes(bench, shot(version));
        bench.wait(Duration::from_secs(1) + SLACK);
        is_stopped(bench, shot(version));
    }
}

pub(crate) fn add_and_extend_agree(bench: &mut dyn Bench) {
    for version in VERSIONS {
        extend(bench, rule(version), LONG);
        passes(bench, shot(version));
        open(bench, rule(version), Duration::from_secs(1));
        passes(bench, shot(version));
        bench.wait(Duration::from_secs(1) + SLACK);
        is_stopped(bench, shot(version));
    }
}

pub(crate) fn counter_survives(bench: &mut dyn Bench) {
    for version in VERSIONS {
        let keys = rule(version).keys();
        assert_eq!(bench.engine().counters(&keys), [None], "nothing is counted where nothing is");
        open(bench, rule(version), LONG);
        passes(bench, shot(version));
        extend(bench, rule(version), LONG);
        passes(bench, shot(version));
        let counter = bench.engine().counters(&keys)[0].expect("the entry is there");
        assert_eq!(counter.packets, 20);
        assert!(counter.bytes >= 20 * 28, "IP and UDP headers are counted: {counter:?}");
    }
}

pub(crate) fn lists_entries(bench: &mut dyn Bench) {
    let other = Rule { destination: (INSIDE_OTHER, 20001), range: 3, ..rule(Version::V4) };
    let exact = Rule { source: From::Port(OUTSIDE, 17000), ..rule(Version::V6) };
    let network = Rule { source: From::Everybody(OUTSIDE), ..rule(Version::V6) };
    let mut expected = Vec::new();
    for rule in [rule(Version::V4), other, exact, network] {
        open(bench, rule, LONG);
        expected.extend(rule.keys());
    }
    let entries = bench.engine().entries().expect("the engine can be asked");
    let mut found: Vec<_> = entries.iter().map(|entry| entry.key).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
    for entry in entries {
        assert!(entry.remaining <= LONG && entry.remaining > LONG - Duration::from_secs(60), "{entry:?}");
    }
}

pub(crate) fn drift(bench: &mut dyn Bench) {
    for version in VERSIONS {
        open(bench, rule(version), LONG);
        let foreign = Rule { source: From::Everybody(OUTSIDE), ..rule(version) };
        let expected = rule(version).keys();
        assert_eq!(bench.engine().verify(&expected), Ok(Drift::default()));
        if bench.sabotage(&expected[0]) {
            is_stopped(bench, shot(version));
            let drift = bench.engine().verify(&expected).expect("the engine can be asked");
            assert_eq!(drift.missing, expected);
            let permits = rule(version).permits(&authority(), Transport::Udp);
            let again: Vec<_> =
                permits.into_iter().map(|permit| Operation::Extend { permit, lifetime: LONG }).collect();
            assert_eq!(bench.engine().apply(&again), [Ok(())]);
            passes(bench, shot(version));
        }
        open(bench, foreign, LONG);
        let drift = bench.engine().verify(&expected).expect("the engine can be asked");
        let looked = drift.foreign.is_empty() || drift.foreign == foreign.keys();
        assert!(drift.missing.is_empty() && looked, "{drift:?}");
        close(bench, foreign);
        close(bench, rule(version));
    }
}
