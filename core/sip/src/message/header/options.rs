//! Lists of tokens: Require (RFC 3261 §20.32), Supported (§20.37), Proxy-Require (§20.29), Unsupported (§20.40),
//! Allow (§20.5), Allow-Events (RFC 6665 §8.2.2).

use crate::message::syntax::Cursor;
use crate::message::{Message, Method, Name};

impl Message {
    /// The tokens of a list field. What is no token is left out.
    pub fn tokens(&self, name: Name) -> impl Iterator<Item = &str> {
        self.values(name).filter_map(|value| {
            let mut cursor = Cursor::new(value);
            cursor.token().filter(|_| cursor.is_empty())
        })
    }

    /// True if the list field `name` (Require, Supported …) has the option tag, in any case.
    #[must_use]
    pub fn has_option(&self, name: Name, option: &str) -> bool {
        self.tokens(name).any(|token| token.eq_ignore_ascii_case(option))
    }

    /// The option tags that the peer insists on.
    pub fn require(&self) -> impl Iterator<Item = &str> {
        self.tokens(Name::Require)
    }

    /// The option tags that the peer knows.
    pub fn supported(&self) -> impl Iterator<Item = &str> {
        self.tokens(Name::Supported)
    }

    /// True if Allow lists the method; `None` if there is no Allow.
    #[must_use]
    pub fn allows(&self, method: &Method) -> Option<bool> {
        self.header(Name::Allow)?;
        //= RFC 3261 §7.1: methods are compared with regard to case.
        Some(self.tokens(Name::Allow).any(|token| token == method.text()))
    }
}
