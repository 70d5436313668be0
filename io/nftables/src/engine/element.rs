//! Keys of entries as elements of sets, both ways.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use middlebox::{Counter, Key, PortBlock, Source, Transport};

use crate::netlink::{Attributes, Writer, be64, uapi};
use crate::ruleset::{Family, SetId};

/// The longest key: protocol, two IPv6 addresses, two ports, each in registers of four octets.
const KEY_MAX: usize = 44;

/// A key's octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Octets {
    bytes: [u8; KEY_MAX],
    length: usize,
}

impl Octets {
    fn push(&mut self, octets: &[u8]) {
        let end = self.length + octets.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(octets);
        }
        // Filled up to a register; the array began as zeros.
        self.length = end.next_multiple_of(4).min(KEY_MAX);
    }

    fn address(&mut self, address: IpAddr) {
        match address {
            IpAddr::V4(address) => self.push(&address.octets()),
            IpAddr::V6(address) => self.push(&address.octets()),
        }
    }

    fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// The set in which an entry lives.
pub(super) fn set_of(key: &Key) -> SetId {
    let pair = key.ports().is_pair();
    match key.source() {
        Source::Exact { address, .. } => SetId::Exact(Family::of(address)),
        Source::Host(address) => SetId::Host(Family::of(address), pair),
        Source::Network(network) => SetId::Network(network, pair),
    }
}

/// The element's key, in the order of [`SetId::fields`].
pub(super) fn octets(key: &Key) -> Octets {
    let mut octets = Octets { bytes: [0; KEY_MAX], length: 0 };
    octets.push(&[key.transport().protocol().number()]);
    match key.source() {
        Source::Exact { address, port } => {
            octets.address(address);
            octets.push(&port.to_be_bytes());
        }
        Source::Host(address) => octets.address(address),
        Source::Network(_) => {}
    }
    octets.address(key.destination());
    octets.push(&key.ports().first().to_be_bytes());
    octets
}

/// The entry that an element stands for; `None` if we would never have written it.
pub(super) fn key_of(set: SetId, mut octets: &[u8]) -> Option<Key> {
    let mut take = |length: usize| -> Option<&[u8]> {
        let (field, rest) = octets.split_at_checked(length.next_multiple_of(4))?;
        octets = rest;
        Some(&field[..length])
    };
    let transport = match take(1)? {
        [17] => Transport::Udp,
        [6] => Transport::Tcp,
        _ => return None,
    };
    let width = set.family().width();
    let source = match set {
        SetId::Exact(_) => Source::Exact { address: address(take(width)?)?, port: port(take(2)?)? },
        SetId::Host(..) => Source::Host(address(take(width)?)?),
        SetId::Network(network, _) => Source::Network(network),
    };
    let destination = address(take(width)?)?;
    let first = port(take(2)?)?;
    let ports = if set.is_pair() { PortBlock::pair(first) } else { PortBlock::one(first) };
    Key::new(transport, source, destination, ports?)
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(octets).map(|octets| Ipv4Addr::from(octets).into());
    v4.or_else(|_| <[u8; 16]>::try_from(octets).map(|octets| Ipv6Addr::from(octets).into())).ok()
}

fn port(octets: &[u8]) -> Option<u16> {
    Some(u16::from_be_bytes(octets.try_into().ok()?))
}

/// What an element gets besides its key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Life {
    /// Nothing: it is only named.
    Named,
    /// A lifetime. With a counter if it takes the place of another element.
    Lives(Duration, Option<Counter>),
}

/// Writes one element of a list.
pub(super) fn write(list: &mut Writer, key: &Key, life: Life) {
    list.nest(uapi::LIST_ELEM, |element| {
        element.nest(uapi::ELEM_KEY, |data| data.bytes(uapi::DATA_VALUE, octets(key).as_slice()));
        let Life::Lives(lifetime, counter) = life else { return };
        let milliseconds = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX).max(1);
        // Both: an equal TIMEOUT alone is accepted and changes nothing.
        element.be64(uapi::ELEM_TIMEOUT, milliseconds);
        element.be64(uapi::ELEM_EXPIRATION, milliseconds);
        if let Some(counter) = counter {
            element.nest(uapi::ELEM_EXPR, |expression| {
                expression.text(uapi::EXPR_NAME, "counter");
                expression.nest(uapi::EXPR_DATA, |data| {
                    data.be64(uapi::COUNTER_BYTES, counter.bytes);
                    data.be64(uapi::COUNTER_PACKETS, counter.packets);
                });
            });
        }
    });
}

/// An element as the kernel reports it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) octets: &'a [u8],
    pub(super) remaining: Duration,
    pub(super) counter: Counter,
}

/// The elements in one message of the kernel.
pub(super) fn found<'a>(message: &Attributes<'a>) -> impl Iterator<Item = Found<'a>> {
    message.nested(uapi::ELEM_LIST_ELEMENTS).map(|element| {
        let element = element.nested();
        let number = |attributes: &Attributes<'_>, kind| attributes.find(kind).and_then(be64).unwrap_or(0);
        let counter = element.nested(uapi::ELEM_EXPR).nested(uapi::EXPR_DATA);
        Found {
            octets: element.nested(uapi::ELEM_KEY).find(uapi::DATA_VALUE).unwrap_or_default(),
            remaining: Duration::from_millis(number(&element, uapi::ELEM_EXPIRATION)),
            counter: Counter {
                packets: number(&counter, uapi::COUNTER_PACKETS),
                bytes: number(&counter, uapi::COUNTER_BYTES),
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_key_survives_the_way_to_the_kernel_and_back() {
        let v4 = IpAddr::from([198, 51, 100, 9]);
        let v6 = IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 9]);
        let (one, pair) = (PortBlock::one(4001).unwrap(), PortBlock::pair(4000).unwrap());
        for (near, any) in [(v4, "0.0.0.0/0"), (v6, "::/0")] {
            let network = Source::Network(any.parse().unwrap());
            let exact = Source::Exact { address: near, port: 7 };
            for (source, ports) in [
                (exact, one),
                (Source::Host(near), one),
                (Source::Host(near), pair),
                (network, one),
                (network, pair),
            ] {
                for transport in [Transport::Udp, Transport::Tcp] {
                    let key = Key::new(transport, source, near, ports).unwrap();
                    let octets = octets(&key);
                    let fields: usize = set_of(&key).fields().iter().map(|field| field.width()).sum();
                    assert_eq!(octets.as_slice().len(), fields);
                    assert_eq!(key_of(set_of(&key), octets.as_slice()), Some(key));
                }
            }
        }
    }

    #[test]
    fn an_element_nobody_of_us_wrote_is_no_entry() {
        let set = SetId::Host(Family::V4, true);
        let odd = [17, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 0, 9, 0, 0];
        assert_eq!(key_of(set, &odd), None);
        assert_eq!(key_of(set, &odd[..8]), None);
    }
}
