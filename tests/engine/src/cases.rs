//! What passes and what does not.

use middlebox::{EngineFailure, Operation, Permit, Transport};

use crate::world::{
    From, LONG, Rule, VERSIONS, Version, all_succeed, authority, close, foreign_authority, is_stopped, open,
    open_for, passes, udp,
};
use crate::{Bench, Host, INSIDE, INSIDE_OTHER, OUTSIDE, OUTSIDE_OTHER, Place, Shot, THIRD};

const MEDIA: u16 = 20000;
const FAR: u16 = 17000;

fn rule(version: Version, source: From, destination: (Host, u16), range: u16) -> Rule {
    Rule { version, source, destination, range }
}

fn inbound(version: Version) -> Rule {
    rule(version, From::Anything(OUTSIDE), (INSIDE, MEDIA), 2)
}

fn outbound(version: Version) -> Rule {
    rule(version, From::Anything(INSIDE), (OUTSIDE, FAR), 2)
}

pub(crate) fn opens_and_closes(bench: &mut dyn Bench) {
    for version in VERSIONS {
        let shot = udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA));
        is_stopped(bench, shot);
        open(bench, inbound(version), LONG);
        passes(bench, shot);
        close(bench, inbound(version));
        is_stopped(bench, shot);
        open(bench, inbound(version), LONG);
        passes(bench, shot);
    }
}

pub(crate) fn every_class(bench: &mut dyn Bench) {
    for version in VERSIONS {
        for (source, range) in [
            (From::Port(OUTSIDE, FAR), 1),
            (From::Port(OUTSIDE, FAR), 2),
            (From::Anything(OUTSIDE), 1),
            (From::Anything(OUTSIDE), 2),
            (From::Everybody(OUTSIDE), 1),
            (From::Everybody(OUTSIDE), 2),
        ] {
            let rule = rule(version, source, (INSIDE, MEDIA), range);
            is_stopped(bench, udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA)));
            open(bench, rule, LONG);
            passes(bench, udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA)));
            close(bench, rule);
            is_stopped(bench, udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA)));
        }
    }
}

pub(crate) fn pair_is_two_ports(bench: &mut dyn Bench) {
    for version in VERSIONS {
        open(bench, inbound(version), LONG);
        for (port, open) in [(MEDIA - 1, false), (MEDIA, true), (MEDIA + 1, true), (MEDIA + 2, false)] {
            let shot = udp(version, (OUTSIDE, FAR), (INSIDE, port));
            if open { passes(bench, shot) } else { is_stopped(bench, shot) }
        }
        let odd = rule(version, From::Anything(OUTSIDE), (INSIDE_OTHER, MEDIA + 1), 4);
        open(bench, odd, LONG);
        for port in MEDIA + 1..=MEDIA + 4 {
            passes(bench, udp(version, (OUTSIDE, FAR), (INSIDE_OTHER, port)));
        }
        is_stopped(bench, udp(version, (OUTSIDE, FAR), (INSIDE_OTHER, MEDIA)));
        is_stopped(bench, udp(version, (OUTSIDE, FAR), (INSIDE_OTHER, MEDIA + 5)));
    }
}

pub(crate) fn exact_is_not_crossed(bench: &mut dyn Bench) {
    for version in VERSIONS {
        open(bench, rule(version, From::Port(OUTSIDE, FAR), (INSIDE, MEDIA), 2), LONG);
        passes(bench, udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA)));
        passes(bench, udp(version, (OUTSIDE, FAR + 1), (INSIDE, MEDIA + 1)));
        is_stopped(bench, udp(version, (OUTSIDE, FAR + 1), (INSIDE, MEDIA)));
        is_stopped(bench, udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA + 1)));
        is_stopped(bench, udp(version, (OUTSIDE, FAR + 2), (INSIDE, MEDIA)));
    }
}

pub(crate) fn other_hosts_stay_out(bench: &mut dyn Bench) {
    for version in VERSIONS {
        open(bench, inbound(version), LONG);
        is_stopped(bench, udp(version, (OUTSIDE_OTHER, FAR), (INSIDE, MEDIA)));
        is_stopped(bench, udp(version, (OUTSIDE, FAR), (INSIDE_OTHER, MEDIA)));
    }
}

