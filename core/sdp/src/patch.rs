//! Writing a description again with a few lines changed.

use std::net::IpAddr;

use smallvec::SmallVec;

use crate::Session;
use crate::line::words;

/// What we write into an `o=` line (RFC 8866 §5.2): each leg has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'o> {
    /// User name, without spaces; `-` for none.
    pub username: &'o str,
    /// Session id: the same for the whole life of a leg.
    pub session_id: u64,
    /// Version: one more each time the text of the description changes.
    pub version: u64,
    /// The address of our side of the leg.
    pub address: IpAddr,
}

/// Changes to a description, carried out together by [`Patch::finish`]. Lines that are not named stay byte for
/// byte, and a changed or inserted line ends as its neighbour ends.
#[derive(Debug)]
pub struct Patch<'s, 'a> {
    session: &'s Session<'a>,
    /// By position of the line; several at one position in the order in which they were asked for.
    edits: SmallVec<[(usize, Edit); 4]>,
}

#[derive(Debug)]
enum Edit {
    Insert(String),
    Replace(Vec<u8>),
    Remove,
}

impl<'s, 'a> Patch<'s, 'a> {
    pub(crate) fn new(session: &'s Session<'a>) -> Self {
        Self { session, edits: SmallVec::new() }
    }

    /// Replaces the `o=` line.
    #[must_use]
    pub fn origin(self, origin: Origin<'_>) -> Self {
        let Origin { username, session_id, version, address } = origin;
        let family = family(address);
        self.replace(1, format!("o={username} {session_id} {version} IN {family} {address}").into_bytes())
    }

    /// Sets the port of an m-line, and takes away a number of ports; 0 turns the stream off. A stream that does not
    /// exist changes nothing.
    #[must_use]
    pub fn port(mut self, stream: u16, port: u16) -> Self {
        let Some(position) = self.session.stream_position(stream) else {
            return self;
        };
        for (offset, line) in self.session.stream_lines(stream).enumerate() {
            //= RFC 8843 §6: with bundle-only port 0 would not turn it off.
            if line.attribute("bundle-only").is_some() {
                self = self.remove(position + offset);
            }
        }
        self.first_port(stream, port)
    }

    /// Sets the port of an m-line and leaves everything else.
    pub(crate) fn first_port(self, stream: u16, port: u16) -> Self {
        let Some(position) = self.session.stream_position(stream) else {
            return self;
        };
        let mut text = b"m=".to_vec();
        let line = self.session.stream_lines(stream).next();
        for (index, word) in line.iter().flat_map(|line| words(line.value)).enumerate() {
            if index > 0 {
                text.push(b' ');
            }
            match index {
                1 => text.extend_from_slice(port.to_string().as_bytes()),
                _ => text.extend_from_slice(word),
            }
        }
        self.replace(position, text)
    }

    /// Puts another address into every `c=` line of a stream, or of the session part for `None`.
    #[must_use]
    pub fn address(mut self, stream: Option<u16>, address: IpAddr) -> Self {
        let (begin, lines) = match stream {
            Some(stream) => (self.session.stream_position(stream), self.session.stream_lines(stream)),
            None => (Some(0), self.session.session_lines()),
        };
        let text = format!("c=IN {} {address}", family(address)).into_bytes();
        for (offset, line) in lines.enumerate() {
            if let (Some(begin), b'c') = (begin, line.kind) {
                self = self.replace(begin + offset, text.clone());
            }
        }
        self
    }

    /// Removes the line at a position among all lines.
    #[must_use]
    pub fn remove(mut self, position: usize) -> Self {
        self.edits.push((position, Edit::Remove));
        self
    }

    /// Inserts a line, given without its end, before a position; at the end for a position behind the last line.
    #[must_use]
    pub fn insert(mut self, position: usize, line: &str) -> Self {
        self.edits.push((position, Edit::Insert(line.into())));
        self
    }

    /// The description that is changed.
    pub(crate) fn session(&self) -> &'s Session<'a> {
        self.session
    }

    /// Replaces a line, given without its end.
    pub(crate) fn replace(mut self, position: usize, text: Vec<u8>) -> Self {
        self.edits.push((position, Edit::Replace(text)));
        self
    }

    /// The changed description.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        // What is inserted stands before the line, so it comes before what happens to the line.
        self.edits.sort_by_key(|(position, edit)| (*position, !matches!(edit, Edit::Insert(_))));
        let (bytes, spans) = (self.session.to_bytes(), self.session.spans());
        let mut out = Vec::with_capacity(bytes.len() + 64 * self.edits.len());
        let mut copied = 0;
        for (position, edit) in &self.edits {
            let Some(span) = spans.get(*position) else {
                if let Edit::Insert(line) = edit {
                    copied = self.append(&mut out, copied, line);
                }
                continue;
            };
            let (start, end) = (span.start as usize, span.end as usize);
            if copied <= start {
                out.extend_from_slice(&bytes[copied..start]);
                copied = start;
            }
            match edit {
                Edit::Insert(line) => {
                    out.extend_from_slice(line.as_bytes());
                    out.extend_from_slice(self.line_end(*position));
                }
                Edit::Replace(text) if copied == start => {
                    out.extend_from_slice(text);
                    copied = end;
                }
                Edit::Remove if copied == start => copied = self.next_line(*position),
                // The line has been replaced or removed already: the first change stands.
                Edit::Replace(_) | Edit::Remove => {}
            }
        }
        let rest = &bytes[copied..];
        let is_behind =
            |(position, edit): &(usize, Edit)| matches!(edit, Edit::Insert(_)) && *position >= spans.len();
        if self.edits.iter().any(is_behind) && !out.ends_with(b"\n") && !rest.contains(&b'\n') {
            out.extend_from_slice(self.line_end(spans.len() - 1));
        } else {
            out.extend_from_slice(rest);
        }
        out
    }

    /// Adds a line behind the last one, and in front of empty lines that may follow it: none may stand between lines.
    /// Says how far the description has been copied.
    fn append(&self, out: &mut Vec<u8>, copied: usize, line: &str) -> usize {
        let last = self.session.spans().len() - 1;
        let (end, line_end) = (self.session.spans()[last].end as usize, self.line_end(last));
        // A last line without an end that has been removed leaves `copied` where a replaced one does.
        let removed = copied > end || (copied == end && out.ends_with(b"\n"));
        if !removed {
            out.extend_from_slice(&self.session.to_bytes()[copied..end]);
            out.extend_from_slice(line_end);
            out.extend_from_slice(line.as_bytes());
            return end;
        }
        // The last line has been removed, and its end with it.
        out.extend_from_slice(line.as_bytes());
        out.extend_from_slice(line_end);
        copied
    }

    /// Where the line after this one begins.
    fn next_line(&self, position: usize) -> usize {
        let spans = self.session.spans();
        match spans.get(position + 1) {
            Some(next) => next.start as usize,
            None => self.session.to_bytes().len(),
        }
    }

    /// How a line ends; CRLF for a last line without an end.
    fn line_end(&self, position: usize) -> &'a [u8] {
        let bytes = self.session.to_bytes();
        let end = self.session.spans().get(position).map_or(bytes.len(), |span| span.end as usize);
        match bytes.get(end) {
            Some(b'\n') => b"\n",
            Some(_) | None => b"\r\n",
        }
    }
}

fn family(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "IP4" } else { "IP6" }
}
