//! Session timers (RFC 4028): phones that refresh, phones that are refreshed, and phones that are no more.

use std::thread;
use std::time::Duration;

use crate::line::{End, Line};
use crate::observer::Way;
use crate::phone::Answer;
use crate::raw::header;
use crate::script::{NONE, Part, SDP, Script, Sipp};
use crate::talks::{Make, uri};
use crate::world::{CONFIG, Named, Outcome, World, signal};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("sessions::phones_are_refreshed_and_missed_when_they_have_died", phones_die),
        ("sessions::sipp_refreshes_by_update_and_reinvite", refreshes),
        ("sessions::an_interval_too_short_is_corrected", too_short),
    ]
}

/// Half an interval until a refresh, 64*T1 without an answer, and as much again for a busy machine.
const LOSS: Duration = Duration::from_secs(2 * (45 + 32));

/// The smallest interval there is (RFC 4028 §5), on both sides.
fn config() -> String {
    CONFIG.replace("listen =", "session-expires = \"90s\"\nlisten =")
}

/// One dies inside, one outside, two live, at the same time and each in a call of its own.
fn phones_die() -> Outcome {
    thread::scope(|scope| {
        let living = scope.spawn(live);
        let one = scope.spawn(|| dies(&Make::BARESIP, End::Inside, &Make::LINPHONE));
        let other = dies(&Make::LINPHONE, End::Outside, &Make::BARESIP);
        one.join().unwrap_or_else(|_| Err("a trial panicked".into())).and(other)?;
        living.join().unwrap_or_else(|_| Err("a trial panicked".into()))
    })
}

/// Neither phone refreshes for itself: linphone, which allows it, is refreshed by UPDATE, baresip by re-INVITE, and both talk on.
fn live() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&config())?;
    let line = Line::watch(&world, &postern)?;
    let _callee = Make::LINPHONE.start(&world, End::Inside, Answer::AtOnce)?;
    let mut caller = Make::BARESIP.start(&world, End::Outside, Answer::AtOnce)?;
    caller.call(&uri(End::Outside))?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.talk()?;
    line.wait_within(LOSS, "both are refreshed", || {
        Ok(!line.messages(End::Outside, Way::Sent, "200 INVITE")?.is_empty()
            && !line.messages(End::Inside, Way::Sent, "200 UPDATE")?.is_empty())
    })?;
    line.talk()?;
    caller.hang_up()?;
    line.until(End::Outside, Way::Heard, "200 BYE")?;
    line.is_over()?;
    Ok(())
}

/// A phone is killed in a call: when it is to be refreshed it is missed, the call ends, and the live phone is told why.
fn dies(dead: &Make, end: End, alive: &Make) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&config())?;
    let line = Line::watch(&world, &postern)?;
    let dead = dead.start(&world, end, Answer::AtOnce)?;
    let mut alive = alive.start(&world, end.other(), Answer::AtOnce)?;
    alive.call(&uri(end.other()))?;
    line.until(end.other(), Way::Sent, "ACK")?;
    line.talk()?;
    signal(dead.process(), "KILL")?;
    line.wait_within(LOSS, "the live side is told", || {
        Ok(!line.messages(end.other(), Way::Heard, "BYE")?.is_empty())
    })?;
    let bye = &line.messages(end.other(), Way::Heard, "BYE")?[0];
    assert!(header(bye, "Reason").starts_with("SIP"), "a reason in {bye}");
    line.is_over()?;
    Ok(())
}

/// What a phone says that refreshes for itself.
const TIMER: &str =
    "Supported: timer\nAllow: INVITE, ACK, CANCEL, BYE, UPDATE, INFO\nSession-Expires: 90;refresher=uac\n";

/// The caller refreshes by UPDATE without SDP and by re-INVITE with what it said before: nothing changes for the media.
fn refreshes() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&config())?;
    let line = Line::watch(&world, &postern)?;
    let _callee = Make::LINPHONE.start(&world, End::Inside, Answer::AtOnce)?;
    let script = Script::new().invite(TIMER, SDP).response(&[100, 180], 200).ack().waits();
    let script = script.request("UPDATE", TIMER, NONE).response(&[], 200).waits();
    let script = script.request("INVITE", TIMER, SDP).response(&[100], 200).ack().waits();
    let caller =
        Sipp::start(&world, End::Outside, script.request("BYE", "", NONE).response(&[], 200), Part::Caller)?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.talk()?;
    let used = line.used()?;
    caller.go_on(&line)?;
    line.until(End::Outside, Way::Heard, "200 UPDATE")?;
    line.talk()?;
    caller.go_on(&line)?;
    line.until_seen(End::Outside, Way::Sent, "ACK", 2)?;
    line.talk()?;
    assert_eq!(line.used()?, used, "from where to where sound goes");
    for kind in ["200 INVITE", "200 UPDATE"] {
        for response in line.messages(End::Outside, Way::Heard, kind)? {
            assert_eq!(header(&response, "Session-Expires"), "90;refresher=uac", "in {response}");
        }
    }
    caller.go_on(&line)?;
    caller.finish(&line)?;
    line.is_over()?;
    Ok(())
}

/// An interval below the minimum gets 422 with the minimum, before the callee hears of the call; with that it is taken.
fn too_short() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&config().replacen("listen", "min-se = \"90s\"\nlisten", 1))?;
    let line = Line::watch(&world, &postern)?;
    let _callee = Make::BARESIP.start(&world, End::Inside, Answer::AtOnce)?;
    let script = Script::new().invite(&TIMER.replace("90;", "60;"), SDP).refused(422);
    let script = script.invite(TIMER, SDP).response(&[100, 180], 200).ack().waits();
    let caller =
        Sipp::start(&world, End::Outside, script.request("BYE", "", NONE).response(&[], 200), Part::Caller)?;
    line.until(End::Outside, Way::Heard, "200 INVITE")?;
    line.talk()?;
    let refusals = line.messages(End::Outside, Way::Heard, "422 INVITE")?;
    assert_eq!(
        refusals.iter().map(|one| header(one, "Min-SE")).collect::<Vec<_>>(),
        ["90"],
        "{}",
        line.story()
    );
    assert_eq!(line.messages(End::Inside, Way::Heard, "INVITE")?.len(), 1, "INVITEs that the callee has got");
    caller.go_on(&line)?;
    caller.finish(&line)?;
    line.is_over()?;
    Ok(())
}
