//! Cutting a byte stream into messages: RFC 3261 §18.3, §20.14; keep-alives of RFC 5626 §3.5.1.

use bytes::{Buf, Bytes, BytesMut};

use super::{Defect, Name, limits, syntax};

/// What is sent to keep a connection alive.
pub const PING: &[u8] = b"\r\n\r\n";
/// What is sent back for a [`Frame::Ping`].
pub const PONG: &[u8] = b"\r\n";

/// An idle connection keeps at most this much buffer, bytes.
const IDLE_CAPACITY_MAX: usize = 4_096;
/// A start line must end before this, bytes.
const START_LINE_LEN_MAX: usize = limits::METHOD_LEN_MAX + limits::REQUEST_URI_LEN_MAX + 64;

/// What comes out of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// One whole message, for [`super::Message::parse`].
    Message(Bytes),
    /// A double CRLF: a keep-alive that wants a [`PONG`] back.
    Ping,
    /// A single CRLF: the answer to a keep-alive, or stray.
    Pong,
}

/// Why a stream cannot be read on. The connection must be closed: nobody knows where the next message starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What was wrong.
    pub what: Defect,
    /// The header section, if it was whole: [`super::Message::parse`] finds in it what an answer needs.
    pub head: Option<Bytes>,
}

/// Collects the bytes of one connection and gives messages. It holds one unfinished message, whose size is limited,
/// and what was pushed behind it.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// Up to here no end of a header section was found.
    searched: usize,
    start_line_seen: bool,
    /// Where the message at the front ends, once its header section is there.
    end: Option<usize>,
    after_crlf: bool,
    is_broken: bool,
}

impl Framer {
    /// For a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what was read. To be followed by [`Framer::next`] until that gives `None`.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.is_broken {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next message or keep-alive; `None` until more is pushed.
    ///
    /// # Errors
    /// [`Broken`], once; from then on `None`.
    #[allow(
        clippy::should_implement_trait,
        reason = "an Iterator ends at None; this goes on when more is pushed"
    )]
    pub fn next(&mut self) -> Result<Option<Frame>, Broken> {
        if let Some(keep_alive) = self.keep_alive() {
            return Ok(Some(keep_alive));
        }
        if self.end.is_none() && !PING.starts_with(&self.buffer) {
            self.end = self.find_end()?;
        }
        let Some(end) = self.end.filter(|end| *end <= self.buffer.len()) else {
            return Ok(None);
        };
        // Copied, so that who keeps a message keeps its bytes and not a read buffer.
        let message = Bytes::copy_from_slice(&self.buffer[..end]);
        self.take(end);
        *self = Self { buffer: std::mem::take(&mut self.buffer), ..Self::default() };
        Ok(Some(Frame::Message(message)))
    }

    /// Bytes that wait for the rest of their message.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    fn keep_alive(&mut self) -> Option<Frame> {
        if self.buffer.starts_with(PING) {
            self.take(PING.len());
            self.after_crlf = false;
            return Some(Frame::Ping);
        }
        if !self.buffer.starts_with(PONG) || &self.buffer[..] == b"\r\n\r" {
            return None;
        }
        self.take(PONG.len());
        //= RFC 5626 §3.5.1: two CRLF are a ping, also when they arrive one by one.
        let is_ping = self.after_crlf;
        self.after_crlf = !is_ping;
        Some(if is_ping { Frame::Ping } else { Frame::Pong })
    }

    fn take(&mut self, len: usize) {
        self.buffer.advance(len);
        if self.buffer.is_empty() && self.buffer.capacity() > IDLE_CAPACITY_MAX {
            self.buffer = BytesMut::new();
        }
    }

    fn find_end(&mut self) -> Result<Option<usize>, Broken> {
        if !self.start_line_seen {
            self.start_line_seen = self.start_line().map_err(|what| self.fail(what, None))?;
        }
        let from = self.searched.saturating_sub(PING.len() - 1);
        let found = memchr::memmem::find(&self.buffer[from..], b"\r\n\r\n").map(|at| from + at + 4);
        match found {
            None if self.buffer.len() <= limits::HEAD_LEN_MAX => {
                self.searched = self.buffer.len();
                Ok(None)
            }
            Some(head) if head <= limits::HEAD_LEN_MAX => self.whole_length(head).map(Some),
            None | Some(_) => Err(self.fail(Defect::HeadTooLong, None)),
        }
    }

    /// False while it cannot be told yet. What does not begin like a message is refused at once, so that whoever
    /// sends something else is not read for long.
    fn start_line(&self) -> Result<bool, Defect> {
        let end = memchr::memchr(b'\n', &self.buffer);
        let line = &self.buffer[..end.unwrap_or(self.buffer.len())];
        if line.len() > START_LINE_LEN_MAX || !line.first().is_some_and(|byte| syntax::is_token(*byte)) {
            return Err(Defect::StartLine);
        }
        let line = syntax::trim_end(line);
        let is_response = line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"SIP/"));
        let version = line.len().checked_sub(8).and_then(|at| line.get(at..at + 5));
        let is_request = version.is_some_and(|version| version.eq_ignore_ascii_case(b" SIP/"));
        match end {
            None => Ok(false),
            Some(_) if is_response || is_request => Ok(true),
            Some(_) => Err(Defect::StartLine),
        }
    }

    fn whole_length(&mut self, head: usize) -> Result<usize, Broken> {
        match content_length(&self.buffer[..head]) {
            Ok(body) if body <= limits::BODY_LEN_MAX => Ok(head + body),
            Ok(_) => Err(self.fail(Defect::MessageTooLong, Some(head))),
            Err(what) => Err(self.fail(what, Some(head))),
        }
    }

    fn fail(&mut self, what: Defect, head: Option<usize>) -> Broken {
        let head = head.map(|end| Bytes::copy_from_slice(&self.buffer[..end]));
        *self = Self { is_broken: true, ..Self::default() };
        Broken { what, head }
    }
}

