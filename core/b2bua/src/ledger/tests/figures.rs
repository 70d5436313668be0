//! Figures 3 to 5 and 8 of the draft: the table of `docs/calls.md` §2 in both call directions.

use super::*;

#[test]
fn figure_3_from_outside() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    assert_eq!(bench.offered(Side::A, A, "20000"), Ok(Step::Wait));
    assert_eq!(bench.asked(), ["PER out 10.0.0.0/24:* > 192.0.2.7:20000-20001"]);
    assert_eq!(bench.reply(), Progress::Ready);
    assert_eq!(bench.answered(Side::B, B, "30000"), Ok(Step::Wait));
    assert_eq!(bench.asked(), ["PER in 10.0.0.7:30000-30001 < 192.0.2.0/24:* gid=1"]);
    assert_eq!(bench.reply(), Progress::Ready);
    bench.completed();
    assert_eq!(bench.asked(), [""; 0], "with source = realm nothing is narrowed");
    bench.close();
    assert_eq!(bench.asked(), ["PLC 1 0", "PLC 2 0"]);
    assert_eq!(bench.reply(), Progress::Pending);
    assert_eq!(bench.reply(), Progress::Closed);
    assert!(bench.toy.rules.is_empty());
}

#[test]
fn figure_3_from_inside() {
    let mut terms = terms(SourcePolicy::Address);
    terms.path[0].inside = Side::A;
    let mut bench = Bench::with(terms);
    bench.offered(Side::A, A, "20000").unwrap();
    assert_eq!(bench.asked(), ["PER in 192.0.2.7:20000-20001 < 10.0.0.0/24:*"]);
    bench.settle();
    bench.answered(Side::B, B, "30000").unwrap();
    assert_eq!(bench.asked(), ["PER out 192.0.2.7:* > 10.0.0.7:30000-30001 gid=1"]);
    bench.settle();
    bench.completed();
    assert_eq!(bench.asked(), ["PER in 192.0.2.7:20000-20001 < 10.0.0.7:* gid=1"]);
}

#[test]
fn figure_4_first_rule_refused() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.offered(Side::A, A, "20000").unwrap();
    assert_eq!(
        bench.refuse(Failure::NotAuthorizedForTransaction),
        Progress::Failed(Failure::NotAuthorizedForTransaction, 0)
    );
    bench.close();
    assert_eq!(bench.asked(), [""; 0]);
    assert!(bench.ledger.is_closed());
}

#[test]
fn figure_5_second_rule_refused() {
    let mut bench = Bench::new(SourcePolicy::Address);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    bench.answered(Side::B, B, "30000").unwrap();
    assert_eq!(bench.refuse(Failure::Conflict), Progress::Failed(Failure::Conflict, 0));
    assert_eq!(bench.asked(), [""; 0], "PID_A closes when the call says so");
    bench.close();
    assert_eq!(bench.asked(), ["PLC 1 0"]);
    assert_eq!(bench.settle(), [Progress::Closed]);
}

#[test]
fn figure_8_revocation() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.exchange(Side::A, (A, "20000"), (B, "30000"));
    let loss = Loss { stream: 0, crucial: true, failure: None, dialogs: None };
    assert_eq!(bench.event(2, 0), EventEffect::Lost(loss));
    assert_eq!(bench.asked(), [""; 0], "BYE goes first");
    bench.close();
    assert_eq!(bench.asked(), ["PLC 1 0"]);
    assert_eq!(bench.settle(), [Progress::Closed]);
}

#[test]
fn one_rule_for_each_network_of_the_realm() {
    let mut terms = terms(SourcePolicy::Realm);
    terms.realms.b = realm(&["10.0.0.0/24", "2001:db8::/64", "10.1.0.0/24"], SourcePolicy::Realm);
    let mut bench = Bench::with(terms);
    bench.offered(Side::A, A, "20000").unwrap();
    let expected =
        ["PER out 10.0.0.0/24:* > 192.0.2.7:20000-20001", "PER out 10.1.0.0/24:* > 192.0.2.7:20000-20001"];
    assert_eq!(bench.asked(), expected);
    assert_eq!((bench.reply(), bench.reply()), (Progress::Pending, Progress::Ready));
}

