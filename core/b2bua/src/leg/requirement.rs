//! An INVITE whose preconditions are not the caller's: its header fields say what its description does. RFC 3312 §11.

use sip::message::{Builder, Message, Method, Name};

use crate::leg::headers::{ALLOW, PRECONDITION, REL100};

/// The INVITE with another description, that has mandatory preconditions.
//= RFC 3312 §11: Require the option, Supported 100rel, and Allow with UPDATE.
pub(crate) fn asking(invite: &Message, description: &[u8]) -> Option<Message> {
    let list = |name, added: &[&str]| {
        let missing = |new: &&&str| !invite.tokens(name).any(|token| token.eq_ignore_ascii_case(new));
        let added = added.iter().filter(missing).copied();
        invite.tokens(name).chain(added).collect::<Vec<_>>().join(", ")
    };
    let allow = match invite.header(Name::Allow) {
        Some(_) => list(Name::Allow, &[Method::Prack.text(), Method::Update.text()]),
        None => ALLOW.to_owned(),
    };
    rewritten(invite, description, |builder| {
        builder
            .header(Name::Require, list(Name::Require, &[PRECONDITION]))
            .header(Name::Supported, list(Name::Supported, &[REL100]))
            .header(Name::Allow, allow)
    })
}

/// The INVITE with another description, that has no preconditions.
pub(crate) fn bare(invite: &Message, description: &[u8]) -> Option<Message> {
    let rest = |name| {
        let others = invite.tokens(name).filter(|token| !token.eq_ignore_ascii_case(PRECONDITION));
        others.collect::<Vec<_>>().join(", ")
    };
    rewritten(invite, description, |mut builder| {
        for name in [Name::Require, Name::Supported] {
            let rest = rest(name);
            builder = if rest.is_empty() { builder } else { builder.header(name, rest) };
        }
        builder.copy(invite, Name::Allow)
    })
}

fn rewritten(invite: &Message, description: &[u8], add: impl FnOnce(Builder) -> Builder) -> Option<Message> {
    let mut builder = Builder::request(invite.method(), invite.request_uri());
    let ours = [Name::Require, Name::Supported, Name::Allow, Name::ContentLength];
    for header in invite.headers().filter(|header| !ours.contains(&header.name)) {
        builder = builder.copy_line(header);
    }
    Message::parse(add(builder).body("", description).finish()).ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn invite(lines: &str) -> Message {
        let text = format!(
            "INVITE sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\n\
             Call-ID: c\r\nCSeq: 1 INVITE\r\nMax-Forwards: 9\r\n{lines}c: application/sdp\r\nX: 1\r\nl: 3\r\n\r\nv=0"
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    fn lines(message: &Message) -> String {
        let text = String::from_utf8_lossy(message.bytes()).into_owned();
        let (_, behind) = text.split_once("Max-Forwards: 9\r\n").unwrap();
        behind.replace("\r\n", "|")
    }

    #[test]
    fn what_is_asked_for_is_said() {
        let allow = format!("Allow: {ALLOW}");
        assert_eq!(
            lines(&asking(&invite(""), b"v=1").unwrap()),
            format!(
                "c: application/sdp|X: 1|Require: precondition|Supported: 100rel|{allow}|Content-Length: 3||v=1"
            )
        );
        let more = invite("Supported: 100rel, timer\r\nAllow: INVITE\r\nAllow: UPDATE\r\nRequire: x\r\n");
        assert_eq!(
            lines(&asking(&more, b"").unwrap()),
            "c: application/sdp|X: 1|Require: x, precondition|Supported: 100rel, timer|Allow: INVITE, UPDATE, PRACK|\
             Content-Length: 0||"
        );
    }

    #[test]
    fn what_is_not_asked_for_any_more_is_not_said() {
        let asked = invite("Require: Precondition\r\nSupported: precondition, 100rel\r\nAllow: UPDATE\r\n");
        assert_eq!(
            lines(&bare(&asked, b"v=1").unwrap()),
            "c: application/sdp|X: 1|Supported: 100rel|Allow: UPDATE|Content-Length: 3||v=1"
        );
    }
}
