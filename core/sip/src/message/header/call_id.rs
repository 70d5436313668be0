//! Call-ID: RFC 3261 §20.8.

use crate::message::{Defect, Message, Name, syntax};

impl Message {
    /// Call-ID; compared byte by byte.
    ///
    /// # Errors
    /// [`Defect::Missing`] or [`Defect::Malformed`]; never for a message that [`Message::parse`] accepted.
    pub fn call_id(&self) -> Result<&str, Defect> {
        let value = self.mandatory(Name::CallId)?;
        let valid = !value.is_empty() && value.iter().all(u8::is_ascii_graphic);
        syntax::ascii(value).filter(|_| valid).ok_or(Defect::Malformed(Name::CallId))
    }
}
