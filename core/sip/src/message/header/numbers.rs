//! Fields that are one number: Expires (RFC 3261 §20.19), Min-Expires (§20.23), Max-Breadth (RFC 5393 §5.3.3),
//! RSeq (RFC 3262 §7.1).

use crate::message::{Defect, Message, Name, syntax};

impl Message {
    /// A field that is one decimal number of 32 bits.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn number(&self, name: Name) -> Result<Option<u32>, Defect> {
        self.header(name).map(|value| syntax::parse_number(value).ok_or(Defect::Malformed(name))).transpose()
    }

    /// Expires, seconds.
    ///
    /// # Errors
    /// [`Defect::Malformed`]; RFC 3261 §20.19 lets a registrar take the default instead.
    pub fn expires(&self) -> Result<Option<u32>, Defect> {
        self.number(Name::Expires)
    }

    /// Max-Breadth.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn max_breadth(&self) -> Result<Option<u32>, Defect> {
        self.number(Name::MaxBreadth)
    }

    /// RSeq, at least 1.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn rseq(&self) -> Result<Option<u32>, Defect> {
        //= RFC 3262 §7.1: from 1 to 2**32 - 1.
        match self.number(Name::RSeq)? {
            Some(0) => Err(Defect::Malformed(Name::RSeq)),
            number => Ok(number),
        }
    }
}
