//! What one leg lets the other see of a message: never its dialog, only what travels end to end.

use sip::message::{Builder, Message};

use crate::leg::body::Body;
use crate::leg::headers;

/// The part of a message that travels to the other leg.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Carried<'m>(&'m Message);

impl<'m> Carried<'m> {
    pub(crate) fn new(message: &'m Message) -> Self {
        Self(message)
    }

    /// The body.
    pub(crate) fn body(self) -> Body<'m> {
        Body::of(self.0)
    }

    /// Status code and phrase of a response.
    pub(crate) fn status(self) -> (u16, String) {
        (self.0.status(), String::from_utf8_lossy(self.0.reason_phrase()).into_owned())
    }

    /// Header fields that travel; those that describe the body only with it.
    pub(crate) fn relay(self, builder: Builder, with_body: bool) -> Builder {
        headers::relay(builder, self.0, with_body)
    }
}
