//! URIs: RFC 3261 §19.1; `tel` (RFC 3966) and others as far as a B2BUA needs them.

use std::fmt;

use super::{Defect, Host, limits, syntax};

mod compare;

/// The scheme of a URI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scheme<'a> {
    /// `sip`
    Sip,
    /// `sips`
    Sips,
    /// `tel`
    Tel,
    /// Any other; as it came.
    Other(&'a str),
}

/// A URI, taken apart without copying.
#[derive(Debug, Clone, Copy)]
pub struct Uri<'a> {
    text: &'a str,
    scheme: Scheme<'a>,
    user: Option<&'a str>,
    password: Option<&'a str>,
    host: Option<Host<'a>>,
    port: Option<u16>,
    params: &'a str,
    headers: &'a str,
}

impl<'a> Uri<'a> {
    /// Reads a whole URI.
    ///
    /// # Errors
    /// [`Defect::Uri`] if it is not one: no scheme, white space, a bad escape; for `sip` and `sips` any break of
    /// RFC 3261 §19.1.1; longer than [`limits::URI_LEN_MAX`].
    pub fn parse(text: &'a str) -> Result<Self, Defect> {
        if text.len() > limits::URI_LEN_MAX {
            return Err(Defect::Uri);
        }
        let (scheme, rest) = split_at(text, b':').ok_or(Defect::Uri)?;
        let scheme = parse_scheme(scheme).ok_or(Defect::Uri)?;
        match scheme {
            Scheme::Sip | Scheme::Sips => sip(text, scheme, rest),
            Scheme::Tel => tel(text, rest),
            Scheme::Other(_) => Some(Self::opaque(text, scheme)).filter(|_| is_absolute(rest)),
        }
        .ok_or(Defect::Uri)
    }

    fn opaque(text: &'a str, scheme: Scheme<'a>) -> Self {
        Self { text, scheme, user: None, password: None, host: None, port: None, params: "", headers: "" }
    }

    /// The scheme.
    #[must_use]
    pub fn scheme(&self) -> Scheme<'a> {
        self.scheme
    }

    /// The user part, escapes untouched; the number of a `tel` URI.
    #[must_use]
    pub fn user(&self) -> Option<&'a str> {
        self.user
    }

    /// The password, escapes untouched.
    #[must_use]
    pub fn password(&self) -> Option<&'a str> {
        self.password
    }

    /// The host; always there for `sip` and `sips`, never otherwise.
    #[must_use]
    pub fn host(&self) -> Option<Host<'a>> {
        self.host
    }

    /// The port, if it is written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// Every parameter: its name, and its value if it has one; escapes untouched.
    pub fn params(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        pairs(self.params, ';')
    }

    /// The value of a parameter (name compared without regard to case); empty for a flag.
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&'a str> {
        self.params()
            .find(|(found, _)| found.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.unwrap_or_default())
    }

    /// Every header behind the `?`: its name and its value, escapes untouched.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        pairs(self.headers, '&')
    }

    /// True if there is an `lr` parameter: the element is a loose router (RFC 3261 §19.1.1).
    #[must_use]
    pub fn is_loose_router(&self) -> bool {
        self.param("lr").is_some()
    }

    /// As it came.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The same resource by RFC 3261 §19.1.4. That relation is not transitive, so it is not `==`.
    #[must_use]
    pub fn is_equivalent(&self, other: &Uri<'_>) -> bool {
        compare::is_equivalent(self, other)
    }
}

impl fmt::Display for Uri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

fn parse_scheme(text: &str) -> Option<Scheme<'_>> {
    for (name, scheme) in [("sip", Scheme::Sip), ("sips", Scheme::Sips), ("tel", Scheme::Tel)] {
        if text.eq_ignore_ascii_case(name) {
            return Some(scheme);
        }
    }
    let (first, rest) = text.as_bytes().split_first()?;
    let valid = first.is_ascii_alphabetic()
        && rest.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    valid.then_some(Scheme::Other(text))
}

fn sip<'a>(text: &'a str, scheme: Scheme<'a>, rest: &'a str) -> Option<Uri<'a>> {
    let (userinfo, rest) = match split_at(rest, b'@') {
        Some((userinfo, rest)) => (Some(userinfo), rest),
        None => (None, rest),
    };
    let (rest, headers) = split_at(rest, b'?').map_or((rest, None), |(rest, headers)| (rest, Some(headers)));
    let (hostport, params) = split_at(rest, b';').map_or((rest, None), |(host, params)| (host, Some(params)));
    let (host, port) = Host::split_port(hostport);
    let (user, password) = match userinfo {
        Some(userinfo) => split_userinfo(userinfo)?,
        None => (None, None),
    };
    Some(Uri {
        text,
        scheme,
        user,
        password,
        host: Some(Host::parse(host)?),
        port: port.map(parse_port).transpose().ok()?,
        params: params.map_or(Some(""), |params| are_pairs(params, ';').then_some(params))?,
        headers: headers.map_or(Some(""), |headers| are_pairs(headers, '&').then_some(headers))?,
    })
}

fn tel<'a>(text: &'a str, rest: &'a str) -> Option<Uri<'a>> {
    let (number, params) =
        split_at(rest, b';').map_or((rest, None), |(number, params)| (number, Some(params)));
    let valid = !number.is_empty() && is_opaque(number);
    let params = params.map_or(Some(""), |params| are_pairs(params, ';').then_some(params))?;
    valid.then_some(Uri { user: Some(number), params, ..Uri::opaque(text, Scheme::Tel) })
}

