//! Lines of a description as spans over its bytes.

/// Where a line stands: `start..end` without the line's end.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Span {
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// One line `type=value`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'a> {
    /// The type letter.
    pub kind: u8,
    /// What follows the equals sign, without the line's end.
    pub value: &'a [u8],
}

impl<'a> Line<'a> {
    /// The value of the attribute `name` (`a=name:value`, or empty for `a=name`), if this is that line.
    #[must_use]
    pub fn attribute(&self, name: &str) -> Option<&'a [u8]> {
        let rest = (self.kind == b'a').then_some(self.value)?.strip_prefix(name.as_bytes())?;
        match rest.first() {
            None => Some(rest),
            Some(b':') => Some(&rest[1..]),
            Some(_) => None,
        }
    }
}

/// Lines in order; made by [`crate::Session::lines`] and its relatives.
#[derive(Debug, Clone)]
pub struct Lines<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) spans: std::slice::Iter<'a, Span>,
}

impl<'a> Iterator for Lines<'a> {
    type Item = Line<'a>;

    fn next(&mut self) -> Option<Line<'a>> {
        let span = self.spans.next()?;
        let text = &self.bytes[span.start as usize..span.end as usize];
        Some(Line { kind: text[0], value: &text[2..] })
    }
}

/// The words of a value; spaces at its end and doubled ones are forgiven.
pub(crate) fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b' ').filter(|word| !word.is_empty())
}

/// A decimal number without sign, of at most ten digits.
pub(crate) fn number(word: &[u8]) -> Option<u32> {
    let digits = !word.is_empty() && word.len() <= 10 && word.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(word).ok()?.parse().ok()).flatten()
}

/// A decimal port number.
pub(crate) fn port(word: &[u8]) -> Option<u16> {
    u16::try_from(number(word)?).ok()
}