/// The one Content-Length of a header section.
fn content_length(head: &[u8]) -> Result<usize, Defect> {
    let mut lengths = Fields(head).filter(|(name, _)| *name == Name::ContentLength);
    //= RFC 3261 §18.3: over a stream it must be there.
    let (_, value) = lengths.next().ok_or(Defect::Missing(Name::ContentLength))?;
    if lengths.next().is_some() {
        return Err(Defect::Duplicate(Name::ContentLength));
    }
    let length = syntax::parse_number(syntax::trim(value));
    length.map(|length| length as usize).ok_or(Defect::Malformed(Name::ContentLength))
}

/// Names and values, folded lines joined; the start line counts as a field with another name.
struct Fields<'a>(&'a [u8]);

impl<'a> Iterator for Fields<'a> {
    type Item = (Name, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let mut end = 0;
        loop {
            end += memchr::memchr(b'\n', &self.0[end..])? + 1;
            if !matches!(self.0.get(end), Some(b' ' | b'\t')) {
                break;
            }
        }
        let (line, rest) = self.0.split_at(end);
        self.0 = rest;
        let colon = memchr::memchr(b':', line).unwrap_or(0);
        Some((Name::of(syntax::trim_end(&line[..colon])), line.get(colon + 1..).unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MESSAGE: &[u8] = b"OPTIONS sip:a SIP/2.0\r\nX: Content-Length: 9\r\nl :\r\n 4\r\n\r\nbody";

    fn all(framer: &mut Framer) -> Vec<Frame> {
        std::iter::from_fn(|| framer.next().unwrap()).collect()
    }

    fn message() -> Frame {
        Frame::Message(Bytes::from_static(MESSAGE))
    }

    fn broken_by(bytes: &[u8]) -> Option<Broken> {
        let mut framer = Framer::new();
        framer.push(bytes);
        let broken = framer.next().err()?;
        framer.push(MESSAGE);
        assert_eq!((framer.next(), framer.buffered()), (Ok(None), 0), "nothing is read behind an error");
        Some(broken)
    }

    #[test]
    fn messages_come_out_whole_wherever_the_stream_is_cut() {
        let stream = [MESSAGE, MESSAGE, MESSAGE].concat();
        for size in 1..stream.len() {
            let mut framer = Framer::new();
            let mut frames = Vec::new();
            for part in stream.chunks(size) {
                framer.push(part);
                frames.extend(all(&mut framer));
            }
            assert_eq!(frames, [message(), message(), message()], "{size}");
            assert_eq!(framer.buffered(), 0);
        }
    }

    #[test]
    fn pings_and_pongs_are_told_apart_and_do_not_disturb_messages() {
        //= test RFC 5626 §3.5.1: double CRLF asks, single CRLF answers.
        let mut framer = Framer::new();
        framer.push(&[PING, MESSAGE, PONG, MESSAGE].concat());
        assert_eq!(all(&mut framer), [Frame::Ping, message(), Frame::Pong, message()]);
    }

    #[test]
    fn a_ping_that_arrives_in_pieces_is_still_a_ping() {
        for pieces in [&[&b"\r\n\r"[..], b"\n"][..], &[b"\r", b"\n\r", b"\n"], &[b"\r\n", b"\r\n"]] {
            let mut framer = Framer::new();
            let frames: Vec<Frame> = pieces
                .iter()
                .flat_map(|piece| {
                    framer.push(piece);
                    all(&mut framer)
                })
                .collect();
            assert_eq!(frames.last(), Some(&Frame::Ping), "{pieces:?}");
        }
    }

    #[test]
    fn lengths_that_frame_nothing_break_the_stream() {
        //= test RFC 3261 §18.3, RFC 4475 §3.1.2.3, §3.3.9: none, negative, two, too large.
        let length = Name::ContentLength;
        for (lines, what) in [
            ("", Defect::Missing(length)),
            ("l: -1\r\n", Defect::Malformed(length)),
            ("l: five\r\n", Defect::Malformed(length)),
            ("l: 4294967296\r\n", Defect::Malformed(length)),
            ("l: 1\r\nContent-Length: 1\r\n", Defect::Duplicate(length)),
            ("l: 262145\r\n", Defect::MessageTooLong),
        ] {
            let head = format!("OPTIONS sip:a SIP/2.0\r\n{lines}\r\n");
            let expected = Broken { what, head: Some(head.clone().into()) };
            assert_eq!(broken_by(head.as_bytes()), Some(expected), "{lines}");
        }
    }

    #[test]
    fn a_megabyte_of_header_is_refused_long_before_its_end() {
        let mut framer = Framer::new();
        framer.push(b"OPTIONS sip:a SIP/2.0\r\nX: ");
        let mut pushed = 0;
        let broken = loop {
            framer.push(&[b'x'; 1_000]);
            pushed += 1_000;
            match framer.next() {
                Ok(frame) => assert_eq!(frame, None),
                Err(broken) => break broken,
            }
        };
        assert_eq!(broken, Broken { what: Defect::HeadTooLong, head: None });
        assert!(pushed <= limits::HEAD_LEN_MAX + 1_000);
    }

    #[test]
    fn what_is_no_sip_is_refused_at_its_first_line() {
        let endless = vec![b'x'; START_LINE_LEN_MAX + 1];
        for garbage in
            [&b"GET / HTTP/1.1\r\n"[..], b"\x16\x03\x01", b"hello\r\n", b"\n", b"\rx\r\n", &endless]
        {
            let expected = Broken { what: Defect::StartLine, head: None };
            assert_eq!(broken_by(garbage), Some(expected), "{garbage:?}");
        }
    }
}
