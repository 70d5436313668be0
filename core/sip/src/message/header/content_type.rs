//! Content-Type: RFC 3261 §20.15.

use crate::message::syntax::Cursor;
use crate::message::{Defect, Message, Name, Params};

/// What a body is.
#[derive(Debug, Clone, Copy)]
pub struct ContentType<'a> {
    /// `application`
    pub media_type: &'a str,
    /// `sdp`
    pub subtype: &'a str,
    /// `boundary`, `charset` …
    pub params: Params<'a>,
}

impl ContentType<'_> {
    /// True for this type and subtype, in any case, whatever the parameters: `is("application", "sdp")`.
    #[must_use]
    pub fn is(&self, media_type: &str, subtype: &str) -> bool {
        self.media_type.eq_ignore_ascii_case(media_type) && self.subtype.eq_ignore_ascii_case(subtype)
    }
}

impl Message {
    /// Content-Type.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn content_type(&self) -> Result<Option<ContentType<'_>>, Defect> {
        let Some(value) = self.header(Name::ContentType) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or(Defect::Malformed(Name::ContentType))
    }

    /// The body if it is SDP: not empty, and of type `application/sdp`.
    #[must_use]
    pub fn sdp(&self) -> Option<&[u8]> {
        let is_sdp = self.content_type().ok()??.is("application", "sdp");
        Some(self.body()).filter(|body| is_sdp && !body.is_empty())
    }
}

fn read(value: &[u8]) -> Option<ContentType<'_>> {
    let mut cursor = Cursor::new(value);
    let media_type = cursor.token()?;
    cursor.eat_spaced(b'/').then_some(())?;
    let subtype = cursor.token()?;
    Some(ContentType { media_type, subtype, params: Params::parse(cursor)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_subtype_and_parameters_are_read() {
        let content = read(b"multipart / Mixed;boundary=\"a b\"").unwrap();
        assert!(content.is("Multipart", "mixed"));
        assert_eq!(content.params.find("boundary"), Some(&b"a b"[..]));
        assert!(read(b"application").is_none());
        assert!(read(b"application/sdp x").is_none());
    }
}
