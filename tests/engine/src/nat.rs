//! Translation: what comes in, what goes out, and what does neither.

use std::time::Duration;

use middlebox::{Drift, Key, Operation, Permit};

use crate::world::{From, LONG, Rule, VERSIONS, Version, all_succeed, is_stopped, passes, udp};
use crate::{Bench, GATEWAY, Host, INSIDE, INSIDE_OTHER, OUTSIDE, OUTSIDE_OTHER, Place, Shot};

const MEDIA: u16 = 20000;
const FAR: u16 = 17000;
/// Of the gate.
const PORT: u16 = 40000;

fn rule(version: Version, source: From, destination: (Host, u16), range: u16) -> Rule {
    Rule { version, source, destination, range }
}

fn inbound(version: Version) -> Rule {
    rule(version, From::Anything(OUTSIDE), (INSIDE, MEDIA), 2)
}

fn outbound(version: Version) -> Rule {
    rule(version, From::Port(INSIDE, MEDIA), (OUTSIDE, FAR), 2)
}

/// From the phone outside to an outside port; it arrives at a port of the phone inside.
fn comes(version: Version, port: u16, media: u16) -> Shot {
    let shot = udp(version, (OUTSIDE, FAR), (GATEWAY, port));
    Shot { arrives: (shot.source, INSIDE.at(version, media)), ..shot }
}

/// From a port of the phone inside to one of the phone outside; it arrives from an outside port.
fn goes(version: Version, media: u16, far: u16, port: u16) -> Shot {
    let shot = udp(version, (INSIDE, media), (OUTSIDE, far));
    Shot { arrives: (GATEWAY.at(version, port), shot.destination), ..shot }
}

fn open(bench: &mut dyn Bench, rule: Rule, port: u16, lifetime: Duration) {
    let permits = rule.permits_behind(port).into_iter();
    let operations: Vec<_> = permits.map(|permit| Operation::Add { permit, lifetime }).collect();
    all_succeed(bench, &operations);
}

fn close(bench: &mut dyn Bench, rule: Rule, port: u16) {
    let operations: Vec<_> = keys(rule, port).into_iter().map(|key| Operation::Remove { key }).collect();
    all_succeed(bench, &operations);
}

fn keys(rule: Rule, port: u16) -> Vec<Key> {
    let mut keys: Vec<_> = rule.permits_behind(port).iter().map(Permit::key).collect();
    keys.sort();
    keys
}

pub(crate) fn inward(bench: &mut dyn Bench) {
    for version in VERSIONS {
        is_stopped(bench, comes(version, PORT, MEDIA));
        open(bench, inbound(version), PORT, LONG);
        passes(bench, comes(version, PORT, MEDIA));
        passes(bench, comes(version, PORT + 1, MEDIA + 1));
        is_stopped(bench, comes(version, PORT + 2, MEDIA + 2));
        // Only the outside address is open.
        is_stopped(bench, udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA)));
        close(bench, inbound(version), PORT);
        is_stopped(bench, comes(version, PORT, MEDIA));
        is_stopped(bench, comes(version, PORT + 1, MEDIA + 1));
    }
}

pub(crate) fn outward(bench: &mut dyn Bench) {
    for version in VERSIONS {
        is_stopped(bench, goes(version, MEDIA, FAR, PORT));
        open(bench, outbound(version), PORT, LONG);
        passes(bench, goes(version, MEDIA, FAR, PORT));
        passes(bench, goes(version, MEDIA + 1, FAR + 1, PORT + 1));
        for (media, far) in [(MEDIA, FAR + 1), (MEDIA + 1, FAR), (MEDIA + 2, FAR), (MEDIA, FAR + 2)] {
            is_stopped(bench, goes(version, media, far, PORT));
        }
        let other = udp(version, (INSIDE_OTHER, MEDIA), (OUTSIDE, FAR));
        is_stopped(bench, other);
        is_stopped(bench, comes(version, PORT, MEDIA));
        close(bench, outbound(version), PORT);
        is_stopped(bench, goes(version, MEDIA, FAR, PORT));
        is_stopped(bench, goes(version, MEDIA + 1, FAR + 1, PORT + 1));
    }
}