pub(crate) fn network_is_its_members(bench: &mut dyn Bench) {
    for version in VERSIONS {
        open(bench, rule(version, From::Everybody(OUTSIDE), (INSIDE, MEDIA), 2), LONG);
        passes(bench, udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA)));
        passes(bench, udp(version, (OUTSIDE_OTHER, 9), (INSIDE, MEDIA + 1)));
        is_stopped(bench, udp(version, (THIRD, FAR), (INSIDE, MEDIA)));
        is_stopped(bench, udp(version, (OUTSIDE, FAR), (INSIDE_OTHER, MEDIA)));
        open(bench, rule(version, From::Everybody(INSIDE), (OUTSIDE, FAR), 2), LONG);
        passes(bench, udp(version, (INSIDE_OTHER, MEDIA), (OUTSIDE, FAR)));
        is_stopped(bench, udp(version, (THIRD, MEDIA), (OUTSIDE, FAR)));
    }
}

pub(crate) fn spoofed_source(bench: &mut dyn Bench) {
    for version in VERSIONS {
        for source in [From::Port(OUTSIDE, FAR), From::Anything(OUTSIDE), From::Everybody(OUTSIDE)] {
            let rule = rule(version, source, (INSIDE, MEDIA), 1);
            open(bench, rule, LONG);
            let honest = udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA));
            passes(bench, honest);
            is_stopped(bench, Shot { from: Place::Third, ..honest });
            close(bench, rule);
        }
    }
}

pub(crate) fn directions_are_separate(bench: &mut dyn Bench) {
    for version in VERSIONS {
        open(bench, inbound(version), LONG);
        passes(bench, udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA)));
        is_stopped(bench, udp(version, (INSIDE, MEDIA), (OUTSIDE, FAR)));
        close(bench, inbound(version));
        open(bench, outbound(version), LONG);
        passes(bench, udp(version, (INSIDE, MEDIA), (OUTSIDE, FAR)));
        is_stopped(bench, udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA)));
    }
}

pub(crate) fn close_under_fire(bench: &mut dyn Bench) {
    for version in VERSIONS {
        let there = udp(version, (INSIDE, MEDIA), (OUTSIDE, FAR));
        let back = udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA));
        open(bench, inbound(version), LONG);
        open(bench, outbound(version), LONG);
        for _ in 0..3 {
            passes(bench, there);
            passes(bench, back);
        }
        close(bench, inbound(version));
        close(bench, outbound(version));
        for _ in 0..3 {
            is_stopped(bench, there);
            is_stopped(bench, back);
        }
    }
}

pub(crate) fn unmanaged_is_untouched(bench: &mut dyn Bench) {
    for version in VERSIONS {
        passes(bench, udp(version, (INSIDE, 5353), (OUTSIDE, 53)));
        is_stopped(bench, udp(version, (INSIDE, MEDIA), (OUTSIDE, 53)));
        is_stopped(bench, udp(version, (INSIDE, 5353), (OUTSIDE, FAR)));
        is_stopped(bench, udp(version, (OUTSIDE_OTHER, 53), (INSIDE, 5354)));
    }
}

pub(crate) fn closing_is_exact(bench: &mut dyn Bench) {
    for version in VERSIONS {
        let other = rule(version, From::Anything(OUTSIDE), (INSIDE, MEDIA + 2), 2);
        let same_port = rule(version, From::Everybody(OUTSIDE), (INSIDE, MEDIA), 2);
        for rule in [inbound(version), other, same_port] {
            open(bench, rule, LONG);
        }
        close(bench, inbound(version));
        passes(bench, udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA + 2)));
        passes(bench, udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA)));
        close(bench, same_port);
        is_stopped(bench, udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA)));
        passes(bench, udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA + 2)));
    }
}

