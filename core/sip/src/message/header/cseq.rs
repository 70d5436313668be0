//! CSeq: RFC 3261 §20.16, §8.1.1.5.

use std::fmt;

use crate::message::syntax::Cursor;
use crate::message::{Defect, Message, Method, Name};

/// A CSeq value; its text is the header value.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CSeq {
    /// The sequence number, below 2^31 in what we send.
    pub number: u32,
    /// The method.
    pub method: Method,
}

impl CSeq {
    /// Reads a header value.
    ///
    /// # Errors
    /// [`Defect::Malformed`] if it is not a number of 31 bits and a method.
    pub fn parse(value: &[u8]) -> Result<Self, Defect> {
        let (number, method) = parts(value).ok_or(Defect::Malformed(Name::CSeq))?;
        Ok(Self { number, method: Method::of(method) })
    }
}

impl Message {
    /// CSeq.
    ///
    /// # Errors
    /// [`Defect::Missing`] or [`Defect::Malformed`]; never for a message that [`Message::parse`] accepted.
    pub fn cseq(&self) -> Result<CSeq, Defect> {
        CSeq::parse(self.mandatory(Name::CSeq)?)
    }
}

/// Number and method without making a [`Method`].
pub(crate) fn parts(value: &[u8]) -> Option<(u32, &str)> {
    let mut cursor = Cursor::new(value);
    //= RFC 3261 §8.1.1.5: the number is below 2**31.
    let number = cursor.number().filter(|number| *number < 1 << 31)?;
    let before = cursor.rest.len();
    cursor.skip_space();
    let spaced = cursor.rest.len() < before;
    let method = cursor.token()?;
    (spaced && cursor.is_empty()).then_some((number, method))
}

impl fmt::Display for CSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.method)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_and_method_are_read_across_folds_and_zeros() {
        assert_eq!(CSeq::parse(b"0009\r\n  INVITE").unwrap(), CSeq { number: 9, method: Method::Invite });
    }

    #[test]
    fn what_is_no_31_bit_number_and_token_is_refused() {
        for value in [
            &b"2147483648 INVITE"[..],
            b"36893488147419103232 REGISTER",
            b"1",
            b"INVITE",
            b"1INVITE",
            b"-1 BYE",
            b"1 BYE x",
        ] {
            assert_eq!(CSeq::parse(value), Err(Defect::Malformed(Name::CSeq)));
        }
    }
}
