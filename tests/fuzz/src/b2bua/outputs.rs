//! What must hold of every SIP message that leaves.

use bytes::Bytes;
use sip::message::{Message, Name};

/// Reads it as its receiver will. The answer to a message that is `garbled` repeats what made it so and may be
/// unreadable itself.
pub(super) fn read(bytes: &Bytes, garbled: bool) -> Option<Message> {
    let head_len = bytes.windows(4).position(|end| end == b"\r\n\r\n").map_or(0, |at| at + 4);
    assert!(head_len > 0 && has_whole_lines(&bytes[..head_len]), "bare CR or LF: {}", bytes.escape_ascii());
    match Message::parse(bytes.clone()) {
        Ok(message) => Some(checked(message)),
        Err(_) if garbled && (bytes.starts_with(b"SIP/2.0 4") || bytes.starts_with(b"SIP/2.0 5")) => None,
        Err(error) => panic!("unreadable ({error}): {}", bytes.escape_ascii()),
    }
}

fn checked(message: Message) -> Message {
    let bytes = message.bytes();
    let head = &bytes[..bytes.len() - message.body().len()];
    assert!(head.ends_with(b"\r\n\r\n"), "{}", bytes.escape_ascii());
    for name in [Name::From, Name::To, Name::CallId, Name::CSeq, Name::ContentLength] {
        let count = message.headers().filter(|header| header.name == name).count();
        assert_eq!(count, 1, "{name}: {}", bytes.escape_ascii());
    }
    let length = message.header(Name::ContentLength).and_then(|value| std::str::from_utf8(value).ok());
    assert_eq!(length.and_then(|text| text.parse().ok()), Some(message.body().len()));
    if message.is_request() {
        assert_eq!(message.headers().filter(|header| header.name == Name::MaxForwards).count(), 1);
        assert_eq!(message.values(Name::Via).count(), 1, "each leg starts anew: {}", bytes.escape_ascii());
    }
    message
}

/// True if CR and LF stand only beside each other.
fn has_whole_lines(head: &[u8]) -> bool {
    let is = |at: usize, byte: u8| head.get(at) == Some(&byte);
    (0..head.len()).all(|at| match head[at] {
        b'\r' => is(at + 1, b'\n'),
        b'\n' => at > 0 && is(at - 1, b'\r'),
        _ => true,
    })
}
