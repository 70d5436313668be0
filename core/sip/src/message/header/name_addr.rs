//! `name-addr` and `addr-spec` with parameters: From, To, Contact, Route, Record-Route, Refer-To and their like.
//! RFC 3261 §20.10, §20.20, §20.30, §20.34, §20.39, §25.1.

use crate::message::syntax::{self, Cursor, is_space, is_token};
use crate::message::{Defect, Message, Name, Params, Uri};

/// An address with an optional display name and header parameters.
#[derive(Debug, Clone, Copy)]
pub struct NameAddr<'a> {
    display: &'a [u8],
    uri: &'a str,
    params: Params<'a>,
    value: &'a [u8],
}

impl<'a> NameAddr<'a> {
    /// Reads one value; `*` (RFC 3261 §10.2.2) has the URI `*`. What is no address gives the caller's `defect`.
    pub(crate) fn parse(value: &'a [u8], defect: Defect) -> Result<Self, Defect> {
        read(value).ok_or(defect)
    }

    /// The display name as it came: quoted (quotes and escapes included) or tokens; empty if there is none.
    #[must_use]
    pub fn display(&self) -> &'a [u8] {
        self.display
    }

    /// The URI as it came, without angle brackets.
    #[must_use]
    pub fn uri(&self) -> &'a str {
        self.uri
    }

    /// The URI taken apart.
    ///
    /// # Errors
    /// [`Defect::Uri`].
    pub fn parsed_uri(&self) -> Result<Uri<'a>, Defect> {
        Uri::parse(self.uri)
    }

    /// The header parameters.
    #[must_use]
    pub fn params(&self) -> Params<'a> {
        self.params
    }

    /// The `tag` parameter of a From or To.
    #[must_use]
    pub fn tag(&self) -> Option<&'a str> {
        self.params.text("tag").filter(|tag| !tag.is_empty())
    }

    /// The whole value as it came.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.value
    }
}

impl Message {
    /// From.
    ///
    /// # Errors
    /// [`Defect::Missing`] or [`Defect::Malformed`]; never for a message that [`Message::parse`] accepted.
    pub fn from(&self) -> Result<NameAddr<'_>, Defect> {
        NameAddr::parse(self.mandatory(Name::From)?, Defect::Malformed(Name::From))
    }

    /// To.
    ///
    /// # Errors
    /// [`Defect::Missing`] or [`Defect::Malformed`]; never for a message that [`Message::parse`] accepted.
    pub fn to(&self) -> Result<NameAddr<'_>, Defect> {
        NameAddr::parse(self.mandatory(Name::To)?, Defect::Malformed(Name::To))
    }

    /// Contact, every value.
    pub fn contacts(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Defect>> {
        self.addresses(Name::Contact)
    }

    /// Route, every value, topmost first.
    pub fn routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Defect>> {
        self.addresses(Name::Route)
    }

    /// Record-Route, every value, topmost first.
    pub fn record_routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Defect>> {
        self.addresses(Name::RecordRoute)
    }

    /// Any field of addresses: Refer-To, P-Asserted-Identity, Diversion … every value.
    pub fn addresses(&self, name: Name) -> impl Iterator<Item = Result<NameAddr<'_>, Defect>> {
        self.values(name).map(move |value| NameAddr::parse(value, Defect::Malformed(name)))
    }
}

fn read(value: &[u8]) -> Option<NameAddr<'_>> {
    let mut cursor = Cursor::new(value);
    cursor.skip_space();
    let display = display_name(&mut cursor)?;
    let bracketed = cursor.eat(b'<');
    let uri = if bracketed {
        let uri = cursor.take(memchr::memchr(b'>', cursor.rest)?);
        cursor.eat(b'>');
        uri
    } else {
        //= RFC 3261 §20.10: without angle brackets, what follows a semicolon belongs to the header, and no "?" may stand.
        cursor.take_while(|byte| !is_space(byte) && !matches!(byte, b';' | b',' | b'?' | b'<'))
    };
    let uri = syntax::visible(uri).filter(|uri| is_uri(uri))?;
    let params = Params::parse(cursor)?;
    Some(NameAddr { display, uri, params, value })
}

/// Leaves the cursor at the `<` or, where there is none, at the start of the URI.
fn display_name<'a>(cursor: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let start = cursor.rest;
    if cursor.peek() == Some(b'"') {
        cursor.quoted()?;
        let display = &start[..start.len() - cursor.rest.len()];
        cursor.skip_space();
        return (cursor.peek() == Some(b'<')).then_some(display);
    }
    //= RFC 3261 §25.1: an unquoted display name is tokens; bytes beyond ASCII are let through, peers send them.
    let display = cursor.take_while(|byte| is_token(byte) || is_space(byte) || byte >= 0x80);
    if cursor.peek() == Some(b'<') {
        return Some(syntax::trim(display));
    }
    cursor.rest = start;
    Some(&[])
}

fn is_uri(uri: &str) -> bool {
    uri == "*" || memchr::memchr(b':', uri.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> Result<NameAddr<'_>, Defect> {
        NameAddr::parse(value.as_bytes(), Defect::Malformed(Name::From))
    }

    #[test]
    fn every_form_is_read() {
        let quoted = parse("\"A, \\\"B\\\"\" <sip:a@b;lr>;tag=1").unwrap();
        assert_eq!(
            (quoted.display(), quoted.uri(), quoted.tag()),
            (&b"\"A, \\\"B\\\"\""[..], "sip:a@b;lr", Some("1"))
        );
        let tokens = parse("Anna B. <sip:a@b>").unwrap();
        assert_eq!((tokens.display(), tokens.uri(), tokens.tag()), (&b"Anna B."[..], "sip:a@b", None));
        let bare = parse("sip:a@b;tag=x;y").unwrap();
        assert_eq!((bare.display(), bare.uri(), bare.tag()), (&b""[..], "sip:a@b", Some("x")));
        assert_eq!(parse("*").unwrap().uri(), "*");
        assert_eq!(parse("<tel:+1>\r\n ; tag = z").unwrap().tag(), Some("z"));
    }

    #[test]
    fn latin_1_display_names_survive() {
        let value = b"J\xfcrgen <sip:j@b>";
        let parsed = NameAddr::parse(value, Defect::Uri).unwrap();
        assert_eq!(parsed.display(), b"J\xfcrgen");
    }

    #[test]
    fn broken_addresses_are_refused() {
        for value in [
            "",
            "<sip:a@b",
            "\"a <sip:a@b>",
            "A, B <sip:a@b>",
            "< sip:a@b >",
            "sip:a@b?h=v",
            "a",
            "\"a\" sip:a@b",
            "<sip:a@b>;;x",
        ] {
            assert!(parse(value).is_err(), "{value}");
        }
    }
}
