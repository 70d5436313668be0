//! What a certificate (RFC 5280) says of whom it was made for, and until when.

use super::der::{Der, GENERALIZED_TIME, OCTETS, OID, SEQUENCE, SET, UTC_TIME};
use crate::log::civil;

/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
/// id-ce-subjectAltName, 2.5.29.17.
const ALTERNATIVE_NAMES: &[u8] = &[0x55, 0x1d, 0x11];
/// The extensions of a certificate.
const EXTENSIONS: u8 = 0xa3;
/// Optional values before them: version, and two unique identifiers that nobody uses.
const VERSION: u8 = 0xa0;
/// Names that hold text: dNSName and uniformResourceIdentifier (RFC 5280 §4.2.1.6).
const DNS_NAME: u8 = 0x82;
const URI: u8 = 0x86;

/// What a certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate {
    /// DNS names and URIs; where there are none, the common name.
    //= RFC 6125 §6.4.4: the common name counts only where there is no other name.
    pub names: Vec<String>,
    /// The SIP domains it is for.
    pub domains: Vec<String>,
    /// Seconds since 1970: valid from, and until.
    pub not_before: u64,
    pub not_after: u64,
}

impl Certificate {
    /// Reads a certificate.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        //= RFC 5280 §4.1: the fields in their order.
        let mut fields = Der(der).expect(SEQUENCE)?.expect(SEQUENCE)?;
        let _version = fields.expect(VERSION);
        let (_serial, _signature, _issuer) = (fields.next()?, fields.next()?, fields.next()?);
        let mut validity = fields.expect(SEQUENCE)?;
        let (not_before, not_after) = (time(&mut validity)?, time(&mut validity)?);
        let subject = fields.expect(SEQUENCE)?;
        let _key = fields.next()?;
        let mut alternative = None;
        while let Some((tag, content)) = fields.next() {
            if tag == EXTENSIONS {
                alternative = alternative_names(content)?;
            }
        }
        //= RFC 6125 §6.4.4: the common name counts only where there are no alternative names at all.
        let alternative = alternative
            .unwrap_or_else(|| common_name(subject).into_iter().map(|name| (DNS_NAME, name)).collect());
        let domains = domains(&alternative);
        let names = alternative.into_iter().map(|(_, name)| name).collect();
        Some(Self { names, domains, not_before, not_after })
    }

    /// True if it is for this SIP domain.
    //= RFC 5922 §7.2: in their entirety, without regard to case; a `*` is a letter like others.
    pub(crate) fn is_for(&self, domain: &str) -> bool {
        self.domains.iter().any(|own| own.eq_ignore_ascii_case(domain))
    }

    /// True if this is one of its names; case matters to nobody.
    pub(crate) fn is(&self, name: &str) -> bool {
        self.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// The SIP domains among names with their tags.
fn domains(names: &[(u8, String)]) -> Vec<String> {
    let of = |wanted: u8| names.iter().filter(move |(tag, _)| *tag == wanted).map(|(_, name)| name.as_str());
    let named: Vec<String> = of(URI).filter_map(domain).map(str::to_owned).collect();
    match named.is_empty() {
        //= RFC 5922 §7.1: DNS names count only where no `sip` URI does.
        true => of(DNS_NAME).map(str::to_owned).collect(),
        false => named,
    }
}

/// The domain of a URI.
//= RFC 5922 §7.1: the scheme is `sip`, in any case, and nobody is named before an `@`.
//= RFC 5922 §7.2: nothing but the host is compared.
fn domain(uri: &str) -> Option<&str> {
    let (scheme, rest) = uri.split_once(':')?;
    if !scheme.eq_ignore_ascii_case("sip") || rest.contains('@') {
        return None;
    }
    rest.split([':', ';', '?']).next().filter(|host| !host.is_empty())
}

/// With their tags. `Some(None)` if there is no such extension.
fn alternative_names(extensions: &[u8]) -> Option<Option<Vec<(u8, String)>>> {
    let mut list = Der(extensions).expect(SEQUENCE)?;
    let mut names: Option<Vec<(u8, String)>> = None;
    while let Some(mut extension) = list.expect(SEQUENCE) {
        if extension.expect(OID)?.0 != ALTERNATIVE_NAMES {
            continue;
        }
        // Whether it is critical may stand before the value.
        let mut value = extension.next()?;
        if value.0 != OCTETS {
            value = extension.next()?;
        }
        let mut general = Der(value.1).expect(SEQUENCE)?;
        names.get_or_insert_default();
        while let Some((tag, name)) = general.next() {
            if matches!(tag, DNS_NAME | URI) {
                names.get_or_insert_default().extend(text(name).map(|name| (tag, name)));
            }
        }
    }
    Some(names)
}

fn common_name(mut subject: Der<'_>) -> Option<String> {
    let mut found = None;
    while let Some(mut set) = subject.expect(SET) {
        while let Some(mut attribute) = set.expect(SEQUENCE) {
            if attribute.expect(OID)?.0 == COMMON_NAME {
                // The last is the most particular one.
                found = text(attribute.next()?.1).or(found);
            }
        }
    }
    found
}

/// A name that can be shown and compared.
fn text(octets: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(octets).ok().filter(|text| !text.contains(char::is_control));
    text.map(str::to_owned)
}

/// `YYMMDDhhmmssZ` until 2049, `YYYYMMDDhhmmssZ` from then on.
fn time(der: &mut Der<'_>) -> Option<u64> {
    let (tag, octets) = der.next()?;
    let digits = std::str::from_utf8(octets).ok()?.strip_suffix('Z')?;
    let number = |text: &str| text.parse::<u64>().ok();
    let (year, rest) = match tag {
        //= RFC 5280 §4.1.2.5.1: two digits from 50 on are of the last century.
        UTC_TIME => match number(digits.get(..2)?)? {
            year @ 50.. => (1900 + year, digits.get(2..)?),
            year => (2000 + year, digits.get(2..)?),
        },
        GENERALIZED_TIME => (number(digits.get(..4)?)?, digits.get(4..)?),
        _other => return None,
    };
    let part = |from: usize| rest.get(from..from + 2).and_then(number);
    let days = days(year, part(0)?, part(2)?)?;
    Some(((days * 24 + part(4)?) * 60 + part(6)?) * 60 + part(8)?)
}

/// Days since 1 January 1970: [`civil`] the other way.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    let march_year = if month <= 2 { year.checked_sub(1)? } else { year };
    let march_month = (month + 9) % 12;
    let of_year = (153 * march_month + 2) / 5 + day.checked_sub(1)?;
    let before = march_year * 365 + march_year / 4 - march_year / 100 + march_year / 400;
    (before + of_year).checked_sub(719_468)
}

