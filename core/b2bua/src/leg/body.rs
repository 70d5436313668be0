//! What a message carries, as far as it matters: a session description, nothing, or something we do not read.

use sip::message::{Message, Name};

/// The body of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Body<'m> {
    /// There is none.
    None,
    /// A session description (RFC 3264).
    Description(&'m [u8]),
    /// Something that names no media address to the session: travels byte for byte.
    Opaque(&'m [u8]),
    /// A session description where we cannot see or change it: in a multipart body, encoded, or with another
    /// disposition. It may not travel, because nothing is opened for it.
    Hidden,
}

impl<'m> Body<'m> {
    /// Looks at the body of a message.
    pub(crate) fn of(message: &'m Message) -> Self {
        let body = message.body();
        if body.is_empty() {
            return Self::None;
        }
        //= RFC 3261 §13.2.1, §20.15: without Content-Type nothing is known; SDP must be labelled.
        let media = message.header(Name::ContentType).map(first_word).unwrap_or_default();
        if media.eq_ignore_ascii_case(SDP) {
            let plain = message.header(Name::ContentEncoding).is_none_or(|value| is(value, b"identity"))
                //= RFC 3261 §20.11: without Content-Disposition, application/sdp is the session's.
                && message.header(Name::ContentDisposition).is_none_or(|value| is(value, b"session"));
            return if plain { Self::Description(body) } else { Self::Hidden };
        }
        let multipart = media.get(..10).is_some_and(|start| start.eq_ignore_ascii_case(b"multipart/"));
        let inside = || body.windows(SDP.len()).any(|window| window.eq_ignore_ascii_case(SDP));
        if multipart && inside() { Self::Hidden } else { Self::Opaque(body) }
    }
}

const SDP: &[u8] = b"application/sdp";

fn is(value: &[u8], word: &[u8]) -> bool {
    first_word(value).eq_ignore_ascii_case(word)
}

/// What stands before the parameters.
fn first_word(value: &[u8]) -> &[u8] {
    let end = value.iter().position(|byte| *byte == b';').unwrap_or(value.len());
    value[..end].trim_ascii()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(lines: &str, body: &str) -> Message {
        let text = format!(
            "INFO sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:b@h>;tag=2\r\nCall-ID: c\r\nCSeq: 1 INFO\r\nMax-Forwards: 70\r\n{lines}\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    #[test]
    fn sdp_is_found_where_it_can_be_read() {
        assert_eq!(Body::of(&message("", "")), Body::None);
        assert_eq!(Body::of(&message("c: Application/SDP; x=y\r\n", "v=0")), Body::Description(b"v=0"));
        assert_eq!(Body::of(&message("Content-Type: text/plain\r\n", "hi")), Body::Opaque(b"hi"));
    }

    #[test]
    fn sdp_that_cannot_be_read_is_noticed() {
        let gzip = "Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n";
        assert_eq!(Body::of(&message(gzip, "x")), Body::Hidden);
        let early = "Content-Type: application/sdp\r\nContent-Disposition: early-session\r\n";
        assert_eq!(Body::of(&message(early, "v=0")), Body::Hidden);
        let mixed = "Content-Type: multipart/mixed;boundary=b\r\n";
        assert_eq!(Body::of(&message(mixed, "--b\r\nc: Application/Sdp\r\n\r\nv=0\r\n")), Body::Hidden);
        assert_eq!(
            Body::of(&message(mixed, "--b\r\nc: text/plain\r\n\r\nhi\r\n")),
            Body::Opaque(b"--b\r\nc: text/plain\r\n\r\nhi\r\n")
        );
    }
}
