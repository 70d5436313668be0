//! Preconditions (RFC 3312, draft §5.2) between programs of others: SIPp, which says what its script says, and phones that know
//! nothing of them.

use crate::line::{End, Line};
use crate::observer::Way;
use crate::phone::Answer;
use crate::raw::header;
use crate::script::{NONE, Part, SDP, Script, Sipp};
use crate::scripted::ABLE;
use crate::talks::{Make, uri};
use crate::witness::expect;
use crate::world::{CONFIG, Named, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("preconditions::figure_6_between_two_sipp", figure_6),
        ("preconditions::figure_7_between_two_sipp", figure_7),
        ("preconditions::inserted_towards_a_callee_that_can", inserted),
        ("preconditions::inserted_and_refused", inserted_and_refused),
        ("preconditions::baresip_cannot_and_is_remembered", unsupported),
        ("preconditions::linphone_ignores_them_and_rings", ignored),
    ]
}

/// Before and after the firewalls on the way are open.
const NOT_YET: &str = "a=curr:fw e2e none\na=des:fw mandatory e2e sendrecv\n";
const TELL_ME: &str = "a=curr:fw e2e none\na=des:fw mandatory e2e sendrecv\na=conf:fw e2e sendrecv\n";
const NOW: &str = "a=curr:fw e2e sendrecv\na=des:fw mandatory e2e sendrecv\n";
/// What a caller says that asks for it.
const ASKS: &str =
    "Require: precondition\nSupported: 100rel\nAllow: INVITE, ACK, CANCEL, BYE, PRACK, UPDATE, INFO\n";
/// The inside ports end below the one that SIPp names.
const FORBIDDEN: &str = "\n[middlebox]\nports = \"16384-21999\"\n";

/// The callee that waits for the firewalls, up to the moment when its phone may ring.
fn waits_for_them() -> Script {
    let script = Script::new().called().describes(TELL_ME);
    script.answer_call("183 Session Progress", "Require: 100rel\nRSeq: 71\n", SDP)
}

/// Draft figure 6: the phone rings when both pinholes are there, and both know.
fn figure_6() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let script = waits_for_them().hears("PRACK").answer("200 OK", "", NONE);
    let script =
        script.hears("UPDATE").describes(NOW).answer("200 OK", "Require: precondition\n", SDP).waits();
    let script = script.answer_call("180 Ringing", "", NONE).answer_call("200 OK", ABLE, NONE).hears("ACK");
    let callee =
        Sipp::start(&world, End::Inside, script.hears("BYE").answer("200 OK", "", NONE), Part::Callee)?;
    let script = Script::new().describes(NOT_YET).invite(ASKS, SDP).reliable_183();
    let script = script.describes(NOW).request("UPDATE", ASKS, SDP).response(&[], 200);
    let script = script.response(&[180], 200).ack().waits().request("BYE", "", NONE).response(&[], 200);
    let caller = Sipp::start(&world, End::Outside, script, Part::SilentCaller)?;
    line.until(End::Inside, Way::Sent, "200 UPDATE")?;
    // Nothing rings yet, and already everything passes.
    line.echo(End::Outside, SIPP_MEDIA, SIPP_MEDIA)?;
    expect(line.messages(End::Outside, Way::Heard, "180 INVITE")?.len(), 0, "phones that ring")?;
    let early = line.messages(End::Outside, Way::Heard, "183 INVITE")?;
    expect(
        early.len() == 1 && early[0].contains("a=curr:fw e2e sendrecv"),
        true,
        "a 183 that says that it passes",
    )?;
    let invite = line.messages(End::Inside, Way::Heard, "INVITE")?;
    expect(invite[0].contains("a=curr:fw e2e none"), true, "an INVITE that says that it does not yet")?;
    callee.go_on(&line)?;
    line.until(End::Inside, Way::Heard, "ACK")?;
    line.echo(End::Outside, SIPP_MEDIA, SIPP_MEDIA)?;
    caller.go_on(&line)?;
    caller.finish(&line)?;
    callee.finish(&line)?;
    line.is_over()?;
    Ok(())
}

use crate::script::MEDIA as SIPP_MEDIA;

/// Draft figure 7: the second pinhole is refused, and nobody's phone has rung.
fn figure_7() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&format!("{CONFIG}{FORBIDDEN}"))?;
    let line = Line::watch(&world, &postern)?;
    let script = waits_for_them().hears("CANCEL").answer("200 OK", "", NONE);
    let script = script.answer_call("487 Request Terminated", "", NONE).hears("ACK");
    let callee = Sipp::start(&world, End::Inside, script, Part::Callee)?;
    let script = Script::new().describes(NOT_YET).invite(ASKS, SDP).refused(580);
    let caller = Sipp::start(&world, End::Outside, script, Part::SilentCaller)?;
    caller.finish(&line)?;
    callee.finish(&line)?;
    is_figure_7(&line)?;
    line.is_over()?;
    Ok(())
}

