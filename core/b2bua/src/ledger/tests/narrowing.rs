//! Narrowing: `docs/pinholes.md`, "from SDP to rules".

use super::*;

#[test]
fn the_exact_rule_comes_first_and_then_the_wide_one_closes() {
    let mut bench = Bench::new(SourcePolicy::Address);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    bench.answered(Side::B, B, "30000").unwrap();
    assert_eq!(bench.asked(), ["PER in 10.0.0.7:30000-30001 < 192.0.2.7:* gid=1"]);
    assert_eq!(bench.settle(), [Progress::Ready]);
    bench.completed();
    assert_eq!(bench.asked(), ["PER out 10.0.0.7:* > 192.0.2.7:20000-20001 gid=1"]);
    assert_eq!(bench.reply(), Progress::Pending);
    assert_eq!(bench.asked(), ["PLC 1 0"]);
    assert_eq!(bench.reply(), Progress::Pending);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.ledger.open_rules(), 2);
}

#[test]
fn strict_names_the_ports() {
    let mut bench = Bench::new(SourcePolicy::Strict);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    bench.answered(Side::B, B, "30000").unwrap();
    assert_eq!(bench.asked(), ["PER in 10.0.0.7:30000-30001 < 192.0.2.7:20000-20001 gid=1"]);
    bench.settle();
    bench.completed();
    assert_eq!(bench.asked(), ["PER out 10.0.0.7:30000-30001 > 192.0.2.7:20000-20001 gid=1"]);
}

#[test]
fn strict_splits_a_pair_whose_peer_is_none() {
    let mut bench = Bench::new(SourcePolicy::Strict);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    bench.answered(Side::B, B, "30001").unwrap();
    bench.settle();
    bench.completed();
    let split =
        ["PER out 10.0.0.7:30001 > 192.0.2.7:20000 gid=1", "PER out 10.0.0.7:30002 > 192.0.2.7:20001 gid=1"];
    assert_eq!(bench.asked(), split);
    let _ = bench.reply();
    assert_eq!(bench.asked(), [""; 0], "the wide rule stays until both are there");
    let _ = bench.reply();
    assert_eq!(bench.asked(), ["PLC 1 0"]);
}

#[test]
fn agreed_rtcp_mux_leaves_one_port() {
    for source in [SourcePolicy::Realm, SourcePolicy::Address] {
        let mut bench = Bench::new(source);
        bench.offered(Side::A, A, "20000,mux").unwrap();
        assert_eq!(bench.asked(), ["PER out 10.0.0.0/24:* > 192.0.2.7:20000-20001"], "until agreed");
        bench.settle();
        bench.answered(Side::B, B, "30000,mux").unwrap();
        assert!(bench.asked()[0].starts_with("PER in 10.0.0.7:30000 < "));
        bench.settle();
        bench.completed();
        assert!(bench.asked()[0].ends_with(" > 192.0.2.7:20000 gid=1"));
        bench.settle();
        let left: Vec<_> = bench.toy.rules.values().map(|rule| rule.enabled.unwrap().0.range).collect();
        assert_eq!(left, [1, 1]);
        // And it stays so when the stream is offered again.
        assert_eq!(bench.offered(Side::A, A, "20000,mux"), Ok(Step::Ready));
        assert_eq!(bench.answered(Side::B, B, "30000,mux"), Ok(Step::Ready));
        bench.completed();
        assert_eq!(bench.asked(), [""; 0]);
    }
}

#[test]
fn offered_but_not_agreed_rtcp_mux_keeps_both_ports() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.exchange(Side::A, (A, "20000,mux"), (B, "30000"));
    let ranges: Vec<_> = bench.toy.rules.values().map(|rule| rule.enabled.unwrap().0.range).collect();
    assert_eq!(ranges, [2, 2]);
}

#[test]
fn refused_by_policy_the_stream_is_lost() {
    let mut bench = Bench::new(SourcePolicy::Address);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    bench.answered(Side::B, B, "30000").unwrap();
    bench.settle();
    bench.completed();
    let loss = Loss { stream: 0, crucial: true, failure: Some(Failure::Conflict), dialogs: None };
    assert_eq!(bench.refuse(Failure::Conflict), Progress::Lost(loss));
}

#[test]
fn refused_for_technical_reasons_the_wide_rule_stays() {
    let mut bench = Bench::new(SourcePolicy::Address);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    bench.answered(Side::B, B, "30000").unwrap();
    bench.settle();
    bench.completed();
    assert_eq!(bench.refuse(Failure::NoResources), Progress::StaysWide(Failure::NoResources, 0));
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.toy.rules.len(), 2);
}

#[test]
fn a_wide_rule_that_ends_while_it_is_narrowed_is_no_loss() {
    let mut bench = Bench::new(SourcePolicy::Address);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    bench.answered(Side::B, B, "30000").unwrap();
    bench.settle();
    bench.completed();
    bench.asked();
    assert_eq!(bench.event(1, 0), EventEffect::Ignored);
    let result = Ok(confirmed(9, "10.0.0.7/32"));
    let id = bench.open.remove(0).id;
    assert_eq!(
        bench.ledger.replied(bench.now, id, result, &mut bench.ids, &mut bench.out),
        Progress::Pending
    );
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.ledger.open_rules(), 2);
}

#[test]
fn without_the_wide_rule_a_refusal_is_a_loss_whatever_its_reason() {
    let mut bench = Bench::new(SourcePolicy::Address);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    bench.answered(Side::B, B, "30000").unwrap();
    bench.settle();
    bench.completed();
    bench.asked();
    assert_eq!(bench.event(1, 0), EventEffect::Ignored);
    let loss = Loss { stream: 0, crucial: true, failure: Some(Failure::NoResources), dialogs: None };
    assert_eq!(bench.refuse(Failure::NoResources), Progress::Lost(loss));
}
