//! When two URIs are the same: RFC 3261 §19.1.4.

use super::{Scheme, Uri};

//= RFC 3261 §19.1.4: these parameters count even if only one of the two URIs has them.
const COUNTING: [&str; 5] = ["transport", "user", "ttl", "method", "maddr"];

pub(super) fn is_equivalent(left: &Uri<'_>, right: &Uri<'_>) -> bool {
    match (left.scheme, right.scheme) {
        (Scheme::Sip, Scheme::Sip) | (Scheme::Sips, Scheme::Sips) => is_same_sip(left, right),
        (Scheme::Tel, Scheme::Tel) => is_same_tel(left, right),
        (Scheme::Sip | Scheme::Sips | Scheme::Tel | Scheme::Other(_), _) => is_same_text(left, right),
    }
}

fn is_same_sip(left: &Uri<'_>, right: &Uri<'_>) -> bool {
    let same_host = match (&left.host, &right.host) {
        (Some(left), Some(right)) => left.is_equivalent(right),
        (None, _) | (_, None) => false,
    };
    //= RFC 3261 §19.1.4: user and password count with case; a left-out port is not the default port.
    same_host
        && left.port == right.port
        && is_same_optional(left.user, right.user, same_exactly)
        && is_same_optional(left.password, right.password, same_exactly)
        && are_params_compatible(left, right)
        && are_params_compatible(right, left)
        && are_headers_in(left, right)
        && are_headers_in(right, left)
}

/// Every parameter of `left` that `right` has too is the same there, and none that counts is missing there.
fn are_params_compatible(left: &Uri<'_>, right: &Uri<'_>) -> bool {
    left.params().all(|(name, value)| {
        let mut others = right.params().filter(|(other, _)| same_without_case(name, other)).peekable();
        let is_missing = others.peek().is_none();
        let counts = COUNTING.iter().any(|counting| counting.eq_ignore_ascii_case(name));
        // A name that stands twice breaks RFC 3261 §19.1.1; one that fits is enough.
        if is_missing {
            !counts
        } else {
            others.any(|(_, other)| is_same_optional(value, other, same_without_case))
        }
    })
}

fn are_headers_in(left: &Uri<'_>, right: &Uri<'_>) -> bool {
    left.headers().all(|(name, value)| {
        right.headers().any(|(other_name, other)| {
            same_without_case(name, other_name) && is_same_optional(value, other, same_exactly)
        })
    })
}

/// RFC 3966 §5, roughly: visual separators do not count.
fn is_same_tel(left: &Uri<'_>, right: &Uri<'_>) -> bool {
    let digits = |number: &str| {
        number
            .bytes()
            .filter(|byte| !matches!(byte, b'-' | b'.' | b'(' | b')'))
            .map(|byte| byte.to_ascii_lowercase())
            .collect::<Vec<_>>()
    };
    let covers = |left: &Uri<'_>, right: &Uri<'_>| {
        left.params().all(|(name, value)| {
            right.params().any(|(other_name, other)| {
                same_without_case(name, other_name) && is_same_optional(value, other, same_without_case)
            })
        })
    };
    left.user.map(digits) == right.user.map(digits) && covers(left, right) && covers(right, left)
}

fn is_same_text(left: &Uri<'_>, right: &Uri<'_>) -> bool {
    let split = |uri: &Uri<'_>| {
        uri.text.split_once(':').map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest.to_owned()))
    };
    split(left) == split(right)
}

fn is_same_optional(left: Option<&str>, right: Option<&str>, same: fn(&str, &str) -> bool) -> bool {
    match (left, right) {
        (Some(left), Some(right)) => same(left, right),
        (None, None) => true,
        (None, Some(_)) | (Some(_), None) => false,
    }
}

fn same_exactly(left: &str, right: &str) -> bool {
    unescaped(left).eq(unescaped(right))
}

fn same_without_case(left: &str, right: &str) -> bool {
    unescaped(left).map(lowered).eq(unescaped(right).map(lowered))
}

fn lowered((byte, escaped): (u8, bool)) -> (u8, bool) {
    (byte.to_ascii_lowercase(), escaped)
}

/// Bytes, each with the mark of an escaped reserved byte.
///
//= RFC 3261 §19.1.4: an escape equals what it stands for, unless that is a reserved character.
fn unescaped(text: &str) -> impl Iterator<Item = (u8, bool)> + '_ {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (&first, after) = rest.split_first()?;
        if let (b'%', [high, low, after @ ..]) = (first, after)
            && let (Some(high), Some(low)) = ((*high as char).to_digit(16), (*low as char).to_digit(16))
        {
            rest = after;
            let byte = (high * 16 + low) as u8;
            return Some((byte, is_reserved(byte)));
        }
        rest = after;
        Some((first, false))
    })
}

fn is_reserved(byte: u8) -> bool {
    matches!(byte, b';' | b'/' | b'?' | b':' | b'@' | b'&' | b'=' | b'+' | b'$' | b',')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn same(left: &str, right: &str) -> bool {
        let (left, right) = (Uri::parse(left).unwrap(), Uri::parse(right).unwrap());
        assert_eq!(left.is_equivalent(&right), right.is_equivalent(&left), "{left} {right}");
        left.is_equivalent(&right)
    }

    #[test]
    fn the_equivalent_sets_of_rfc_3261_are_equivalent() {
        //= test RFC 3261 §19.1.4: its own examples.
        for (left, right) in [
            ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
            (
                "sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
                "sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
            ),
            (
                "sip:alice@atlanta.com?subject=project%20x&priority=urgent",
                "sip:alice@atlanta.com?priority=urgent&subject=project%20x",
            ),
        ] {
            assert!(same(left, right), "{left} {right}");
        }
    }

    #[test]
    fn the_different_sets_of_rfc_3261_differ() {
        //= test RFC 3261 §19.1.4: its own examples, and sip against sips.
        for (left, right) in [
            ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
            ("sip:bob@biloxi.com", "sip:bob@biloxi.com:6000;transport=tcp"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
            ("sip:bob@phone21.boxesbybob.com", "sip:bob@192.0.2.4"),
            ("sip:carol@chicago.com;security=on", "sip:carol@chicago.com;security=off"),
            ("sip:carol@chicago.com", "sips:carol@chicago.com"),
            ("sip:carol@chicago.com", "sip:carol@chicago.com;maddr=192.0.2.1"),
            ("sip:carol:a@chicago.com", "sip:carol:b@chicago.com"),
            ("sip:chicago.com", "sip:carol@chicago.com"),
        ] {
            assert!(!same(left, right), "{left} {right}");
        }
    }

    #[test]
    fn an_escaped_reserved_character_is_not_the_character() {
        assert!(!same("sip:a%2Bb@h", "sip:a+b@h"));
        assert!(same("sip:a%2Bb@h", "sip:a%2bb@h"));
        assert!(
            !same("sip:h;n%61me=v%61lue%25%34%31", "sip:h;name=valueA"),
            "RFC 4475 §3.1.1.3: resolved once"
        );
    }

    #[test]
    fn numbers_and_other_schemes_compare_too() {
        assert!(same("tel:+1-201-555-0123", "tel:+1(201)5550123"));
        assert!(!same("tel:5550123;phone-context=a.org", "tel:5550123"));
        assert!(same("MAILTO:a", "mailto:a"));
        assert!(!same("mailto:a", "mailto:A"));
    }
}
