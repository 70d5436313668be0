//! Reading a message: what it is, its lines, its values.

use std::net::SocketAddr;

use bytes::Bytes;

use super::{Defect, Header, Line, Message, Method, Name, StartLine, Uri, syntax, values};

impl Message {
    /// All bytes as they came.
    #[must_use]
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// True for a request, false for a response.
    #[must_use]
    pub fn is_request(&self) -> bool {
        matches!(self.start, StartLine::Request { .. })
    }

    /// The method of a request; for a response the method of its CSeq, that is, of the request it answers.
    #[must_use]
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// The Request-URI as it came; empty for a response.
    #[must_use]
    pub fn request_uri(&self) -> &str {
        match self.start {
            StartLine::Request { uri } => syntax::ascii(uri.of(&self.bytes)).unwrap_or_default(),
            StartLine::Response { .. } => "",
        }
    }

    /// The Request-URI taken apart.
    ///
    /// # Errors
    /// [`Defect::RequestUri`]; never for a request that [`Message::parse`] accepted.
    pub fn parsed_request_uri(&self) -> Result<Uri<'_>, Defect> {
        Uri::parse(self.request_uri()).map_err(|_| Defect::RequestUri)
    }

    /// The status code, 100 to 699; 0 for a request.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.start {
            StartLine::Request { .. } => 0,
            StartLine::Response { status, .. } => status,
        }
    }

    /// The reason phrase, any bytes; empty for a request.
    #[must_use]
    pub fn reason_phrase(&self) -> &[u8] {
        match self.start {
            StartLine::Request { .. } => &[],
            StartLine::Response { phrase, .. } => phrase.of(&self.bytes),
        }
    }

    /// The body: what Content-Length says, or without one all of the datagram behind the header section.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        self.body.of(&self.bytes)
    }

    /// Every header field in the order in which it came.
    pub fn headers(&self) -> impl Iterator<Item = Header<'_>> {
        self.lines.iter().map(|line| self.as_header(line))
    }

    /// The value of the first header field of that name.
    #[must_use]
    pub fn header(&self, name: Name) -> Option<&[u8]> {
        self.lines.iter().find(|line| line.name == name).map(|line| line.value.of(&self.bytes))
    }

    /// The first header field with a name that is not in [`Name`], without regard to case.
    #[must_use]
    pub fn header_called(&self, name: &str) -> Option<&[u8]> {
        self.headers()
            .find(|header| header.raw_name.eq_ignore_ascii_case(name.as_bytes()))
            .map(|header| header.value)
    }

    /// Every value of every field of that name; comma-separated ones apart if the field is a list.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &[u8]> {
        let lines = self.lines.iter().filter(move |line| line.name == name);
        lines.flat_map(move |line| values::split(line.value.of(&self.bytes), name.is_list()))
    }

    fn as_header(&self, line: &Line) -> Header<'_> {
        let whole = line.whole.of(&self.bytes);
        Header {
            name: line.name,
            raw_name: whole.get(..usize::from(line.name_len)).unwrap_or_default(),
            value: line.value.of(&self.bytes),
            line: whole,
        }
    }

    pub(super) fn mandatory(&self, name: Name) -> Result<&[u8], Defect> {
        self.header(name).ok_or(Defect::Missing(name))
    }

    /// The same message without some of its header lines; `None` if it could not do without them.
    #[must_use]
    pub fn without(&self, is_left_out: impl Fn(&Header<'_>) -> bool) -> Option<Self> {
        let mut bytes = Vec::with_capacity(self.bytes.len());
        let mut from = 0;
        for line in self.lines.iter().filter(|line| is_left_out(&self.as_header(line))) {
            bytes.extend_from_slice(self.bytes.get(from..line.whole.start as usize)?);
            from = line.whole.end as usize;
        }
        if from == 0 {
            return Some(self.clone());
        }
        bytes.extend_from_slice(self.bytes.get(from..)?);
        Some(Self { source: self.source, ..Self::parse(bytes.into()).ok()? })
    }

    /// Notes where the request came from. [`super::Builder::response_to`] then writes `received` and `rport` into the
    /// topmost Via as RFC 3261 §18.2.1 and RFC 3581 §4 ask; the bytes stay as they came.
    pub fn set_source(&mut self, source: SocketAddr) {
        self.source = Some(source);
    }

    /// Where the request came from, if it was noted.
    #[must_use]
    pub fn source(&self) -> Option<SocketAddr> {
        self.source
    }
}
