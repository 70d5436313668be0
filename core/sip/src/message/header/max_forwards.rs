//! Max-Forwards: RFC 3261 §20.22.

use crate::message::{Defect, Message, Name};

impl Message {
    /// Max-Forwards, 0 to 255; `None` if it is left out, as RFC 2543 did.
    ///
    /// # Errors
    /// [`Defect::Malformed`]; never for a request that [`Message::parse`] accepted.
    pub fn max_forwards(&self) -> Result<Option<u8>, Defect> {
        let number = self.number(Name::MaxForwards)?;
        number
            .map(|number| u8::try_from(number).map_err(|_| Defect::Malformed(Name::MaxForwards)))
            .transpose()
    }
}
