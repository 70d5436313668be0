//! Reading a description: its lines are found, nothing is copied, nothing is normalised.

use memchr::memchr_iter;
use smallvec::SmallVec;

use crate::error::{Error, What};
use crate::limits::{BYTES_MAX, LINES_MAX, STREAMS_MAX};
use crate::line::{Line, Lines, Span, number, words};
use crate::patch::Patch;

/// A session description (RFC 8866): the bytes as they came and where their lines are.
///
/// Lines may end with CRLF or LF, each as it likes; values may be in any encoding. What would let two readers see
/// two different descriptions is refused: a bare carriage return, NUL, an unknown type letter.
#[derive(Debug, Clone)]
pub struct Session<'a> {
    bytes: &'a [u8],
    lines: SmallVec<[Span; 32]>,
    /// Index into `lines` of each m-line.
    media: SmallVec<[u16; 4]>,
}

impl<'a> Session<'a> {
    /// Finds the lines of a description.
    ///
    /// # Errors
    /// The first line that is not SDP, or the limit of [`crate::limits`] that was met.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Error> {
        if bytes.len() > BYTES_MAX {
            return Err(Error { line: 1, what: What::TooLong });
        }
        let mut session = Self { bytes, lines: SmallVec::new(), media: SmallVec::new() };
        let mut start = 0;
        for newline in memchr_iter(b'\n', bytes) {
            session.add(start, newline)?;
            start = newline + 1;
        }
        //= RFC 8866 §5: lines end with CRLF; a bare LF is accepted as well, and so is a last line without either.
        session.add(start, bytes.len())?;
        session.check_head()?;
        Ok(session)
    }

    fn add(&mut self, start: usize, newline: usize) -> Result<(), Error> {
        let text = &self.bytes[start..newline];
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let rest_is_empty = || self.bytes[start..].iter().all(|byte| matches!(byte, b'\r' | b'\n'));
        // Empty lines at the end are common and harmless.
        if text.is_empty() && rest_is_empty() {
            return Ok(());
        }
        let line = self.lines.len();
        let wrong = |what| Err(Error { line: line as u32 + 1, what });
        if line >= LINES_MAX {
            return wrong(What::TooManyLines);
        }
        let &[kind, b'=', ..] = text else {
            return wrong(What::NotALine);
        };
        //= RFC 8866 §5: a description with a type letter we do not know is not read at all.
        if !b"vosiuepcbtrzkam".contains(&kind) {
            return wrong(What::UnknownType);
        }
        //= RFC 8866 §9: byte-string excludes NUL, CR and LF.
        if memchr::memchr2(0, b'\r', text).is_some() {
            return wrong(What::ControlCharacter);
        }
        if kind == b'm' {
            if self.media.len() >= STREAMS_MAX {
                return wrong(What::TooManyStreams);
            }
            if words(&text[2..]).count() < 4 {
                return wrong(What::MalformedMedia);
            }
            self.media.push(line as u16);
        }
        self.lines.push(Span { start: start as u32, end: (start + text.len()) as u32 });
        Ok(())
    }

    /// The first two lines, on which everything of ours depends.
    fn check_head(&self) -> Result<(), Error> {
        let mut lines = self.lines();
        let wrong = |line, what| Err(Error { line, what });
        match lines.next() {
            None => return wrong(1, What::Empty),
            Some(Line { kind: b'v', value: b"0" }) => {}
            Some(_) => return wrong(1, What::NoVersion),
        }
        match lines.next() {
            Some(Line { kind: b'o', value }) if words(value).count() == 6 => {}
            Some(Line { kind: b'o', .. }) => return wrong(2, What::MalformedOrigin),
            Some(_) | None => return wrong(2, What::Origin),
        }
        match lines.position(|line| matches!(line.kind, b'o' | b'v')) {
            Some(extra) => wrong(extra as u32 + 3, What::Origin),
            None => Ok(()),
        }
    }

    /// The description as it came.
    #[must_use]
    pub fn to_bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// All lines in order.
    #[must_use]
    pub fn lines(&self) -> Lines<'_> {
        self.range(0, self.lines.len())
    }

    /// The lines before the first m-line.
    #[must_use]
    pub fn session_lines(&self) -> Lines<'_> {
        self.range(0, self.media.first().map_or(self.lines.len(), |line| usize::from(*line)))
    }

    /// How many m-lines there are.
    #[must_use]
    pub fn streams(&self) -> u16 {
        self.media.len() as u16
    }

    /// The lines of one stream, its m-line first; none for a stream that does not exist.
    #[must_use]
    pub fn stream_lines(&self, stream: u16) -> Lines<'_> {
        let begin = self.media.get(usize::from(stream)).map_or(self.lines.len(), |line| usize::from(*line));
        let end = self.media.get(usize::from(stream) + 1).map_or(self.lines.len(), |line| usize::from(*line));
        self.range(begin, end)
    }

    /// Position among all lines of the m-line of `stream`.
    #[must_use]
    pub fn stream_position(&self, stream: u16) -> Option<usize> {
        self.media.get(usize::from(stream)).map(|line| usize::from(*line))
    }

    /// True for a stream that exists and is not turned off by port 0 (RFC 3264 §6, §8.2).
    #[must_use]
    pub fn is_in_use(&self, stream: u16) -> bool {
        let line = self.stream_lines(stream).next();
        let port = line.and_then(|line| words(line.value).nth(1));
        port.is_some_and(|port| port.split(|byte| *byte == b'/').next().and_then(number) != Some(0))
    }

    /// Starts a changed copy.
    #[must_use]
    pub fn patch(&self) -> Patch<'_, 'a> {
        Patch::new(self)
    }

    fn range(&self, begin: usize, end: usize) -> Lines<'_> {
        Lines { bytes: self.bytes, spans: self.lines[begin..end].iter() }
    }

    pub(crate) fn spans(&self) -> &[Span] {
        &self.lines
    }
}
