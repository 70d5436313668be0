//! Reading a message: what it is, its lines, its values.

use std::net::SocketAddr;

use bytes::Bytes;

use super::syntax::{self, Cursor};
use super::{CSeq, Defect, Header, Line, Message, Method, Name, NameAddr, StartLine, Uri, Via, values};

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

    /// The topmost Via value.
    ///
    /// # Errors
    /// [`Defect::Missing`] or [`Defect::Malformed`]; never for a message that [`Message::parse`] accepted.
    pub fn top_via(&self) -> Result<Via<'_>, Defect> {
        Via::parse(values::split_first(self.mandatory(Name::Via)?).0)
    }

    /// From.
    ///
    /// # Errors
    /// [`Defect::Missing`] or [`Defect::Malformed`]; never for a message that [`Message::parse`] accepted.
    pub fn from(&self) -> Result<NameAddr<'_>, Defect> {
        NameAddr::parse(self.mandatory(Name::From)?, Defect::Malformed(Name::From))
    }

    /// To.
    ///
    /// # Errors
    /// [`Defect::Missing`] or [`Defect::Malformed`]; never for a message that [`Message::parse`] accepted.
    pub fn to(&self) -> Result<NameAddr<'_>, Defect> {
        NameAddr::parse(self.mandatory(Name::To)?, Defect::Malformed(Name::To))
    }

    /// Call-ID.
    ///
    /// # Errors
    /// [`Defect::Missing`] or [`Defect::Malformed`]; never for a message that [`Message::parse`] accepted.
    pub fn call_id(&self) -> Result<&str, Defect> {
        let value = self.mandatory(Name::CallId)?;
        let valid = !value.is_empty() && value.iter().all(u8::is_ascii_graphic);
        syntax::ascii(value).filter(|_| valid).ok_or(Defect::Malformed(Name::CallId))
    }

    /// CSeq.
    ///
    /// # Errors
    /// [`Defect::Missing`] or [`Defect::Malformed`]; never for a message that [`Message::parse`] accepted.
    pub fn cseq(&self) -> Result<CSeq, Defect> {
        CSeq::parse(self.mandatory(Name::CSeq)?)
    }

    /// Max-Forwards, 0 to 255; `None` if it is left out, as RFC 2543 did.
    ///
    /// # Errors
    /// [`Defect::Malformed`]; never for a message that [`Message::parse`] accepted.
    pub fn max_forwards(&self) -> Result<Option<u8>, Defect> {
        self.number(Name::MaxForwards)?
            .map(|number| u8::try_from(number).map_err(|_| Defect::Malformed(Name::MaxForwards)))
            .transpose()
    }

    /// Content-Length.
    ///
    /// # Errors
    /// [`Defect::Malformed`] for anything but a number that fits 32 bits.
    pub fn content_length(&self) -> Result<Option<usize>, Defect> {
        Ok(self.number(Name::ContentLength)?.map(|number| number as usize))
    }

    /// A header field that is one decimal number of 32 bits: Expires, RSeq, Max-Breadth …
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn number(&self, name: Name) -> Result<Option<u32>, Defect> {
        self.header(name).map(|value| syntax::parse_number(value).ok_or(Defect::Malformed(name))).transpose()
    }

    /// Contact, every value.
    pub fn contacts(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Defect>> {
        self.addresses(Name::Contact)
    }

    /// Route, every value, topmost first.
    pub fn routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Defect>> {
        self.addresses(Name::Route)
    }

    /// Record-Route, every value, topmost first.
    pub fn record_routes(&self) -> impl Iterator<Item = Result<NameAddr<'_>, Defect>> {
        self.addresses(Name::RecordRoute)
    }

    /// Any field of addresses: Refer-To, P-Asserted-Identity, Diversion … every value.
    pub fn addresses(&self, name: Name) -> impl Iterator<Item = Result<NameAddr<'_>, Defect>> {
        self.values(name).map(move |value| NameAddr::parse(value, Defect::Malformed(name)))
    }

    /// The tokens of a list field: Require, Supported, Proxy-Require, Unsupported, Allow, Allow-Events. What is no
    /// token is left out.
    pub fn tokens(&self, name: Name) -> impl Iterator<Item = &str> {
        self.values(name).filter_map(|value| {
            let mut cursor = Cursor::new(value);
            cursor.token().filter(|_| cursor.is_empty())
        })
    }

    /// True if the list field `name` (Require, Supported …) has the option tag, without regard to case.
    #[must_use]
    pub fn has_option(&self, name: Name, option: &str) -> bool {
        self.tokens(name).any(|token| token.eq_ignore_ascii_case(option))
    }

    /// True if Allow lists the method. `None` if there is no Allow.
    #[must_use]
    pub fn allows(&self, method: &Method) -> Option<bool> {
        self.header(Name::Allow)?;
        Some(self.tokens(Name::Allow).any(|token| token == method.text()))
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
