//! Reason: RFC 3326.

use std::borrow::Cow;
use std::fmt;

use crate::message::syntax::{Cursor, Quoted, parse_number, unquote};
use crate::message::{Defect, Message, Name, Params};

/// Why a request was sent; its text is a header value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason<'a> {
    /// `SIP`, `Q.850` or another.
    pub protocol: &'a str,
    /// A status code, or what the protocol counts by.
    pub cause: Option<u16>,
    /// For people.
    pub text: Option<Cow<'a, str>>,
}

impl<'a> Reason<'a> {
    /// A SIP status code and what it means.
    #[must_use]
    pub fn sip(cause: u16, text: &'a str) -> Self {
        Self { protocol: "SIP", cause: Some(cause), text: Some(Cow::Borrowed(text)) }
    }

    /// Reads one value.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn parse(value: &'a [u8]) -> Result<Self, Defect> {
        let mut cursor = Cursor::new(value);
        let parts = cursor.token().zip(Params::parse(cursor));
        let (protocol, params) = parts.ok_or(Defect::Malformed(Name::Reason))?;
        Ok(Self {
            protocol,
            cause: params.find("cause").and_then(parse_number).and_then(|cause| u16::try_from(cause).ok()),
            text: params.find("text").map(unquote),
        })
    }
}

impl Message {
    /// Reason, every value; one per protocol, if the peer keeps to RFC 3326 §2.
    pub fn reasons(&self) -> impl Iterator<Item = Result<Reason<'_>, Defect>> {
        self.values(Name::Reason).map(Reason::parse)
    }
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.protocol)?;
        if let Some(cause) = self.cause {
            write!(f, ";cause={cause}")?;
        }
        match &self.text {
            Some(text) => write!(f, ";text={}", Quoted(text)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let reason = Reason::sip(503, "firewall \"failure\" \\ x");
        let text = reason.to_string();
        assert_eq!(text, r#"SIP;cause=503;text="firewall \"failure\" \\ x""#);
        assert_eq!(Reason::parse(text.as_bytes()), Ok(reason));
    }

    #[test]
    fn cause_and_text_may_be_left_out() {
        assert_eq!(Reason::parse(b"Q.850 ;cause=16").unwrap().cause, Some(16));
        assert_eq!(Reason::parse(b"SIP").unwrap(), Reason { protocol: "SIP", cause: None, text: None });
        assert!(Reason::parse(b";cause=1").is_err());
    }
}
