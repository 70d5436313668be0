//! `Digest name=value, name="value"`: RFC 3261 §25.1, `challenge` and `credentials`.

use std::borrow::Cow;

use thiserror::Error;

use super::limits::{PARAMETERS_MAX, VALUE_LEN_MAX};
use crate::message::syntax::{self, Cursor, is_space};

/// Why a challenge or an answer cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Flaw {
    /// It is of another scheme.
    #[error("the scheme is not Digest")]
    Scheme,
    /// It is not written as the grammar says.
    #[error("it is not well formed")]
    Malformed,
    /// There is more than [`super::limits`] says.
    #[error("it is too long")]
    TooLong,
    /// The same parameter stands there twice.
    #[error("{0} stands there twice")]
    Twice(&'static str),
    /// A parameter that has to be there is not.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A parameter has a value that it cannot have.
    #[error("{0} has no such value")]
    Value(&'static str),
}

/// Names that mean something; all others are skipped.
const KNOWN: [&str; 14] = [
    "realm",
    "nonce",
    "opaque",
    "stale",
    "algorithm",
    "qop",
    "userhash",
    "username",
    "username*",
    "uri",
    "response",
    "cnonce",
    "nc",
    "domain",
];

/// The parameters of one value.
#[derive(Debug)]
pub(super) struct Parameters<'a>(Vec<(&'static str, Cow<'a, str>)>);

impl<'a> Parameters<'a> {
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, Flaw> {
        if value.len() > VALUE_LEN_MAX {
            return Err(Flaw::TooLong);
        }
        let mut cursor = Cursor::new(syntax::trim(value));
        let scheme = cursor.token_bytes().ok_or(Flaw::Malformed)?;
        if !scheme.eq_ignore_ascii_case(b"Digest") {
            return Err(Flaw::Scheme);
        }
        if !cursor.peek().is_some_and(is_space) {
            return Err(Flaw::Malformed);
        }
        cursor.skip_space();
        let mut found = Vec::new();
        let mut count = 0;
        loop {
            // Some peers write a comma too many.
            while cursor.eat_spaced(b',') {}
            cursor.skip_space();
            if cursor.is_empty() {
                return Ok(Self(found));
            }
            count += 1;
            if count > PARAMETERS_MAX {
                return Err(Flaw::TooLong);
            }
            let (name, value) = parameter(&mut cursor).ok_or(Flaw::Malformed)?;
            if let Some(name) = KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(name)) {
                // Which of the two counts is not for us to guess.
                if found.iter().any(|(other, _)| *other == name) {
                    return Err(Flaw::Twice(name));
                }
                found.push((name, value));
            }
            if !cursor.is_empty() && cursor.peek() != Some(b',') {
                return Err(Flaw::Malformed);
            }
        }
    }

    /// Takes a value out.
    pub(super) fn take(&mut self, name: &'static str) -> Option<Cow<'a, str>> {
        let position = self.0.iter().position(|(found, _)| *found == name)?;
        Some(self.0.swap_remove(position).1)
    }

    pub(super) fn must(&mut self, name: &'static str) -> Result<Cow<'a, str>, Flaw> {
        self.take(name).ok_or(Flaw::Missing(name))
    }
}

fn parameter<'a>(cursor: &mut Cursor<'a>) -> Option<(&'a str, Cow<'a, str>)> {
    let name = cursor.token()?;
    if !cursor.eat_spaced(b'=') {
        return None;
    }
    let value = if cursor.peek() == Some(b'"') {
        let inner = cursor.quoted()?;
        // A digest is made of octets: what is no text could not be repeated as it came.
        std::str::from_utf8(inner).ok()?;
        syntax::unquote(inner)
    } else {
        // Wider than `token`: what peers forget to quote has no other meaning here.
        let bare = cursor.take_while(|byte| byte.is_ascii_graphic() && byte != b',' && byte != b'"');
        Cow::Borrowed(syntax::ascii(bare).filter(|bare| !bare.is_empty())?)
    };
    cursor.skip_space();
    Some((name, value))
}