pub(crate) fn every_class(bench: &mut dyn Bench) {
    for version in VERSIONS {
        for source in [From::Port(OUTSIDE, FAR), From::Anything(OUTSIDE), From::Everybody(OUTSIDE)] {
            let rule = rule(version, source, (INSIDE, MEDIA), 1);
            is_stopped(bench, comes(version, PORT, MEDIA));
            open(bench, rule, PORT, LONG);
            passes(bench, comes(version, PORT, MEDIA));
            let from_other = |port| {
                let shot = udp(version, (OUTSIDE_OTHER, port), (GATEWAY, PORT));
                Shot { arrives: (shot.source, INSIDE.at(version, MEDIA)), ..shot }
            };
            let from_port = |port| {
                let shot = udp(version, (OUTSIDE, port), (GATEWAY, PORT));
                Shot { arrives: (shot.source, INSIDE.at(version, MEDIA)), ..shot }
            };
            match source {
                From::Port(..) => is_stopped(bench, from_port(FAR + 2)),
                From::Anything(_) | From::Everybody(_) => passes(bench, from_port(FAR + 2)),
            }
            match source {
                From::Everybody(_) => passes(bench, from_other(9)),
                From::Port(..) | From::Anything(_) => is_stopped(bench, from_other(9)),
            }
            close(bench, rule, PORT);
            is_stopped(bench, comes(version, PORT, MEDIA));
        }
    }
}

pub(crate) fn ports_are_separate(bench: &mut dyn Bench) {
    for version in VERSIONS {
        let other = rule(version, From::Anything(OUTSIDE), (INSIDE_OTHER, MEDIA), 2);
        open(bench, inbound(version), PORT, LONG);
        open(bench, other, PORT + 2, LONG);
        let to_other = Shot {
            arrives: (OUTSIDE.at(version, FAR), INSIDE_OTHER.at(version, MEDIA)),
            ..comes(version, PORT + 2, 0)
        };
        passes(bench, to_other);
        passes(bench, comes(version, PORT, MEDIA));
        close(bench, inbound(version), PORT);
        is_stopped(bench, comes(version, PORT, MEDIA));
        passes(bench, to_other);
        close(bench, other, PORT + 2);
    }
}

pub(crate) fn spoofed(bench: &mut dyn Bench) {
    for version in VERSIONS {
        open(bench, inbound(version), PORT, LONG);
        passes(bench, comes(version, PORT, MEDIA));
        is_stopped(bench, Shot { from: Place::Third, ..comes(version, PORT, MEDIA) });
    }
}

pub(crate) fn close_a_call(bench: &mut dyn Bench) {
    for version in VERSIONS {
        let (there, back) = (goes(version, MEDIA, FAR, PORT), comes(version, PORT, MEDIA));
        open(bench, inbound(version), PORT, LONG);
        open(bench, outbound(version), PORT, LONG);
        for _ in 0..3 {
            passes(bench, there);
            passes(bench, back);
        }
        close(bench, inbound(version), PORT);
        close(bench, outbound(version), PORT);
        for _ in 0..3 {
            is_stopped(bench, there);
            is_stopped(bench, back);
        }
    }
}

