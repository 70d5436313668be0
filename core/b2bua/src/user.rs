//! User parts as routes compare them: RFC 3261 §19.1.4, RFC 3966 §5.1.1.

use std::borrow::Cow;

use crate::named::unescaped;

/// What a user part must be: exactly this, or beginning with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserPattern {
    text: Box<str>,
    is_prefix: bool,
}

impl UserPattern {
    /// Reads `+4930*` or `alice`; a `*` at the end stands for anything, nothing included.
    ///
    /// `None` if there is a `*` elsewhere, or nothing at all.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (text, is_prefix) = match text.strip_suffix('*') {
            Some(before) => (before, true),
            None => (text, false),
        };
        let usable = !text.contains('*') && (is_prefix || !text.is_empty());
        usable.then(|| Self { text: canonical(text).into(), is_prefix })
    }

    /// True if whoever is meant by another pattern is meant by this one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        match self.is_prefix {
            true => other.text.starts_with(&*self.text),
            false => self == other,
        }
    }

    /// True if a user part, as a URI has it, is meant.
    #[must_use]
    pub fn matches(&self, user: &str) -> bool {
        let user = canonical(user);
        match self.is_prefix {
            true => user.starts_with(&*self.text),
            false => *user == *self.text,
        }
    }
}

/// A user part without what does not tell one from another: escapes, parameters, and the separators of a number.
pub(crate) fn canonical(user: &str) -> Cow<'_, str> {
    //= RFC 3261 §19.1.1: a telephone number in a user part may have parameters of its own.
    let name = user.split(';').next().unwrap_or_default();
    //= RFC 3261 §19.1.4: an escaped octet is the same as the character that it stands for.
    let plain = match name.contains('%') {
        true => Cow::Owned(String::from_utf8_lossy(&unescaped(name)).into_owned()),
        false => Cow::Borrowed(name),
    };
    //= RFC 3966 §5.1.1: visual separators mean nothing. Only in what begins as a number: in a name they may.
    let separator = |character: char| matches!(character, '-' | '.' | '(' | ')' | ' ');
    let first = plain.chars().find(|character| !separator(*character));
    match first.is_some_and(|first| first.is_ascii_digit() || matches!(first, '+' | '*' | '#')) {
        true => Cow::Owned(plain.chars().filter(|character| !separator(*character)).collect()),
        false => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, user: &str) -> bool {
        UserPattern::parse(pattern).unwrap().matches(user)
    }

    #[test]
    fn prefixes_and_whole_users() {
        assert!(matches("+49*", "+4930123") && matches("+49*", "+49"));
        assert!(!matches("+49*", "+44123") && !matches("+49*", "0049123"));
        assert!(matches("alice", "alice") && !matches("alice", "alice2") && !matches("alice", "Alice"));
        assert!(matches("*", "anybody") && matches("*", ""));
        assert_eq!((UserPattern::parse(""), UserPattern::parse("4*9")), (None, None));
    }

    #[test]
    fn no_spelling_of_a_number_gets_around_it() {
        //= test RFC 3966 §5.1.1: separators. //= test RFC 3261 §19.1.4: escapes.
        for user in [
            "+49900123",
            "+49-900-123",
            "+49(900)123",
            "%2B49900123",
            "+4%39900123",
            "+49.900.123;phone-context=x",
            "+49-900123p1",
            "-+49900123",
            "%20+49900123",
            ".+49900123x",
            "%2b49%2d900123",
        ] {
            assert!(matches("+49900*", user), "{user}");
        }
        assert!(!matches("a-b", "ab"), "separators mean something in a name");
        assert!(matches("a%2Db", "a-b"));
        for odd in ["%", "%4", "%zz", "+49%", "%ff%fe"] {
            assert!(!matches("+49900*", odd), "{odd}");
        }
    }
}
