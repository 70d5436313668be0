//! What travels from one leg to the other byte for byte and in order, and what each leg writes itself.
//!
//! RFC 7092 §3.1.3 (signalling-only, SDP-modifying B2BUA), RFC 3261 §8.1.1, §8.2.6, §12; `docs/calls.md`, "offer/answer".
//! The peers see our address in Via, Contact and Call-ID and nothing of each other's network, except where a peer
//! writes its address into something that is not ours to read.

use std::fmt;

use sip::message::{Builder, Message, Method, Name};

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
/// Everything else is taken out of Supported, so that no peer answers in a way we cannot finish: `100rel`, `timer`,
/// `path`, `outbound`, `precondition`, `replaces`, `gruu` and whatever we have not heard of.
const PASSED: [&str; 10] = [
    "answermode",
    "eventlist",
    "explicitsub",
    "histinfo",
    "norefersub",
    "nosub",
    "privacy",
    "resource-priority",
    "tdialog",
    "uui",
];

/// The same as a header value, for answers of our own.
pub(crate) const SUPPORTED: &str = "answermode, eventlist, explicitsub, histinfo, norefersub, nosub, privacy, \
                                    resource-priority, tdialog, uui";

/// True if an option tag may stand in Supported and Require on the other leg.
pub(crate) fn is_passed(option: &str) -> bool {
    PASSED.iter().any(|passed| passed.eq_ignore_ascii_case(option))
}

/// The methods we take part in, for Allow in answers of our own.
pub(crate) const ALLOW: &str = "INVITE, ACK, BYE, CANCEL, OPTIONS, INFO, MESSAGE, NOTIFY, REFER, SUBSCRIBE";

/// True if a method may stand in Allow on the other leg.
fn is_allowed(method: &str) -> bool {
    //= RFC 3261 §20.5: Allow lists what works; we neither end nor relay these two.
    method != Method::Prack.text() && method != Method::Update.text()
}

/// Copies to `builder` what belongs to the peers, and filters what they negotiate through us.
pub(crate) fn relay(mut builder: Builder, message: &Message, with_body: bool) -> Builder {
    let mut filtered = [false; 3];
    for header in message.headers() {
        match author(header.name, message) {
            Author::Peer if !with_body && is_about_body(header.name) => {}
            Author::Peer => builder = builder.copy_line(header),
            Author::Both => {
                let (position, keep): (usize, fn(&str) -> bool) = match header.name {
                    Name::Allow => (0, is_allowed),
                    Name::Require => (1, is_passed),
                    _ => (2, is_passed),
                };
                if !std::mem::replace(&mut filtered[position], true) {
                    builder = filter(builder, message, header.name, keep);
                }
            }
            Author::Us => {}
        }
    }
    builder
}

/// One line with those values of all lines of that name that may pass; none if none may.
fn filter(builder: Builder, message: &Message, name: Name, keep: fn(&str) -> bool) -> Builder {
    let kept = Kept { message, name, keep };
    if message.tokens(name).any(keep) { builder.header_fmt(name, format_args!("{kept}")) } else { builder }
}

struct Kept<'m> {
    message: &'m Message,
    name: Name,
    keep: fn(&str) -> bool,
}

impl fmt::Display for Kept<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, token) in self.message.tokens(self.name).filter(|token| (self.keep)(token)).enumerate()
        {
            f.write_str(if position == 0 { "" } else { ", " })?;
            f.write_str(token)?;
        }
        Ok(())
    }
}

/// Option tags of Require that we cannot honour; RFC 3261 §8.2.2.3.
pub(crate) fn unsupported(request: &Message) -> impl Iterator<Item = &str> {
    request.tokens(Name::Require).filter(|option| !is_passed(option))
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
        Name::Allow | Name::Require | Name::Supported => Author::Both,
        //= RFC 3261 §8.1.3.4, §21.4.23: a redirection's or an ambiguity's Contact is for the caller, not for us.
        Name::Contact if (300..400).contains(&status) || status == 485 => Author::Peer,
        // Written by `failure::write_reason`, because ours may replace the peer's.
        Name::Reason if matches!(message.method(), Method::Bye | Method::Cancel) => Author::Us,
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

/// Header fields of extensions that end here, and that name dialogs of one leg only.
const ENDS_HERE: [Name; 8] = [
    Name::Join,
    Name::MinSe,
    Name::Path,
    Name::RAck,
    Name::Replaces,
    Name::RSeq,
    Name::ServiceRoute,
    Name::SessionExpires,
];
