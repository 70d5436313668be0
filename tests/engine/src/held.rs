//! What is kept out where no range of ports is managed.

use crate::world::{From, LONG, Rule, VERSIONS, Version, close, is_stopped, open, passes, udp};
use crate::{Bench, INSIDE, INSIDE_OTHER, OUTSIDE, Shot};

const NEAR: u16 = 51000;
const FAR: u16 = 61000;

/// Both directions of a call, each from any port.
fn call(version: Version) -> [Rule; 2] {
    [
        Rule { version, source: From::Anything(OUTSIDE), destination: (INSIDE, NEAR), range: 2 },
        Rule { version, source: From::Anything(INSIDE), destination: (OUTSIDE, FAR), range: 2 },
    ]
}

fn shots(version: Version) -> [Shot; 2] {
    [udp(version, (OUTSIDE, FAR), (INSIDE, NEAR)), udp(version, (INSIDE, NEAR), (OUTSIDE, FAR))]
}

/// Everybody inside may send out, and answers to that are let in: without the hold both ends would go on.
pub(crate) fn stays_closed(bench: &mut dyn Bench) {
    for version in VERSIONS {
        call(version).into_iter().for_each(|rule| open(bench, rule, LONG));
        shots(version).into_iter().for_each(|shot| passes(bench, shot));
        call(version).into_iter().for_each(|rule| close(bench, rule));
        for _ in 0..2 {
            shots(version).into_iter().for_each(|shot| is_stopped(bench, shot));
        }
        // From another port of the same phone as well.
        is_stopped(bench, udp(version, (INSIDE, NEAR + 4), (OUTSIDE, FAR)));
    }
}

pub(crate) fn new_call_wins(bench: &mut dyn Bench) {
    for version in VERSIONS {
        for _ in 0..2 {
            call(version).into_iter().for_each(|rule| open(bench, rule, LONG));
            shots(version).into_iter().for_each(|shot| passes(bench, shot));
            call(version).into_iter().for_each(|rule| close(bench, rule));
            shots(version).into_iter().for_each(|shot| is_stopped(bench, shot));
        }
    }
}

/// Other ports, other phones, and the port of a pair on which nothing was sent: the administrator lets them out.
pub(crate) fn others_pass(bench: &mut dyn Bench) {
    for version in VERSIONS {
        call(version).into_iter().for_each(|rule| open(bench, rule, LONG));
        shots(version).into_iter().for_each(|shot| passes(bench, shot));
        call(version).into_iter().for_each(|rule| close(bench, rule));
        for (from, to) in [((INSIDE, NEAR), FAR + 1), ((INSIDE, NEAR), 53), ((INSIDE_OTHER, NEAR), FAR)] {
            passes(bench, udp(version, from, (OUTSIDE, to)));
        }
    }
}
