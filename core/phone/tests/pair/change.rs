//! Changes of a running session: re-INVITE, UPDATE, and what becomes of them.

use std::time::Duration;

use postern_phone::{By, Event, Input, Offer, Progress, Reliable};
use sdp::Direction;

use crate::world::{CALL, GOOD, Pair, address, offer};

/// Both can do what this file is about, and have been talking for three seconds.
fn talking() -> Pair {
    let mut pair = Pair::calling_of(|_, config| {
        config.extensions.update = true;
        config.extensions.retries = true;
    });
    pair.run(Duration::from_secs(3));
    pair.log.clear();
    pair
}

#[test]
fn an_update_moves_the_media_of_an_answered_call() {
    let mut pair = talking();
    for host in [0, 1] {
        pair.input(host, offer(By::Update, address(host, 4010), Direction::SendRecv));
        pair.run(Duration::from_secs(1));
    }
    assert_eq!(pair.log, ["0 UPDATE", "1 200", "1 UPDATE", "0 200"]);
    assert_eq!((pair.remote(0), pair.remote(1)), (Some(address(1, 4010)), Some(address(0, 4010))));
}

#[test]
fn an_update_before_the_answer_needs_a_reliable_one() {
    let ringing = |reliable| {
        let mut pair = Pair::calling_of(|_, config| {
            config.extensions.update = true;
            config.extensions.reliable = reliable;
            config.extensions.progress = Progress::RingingWithSdp;
        });
        pair.run(Duration::from_millis(500));
        pair.log.clear();
        for host in [0, 1] {
            pair.input(host, offer(By::Update, address(host, 4010), Direction::SendRecv));
            pair.run(Duration::from_millis(100));
        }
        pair.log.clone()
    };
    //= test RFC 3311 §5.1: no offer while the one of the INVITE has no reliable answer.
    assert!(ringing(Reliable::Unknown).is_empty());
    assert_eq!(ringing(Reliable::Supported), ["0 UPDATE", "1 200", "1 UPDATE", "0 200"]);
}

#[test]
fn updates_that_cross_are_refused_and_tried_again() {
    //= test RFC 3311 §5.2: 491 while our own offer has no answer; §5.3: the owner of the Call-ID waits longer.
    let mut pair = talking();
    for host in [0, 1] {
        pair.input(host, offer(By::Update, address(host, 4010), Direction::SendRecv));
    }
    pair.run(Duration::from_secs(2));
    assert_eq!(pair.log, ["0 UPDATE", "1 UPDATE", "1 491", "0 491", "1 UPDATE", "0 200"]);
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.log[6..], ["0 UPDATE", "1 200"]);
    assert_eq!((pair.remote(0), pair.remote(1)), (Some(address(1, 4010)), Some(address(0, 4010))));
}

#[test]
fn reinvites_that_cross_are_refused_and_tried_again() {
    //= test RFC 3261 §14.1: 491, and a pause that differs on both sides.
    let mut pair = talking();
    for host in [0, 1] {
        pair.input(host, offer(By::Invite, address(host, 4010), Direction::SendRecv));
    }
    pair.run(Duration::from_secs(6));
    assert_eq!((pair.remote(0), pair.remote(1)), (Some(address(1, 4010)), Some(address(0, 4010))));
}

#[test]
fn a_refused_change_leaves_everything_as_it_was() {
    for by in [By::Invite, By::Update] {
        let mut pair = Pair::calling_of(|host, config| {
            config.extensions.update = true;
            config.oddities.refuses_changes = host == 1;
        });
        pair.run(Duration::from_secs(3));
        pair.input(0, offer(by, address(0, 4010), Direction::SendRecv));
        pair.run(Duration::from_secs(1));
        let refused = pair.events.iter().any(|(host, event)| {
            *host == 0
                && matches!(event, Event::ChangeRefused { status: 488, warning: Some(why), .. } if why.contains("never"))
        });
        assert!(refused, "{:?}", pair.log);
        // The next change of the other side is answered with the old address.
        pair.input(1, offer(by, address(1, 4010), Direction::SendRecv));
        pair.run(Duration::from_secs(1));
        assert_eq!((pair.remote(0), pair.remote(1)), (Some(address(1, 4010)), Some(address(0, 4000))));
    }
}

#[test]
fn an_update_that_is_refused_with_405_ends_nothing() {
    let mut pair = Pair::calling_of(|host, config| {
        config.extensions.update = true;
        config.oddities.refuses_update = host == 1;
    });
    pair.run(Duration::from_secs(3));
    pair.input(0, offer(By::Update, address(0, 4010), Direction::SendRecv));
    pair.run(Duration::from_secs(1));
    assert!(pair.ends().is_empty());
    assert_eq!(pair.log.last().unwrap(), "1 405");
}

#[test]
fn video_is_added_taken_and_removed() {
    for takes in [None, Some(4020)] {
        let mut pair = Pair::calling_of(|host, config| {
            config.extensions.video = takes.filter(|_| host == 1);
        });
        pair.run(Duration::from_secs(3));
        for video in [Some(4010), None] {
            let wish = Offer {
                by: By::Invite,
                media: address(0, 4000),
                direction: Direction::SendRecv,
                video,
                fax: false,
            };
            pair.input(0, Input::Offer { call: CALL, offer: wish });
            pair.run(Duration::from_secs(1));
            let answer = pair.last_sdp(0);
            let port = if video.is_some() { takes.unwrap_or(0) } else { 0 };
            assert!(answer.contains(&format!("m=video {port} RTP/AVP 31")), "{answer}");
        }
    }
}

#[test]
fn an_offerless_reinvite_is_answered_in_the_ack() {
    //= test RFC 3261 §14.1: the offer comes in the 2xx, the answer in the ACK.
    let mut pair = talking();
    pair.input(0, Input::Ask(CALL));
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.log, ["0 INVITE", "1 100", "1 200", "0 ACK"]);
    assert!(pair.bodies("ACK ")[1] > 0);
    assert_eq!((pair.remote(0), pair.remote(1)), (Some(address(1, 4000)), Some(address(0, 4000))));
    // Both can change it afterwards.
    pair.input(1, offer(By::Invite, address(1, 4010), Direction::SendRecv));
    pair.run(Duration::from_secs(1));
    assert_eq!(pair.remote(0), Some(address(1, 4010)));
}

#[test]
fn a_reinvite_that_is_answered_late_keeps_others_away() {
    let mut pair = Pair::calling_of(|host, config| {
        config.extensions.update = true;
        config.oddities.answers_reinvite_late = (host == 1).then_some(Duration::from_secs(3));
    });
    pair.run(Duration::from_secs(3));
    pair.log.clear();
    pair.input(0, offer(By::Invite, address(0, 4010), Direction::SendRecv));
    pair.run(Duration::from_secs(1));
    pair.input(1, offer(By::Invite, address(1, 4010), Direction::SendRecv));
    assert_eq!(pair.log, ["0 INVITE", "1 100"], "it must not offer while it owes an answer");
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.log, ["0 INVITE", "1 100", "1 200", "0 ACK"]);
}

#[test]
fn who_cannot_update_says_405() {
    let mut pair = Pair::calling(crate::world::ACCEPT, GOOD());
    pair.run(Duration::from_secs(3));
    pair.input(0, offer(By::Update, address(0, 4010), Direction::SendRecv));
    assert_eq!(pair.log.last().unwrap(), "0 ACK", "a phone without UPDATE sends none");
}
