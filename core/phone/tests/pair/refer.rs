//! REFER: RFC 3515.

use std::time::Duration;

use postern_phone::{Event, Input};

use crate::world::{ACCEPT, CALL, Pair};

/// An answered call between phones that refer and are referred; phone 0 has referred phone 1.
fn referring(to: &str, forgets: bool) -> Pair {
    let mut pair = Pair::calling_of(|host, config| {
        config.answer = ACCEPT;
        config.extensions.refers = true;
        config.oddities.forgets_referral = forgets && host == 0;
    });
    pair.run(Duration::from_secs(3));
    pair.input(0, Input::Refer { call: CALL, to: to.to_owned() });
    pair.run(Duration::from_secs(4));
    pair
}

fn has(pair: &Pair, host: usize, event: &Event) -> bool {
    pair.events.iter().any(|one| *one == (host, event.clone()))
}

#[test]
fn who_is_referred_says_so_and_tells_the_end_once() {
    let mut pair = referring("<sip:dan@192.0.2.9>", false);
    //= test RFC 3515 §2.4.4: 202, and a NOTIFY at once.
    assert!(has(&pair, 0, &Event::ReferAnswered { call: CALL, status: 202 }), "{:?}", pair.events);
    let told = Event::Referred { call: CALL, to: "sip:dan@192.0.2.9".to_owned(), replaces: None };
    assert!(has(&pair, 1, &told) && has(&pair, 0, &Event::Notified { call: CALL, status: 100 }));
    pair.input(1, Input::Notify { call: CALL, status: 200 });
    pair.run(Duration::from_secs(5));
    assert!(has(&pair, 0, &Event::Notified { call: CALL, status: 200 }));
    let sent = pair.log.len();
    pair.input(1, Input::Notify { call: CALL, status: 200 });
    assert_eq!(pair.log.len(), sent, "the subscription is over");
}

#[test]
fn the_dialog_to_be_replaced_is_read_without_its_escapes() {
    let pair = referring("<sip:c@h?Require=replaces&Replaces=7%40h%3Bto-tag%3D1%3Bfrom-tag%3D2>", false);
    let replaces = Some("7@h;to-tag=1;from-tag=2".to_owned());
    assert!(has(&pair, 1, &Event::Referred { call: CALL, to: "sip:c@h".to_owned(), replaces }));
}

#[test]
fn one_that_forgets_its_subscription_answers_481_and_the_call_goes_on() {
    let mut pair = referring("<sip:dan@192.0.2.9>", true);
    //= test RFC 6665 §4.2.2: the notifier sends nothing more.
    assert!(has(&pair, 1, &Event::NotifyAnswered { call: CALL, status: 481 }), "{:?}", pair.events);
    let sent = pair.log.len();
    pair.input(1, Input::Notify { call: CALL, status: 200 });
    assert_eq!(pair.log.len(), sent);
    assert!(!pair.events.iter().any(|(_, event)| matches!(event, Event::Ended { .. })));
}
