//! Lifetimes, repeated closes, rule events, lost sessions.

use super::*;

const LOST: Loss = Loss { stream: 0, crucial: true, failure: None, dialogs: None };
const EXPIRED: Loss = Loss { failure: Some(Failure::LifetimeNotExtended), ..LOST };

fn established() -> Bench {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.exchange(Side::A, (A, "20000"), (B, "30000"));
    bench
}

#[test]
fn extends_at_half_of_what_was_granted() {
    let mut bench = established();
    assert_eq!(bench.ledger.next_timeout(), Some((Instant::from_nanos(300_000_000_000), "extend rule")));
    assert_eq!(bench.tick(299), None);
    assert_eq!(bench.asked(), [""; 0]);
    assert_eq!(bench.tick(1), None);
    assert_eq!(bench.asked(), ["PLC 1 600", "PLC 2 600"]);
    bench.settle();
    assert_eq!(bench.ledger.next_timeout(), Some((Instant::from_nanos(600_000_000_000), "extend rule")));
}

#[test]
fn extends_while_ringing() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    bench.tick(300);
    assert_eq!(bench.asked(), ["PLC 1 600"]);
}

#[test]
fn an_extension_that_fails_is_asked_for_again_until_the_deadline() {
    let mut bench = established();
    bench.tick(300);
    let _ = bench.refuse(Failure::NoResources);
    let _ = bench.refuse(Failure::NoResources);
    assert_eq!(bench.tick(149), None);
    assert_eq!(bench.asked(), [""; 0]);
    bench.tick(1);
    assert_eq!(bench.asked(), ["PLC 1 600", "PLC 2 600"], "half of the rest later");
    assert_eq!(bench.tick(150), Some(EXPIRED), "no answer until the rule is over");
}

#[test]
fn a_rule_gone_at_its_extension_is_made_again() {
    let mut bench = established();
    bench.toy.rules.remove(&Prid(1));
    bench.tick(300);
    bench.asked();
    assert_eq!(bench.reply(), Progress::Pending);
    assert_eq!(bench.asked(), ["PER out 10.0.0.0/24:* > 192.0.2.7:20000-20001 gid=1"]);
    let _ = bench.reply();
    assert_eq!(bench.reply(), Progress::Pending);
    assert_eq!(bench.toy.rules.len(), 2);
}

#[test]
fn a_close_is_repeated_until_it_is_confirmed() {
    let mut bench = established();
    bench.close();
    bench.settle_one_and_fail_the_other();
    assert!(!bench.ledger.is_closed());
    assert_eq!(bench.ledger.next_timeout().unwrap().1, "close rule again");
    bench.tick(4);
    assert_eq!(bench.asked(), ["PLC 2 0"]);
    assert_eq!(bench.reply(), Progress::Closed);
}

impl Bench {
    fn settle_one_and_fail_the_other(&mut self) {
        assert_eq!(self.asked(), ["PLC 1 0", "PLC 2 0"]);
        assert_eq!(self.reply(), Progress::Pending);
        assert_eq!(self.refuse(Failure::Timeout), Progress::Pending);
    }
}

#[test]
fn closes_are_limited_and_the_lifetime_does_the_rest() {
    let mut bench = established();
    bench.close();
    let mut sent = bench.asked().len();
    for _ in 0..599 {
        bench.tick(1);
        sent += bench.asked().len();
    }
    assert_eq!(sent, 16);
    assert!(!bench.ledger.is_closed());
    bench.tick(1);
    assert!(bench.ledger.is_closed());
    assert_eq!(bench.ledger.next_timeout(), None);
}

#[test]
fn a_rule_that_is_given_longer_is_closed_for_longer() {
    let mut bench = established();
    bench.close();
    bench.settle_one_and_fail_the_other();
    assert_eq!(bench.event(2, 1200), EventEffect::Ignored);
    bench.tick(600);
    assert!(!bench.ledger.is_closed());
    bench.tick(600);
    assert!(bench.ledger.is_closed());
}

#[test]
fn an_unknown_rule_counts_as_closed() {
    let mut bench = established();
    bench.close();
    assert_eq!(bench.refuse(Failure::NoSuchRule), Progress::Pending);
    assert_eq!(bench.refuse(Failure::NoSuchRule), Progress::Closed);
}

