//! What phones may do and the others of the lab do not: SIPp does it, with a script, to a real phone or to another SIPp.

use crate::line::{End, Line};
use crate::linphone::RELIABLE;
use crate::observer::Way;
use crate::phone::Answer;
use crate::script::{MEDIA, NONE, Part, SDP, SDP_ELSEWHERE, Script, Sipp};
use crate::talks::Make;
use crate::world::{CONFIG, Named, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("scripted::baresip_follows_to_another_port", || another_port(&Make::BARESIP)),
        ("scripted::linphone_follows_to_another_port", || another_port(&Make::LINPHONE)),
        ("scripted::baresip_holds_who_answers_at_another_port", || answered_elsewhere(&Make::BARESIP)),
        ("scripted::linphone_holds_who_answers_at_another_port", || answered_elsewhere(&Make::LINPHONE)),
        ("scripted::early_media_by_prack_and_a_new_port_by_update", prack_and_update),
        ("scripted::linphone_is_called_with_reliable_responses", reliable_to_linphone),
    ]
}

/// A re-INVITE moves the caller's port: sound goes to the new one and comes from there, and the old one is closed.
fn another_port(callee: &Make) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let _callee = callee.start(&world, End::Inside, Answer::AtOnce)?;
    let script = Script::new().invite("", SDP).response(&[100, 180], 200).ack().waits();
    let script = script.request("INVITE", "", SDP_ELSEWHERE).response(&[100], 200).ack().waits();
    let caller =
        Sipp::start(&world, End::Outside, script.request("BYE", "", NONE).response(&[], 200), Part::Caller)?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.talk()?;
    let mut before = line.used()?;
    before.retain(|(_, to)| to.port() == MEDIA);
    caller.go_on(&line)?;
    line.until_seen(End::Outside, Way::Sent, "ACK", 2)?;
    line.until_heard_at(End::Outside, MEDIA + 2)?;
    line.talk()?;
    line.wait_for("the pinholes of the old port are closed", || Ok(line.passes(&before)? == 0))?;
    caller.go_on(&line)?;
    caller.finish(&line)?;
    line.is_over()?;
    Ok(())
}

/// The phone holds SIPp and takes it back; SIPp answers with another port.
fn answered_elsewhere(holder: &Make) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let mut holder = holder.start(&world, End::Inside, Answer::AtOnce)?;
    let script = Script::new().invite("", SDP).response(&[100, 180], 200).ack();
    let script = script.hears("INVITE").answer("200 OK", "", SDP_ELSEWHERE).hears("ACK");
    let script = script.hears("INVITE").answer("200 OK", "", SDP_ELSEWHERE).hears("ACK").waits();
    let caller =
        Sipp::start(&world, End::Outside, script.request("BYE", "", NONE).response(&[], 200), Part::Caller)?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.talk()?;
    holder.hold()?;
    line.until_seen(End::Outside, Way::Heard, "ACK", 1)?;
    holder.resume()?;
    line.until_seen(End::Outside, Way::Heard, "ACK", 2)?;
    line.until_heard_at(End::Outside, MEDIA + 2)?;
    line.talk()?;
    caller.go_on(&line)?;
    caller.finish(&line)?;
    line.is_over()?;
    Ok(())
}

/// What a phone says it can where it can everything that is needed here.
pub(crate) const ABLE: &str = "Supported: 100rel\nAllow: INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, INFO\n";

/// The answer comes in a reliable 183, and sound flows before the call is answered; an UPDATE moves the caller's port.
fn prack_and_update() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let script = Script::new().called();
    let script = script.answer_call("183 Session Progress", "Require: 100rel\nRSeq: 71\n", SDP);
    let script =
        script.hears("PRACK").answer("200 OK", "", NONE).hears("UPDATE").answer("200 OK", "", SDP).waits();
    let script = script.answer_call("180 Ringing", "", NONE).answer_call("200 OK", ABLE, NONE).hears("ACK");
    let callee =
        Sipp::start(&world, End::Inside, script.hears("BYE").answer("200 OK", "", NONE), Part::Callee)?;
    let script = Script::new().invite(ABLE, SDP).reliable_183().waits();
    let script = script.request("UPDATE", ABLE, SDP_ELSEWHERE).response(&[], 200);
    let script = script.response(&[180], 200).ack().waits().request("BYE", "", NONE).response(&[], 200);
    let caller = Sipp::start(&world, End::Outside, script, Part::SilentCaller)?;
    line.until(End::Outside, Way::Heard, "200 PRACK")?;
    line.echo(End::Outside, MEDIA, MEDIA)?;
    caller.go_on(&line)?;
    line.until(End::Outside, Way::Heard, "200 UPDATE")?;
    line.echo(End::Outside, MEDIA + 2, MEDIA)?;
    assert_eq!(line.messages(End::Outside, Way::Heard, "200 INVITE")?.len(), 0, "nobody has answered");
    callee.go_on(&line)?;
    line.until(End::Inside, Way::Heard, "ACK")?;
    line.echo(End::Outside, MEDIA + 2, MEDIA)?;
    caller.go_on(&line)?;
    caller.finish(&line)?;
    callee.finish(&line)?;
    line.is_over()?;
    Ok(())
}

/// linphone, asked for reliable responses, sends its early media's 183 reliably, and gets its PRACK.
fn reliable_to_linphone() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let mut callee = Make::Linphone { extra: RELIABLE }.start(&world, End::Inside, Answer::WithEarlyMedia)?;
    let script = Script::new().invite(&format!("Require: 100rel\n{ABLE}"), SDP).reliable_183();
    let script = script.response(&[180], 200).ack().waits().request("BYE", "", NONE).response(&[], 200);
    let caller = Sipp::start(&world, End::Outside, script, Part::Caller)?;
    line.until(End::Inside, Way::Sent, "200 PRACK")?;
    line.until_heard(&[End::Outside])?;
    callee.answer()?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.talk()?;
    caller.go_on(&line)?;
    caller.finish(&line)?;
    line.is_over()?;
    Ok(())
}
