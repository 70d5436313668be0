//! Session timers: RFC 4028.

use std::time::Duration;

use postern_phone::{Config, Event, Input, SessionTimer};
use sip::message::Refresher;

use crate::world::{CALL, Pair};

/// What a phone of these tests wants.
fn timer(interval_s: u32, minimum_s: u32, refresher: Option<Refresher>) -> Option<SessionTimer> {
    Some(SessionTimer { interval_s, minimum_s, refresher })
}

/// Both have been talking for so many seconds.
fn talking(seconds: u64, change: impl Fn(usize, &mut Config)) -> Pair {
    let mut pair = Pair::calling_of(|host, config| {
        config.extensions.update = true;
        change(host, config);
    });
    pair.run(Duration::from_secs(5));
    pair.log.clear();
    pair.run(Duration::from_secs(seconds));
    pair
}

#[test]
fn the_chosen_side_refreshes_at_half_time() {
    //= test RFC 4028 §7.2, §9: the refresher of the 2xx, when half of the interval is over.
    for (refresher, refreshes) in [(Refresher::Uac, 0), (Refresher::Uas, 1)] {
        let pair = talking(250, |_, config| config.extensions.session = timer(180, 90, Some(refresher)));
        let update = format!("{refreshes} UPDATE");
        let answer = format!("{} 200", 1 - refreshes);
        assert_eq!(pair.log, [update.clone(), answer.clone(), update, answer]);
        let refreshed =
            pair.events.iter().filter(|(_, event)| matches!(event, Event::Refreshed { .. })).count();
        assert_eq!(refreshed, 4);
        assert!(pair.ends().is_empty());
    }
}

#[test]
fn who_has_no_timer_is_refreshed_by_the_other() {
    //= test RFC 4028 §9 table 2, §7.2: a peer that does not support it never refreshes.
    for able in [0, 1] {
        let pair = talking(100, |host, config| {
            config.extensions.session = timer(180, 90, None).filter(|_| host == able);
        });
        assert_eq!(pair.log, [format!("{able} UPDATE"), format!("{} 200", 1 - able)]);
    }
}

#[test]
fn without_update_it_is_a_reinvite_with_the_same_sdp() {
    //= test RFC 4028 §7.4: an unchanged o= line says that nothing changed.
    let pair = talking(100, |_, config| {
        config.extensions.update = false;
        config.extensions.session = timer(180, 90, Some(Refresher::Uac));
    });
    assert_eq!(pair.log, ["0 INVITE", "1 100", "1 200", "0 ACK"]);
    let origins = pair.origins();
    assert!(origins.windows(3).all(|three| three[0] == three[2]), "{origins:?}");
}

#[test]
fn an_update_refused_with_405_becomes_a_reinvite() {
    let pair = talking(100, |host, config| {
        config.extensions.session = timer(180, 90, Some(Refresher::Uac));
        config.oddities.refuses_update = host == 1;
    });
    assert_eq!(pair.log, ["0 UPDATE", "1 405", "0 INVITE", "1 100", "1 200", "0 ACK"]);
}

#[test]
fn an_interval_that_is_too_short_is_made_longer() {
    //= test RFC 4028 §7.3: 422 with Min-SE, and the next INVITE asks for that much.
    let mut pair = Pair::calling_of(|host, config| {
        config.extensions.session = timer([90, 600][host], [90, 300][host], None);
    });
    pair.run(Duration::from_secs(3));
    assert_eq!(pair.log[..5], ["0 INVITE", "1 100", "1 422", "0 ACK", "0 INVITE"]);
    assert_eq!(pair.answered(), [true, true]);
    let second = String::from_utf8(pair.sent_by(0, "INVITE")[1].to_vec()).unwrap();
    assert!(second.contains("Session-Expires: 300\r\n") && second.contains("Min-SE: 300\r\n"), "{second}");
    assert!(second.contains("CSeq: 2 INVITE"), "{second}");
}

#[test]
fn a_session_whose_refresher_is_gone_ends_before_its_time() {
    //= test RFC 4028 §10: BYE a third, at most 32 s, before the end.
    let mut pair = talking(1, |_, config| config.extensions.session = timer(180, 90, Some(Refresher::Uac)));
    pair.input(0, Input::Reboot);
    pair.run(Duration::from_secs(180));
    assert_eq!(pair.log, ["1 BYE", "0 481"]);
    let bye = String::from_utf8(pair.find("BYE ").to_vec()).unwrap();
    assert!(bye.contains("Reason: SIP;cause=408"), "{bye}");
    pair.finish();
}

#[test]
fn a_refresher_whose_peer_is_gone_hangs_up() {
    //= test RFC 4028 §10: 481 to a refresh ends the call.
    let mut pair = talking(1, |_, config| config.extensions.session = timer(180, 90, Some(Refresher::Uac)));
    pair.input(1, Input::Reboot);
    pair.run(Duration::from_secs(100));
    assert_eq!(pair.log, ["0 UPDATE", "1 481", "0 BYE", "1 481"]);
    pair.finish();
}

#[test]
fn nothing_runs_on_when_the_call_is_over() {
    let mut pair = talking(1, |_, config| config.extensions.session = timer(1800, 90, None));
    pair.input(1, Input::HangUp(CALL));
    pair.finish();
    assert_eq!(pair.ends(), [(0, 200), (1, 200)]);
}
