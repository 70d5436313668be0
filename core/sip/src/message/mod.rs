//! SIP messages: RFC 3261 §7, §19, §20, §25. Bytes are kept; header fields are found at once and read when asked for.
//!
//! [`Message::parse`] finds the lines and checks what every element needs (start line, Via, From, To, Call-ID, CSeq,
//! Max-Forwards, Content-Length). Everything else is read by the accessor that is called, or never.
//! [`Builder`] writes; [`stream::Framer`] cuts a TCP stream into messages.

mod accessors;
mod builder;
mod check;
mod defect;
mod header;
mod host;
pub mod limits;
mod method;
mod name;
mod params;
mod parse;
pub mod stream;
pub(crate) mod syntax;
mod uri;
mod values;

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;

use bytes::Bytes;
use machine::Text;

pub use builder::Builder;
pub use defect::{Defect, ParseError};
pub use header::*;
pub use host::Host;
pub use method::Method;
pub use name::Name;
pub use params::Params;
pub use syntax::Quoted;
pub use uri::{Scheme, Uri};

/// A request or a response: the bytes as they came, and where things are in them.
#[derive(Clone)]
pub struct Message {
    bytes: Bytes,
    start: StartLine,
    /// Of the request line, or of a response's CSeq.
    method: Method,
    lines: Vec<Line>,
    body: Span,
    source: Option<SocketAddr>,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What was found in the bytes follows from them.
        let Self { bytes, start: _, method: _, lines: _, body: _, source } = self;
        f.debug_struct("Message").field("bytes", &Text(bytes)).field("source", source).finish_non_exhaustive()
    }
}

#[derive(Debug, Clone, Copy)]
enum StartLine {
    Request { uri: Span },
    Response { status: u16, phrase: Span },
}

/// Where something is in the bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    /// Messages are far below 4 GiB: see [`limits`].
    fn new(range: Range<usize>) -> Self {
        Self { start: range.start as u32, end: range.end as u32 }
    }

    fn of(self, bytes: &[u8]) -> &[u8] {
        bytes.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

/// One header field, its continuation lines included.
#[derive(Debug, Clone, Copy)]
struct Line {
    whole: Span,
    value: Span,
    name_len: u16,
    name: Name,
}

/// One header field as it came.
#[derive(Debug, Clone, Copy)]
pub struct Header<'a> {
    /// What the name means.
    pub name: Name,
    /// The name as it came.
    pub raw_name: &'a [u8],
    /// The value without white space at its ends; folds inside are kept.
    pub value: &'a [u8],
    /// The whole line with its continuation lines and the last line end.
    pub line: &'a [u8],
}
