//! Event: RFC 6665 §8.2.1.

use crate::message::syntax::Cursor;
use crate::message::{Defect, Message, Name, Params};

/// What a subscription is about.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The package with its templates: `refer`, `presence.winfo`.
    pub package: &'a str,
    /// `id` and others.
    pub params: Params<'a>,
}

impl Message {
    /// Event.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn event(&self) -> Result<Option<Event<'_>>, Defect> {
        let Some(value) = self.header(Name::Event) else {
            return Ok(None);
        };
        let mut cursor = Cursor::new(value);
        let event = cursor.token().zip(Params::parse(cursor));
        event.map(|(package, params)| Some(Event { package, params })).ok_or(Defect::Malformed(Name::Event))
    }
}
