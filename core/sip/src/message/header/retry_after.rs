//! Retry-After: RFC 3261 §20.33.

use crate::message::syntax::Cursor;
use crate::message::syntax::parse_number;
use crate::message::{Defect, Message, Name, Params};

/// When to try again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter {
    /// Seconds to wait.
    pub delay_s: u32,
    /// How long the peer will then be there, seconds.
    pub duration_s: Option<u32>,
}

impl Message {
    /// Retry-After.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn retry_after(&self) -> Result<Option<RetryAfter>, Defect> {
        let Some(value) = self.header(Name::RetryAfter) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or(Defect::Malformed(Name::RetryAfter))
    }
}

fn read(value: &[u8]) -> Option<RetryAfter> {
    let mut cursor = Cursor::new(value);
    let delay_s = cursor.number()?;
    cursor.skip_space();
    if cursor.peek() == Some(b'(') {
        cursor.comment()?;
    }
    let params = Params::parse(cursor)?;
    Some(RetryAfter { delay_s, duration_s: params.find("duration").and_then(parse_number) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_duration_are_understood() {
        let read = |value: &str| read(value.as_bytes());
        assert_eq!(read("5"), Some(RetryAfter { delay_s: 5, duration_s: None }));
        assert_eq!(
            read("18000 (in a (nested \\)) meeting) ;duration=3600"),
            Some(RetryAfter { delay_s: 18_000, duration_s: Some(3_600) })
        );
        assert_eq!(read("949302838503028349304023988"), None);
        assert_eq!(read("5 (open"), None);
        assert_eq!(read("soon"), None);
    }
}