/// One phone inside sends to the outside place of another: what leaves by one rule and comes in by another turns round. Two
/// rules alone are not enough, and nothing is shown of an inside address.
pub(crate) fn turns_round(bench: &mut dyn Bench) {
    for version in VERSIONS {
        let outward = rule(version, From::Port(INSIDE_OTHER, MEDIA + 10), (GATEWAY, PORT), 2);
        let turned = |sender: u16, port: u16, media: u16| Shot {
            arrives: (GATEWAY.at(version, sender), INSIDE.at(version, media)),
            ..udp(version, (INSIDE_OTHER, MEDIA + 10 + sender - PORT - 2), (GATEWAY, port))
        };
        let shots = [0, 1].map(|offset| turned(PORT + 2 + offset, PORT + offset, MEDIA + offset));
        for source in [From::Port(GATEWAY, PORT + 2), From::Anything(GATEWAY), From::Everybody(GATEWAY)] {
            let inward = rule(version, source, (INSIDE, MEDIA), 2);
            open(bench, outward, PORT + 2, LONG);
            open(bench, inward, PORT, LONG);
            shots.into_iter().for_each(|shot| is_stopped(bench, shot));
            let both = outward.permits_behind(PORT + 2).into_iter().zip(inward.permits_behind(PORT));
            let permits: Vec<_> = both
                .map(|(leaves, comes)| crate::authority().hairpin(&leaves, &comes).expect("it leads there"))
                .collect();
            let lifetime = LONG;
            let add = |permit: &Permit| Operation::Add { permit: permit.clone(), lifetime };
            all_succeed(bench, &permits.iter().map(add).collect::<Vec<_>>());
            shots.into_iter().for_each(|shot| passes(bench, shot));
            is_stopped(bench, turned(PORT + 2, PORT + 1, MEDIA + 1));
            is_stopped(bench, turned(PORT + 4, PORT, MEDIA));
            is_stopped(bench, turned(PORT + 2, PORT + 4, MEDIA + 4));
            let back = udp(version, (INSIDE, MEDIA), (GATEWAY, PORT + 2));
            is_stopped(bench, Shot { arrives: (back.source, INSIDE_OTHER.at(version, MEDIA + 10)), ..back });
            let turned_keys: Vec<Key> = permits.iter().map(Permit::key).collect();
            let mut expected = [keys(outward, PORT + 2), keys(inward, PORT), turned_keys.clone()].concat();
            expected.sort();
            let entries = bench.engine().entries().expect("the engine can be asked");
            assert_eq!(entries.iter().map(|entry| entry.key).collect::<Vec<_>>(), expected);
            assert_eq!(bench.engine().verify(&expected), Ok(Drift::default()));
            let counters = bench.engine().counters(&turned_keys);
            assert!(
                counters.iter().all(|found| found.is_some_and(|counter| counter.packets == 10)),
                "{counters:?}"
            );
            let extend = |permit: &Permit| Operation::Extend { permit: permit.clone(), lifetime };
            all_succeed(bench, &permits.iter().map(extend).collect::<Vec<_>>());
            shots.into_iter().for_each(|shot| passes(bench, shot));
            all_succeed(
                bench,
                &turned_keys.iter().map(|key| Operation::Remove { key: *key }).collect::<Vec<_>>(),
            );
            shots.into_iter().for_each(|shot| is_stopped(bench, shot));
            close(bench, outward, PORT + 2);
            close(bench, inward, PORT);
            assert_eq!(bench.engine().entries().map(|entries| entries.len()), Ok(0));
        }
    }
}

pub(crate) fn lifetimes(bench: &mut dyn Bench) {
    for version in VERSIONS {
        for rule in [inbound(version), outbound(version)] {
            let shot = match rule.destination.0.place {
                Place::Inside => comes(version, PORT, MEDIA),
                Place::Outside | Place::Third => goes(version, MEDIA, FAR, PORT),
            };
            open(bench, rule, PORT, Duration::from_secs(1));
            passes(bench, shot);
            let extend = rule.permits_behind(PORT).into_iter();
            let extend: Vec<_> =
                extend.map(|permit| Operation::Extend { permit, lifetime: Duration::from_secs(2) }).collect();
            all_succeed(bench, &extend);
            bench.wait(Duration::from_millis(1200));
            passes(bench, shot);
            let counters = bench.engine().counters(&keys(rule, PORT));
            let packets: Vec<_> = counters.iter().map(|found| found.map(|counter| counter.packets)).collect();
            assert_eq!(packets, [Some(20), Some(0)], "each packet counts once");
            bench.wait(Duration::from_millis(1200));
            is_stopped(bench, shot);
            assert_eq!(bench.engine().entries().map(|entries| entries.len()), Ok(0));
        }
    }
}

