//! Calls as RFC 3261 has them, without any extension.

use std::time::Duration;

use bytes::Bytes;
use postern_phone::{Answer, By, Event, Input, Oddities};
use sdp::Direction;

use crate::world::{ACCEPT, CALL, GOOD, Pair, address, hop, offer};

#[test]
fn a_call_is_made_answered_and_ended() {
    let mut pair = Pair::calling(ACCEPT, GOOD());
    pair.run(Duration::from_secs(5));
    let answered = |host: usize| {
        pair.events.iter().find_map(|(at, event)| match event {
            Event::Answered { remote: Some(remote), .. } if *at == host => remote.rtp,
            _ => None,
        })
    };
    assert_eq!((answered(0), answered(1)), (Some(address(1, 4000)), Some(address(0, 4000))));
    pair.input(0, Input::HangUp(CALL));
    pair.finish();
    assert_eq!(pair.log, ["0 INVITE", "1 100", "1 180", "1 200", "0 ACK", "0 BYE", "1 200"]);
    assert_eq!(pair.ends(), [(1, 200), (0, 200)]);
}

#[test]
fn a_refusal_ends_the_call_on_both_sides() {
    let mut pair = Pair::calling(Answer::Reject { status: 486, after: Duration::ZERO }, GOOD());
    pair.finish();
    assert_eq!(pair.log, ["0 INVITE", "1 100", "1 486", "0 ACK"].map(String::from).to_vec());
    assert_eq!(pair.ends(), [(1, 486), (0, 486)]);
}

#[test]
fn a_ringing_call_is_cancelled() {
    let mut pair = Pair::calling(Answer::Ring, GOOD());
    pair.run(Duration::from_secs(1));
    pair.input(0, Input::Cancel(CALL));
    pair.finish();
    assert_eq!(pair.log, ["0 INVITE", "1 100", "1 180", "0 CANCEL", "1 200", "1 487", "0 ACK"]);
    assert_eq!(pair.ends(), [(1, 487), (0, 487)]);
}

#[test]
fn a_cancel_before_any_response_waits_for_one() {
    let mut pair = Pair::calling(Answer::Ring, GOOD());
    pair.input(0, Input::Cancel(CALL));
    assert_eq!(pair.log, ["0 INVITE"]);
    pair.finish();
    assert_eq!(pair.ends(), [(1, 487), (0, 487)]);
}

#[test]
fn a_cancelled_callee_that_stays_silent_is_given_up() {
    //= test RFC 3261 §9.1: 64*T1 after CANCEL the transaction is destroyed.
    let silent = Oddities { silent_after_cancel: true, ..Oddities::default() };
    let mut pair = Pair::calling(Answer::Ring, [Oddities::default(), silent]);
    pair.run(Duration::from_secs(1));
    pair.input(0, Input::Cancel(CALL));
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.ends(), [(1, 487), (0, 487)]);
}

#[test]
fn hold_and_resume_are_reinvites() {
    let mut pair = Pair::calling(ACCEPT, GOOD());
    pair.run(Duration::from_secs(5));
    for direction in [Direction::SendOnly, Direction::SendRecv] {
        pair.input(1, offer(By::Invite, address(1, 4002), direction));
        pair.run(Duration::from_secs(1));
    }
    let changes: Vec<_> = pair
        .events
        .iter()
        .filter_map(|(host, event)| match event {
            Event::Changed { remote: Some(remote), .. } => {
                Some((*host, remote.rtp.unwrap(), remote.direction))
            }
            _ => None,
        })
        .collect();
    assert_eq!(
        changes,
        [
            (0, address(1, 4002), Direction::SendOnly),
            (1, address(0, 4000), Direction::RecvOnly),
            (0, address(1, 4002), Direction::SendRecv),
            (1, address(0, 4000), Direction::SendRecv),
        ]
    );
    pair.input(1, Input::HangUp(CALL));
    pair.finish();
}

#[test]
fn a_caller_that_never_acknowledges_gets_bye() {
    //= test RFC 3261 §13.3.1.4: the 2xx is repeated for 64*T1, then BYE.
    let deaf = Oddities { never_acks: true, ..Oddities::default() };
    let mut pair = Pair::calling(ACCEPT, [deaf, Oddities::default()]);
    pair.finish();
    let answers = pair.log.iter().filter(|line| *line == "1 200").count();
    assert_eq!((answers, pair.log.contains(&"1 BYE".to_owned())), (11, true), "{:?}", pair.log);
}

#[test]
fn an_answer_that_comes_twice_is_acknowledged_twice() {
    let twice = Oddities { answers_twice: true, ..Oddities::default() };
    let mut pair = Pair::calling(ACCEPT, [Oddities::default(), twice]);
    pair.run(Duration::from_secs(5));
    assert_eq!(pair.log[3..], ["1 200", "1 200", "0 ACK", "0 ACK"]);
    assert_eq!(
        pair.events
            .iter()
            .filter(|(host, event)| *host == 0 && matches!(event, Event::Answered { .. }))
            .count(),
        1
    );
}

#[test]
fn both_may_hang_up_at_once() {
    let mut pair = Pair::calling(ACCEPT, GOOD());
    pair.run(Duration::from_secs(5));
    pair.input(0, Input::HangUp(CALL));
    pair.input(1, Input::HangUp(CALL));
    pair.finish();
    assert_eq!(pair.ends(), [(1, 200), (0, 200)]);
}

#[test]
fn options_is_answered() {
    let mut pair = Pair::new(ACCEPT, GOOD());
    let options = "OPTIONS sip:bert@192.0.2.2 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx\r\nFrom: <sip:a@b>;tag=1\r\n\
                   To: <sip:bert@192.0.2.2>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n\r\n";
    pair.input(1, Input::Received { hop: hop(0), bytes: Bytes::from(options) });
    assert_eq!(pair.log, ["1 200"]);
}

#[test]
fn a_reinvite_that_nobody_answers_is_forgotten_with_its_call() {
    let mut pair = Pair::calling(ACCEPT, GOOD());
    pair.run(Duration::from_secs(5));
    pair.input(0, offer(By::Invite, address(0, 4002), Direction::SendRecv));
    pair.run(Duration::from_millis(1));
    // The other one has said 100; its 200 gets lost, and BYE overtakes the next one.
    pair.wire.retain(|_, (_, bytes)| !bytes.starts_with(b"SIP/2.0 200"));
    assert_eq!(pair.wire.len(), 1);
    pair.input(0, Input::HangUp(CALL));
    pair.finish();
}

#[test]
fn only_a_ringing_call_can_be_refused() {
    let mut pair = Pair::calling(Answer::Ring, GOOD());
    pair.input(0, Input::Reject { call: CALL, status: 480 });
    assert_eq!(pair.ends(), []);
}
