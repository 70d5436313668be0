//! STUN on the port of SIP over UDP: a Binding request is told where it came from. RFC 5626 §8, RFC 5389.
//!
//! Phones behind an address translator keep its entry alive so, and notice when it has changed. No state, no secrets: the
//! answer depends on the request and its source alone, and is hardly longer than what it answers.

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;

/// Every STUN message of this kind has it; nothing of SIP begins with an octet below 2.
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const HEAD_LEN: usize = 20;
/// Binding, by class.
const REQUEST: u16 = 0x0001;
const SUCCESS: u16 = 0x0101;
const FAILURE: u16 = 0x0111;
const ERROR_CODE: u16 = 0x0009;
const UNKNOWN_ATTRIBUTES: u16 = 0x000a;
const XOR_MAPPED_ADDRESS: u16 = 0x0020;
/// Attributes from here on may be ignored by who does not know them.
const OPTIONAL: u16 = 0x8000;
/// Those below that an RFC defines: unexpected here, but not unknown.
//= RFC 5389 §18.2: the comprehension-required range.
const KNOWN: [u16; 8] =
    [0x0001, 0x0006, 0x0008, ERROR_CODE, UNKNOWN_ATTRIBUTES, 0x0014, 0x0015, XOR_MAPPED_ADDRESS];
/// Unknown attributes that an answer names; more than this nobody sends in earnest.
const NAMED_MAX: usize = 8;

/// True if a datagram is STUN and not SIP.
//= RFC 5626 §8: told apart by the first octet, and by the cookie.
pub(crate) fn is_stun(datagram: &[u8]) -> bool {
    datagram.len() >= HEAD_LEN && datagram[0] < 2 && datagram[4..8] == COOKIE
}

/// The answer to a Binding request from `source`; none to anything else.
pub(crate) fn answer(datagram: &[u8], source: SocketAddr) -> Option<Bytes> {
    let number = |at: usize| datagram.get(at..at + 2).map(|two| u16::from_be_bytes([two[0], two[1]]));
    let is_whole = number(2).is_some_and(|length| usize::from(length) + HEAD_LEN == datagram.len());
    if !is_stun(datagram) || !is_whole || number(0) != Some(REQUEST) {
        return None;
    }
    let id = &datagram[8..HEAD_LEN];
    let unknown = unknown(&datagram[HEAD_LEN..])?;
    let (class, body) = match unknown.is_empty() {
        true => (SUCCESS, attribute(XOR_MAPPED_ADDRESS, &mapped(source, id))),
        //= RFC 5389 §7.3.1: 420 names what must be understood and is not.
        false => {
            let named: Vec<u8> = unknown.iter().flat_map(|kind| kind.to_be_bytes()).collect();
            let error = attribute(ERROR_CODE, b"\0\0\x04\x14Unknown Attribute");
            (FAILURE, [error, attribute(UNKNOWN_ATTRIBUTES, &named)].concat())
        }
    };
    let length = u16::try_from(body.len()).ok()?;
    let head = [&class.to_be_bytes()[..], &length.to_be_bytes(), &COOKIE, id].concat();
    Some([head, body].concat().into())
}

/// The attributes that must be understood and are not; `None` if they cannot be read.
fn unknown(mut attributes: &[u8]) -> Option<Vec<u16>> {
    let mut unknown = Vec::new();
    while let [a, b, c, d, rest @ ..] = attributes {
        let (kind, length) = (u16::from_be_bytes([*a, *b]), usize::from(u16::from_be_bytes([*c, *d])));
        //= RFC 5389 §15: values are padded to a multiple of four octets.
        attributes = rest.get(length.next_multiple_of(4)..)?;
        if kind < OPTIONAL && !KNOWN.contains(&kind) && unknown.len() < NAMED_MAX {
            unknown.push(kind);
        }
    }
    attributes.is_empty().then_some(unknown)
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = value.len() as u16;
    let mut attribute = [&kind.to_be_bytes()[..], &length.to_be_bytes(), value].concat();
    attribute.resize(attribute.len().next_multiple_of(4), 0);
    attribute
}

/// XOR-MAPPED-ADDRESS.
//= RFC 5389 §15.2: the address XOR the cookie, for IPv6 the cookie and the transaction's identifier.
fn mapped(source: SocketAddr, id: &[u8]) -> Vec<u8> {
    let key = [&COOKIE[..], id].concat();
    let hidden = |octets: &[u8]| octets.iter().zip(&key).map(|(octet, key)| octet ^ key).collect::<Vec<u8>>();
    let port = hidden(&source.port().to_be_bytes());
    let (family, address) = match source.ip() {
        IpAddr::V4(address) => (1, hidden(&address.octets())),
        IpAddr::V6(address) => (2, hidden(&address.octets())),
    };
    [&[0, family][..], &port, &address].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(kind: u16, body: &[u8]) -> Vec<u8> {
        let length = (body.len() as u16).to_be_bytes();
        [&kind.to_be_bytes()[..], &length, &COOKIE, b"transaction!", body].concat()
    }

    #[test]
    fn a_request_is_told_where_it_came_from() {
        //= test RFC 5626 §8: XOR-MAPPED-ADDRESS in the answer.
        let answer = answer(&request(REQUEST, &[]), "192.0.2.1:32853".parse().unwrap()).unwrap();
        //= test RFC 5389 §15.2: port 32853 and 192.0.2.1 under the cookie are a147 and e112a643.
        let wanted =
            [&[1, 1, 0, 12][..], &COOKIE, b"transaction!", &[0, 0x20, 0, 8, 0, 1], &[0xa1, 0x47]].concat();
        assert_eq!(answer, [wanted, vec![0xe1, 0x12, 0xa6, 0x43]].concat());
    }

    #[test]
    fn an_address_of_version_6_is_hidden_by_the_identifier_too() {
        let source: SocketAddr = "[2001:db8::7]:5060".parse().unwrap();
        let answer = answer(&request(REQUEST, &[]), source).unwrap();
        let key = [&COOKIE[..], b"transaction!"].concat();
        let plain: Vec<u8> = answer[28..].iter().zip(&key).map(|(octet, key)| octet ^ key).collect();
        assert_eq!(
            (answer.len(), answer[25], plain),
            (44, 2, "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets().to_vec())
        );
    }

    #[test]
    fn what_must_be_understood_and_is_not_is_named() {
        //= test RFC 5389 §7.3.1: 420; what is optional, or known and unexpected, is ignored.
        let ignored = [attribute(0x8022, b"phone"), attribute(0x0006, b"user")].concat();
        let source = "192.0.2.1:1".parse().unwrap();
        assert_eq!(answer(&request(REQUEST, &ignored), source).unwrap()[..2], SUCCESS.to_be_bytes());
        let refused = answer(&request(REQUEST, &attribute(0x0025, &[])), source).unwrap();
        assert_eq!(refused[..2], FAILURE.to_be_bytes());
        assert!(refused.ends_with(&[0, 0x0a, 0, 2, 0, 0x25, 0, 0]), "{refused:x?}");
    }

    #[test]
    fn nothing_else_is_answered() {
        let source = "192.0.2.1:1".parse().unwrap();
        for other in [SUCCESS, FAILURE, 0x0011, 0x0003] {
            assert_eq!(answer(&request(other, &[]), source), None);
        }
        let whole = request(REQUEST, &attribute(0x8022, b"phone"));
        for length in 0..whole.len() {
            assert_eq!(answer(&whole[..length], source), None, "cut at {length}");
        }
        assert!(!is_stun(b"\0\0 OPTIONS sip:a@b SIP/2.0"));
    }
}
