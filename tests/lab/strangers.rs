//! People who are not in the call and speak as if they were.

use std::io;

use crate::raw::{Request, Wire, number, sdp, status};
use crate::witness::{Witness, expect};
use crate::world::{BORDER_INSIDE, BORDER_OUTSIDE, CONFIG, Named, Outcome, World};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("strangers::responses_out_of_nowhere", responses),
        ("strangers::requests_with_a_guessed_call_id", requests),
        ("strangers::requests_with_half_the_tags", half_the_tags),
        ("strangers::a_cancel_for_the_running_call", cancel),
        ("strangers::many_invites_that_nobody_acknowledges", unacknowledged),
    ]
}

const STRANGER: &str = "198.51.100.21";

fn with_a_call(attack: impl Fn(&Witness<'_>, &Wire) -> io::Result<()>) -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    for (host, address) in [(&world.outside, STRANGER), (&world.third, "192.0.2.20")] {
        attack(&witness, &Wire::open(host, address)?)?;
    }
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

/// Responses to requests that Postern never sent, some with names it knows.
fn responses() -> Outcome {
    with_a_call(|witness, stranger| {
        for via in [BORDER_OUTSIDE, BORDER_INSIDE, STRANGER] {
            for (code, method) in
                [(100, "INVITE"), (180, "INVITE"), (200, "INVITE"), (486, "INVITE"), (481, "BYE")]
            {
                for call_id in [witness.invite.call_id.as_str(), "nobody@lab"] {
                    let body = if code == 200 { sdp(STRANGER, 30_000) } else { String::new() };
                    stranger.send(format!(
                        "SIP/2.0 {code} Whatever\r\nVia: SIP/2.0/UDP {via}:5060;branch=z9hG4bK{}\r\n\
                         From: <sip:alice@example.org>;tag={}\r\nTo: <sip:bob@example.org>{}\r\nCall-ID: {call_id}\r\n\
                         CSeq: 1 {method}\r\nContact: <sip:bob@{STRANGER}>\r\nContent-Type: application/sdp\r\n\
                         Content-Length: {}\r\n\r\n{body}",
                        number(),
                        witness.invite.id,
                        witness.to_tag,
                        body.len()
                    ))?;
                }
            }
        }
        expect(stranger.is_not_answered()?, true, "silence towards responses")
    })
}

/// The stranger has seen the Call-ID, and makes up the rest.
fn requests() -> Outcome {
    with_a_call(|witness, stranger| {
        for to_tag in ["", ";tag=guessed", ";tag=0000000000000000"] {
            for method in ["BYE", "INVITE", "UPDATE", "INFO", "REFER", "NOTIFY", "CANCEL", "ACK"] {
                let call_id = witness.invite.call_id.clone();
                let request = Request {
                    call_id,
                    to_tag: to_tag.into(),
                    cseq: 2,
                    ..Request::new(method, stranger.local)
                };
                match (method, to_tag) {
                    ("ACK", _) => {
                        stranger.send(request.text())?;
                        expect(stranger.is_not_answered()?, true, "silence towards ACK")?;
                    }
                    // Without a To tag these belong to no call.
                    ("INVITE", "") => {}
                    ("UPDATE" | "INFO" | "REFER" | "NOTIFY", "") => {
                        expect(status(&stranger.ask(&request)?), 405, method)?;
                    }
                    _ => expect(status(&stranger.ask(&request)?), 481, method)?,
                }
            }
        }
        Ok(())
    })
}

/// One tag is right, the other is not.
fn half_the_tags() -> Outcome {
    with_a_call(|witness, stranger| {
        let right_to = |method| {
            let (to_tag, call_id) = (witness.to_tag.clone(), witness.invite.call_id.clone());
            Request { to_tag, call_id, cseq: 7, ..Request::new(method, stranger.local) }
        };
        for method in ["BYE", "INVITE", "INFO"] {
            expect(status(&stranger.ask(&right_to(method))?), 481, method)?;
            let text = right_to(method).text().replace(&witness.to_tag, ";tag=guessed");
            let own = format!("From: <sip:alice@example.org>;tag={}", witness.invite.id);
            let from = text.lines().find(|line| line.starts_with("From: ")).unwrap_or_default().to_owned();
            stranger.send(text.replace(&from, &own))?;
            expect(status(&stranger.next()?), 481, method)?;
            let other = Request { call_id: format!("{}x", witness.invite.call_id), ..right_to(method) };
            expect(status(&stranger.ask(&other)?), 481, method)?;
        }
        let ack = right_to("ACK").sdp(sdp(STRANGER, 30_000));
        stranger.send(ack.text())?;
        expect(stranger.is_not_answered()?, true, "silence towards ACK")
    })
}

/// The branch is that of the call's INVITE; the call is answered, so nothing is left to be cancelled.
fn cancel() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    let stranger = Wire::open(&world.outside, STRANGER)?;
    let (lines, body) = Default::default();
    let known = Request { method: "CANCEL", lines, body, ..witness.invite.clone() };
    expect(status(&stranger.ask(&known)?), 200, "status of the answer to CANCEL")?;
    let guessed = Request { id: "guessed".into(), ..known };
    expect(status(&stranger.ask(&guessed)?), 481, "status of the answer to a guess")?;
    witness.is_unharmed_and_alone()?;
    witness.hang_up()?;
    Ok(())
}

/// Three hundred INVITEs from one who never sends ACK: the callee is busy, everything is closed again.
fn unacknowledged() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let witness = Witness::start(&world, &postern)?;
    let stranger = Wire::open(&world.outside, STRANGER)?;
    for call in 0..300 {
        let invite = Request::new("INVITE", stranger.local).sdp(sdp(STRANGER, 30_000 + 2 * call));
        stranger.send(invite.text())?;
    }
    postern.wait_for("the callee has heard of them all", || Ok(witness.callee.asked().len() == 301))?;
    witness.is_unharmed()?;
    witness.hang_up()?;
    Ok(())
}
