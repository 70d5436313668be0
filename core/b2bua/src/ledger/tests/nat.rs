//! Behind a NAT: `docs/calls.md` §4, "NAT".

use super::*;

#[test]
fn what_leaves_is_in_the_group_of_what_comes_in() {
    // Two calls of one phone may have the same places inside: each stream has the outside place of its own reservation.
    let mut terms = terms(SourcePolicy::Address);
    terms.path[0].capabilities.nat = true;
    let mut bench = Bench::with(terms);
    bench.offered(Side::A, A, "20000 video:20010").unwrap();
    assert_eq!(bench.asked(), ["PRR 2", "PRR 2"]);
    assert_eq!(bench.settle(), [Progress::Ready]);
    bench.answered(Side::B, B, "30000 video:30010").unwrap();
    let all = [
        "PEA 1 in 10.0.0.7:30000-30001 < 192.0.2.7:*",
        "PEA 2 in 10.0.0.7:30010-30011 < 192.0.2.7:*",
        "PER out 10.0.0.7:30000-30001 > 192.0.2.7:20000-20001 gid=1",
        "PER out 10.0.0.7:30010-30011 > 192.0.2.7:20010-20011 gid=2",
    ];
    assert_eq!(bench.asked(), all);
}

/// A call from behind the NAT whose offer travels as 203.0.113.1:40000.
fn offered_from_inside() -> Bench {
    let mut terms = terms(SourcePolicy::Address);
    terms.path[0].capabilities.nat = true;
    let mut bench = Bench::with(terms);
    bench.offered(Side::B, B, "30000").unwrap();
    let (outside, lifetime) = (Some(seen(40_000)), Lifetime(600));
    let reserved = Reply::Reserved { prid: Prid(1), group: Gid(1), lifetime, outside, inside: None };
    assert_eq!(confirm(&mut bench, Ok(reserved)), Progress::Ready);
    bench
}

fn seen(port: u16) -> Tuple {
    let network = "203.0.113.1/32".parse().unwrap();
    Tuple { network, protocol: midcom::Protocol::Udp, port, range: 2 }
}

fn enabled(prid: u32, port: u16) -> Result<Reply, Failure> {
    let (prid, group, lifetime) = (Prid(prid), Gid(1), Lifetime(600));
    Ok(Reply::Enabled { prid, group, lifetime, outside: seen(port), inside: None })
}

/// Answers the oldest open request.
fn confirm(bench: &mut Bench, result: Result<Reply, Failure>) -> Progress {
    bench.asked();
    let id = bench.open.remove(0).id;
    bench.ledger.replied(bench.now, id, result, &mut bench.ids, &mut bench.out)
}

#[test]
fn what_would_leave_from_another_place_than_was_told_is_as_good_as_refused() {
    let mut bench = offered_from_inside();
    bench.answered(Side::A, A, "20000").unwrap();
    assert_eq!(confirm(&mut bench, enabled(1, 40_000)), Progress::Pending);
    assert_eq!(confirm(&mut bench, enabled(2, 40_002)), Progress::Failed(Failure::LackOfPorts, 0));
    let closes = bench.asked();
    assert!(closes.contains(&"PLC 1 0".to_owned()) && closes.contains(&"PLC 2 0".to_owned()), "{closes:?}");
}

#[test]
fn a_place_is_what_was_told_when_no_rule_says_so_any_more() {
    let mut bench = offered_from_inside();
    bench.answered(Side::A, A, "20000").unwrap();
    let refused = confirm(&mut bench, Err(Failure::NotAuthorizedForTransaction));
    assert_eq!(refused, Progress::Failed(Failure::NotAuthorizedForTransaction, 0));
    bench.asked();
    bench.open.clear();
    // Another phone answers.
    bench.answered(Side::A, "192.0.2.8", "20000").unwrap();
    assert_eq!(confirm(&mut bench, enabled(3, 40_002)), Progress::Failed(Failure::LackOfPorts, 0));
}

#[test]
fn what_is_described_again_may_be_seen_elsewhere() {
    let mut bench = offered_from_inside();
    bench.abandoned();
    bench.asked();
    bench.open.clear();
    bench.offered(Side::B, B, "30000").unwrap();
    let (outside, lifetime) = (Some(seen(40_002)), Lifetime(600));
    let reserved = Reply::Reserved { prid: Prid(2), group: Gid(2), lifetime, outside, inside: None };
    assert_eq!(confirm(&mut bench, Ok(reserved)), Progress::Ready);
}