pub(crate) fn refusal_is_single(bench: &mut dyn Bench) {
    for version in VERSIONS {
        let strange = rule(version, From::Everybody(THIRD), (INSIDE, MEDIA + 2), 2);
        let add = |permit: Permit| Operation::Add { permit, lifetime: LONG };
        let before = inbound(version).permits(&authority(), Transport::Udp).into_iter().map(add);
        let refused = strange.permits(&foreign_authority(), Transport::Udp).into_iter().map(add);
        let after = outbound(version).permits(&authority(), Transport::Udp).into_iter().map(add);
        let operations: Vec<_> = before.chain(refused).chain(after).collect();
        let results = bench.engine().apply(&operations);
        assert_eq!(results, [Ok(()), Err(EngineFailure::Unsupported), Ok(())], "each result stands alone");
        passes(bench, udp(version, (OUTSIDE, FAR), (INSIDE, MEDIA)));
        passes(bench, udp(version, (INSIDE, MEDIA), (OUTSIDE, FAR)));
        is_stopped(bench, udp(version, (THIRD, FAR), (INSIDE, MEDIA + 2)));
    }
}

pub(crate) fn remove_missing(bench: &mut dyn Bench) {
    for version in VERSIONS {
        open(bench, outbound(version), LONG);
        close(bench, inbound(version));
        passes(bench, udp(version, (INSIDE, MEDIA), (OUTSIDE, FAR)));
        // Together with an operation that matters: the missing one must not take it along.
        let mut operations: Vec<_> = inbound(version).keys().iter().map(remove).collect();
        operations.extend(outbound(version).keys().iter().map(remove));
        all_succeed(bench, &operations);
        is_stopped(bench, udp(version, (INSIDE, MEDIA), (OUTSIDE, FAR)));
    }
}

fn remove(key: &middlebox::Key) -> Operation {
    Operation::Remove { key: *key }
}

pub(crate) fn large_batch(bench: &mut dyn Bench) {
    let ports = (16384..32000).step_by(2);
    let rules: Vec<_> =
        ports.map(|port| rule(Version::V4, From::Anything(OUTSIDE), (INSIDE, port), 2)).collect();
    let permits = rules.iter().flat_map(|rule| rule.permits(&authority(), Transport::Udp));
    let operations: Vec<_> = permits.map(|permit| Operation::Add { permit, lifetime: LONG }).collect();
    all_succeed(bench, &operations);
    for port in [16384, 20001, 31999] {
        passes(bench, udp(Version::V4, (OUTSIDE, FAR), (INSIDE, port)));
    }
    let operations: Vec<_> =
        rules.iter().flat_map(|rule| rule.keys()).map(|key| Operation::Remove { key }).collect();
    all_succeed(bench, &operations);
    for port in [16384, 20001, 31999] {
        is_stopped(bench, udp(Version::V4, (OUTSIDE, FAR), (INSIDE, port)));
    }
    assert_eq!(bench.engine().entries().map(|entries| entries.len()), Ok(0));
}

pub(crate) fn tcp_answers(bench: &mut dyn Bench) {
    if !bench.tcp() {
        return;
    }
    for version in VERSIONS {
        let rule = rule(version, From::Anything(OUTSIDE), (INSIDE, MEDIA), 1);
        let tcp = |shot: Shot, opens| Shot { transport: Transport::Tcp, opens, ..shot };
        let there = udp(version, (OUTSIDE, 40000), (INSIDE, MEDIA));
        is_stopped(bench, tcp(there, true));
        open_for(bench, rule, Transport::Tcp, LONG);
        passes(bench, tcp(there, true));
        passes(bench, tcp(udp(version, (INSIDE, MEDIA), (OUTSIDE, 40000)), false));
        passes(bench, tcp(there, false));
        is_stopped(bench, tcp(udp(version, (OUTSIDE_OTHER, 40000), (INSIDE, MEDIA)), true));
        is_stopped(bench, there);
        // The firewall around lets the inside open what it likes, so the way back is tried from the other side.
        let outbound = Rule { range: 1, ..outbound(version) };
        let back = udp(version, (OUTSIDE, FAR), (INSIDE, 40000));
        is_stopped(bench, tcp(back, false));
        open_for(bench, outbound, Transport::Tcp, LONG);
        passes(bench, tcp(back, false));
        is_stopped(bench, tcp(back, true));
    }
}
