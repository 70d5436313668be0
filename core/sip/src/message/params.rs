//! Parameters behind a semicolon: `generic-param` of RFC 3261 §25.1.

use super::syntax::{self, Cursor};

/// The parameters of a header value; found when asked for, in the order in which they came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Params<'a> {
    /// Starts with `;` (or is empty); the syntax has been checked.
    bytes: &'a [u8],
}

impl<'a> Params<'a> {
    /// Reads `*( SEMI generic-param )` up to the end of the value.
    pub(crate) fn parse(cursor: Cursor<'a>) -> Option<Self> {
        let bytes = syntax::trim(cursor.rest);
        let mut rest = Cursor::new(bytes);
        while !rest.is_empty() {
            rest.eat_spaced(b';').then_some(())?;
            param(&mut rest)?;
            rest.skip_space();
        }
        Some(Self { bytes })
    }

    /// The value of the parameter `name` (compared without regard to case); empty for a flag such as `lr`.
    /// A quoted value comes without its quotes and with its escapes.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&'a [u8]> {
        self.raw()
            .find(|(found, _)| found.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value.unwrap_or_default())
    }

    /// As [`Params::find`], for values that are ASCII by their grammar.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.find(name).and_then(syntax::ascii)
    }

    /// Every parameter: its name, and its value if it has one.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, Option<&'a [u8]>)> + use<'a> {
        self.raw().filter_map(|(name, value)| Some((std::str::from_utf8(name).ok()?, value)))
    }

    fn raw(&self) -> impl Iterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let mut rest = Cursor::new(self.bytes);
        std::iter::from_fn(move || {
            rest.eat_spaced(b';').then_some(())?;
            param(&mut rest)
        })
    }

    /// As they came, the first `;` included.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        self.bytes
    }
}

fn param<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a [u8], Option<&'a [u8]>)> {
    let name = cursor.token_bytes()?;
    if !cursor.eat_spaced(b'=') {
        return Some((name, None));
    }
    if cursor.peek() == Some(b'"') {
        return cursor.quoted().map(|value| (name, Some(value)));
    }
    let value = cursor.take_while(|byte| VALUE[usize::from(byte)]);
    (!value.is_empty()).then_some((name, Some(value)))
}

/// Wider than `token / host`: what peers write unquoted (base64, URIs) has no other meaning here.
static VALUE: [bool; 256] = syntax::set(b"-.!%*_+`'~#$&()/:=?@[\\]^{|}");

#[cfg(test)]
mod tests {
    use super::*;

    fn params(text: &str) -> Option<Params<'_>> {
        Params::parse(Cursor::new(text.as_bytes()))
    }

    #[test]
    fn names_values_flags_and_quotes_are_found() {
        let params = params(" ; a=1;LR ;\r\n b = \"x;\\\"y\" ;h=[::1]").unwrap();
        assert_eq!(params.find("A"), Some(&b"1"[..]));
        assert_eq!(params.text("lr"), Some(""));
        assert_eq!(params.find("b"), Some(&b"x;\\\"y"[..]));
        assert_eq!(params.text("h"), Some("[::1]"));
        assert_eq!(params.find("c"), None);
        assert_eq!(params.iter().count(), 4);
    }

    #[test]
    fn empty_and_broken_parameters_are_refused() {
        for text in [";", ";;a", ";a=", ";a=\"", ";a b", "a", ";=b", ";a,"] {
            assert!(params(text).is_none(), "{text}");
        }
    }
}
