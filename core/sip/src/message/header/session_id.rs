//! Session-ID: RFC 7989 §5.

use std::fmt;

use crate::message::syntax::Cursor;
use crate::message::{Defect, Message, Name, Params};

/// One side's identifier: 128 bits, written as 32 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(pub u128);

impl Uuid {
    /// Not known yet.
    pub const NIL: Self = Self(0);

    fn parse(text: &str) -> Option<Self> {
        let valid = text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        u128::from_str_radix(text, 16).ok().filter(|_| valid).map(Self)
    }
}

//= RFC 7989 §5: digits and lower-case letters, no hyphens.
impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// Both identifiers as the sender of the message sees them; its text is the header value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId {
    /// The sender's.
    pub local: Uuid,
    /// The receiver's; `None` only from implementations older than RFC 7989.
    pub remote: Option<Uuid>,
}

impl Message {
    /// Session-ID.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn session_id(&self) -> Result<Option<SessionId>, Defect> {
        let Some(value) = self.header(Name::SessionId) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or(Defect::Malformed(Name::SessionId))
    }
}

fn read(value: &[u8]) -> Option<SessionId> {
    let mut cursor = Cursor::new(value);
    let local = Uuid::parse(cursor.token()?)?;
    let params = Params::parse(cursor)?;
    let remote = match params.text("remote") {
        Some(text) => Some(Uuid::parse(text)?),
        None => None,
    };
    Some(SessionId { local, remote })
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.local)?;
        match self.remote {
            Some(remote) => write!(f, ";remote={remote}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_are_read_as_written() {
        let text = "ab30317f1a784dc48ff824d0d3715d86;remote=00000000000000000000000000000000";
        let id = read(text.as_bytes()).unwrap();
        assert_eq!(id.remote, Some(Uuid::NIL));
        assert_eq!(id.to_string(), text);
        assert_eq!(read(b"AB30317f1a784dc48ff824d0d3715d86").unwrap().remote, None);
    }

    #[test]
    fn other_lengths_and_letters_are_refused() {
        for broken in
            ["", "ab30", "gb30317f1a784dc48ff824d0d3715d86", "ab30317f1a784dc48ff824d0d3715d86;remote=1"]
        {
            assert_eq!(read(broken.as_bytes()), None, "{broken}");
        }
    }
}
