//! Via: RFC 3261 §20.42, §18.2; `rport` of RFC 3581.

use std::net::IpAddr;

use crate::message::syntax::{self, Cursor, is_space};
use crate::message::{Defect, Host, Message, Name, Params, values};

/// What RFC 3261 §8.1.1.7 puts in front of every branch.
pub const MAGIC_COOKIE: &str = "z9hG4bK";

/// One Via value.
#[derive(Debug, Clone, Copy)]
pub struct Via<'a> {
    transport: &'a str,
    host: Host<'a>,
    port: Option<u16>,
    params: Params<'a>,
}

impl<'a> Via<'a> {
    /// Reads one value.
    ///
    /// # Errors
    /// [`Defect::Malformed`].
    pub fn parse(value: &'a [u8]) -> Result<Self, Defect> {
        read(value).ok_or(Defect::Malformed(Name::Via))
    }

    /// The transport as it came: `UDP`, `TCP`, `TLS` …
    #[must_use]
    pub fn transport(&self) -> &'a str {
        self.transport
    }

    /// The host of sent-by.
    #[must_use]
    pub fn host(&self) -> Host<'a> {
        self.host
    }

    /// The port of sent-by, if it is written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The branch; empty ones count as none.
    #[must_use]
    pub fn branch(&self) -> Option<&'a str> {
        self.params.text("branch").filter(|branch| !branch.is_empty())
    }

    /// The branch if it has the magic cookie and something behind it, that is, if it names a transaction
    /// (RFC 3261 §17.2.3).
    #[must_use]
    pub fn rfc3261_branch(&self) -> Option<&'a str> {
        self.branch().filter(|branch| {
            let cookie = branch.get(..MAGIC_COOKIE.len());
            cookie.is_some_and(|cookie| cookie.eq_ignore_ascii_case(MAGIC_COOKIE))
                && branch.len() > MAGIC_COOKIE.len()
        })
    }

    /// The address the request came from, as the next element saw it.
    ///
    //= RFC 5118 §4.5: read with and without the brackets an IPv6 address needs elsewhere.
    #[must_use]
    pub fn received(&self) -> Option<IpAddr> {
        let text = self.params.text("received")?;
        text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text).parse().ok()
    }

    /// RFC 3581: `None` if absent, `Some(None)` if asked for, `Some(Some(port))` if filled in.
    #[must_use]
    pub fn rport(&self) -> Option<Option<u16>> {
        let text = self.params.text("rport")?;
        Some(text.parse().ok())
    }

    /// The host of `maddr`.
    #[must_use]
    pub fn maddr(&self) -> Option<Host<'a>> {
        self.params.text("maddr").and_then(Host::parse)
    }

    /// All parameters.
    #[must_use]
    pub fn params(&self) -> Params<'a> {
        self.params
    }
}

impl Message {
    /// The topmost Via value.
    ///
    /// # Errors
    /// [`Defect::Missing`] or [`Defect::Malformed`]; never for a message that [`Message::parse`] accepted.
    pub fn top_via(&self) -> Result<Via<'_>, Defect> {
        Via::parse(values::split_first(self.mandatory(Name::Via)?).0)
    }
}

fn read(value: &[u8]) -> Option<Via<'_>> {
    let mut cursor = Cursor::new(value);
    cursor.skip_space();
    let name = cursor.token_bytes()?;
    cursor.eat_spaced(b'/').then_some(())?;
    //= RFC 4475 §3.1.2.16: another version is answered with 505, which needs the rest of the Via.
    cursor.token_bytes()?;
    cursor.eat_spaced(b'/').then_some(())?;
    let transport = cursor.token()?;
    if !name.eq_ignore_ascii_case(b"SIP") || !cursor.peek().is_some_and(is_space) {
        return None;
    }
    cursor.skip_space();
    let host = host(&mut cursor)?;
    let port = if cursor.eat_spaced(b':') { Some(u16::try_from(cursor.number()?).ok()?) } else { None };
    let params = Params::parse(cursor)?;
    Some(Via { transport, host, port, params })
}

fn host<'a>(cursor: &mut Cursor<'a>) -> Option<Host<'a>> {
    let bytes = if cursor.peek() == Some(b'[') {
        cursor.take(memchr::memchr(b']', cursor.rest)? + 1)
    } else {
        cursor.take_while(|byte| !is_space(byte) && !matches!(byte, b':' | b';' | b','))
    };
    Host::parse(syntax::ascii(bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitespace_ports_and_parameters_are_read() {
        let via = Via::parse(
            b"SIP  / 2.0  /\r\n UDP  [2001:db8::9] : 5070 ; Branch = z9hG4bKx ;rport;received=192.0.2.1",
        )
        .unwrap();
        assert_eq!(via.transport(), "UDP");
        assert_eq!(via.host().to_string(), "[2001:db8::9]");
        assert_eq!(via.port(), Some(5070));
        assert_eq!(via.rfc3261_branch(), Some("z9hG4bKx"));
        assert_eq!(via.rport(), Some(None));
        assert_eq!(via.received(), Some("192.0.2.1".parse().unwrap()));
    }

    #[test]
    fn received_is_read_with_and_without_brackets() {
        //= test RFC 5118 §4.5: both spellings.
        for value in ["SIP/2.0/UDP h;received=[2001:db8::9:255]", "SIP/2.0/UDP h;received=2001:db8::9:255"] {
            assert_eq!(
                Via::parse(value.as_bytes()).unwrap().received(),
                Some("2001:db8::9:255".parse().unwrap())
            );
        }
    }

    #[test]
    fn broken_values_are_refused() {
        for value in [
            "",
            "SIP/2.0/UDP",
            "SIP/2.0 h",
            "HTTP/2.0/UDP h",
            "SIP/2.0/UDP h;;",
            "SIP/2.0/UDP h:x",
            "SIP/2.0/UDP h:70000",
            "SIP/2.0/UDP 2001:db8::1",
        ] {
            assert!(Via::parse(value.as_bytes()).is_err(), "{value}");
        }
    }
}
