//! Reliable provisional responses: RFC 3262.

use std::time::Duration;

use postern_phone::{Answer, Config, Event, Input, Oddities, Progress, Reliable};

use crate::world::{ACCEPT, CALL, GOOD, Pair, address};

/// Both support reliable responses; the callee says its SDP early.
fn reliable(_: usize, config: &mut Config) {
    config.extensions.reliable = Reliable::Supported;
    config.extensions.progress = Progress::RingingWithSdp;
}

#[test]
fn the_answer_comes_reliably_and_the_200_has_none() {
    let mut pair = Pair::calling_of(reliable);
    pair.run(Duration::from_secs(5));
    let talk = ["0 INVITE", "1 100", "1 180", "0 PRACK", "1 200", "1 200", "0 ACK"];
    assert_eq!(pair.log, talk);
    assert_eq!(pair.remote(0), Some(address(1, 4000)));
    assert_eq!(pair.remote(1), Some(address(0, 4000)));
    assert_eq!(pair.bodies("200 OK"), [0, 0], "the answer stands in the 180 alone");
    pair.input(0, Input::HangUp(CALL));
    pair.finish();
}

#[test]
fn the_180_waits_for_the_prack_of_the_183() {
    //= test RFC 3262 §3: no second reliable response before the first is acknowledged.
    let mut pair = Pair::calling_of(|host, config| {
        reliable(host, config);
        config.extensions.progress = Progress::Session;
    });
    pair.run(Duration::from_millis(500));
    assert_eq!(pair.log, ["0 INVITE", "1 100", "1 183", "0 PRACK", "1 200", "1 180", "0 PRACK", "1 200"]);
    pair.input(0, Input::Cancel(CALL));
    pair.finish();
}

#[test]
fn only_both_together_are_reliable() {
    for able in [0, 1] {
        let mut pair = Pair::calling_of(|host, config| {
            if host == able {
                reliable(host, config);
            }
        });
        pair.run(Duration::from_secs(3));
        assert_eq!(pair.log, ["0 INVITE", "1 100", "1 180", "1 200", "0 ACK"]);
    }
}

#[test]
fn who_requires_it_gets_420_from_who_cannot() {
    //= test RFC 3261 §8.2.2.3: Unsupported names what was required in vain.
    let mut pair = Pair::calling_of(|host, config| {
        config.extensions.reliable = [Reliable::Required, Reliable::Unknown][host];
    });
    pair.finish();
    assert_eq!(pair.log, ["0 INVITE", "1 100", "1 420", "0 ACK"]);
}

#[test]
fn a_callee_that_insists_says_421() {
    let mut pair = Pair::calling_of(|host, config| {
        config.extensions.reliable = [Reliable::Unknown, Reliable::Required][host];
    });
    pair.finish();
    assert_eq!(pair.log, ["0 INVITE", "1 100", "1 421", "0 ACK"]);
}

#[test]
fn without_prack_it_repeats_ever_slower_and_gives_up() {
    //= test RFC 3262 §3: from T1 on, doubling without limit, 5xx after 64*T1.
    let mut pair = Pair::calling_of(|host, config| {
        reliable(host, config);
        config.oddities.never_pracks = host == 0;
    });
    pair.finish();
    let repeated = pair.log.iter().filter(|line| *line == "1 180").count();
    // At 0, 0.5, 1.5, 3.5, 7.5, 15.5 and 31.5 s.
    assert_eq!(repeated, 7, "{:?}", pair.log);
    assert_eq!(pair.ends(), [(1, 500), (0, 500)]);
}

#[test]
fn the_200_waits_for_the_prack() {
    //= test RFC 3262 §5: no 2xx while the SDP of a reliable response is unacknowledged.
    let mut pair = Pair::calling_of(|host, config| {
        reliable(host, config);
        config.answer = Answer::Accept { after: Duration::ZERO };
    });
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.log, ["0 INVITE", "1 100", "1 180", "0 PRACK", "1 200", "1 200", "0 ACK"]);
    assert_eq!(pair.answered(), [true, true]);
}

#[test]
fn an_offer_in_prack_is_answered_in_its_200() {
    let mut pair = Pair::calling_of(|host, config| {
        reliable(host, config);
        config.extensions.offers_in_prack = true;
    });
    pair.run(Duration::from_secs(3));
    let changed =
        |host| pair.events.iter().any(|(at, event)| *at == host && matches!(event, Event::Changed { .. }));
    assert!(changed(0) && changed(1));
    assert!(pair.bodies("200 OK")[0] > 0, "{:?}", pair.log);
}

#[test]
fn a_repeated_reliable_response_is_acknowledged_once() {
    //= test RFC 3262 §4: retransmissions are discarded.
    let mut pair = Pair::calling_of(reliable);
    pair.run(Duration::from_millis(2));
    let ringing = pair.find("SIP/2.0 180");
    pair.deliver(0, ringing.clone());
    pair.deliver(0, ringing);
    pair.run(Duration::from_millis(100));
    assert_eq!(pair.log.iter().filter(|line| *line == "0 PRACK").count(), 1);
}

#[test]
fn a_prack_for_nothing_gets_481() {
    let mut pair = Pair::calling_of(reliable);
    pair.run(Duration::from_millis(100));
    let prack = String::from_utf8(pair.find("PRACK").to_vec()).unwrap();
    let prack = prack
        .replace("CSeq: 2", "CSeq: 3")
        .replace("branch=", "branch=z9hG4bKx")
        .replace("z9hG4bKxz9hG4bK", "z9hG4bKx");
    pair.deliver(1, prack.into());
    assert_eq!(pair.log.last().unwrap(), "1 481");
}

#[test]
fn preview_without_100rel_leaves_the_answer_to_the_200() {
    let mut pair = Pair::calling_of(|_, config| config.extensions.progress = Progress::RingingWithSdp);
    pair.run(Duration::from_secs(3));
    let early = pair.events.iter().any(|(host, event)| {
        *host == 0 && matches!(event, Event::Ringing { remote: Some(remote), .. } if remote.rtp == Some(address(1, 4000)))
    });
    assert!(early && pair.bodies("200 OK")[0] > 0);
}

#[test]
fn nobody_is_alerted_by_a_refusal_at_once() {
    let alerted = |answer| {
        let mut pair = Pair::calling(answer, GOOD());
        pair.run(Duration::from_secs(5));
        pair.events.iter().any(|(_, event)| matches!(event, Event::Alerting { .. }))
    };
    assert!(alerted(ACCEPT));
    assert!(!alerted(Answer::Reject { status: 486, after: Duration::ZERO }));
    assert_eq!(Oddities::default(), GOOD()[0]);
}
