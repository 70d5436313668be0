//! Bad manners: that they happen when asked for, and that the other phone survives them.

use std::time::Duration;

use postern_phone::{By, Event, Input, Progress, Reliable};
use sdp::Direction;

use crate::world::{CALL, Pair, address, offer};

#[test]
fn one_that_ignores_cancel_answers_all_the_same() {
    let mut pair = Pair::calling_of(|host, config| config.oddities.ignores_cancel = host == 1);
    pair.run(Duration::from_millis(500));
    pair.input(0, Input::Cancel(CALL));
    pair.run(Duration::from_secs(2));
    //= test RFC 3261 §9.1: the 2xx that crosses a CANCEL is acknowledged, and BYE follows.
    assert_eq!(pair.log[3..], ["0 CANCEL", "1 200", "1 200", "0 ACK", "0 BYE", "1 200"]);
    pair.finish();
}

#[test]
fn one_that_moves_in_its_answer_says_so() {
    for reliable in [Reliable::Unknown, Reliable::Supported] {
        let mut pair = Pair::calling_of(|host, config| {
            config.extensions.progress = Progress::RingingWithSdp;
            config.extensions.reliable = reliable;
            config.oddities.moves_in_answer = host == 1;
        });
        pair.run(Duration::from_secs(3));
        assert_eq!(pair.remote(0), Some(address(1, 4002)));
        let moved = pair
            .events
            .iter()
            .any(|(_, event)| *event == Event::Moved { call: CALL, media: address(1, 4002) });
        assert!(moved);
    }
}

#[test]
fn one_that_repeats_old_messages_disturbs_nobody() {
    for host in [0, 1] {
        let mut pair = Pair::calling_of(|at, config| {
            config.extensions.update = true;
            config.oddities.repeats_old = at == host;
        });
        pair.run(Duration::from_secs(3));
        for by in [By::Invite, By::Update] {
            pair.input(host, offer(by, address(host, 4010), Direction::SendRecv));
            pair.run(Duration::from_secs(1));
        }
        let before = pair.log.len();
        pair.input(0, Input::HangUp(CALL));
        pair.finish();
        assert!(pair.log.len() > before + 2, "nothing was repeated: {:?}", pair.log);
        assert_eq!(pair.ends(), [(1, 200), (0, 200)]);
        assert_eq!(pair.answered(), [true, true]);
    }
}

#[test]
fn odd_sdp_is_understood() {
    let pair = &mut Pair::calling_of(|_, config| config.oddities.odd_sdp = true);
    pair.run(Duration::from_secs(3));
    assert!(pair.last_sdp(0).contains("a=x-what:ever"));
    assert_eq!((pair.remote(0), pair.remote(1)), (Some(address(1, 4000)), Some(address(0, 4000))));
}

#[test]
fn one_that_reboots_knows_nothing_any_more() {
    let mut pair = Pair::calling_of(|host, config| {
        config.oddities.reboots_after = (host == 1).then_some(Duration::from_secs(10));
    });
    pair.run(Duration::from_secs(12));
    assert!(pair.phones[1].is_idle());
    pair.log.clear();
    pair.input(0, offer(By::Invite, address(0, 4010), Direction::SendRecv));
    pair.finish();
    assert_eq!(pair.log, ["0 INVITE", "1 100", "1 481", "0 ACK", "0 BYE", "1 481"]);
}

#[test]
fn one_that_ignores_bye_lets_the_other_go_all_the_same() {
    let mut pair = Pair::calling_of(|host, config| config.oddities.ignores_bye = host == 1);
    pair.run(Duration::from_secs(3));
    pair.input(0, Input::HangUp(CALL));
    pair.run(Duration::from_secs(60));
    assert_eq!(pair.ends(), [(1, 200), (0, 408)]);
}

#[test]
fn a_callee_that_hangs_up_waits_for_the_ack_unless_it_is_odd() {
    //= test RFC 3261 §15: no BYE of the callee before the ACK, or 64*T1 without one.
    for is_odd in [false, true] {
        let mut pair = Pair::calling_of(|host, config| {
            config.oddities.never_acks = host == 0;
            config.oddities.hangs_up_early = is_odd && host == 1;
        });
        pair.run(Duration::from_secs(3));
        assert_eq!(pair.answered(), [true, true]);
        pair.input(1, Input::HangUp(CALL));
        pair.run(Duration::from_secs(1));
        assert_eq!(pair.log.iter().any(|line| line == "1 BYE"), is_odd, "{:?}", pair.log);
        pair.finish();
        assert!(pair.log.iter().any(|line| line == "1 BYE"), "{:?}", pair.log);
    }
}
