//! Writing messages: one buffer, one pass.

use std::fmt;
use std::io::Write;
use std::net::SocketAddr;

use bytes::Bytes;

use super::{Header, Message, Method, Name, Via, values};

/// Room in front of the start line, so that a Via can be put on top by moving only the start line.
const HEADROOM: usize = 256;
/// What an ordinary message fits in. Together with the headroom 1 KiB: allocators hand out that much without
/// searching, and a longer message grows once.
const LEN_EXPECTED: usize = 1_024 - HEADROOM;

/// An outgoing message. Fields stand in the order in which they are written, except [`Builder::via`].
///
/// Line breaks inside values become spaces: no value can begin a line of its own.
#[derive(Debug, Clone)]
#[must_use]
pub struct Builder {
    bytes: Vec<u8>,
    /// Where the message starts: behind what is left of the headroom.
    start: usize,
    /// Where the first header line starts.
    first_line: usize,
    /// Where the next header line goes: the end, or in front of Content-Length once there is a body.
    next_line: usize,
    method: Option<Method>,
    has_body: bool,
}

impl Builder {
    /// A request.
    pub fn request(method: &Method, uri: &str) -> Self {
        let mut builder = Self::empty(Some(method.clone()));
        builder.append_clean(method.text().as_bytes());
        builder.bytes.push(b' ');
        builder.append_clean(uri.as_bytes());
        builder.bytes.extend_from_slice(b" SIP/2.0\r\n");
        builder.started()
    }

    /// A response. `status` is 100 to 699.
    pub fn response(status: u16, phrase: &str) -> Self {
        let mut builder = Self::empty(None);
        builder.append_fmt(format_args!("SIP/2.0 {status:03} "));
        builder.append_clean(phrase.as_bytes());
        builder.bytes.extend_from_slice(b"\r\n");
        builder.started()
    }

    /// A response to `request` with what RFC 3261 §8.2.6.2 copies. `to_tag` is added to To if it has no tag.
    /// The topmost Via gets `received` and `rport` if [`Message::set_source`] was called.
    pub fn response_to(request: &Message, status: u16, phrase: &str, to_tag: Option<&str>) -> Self {
        let mut builder = Self::response(status, phrase);
        let mut is_top = true;
        for header in request.headers() {
            match (header.name, to_tag) {
                (Name::Via, _) => {
                    builder = builder.response_via(header, request.source().filter(|_| is_top));
                    is_top = false;
                }
                (Name::To, Some(tag)) if request.to().is_ok_and(|to| to.tag().is_none()) => {
                    builder = builder.line(header.raw_name, |line| {
                        line.append_clean(header.value);
                        line.bytes.extend_from_slice(b";tag=");
                        line.append_clean(tag.as_bytes());
                    });
                }
                (Name::From | Name::To | Name::CallId | Name::CSeq, _) => builder = builder.copy_line(header),
                (_, _) => {}
            }
        }
        builder
    }

    fn response_via(self, header: Header<'_>, source: Option<SocketAddr>) -> Self {
        let (top, _) = values::split_first(header.value);
        let (Some(source), Ok(via)) = (source, Via::parse(top)) else {
            return self.copy_line(header);
        };
        self.line(header.raw_name, |line| {
            line.append_stamped(top, &via, source);
            line.append_clean(&header.value[top.len()..]);
        })
    }

    /// One header field.
    pub fn header(self, name: Name, value: impl AsRef<[u8]>) -> Self {
        self.raw_header(name.text(), value)
    }

    /// One header field whose value is formatted in place: `header_fmt(Name::MaxForwards, format_args!("{hops}"))`.
    pub fn header_fmt(self, name: Name, value: fmt::Arguments<'_>) -> Self {
        self.line(name.text().as_bytes(), |line| line.append_fmt(value))
    }

    /// More values of a field that is a list: on the line it has already, or else on one of its own.
    pub fn more(mut self, name: Name, values: fmt::Arguments<'_>) -> Self {
        let Some(end) = self.end_of(name) else { return self.header_fmt(name, values) };
        let from = self.bytes.len();
        self.bytes.extend_from_slice(b", ");
        self.append_fmt(values);
        let len = self.bytes.len() - from;
        self.bytes[end..].rotate_right(len);
        self.next_line += len;
        self
    }