/// A moment as people write it.
pub(crate) fn date(seconds: u64) -> String {
    let (year, month, day) = civil(seconds / 86_400);
    format!("{year:04}-{month:02}-{day:02} {:02}:{:02} UTC", seconds / 3_600 % 24, seconds / 60 % 60)
}

#[cfg(test)]
mod tests {
    use certificates::{Ca, DAY, Leaf};

    use super::*;

    fn read(leaf: &Leaf<'_>) -> Certificate {
        Certificate::read(&Ca::new("test CA").sign(leaf).der).unwrap()
    }

    #[test]
    fn names_and_times_are_read() {
        let leaf = Leaf { common_name: "agent", names: &["a.example.net", "b.example.net"], ..Leaf::valid() };
        let found = read(&leaf);
        assert_eq!(found.names, ["a.example.net", "b.example.net"]);
        assert_eq!((found.not_before, found.not_after), (leaf.not_before, leaf.not_after));
        assert!(found.is("B.example.net") && !found.is("agent"));
    }

    #[test]
    fn the_common_name_counts_where_there_is_no_other() {
        assert_eq!(read(&Leaf { common_name: "agent", ..Leaf::valid() }).names, ["agent"]);
    }

    #[test]
    fn a_sip_uri_outweighs_dns_names() {
        //= test RFC 5922 §7.1: URI before DNS, no users, no other schemes, and the CN only without any of them.
        let domains = |names: &[&str]| {
            read(&Leaf { common_name: "cn.example", names, ..Leaf::valid() }).domains.join(" ")
        };
        let named = ["pbx.example.com", "sip:bob@example.com", "SIP:Example.com;lr", "https://example.net"];
        assert_eq!(domains(&named), "Example.com");
        assert_eq!(
            domains(&["pbx.example.com", "b.example", "sip:bob@b.example"]),
            "pbx.example.com b.example"
        );
        assert_eq!(domains(&["sips:example.org", "192.0.2.1"]), "");
        assert_eq!(domains(&[]), "cn.example");
        let found = read(&Leaf { names: &["*.example.com"], ..Leaf::valid() });
        assert!(
            found.is_for("*.Example.com") && !found.is_for("a.example.com") && !found.is_for("example.com")
        );
    }

    #[test]
    fn years_beyond_2049_are_read() {
        let leaf = Leaf { not_after: 120 * 365 * DAY, ..Leaf::valid() };
        assert_eq!(read(&leaf).not_after, leaf.not_after);
        assert_eq!(date(leaf.not_after), "2089-12-02 00:00 UTC");
    }

    #[test]
    fn days_are_counted_as_they_are_shown() {
        for day in [0, 58, 59, 60, 11_016, 11_017, 20_788, 47_540] {
            let (year, month, of_month) = civil(day);
            assert_eq!(days(year, month, of_month), Some(day));
        }
    }

    #[test]
    fn a_certificate_that_is_cut_short_is_none() {
        let whole = Ca::new("test CA").sign(&Leaf::valid()).der;
        for length in 0..whole.len() {
            assert_eq!(Certificate::read(&whole[..length]), None);
        }
    }
}
