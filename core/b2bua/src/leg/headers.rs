//! What travels from one leg to the other byte for byte and in order, and what each leg writes itself.
//!
//! RFC 7092 §3.1.3 (signalling-only, SDP-modifying B2BUA), RFC 3261 §8.1.1, §8.2.6, §12; `docs/calls.md`, "offer/answer".
//! The peers see our address in Via, Contact and Call-ID and nothing of each other's network, except where a peer
//! writes its address into something that is not ours to read.

use std::fmt;

use sip::message::{Builder, Message, Method, Name};

use super::session_timer::TIMER;
use crate::leg::body::Body;

/// Who writes a header field of the other leg's message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Author {
    /// The peer: copied as it came.
    Peer,
    /// The peer, without the values we cannot keep the promise of.
    Both,
    /// We do, or nobody.
    Us,
}

/// Extensions that two peers may agree on through us: they need nothing from elements in between.
///
/// Everything else is taken out of Supported, so that no peer answers in a way we cannot finish: `timer`,
/// `path`, `outbound`, `gruu`, `tdialog` (it asks for requests outside the call, which end here) and whatever we have not
/// heard of.
const PASSED: [&str; 11] = [
    "answermode",
    "eventlist",
    "explicitsub",
    "histinfo",
    "norefersub",
    "nosub",
    PRECONDITION,
    "privacy",
    "replaces",
    "resource-priority",
    "uui",
];

/// The same as a header value, for answers of our own.
pub(crate) const SUPPORTED: &str = "100rel, answermode, eventlist, explicitsub, histinfo, norefersub, nosub, precondition, privacy, \
                                    replaces, resource-priority, uui";

/// The same where sessions are timed.
pub(crate) const SUPPORTED_TIMER: &str = "100rel, answermode, eventlist, explicitsub, histinfo, norefersub, nosub, precondition, privacy, \
                                          replaces, resource-priority, timer, uui";

/// True if an option tag may stand in Supported and Require on the other leg.
pub(crate) fn is_passed(option: &str) -> bool {
    PASSED.iter().any(|passed| passed.eq_ignore_ascii_case(option))
}

/// The methods we take part in, for Allow in answers of our own.
pub(crate) const ALLOW: &str =
    "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, MESSAGE, NOTIFY, PRACK, REFER, SUBSCRIBE, UPDATE";

/// Those of them that may begin something, and what goes with it: Allow of a 405 outside any dialog.
pub(crate) const ALLOW_OUTSIDE: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS";

/// Preconditions (RFC 3312 §11).
pub(crate) const PRECONDITION: &str = "precondition";

/// Reliable provisional responses: passed on where both peers know them, ended by us where only one does.
pub(crate) const REL100: &str = "100rel";

fn is_rel100(option: &str) -> bool {
    option.eq_ignore_ascii_case(REL100)
}

/// True if the sender of an INVITE can acknowledge provisional responses.
pub(crate) fn supports_100rel(invite: &Message) -> bool {
    //= RFC 3262 §3: in Supported or in Require.
    invite.tokens(Name::Supported).chain(invite.tokens(Name::Require)).any(is_rel100)
}

/// True if a response is to be acknowledged, or those to an INVITE must be such.
pub(crate) fn requires_100rel(message: &Message) -> bool {
    message.tokens(Name::Require).any(is_rel100)
}

/// True if an option tag may stand in the other leg's Supported.
fn is_offered(option: &str) -> bool {
    is_passed(option) || is_rel100(option)
}

fn is_invite(message: &Message) -> bool {
    message.is_request() && *message.method() == Method::Invite
}

/// True if we say that we can acknowledge although the sender of the INVITE did not.
fn adds_100rel(message: &Message) -> bool {
    //= RFC 3262 §5: an offer in a provisional response is answered in PRACK, which only a sender that knows PRACK can do.
    let has_offer = || matches!(Body::of(message), Body::Description(_));
    is_invite(message) && !supports_100rel(message) && has_offer()
}