    /// Where the first line of that name, as we write it, ends.
    fn end_of(&self, name: Name) -> Option<usize> {
        let mut end = self.first_line;
        self.bytes[self.first_line..self.next_line].split_inclusive(|octet| *octet == b'\n').find_map(
            |line| {
                end += line.len();
                let value = line.strip_prefix(name.text().as_bytes())?.strip_prefix(b": ")?;
                value.ends_with(b"\r\n").then_some(end - 2)
            },
        )
    }

    /// One header field with any name.
    pub fn raw_header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.line(name.as_bytes(), |line| line.append_clean(value.as_ref()))
    }

    /// Every field of that name, bytes as they came.
    pub fn copy(mut self, message: &Message, name: Name) -> Self {
        for header in message.headers().filter(|header| header.name == name) {
            self = self.copy_line(header);
        }
        self
    }

    /// One field, bytes as they came.
    pub fn copy_line(mut self, header: Header<'_>) -> Self {
        if self.has_body {
            let at = self.next_line;
            self.bytes.splice(at..at, header.line.iter().copied());
        } else {
            self.bytes.extend_from_slice(header.line);
        }
        self.next_line += header.line.len();
        self
    }

    /// Puts a Via above everything written so far.
    pub fn via(mut self, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref();
        let needed = "Via: \r\n".len() + value.len();
        if needed > self.start {
            let more = needed - self.start;
            self.bytes.splice(0..0, std::iter::repeat_n(0, more));
            self.start += more;
            self.first_line += more;
            self.next_line += more;
        }
        self.bytes.copy_within(self.start..self.first_line, self.start - needed);
        self.start -= needed;
        self.first_line -= needed;
        let line = &mut self.bytes[self.first_line..self.first_line + needed];
        line[..5].copy_from_slice(b"Via: ");
        line[5..needed - 2].copy_from_slice(value);
        line[needed - 2..].copy_from_slice(b"\r\n");
        clean(&mut line[5..needed - 2]);
        self
    }

    /// The body with its Content-Type (left out if empty) and Content-Length; once.
    pub fn body(mut self, content_type: impl AsRef<[u8]>, body: impl AsRef<[u8]>) -> Self {
        debug_assert!(!self.has_body, "a message has one body");
        let (content_type, body) = (content_type.as_ref(), body.as_ref());
        if !content_type.is_empty() {
            self = self.header(Name::ContentType, content_type);
        }
        //= RFC 3261 §20.14: written even where the transport would not need it.
        self.append_fmt(format_args!("Content-Length: {}", body.len()));
        self.bytes.extend_from_slice(b"\r\n\r\n");
        self.bytes.extend_from_slice(body);
        self.has_body = true;
        self
    }

    /// The method of a request.
    #[must_use]
    pub fn method(&self) -> Option<&Method> {
        self.method.as_ref()
    }

    /// The Request-URI of a request; empty for a response.
    #[must_use]
    pub fn request_uri(&self) -> &str {
        let start = self.bytes.get(self.start..self.first_line).unwrap_or_default();
        let uri = start.split(|byte| *byte == b' ').nth(1).filter(|_| self.method.is_some());
        uri.and_then(|uri| std::str::from_utf8(uri).ok()).unwrap_or_default()
    }

    /// The finished message; without a body, Content-Length is 0.
    #[must_use]
    pub fn finish(self) -> Bytes {
        let this = if self.has_body { self } else { self.body("", "") };
        Bytes::from(this.bytes).slice(this.start..)
    }

    fn empty(method: Option<Method>) -> Self {
        let mut bytes = Vec::with_capacity(HEADROOM + LEN_EXPECTED);
        bytes.resize(HEADROOM, 0);
        Self { bytes, start: HEADROOM, first_line: HEADROOM, next_line: HEADROOM, method, has_body: false }
    }

    fn started(mut self) -> Self {
        self.first_line = self.bytes.len();
        self.next_line = self.first_line;
        self
    }

    /// Writes one line; behind a body it is moved to where it belongs.
    fn line(mut self, name: &[u8], value: impl FnOnce(&mut Self)) -> Self {
        let from = self.bytes.len();
        self.append_clean(name);
        self.bytes.extend_from_slice(b": ");
        value(&mut self);
        self.bytes.extend_from_slice(b"\r\n");
        let len = self.bytes.len() - from;
        if self.has_body {
            self.bytes[self.next_line..].rotate_right(len);
        }
        self.next_line += len;
        self
    }

    fn append_clean(&mut self, value: &[u8]) {
        let from = self.bytes.len();
        self.bytes.extend_from_slice(value);
        clean(&mut self.bytes[from..]);
    }

    fn append_fmt(&mut self, value: fmt::Arguments<'_>) {
        let from = self.bytes.len();
        // Writing into a Vec fails only if a Display does; what it wrote until then stays.
        let _written = self.bytes.write_fmt(value);
        clean(&mut self.bytes[from..]);
    }

    /// The topmost Via with what the server transport adds.
    fn append_stamped(&mut self, value: &[u8], via: &Via<'_>, source: SocketAddr) {
        let ip = source.ip().to_canonical();
        let empty_rport = via.params().iter().find(|(name, _)| name.eq_ignore_ascii_case("rport")).and_then(
            |(name, port)| {
                port.is_none().then(|| name.as_ptr() as usize - value.as_ptr() as usize + name.len())
            },
        );
        //= RFC 3581 §4: an empty rport gets the source port, and then received is written in any case.
        match empty_rport {
            Some(at) => {
                self.append_clean(&value[..at]);
                self.append_fmt(format_args!("={}", source.port()));
                self.append_clean(&value[at..]);
            }
            None => self.append_clean(value),
        }
        //= RFC 3261 §18.2.1: received is added if sent-by is a name or another address than the packet's source.
        if empty_rport.is_some() || via.host().address().map(|address| address.to_canonical()) != Some(ip) {
            //= RFC 5118 §4.5: an IPv6 address stands there without brackets.
            self.append_fmt(format_args!(";received={ip}"));
        }
    }
}

