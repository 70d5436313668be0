//! What people do on the telephone, with baresip and linphone: hold, early media, an offer that comes late, giving up.

use std::io;

use crate::baresip::Baresip;
use crate::line::{End, Line};
use crate::linphone::{DELAYED_OFFER, Linphone};
use crate::observer::Way;
use crate::phone::{Answer, Phone};
use crate::world::{BORDER_INSIDE, BORDER_OUTSIDE, CONFIG, INSIDE, Named, OUTSIDE, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("talks::baresip_and_linphone_hold_and_resume", || hold(&Make::BARESIP, &Make::LINPHONE)),
        ("talks::linphone_and_baresip_hold_and_resume", || hold(&Make::LINPHONE, &Make::BARESIP)),
        ("talks::baresip_hears_linphone_before_it_answers", || {
            early_media(&Make::BARESIP, &Make::LINPHONE, End::Outside)
        }),
        ("talks::baresip_hears_linphone_before_it_answers_it", || {
            early_media(&Make::LINPHONE, &Make::BARESIP, End::Inside)
        }),
        ("talks::linphone_offers_late_to_baresip", || delayed_offer(&Make::BARESIP)),
        ("talks::linphone_offers_late_to_linphone", || delayed_offer(&Make::LINPHONE)),
        ("talks::baresip_gives_up_on_linphone", || cancel(&Make::BARESIP, &Make::LINPHONE)),
        ("talks::linphone_gives_up_on_baresip", || cancel(&Make::LINPHONE, &Make::BARESIP)),
        ("talks::baresip_sends_linphone_to_a_third", || transfer(&Make::BARESIP, &Make::LINPHONE)),
        ("talks::linphone_sends_baresip_to_a_third", || transfer(&Make::LINPHONE, &Make::BARESIP)),
    ]
}

/// A second phone outside.
const THIRD: &str = "198.51.100.21";

/// A phone program and how it is set up.
#[derive(Debug)]
pub(crate) enum Make {
    Baresip,
    Linphone { extra: &'static str },
}

impl Make {
    pub(crate) const BARESIP: Self = Self::Baresip;
    pub(crate) const LINPHONE: Self = Self::Linphone { extra: "" };

    pub(crate) fn start(&self, world: &World, end: End, answer: Answer) -> io::Result<Box<dyn Phone>> {
        let (host, name, address) = match end {
            End::Outside => (&world.outside, "alice", OUTSIDE),
            End::Inside => (&world.inside, "bob", INSIDE),
        };
        Ok(match self {
            Self::Baresip => Box::new(Baresip::start(world, host, name, address, answer)?),
            Self::Linphone { extra } => Box::new(Linphone::start(world, host, name, address, answer, extra)?),
        })
    }
}

/// What the caller dials to reach the phone at the other end.
pub(crate) fn uri(caller: End) -> String {
    match caller {
        End::Outside => format!("sip:bob@{BORDER_OUTSIDE}"),
        End::Inside => format!("sip:alice@{BORDER_INSIDE}"),
    }
}

/// Each phone holds the other and takes it back; while it does, sound goes at most one way, and afterwards both again.
fn hold(caller: &Make, callee: &Make) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let mut callee = callee.start(&world, End::Inside, Answer::AtOnce)?;
    let mut caller = caller.start(&world, End::Outside, Answer::AtOnce)?;
    caller.call(&uri(End::Outside))?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.talk()?;
    let used = line.used()?;
    assert_eq!(
        line.passes(&used)?,
        used.len(),
        "packets by hand that pass during the call, where media passes"
    );
    for (phone, end) in [(&mut caller, End::Outside), (&mut callee, End::Inside)] {
        let exchanges = line.messages(end, Way::Sent, "ACK")?.len();
        phone.hold()?;
        line.until_seen(end, Way::Sent, "ACK", exchanges + 1)?;
        let offers = line.messages(end.other(), Way::Heard, "INVITE")?;
        let offer = offers.last().ok_or("no offer")?;
        assert!(offer.contains("a=sendonly") || offer.contains("a=inactive"), "an offer to hold: {offer}");
        phone.resume()?;
        line.until_seen(end, Way::Sent, "ACK", exchanges + 2)?;
        line.talk()?;
    }
    callee.hang_up()?;
    line.until(End::Inside, Way::Heard, "200 BYE")?;
    line.is_over()?;
    Ok(())
}