/// Copies to `builder` what belongs to the peers, and filters what they negotiate through us.
pub(crate) fn relay(mut builder: Builder, message: &Message, with_body: bool) -> Builder {
    let adds = adds_100rel(message);
    let mut filtered = [false; 2];
    for header in message.headers() {
        match author(header.name, message) {
            Author::Peer if !with_body && is_about_body(header.name) => {}
            Author::Peer => builder = builder.copy_line(header),
            Author::Both => {
                let (position, keep): (usize, fn(&str) -> bool) = match header.name {
                    //= RFC 3262 §4: only an INVITE requires it; in responses it belongs to a leg.
                    Name::Require if is_invite(message) => (0, is_offered),
                    Name::Require => (0, is_passed),
                    _ => (1, is_offered),
                };
                let added = if adds && position == 1 { REL100 } else { "" };
                if !std::mem::replace(&mut filtered[position], true) {
                    builder = filter(builder, Kept { message, name: header.name, keep, added });
                }
            }
            Author::Us => {}
        }
    }
    if adds && !filtered[1] { builder.more(Name::Supported, format_args!("{REL100}")) } else { builder }
}

/// Those values of all lines of that name that may pass, on one line with what we have said there ourselves.
fn filter(builder: Builder, kept: Kept<'_>) -> Builder {
    let some = !kept.added.is_empty() || kept.message.tokens(kept.name).any(kept.keep);
    if some { builder.more(kept.name, format_args!("{kept}")) } else { builder }
}

struct Kept<'m> {
    message: &'m Message,
    name: Name,
    keep: fn(&str) -> bool,
    /// One more value, of ours.
    added: &'static str,
}

impl fmt::Display for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let added = Some(self.added).filter(|added| !added.is_empty());
        let kept = self.message.tokens(self.name).filter(|token| (self.keep)(token)).chain(added);
        for (position, token) in kept.enumerate() {
            f.write_str(if position == 0 { "" } else { ", " })?;
            f.write_str(token)?;
        }
        Ok(())
    }
}

/// Option tags of Require that we cannot honour; RFC 3261 §8.2.2.3. `timer` is ours to honour where it is on.
pub(crate) fn unsupported(request: &Message, timer: bool) -> impl Iterator<Item = &str> {
    let ends_here = move |option: &str| timer && option.eq_ignore_ascii_case(TIMER);
    request.tokens(Name::Require).filter(move |option| !is_offered(option) && !ends_here(option))
}

/// One less than what came; 70 if nothing came (RFC 3261 §8.1.1.6). The endpoint has refused 0.
pub(crate) fn max_forwards(request: &Message) -> u8 {
    //= RFC 7332 §5: copied and decremented, so that loops through B2BUAs end.
    request.max_forwards().ok().flatten().map_or(70, |hops| hops.saturating_sub(1))
}

fn is_about_body(name: Name) -> bool {
    [
        Name::ContentDisposition,
        Name::ContentEncoding,
        Name::ContentLanguage,
        Name::ContentType,
        Name::MimeVersion,
    ]
    .contains(&name)
}

/// Whatever is not listed here is the peers' business and travels, as header fields do that nobody has heard of.
fn author(name: Name, message: &Message) -> Author {
    let status = message.status();
    match name {
        Name::Require | Name::Supported => Author::Both,
        //= RFC 3261 §8.1.3.4, §21.4.23: a redirection's or an ambiguity's Contact is for the caller, not for us.
        Name::Contact if (300..400).contains(&status) || status == 485 => Author::Peer,
        // Written by `failure::write_reason`, because ours may replace the peer's.
        //= RFC 6432 §1: responses carry it too, for the other protocol; there nothing of ours competes with it.
        Name::Reason if message.is_request() && matches!(message.method(), Method::Bye | Method::Cancel) => {
            Author::Us
        }
        // Written by `Call::send_exchange`, because it may name a dialog of one leg.
        Name::ReferTo if *message.method() == Method::Refer => Author::Us,
        _ if PER_LEG.contains(&name) || ENDS_HERE.contains(&name) => Author::Us,
        //= RFC 7332 §6: Max-Breadth is one of those that are copied.
        _ => Author::Peer,
    }
}

/// What every message of a leg has of its own.
const PER_LEG: [Name; 11] = [
    Name::CallId,
    Name::Contact,
    Name::ContentLength,
    Name::CSeq,
    Name::From,
    Name::MaxForwards,
    Name::RecordRoute,
    Name::Route,
    Name::SessionId,
    Name::To,
    Name::Via,
];

