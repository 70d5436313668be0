//! Reservations where wildcards are not to be had: `docs/calls.md` §2.

use super::*;

#[test]
fn a_refused_wildcard_is_reserved_and_enabled_on_the_answer() {
    for refusal in [Failure::WildcardNotSupported, Failure::Conflict] {
        let mut bench = Bench::new(SourcePolicy::Realm);
        bench.offered(Side::A, A, "20000").unwrap();
        assert_eq!(bench.refuse(refusal), Progress::Pending);
        assert_eq!(bench.asked(), ["PRR 2"]);
        assert_eq!(bench.reply(), Progress::Ready);
        bench.answered(Side::B, B, "30000").unwrap();
        assert_eq!(bench.asked()[1], "PER in 10.0.0.7:30000-30001 < 192.0.2.0/24:* gid=1");
        bench.close();
        bench.settle();
        assert!(bench.toy.rules.is_empty());
        assert!(bench.ledger.is_closed());
    }
}

#[test]
fn without_the_capability_it_is_reserved_at_once() {
    let mut terms = terms(SourcePolicy::Address);
    terms.path[0].capabilities.internal_wildcards = false;
    let mut bench = Bench::with(terms);
    bench.offered(Side::A, A, "20000").unwrap();
    assert_eq!(bench.asked(), ["PRR 2"]);
    assert_eq!(bench.reply(), Progress::Ready);
    assert_eq!(bench.answered(Side::B, B, "30000"), Ok(Step::Wait));
    let both =
        ["PEA 1 out 10.0.0.7:* > 192.0.2.7:20000-20001", "PER in 10.0.0.7:30000-30001 < 192.0.2.7:* gid=1"];
    assert_eq!(bench.asked(), both);
    assert_eq!((bench.reply(), bench.reply()), (Progress::Pending, Progress::Ready));
    bench.completed();
    assert_eq!(bench.asked(), [""; 0]);
}

#[test]
fn realm_becomes_address_and_address_strict_as_capabilities_want() {
    let mut terms = terms(SourcePolicy::Realm);
    terms.path[0].capabilities.internal_wildcards = false;
    terms.path[0].capabilities.port_wildcards = false;
    let mut bench = Bench::with(terms);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    bench.answered(Side::B, B, "30000").unwrap();
    let both = [
        "PEA 1 out 10.0.0.7:30000-30001 > 192.0.2.7:20000-20001",
        "PER in 10.0.0.7:30000-30001 < 192.0.2.7:20000-20001 gid=1",
    ];
    assert_eq!(bench.asked(), both);
}

#[test]
fn a_wildcard_refused_on_the_answer_becomes_the_peers_address() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    bench.answered(Side::B, B, "30000").unwrap();
    assert_eq!(bench.refuse(Failure::Conflict), Progress::Pending);
    assert_eq!(bench.asked(), ["PER in 10.0.0.7:30000-30001 < 192.0.2.7:* gid=1"]);
    assert_eq!(bench.reply(), Progress::Ready);
    bench.completed();
    assert_eq!(bench.asked(), [""; 0], "what stands in for the wildcard stays");
    assert_eq!(bench.toy.rules.len(), 2);
}

#[test]
fn refusals_by_several_networks_need_one_rule() {
    let mut terms = terms(SourcePolicy::Realm);
    terms.realms.b = realm(&["10.0.0.0/24", "10.1.0.0/24"], SourcePolicy::Realm);
    let mut bench = Bench::with(terms);
    bench.offered(Side::A, A, "20000").unwrap();
    assert_eq!(bench.refuse(Failure::WildcardNotSupported), Progress::Pending);
    assert_eq!(bench.refuse(Failure::WildcardNotSupported), Progress::Pending);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.open.len(), 1);
    assert_eq!(bench.reply(), Progress::Ready);
}

#[test]
fn a_reservation_that_is_gone_is_made_up_for_once() {
    let mut terms = terms(SourcePolicy::Address);
    terms.path[0].capabilities.internal_wildcards = false;
    let mut bench = Bench::with(terms);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    bench.answered(Side::B, B, "30000").unwrap();
    assert_eq!(bench.refuse(Failure::NoSuchRule), Progress::Pending);
    assert!(bench.asked().contains(&"PER out 10.0.0.7:* > 192.0.2.7:20000-20001 gid=1".to_owned()));
    assert_eq!(bench.reply(), Progress::Pending);
    let failure = Failure::NotAuthorizedForTransaction;
    assert_eq!(bench.refuse(failure), Progress::Failed(failure, 0));
}

#[test]
fn a_refused_enable_of_a_reservation_closes_the_reservation() {
    let mut terms = terms(SourcePolicy::Address);
    terms.path[0].capabilities.internal_wildcards = false;
    let mut bench = Bench::with(terms);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    bench.answered(Side::B, B, "30000").unwrap();
    assert_eq!(bench.refuse(Failure::Conflict), Progress::Failed(Failure::Conflict, 0));
    bench.close();
    assert!(bench.settle().contains(&Progress::Closed));
    assert!(bench.toy.rules.is_empty());
}

#[test]
fn an_unused_reservation_closes_when_the_exchange_is_complete() {
    let mut terms = terms(SourcePolicy::Address);
    terms.path[0].capabilities.internal_wildcards = false;
    let mut bench = Bench::with(terms);
    bench.offered(Side::A, A, "20000 video:20002").unwrap();
    bench.settle();
    bench.answered(Side::B, B, "30000 video:0").unwrap();
    bench.settle();
    bench.completed();
    assert_eq!(bench.asked(), ["PLC 2 0"]);
}

#[test]
fn no_early_media_reserves_first() {
    let mut terms = terms(SourcePolicy::Realm);
    let quiet = Realm { early_media: false, ..Realm::clone(&terms.realms.a) };
    terms.realms.a = Arc::new(quiet);
    let mut bench = Bench::with(terms);
    bench.offered(Side::A, A, "20000").unwrap();
    assert_eq!(bench.asked(), ["PRR 2"]);
    bench.settle();
    bench.answered(Side::B, B, "30000").unwrap();
    assert_eq!(bench.asked()[0], "PEA 1 out 10.0.0.0/24:* > 192.0.2.7:20000-20001");
}

#[test]
fn a_group_that_has_ended_is_left_out() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    bench.answered(Side::B, B, "30000").unwrap();
    assert_eq!(bench.refuse(Failure::NoSuchGroup), Progress::Pending);
    assert_eq!(bench.asked(), ["PER in 10.0.0.7:30000-30001 < 192.0.2.0/24:*"]);
    assert_eq!(bench.refuse(Failure::NoSuchGroup), Progress::Failed(Failure::NoSuchGroup, 0));
}
