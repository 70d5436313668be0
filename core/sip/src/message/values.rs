//! Comma-separated values: RFC 3261 §7.3.1.

use super::syntax::{self, Cursor};

/// The values of one header line, or the line as one value if `list` is false. Empty values are skipped.
pub(crate) fn split(value: &[u8], list: bool) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let (first, behind) = if list { split_first(rest?) } else { (rest?, None) };
        rest = behind;
        Some(syntax::trim(first))
    })
    .filter(|value| !value.is_empty())
}

/// The first value, and what is behind its comma. Commas in quotes and angle brackets do not count.
pub(crate) fn split_first(value: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut from = 0;
    while let Some(found) = memchr::memchr3(b',', b'"', b'<', &value[from..]) {
        let at = from + found;
        let skipped = match value[at] {
            b',' => return (&value[..at], Some(&value[at + 1..])),
            b'"' => quoted_len(&value[at..]),
            _ => memchr::memchr(b'>', &value[at..]).map(|end| end + 1),
        };
        match skipped {
            Some(len) => from = at + len,
            None => break,
        }
    }
    (value, None)
}

fn quoted_len(value: &[u8]) -> Option<usize> {
    let mut cursor = Cursor::new(value);
    cursor.quoted()?;
    Some(value.len() - cursor.rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(value: &str, list: bool) -> Vec<String> {
        split(value.as_bytes(), list).map(|value| String::from_utf8_lossy(value).into_owned()).collect()
    }

    #[test]
    fn commas_split_outside_quotes_and_brackets() {
        assert_eq!(all("a, b ,\r\n c", true), ["a", "b", "c"]);
        assert_eq!(
            all("\"x, \\\" y\" <sip:a,b@c>;d, <sip:e>", true),
            ["\"x, \\\" y\" <sip:a,b@c>;d", "<sip:e>"]
        );
        assert_eq!(all("Sat, 13 Nov", false), ["Sat, 13 Nov"]);
    }

    #[test]
    fn what_never_closes_is_one_value() {
        assert_eq!(all("\"a, b", true), ["\"a, b"]);
        assert_eq!(all("<a, b", true), ["<a, b"]);
        assert_eq!(all(",, ,", true), Vec::<String>::new());
    }
}
