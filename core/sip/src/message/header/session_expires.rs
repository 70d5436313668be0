//! Session-Expires and Min-SE: RFC 4028 §4, §5.

use std::fmt;

use crate::message::syntax::Cursor;
use crate::message::{Defect, Message, Name, Params};

/// Who refreshes a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refresher {
    /// The side that sent the request.
    Uac,
    /// The side that answered it.
    Uas,
}

/// How long a session lives without a refresh; its text is the header value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionExpires {
    /// Seconds.
    pub interval_s: u32,
    /// Who refreshes, if it is said.
    pub refresher: Option<Refresher>,
}

impl Message {
    /// Session-Expires.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn session_expires(&self) -> Result<Option<SessionExpires>, Defect> {
        let Some(value) = self.header(Name::SessionExpires) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or(Defect::Malformed(Name::SessionExpires))
    }

    /// Min-SE, seconds.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn min_se(&self) -> Result<Option<u32>, Defect> {
        let Some(value) = self.header(Name::MinSe) else {
            return Ok(None);
        };
        let interval = seconds(value).map(|(interval_s, _)| interval_s);
        interval.map(Some).ok_or(Defect::Malformed(Name::MinSe))
    }
}

fn read(value: &[u8]) -> Option<SessionExpires> {
    let (interval_s, params) = seconds(value)?;
    let refresher = match params.text("refresher") {
        Some(text) if text.eq_ignore_ascii_case("uac") => Some(Refresher::Uac),
        Some(text) if text.eq_ignore_ascii_case("uas") => Some(Refresher::Uas),
        Some(_) => return None,
        None => None,
    };
    Some(SessionExpires { interval_s, refresher })
}

fn seconds(value: &[u8]) -> Option<(u32, Params<'_>)> {
    let mut cursor = Cursor::new(value);
    cursor.number().zip(Params::parse(cursor))
}

impl fmt::Display for SessionExpires {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let refresher = match self.refresher {
            None => "",
            Some(Refresher::Uac) => ";refresher=uac",
            Some(Refresher::Uas) => ";refresher=uas",
        };
        write!(f, "{}{refresher}", self.interval_s)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interval_and_refresher_are_read_as_written() {
        for text in ["1800", "90;refresher=uac", "4000;refresher=uas"] {
            assert_eq!(read(text.as_bytes()).unwrap().to_string(), text);
        }
        assert_eq!(read(b"90 ; x=1 ; Refresher = UAC").unwrap().refresher, Some(Refresher::Uac));
        for broken in ["", "x", "90;refresher=me", "-1"] {
            assert_eq!(read(broken.as_bytes()), None, "{broken}");
        }
    }
}