/// Makes spaces of line breaks that do not fold a line.
fn clean(value: &mut [u8]) {
    let mut from = 0;
    while let Some(found) = memchr::memchr2(b'\r', b'\n', &value[from..]) {
        let at = from + found;
        if let [b'\r', b'\n', b' ' | b'\t', ..] = value[at..] {
            from = at + 2;
        } else {
            value[at] = b' ';
            from = at + 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &str = "INVITE sip:b@example.org SIP/2.0\r\nv: SIP/2.0/UDP a.example.org;branch=z9hG4bKx ; rport;x, \
        SIP/2.0/UDP z\r\nf:  <sip:a@example.org>;tag=1\r\nTo: <sip:b@example.org>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n\
        X-Two: folded\r\n  line\r\nContact: <sip:a@192.0.2.1>\r\n\r\n";

    fn request() -> Message {
        Message::parse(REQUEST.into()).unwrap()
    }

    fn text(builder: Builder) -> String {
        String::from_utf8(builder.finish().to_vec()).unwrap()
    }

    #[test]
    fn fields_stand_as_written_with_via_on_top_and_length_last() {
        let built = Builder::request(&Method::Bye, "sip:b@example.org")
            .header(Name::CallId, "c")
            .header_fmt(Name::MaxForwards, format_args!("{}", 70))
            .via("SIP/2.0/UDP second")
            .via("SIP/2.0/UDP first");
        let expected = "BYE sip:b@example.org SIP/2.0\r\nVia: SIP/2.0/UDP first\r\nVia: SIP/2.0/UDP second\r\n\
            Call-ID: c\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(text(built), expected);
    }

    #[test]
    fn what_is_added_to_a_list_stands_on_its_line_behind_a_body_too() {
        let built = Builder::request(&Method::Bye, "sip:b@example.org")
            .more(Name::Supported, format_args!("timer"))
            .header(Name::CallId, "c")
            .more(Name::Supported, format_args!("100rel, x"))
            .body("", "Supported: y\r\n")
            .more(Name::Supported, format_args!("z"))
            .header(Name::Server, "s")
            .via("SIP/2.0/UDP h");
        let expected = "BYE sip:b@example.org SIP/2.0\r\nVia: SIP/2.0/UDP h\r\nSupported: timer, 100rel, x, z\r\n\
            Call-ID: c\r\nServer: s\r\nContent-Length: 14\r\n\r\nSupported: y\r\n";
        assert_eq!(text(built), expected);
    }

    #[test]
    fn a_via_longer_than_the_headroom_still_fits() {
        let long = format!("SIP/2.0/UDP h;branch={}", "x".repeat(2 * HEADROOM));
        let built = Builder::response(200, "OK").header(Name::CallId, "c").via(&long).body("", "body");
        let expected =
            format!("SIP/2.0 200 OK\r\nVia: {long}\r\nCall-ID: c\r\nContent-Length: 4\r\n\r\nbody");
        assert_eq!(text(built), expected);
    }

    #[test]
    fn fields_added_behind_a_body_still_stand_above_it() {
        let request = request();
        let built = Builder::response(200, "OK")
            .body("application/sdp", "v=0\r\n")
            .header(Name::Server, "s")
            .copy(&request, Name::Contact);
        let expected = "SIP/2.0 200 OK\r\nContent-Type: application/sdp\r\nContent-Length: 5\r\n\r\nv=0\r\n";
        let expected =
            expected.replace("Content-Length", "Server: s\r\nContact: <sip:a@192.0.2.1>\r\nContent-Length");
        assert_eq!(text(built), expected);
    }

    #[test]
    fn no_value_can_begin_a_line_of_its_own() {
        let built = Builder::request(&Method::Bye, "sip:a\r\nX: y")
            .header(Name::Subject, "a\r\nEvil: b\nc\r d\r\n fold")
            .header_fmt(Name::Server, format_args!("x\r\n\r\ny"));
        let built = text(built);
        assert!(
            built.starts_with("BYE sip:a  X: y SIP/2.0\r\nSubject: a  Evil: b c  d\r\n fold\r\n"),
            "{built}"
        );
        assert!(built.contains("\r\nServer: x    y\r\nContent-Length: 0\r\n\r\n"), "{built}");
    }

    #[test]
    fn a_response_copies_what_it_must_and_adds_the_tag() {
        //= test RFC 3261 §8.2.6.2: Via, From, To with our tag, Call-ID, CSeq.
        let built = Builder::response_to(&request(), 486, "Busy Here", Some("t"));
        let expected = "SIP/2.0 486 Busy Here\r\nv: SIP/2.0/UDP a.example.org;branch=z9hG4bKx ; rport;x, \
            SIP/2.0/UDP z\r\nf:  <sip:a@example.org>;tag=1\r\nTo: <sip:b@example.org>;tag=t\r\nCall-ID: c\r\n\
            CSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(text(built), expected);
        let tagged = REQUEST.replace("To: <sip:b@example.org>", "To: <sip:b@example.org>;tag=old");
        let built = Builder::response_to(&Message::parse(tagged.into()).unwrap(), 200, "OK", Some("t"));
        assert!(text(built).contains("\r\nTo: <sip:b@example.org>;tag=old\r\n"));
    }

    #[test]
    fn the_top_via_is_stamped_with_where_the_request_came_from() {
        //= test RFC 3581 §4: rport filled in, received always with it. RFC 3261 §18.2.1: received for a name.
        let mut request = request();
        request.set_source("192.0.2.9:5066".parse().unwrap());
        let built = text(Builder::response_to(&request, 100, "Trying", None));
        let via = "v: SIP/2.0/UDP a.example.org;branch=z9hG4bKx ; rport=5066;x;received=192.0.2.9, SIP/2.0/UDP z\r\n";
        assert!(built.contains(via), "{built}");
    }

    #[test]
    fn received_is_left_out_if_sent_by_says_the_same() {
        for (sent_by, source, received) in [
            ("192.0.2.1", "192.0.2.1:9", ""),
            ("[2001:db8:0::1]", "[2001:db8::1]:9", ""),
            ("192.0.2.1", "[::ffff:192.0.2.1]:9", ""),
            ("[2001:db8::2]", "[2001:db8::1]:9", ";received=2001:db8::1"),
            ("192.0.2.1", "192.0.2.2:9", ";received=192.0.2.2"),
        ] {
            let via = format!("Via: SIP/2.0/UDP {sent_by};branch=z9hG4bKy\r\n");
            let start = REQUEST.find("v:").unwrap();
            let mut request =
                Message::parse(format!("{}{via}{}", &REQUEST[..start], &REQUEST[start..]).into()).unwrap();
            request.set_source(source.parse().unwrap());
            let built = text(Builder::response_to(&request, 100, "Trying", None));
            let expected = format!("Via: SIP/2.0/UDP {sent_by};branch=z9hG4bKy{received}\r\n");
            assert!(built.contains(&expected), "{built}");
        }
    }
}
