//! Session-ID as an intermediary writes it: RFC 7989 §5, §7, §8.

use std::fmt;

use machine::Rng;
use sip::message::{Builder, Message, Name};

use crate::side::{Side, Sides};

/// What we know of both peers' halves.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct SessionId {
    halves: Sides<Option<Uuid>>,
}

/// One half: 128 bits, never nil.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Uuid(u128);

impl SessionId {
    /// Learns the sender's half from its message, or assigns one to a peer that has none.
    pub(crate) fn learn(&mut self, from: Side, message: &Message, rng: &mut Rng) {
        //= RFC 7989 §7: a message without the field changes nothing of what we know of its sender.
        //= RFC 7989 §8: a new value of a peer is accepted.
        match message.header(Name::SessionId).and_then(read) {
            Some(uuid) => self.halves[from] = Some(uuid),
            None if self.halves[from].is_none() => {
                //= RFC 7989 §7: a peer that does not say who it is gets a value from us, for the whole dialog.
                self.halves[from] = Some(Uuid(u128::from(rng.bits()) << 64 | u128::from(rng.bits() | 1)));
            }
            None => {}
        }
    }

    /// The value that the INVITE to `to` had: inside a call both halves, before it only the caller's.
    pub(crate) fn of_invite(&self, to: Side, initial: bool) -> String {
        let remote = if initial { None } else { self.halves[to] };
        format!("{};remote={}", Half(self.halves[to.other()]), Half(remote))
    }

    /// Writes the field for a message to `to`: first the other peer's half, then the receiver's own.
    pub(crate) fn write(&self, builder: Builder, to: Side) -> Builder {
        //= RFC 7989 §7: a half that is not known is nil; if neither is, the field is left out.
        match (self.halves[to.other()], self.halves[to]) {
            (None, None) => builder,
            (local, remote) => {
                builder.header_fmt(Name::SessionId, format_args!("{};remote={}", Half(local), Half(remote)))
            }
        }
    }
}

/// The first half of a value; `None` if it is nil or not 32 lower-case hexadecimal digits.
fn read(value: &[u8]) -> Option<Uuid> {
    let text = value.get(..32)?;
    //= RFC 7989 §7: a value of another length is discarded, the message is not.
    let ends = value.get(32).is_none_or(|next| matches!(next, b';' | b' ' | b'\t' | b'\r'));
    let digits = text.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let number = u128::from_str_radix(std::str::from_utf8(text).ok()?, 16).ok()?;
    (ends && digits && number != 0).then_some(Uuid(number))
}

struct Half(Option<Uuid>);

impl fmt::Display for Half {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let octets = self.0.map_or(0, |uuid| uuid.0).to_be_bytes();
        // Digit by digit: nearly every message has four halves in it.
        let digits = octets.map(|octet| [octet >> 4, octet & 0xf].map(|digit| DIGITS[usize::from(digit)]));
        f.write_str(std::str::from_utf8(digits.as_flattened()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use sip::message::Method;

    use super::*;

    const A: &str = "0123456789abcdef0123456789abcdef";
    const NIL: &str = "00000000000000000000000000000000";

    fn message(line: &str) -> Message {
        let text = format!(
            "INFO sip:b@h SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\n\
             To: <sip:b@h>\r\nCall-ID: c\r\nCSeq: 1 INFO\r\nMax-Forwards: 9\r\n{line}Content-Length: 0\r\n\r\n"
        );
        Message::parse(Bytes::from(text)).unwrap()
    }

    fn written(session_id: &SessionId, to: Side) -> String {
        let builder = session_id.write(Builder::request(&Method::Info, "sip:b@h"), to);
        let text = String::from_utf8_lossy(&builder.finish()).into_owned();
        text.lines().find_map(|line| line.strip_prefix("Session-ID: ")).unwrap_or_default().to_owned()
    }

    #[test]
    fn each_peer_reads_the_other_first_and_itself_behind() {
        //= test RFC 7989 §7: the local part of the value belongs to the other peer.
        let mut session_id = SessionId::default();
        let mut rng = Rng::from_number(1);
        session_id.learn(Side::A, &message(&format!("Session-ID: {A};remote={NIL}\r\n")), &mut rng);
        assert_eq!(written(&session_id, Side::B), format!("{A};remote={NIL}"));
        assert_eq!(written(&session_id, Side::A), format!("{NIL};remote={A}"));
    }

    #[test]
    fn a_peer_without_one_is_given_one_that_stays() {
        let mut session_id = SessionId::default();
        let mut rng = Rng::from_number(1);
        assert_eq!(written(&session_id, Side::B), "");
        session_id.learn(Side::A, &message(""), &mut rng);
        let first = written(&session_id, Side::B);
        session_id.learn(Side::A, &message(""), &mut rng);
        assert_eq!(written(&session_id, Side::B), first);
        assert!(!first.starts_with(NIL));
    }

    #[test]
    fn a_broken_value_changes_nothing() {
        let mut session_id = SessionId::default();
        let mut rng = Rng::from_number(1);
        session_id.learn(Side::A, &message(&format!("Session-ID: {A}\r\n")), &mut rng);
        for broken in ["xyz", &A.to_uppercase(), &format!("{A}0"), &A[1..], NIL] {
            session_id.learn(Side::A, &message(&format!("Session-ID: {broken}\r\n")), &mut rng);
            assert_eq!(written(&session_id, Side::B), format!("{A};remote={NIL}"), "{broken}");
        }
    }
}