/// Nobody has seen a 18x but us, and the callee is told why.
fn is_figure_7(line: &Line<'_>) -> std::io::Result<()> {
    for kind in ["180 INVITE", "183 INVITE"] {
        expect(line.messages(End::Outside, Way::Heard, kind)?.len(), 0, &format!("{kind} at the caller"))?;
    }
    let cancel = line.messages(End::Inside, Way::Heard, "CANCEL")?;
    let reason = cancel.first().map(|text| header(text, "Reason").to_owned()).unwrap_or_default();
    expect(reason.contains("firewall policy"), true, &format!("a reason in {cancel:?}"))
}

/// The realm's configuration asks for what the caller has not.
fn inserting() -> String {
    CONFIG.replace("media  = [", "precondition = \"fw\"\nmedia  = [")
}

/// A plain phone calls a callee that can: PRACK and UPDATE are ours, and the caller has a plain call.
fn inserted() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&inserting())?;
    let line = Line::watch(&world, &postern)?;
    let script = waits_for_them().hears("PRACK").answer("200 OK", "", NONE);
    let script = script.hears("UPDATE").describes(NOW).answer("200 OK", "", SDP);
    let script = script.answer_call("180 Ringing", "", NONE).answer_call("200 OK", ABLE, NONE).hears("ACK");
    let callee =
        Sipp::start(&world, End::Inside, script.hears("BYE").answer("200 OK", "", NONE), Part::Callee)?;
    let mut caller = Make::BARESIP.start(&world, End::Outside, Answer::AtOnce)?;
    caller.call(&uri(End::Outside))?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.talk()?;
    let update = line.messages(End::Inside, Way::Heard, "UPDATE")?;
    expect(update.len() == 1 && update[0].contains("a=curr:fw e2e sendrecv"), true, "an UPDATE of ours")?;
    for kind in ["180 INVITE", "183 INVITE", "200 INVITE"] {
        for text in line.messages(End::Outside, Way::Heard, kind)? {
            let plain =
                !text.contains("a=curr") && !text.contains("a=des") && header(&text, "Require").is_empty();
            expect(plain, true, &format!("a plain {text}"))?;
        }
    }
    caller.hang_up()?;
    callee.finish(&line)?;
    line.is_over()?;
    Ok(())
}

/// The same, and the second pinhole is refused: the plain caller is told, and nobody's phone has rung.
fn inserted_and_refused() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&format!("{}{FORBIDDEN}", inserting()))?;
    let line = Line::watch(&world, &postern)?;
    let script = waits_for_them().hears("CANCEL").answer("200 OK", "", NONE);
    let script = script.answer_call("487 Request Terminated", "", NONE).hears("ACK");
    let callee = Sipp::start(&world, End::Inside, script, Part::Callee)?;
    let mut caller = Make::BARESIP.start(&world, End::Outside, Answer::AtOnce)?;
    caller.call(&uri(End::Outside))?;
    line.until(End::Outside, Way::Heard, "580 INVITE")?;
    callee.finish(&line)?;
    is_figure_7(&line)?;
    line.is_over()?;
    Ok(())
}

/// baresip knows no preconditions: 420, which the caller does not hear of, and it is called again at once without. In the next
/// call it is not asked.
fn unsupported() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&inserting())?;
    let line = Line::watch(&world, &postern)?;
    let _callee = Make::BARESIP.start(&world, End::Inside, Answer::AtOnce)?;
    let mut caller = Make::LINPHONE.start(&world, End::Outside, Answer::AtOnce)?;
    for calls in [1, 2] {
        caller.call(&uri(End::Outside))?;
        line.until_seen(End::Outside, Way::Sent, "ACK", calls)?;
        line.talk()?;
        caller.hang_up()?;
        line.until_seen(End::Outside, Way::Heard, "200 BYE", calls)?;
    }
    expect(line.messages(End::Inside, Way::Sent, "420 INVITE")?.len(), 1, "420s of baresip")?;
    expect(line.messages(End::Outside, Way::Heard, "420 INVITE")?.len(), 0, "420s at the caller")?;
    let invites = line.messages(End::Inside, Way::Heard, "INVITE")?;
    let asked: Vec<bool> = invites.iter().map(|text| header(text, "Require") == "precondition").collect();
    expect(asked, vec![true, false, false], "INVITEs that ask for preconditions")?;
    line.is_over()?;
    Ok(())
}

/// linphone does not read Require: it rings and answers as if nothing had been asked, and the call is as good as any other.
fn ignored() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&inserting())?;
    let line = Line::watch(&world, &postern)?;
    let mut callee = Make::LINPHONE.start(&world, End::Inside, Answer::WhenTold)?;
    let mut caller = Make::BARESIP.start(&world, End::Outside, Answer::AtOnce)?;
    caller.call(&uri(End::Outside))?;
    line.until(End::Outside, Way::Heard, "180 INVITE")?;
    let invite = &line.messages(End::Inside, Way::Heard, "INVITE")?[0];
    expect(header(invite, "Require"), "precondition", "what was required")?;
    callee.answer()?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.talk()?;
    let answer = &line.messages(End::Outside, Way::Heard, "200 INVITE")?[0];
    expect(answer.contains("a=curr") || answer.contains("a=des"), false, "our lines in the caller's answer")?;
    caller.hang_up()?;
    line.until(End::Outside, Way::Heard, "200 BYE")?;
    line.is_over()?;
    Ok(())
}