fn split_userinfo(userinfo: &str) -> Option<(Option<&str>, Option<&str>)> {
    let (user, password) =
        split_at(userinfo, b':').map_or((userinfo, None), |(user, password)| (user, Some(password)));
    let valid =
        !user.is_empty() && is_escaped(user, &USER) && password.is_none_or(|text| is_escaped(text, &USER));
    valid.then_some((Some(user), password))
}

fn parse_port(text: &str) -> Result<u16, Defect> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().map_err(|_| Defect::Uri) } else { Err(Defect::Uri) }
}

/// What stands on either side of the first `separator`.
fn split_at(text: &str, separator: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(separator, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

/// Pairs of `name [ "=" value ]`, none empty, names and values well escaped.
fn are_pairs(text: &str, separator: char) -> bool {
    !text.is_empty() && is_escaped(text, &VISIBLE) && pairs(text, separator).all(|(name, _)| !name.is_empty())
}

fn pairs(text: &str, separator: char) -> impl Iterator<Item = (&str, Option<&str>)> {
    let parts = (!text.is_empty()).then(|| text.split(separator)).into_iter().flatten();
    parts.map(|part| split_at(part, b'=').map_or((part, None), |(name, value)| (name, Some(value))))
}

fn is_opaque(text: &str) -> bool {
    is_escaped(text, &VISIBLE)
}

/// What may follow the scheme in `absoluteURI`: all of `uric`, the `@` of a mail address too.
fn is_absolute(text: &str) -> bool {
    is_escaped(text, &URIC)
}

/// Every byte is allowed, and every `%` is followed by two hexadecimal digits.
fn is_escaped(text: &str, allowed: &[bool; 256]) -> bool {
    let mut bytes = text.as_bytes();
    loop {
        let plain_len = bytes.iter().position(|&byte| !allowed[usize::from(byte)]).unwrap_or(bytes.len());
        bytes = match &bytes[plain_len..] {
            [] => return true,
            [b'%', high, low, rest @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => rest,
            _ => return false,
        };
    }
}

/// Everything visible that delimits nothing; `%` only as an escape.
static VISIBLE: [bool; 256] = syntax::set(b"!#$&'()*+,-./:;=?[\\]^_`{|}~");

/// The same and `@`.
static URIC: [bool; 256] = syntax::set(b"!#$&'()*+,-./:;=?@[\\]^_`{|}~");

/// Wider than `user-unreserved` by the `#` that dial strings carry unescaped.
static USER: [bool; 256] = syntax::set(b"!#$&'()*+,-./;=?_~");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_found() {
        let uri = Uri::parse("SIPS:al;x=?ice:pa&ss@[2001:db8::1]:5061;lr;transport=tcp?a=b&c=").unwrap();
        assert_eq!(uri.scheme(), Scheme::Sips);
        assert_eq!((uri.user(), uri.password()), (Some("al;x=?ice"), Some("pa&ss")));
        assert_eq!((uri.host().unwrap().to_string(), uri.port()), ("[2001:db8::1]".to_owned(), Some(5061)));
        assert!(uri.is_loose_router());
        assert_eq!((uri.param("Transport"), uri.param("ttl")), (Some("tcp"), None));
        assert_eq!(uri.headers().collect::<Vec<_>>(), [("a", Some("b")), ("c", Some(""))]);
    }

    #[test]
    fn numbers_and_unknown_schemes_are_read() {
        let tel = Uri::parse("tel:+1-201;phone-context=example.org").unwrap();
        assert_eq!((tel.user(), tel.param("phone-context")), (Some("+1-201"), Some("example.org")));
        assert_eq!(Uri::parse("soap.beep://192.0.2.103:3002").unwrap().scheme(), Scheme::Other("soap.beep"));
        assert_eq!(Uri::parse("mailto:a@b.example").unwrap().scheme(), Scheme::Other("mailto"));
        assert_eq!(Uri::parse("x:").unwrap().host(), None);
    }

    #[test]
    fn dial_strings_keep_their_hash() {
        assert_eq!(Uri::parse("sip:*21*5#@h").unwrap().user(), Some("*21*5#"));
    }

    #[test]
    fn a_uri_has_a_limit() {
        let uri = |len: usize| format!("sip:{}@h", "a".repeat(len - 6));
        assert!(Uri::parse(&uri(limits::URI_LEN_MAX)).is_ok());
        assert!(Uri::parse(&uri(limits::URI_LEN_MAX + 1)).is_err());
    }

    #[test]
    fn broken_uris_are_refused() {
        for text in [
            "",
            "sip",
            "sip:",
            "sip:@h",
            "sip:a@",
            "sip:a@b@c",
            "sip:h:",
            "sip:h:x",
            "sip:h:65536",
            "sip:h:+1",
            "sip:a%4@h",
            "sip:a%zz@h",
            "sip:a b@h",
            "sip:h;",
            "sip:h;;lr",
            "sip:h;=x",
            "sip:h?",
            "sip:h?=b",
            "sip:2001:db8::1",
            "sip:[::1",
            "1:x",
            "sip:\u{e9}@h",
            "<sip:h>",
            "tel:",
            "tel:1;",
        ] {
            assert!(Uri::parse(text).is_err(), "{text}");
        }
    }
}
