//! Call-ID: RFC 3261 §20.8.

use crate::message::{Defect, Message, Name, syntax};

impl Message {
    /// Call-ID; compared byte by byte.
    ///
    /// # Errors
    /// [`Defect::Missing`] or [`Defect::Malformed`]; never for a message that [`Message::parse`] accepted.
    pub fn call_id(&self) -> Result<&str, Defect> {
        let value = self.mandatory(Name::CallId)?;
        syntax::visible(value).filter(|text| !text.is_empty()).ok_or(Defect::Malformed(Name::CallId))
    }
}