/// Header fields of extensions that end here, and that name dialogs of one leg only. Replaces of an INVITE that makes a
/// call is written when it leaves, translated if need be.
const ENDS_HERE: [Name; 9] = [
    Name::Join,
    Name::MinSe,
    Name::Path,
    Name::RAck,
    Name::Replaces,
    Name::RSeq,
    Name::ServiceRoute,
    Name::SessionExpires,
    Name::TargetDialog,
];

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(start: &str, lines: &str) -> Message {
        let method = if start.starts_with("BYE") { "BYE" } else { "INVITE" };
        let text = format!(
            "{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\n\
             Call-ID: c\r\nCSeq: 1 {method}\r\nMax-Forwards: 9\r\n{lines}Content-Length: 0\r\n\r\n"
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    /// The lines that travel.
    fn travels(start: &str, lines: &str) -> String {
        let written = relay(Builder::response(200, "OK"), &message(start, lines), true).finish();
        let text = String::from_utf8_lossy(&written).into_owned();
        text.trim_start_matches("SIP/2.0 200 OK\r\n").trim_end_matches("Content-Length: 0\r\n\r\n").into()
    }

    const INVITE: &str = "INVITE sip:b@h SIP/2.0";

    #[test]
    fn what_we_do_not_know_travels_as_it_came_and_in_order() {
        let lines = "X-B:  2\r\nSubject:a\r\n\tb\r\nx-a: 1\r\nMax-Breadth: 7\r\nX-B: 3\r\n";
        assert_eq!(travels(INVITE, lines), lines);
    }

    #[test]
    fn what_belongs_to_a_leg_stays_there() {
        let lines = "Route: <sip:r;lr>\r\nRecord-Route: <sip:r;lr>\r\nContact: <sip:a@10.0.0.7>\r\nRAck: 1 2 INVITE\r\n\
                     Session-Expires: 90\r\nReplaces: x;to-tag=1;from-tag=2\r\nTarget-Dialog: x;local-tag=1;remote-tag=2\r\n\
                     Session-ID: 00000000000000000000000000000001\r\n";
        assert_eq!(travels(INVITE, lines), "");
    }

    #[test]
    fn only_what_we_can_keep_is_negotiated() {
        let lines =
            "Supported: 100rel, histinfo\r\nk: timer\r\nAllow: INVITE,PRACK,UPDATE\r\nAllow: INFO\r\n";
        let kept = "Supported: 100rel, histinfo\r\nAllow: INVITE,PRACK,UPDATE\r\nAllow: INFO\r\n";
        assert_eq!(travels(INVITE, lines), kept);
        assert_eq!(travels(INVITE, "Supported: timer\r\n"), "");
        assert_eq!(travels("SIP/2.0 183 Progress", "Require: 100rel\r\nRSeq: 7\r\n"), "");
        assert_eq!(
            unsupported(&message(INVITE, "Require: UUI, gruu, timer\r\n"), true).collect::<Vec<_>>(),
            ["gruu"]
        );
    }

    #[test]
    fn the_contact_of_a_redirection_is_for_the_caller() {
        let contact = "Contact: <sip:c@192.0.2.7>\r\n";
        assert_eq!(travels("SIP/2.0 302 Moved", contact), contact);
        assert_eq!(travels("SIP/2.0 200 OK", contact), "");
    }

    #[test]
    fn reason_on_bye_is_written_elsewhere() {
        let reason = "Reason: Q.850;cause=16\r\n";
        assert_eq!(travels(INVITE, reason), reason);
        assert_eq!(travels("BYE sip:b@h SIP/2.0", reason), "");
    }

    #[test]
    fn the_answer_to_options_lists_what_is_passed() {
        assert_eq!(SUPPORTED.split(", ").skip(1).collect::<Vec<_>>(), PASSED);
        assert!(SUPPORTED.starts_with(REL100));
        assert_eq!(SUPPORTED_TIMER.replace("timer, ", ""), SUPPORTED);
        assert!(SUPPORTED_TIMER.split(", ").any(|option| option == TIMER));
    }
}