pub(crate) fn lists(bench: &mut dyn Bench) {
    let mut expected = Vec::new();
    for version in VERSIONS {
        let exact = rule(version, From::Port(OUTSIDE, FAR), (INSIDE, MEDIA + 2), 1);
        let network = rule(version, From::Everybody(OUTSIDE), (INSIDE, MEDIA + 4), 2);
        let plain = rule(version, From::Port(OUTSIDE_OTHER, FAR), (INSIDE, MEDIA + 6), 1);
        for (rule, port) in
            [(inbound(version), PORT), (exact, PORT + 2), (network, PORT + 4), (outbound(version), PORT)]
        {
            open(bench, rule, port, LONG);
            expected.extend(keys(rule, port));
        }
        crate::world::open(bench, plain, LONG);
        expected.extend(plain.keys());
    }
    expected.sort();
    let entries = bench.engine().entries().expect("the engine can be asked");
    let found: Vec<_> = entries.iter().map(|entry| entry.key).collect();
    assert_eq!(found, expected);
    assert!(entries.iter().all(|entry| entry.remaining > LONG / 2 && entry.remaining <= LONG));
    assert_eq!(bench.engine().verify(&expected), Ok(Drift::default()));
}

/// The same packets, first with one outside port and then with another: in one batch, and the old one is named.
pub(crate) fn another_port(bench: &mut dyn Bench) {
    for version in VERSIONS {
        open(bench, outbound(version), PORT, LONG);
        let removed = keys(outbound(version), PORT).into_iter().map(|key| Operation::Remove { key });
        let permits = outbound(version).permits_behind(PORT + 2).into_iter();
        let added = permits.map(|permit| Operation::Add { permit, lifetime: LONG });
        let operations: Vec<_> = removed.chain(added).collect();
        all_succeed(bench, &operations);
        passes(bench, goes(version, MEDIA, FAR, PORT + 2));
        let found = bench.engine().verify(&keys(outbound(version), PORT + 2));
        assert_eq!(found, Ok(Drift::default()));
        close(bench, outbound(version), PORT + 2);
    }
}

pub(crate) fn drift(bench: &mut dyn Bench) {
    for version in VERSIONS {
        for (rule, shot) in [
            (inbound(version), comes(version, PORT, MEDIA)),
            (outbound(version), goes(version, MEDIA, FAR, PORT)),
        ] {
            open(bench, rule, PORT, LONG);
            let expected = keys(rule, PORT);
            assert_eq!(bench.engine().verify(&expected), Ok(Drift::default()));
            if bench.sabotage(&expected[0]) {
                is_stopped(bench, shot);
                let drift = bench.engine().verify(&expected).expect("the engine can be asked");
                assert_eq!(drift.missing, [expected[0]]);
                // What is left of it may be named, and goes first.
                let left = drift.foreign.into_iter().map(|key| Operation::Remove { key });
                let permits = rule.permits_behind(PORT).into_iter();
                let again = permits.map(|permit| Operation::Add { permit, lifetime: LONG });
                let operations: Vec<_> = left.chain(again).collect();
                all_succeed(bench, &operations);
                passes(bench, shot);
            }
            let other = keys(rule, PORT + 2);
            let drift = bench.engine().verify(&other).expect("the engine can be asked");
            assert_eq!(
                (drift.missing, drift.foreign),
                (other, expected),
                "another translation is another entry"
            );
            close(bench, rule, PORT);
            is_stopped(bench, shot);
        }
    }
}
