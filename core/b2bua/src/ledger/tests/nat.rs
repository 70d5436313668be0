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

#[test]
fn what_would_leave_from_another_place_than_was_told_is_as_good_as_refused() {
    let mut terms = terms(SourcePolicy::Address);
    terms.path[0].capabilities.nat = true;
    let mut bench = Bench::with(terms);
    bench.offered(Side::B, B, "30000").unwrap();
    let reserved = |port| {
        let network = "203.0.113.1/32".parse().unwrap();
        Tuple { network, protocol: midcom::Protocol::Udp, port, range: 2 }
    };
    let (lifetime, group) = (Lifetime(600), Gid(1));
    bench.asked();
    let first = bench.open.remove(0).id;
    let reply =
        Reply::Reserved { prid: Prid(1), group, lifetime, outside: Some(reserved(40_000)), inside: None };
    assert_eq!(
        bench.ledger.replied(bench.now, first, Ok(reply), &mut bench.ids, &mut bench.out),
        Progress::Ready
    );
    bench.answered(Side::A, A, "20000").unwrap();
    bench.asked();
    for (prid, port, means) in
        [(1, 40_000, Progress::Pending), (2, 40_002, Progress::Failed(Failure::LackOfPorts, 0))]
    {
        let id = bench.open.remove(0).id;
        let reply =
            Reply::Enabled { prid: Prid(prid), group, lifetime, outside: reserved(port), inside: None };
        assert_eq!(bench.ledger.replied(bench.now, id, Ok(reply), &mut bench.ids, &mut bench.out), means);
    }
    let closes = bench.asked();
    assert!(closes.contains(&"PLC 1 0".to_owned()) && closes.contains(&"PLC 2 0".to_owned()), "{closes:?}");
}
