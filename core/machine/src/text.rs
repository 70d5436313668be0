//! Bytes that are a text and are kept as bytes.

use std::fmt;
use std::ops::Deref;

/// A text: its `Debug` form is that of a string, written line by line, where that of bytes is written byte by byte.
///
/// Explorers read the `Debug` form of whole machines, and texts are most of what there is to read.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Text<T>(pub T);

impl<T> Deref for Text<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: AsRef<[u8]>> fmt::Debug for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for line in self.0.as_ref().split_inclusive(|byte| *byte == b'\n') {
            let (line, end) = match line {
                [line @ .., b'\r', b'\n'] => (line, "\\r\\n"),
                [line @ .., b'\n'] => (line, "\\n"),
                line => (line, ""),
            };
            match std::str::from_utf8(line) {
                Ok(text) if line.iter().all(|byte| is_plain(*byte)) => f.write_str(text)?,
                Ok(_) | Err(_) => write!(f, "{}", line.escape_ascii())?,
            }
            f.write_str(end)?;
        }
        f.write_str("\"")
    }
}

/// True for what stands for itself in a string.
fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'\\' && byte != b'"'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_a_string() {
        let forms = |text: &str| (format!("{:?}", Text(text.as_bytes())), format!("{text:?}"));
        for text in
            ["", "\r\n", "a: b\r\n\r\nv=0\n", "no end", "\"A\" <sip:a>\r\n", "\\", "\r", "a\tb\nc\r\n\n"]
        {
            let (ours, string) = forms(text);
            assert_eq!(ours, string);
        }
        assert_eq!(format!("{:?}", Text([0xff, b'\n', b'x'])), r#""\xff\nx""#);
    }
}