/// Before it answers the callee sends SDP in a 183 that is not reliable, and sound flows; afterwards it flows both ways.
/// (This baresip does not play before it has answered, but it listens.)
fn early_media(caller: &Make, callee: &Make, listener: End) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let mut callee = callee.start(&world, End::Inside, Answer::WithEarlyMedia)?;
    let mut caller = caller.start(&world, End::Outside, Answer::AtOnce)?;
    caller.call(&uri(End::Outside))?;
    line.until(End::Outside, Way::Heard, "183 INVITE")?;
    line.until_heard(&[listener])?;
    assert_eq!(line.messages(End::Outside, Way::Heard, "200 INVITE")?.len(), 0, "nobody has answered");
    callee.answer()?;
    line.until(End::Outside, Way::Sent, "ACK")?;
    line.talk()?;
    caller.hang_up()?;
    line.until(End::Outside, Way::Heard, "200 BYE")?;
    line.is_over()?;
    Ok(())
}

/// The caller's INVITE has no SDP; the callee offers in its 200, and the answer comes in the ACK.
fn delayed_offer(callee: &Make) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let _callee = callee.start(&world, End::Outside, Answer::AtOnce)?;
    let mut caller = Make::Linphone { extra: DELAYED_OFFER }.start(&world, End::Inside, Answer::AtOnce)?;
    caller.call(&uri(End::Inside))?;
    line.until(End::Outside, Way::Heard, "ACK")?;
    let carries =
        |kind| Ok::<_, io::Error>(line.messages(End::Outside, Way::Heard, kind)?[0].contains("m=audio"));
    assert!(!carries("INVITE")?, "an INVITE without an offer");
    assert!(carries("ACK")?, "an ACK with an answer");
    line.talk()?;
    caller.hang_up()?;
    line.until(End::Inside, Way::Heard, "200 BYE")?;
    line.is_over()?;
    Ok(())
}

/// The caller gives up while the callee rings: the callee stops ringing, and nothing was ever open for it to speak through.
fn cancel(caller: &Make, callee: &Make) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let mut callee = callee.start(&world, End::Inside, Answer::WhenTold)?;
    let mut caller = caller.start(&world, End::Outside, Answer::AtOnce)?;
    caller.call(&uri(End::Outside))?;
    line.until(End::Outside, Way::Heard, "180 INVITE")?;
    caller.hang_up()?;
    line.until(End::Outside, Way::Heard, "200 CANCEL")?;
    line.until(End::Outside, Way::Heard, "487 INVITE")?;
    line.until(End::Inside, Way::Heard, "CANCEL")?;
    line.until(End::Inside, Way::Sent, "487 INVITE")?;
    line.until(End::Inside, Way::Heard, "ACK")?;
    line.is_over()?;
    assert_eq!(
        line.at(End::Inside).heard()? + line.at(End::Outside).heard()?,
        0,
        "sound in a call that never was"
    );
    // The phone is free: it can be called again, and now it answers.
    caller.call(&uri(End::Outside))?;
    line.until_seen(End::Outside, Way::Heard, "180 INVITE", 2)?;
    callee.answer()?;
    line.until(End::Outside, Way::Heard, "200 INVITE")?;
    line.talk()?;
    caller.hang_up()?;
    line.is_over()?;
    Ok(())
}

/// The inside phone calls out and then sends the outside phone to a third, outside too, which needs no firewall for that:
/// the sender is told how that went, hangs up, and nothing stays open.
fn transfer(sender: &Make, sent: &Make) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let line = Line::watch(&world, &postern)?;
    let _third = Baresip::start(&world, &world.outside, "carol", THIRD, Answer::AtOnce)?;
    let _sent = sent.start(&world, End::Outside, Answer::AtOnce)?;
    let mut sender = sender.start(&world, End::Inside, Answer::AtOnce)?;
    sender.call(&uri(End::Inside))?;
    line.until(End::Inside, Way::Sent, "ACK")?;
    line.talk()?;
    sender.transfer(&format!("sip:carol@{THIRD}"))?;
    line.until(End::Outside, Way::Heard, "REFER")?;
    line.wait_for("the sender is told that the third has answered", || {
        Ok(line
            .messages(End::Inside, Way::Heard, "NOTIFY")?
            .iter()
            .any(|told| told.contains("\nSIP/2.0 200")))
    })?;
    line.until(End::Inside, Way::Heard, "200 BYE")?;
    line.is_over()?;
    Ok(())
}
