//! Warning: RFC 3261 §20.43.

use std::borrow::Cow;
use std::fmt;

use crate::message::syntax::{self, Cursor, Quoted, is_space, unquote};
use crate::message::{Defect, Message, Name};

/// More about a response; its text is a header value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning<'a> {
    /// Three digits; 399 for everything without a code of its own.
    pub code: u16,
    /// Who says it: a host or a pseudonym.
    pub agent: &'a str,
    /// For people.
    pub text: Cow<'a, str>,
}

impl<'a> Warning<'a> {
    /// Reads one value.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn parse(value: &'a [u8]) -> Result<Self, Defect> {
        read(value).ok_or(Defect::Malformed(Name::Warning))
    }
}

impl Message {
    /// Warning, every value.
    pub fn warnings(&self) -> impl Iterator<Item = Result<Warning<'_>, Defect>> {
        self.values(Name::Warning).map(Warning::parse)
    }
}

fn read(value: &[u8]) -> Option<Warning<'_>> {
    let mut cursor = Cursor::new(value);
    let code = cursor.number().filter(|code| (100..1000).contains(code))?;
    cursor.skip_space();
    let agent = syntax::ascii(cursor.take_while(|byte| !is_space(byte) && byte != b'"'))?;
    cursor.skip_space();
    let text = unquote(cursor.quoted()?);
    let valid = !agent.is_empty() && cursor.is_empty();
    valid.then_some(Warning { code: u16::try_from(code).ok()?, agent, text })
}

impl fmt::Display for Warning<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:03} {} {}", self.code, self.agent, Quoted(&self.text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let warning = Warning { code: 399, agent: "postern", text: "firewall policy: \"no\"".into() };
        assert_eq!(warning.to_string(), r#"399 postern "firewall policy: \"no\"""#);
        assert_eq!(Warning::parse(warning.to_string().as_bytes()), Ok(warning));
    }

    #[test]
    fn codes_have_three_digits_and_texts_are_quoted() {
        for broken in ["1812 overture \"In Progress\"", "399 a", "399 \"x\"", "399 a x", "399 a \"x\" y"] {
            assert!(Warning::parse(broken.as_bytes()).is_err(), "{broken}");
        }
    }
}
