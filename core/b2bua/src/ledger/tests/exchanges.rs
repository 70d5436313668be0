//! Previews, re-INVITEs, holds: `docs/calls.md` §4.

use super::*;

fn established(source: SourcePolicy) -> Bench {
    let mut bench = Bench::new(source);
    bench.exchange(Side::A, (A, "20000"), (B, "30000"));
    bench
}

#[test]
fn unchanged_descriptions_ask_nothing() {
    for source in [SourcePolicy::Realm, SourcePolicy::Address, SourcePolicy::Strict] {
        for by in [Side::A, Side::B] {
            let mut bench = established(source);
            let (offer, answer) =
                if by == Side::A { ((A, "20000"), (B, "30000")) } else { ((B, "30000"), (A, "20000")) };
            assert_eq!(bench.offered(by, offer.0, offer.1), Ok(Step::Ready));
            assert_eq!(bench.answered(by.other(), answer.0, answer.1), Ok(Step::Ready));
            bench.completed();
            assert_eq!(bench.asked(), [""; 0]);
        }
    }
}

#[test]
fn a_failed_reinvite_closes_only_what_it_opened() {
    let mut bench = established(SourcePolicy::Address);
    let before: Vec<_> = bench.toy.rules.keys().copied().collect();
    assert_eq!(bench.offered(Side::A, A, "20000 video:20002"), Ok(Step::Wait));
    assert_eq!(bench.asked().len(), 1);
    assert_eq!(bench.reply(), Progress::Ready);
    bench.abandoned();
    assert_eq!(bench.asked().len(), 1);
    bench.settle();
    let after: Vec<_> = bench.toy.rules.keys().copied().collect();
    assert_eq!(after, before);
}

#[test]
fn a_failed_reinvite_with_the_same_description_keeps_the_call() {
    let mut bench = established(SourcePolicy::Address);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.abandoned();
    assert_eq!(bench.asked(), [""; 0]);
}

#[test]
fn a_moved_offerer_has_both_ways_until_the_exchange_is_complete() {
    let mut bench = established(SourcePolicy::Address);
    bench.offered(Side::A, A, "20100").unwrap();
    assert_eq!(bench.asked(), ["PER out 10.0.0.0/24:* > 192.0.2.7:20100-20101 gid=1"]);
    bench.settle();
    assert_eq!(bench.answered(Side::B, B, "30000"), Ok(Step::Ready), "B and A's address have not changed");
    bench.completed();
    assert_eq!(bench.asked(), ["PLC 3 0", "PER out 10.0.0.7:* > 192.0.2.7:20100-20101 gid=1"]);
    bench.settle();
    assert_eq!(bench.toy.rules.len(), 2);
}

#[test]
fn an_answerer_that_moves_is_a_new_source_too() {
    let mut bench = established(SourcePolicy::Address);
    bench.offered(Side::A, A, "20000").unwrap();
    assert_eq!(bench.answered(Side::B, "10.0.0.8", "30000"), Ok(Step::Wait));
    let both = [
        "PER out 10.0.0.8:* > 192.0.2.7:20000-20001 gid=1",
        "PER in 10.0.0.8:30000-30001 < 192.0.2.7:* gid=1",
    ];
    assert_eq!(bench.asked(), both);
    bench.settle();
    bench.completed();
    assert_eq!(bench.asked(), ["PLC 2 0", "PLC 3 0"]);
}

#[test]
fn a_stream_turned_off_loses_both_rules() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.exchange(Side::A, (A, "20000 video:20002"), (B, "30000 video:30002"));
    assert_eq!(bench.toy.rules.len(), 4);
    bench.exchange(Side::B, (B, "30000 video:0"), (A, "20000 video:0"));
    assert_eq!(bench.toy.rules.len(), 2);
}

#[test]
fn a_stream_refused_by_the_answer_loses_its_rule() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.exchange(Side::A, (A, "20000 video:20002"), (B, "30000 video:0"));
    assert_eq!(bench.toy.rules.len(), 2);
}

#[test]
fn hold_keeps_the_rules_and_widens_nothing() {
    for source in [SourcePolicy::Realm, SourcePolicy::Address] {
        let mut bench = established(source);
        let before: Vec<_> = bench.toy.rules.keys().copied().collect();
        assert_eq!(bench.offered(Side::A, "0.0.0.0", "20000"), Ok(Step::Ready));
        assert_eq!(bench.answered(Side::B, B, "30000"), Ok(Step::Ready));
        bench.completed();
        assert_eq!(bench.asked(), [""; 0]);
        // And resume needs nothing new.
        assert_eq!(bench.offered(Side::A, A, "20000"), Ok(Step::Ready));
        assert_eq!(bench.answered(Side::B, B, "30000"), Ok(Step::Ready));
        bench.completed();
        assert_eq!(bench.asked(), [""; 0]);
        let after: Vec<_> = bench.toy.rules.keys().copied().collect();
        assert_eq!(after, before);
    }
}

#[test]
fn an_offer_on_hold_opens_only_the_other_way() {
    let mut bench = Bench::new(SourcePolicy::Address);
    assert_eq!(bench.offered(Side::A, "0.0.0.0", "20000"), Ok(Step::Ready));
    assert_eq!(bench.answered(Side::B, B, "30000"), Ok(Step::Wait));
    assert_eq!(bench.asked(), ["PER in 10.0.0.7:30000-30001 < 192.0.2.0/24:*"]);
}

