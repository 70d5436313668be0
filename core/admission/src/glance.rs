//! What can be seen of a message without parsing it: its kind, the tag in To, its User-Agent. RFC 3261 §7.
//!
//! A glance may be wrong about a message that is written to deceive it; nothing but admission depends on it. A request that looks
//! as if it were inside a call, and is not, is answered 481 by whoever parses it.

use memchr::memchr;

use crate::limits::GLANCE_BYTES;

/// What kind of message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// CRLF or STUN, which keep a NAT's binding alive.
    KeepAlive,
    /// A response.
    Response,
    /// INVITE.
    Invite,
    /// REGISTER.
    Register,
    /// ACK.
    Ack,
    /// Any other request.
    Other,
    /// No SIP.
    Nonsense,
}

/// A message at first sight.
#[derive(Debug, Clone, Copy)]
pub struct Glance<'m> {
    /// What it is.
    pub kind: Kind,
    start: &'m [u8],
    lines: &'m [u8],
}

impl<'m> Glance<'m> {
    /// Looks at the beginning of a message.
    #[must_use]
    pub fn of(bytes: &'m [u8]) -> Self {
        //= RFC 3261 §7.5: line ends in front of the start line are ignored.
        let from = bytes.iter().position(|octet| !matches!(octet, b'\r' | b'\n')).unwrap_or(bytes.len());
        let bytes = &bytes[from..];
        let head = bytes.get(..GLANCE_BYTES).unwrap_or(bytes);
        let end = memchr(b'\n', head).unwrap_or(head.len());
        let (start, lines) = head.split_at(end);
        Self { kind: kind(start), start, lines }
    }

    /// The tag in To; `None` without one, and where To is not among the first octets.
    #[must_use]
    pub fn to_tag(&self) -> Option<&'m str> {
        let value = self.field(b"to", b't')?;
        let params = behind_uri(value);
        let at = position_of(params, b";tag=")?;
        let tag = params.get(at + 5..)?;
        let end = tag.iter().position(|octet| matches!(octet, b';' | b',' | b' ' | b'\t' | b'>'));
        std::str::from_utf8(&tag[..end.unwrap_or(tag.len())]).ok()
    }

    /// What the sender calls itself.
    #[must_use]
    pub fn user_agent(&self) -> Option<&'m [u8]> {
        // It has no compact form.
        self.field(b"user-agent", 0)
    }

    /// The Request-URI.
    #[must_use]
    pub fn uri(&self) -> &'m [u8] {
        self.start.split(|octet| *octet == b' ').nth(1).unwrap_or_default()
    }

    /// The value of the first line with this name, in small letters, or this compact form (RFC 3261 §7.3.3).
    fn field(&self, name: &[u8], compact: u8) -> Option<&'m [u8]> {
        let mut rest = self.lines;
        while let Some(at) = memchr(b'\n', rest) {
            rest = &rest[at + 1..];
            let end = memchr(b'\n', rest).unwrap_or(rest.len());
            let line = rest[..end].trim_ascii_end();
            if line.is_empty() {
                return None;
            }
            // Most lines are told by their first letter.
            if !matches!(line.first(), Some(first) if first.eq_ignore_ascii_case(&name[0])) {
                continue;
            }
            let Some(colon) = memchr(b':', line) else { continue };
            let found = line[..colon].trim_ascii_end();
            if found.eq_ignore_ascii_case(name)
                || (found.len() == 1 && found.eq_ignore_ascii_case(&[compact]))
            {
                return Some(line[colon + 1..].trim_ascii());
            }
        }
        None
    }
}

fn kind(start: &[u8]) -> Kind {
    match start.first() {
        None => Kind::KeepAlive,
        //= RFC 8489 §5: the two first bits of STUN are zero.
        Some(0..=3) => Kind::KeepAlive,
        Some(first) if first.is_ascii_alphabetic() && memchr::memmem::find(start, b"SIP/").is_some() => {
            match start.split(|octet| *octet == b' ').next().unwrap_or_default() {
                version if version.starts_with(b"SIP/") => Kind::Response,
                b"INVITE" => Kind::Invite,
                b"REGISTER" => Kind::Register,
                b"ACK" => Kind::Ack,
                _ => Kind::Other,
            }
        }
        Some(_) => Kind::Nonsense,
    }
}