#[test]
fn ports_that_are_no_even_pair_have_a_rule_each() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.offered(Side::A, A, "20001").unwrap();
    let odd = ["PER out 10.0.0.0/24:* > 192.0.2.7:20001", "PER out 10.0.0.0/24:* > 192.0.2.7:20002"];
    assert_eq!(bench.asked(), odd);
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.offered(Side::A, A, "20000,rtcp=20008").unwrap();
    let apart = ["PER out 10.0.0.0/24:* > 192.0.2.7:20000", "PER out 10.0.0.0/24:* > 192.0.2.7:20008"];
    assert_eq!(bench.asked(), apart);
}

#[test]
fn all_streams_of_a_step_are_one_unit() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.offered(Side::A, A, "20000 video:20002 video:20004").unwrap();
    assert_eq!(bench.asked().len(), 3, "in parallel");
    assert_eq!(bench.reply(), Progress::Pending);
    assert_eq!(bench.refuse(Failure::NoResources), Progress::Failed(Failure::NoResources, 1));
    assert_eq!(bench.asked(), ["PLC 1 0"]);
    assert_eq!(bench.reply(), Progress::Stale, "the third is confirmed too late");
    assert_eq!(bench.asked(), ["PLC 2 0"]);
    bench.close();
    assert_eq!(bench.settle(), [Progress::Closed]);
    assert!(bench.toy.rules.is_empty());
}

#[test]
fn several_middleboxes_all_or_nothing() {
    let mut terms = terms(SourcePolicy::Realm);
    let second = Crossing { middlebox: MiddleboxId(1), inside: Side::A, ..terms.path[0] };
    terms.path.push(second);
    let mut bench = Bench::with(terms);
    bench.offered(Side::A, A, "20000").unwrap();
    let both =
        ["PER out 10.0.0.0/24:* > 192.0.2.7:20000-20001", "PER in 192.0.2.7:20000-20001 < 10.0.0.0/24:*"];
    assert_eq!(bench.asked(), both);
    assert_eq!(bench.open[1].middlebox, MiddleboxId(1));
    assert_eq!(bench.reply(), Progress::Pending);
    assert_eq!(bench.refuse(Failure::NoSession), Progress::Failed(Failure::NoSession, 0));
    assert_eq!(bench.asked(), ["PLC 1 0"]);
    assert_eq!(bench.open[0].middlebox, MiddleboxId(0));
}

#[test]
fn without_a_middlebox_nothing_waits_but_everything_is_checked() {
    let mut terms = terms(SourcePolicy::Address);
    terms.path.clear();
    let mut bench = Bench::with(terms);
    assert_eq!(bench.offered(Side::A, A, "20000"), Ok(Step::Ready));
    let refusal = bench.answered(Side::B, "10.9.9.9", "30000").unwrap_err();
    assert_eq!(refusal.to_string(), "stream 1 (audio): 10.9.9.9 is outside the media networks");
    bench.close();
    assert!(bench.ledger.is_closed());
}

#[test]
fn a_refused_description_asks_nothing() {
    let mut bench = Bench::new(SourcePolicy::Address);
    assert!(bench.offered(Side::A, A, "20000 video:80").is_err());
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.ledger.open_rules(), 0);
}

#[test]
fn offer_in_the_200() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.offered(Side::B, B, "30000").unwrap();
    assert_eq!(bench.asked(), ["PER in 10.0.0.7:30000-30001 < 192.0.2.0/24:*"]);
    bench.settle();
    bench.answered(Side::A, A, "20000").unwrap();
    assert_eq!(bench.asked(), ["PER out 10.0.0.0/24:* > 192.0.2.7:20000-20001 gid=1"]);
}

#[test]
fn a_closed_ledger_opens_nothing() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.close();
    assert_eq!(bench.offered(Side::A, A, "20000"), Ok(Step::Wait));
    assert_eq!(bench.asked(), [""; 0]);
}

#[test]
fn a_call_with_two_rules_is_small() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.exchange(Side::A, (A, "20000"), (B, "30000"));
    let size = size_of::<Ledger>() + bench.ledger.rules.capacity() * size_of::<Rule>();
    println!("ledger {} B, rule {} B, together {size} B", size_of::<Ledger>(), size_of::<Rule>());
    assert!(size < 1000, "{size} bytes");
}
