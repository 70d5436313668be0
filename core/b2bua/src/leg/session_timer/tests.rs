use super::*;

const NOW: Instant = Instant::ZERO;

fn timer() -> SessionTimer {
    SessionTimer::new(SessionPolicy {
        interval: Some(Duration::from_secs(1800)),
        minimum: Duration::from_secs(120),
    })
}

fn heard(supports: bool, expires: &str, min_se_s: u32) -> Heard {
    let (interval, refresher) = expires.split_once(' ').unwrap_or((expires, ""));
    let refresher = match refresher {
        "uac" => Some(Refresher::Uac),
        "uas" => Some(Refresher::Uas),
        _ => None,
    };
    let expires = interval.parse().ok().map(|interval_s| SessionExpires { interval_s, refresher });
    Heard { supports, expires, min_se_s }
}

fn at(seconds: u64) -> Instant {
    NOW + Duration::from_secs(seconds)
}

/// Who refreshes, and the interval.
fn session(timer: &SessionTimer) -> String {
    let who = match timer.state {
        State::Idle => return "none".into(),
        State::Theirs(_) => "peer",
        State::Ours { .. } => "we",
    };
    let seconds = timer.expires().map_or(0, |at| at.since(NOW).as_secs());
    format!("{who} {seconds}")
}

#[test]
fn as_uas_the_refresher_is_that_of_table_2() {
    //= test RFC 4028 §9: Table 2, interval and minimum.
    let rows = [
        // supports, asked for, minimum: what the 2xx says, who refreshes
        (false, "", 0, "", "we 1800"),
        (false, "600", 0, "600;refresher=uas", "we 600"),
        (false, "60", 0, "90;refresher=uas", "we 90"),
        (true, "", 0, "1800;refresher=uac", "peer 1800"),
        (true, "", 3000, "3000;refresher=uac", "peer 3000"),
        (true, "600", 0, "600;refresher=uac", "peer 600"),
        (true, "600 uac", 0, "600;refresher=uac", "peer 600"),
        (true, "600 uas", 0, "600;refresher=uas", "we 600"),
        (true, "4000 uas", 0, "1800;refresher=uas", "we 1800"),
        (true, "4000 uas", 2000, "2000;refresher=uas", "we 2000"),
    ];
    for (supports, asked, minimum, said, refreshes) in rows {
        let mut timer = timer();
        let heard = heard(supports, asked, minimum);
        assert_eq!(timer.on_asked(heard), Ok(()));
        let expires = timer.on_answer(NOW, heard).map(|expires| expires.to_string());
        assert_eq!((expires.unwrap_or_default().as_str(), session(&timer).as_str()), (said, refreshes));
    }
}

#[test]
fn as_uac_the_2xx_decides() {
    //= test RFC 4028 §7.2: with and without Session-Expires.
    let rows = [
        ("", "we 1800"),
        ("1800 uac", "we 1800"),
        ("600", "we 600"),
        ("600 uas", "peer 600"),
        ("5 uas", "peer 90"),
    ];
    for (said, refreshes) in rows {
        let mut timer = timer();
        timer.on_accepted(NOW, heard(true, said, 0));
        assert_eq!(session(&timer), refreshes, "{said}");
    }
}

#[test]
fn an_interval_that_is_too_short_is_refused_to_who_understands() {
    //= test RFC 4028 §9: 422 only if the request says that timers are supported.
    assert_eq!(timer().on_asked(heard(true, "119", 0)), Err(120));
    assert_eq!(timer().on_asked(heard(true, "120", 0)), Ok(()));
    assert_eq!(timer().on_asked(heard(false, "119", 0)), Ok(()));
}

#[test]
fn a_422_is_met_with_its_minimum_and_not_for_ever() {
    //= test RFC 4028 §7.3, §7.4.
    let mut timer = timer();
    timer.on_too_small(3600);
    assert_eq!(timer.asked().interval_s, 3600);
    timer.on_too_small(3601);
    timer.on_too_small(3602);
    assert!(!timer.aside);
    timer.on_too_small(3603);
    assert!(timer.aside);
}