/// What follows `>`, which counts only outside a quoted display name; all of it without one.
fn behind_uri(value: &[u8]) -> &[u8] {
    let mut octets = value.iter().enumerate();
    let mut is_quoted = false;
    while let Some((at, octet)) = octets.next() {
        match octet {
            //= RFC 3261 §25.1: a backslash takes away the meaning of what follows, within quotes.
            b'\\' if is_quoted => {
                octets.next();
            }
            b'"' => is_quoted = !is_quoted,
            //= RFC 3261 §20.10: what stands within < > belongs to the URI.
            b'>' if !is_quoted => return &value[at..],
            _ => {}
        }
    }
    value
}

fn position_of(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window.eq_ignore_ascii_case(what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_tells_the_kind() {
        for (text, kind) in [
            ("INVITE sip:bob@example.org SIP/2.0\r\n", Kind::Invite),
            ("REGISTER sip:example.org SIP/2.0\r\n", Kind::Register),
            ("ACK sip:bob@example.org SIP/2.0", Kind::Ack),
            ("OPTIONS sip:bob@example.org SIP/3.0\r\n", Kind::Other),
            ("SIP/2.0 200 OK\r\n", Kind::Response),
            ("\r\n\r\n", Kind::KeepAlive),
            ("\r\n\n\r\nINVITE sip:bob@example.org SIP/2.0\r\n", Kind::Invite),
            ("\nACK sip:bob@example.org SIP/2.0\r\n", Kind::Ack),
            ("\0\x01\0\0", Kind::KeepAlive),
            ("", Kind::KeepAlive),
            ("GET / HTTP/1.1\r\n", Kind::Nonsense),
            ("\x16\x03\x01", Kind::Nonsense),
        ] {
            assert_eq!(Glance::of(text.as_bytes()).kind, kind, "{text:?}");
        }
    }

    #[test]
    fn the_tag_is_the_one_in_to() {
        let tag = |lines: &str| {
            let text = format!(
                "BYE sip:bob@example.org SIP/2.0\r\n{lines}\r\nFrom: <sip:a@b>;tag=from\r\n\r\nTo: x;tag=body"
            );
            Glance::of(text.as_bytes()).to_tag().map(str::to_owned)
        };
        assert_eq!(tag("To: Bob <sip:bob@example.org>;tag=abc").as_deref(), Some("abc"));
        assert_eq!(tag("t:<sip:bob@example.org;tag=uri>;x=1;TAG=abc;y").as_deref(), Some("abc"));
        assert_eq!(tag("to : sip:bob@example.org;tag=abc").as_deref(), Some("abc"));
        assert_eq!(tag("To: <sip:bob@example.org;tag=uri>"), None);
        assert_eq!(tag(r#"To: "x>;tag=1" <sip:bob@example.org>"#), None);
        assert_eq!(tag(r#"To: "x\">;tag=1" <sip:bob@example.org>;tag=abc"#).as_deref(), Some("abc"));
        assert_eq!(tag("Topic: x;tag=abc"), None);
        assert_eq!(Glance::of(b"BYE sip:a SIP/2.0\r\nTo").to_tag(), None);
    }

    #[test]
    fn user_agent_and_uri_are_found() {
        let text = b"OPTIONS sip:100@192.0.2.1 SIP/2.0\r\nUser-Agent: friendly-scanner\r\nTo: x\r\n\r\n";
        let glance = Glance::of(text);
        assert_eq!(glance.user_agent(), Some(&b"friendly-scanner"[..]));
        assert_eq!(glance.uri(), b"sip:100@192.0.2.1");
    }
}
