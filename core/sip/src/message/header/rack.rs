//! RAck: RFC 3262 §7.2.

use std::fmt;

use super::cseq;
use crate::message::syntax::Cursor;
use crate::message::{Defect, Message, Method, Name};

/// Which reliable provisional response a PRACK acknowledges; its text is the header value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RAck {
    /// The RSeq of the response.
    pub rseq: u32,
    /// The CSeq number of the response.
    pub cseq: u32,
    /// The CSeq method of the response.
    pub method: Method,
}

impl Message {
    /// RAck.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn rack(&self) -> Result<Option<RAck>, Defect> {
        let Some(value) = self.header(Name::RAck) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or(Defect::Malformed(Name::RAck))
    }
}

fn read(value: &[u8]) -> Option<RAck> {
    let mut cursor = Cursor::new(value);
    let rseq = cursor.number().filter(|number| *number > 0)?;
    let before = cursor.rest.len();
    cursor.skip_space();
    (cursor.rest.len() < before).then_some(())?;
    let (cseq, method) = cseq::parts(cursor.rest)?;
    Some(RAck { rseq, cseq, method: Method::of(method) })
}

impl fmt::Display for RAck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.rseq, self.cseq, self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_numbers_and_a_method_are_read() {
        let rack = read(b"776656 \r\n 1 INVITE").unwrap();
        assert_eq!(rack, RAck { rseq: 776_656, cseq: 1, method: Method::Invite });
        assert_eq!(rack.to_string(), "776656 1 INVITE");
        for broken in [&b"0 1 INVITE"[..], b"1 INVITE", b"1 1", b"1,1 INVITE", b""] {
            assert_eq!(read(broken), None);
        }
    }
}
