//! Cutting a byte stream into messages: RFC 3261 §18.3, §20.14; keep-alives of RFC 5626 §3.5.1.

use bytes::{Bytes, BytesMut};

use super::syntax::{self, is_space};
use super::{Defect, Name, limits};

/// What comes out of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// One whole message, for [`super::Message::parse`].
    Message(Bytes),
    /// A double CRLF: a keep-alive that wants a [`PONG`] back.
    Ping,
    /// A single CRLF: the answer to a keep-alive.
    Pong,
}

/// What is sent back for a [`Frame::Ping`].
pub const PONG: &[u8] = b"\r\n";
/// What is sent to keep a connection alive.
pub const PING: &[u8] = b"\r\n\r\n";

/// Why a stream cannot be read on; the connection must be closed, since nobody knows where the next message starts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What was wrong.
    pub what: Defect,
    /// The header section, if it was whole: [`super::Message::parse`] may find in it what an answer needs.
    pub head: Option<Bytes>,
}

/// Collects bytes of one connection and gives messages; holds at most one unfinished message.
#[derive(Debug, Default)]
pub struct Framer {
    buffer: BytesMut,
    /// Up to here no end of a header section was found.
    searched: usize,
    /// Where the message at the front ends, once its header section is there.
    end: Option<usize>,
    after_crlf: bool,
    broken: bool,
}

impl Framer {
    /// For a new connection.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what was read.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.broken {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next message or keep-alive; `None` until more is read. To be called until it gives `None`.
    ///
    /// # Errors
    /// [`Broken`], and from then on `None`.
    #[allow(clippy::should_implement_trait, reason = "an Iterator ends; this goes on when more is pushed")]
    pub fn next(&mut self) -> Result<Option<Frame>, Broken> {
        if let Some(keep_alive) = self.keep_alive() {
            return Ok(Some(keep_alive));
        }
        let Some(end) = self.message_end()? else { return Ok(None) };
        if self.buffer.len() < end {
            return Ok(None);
        }
        self.searched = 0;
        self.end = None;
        self.after_crlf = false;
        Ok(Some(Frame::Message(self.buffer.split_to(end).freeze())))
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
        if !self.buffer.starts_with(PONG) || self.buffer.get(2) == Some(&b'\r') && self.buffer.len() == 3 {
            return None;
        }
        self.take(PONG.len());
        //= RFC 5626 §3.5.1: two CRLF are a ping, also when they arrive one by one.
        let is_ping = self.after_crlf;
        self.after_crlf = !is_ping;
        Some(if is_ping { Frame::Ping } else { Frame::Pong })
    }

    fn take(&mut self, len: usize) {
        let _taken = self.buffer.split_to(len);
    }

    fn message_end(&mut self) -> Result<Option<usize>, Broken> {
        if self.end.is_none() && !self.broken {
            self.end = self.find_end()?;
        }
        Ok(self.end)
    }

    fn find_end(&mut self) -> Result<Option<usize>, Broken> {
        let from = self.searched.saturating_sub(3);
        let Some(found) = memchr::memmem::find(&self.buffer[from..], b"\r\n\r\n") else {
            self.searched = self.buffer.len();
            return if self.buffer.len() > limits::HEAD_LEN_MAX {
                Err(self.fail(Defect::HeadTooLong, None))
            } else {
                Ok(None)
            };
        };
        let head_end = from + found + 4;
        if head_end > limits::HEAD_LEN_MAX {
            return Err(self.fail(Defect::HeadTooLong, None));
        }
        match content_length(&self.buffer[..head_end]) {
            Ok(body) if body > limits::BODY_LEN_MAX => Err(self.fail(Defect::MessageTooLong, Some(head_end))),
            Ok(body) => Ok(Some(head_end + body)),
            Err(defect) => Err(self.fail(defect, Some(head_end))),
        }
    }

    fn fail(&mut self, what: Defect, head_end: Option<usize>) -> Broken {
        self.broken = true;
        let head = head_end.map(|end| self.buffer.split_to(end).freeze());
        self.buffer = BytesMut::new();
        Broken { what, head }
    }
}

/// The one Content-Length of a header section.
//= RFC 3261 §18.3: over a stream it must be there.
fn content_length(head: &[u8]) -> Result<usize, Defect> {
    let mut length = None;
    for line in head.split(|&byte| byte == b'\n') {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        if is_space(line[0]) || Name::of(syntax::trim(&line[..colon])) != Name::ContentLength {
            continue;
        }
        let value = syntax::parse_number(syntax::trim(&line[colon + 1..]));
        let value = value.ok_or(Defect::Malformed(Name::ContentLength))?;
        if length.replace(value as usize).is_some() {
            return Err(Defect::Duplicate(Name::ContentLength));
        }
    }
    length.ok_or(Defect::Missing(Name::ContentLength))
}
