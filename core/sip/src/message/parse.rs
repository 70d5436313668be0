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
            start: StartLine::Response { status: 0, phrase: Span::default() },
            method: Method::Options,
            lines: Vec::new(),
            body: Span::default(),
            source: None,
            bytes: Bytes::new(),
        };
        let outcome = Reader { bytes: &bytes, message: &mut message, first: None }.read();
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
        let outcome = self.start_and_lines();
        if outcome.is_err() {
            // An answer copies lines; one with a CR that ends nothing would be passed on to somebody else's parser.
            let bytes = self.bytes;
            self.message.lines.retain(|line| !has_bare_cr(line.whole.of(bytes)));
        }
        outcome
    }

    fn start_and_lines(&mut self) -> Result<(), Defect> {
        //= RFC 3261 §7.5: line ends in front of the start line are ignored.
        let start = self.bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).ok_or(Defect::Empty)?;
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
        let end = from + memchr::memchr2(b'\r', b'\n', &self.bytes[from..]).ok_or(Defect::Incomplete)?;
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
        let method_len = line.iter().position(|&byte| !is_token(byte)).unwrap_or(line.len());
        let method = syntax::ascii(&line[..method_len]).unwrap_or_default();
        if method.is_empty() || method_len > limits::METHOD_LEN_MAX || line.get(method_len) != Some(&b' ') {
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
        } else if syntax::visible(&rest[..uri_end]).is_none() {
            self.note(Defect::RequestUri);
        }
        self.message.start = StartLine::Request { uri: Span::new(uri) };
        Ok(())
    }

    fn status_line(&mut self, start: usize, end: usize) -> Result<(), Defect> {
        let line = &self.bytes[start..end];
        let version_len = memchr::memchr(b' ', line).ok_or(Defect::StartLine)?;
        self.version(&line[..version_len])?;
        let rest = &line[version_len + 1..];
        let (digits, phrase) = rest.split_at(memchr::memchr(b' ', rest).unwrap_or(rest.len()));
        let status =
            syntax::parse_number(digits).filter(|status| digits.len() == 3 && (100..700).contains(status));
        let phrase = if phrase.is_empty() { end..end } else { end - phrase.len() + 1..end };
        self.message.start = StartLine::Response {
            status: status.and_then(|status| u16::try_from(status).ok()).ok_or(Defect::StatusCode)?,
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
    fn header_lines(&mut self, message_start: usize, start: usize) -> Result<usize, Defect> {
        self.message.lines.reserve(LINES_EXPECTED);
        let bytes = self.bytes;
        let (mut line_start, mut line_count) = (start, 0);
        for newline in memchr::memchr_iter(b'\n', &bytes[start..]).map(|at| start + at) {
            let end = newline - 1;
            if end < line_start || bytes[end] != b'\r' {
                return Err(Defect::BareLineBreak);
            }
            if end - message_start > limits::HEAD_LEN_MAX {
                return Err(Defect::HeadTooLong);
            }
            line_count += 1;
            if end == line_start {
                // Counting every CR costs less than looking for one in each line.
                let has_bare = memchr::memchr_iter(b'\r', &bytes[start..newline]).count() != line_count;
                return if has_bare { Err(Defect::BareLineBreak) } else { Ok(newline + 1) };
            }
            //= RFC 3261 §7.3.1: a line that starts with white space continues the one before.
            if let Some(b' ' | b'\t') = bytes.get(newline + 1) {
                continue;
            }
            match self.line(line_start, end) {
                Ok(line) => self.keep(line)?,
                Err(defect) => self.note(defect),
            }
            line_start = newline + 1;
        }
        Err(Defect::Incomplete)
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
        let colon = memchr::memchr(b':', line).ok_or(Defect::HeaderLine)?;
        //= RFC 3261 §7.3.1: white space may stand between the name and the colon.
        let raw_name = syntax::trim_end(&line[..colon]);
        let name = Name::of(raw_name);
        if name == Name::Other && (raw_name.is_empty() || !raw_name.iter().all(|&byte| is_token(byte))) {
            return Err(Defect::HeaderLine);
        }
        let behind = &line[colon + 1..];
        let value_start = end - syntax::trim_start(behind).len();
        let value_end = (start + colon + 1 + syntax::trim_end(behind).len()).max(value_start);
        Ok(Line {
            whole: Span::new(start..end + 2),
            value: Span::new(value_start..value_end),
            name_len: raw_name.len() as u16,
            name,
        })
    }
}

/// A CR that no LF follows.
fn has_bare_cr(line: &[u8]) -> bool {
    memchr::memchr_iter(b'\r', line).any(|at| line.get(at + 1) != Some(&b'\n'))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = "Via: SIP/2.0/UDP h;branch=z9hG4bKx\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>\r\nCall-ID: c\r\n\
        CSeq: 1 OPTIONS\r\n";

    fn with_start(start: &str) -> Result<Message, ParseError> {
        Message::parse(format!("{start}\r\n{LINES}\r\n").into())
    }

    fn with_lines(lines: &str) -> Result<Message, ParseError> {
        Message::parse(format!("OPTIONS sip:h SIP/2.0\r\n{LINES}{lines}\r\n").into())
    }

    fn defect(parsed: Result<Message, ParseError>) -> Option<Defect> {
        parsed.err().map(|error| error.what)
    }

    #[test]
    fn start_lines_are_told_apart() {
        let request = with_start("OPTIONS sip:h sip/2.0").unwrap();
        assert_eq!((request.is_request(), request.status(), request.request_uri()), (true, 0, "sip:h"));
        let response = with_start("SIP/2.0 200 All  right").unwrap();
        assert_eq!((response.is_request(), response.status()), (false, 200));
        assert_eq!((response.reason_phrase(), response.method()), (&b"All  right"[..], &Method::Options));
        for start in ["SIP/2.0 100 ", "SIP/2.0 100"] {
            assert_eq!(
                with_start(start).unwrap().reason_phrase(),
                b"",
                "the liberal reading of RFC 4475 §3.1.1.13"
            );
        }
    }

    #[test]
    fn broken_start_lines_are_refused() {
        for (start, what) in [
            ("OPTIONS", Defect::StartLine),
            ("OPTIONS sip:h", Defect::StartLine),
            ("OPTIONS  sip:h SIP/2.0", Defect::StartLine),
            ("OPTIONS sip:h SIP/2.0 ", Defect::StartLine),
            ("OPTIONS sip:h SIP/2", Defect::StartLine),
            ("OPTIONS sip:h HTTP/1.1", Defect::StartLine),
            ("OPT:IONS sip:h SIP/2.0", Defect::StartLine),
            ("OPTIONS sip:h SIP/3.1", Defect::Version),
            ("OPTIONS h SIP/2.0", Defect::RequestUri),
            ("OPTIONS sip:h\tx SIP/2.0", Defect::RequestUri),
            ("SIP/2.0 20 OK", Defect::StatusCode),
            ("SIP/2.0 099 OK", Defect::StatusCode),
            ("SIP/2.0 700 OK", Defect::StatusCode),
            ("SIP/2.0  200 OK", Defect::StatusCode),
            ("SIP/3.0 200 OK", Defect::Version),
        ] {
            assert_eq!(defect(with_start(start)), Some(what), "{start}");
        }
    }

    #[test]
    fn header_fields_are_found_folded_compact_and_unknown() {
        let message = with_lines("s : a\r\n  b \r\nX-Y:z\r\nSupported:\r\nk: c, d\r\n").unwrap();
        assert_eq!(message.header(Name::Subject), Some(&b"a\r\n  b"[..]));
        assert_eq!(message.header_called("x-y"), Some(&b"z"[..]));
        assert_eq!(message.values(Name::Supported).collect::<Vec<_>>(), [b"c", b"d"]);
        let last = message.headers().last().unwrap();
        assert_eq!((last.raw_name, last.line), (&b"k"[..], &b"k: c, d\r\n"[..]));
    }

    #[test]
    fn line_ends_in_front_are_skipped_and_nothing_else_is_empty() {
        assert!(with_start("\r\n\r\nOPTIONS sip:h SIP/2.0").is_ok());
        for keep_alive in ["", "\r\n\r\n", "\r\n"] {
            assert_eq!(defect(Message::parse(keep_alive.into())), Some(Defect::Empty));
        }
    }

    #[test]
    fn bare_line_breaks_are_refused() {
        for lines in ["X: a\nY: b\r\n", "X: a\rY: b\r\n", "X: a\n", "X: a\r\r\n"] {
            let error = with_lines(lines).unwrap_err();
            assert_eq!(error.what, Defect::BareLineBreak, "{lines:?}");
            let partial = error.partial.unwrap();
            assert_eq!(partial.headers().count(), 5, "an answer copies nothing of the broken line");
        }
    }

    #[test]
    fn lines_that_are_no_fields_are_refused_but_answered() {
        for lines in ["nonsense\r\n", ": x\r\n", "a b: c\r\n", "\u{e9}: x\r\n"] {
            let error = with_lines(lines).unwrap_err();
            assert_eq!(error.what, Defect::HeaderLine, "{lines:?}");
            assert!(error.partial.is_some());
        }
    }

    #[test]
    fn half_a_message_is_incomplete() {
        let whole = format!("OPTIONS sip:h SIP/2.0\r\n{LINES}\r\n");
        for len in 1..whole.len() {
            assert_eq!(
                defect(Message::parse(whole[..len].to_owned().into())),
                Some(Defect::Incomplete),
                "{len}"
            );
        }
    }

    #[test]
    fn each_limit_has_its_answer() {
        let field = |len: usize| format!("X-X: {}\r\n", "x".repeat(len - 5));
        let many = |count: usize, len: usize| (0..count).map(|_| field(len)).collect::<String>();
        let uri = |len: usize| format!("OPTIONS sip:{} SIP/2.0", "h".repeat(len - 4));
        let refusals = [
            (with_lines(&field(limits::LINE_LEN_MAX + 1)), Defect::LineTooLong, 513),
            (with_lines(&many(limits::LINE_COUNT_MAX, 6)), Defect::TooManyLines, 513),
            (with_lines(&many(5, limits::LINE_LEN_MAX)), Defect::HeadTooLong, 513),
            (with_start(&uri(limits::REQUEST_URI_LEN_MAX + 1)), Defect::RequestUriTooLong, 414),
        ];
        for (parsed, what, status) in refusals {
            let error = parsed.unwrap_err();
            assert_eq!((error.what, error.status()), (what, status));
            assert!(error.partial.is_some(), "{what}");
        }
        let method = "M".repeat(limits::METHOD_LEN_MAX + 1);
        assert_eq!(defect(with_start(&format!("{method} sip:h SIP/2.0"))), Some(Defect::StartLine));
        assert!(with_lines(&field(limits::LINE_LEN_MAX)).is_ok());
        assert!(with_lines(&many(limits::LINE_COUNT_MAX - 5, 6)).is_ok());
    }
}