#[test]
fn a_shorter_lifetime_is_extended_at_once() {
    let mut bench = established();
    let effect = bench.ledger.rule_event(
        bench.now,
        MiddleboxId(0),
        Prid(2),
        Lifetime(20),
        &mut bench.ids,
        &mut bench.out,
    );
    assert_eq!(effect, EventEffect::Extended);
    assert_eq!(bench.asked(), ["PLC 2 600"]);
    let _ = bench.refuse(Failure::LifetimeNotExtended);
    bench.tick(10);
    bench.asked();
    assert_eq!(bench.tick(10), Some(EXPIRED));
}

#[test]
fn events_of_strangers_and_of_closing_rules_are_ignored() {
    let mut bench = established();
    assert_eq!(bench.event(77, 0), EventEffect::Ignored);
    bench.close();
    assert_eq!(bench.event(1, 0), EventEffect::Ignored);
    assert!(bench.settle().contains(&Progress::Closed));
}

#[test]
fn a_stream_that_is_not_crucial_goes_alone() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.exchange(Side::A, (A, "20000 video:20002"), (B, "30000 video:30002"));
    assert_eq!(
        bench.event(2, 0),
        EventEffect::Lost(Loss { stream: 1, crucial: false, failure: None, dialogs: None })
    );
    assert_eq!(bench.asked(), ["PLC 4 0"]);
    bench.settle();
    assert_eq!(bench.toy.rules.len(), 2);
}

#[test]
fn without_audio_every_stream_is_crucial() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.exchange(Side::A, (A, "video:20000 video:20002"), (B, "video:30000 video:30002"));
    assert_eq!(
        bench.event(2, 0),
        EventEffect::Lost(Loss { stream: 1, crucial: true, failure: None, dialogs: None })
    );
}

#[test]
fn a_lost_reservation_is_reserved_again() {
    let mut terms = terms(SourcePolicy::Address);
    terms.path[0].capabilities.internal_wildcards = false;
    let mut bench = Bench::with(terms);
    bench.offered(Side::A, A, "20000").unwrap();
    bench.settle();
    assert_eq!(bench.event(1, 0), EventEffect::Ignored);
    assert_eq!(bench.asked(), ["PRR 2 gid=1"]);
    assert_eq!(bench.refuse(Failure::NoSuchGroup), Progress::Pending);
    assert_eq!(bench.asked(), ["PRR 2"]);
    let lost = Loss { failure: Some(Failure::NoResources), ..LOST };
    assert_eq!(bench.refuse(Failure::NoResources), Progress::Lost(lost));
}

#[test]
fn a_confirmed_rule_lost_during_its_step_ends_the_step() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.offered(Side::A, A, "20000 video:20002").unwrap();
    assert_eq!(bench.reply(), Progress::Pending);
    assert_eq!(bench.event(1, 0), EventEffect::Lost(LOST));
    assert_eq!(bench.reply(), Progress::Stale, "never Ready");
    bench.settle();
    assert!(bench.toy.rules.is_empty());
}

#[test]
fn after_a_lost_session_missing_rules_are_made_again() {
    let mut bench = established();
    bench.ledger.session_down(MiddleboxId(0));
    assert_eq!(bench.tick(300), None);
    assert_eq!(bench.asked(), [""; 0], "nobody to ask");
    bench.toy.rules.remove(&Prid(2));
    bench.up(&[1]);
    assert_eq!(bench.asked(), ["PER in 10.0.0.7:30000-30001 < 192.0.2.0/24:* gid=1"]);
    assert_eq!(bench.reply(), Progress::Pending);
    assert_eq!(bench.tick(0), None);
    assert_eq!(bench.asked(), ["PLC 1 600"]);
    bench.settle();
    assert_eq!(bench.toy.rules.len(), 2);
}

impl Bench {
    fn up(&mut self, known: &[u32]) {
        let known: Vec<_> = known.iter().map(|prid| Prid(*prid)).collect();
        self.ledger.session_up(self.now, MiddleboxId(0), &known, &mut self.ids, &mut self.out);
    }
}

#[test]
fn a_description_waits_for_rules_that_are_being_made_again() {
    let mut bench = established();
    bench.ledger.session_down(MiddleboxId(0));
    bench.up(&[]);
    assert_eq!(bench.offered(Side::A, A, "20000"), Ok(Step::Wait));
    assert_eq!(bench.reply(), Progress::Ready);
    assert_eq!(bench.answered(Side::B, B, "30000"), Ok(Step::Wait));
    let failure = Failure::NoResources;
    assert_eq!(bench.refuse(failure), Progress::Lost(Loss { failure: Some(failure), ..LOST }));
}

