//! Transfers that need more than one call of ours: attended, with Replaces (RFC 3891), and one whose new call crosses the firewall.

use crate::baresip::Baresip;
use crate::line::{End, Line};
use crate::linphone::{Linphone, OWN_ADDRESS};
use crate::observer::Way;
use crate::phone::{Answer, Phone as _};
use crate::raw::header;
use crate::talks::{Make, uri};
use crate::witness::expect;
use crate::world::{BORDER_INSIDE, BORDER_OUTSIDE, CONFIG, INSIDE, Named, OUTSIDE, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("transfers::linphone_joins_two_outside", attended),
        ("transfers::the_new_call_crosses_the_firewall", || crossing(&Make::BARESIP)),
        ("transfers::the_new_call_of_linphone_crosses_the_firewall", || crossing(&Make::LINPHONE)),
    ]
}

/// A second phone outside, and one inside.
const CAROL: &str = "198.51.100.21";
const DAN: &str = "10.0.40.21";

/// Alice and Carol, both outside, have each a call with Bob, inside, who joins them. Bob names his call with Carol as he knows
/// it; Alice is told it as Carol knows it, so that Carol finds the call that is replaced.
fn attended() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let mut bob = Linphone::start(&world, &world.inside, "bob", INSIDE, Answer::WhenTold, "")?;
    let mut alice = Linphone::start(&world, &world.outside, "alice", OUTSIDE, Answer::AtOnce, "")?;
    let mut carol = Linphone::start(&world, &world.outside, "carol", CAROL, Answer::AtOnce, OWN_ADDRESS)?;
    alice.call(&uri(End::Outside))?;
    line.until(End::Outside, Way::Heard, "180 INVITE")?;
    bob.answer()?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.talk()?;
    carol.call(&uri(End::Outside))?;
    line.until_seen(End::Outside, Way::Heard, "180 INVITE", 2)?;
    // Alice is put on hold by that.
    bob.type_in("answer 2")?;
    line.wait_for("Carol has her call", || {
        let answers = line.messages(End::Inside, Way::Sent, "200 INVITE")?;
        Ok(answers
            .iter()
            .map(|text| header(text, "Call-ID"))
            .collect::<std::collections::BTreeSet<_>>()
            .len()
            == 2)
    })?;
    line.wait_for("both have acknowledged", || {
        let acks = line.messages(End::Inside, Way::Heard, "ACK")?;
        Ok(acks.iter().map(|text| header(text, "Call-ID")).collect::<std::collections::BTreeSet<_>>().len()
            == 2)
    })?;
    bob.type_in("transfer 1 --to-call 2")?;
    line.until(End::Outside, Way::Heard, "REFER")?;
    let [asked, told] = [(End::Inside, Way::Sent), (End::Outside, Way::Heard)]
        .map(|(end, way)| line.messages(end, way, "REFER").map(|all| header(&all[0], "Refer-To").to_owned()));
    let (asked, told) = (asked?, told?);
    let carols = line.messages(End::Outside, Way::Sent, "INVITE")?;
    let hers = carols.iter().find(|text| header(text, "From").contains("carol"));
    let carols = hers.map(|text| header(text, "Call-ID").to_owned()).unwrap_or_default();
    expect(asked.contains("Replaces="), true, &format!("a call that is replaced in {asked}"))?;
    expect(
        told.contains(&format!("Replaces={}", carols.replace('@', "%40"))),
        true,
        &format!("Carol's call {carols} in {told}"),
    )?;
    expect(told.contains(CAROL), true, &format!("Carol herself in {told}"))?;
    line.wait_for("Bob is told that they talk", || {
        let told = line.messages(End::Inside, Way::Heard, "NOTIFY")?;
        Ok(told.iter().any(|text| text.contains("\nSIP/2.0 200")))
    })?;
    line.is_over()?;
    Ok(())
}

/// Bob, inside, calls out and sends Alice to Dan, inside as well, whom she reaches through the border: that call has pinholes of
/// its own, and those of the first one close.
fn crossing(sent: &Make) -> Outcome {
    let world = World::new()?;
    // What comes from outside goes to Dan.
    let postern = world.postern(&CONFIG.replace(&format!("sip:{INSIDE}"), &format!("sip:{DAN}")))?;
    let line = Line::watch(&world, &postern)?;
    let _dan = Baresip::start(&world, &world.inside, "dan", DAN, Answer::AtOnce)?;
    let _alice = sent.start(&world, End::Outside, Answer::AtOnce)?;
    let mut bob = Linphone::start(&world, &world.inside, "bob", INSIDE, Answer::AtOnce, "")?;
    bob.call(&format!("sip:alice@{BORDER_INSIDE}"))?;
    line.until(End::Inside, Way::Sent, "ACK")?;
    line.talk()?;
    bob.transfer(&format!("sip:dan@{BORDER_OUTSIDE}"))?;
    line.until(End::Outside, Way::Sent, "INVITE")?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.wait_for("Bob is told that they talk", || {
        let told = line.messages(End::Inside, Way::Heard, "NOTIFY")?;
        Ok(told.iter().any(|text| text.contains("\nSIP/2.0 200")))
    })?;
    line.wait_for("only the call with Dan is left", || {
        let calls = postern.json(&["calls"])?;
        Ok(calls["calls"].as_array().is_some_and(|calls| calls.len() == 1))
    })?;
    line.talk()?;
    let calls = postern.json(&["calls"])?;
    postern.text(&["kick", &calls["calls"][0]["id"].to_string()])?;
    line.is_over()?;
    Ok(())
}
