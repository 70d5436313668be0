//! Less usual shapes of calls: delayed offers, redirections, forks.

use std::time::Duration;

use bytes::Bytes;
use postern_phone::{Answer, Event, Input, MOVED, Progress, Reliable};

use crate::world::{CALL, Pair, address};

#[test]
fn a_delayed_offer_comes_in_the_200_and_is_answered_in_the_ack() {
    let mut pair = Pair::calling_of(|_, config| config.extensions.delayed_offer = true);
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.log, ["0 INVITE", "1 100", "1 180", "1 200", "0 ACK"]);
    assert_eq!((pair.remote(0), pair.remote(1)), (Some(address(1, 4000)), Some(address(0, 4000))));
    assert_eq!(pair.bodies("INVITE "), [0]);
}

#[test]
fn a_delayed_offer_in_a_reliable_response_is_answered_in_its_prack() {
    //= test RFC 3262 §5: the first reliable response has the offer, its PRACK the answer.
    let mut pair = Pair::calling_of(|_, config| {
        config.extensions.delayed_offer = true;
        config.extensions.reliable = Reliable::Supported;
    });
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.log, ["0 INVITE", "1 100", "1 180", "0 PRACK", "1 200", "1 200", "0 ACK"]);
    assert!(pair.bodies("PRACK ")[0] > 0);
    assert_eq!(pair.bodies("ACK "), [0]);
    assert_eq!((pair.remote(0), pair.remote(1)), (Some(address(1, 4000)), Some(address(0, 4000))));
}

/// A call whose callee has moved.
fn redirected(follows: bool) -> Pair {
    let mut pair = Pair::calling_of(|host, config| {
        config.extensions.follows = follows;
        if host == 1 {
            config.answer = Answer::Reject { status: 302, after: Duration::from_secs(1) };
        }
    });
    pair.run(Duration::from_secs(20));
    pair
}

#[test]
fn a_redirection_is_told_and_ends_the_call() {
    let pair = redirected(false);
    let told = pair.events.iter().any(|(host, event)| {
        *host == 0 && matches!(event, Event::Redirected { to, .. } if to.contains(MOVED))
    });
    assert!(told);
    assert_eq!(pair.ends(), [(1, 302), (0, 302)]);
}

#[test]
fn a_redirection_is_followed_so_often_and_no_more() {
    //= test RFC 3261 §8.1.3.4: a new request to the Contact, with the next CSeq.
    let pair = redirected(true);
    let invites = pair.sent_by(0, "INVITE");
    assert_eq!(invites.len(), 4);
    assert!(invites[1].starts_with(format!("INVITE sip:{MOVED}@").as_bytes()));
    assert_eq!(pair.ends().iter().filter(|end| **end == (0, 302)).count(), 1);
}

#[test]
fn two_early_dialogs_are_acknowledged_each_and_the_first_200_wins() {
    let mut pair = Pair::calling_of(|_, config| {
        config.extensions.reliable = Reliable::Supported;
        config.extensions.progress = Progress::RingingWithSdp;
        config.answer = Answer::Ring;
    });
    pair.run(Duration::from_millis(100));
    // The same response from another branch of a fork: another tag, and a number of its own.
    let ringing = String::from_utf8(pair.find("SIP/2.0 180").to_vec()).unwrap();
    let tag = ringing.split("To: ").nth(1).unwrap().split("tag=").nth(1).unwrap().split('\r').next().unwrap();
    let rseq = ringing.split("RSeq: ").nth(1).unwrap().split('\r').next().unwrap();
    let other = ringing.replace(tag, "other").replace(rseq, "7");
    pair.deliver(0, Bytes::from(other));
    pair.run(Duration::from_millis(100));
    let pracks = pair.sent_by(0, "PRACK");
    assert_eq!(pracks.len(), 2);
    assert!(pracks.iter().any(|prack| String::from_utf8_lossy(prack).contains("RAck: 7 1 INVITE")));
    pair.input(1, Input::Accept(CALL));
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.answered(), [true, true]);
}
