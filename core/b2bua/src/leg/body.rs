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
    /// A session description where we cannot see or change it: inside another body, encoded, without a label, or with
    /// another disposition. It may not travel, because nothing is opened for it.
    Hidden,
}

impl<'m> Body<'m> {
    /// Looks at the body of a message.
    pub(crate) fn of(message: &'m Message) -> Self {
        let body = message.body();
        if body.is_empty() {
            return Self::None;
        }
        //= RFC 3261 §20.15: a body must be labelled; what looks like SDP and is not is read as SDP by some phones.
        let Some(media) = message.header(Name::ContentType) else {
            return if looks_like_description(body) { Self::Hidden } else { Self::Opaque(body) };
        };
        let plain = message.header(Name::ContentEncoding).is_none_or(|value| is(value, "identity"));
        if is(media, SDP) {
            //= RFC 3261 §20.11: without Content-Disposition, application/sdp is the session's.
            let session = message.header(Name::ContentDisposition).is_none_or(|value| is(value, "session"));
            return if plain && session { Self::Description(body) } else { Self::Hidden };
        }
        let hides = SEALED.iter().any(|sealed| is(media, sealed))
            || (CONTAINERS.iter().any(|kind| begins(media, kind)) && (!plain || contains_description(body)));
        if hides { Self::Hidden } else { Self::Opaque(body) }
    }
}

const SDP: &str = "application/sdp";

/// Types that carry other bodies, which themselves carry a label.
const CONTAINERS: [&str; 2] = ["multipart/", "message/"];

/// Types that carry other bodies so that only their reader can see them (RFC 3261 §23).
const SEALED: [&str; 2] = ["application/pkcs7-mime", "multipart/encrypted"];

fn is(value: &[u8], word: &str) -> bool {
    letters(value).eq(word.bytes())
}

fn begins(value: &[u8], start: &str) -> bool {
    letters(value).take(start.len()).eq(start.bytes())
}

/// What stands before the parameters, in small letters and without white space.
//= RFC 3261 §25.1: white space and line folds may stand on both sides of the slash.
fn letters(value: &[u8]) -> impl Iterator<Item = u8> {
    value
        .iter()
        .take_while(|byte| **byte != b';')
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(u8::to_ascii_lowercase)
}

/// True if some part is labelled as a description, however the label is written, or looks like one.
fn contains_description(body: &[u8]) -> bool {
    let packed: Vec<u8> =
        body.iter().filter(|byte| !byte.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect();
    packed.windows(SDP.len()).any(|window| window == SDP.as_bytes()) || looks_like_description(body)
}

//= RFC 8866 §5: a description begins with its version, which is 0.
fn looks_like_description(body: &[u8]) -> bool {
    body.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"v=0"))
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

    #[test]
    fn white_space_in_a_label_hides_nothing() {
        for spaced in ["application / sdp", "application/\r\n sdp", "APPLICATION\t/ Sdp ;x=y"] {
            let line = format!("Content-Type: {spaced}\r\n");
            assert_eq!(Body::of(&message(&line, "v=0")), Body::Description(b"v=0"), "{spaced:?}");
            let part = format!("--b\r\nContent-Type: {spaced}\r\n\r\nx\r\n");
            let mixed = "Content-Type: multipart / mixed;boundary=b\r\n";
            assert_eq!(Body::of(&message(mixed, &part)), Body::Hidden, "{spaced:?}");
        }
    }

    #[test]
    fn sdp_without_a_label_is_noticed() {
        assert_eq!(Body::of(&message("", "v=0\r\n")), Body::Hidden);
        assert_eq!(Body::of(&message("", "hello\r\n")), Body::Opaque(b"hello\r\n"));
        let mixed = "Content-Type: multipart/mixed;boundary=b\r\n";
        assert_eq!(Body::of(&message(mixed, "--b\r\n\r\nv=0\r\n")), Body::Hidden);
        let text = "Content-Type: text/plain\r\n";
        assert_eq!(Body::of(&message(text, "v=0\r\n")), Body::Opaque(b"v=0\r\n"));
    }

    #[test]
    fn bodies_that_carry_other_bodies_are_looked_into_or_kept_back() {
        let sip = "Content-Type: message/sip\r\n";
        assert_eq!(Body::of(&message(sip, "INVITE x\r\nc: application/sdp\r\n")), Body::Hidden);
        let fragment = "Content-Type: message/sipfrag;version=2.0\r\n";
        assert_eq!(Body::of(&message(fragment, "SIP/2.0 200 OK")), Body::Opaque(b"SIP/2.0 200 OK"));
        let sealed = "Content-Type: application/pkcs7-mime; smime-type=enveloped-data\r\n";
        assert_eq!(Body::of(&message(sealed, "x")), Body::Hidden);
        let packed = "Content-Type: multipart/mixed;boundary=b\r\nContent-Encoding: gzip\r\n";
        assert_eq!(Body::of(&message(packed, "x")), Body::Hidden);
    }
}