#[test]
fn an_answer_like_its_preview_asks_nothing_more() {
    let mut bench = Bench::new(SourcePolicy::Address);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    assert_eq!(bench.preview(Side::B, B, "30000"), Ok(Step::Wait));
    assert_eq!(bench.settle(), [Progress::Ready]);
    assert_eq!(bench.preview(Side::B, B, "30000"), Ok(Step::Ready), "18x again");
    assert_eq!(bench.answered(Side::B, B, "30000"), Ok(Step::Ready));
    bench.completed();
    assert_eq!(bench.asked(), ["PER out 10.0.0.7:* > 192.0.2.7:20000-20001 gid=1"]);
    bench.settle();
    assert_eq!(bench.toy.rules.len(), 2);
}

#[test]
fn a_preview_stays_until_the_next_exchange() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    bench.preview(Side::B, "10.0.0.99", "30090").unwrap();
    bench.settle();
    assert_eq!(bench.answered(Side::B, B, "30000"), Ok(Step::Wait));
    bench.settle();
    bench.completed();
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.toy.rules.len(), 3);
    bench.exchange(Side::A, (A, "20000"), (B, "30000"));
    assert_eq!(bench.toy.rules.len(), 2);
}

#[test]
fn a_preview_wider_than_the_answer_stays_as_well() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.offered(Side::A, A, "20000,mux").unwrap();
    bench.settle();
    bench.preview(Side::B, B, "30000").unwrap();
    bench.settle();
    assert_eq!(bench.answered(Side::B, B, "30000,mux"), Ok(Step::Ready));
    bench.completed();
    bench.settle();
    let toward_b: Vec<_> = bench.ledger.rules().filter(|rule| rule.toward == Side::B).collect();
    assert_eq!(toward_b.iter().map(|rule| rule.internal.range).collect::<Vec<_>>(), [2, 1]);
}

#[test]
fn limits_are_a_refusal() {
    let mut terms = terms(SourcePolicy::Realm);
    terms.rules_max = 2;
    let mut bench = Bench::with(terms);
    assert!(bench.offered(Side::A, A, "20000 video:20002 video:20004").is_err());
    assert_eq!(bench.asked(), [""; 0]);
}

#[test]
fn an_answer_in_the_other_ip_version_is_refused() {
    let mut terms = terms(SourcePolicy::Address);
    terms.realms.a = realm(&["192.0.2.0/24", "2001:db8:1::/64"], SourcePolicy::Address);
    terms.realms.b = realm(&["10.0.0.0/24", "2001:db8::/64"], SourcePolicy::Address);
    let mut bench = Bench::with(terms);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    let refusal = bench.answered(Side::B, B, "30000@2001:db8::7").unwrap_err();
    assert_eq!(refusal.why, sdp::Why::DifferentVersions);
}

#[test]
fn a_reply_after_the_hold_has_ended_is_closed() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.close();
    assert_eq!(bench.asked().len(), 1, "nothing to close yet");
    assert!(!bench.ledger.is_closed());
    assert_eq!(bench.reply(), Progress::Stale);
    assert_eq!(bench.asked(), ["PLC 1 0"]);
    assert_eq!(bench.reply(), Progress::Closed);
}

#[test]
fn a_refusal_after_the_hold_has_ended_closes_the_ledger() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.close();
    assert_eq!(bench.refuse(Failure::Conflict), Progress::Closed);
}

#[test]
fn a_strict_rule_for_a_port_that_the_peer_has_left_is_closed() {
    let mut bench = Bench::new(SourcePolicy::Strict);
    bench.exchange(Side::A, (A, "20000"), (B, "30000"));
    bench.settle();
    bench.exchange(Side::B, (B, "30004"), (A, "20000"));
    bench.settle();
    let sources: Vec<u16> =
        bench.ledger.rules().map(|rule| rule.external.port.max(rule.internal.port)).collect();
    assert_eq!(bench.toy.rules.len(), 2, "{:?}", bench.ledger.rules().collect::<Vec<_>>());
    assert_eq!(sources, [30004, 30004]);
}

#[test]
fn a_lost_stream_is_named_until_an_exchange_leaves_it_out() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    assert!(bench.ledger.lost_streams().is_empty());
    bench.exchange(Side::A, (A, "20000 video:20002"), (B, "30000 video:30002"));
    assert!(bench.ledger.lost_streams().is_empty());
    let loss = Loss { stream: 1, crucial: false, failure: None, dialogs: None };
    assert_eq!(bench.event(4, 0), EventEffect::Lost(loss));
    bench.settle();
    assert_eq!(bench.ledger.lost_streams().as_slice(), [1]);
    bench.exchange(Side::A, (A, "20000 video:0"), (B, "30000 video:0"));
    assert!(bench.ledger.lost_streams().is_empty());
    assert_eq!(bench.toy.rules.len(), 2);
}

#[test]
fn a_lost_stream_that_is_opened_again_is_no_longer_lost() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.exchange(Side::A, (A, "20000 video:20002"), (B, "30000 video:30002"));
    assert!(matches!(bench.event(2, 0), EventEffect::Lost(Loss { crucial: false, .. })));
    bench.settle();
    bench.exchange(Side::B, (B, "30000 video:30002"), (A, "20000 video:20002"));
    assert!(bench.ledger.lost_streams().is_empty());
    assert_eq!(bench.toy.rules.len(), 4);
}
