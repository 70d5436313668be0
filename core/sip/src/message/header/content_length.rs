//! Content-Length: RFC 3261 §20.14.

use crate::message::{Defect, Message, Name};

impl Message {
    /// Content-Length, bytes.
    ///
    /// # Errors
    /// [`Defect::Malformed`] for anything but a number that fits 32 bits; never for a message that
    /// [`Message::parse`] accepted.
    pub fn content_length(&self) -> Result<Option<usize>, Defect> {
        Ok(self.number(Name::ContentLength)?.map(|number| number as usize))
    }
}