#[test]
fn a_middlebox_may_forget_a_group_more_than_once() {
    let mut bench = established();
    for _ in 0..3 {
        bench.ledger.session_down(MiddleboxId(0));
        bench.toy.rules.clear();
        bench.up(&[]);
        assert_eq!(bench.asked().len(), 2);
        for _ in 0..2 {
            assert_eq!(bench.refuse(Failure::NoSuchGroup), Progress::Pending);
        }
        bench.settle();
        assert_eq!(bench.toy.rules.len(), 2);
    }
}

#[test]
fn what_cannot_be_made_again_is_lost() {
    let mut bench = established();
    bench.ledger.session_down(MiddleboxId(0));
    bench.up(&[1]);
    let failure = Failure::AddressSpaceNotAvailable;
    assert_eq!(bench.refuse(failure), Progress::Lost(Loss { failure: Some(failure), ..LOST }));
}

#[test]
fn closes_that_a_lost_session_swallowed_are_sent_again() {
    let mut bench = established();
    bench.ledger.session_down(MiddleboxId(0));
    bench.close();
    let _ = bench.refuse(Failure::NoSession);
    let _ = bench.refuse(Failure::NoSession);
    bench.tick(30);
    assert_eq!(bench.asked(), [""; 0]);
    bench.toy.rules.remove(&Prid(1));
    bench.up(&[2]);
    assert_eq!(bench.asked(), ["PLC 2 0"]);
    assert_eq!(bench.reply(), Progress::Closed);
}

#[test]
fn with_the_session_gone_for_good_lifetimes_close_the_ledger() {
    let mut bench = established();
    bench.ledger.session_down(MiddleboxId(0));
    bench.close();
    let _ = bench.refuse(Failure::NoSession);
    let _ = bench.refuse(Failure::NoSession);
    bench.tick(599);
    assert!(!bench.ledger.is_closed());
    bench.tick(1);
    assert!(bench.ledger.is_closed());
}

#[test]
fn a_rule_whose_confirmation_was_lost_may_be_alive() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.offered(Side::A, A, "20000").unwrap();
    assert_eq!(bench.refuse(Failure::SessionLost), Progress::Failed(Failure::SessionLost, 0));
    bench.close();
    assert!(!bench.ledger.is_closed());
    let mut other = Bench::new(SourcePolicy::Realm);
    other.offered(Side::A, A, "20000").unwrap();
    other.close();
    assert_eq!(other.refuse(Failure::SessionLost), Progress::Stale);
    other.ledger.session_down(MiddleboxId(0));
    // Its identifier is in no ledger, so whoever lists the rules closes it.
    other.up(&[]);
    assert!(other.ledger.is_closed());
    bench.tick(600);
    assert!(bench.ledger.is_closed());
}

#[test]
fn an_extension_that_may_have_been_granted_is_closed_at_the_deadline() {
    let mut bench = established();
    bench.tick(300);
    let _ = bench.refuse(Failure::Timeout);
    let _ = bench.refuse(Failure::Timeout);
    bench.asked();
    bench.tick(150);
    assert_eq!(bench.asked(), ["PLC 1 600", "PLC 2 600"]);
    let _ = bench.refuse(Failure::Timeout);
    let _ = bench.refuse(Failure::Timeout);
    assert_eq!(bench.tick(150), Some(EXPIRED));
    bench.close();
    let closes = bench.asked();
    assert!(closes.contains(&"PLC 1 0".to_owned()) && closes.contains(&"PLC 2 0".to_owned()), "{closes:?}");
    assert!(!bench.ledger.is_closed(), "until that is confirmed, or its lifetime is over");
}

#[test]
fn a_list_says_nothing_of_what_was_asked_for_after_it() {
    let mut bench = Bench::new(SourcePolicy::Realm);
    bench.offered(Side::A, A, "20000").unwrap();
    assert!(matches!(bench.refuse(Failure::Timeout), Progress::Failed(..)));
    bench.close();
    bench.up(&[]);
    assert!(!bench.ledger.is_closed(), "asked for on this session");
    bench.ledger.session_down(MiddleboxId(0));
    bench.up(&[]);
    assert!(bench.ledger.is_closed(), "asked for on the session before");
}
