//! Replaces: RFC 3891 §6.

use crate::message::syntax::Cursor;
use crate::message::syntax::{self, is_space};
use crate::message::{Defect, Message, Name, Params};

/// The dialog that an INVITE takes the place of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaces<'a> {
    /// Its Call-ID.
    pub call_id: &'a str,
    /// The receiver's tag.
    pub to_tag: &'a str,
    /// The other side's tag.
    pub from_tag: &'a str,
    /// Only if the dialog is early.
    pub early_only: bool,
}

impl<'a> Replaces<'a> {
    /// Reads a header value, also one from a Refer-To URI once its escapes are resolved.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn parse(value: &'a [u8]) -> Result<Self, Defect> {
        read(value).ok_or(Defect::Malformed(Name::Replaces))
    }
}

impl Message {
    /// Replaces.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn replaces(&self) -> Result<Option<Replaces<'_>>, Defect> {
        self.header(Name::Replaces).map(Replaces::parse).transpose()
    }
}

fn read(value: &[u8]) -> Option<Replaces<'_>> {
    let mut cursor = Cursor::new(value);
    let call_id = syntax::ascii(cursor.take_while(|byte| !is_space(byte) && byte != b';'))?;
    let params = Params::parse(cursor)?;
    //= RFC 3891 §6.1: exactly one tag of each kind.
    let only = |name: &str| params.iter().filter(|(found, _)| found.eq_ignore_ascii_case(name)).count() == 1;
    let valid = !call_id.is_empty() && only("to-tag") && only("from-tag");
    let (to_tag, from_tag) = (params.text("to-tag")?, params.text("from-tag")?);
    valid.then_some(Replaces { call_id, to_tag, from_tag, early_only: params.find("early-only").is_some() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_tags_must_be_there_once() {
        let replaces = read(b"98732@sip.example.com ;from-tag=r33th4x0r ;to-tag=ff87ff;early-only").unwrap();
        let expected = Replaces {
            call_id: "98732@sip.example.com",
            to_tag: "ff87ff",
            from_tag: "r33th4x0r",
            early_only: true,
        };
        assert_eq!(replaces, expected);
        for broken in ["a;to-tag=1", "a;to-tag=1;from-tag=2;to-tag=3", ";to-tag=1;from-tag=2", "a"] {
            assert_eq!(read(broken.as_bytes()), None, "{broken}");
        }
    }
}
