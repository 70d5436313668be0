//! The smallest pieces of the grammar: RFC 3261 §25.1.

use std::borrow::Cow;
use std::fmt;

/// White space inside a header value. CR and LF count: the line scanner lets them through only where a line is folded.
pub(crate) fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// A byte of a `token`.
pub(crate) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

static TOKEN: [bool; 256] = set(b"-.!%*_+`'~");

/// Letters, digits and these.
pub(crate) const fn set(extra: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let mut index = 0;
    while index < extra.len() {
        table[extra[index] as usize] = true;
        index += 1;
    }
    table
}

/// Without white space at either end.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    trim_end(trim_start(bytes))
}

/// Without white space in front.
pub(crate) fn trim_start(mut bytes: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = bytes
        && is_space(*first)
    {
        bytes = rest;
    }
    bytes
}

/// Without white space behind.
pub(crate) fn trim_end(mut bytes: &[u8]) -> &[u8] {
    while let [rest @ .., last] = bytes
        && is_space(*last)
    {
        bytes = rest;
    }
    bytes
}

/// Text of ASCII bytes.
pub(crate) fn ascii(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok().filter(|text| text.is_ascii())
}

/// Text of visible ASCII bytes: no white space, no control characters.
pub(crate) fn visible(bytes: &[u8]) -> Option<&str> {
    // Without an early end the compiler looks at many bytes at once.
    let is_visible = bytes.iter().fold(true, |all, byte| all & byte.is_ascii_graphic());
    std::str::from_utf8(bytes).ok().filter(|_| is_visible)
}

/// Reads a header value from left to right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'a> {
    pub(crate) rest: &'a [u8],
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Self { rest }
    }

    pub(crate) fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes the first `len` bytes; fewer if there are fewer.
    pub(crate) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(len.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    pub(crate) fn take_while(&mut self, matches: impl Fn(u8) -> bool) -> &'a [u8] {
        let len = self.rest.iter().position(|&byte| !matches(byte)).unwrap_or(self.rest.len());
        self.take(len)
    }

    pub(crate) fn skip_space(&mut self) {
        while let [first, rest @ ..] = self.rest
            && is_space(*first)
        {
            self.rest = rest;
        }
    }

    /// Takes `byte` if it comes next.
    pub(crate) fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    /// Takes `byte` with white space around it, as SLASH, COLON, SEMI, EQUAL and COMMA allow.
    pub(crate) fn eat_spaced(&mut self, byte: u8) -> bool {
        let before = self.rest;
        self.skip_space();
        if self.eat(byte) {
            self.skip_space();
            return true;
        }
        self.rest = before;
        false
    }

    /// A token of at least one byte.
    pub(crate) fn token(&mut self) -> Option<&'a str> {
        self.token_bytes().and_then(|token| std::str::from_utf8(token).ok())
    }

    /// As [`Cursor::token`], where nobody wants the text.
    pub(crate) fn token_bytes(&mut self) -> Option<&'a [u8]> {
        let token = self.take_while(is_token);
        (!token.is_empty()).then_some(token)
    }

    /// A quoted string; gives what stands between the quotes, escapes untouched.
    pub(crate) fn quoted(&mut self) -> Option<&'a [u8]> {
        let [b'"', inner @ ..] = self.rest else {
            return None;
        };
        let mut from = 0;
        loop {
            let at = from + memchr::memchr2(b'"', b'\\', &inner[from..])?;
            if inner[at] == b'"' {
                self.rest = &inner[at + 1..];
                return Some(&inner[..at]);
            }
            from = at + 2;
            if from > inner.len() {
                return None;
            }
        }
    }

    /// A comment with the comments inside it.
    pub(crate) fn comment(&mut self) -> Option<()> {
        let mut depth = 0u32;
        loop {
            match self.take(1) {
                b"(" => depth += 1,
                b")" => depth = depth.checked_sub(1)?,
                b"\\" => drop(self.take(1)),
                b"" => return None,
                _ => {}
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// A decimal number that fits; leading zeros are fine.
    pub(crate) fn number(&mut self) -> Option<u32> {
        let digits = self.take_while(|byte| byte.is_ascii_digit());
        parse_number(digits)
    }
}

/// A decimal number of at least one digit that fits 32 bits.
pub(crate) fn parse_number(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |number, &digit| {
        if !digit.is_ascii_digit() {
            return None;
        }
        number.checked_mul(10)?.checked_add(u32::from(digit - b'0'))
    })
}

/// The text of a quoted string without its escapes; bytes that are no UTF-8 are replaced.
pub(crate) fn unquote(inner: &[u8]) -> Cow<'_, str> {
    if memchr::memchr(b'\\', inner).is_none() {
        return String::from_utf8_lossy(inner);
    }
    let mut plain = Vec::with_capacity(inner.len());
    let mut bytes = inner.iter();
    while let Some(&byte) = bytes.next() {
        plain.extend(if byte == b'\\' { bytes.next() } else { Some(&byte) });
    }
    Cow::Owned(String::from_utf8_lossy(&plain).into_owned())
}

/// Writes text as a quoted string; control characters become spaces.
#[derive(Debug, Clone, Copy)]
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for character in self.0.chars() {
            match character {
                '"' | '\\' => write!(f, "\\{character}")?,
                control if control.is_control() => f.write_str(" ")?,
                plain => write!(f, "{plain}")?,
            }
        }
        f.write_str("\"")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_string_ends_at_the_first_unescaped_quote() {
        let mut cursor = Cursor::new(br#""a\"b\\" rest"#);
        assert_eq!(cursor.quoted(), Some(&br#"a\"b\\"#[..]));
        assert_eq!(cursor.rest, b" rest");
        for broken in [&b"\"a"[..], b"\"a\\\"", b"\"a\\", b"a\"", b""] {
            assert_eq!(Cursor::new(broken).quoted(), None);
        }
    }

    #[test]
    fn numbers_stop_at_32_bits() {
        assert_eq!(parse_number(b"0004294967295"), Some(u32::MAX));
        assert_eq!(parse_number(b"4294967296"), None);
        assert_eq!(parse_number(b""), None);
        assert_eq!(parse_number(b"-1"), None);
    }
}
