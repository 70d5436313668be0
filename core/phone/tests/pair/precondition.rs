//! Preconditions: RFC 3312, RFC 4032, and the type `fw` of the draft.

use std::time::Duration;

use postern_phone::{Answer, Config, Event, Input, Precondition, Provision};
use sdp::precondition::{Strength, Type};

use crate::world::{CALL, Pair, address};

/// Both want the same, each provided in its way.
fn wanting(of: Type<'static>, strength: Strength, provisions: [Provision; 2]) -> impl Fn(usize, &mut Config) {
    move |host, config| {
        config.extensions.precondition = Some(Precondition { of, strength, provision: provisions[host] });
    }
}

const SOON: Provision = Provision::After(Duration::from_secs(1));

fn alerted(pair: &Pair) -> bool {
    pair.events.iter().any(|(_, event)| matches!(event, Event::Alerting { .. }))
}

/// The lines about the precondition, of every SDP in order.
fn conditions(pair: &Pair) -> Vec<String> {
    let is_it = |line: &&str| ["a=curr", "a=des", "a=conf"].iter().any(|name| line.starts_with(name));
    let texts = pair.all_sdp();
    texts.iter().map(|text| text.lines().filter(is_it).collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn the_phone_rings_when_the_caller_says_that_it_is_there() {
    for of in [Type::Fw, Type::Qos] {
        let mut pair = Pair::calling_of(wanting(of, Strength::Mandatory, [SOON, Provision::ByNetwork]));
        pair.run(Duration::from_millis(500));
        assert_eq!(pair.log, ["0 INVITE", "1 100", "1 183", "0 PRACK", "1 200"]);
        //= test RFC 3312 §6: nobody is alerted before.
        assert!(!alerted(&pair));
        pair.run(Duration::from_secs(1));
        assert_eq!(pair.log[5..], ["0 UPDATE", "1 200", "1 180", "0 PRACK", "1 200"]);
        assert!(alerted(&pair));
        pair.run(Duration::from_secs(2));
        assert_eq!(pair.answered(), [true, true]);
        assert_eq!(pair.log[10..], ["1 200", "0 ACK"]);
        //= test RFC 4032 §4.1: both tables are the same after each exchange.
        let none = format!("a=curr:{of} e2e none a=des:{of} mandatory e2e sendrecv");
        let there = format!("a=curr:{of} e2e sendrecv a=des:{of} mandatory e2e sendrecv");
        let asked = format!("{none} a=conf:{of} e2e sendrecv");
        assert_eq!(conditions(&pair), [none, asked, there.clone(), there]);
        assert_eq!((pair.remote(0), pair.remote(1)), (Some(address(1, 4000)), Some(address(0, 4000))));
        pair.input(0, Input::HangUp(CALL));
        pair.finish();
    }
}

#[test]
fn an_agent_on_the_way_may_say_it_for_the_caller() {
    //= test RFC 3312 §7: who asked for confirmation gets a new offer.
    let by_network = [Provision::ByNetwork; 2];
    let mut pair = Pair::calling_of(wanting(Type::Fw, Strength::Mandatory, by_network));
    pair.rewrite = Some(|start, text| {
        let is_it = start.starts_with("SIP/2.0 183");
        if is_it { text.replace("a=curr:fw e2e none", "a=curr:fw e2e sendrecv") } else { text }
    });
    pair.run(Duration::from_secs(5));
    assert!(pair.log.contains(&"0 UPDATE".to_owned()), "{:?}", pair.log);
    assert_eq!(pair.answered(), [true, true]);
}

#[test]
fn without_anybody_who_says_it_the_phone_stays_silent() {
    let by_network = [Provision::ByNetwork; 2];
    let mut pair = Pair::calling_of(wanting(Type::Fw, Strength::Mandatory, by_network));
    pair.run(Duration::from_secs(20));
    assert!(!alerted(&pair));
    pair.input(0, Input::Cancel(CALL));
    pair.finish();
}

#[test]
fn a_callee_that_provides_it_alone_needs_no_update() {
    let mut pair = Pair::calling_of(wanting(Type::Qos, Strength::Mandatory, [Provision::ByNetwork, SOON]));
    pair.run(Duration::from_millis(900));
    assert!(!alerted(&pair));
    pair.run(Duration::from_secs(3));
    assert!(!pair.log.contains(&"0 UPDATE".to_owned()), "{:?}", pair.log);
    assert_eq!(pair.answered(), [true, true]);
}

#[test]
fn a_callee_that_cannot_provide_it_says_580() {
    //= test RFC 3312 §8: 580 names in SDP what failed, all ports 0.
    let fails = Provision::FailsAfter(Duration::from_secs(1));
    let mut pair = Pair::calling_of(wanting(Type::Qos, Strength::Mandatory, [SOON, fails]));
    pair.finish();
    assert!(!alerted(&pair));
    assert_eq!(pair.ends(), [(1, 580), (0, 580)]);
    let refusal = String::from_utf8(pair.find("SIP/2.0 580").to_vec()).unwrap();
    assert!(
        refusal.contains("m=audio 0 ") && refusal.contains("a=des:qos failure e2e sendrecv"),
        "{refusal}"
    );
}

#[test]
fn a_caller_that_cannot_provide_it_gives_up() {
    //= test RFC 3312 §8: so does CANCEL.
    let fails = Provision::FailsAfter(Duration::from_secs(1));
    let mut pair = Pair::calling_of(wanting(Type::Qos, Strength::Mandatory, [fails, Provision::ByNetwork]));
    pair.finish();
    assert_eq!(pair.ends(), [(1, 487), (0, 487)]);
    let cancel = String::from_utf8(pair.find("CANCEL ").to_vec()).unwrap();
    assert!(cancel.contains("a=des:qos failure e2e sendrecv"), "{cancel}");
}

#[test]
fn who_knows_nothing_of_preconditions_says_420() {
    //= test RFC 3312 §11: an offer with a mandatory one requires the extension.
    let mut pair = Pair::calling_of(|host, config| {
        if host == 0 {
            wanting(Type::Fw, Strength::Mandatory, [SOON; 2])(host, config);
        }
    });
    pair.finish();
    assert_eq!(pair.ends(), [(0, 420)]);
    let refusal = String::from_utf8(pair.find("SIP/2.0 420").to_vec()).unwrap();
    assert!(refusal.contains("Unsupported: precondition"), "{refusal}");
}

#[test]
fn another_type_is_refused_as_unknown() {
    //= test RFC 3312 §9: 580, and the strength is `unknown`.
    let mut pair = Pair::calling_of(|host, config| {
        wanting([Type::Fw, Type::Qos][host], Strength::Mandatory, [SOON; 2])(host, config);
    });
    pair.finish();
    let refusal = String::from_utf8(pair.find("SIP/2.0 580").to_vec()).unwrap();
    assert!(refusal.contains("a=des:fw unknown e2e sendrecv"), "{refusal}");
}

#[test]
fn one_that_is_only_supported_holds_nobody_up() {
    let mut pair = Pair::calling_of(wanting(Type::Fw, Strength::None, [Provision::ByNetwork; 2]));
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.answered(), [true, true]);
    assert!(!pair.log.contains(&"1 183".to_owned()));
}

#[test]
fn a_callee_whose_user_is_out_refuses_without_waiting() {
    let mut pair = Pair::calling_of(|host, config| {
        wanting(Type::Fw, Strength::Mandatory, [SOON; 2])(host, config);
        config.answer = Answer::Reject { status: 480, after: Duration::ZERO };
    });
    pair.finish();
    assert_eq!(pair.ends(), [(1, 480), (0, 480)]);
}

#[test]
fn a_call_is_taken_over_when_the_precondition_is_met_and_not_before() {
    let taking_over = |provision| {
        let mut pair =
            Pair::calling_of(wanting(Type::Fw, Strength::Mandatory, [provision, Provision::ByNetwork]));
        if provision != SOON {
            pair.rewrite = Some(|_, text| text.replace("a=curr:fw e2e none", "a=curr:fw e2e sendrecv"));
        }
        pair.run(Duration::from_secs(5));
        assert_eq!(pair.answered(), [true, true]);
        pair.rewrite = None;
        let (_, replaces) = pair.phones[0].place(CALL).unwrap();
        let to = "sip:bert@192.0.2.2".to_owned();
        pair.input(0, Input::TakeOver { to, next: crate::world::hop(1), replaces });
        let before = pair.log.len();
        pair.run(Duration::from_millis(500));
        //= test RFC 3312 §6: it waits.
        assert_eq!(pair.log[before..], ["1 100", "1 183", "0 PRACK", "1 200"]);
        pair
    };
    let mut pair = taking_over(SOON);
    let before = pair.log.len();
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.log[before..before + 4], ["0 UPDATE", "1 200", "1 200", "1 BYE"]);
    assert_eq!(pair.ends(), [(0, 200), (1, 200)]);
    //= test RFC 3891 §3: what cannot be accepted leaves the old call as it was.
    let mut pair = taking_over(Provision::ByNetwork);
    pair.run(Duration::from_secs(20));
    assert!(pair.ends().is_empty() && !pair.log.contains(&"1 BYE".to_owned()), "{:?}", pair.log);
}
