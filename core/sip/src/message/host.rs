//! Hosts: `host` of RFC 3261 §25.1; IPv6 references as RFC 5118 §4 has them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A host in a URI or a Via.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Host<'a> {
    /// A domain name, as it came; compare without regard to case.
    Name(&'a str),
    /// An IPv4 address.
    V4(Ipv4Addr),
    /// An IPv6 address (brackets are how it is written, not part of it).
    V6(Ipv6Addr),
}

impl<'a> Host<'a> {
    /// Reads a whole host: `example.org`, `192.0.2.1`, `[2001:db8::1]`.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            return v6(inner.strip_suffix(']')?).map(Self::V6);
        }
        if text.as_bytes().first()?.is_ascii_digit()
            && let Ok(address) = text.parse()
        {
            return Some(Self::V4(address));
        }
        is_name(text.as_bytes()).then_some(Self::Name(text))
    }

    /// Splits `host [ ":" port ]`; the port keeps its text.
    pub(crate) fn split_port(text: &str) -> (&str, Option<&str>) {
        let host_end = if text.starts_with('[') { text.find(']').map_or(text.len(), |at| at + 1) } else { 0 };
        match text[host_end..].find(':') {
            Some(at) => (&text[..host_end + at], Some(&text[host_end + at + 1..])),
            None => (text, None),
        }
    }

    /// The address, unless it is a name.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Name(_) => None,
            Self::V4(address) => Some(IpAddr::V4(*address)),
            Self::V6(address) => Some(IpAddr::V6(*address)),
        }
    }

    /// The same host: names without regard to case, addresses by value.
    #[must_use]
    pub fn is_equivalent(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Self::Name(left), Host::Name(right)) => left.eq_ignore_ascii_case(right),
            (Self::Name(_) | Self::V4(_) | Self::V6(_), _) => {
                self.address().is_some() && self.address() == other.address()
            }
        }
    }
}

//= RFC 5118 §4.10: the third colon that the grammar of RFC 3261 lets in front of an IPv4 part is ignored.
fn v6(text: &str) -> Option<Ipv6Addr> {
    match text.split_once(":::") {
        Some((head, tail)) if tail.parse::<Ipv4Addr>().is_ok() => format!("{head}::{tail}").parse().ok(),
        Some(_) | None => text.parse().ok(),
    }
}

/// Letters, digits, hyphens and dots, no empty label; underscores are let through because names with them exist.
fn is_name(bytes: &[u8]) -> bool {
    let mut label_len = 0;
    for &byte in bytes {
        match byte {
            b'.' if label_len == 0 => return false,
            b'.' => label_len = 0,
            b'-' | b'_' => label_len += 1,
            _ if byte.is_ascii_alphanumeric() => label_len += 1,
            _ => return false,
        }
    }
    !bytes.is_empty() && bytes.len() <= 255
}

impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::V4(address) => address.fmt(f),
            Self::V6(address) => write!(f, "[{address}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_addresses_are_told_apart() {
        assert_eq!(Host::parse("example.org."), Some(Host::Name("example.org.")));
        assert_eq!(Host::parse("192.0.2.1"), Some(Host::V4(Ipv4Addr::new(192, 0, 2, 1))));
        assert_eq!(Host::parse("[2001:db8::1]").unwrap().to_string(), "[2001:db8::1]");
        assert_eq!(Host::parse("3com.com"), Some(Host::Name("3com.com")));
        for broken in ["", ".", "a..b", "a b", "[::1", "2001:db8::1", "[]", "[192.0.2.1]", "[2001:db8:::1]"] {
            assert_eq!(Host::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn a_third_colon_before_an_ipv4_part_is_ignored() {
        //= test RFC 5118 §4.10: both constructs are tolerated.
        assert_eq!(Host::parse("[2001:db8:::192.0.2.1]"), Host::parse("[2001:db8::192.0.2.1]"));
    }

    #[test]
    fn equivalence_ignores_case_and_spelling() {
        let host = |text| Host::parse(text).unwrap();
        assert!(host("EXAMPLE.org").is_equivalent(&host("example.ORG")));
        assert!(host("[2001:DB8:0::1]").is_equivalent(&host("[2001:db8::1]")));
        assert!(!host("a.org").is_equivalent(&host("b.org")));
        assert!(!host("a.org").is_equivalent(&host("192.0.2.1")));
    }
}
