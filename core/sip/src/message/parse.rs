//! From bytes to lines: RFC 3261 §7.1 to §7.3.

use bytes::Bytes;

use super::syntax::{self, is_token};
use super::{Defect, Line, Message, Method, Name, ParseError, Span, StartLine, check, limits};

/// What the lines of an ordinary message fit in.
const LINES_EXPECTED: usize = 24;

impl Message {
    /// Reads one message: all bytes of a datagram, or what [`super::stream::Framer`] gives.
    ///
    /// # Errors
    /// What is wrong with it, and the request as far as it was read if it can be answered.
    pub fn parse(bytes: Bytes) -> Result<Self, ParseError> {
        let mut message = Self {
            start: StartLine::Response {
                status: 0,
                phrase: Span::default(),
            },
            method: Method::Options,
            lines: Vec::new(),
            body: Span::default(),
            source: None,
            bytes: Bytes::new(),
        };
        let outcome = Reader {
            bytes: &bytes,
            message: &mut message,
            first: None,
        }
        .read();
        message.bytes = bytes;
        match outcome.and_then(|()| check::message(&mut message)) {
            Ok(()) => Ok(message),
            Err(what) => {
                let partial = check::is_answerable(&message).then(|| Box::new(message));
                Err(ParseError { what, partial })
            }
        }
    }
}

/// Goes on reading behind a defect where it can, so that the request can be answered; the first defect is told.
struct Reader<'a> {
    bytes: &'a [u8],
    message: &'a mut Message,
    first: Option<Defect>,
}

impl<'a> Reader<'a> {
    fn read(mut self) -> Result<(), Defect> {
        //= RFC 3261 §7.5: line ends in front of the start line are ignored.
        let start = self
            .bytes
            .iter()
            .position(|byte| !matches!(byte, b'\r' | b'\n'))
            .ok_or(Defect::Empty)?;
        let end = self.line_end(start)?;
        self.start_line(start, end)?;
        let body = self.header_lines(start, end + 2)?;
        self.message.body = Span::new(body..self.bytes.len());
        self.first.map_or(Ok(()), Err)
    }

    fn note(&mut self, defect: Defect) {
        self.first.get_or_insert(defect);
    }

    /// Where the CRLF of the line is that starts at `from`.
    fn line_end(&self, from: usize) -> Result<usize, Defect> {
        let end =
            from + memchr::memchr2(b'\r', b'\n', &self.bytes[from..]).ok_or(Defect::Incomplete)?;
        match (self.bytes[end], self.bytes.get(end + 1)) {
            (b'\r', Some(b'\n')) => Ok(end),
            (b'\r', None) => Err(Defect::Incomplete),
            //= RFC 3261 §7: a line ends with CR and LF; either of them alone ends nothing and means nothing.
            (_, _) => Err(Defect::BareLineBreak),
        }
    }

    fn start_line(&mut self, start: usize, end: usize) -> Result<(), Defect> {
        let line = &self.bytes[start..end];
        if line.len() >= 4 && line[..4].eq_ignore_ascii_case(b"SIP/") {
            return self.status_line(start, end);
        }
        let method_len = line
            .iter()
            .position(|&byte| !is_token(byte))
            .unwrap_or(line.len());
        let method = syntax::ascii(&line[..method_len]).unwrap_or_default();
        if method.is_empty()
            || method_len > limits::METHOD_LEN_MAX
            || line.get(method_len) != Some(&b' ')
        {
            return Err(Defect::StartLine);
        }
        let behind = &line[method_len + 1..];
        let rest = syntax::trim(behind);
        let uri_end = memchr::memrchr(b' ', rest).ok_or(Defect::StartLine)?;
        let uri = start + method_len + 1..start + method_len + 1 + uri_end;
        self.message.method = Method::of(method);
        //= RFC 3261 §7.1: one space between the elements, none at the end.
        if rest.len() != behind.len() {
            self.note(Defect::StartLine);
        }
        self.version(&rest[uri_end + 1..])?;
        if uri.len() > limits::REQUEST_URI_LEN_MAX {
            self.note(Defect::RequestUriTooLong);
        } else if !rest[..uri_end].iter().all(u8::is_ascii_graphic) {
            self.note(Defect::RequestUri);
        }
        self.message.start = StartLine::Request {
            uri: Span::new(uri),
        };
        Ok(())
    }