#[test]
fn a_422_that_names_nothing_longer_is_asked_for_nothing() {
    let mut timer = timer();
    timer.on_too_small(1800);
    assert!(timer.aside);
}

#[test]
fn whoever_insists_on_more_than_a_day_is_refreshed_like_one_that_knows_no_timers() {
    let long = SESSION_MAX_S + 1;
    for (asked, minimum) in [("600 uac", long), ("", u32::MAX), ("4294967295", u32::MAX)] {
        let (mut timer, heard) = (timer(), heard(true, asked, minimum));
        assert_eq!(timer.on_asked(heard), Ok(()));
        assert_eq!(timer.on_answer(NOW, heard), None, "nothing is agreed on");
        assert_eq!((timer.aside, session(&timer).as_str()), (true, "we 1800"));
    }
    let mut timer = timer();
    timer.on_accepted(NOW, heard(true, "4294967295 uas", 0));
    assert_eq!(session(&timer), "we 1800");
    timer.on_too_small(long);
    timer.on_accepted(at(900), heard(true, "", 0));
    assert_eq!((timer.aside, session(&timer).as_str()), (true, "we 2700"));
    timer.on_accepted(at(900), heard(true, "86400 uas", 0));
    assert_eq!(session(&timer), "peer 87300");
}

#[test]
fn minima_from_before_the_dialog_do_not_count_in_it_and_later_ones_do() {
    //= test RFC 4028 §7.4: the minimum is cleared when the dialog begins.
    let mut timer = timer();
    timer.on_too_small(3600);
    timer.on_accepted(NOW, heard(true, "3600 uac", 0));
    assert_eq!((timer.min_se_s, timer.asked().to_string().as_str()), (0, "3600;refresher=uac"));
    assert_eq!(timer.on_asked(heard(true, "4000", 4000)), Ok(()));
    assert_eq!(timer.asked().to_string(), "4000;refresher=uac");
}

#[test]
fn roles_stay_in_requests_of_ours() {
    //= test RFC 4028 §7.4: the one who refreshes goes on doing so.
    let mut timer = timer();
    timer.on_accepted(NOW, heard(true, "600 uas", 0));
    assert_eq!(timer.asked().to_string(), "600;refresher=uas");
}

#[test]
fn we_refresh_at_half_and_end_before_expiry() {
    let mut timer = timer();
    timer.on_accepted(NOW, heard(true, "", 0));
    assert_eq!(timer.next(), Some((at(900), Due::Refresh)));
    timer.refreshing();
    assert_eq!(timer.next(), Some((at(1768), Due::Expired)));
    timer.on_accepted(at(901), heard(true, "", 0));
    assert_eq!(timer.next(), Some((at(901 + 900), Due::Refresh)));
}

#[test]
fn who_waits_for_the_peer_ends_before_expiry() {
    //= test RFC 4028 §10: 32 s or a third of the interval, whichever is less.
    let mut timer = timer();
    timer.on_accepted(NOW, heard(true, "90 uas", 0));
    assert_eq!(timer.next(), Some((at(60), Due::Expired)));
    timer.on_accepted(NOW, heard(true, "1800 uas", 0));
    assert_eq!(timer.next(), Some((at(1768), Due::Expired)));
}

#[test]
fn a_refused_refresh_is_tried_again_but_not_for_ever() {
    //= test RFC 4028 §10: not continuously.
    let mut timer = timer();
    timer.on_accepted(NOW, heard(true, "", 0));
    timer.refreshing();
    timer.refused(at(968), None);
    assert_eq!(timer.next(), Some((at(968 + 400), Due::Refresh)));
    timer.refused(at(1368), Some(Duration::from_secs(7)));
    assert_eq!(timer.next(), Some((at(1375), Due::Refresh)));
    timer.refused(at(1375), None);
    assert_eq!(timer.next(), Some((at(1768), Due::Expired)));
}

#[test]
fn without_a_policy_nothing_is_said_or_timed() {
    let timer = SessionTimer::new(SessionPolicy::default());
    assert!(!timer.is_on());
    assert_eq!(timer.next(), None);
}