    fn status_line(&mut self, start: usize, end: usize) -> Result<(), Defect> {
        let line = &self.bytes[start..end];
        let version_len = memchr::memchr(b' ', line).ok_or(Defect::StartLine)?;
        self.version(&line[..version_len])?;
        let rest = &line[version_len + 1..];
        let (digits, phrase) = rest.split_at(memchr::memchr(b' ', rest).unwrap_or(rest.len()));
        let status = syntax::parse_number(digits)
            .filter(|status| digits.len() == 3 && (100..700).contains(status));
        let phrase = if phrase.is_empty() {
            end..end
        } else {
            end - phrase.len() + 1..end
        };
        self.message.start = StartLine::Response {
            status: status
                .and_then(|status| u16::try_from(status).ok())
                .ok_or(Defect::StatusCode)?,
            phrase: Span::new(phrase),
        };
        Ok(())
    }

    fn version(&mut self, version: &[u8]) -> Result<(), Defect> {
        let number = match version {
            [name @ .., b'/', _, _, _] if name.eq_ignore_ascii_case(b"SIP") => &version[4..],
            _ => return Err(Defect::StartLine),
        };
        match number {
            b"2.0" => {}
            [major, b'.', minor] if major.is_ascii_digit() && minor.is_ascii_digit() => {
                self.note(Defect::Version)
            }
            _ => return Err(Defect::StartLine),
        }
        Ok(())
    }

    /// Reads lines up to the empty one; gives where the body starts.
    fn header_lines(&mut self, message_start: usize, mut from: usize) -> Result<usize, Defect> {
        self.message.lines.reserve(LINES_EXPECTED);
        loop {
            let mut end = self.line_end(from)?;
            if end - message_start > limits::HEAD_LEN_MAX {
                return Err(Defect::HeadTooLong);
            }
            if end == from {
                return Ok(end + 2);
            }
            //= RFC 3261 §7.3.1: a line that starts with white space continues the one before.
            while let Some(b' ' | b'\t') = self.bytes.get(end + 2) {
                end = self.line_end(end + 2)?;
            }
            match self.line(from, end) {
                Ok(line) => self.keep(line)?,
                Err(defect) => self.note(defect),
            }
            from = end + 2;
        }
    }

    fn keep(&mut self, line: Line) -> Result<(), Defect> {
        if self.message.lines.len() == limits::LINE_COUNT_MAX {
            return Err(Defect::TooManyLines);
        }
        self.message.lines.push(line);
        Ok(())
    }

    fn line(&self, start: usize, end: usize) -> Result<Line, Defect> {
        let line = &self.bytes[start..end];
        if line.len() > limits::LINE_LEN_MAX {
            return Err(Defect::LineTooLong);
        }
        let name_len = line
            .iter()
            .position(|&byte| !is_token(byte))
            .unwrap_or(line.len());
        //= RFC 3261 §7.3.1: white space may stand between the name and the colon.
        let mut colon = name_len;
        while let Some(b' ' | b'\t') = line.get(colon) {
            colon += 1;
        }
        if name_len == 0 || line.get(colon) != Some(&b':') {
            return Err(Defect::HeaderLine);
        }
        let behind = &line[colon + 1..];
        let value_start = start + colon + 1 + (behind.len() - syntax::trim_start(behind).len());
        let value_end = end - (behind.len() - syntax::trim_end(behind).len());
        Ok(Line {
            whole: Span::new(start..end + 2),
            value: Span::new(value_start..value_end.max(value_start)),
            name_len: name_len as u16,
            name: Name::of(&line[..name_len]),
        })
    }
}
