//! Keys of entries as elements of sets, both ways.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use middlebox::{Counter, End, Key, PortBlock, Source, Transport};

use crate::netlink::{Attributes, Writer, be64, uapi};
use crate::ruleset::{Family, Part, Quoted, SetId, Translated, capped};

/// The longest key: protocol, three IPv6 addresses and a port, in registers of four octets.
const KEY_MAX: usize = 56;

/// A key's octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
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

    /// The first `length` octets, which is what data is measured in.
    fn cut(&self, length: u32) -> &[u8] {
        let length = usize::try_from(length).unwrap_or(0).min(self.length);
        &self.bytes[..length]
    }
}

/// The set in which an entry is looked for first, and counted.
pub(super) fn set_of(key: &Key) -> SetId {
    let family = Family::of(key.destination());
    if key.translation().is_some_and(|translation| translation.end == End::Destination) {
        return SetId::Translation(inward(key.source(), family), Part::Address);
    }
    let pair = key.ports().is_pair();
    match key.source() {
        Source::Exact { .. } => SetId::Exact(family),
        Source::Host(_) => SetId::Host(family, pair),
        Source::Network(network) => SetId::Network(network, pair),
    }
}

/// All sets that have an element of an entry.
pub(super) fn sets_of(key: &Key) -> impl Iterator<Item = SetId> + use<> {
    let family = Family::of(key.destination());
    let ends = [key.translation(), key.turned_source()].map(|one| one.map(|translation| translation.end));
    // What is quoted of a translated flow is not looked up.
    let quoted =
        ends.iter().all(Option::is_none).then(|| Quoted::of(set_of(key))).flatten().map(SetId::Quoted);
    let port_in = ends.contains(&Some(End::Destination)).then(|| inward(key.source(), family));
    let out = ends.contains(&Some(End::Source)).then_some(Translated::OutExact(family));
    let port_in = port_in.map(|of| SetId::Translation(of, Part::Port));
    let out =
        out.into_iter().flat_map(|of| [Part::Address, Part::Port].map(|part| SetId::Translation(of, part)));
    std::iter::once(set_of(key)).chain(quoted).chain(port_in).chain(out)
}

fn inward(source: Source, family: Family) -> Translated {
    match source {
        Source::Exact { .. } => Translated::InExact(family),
        Source::Host(_) => Translated::InHost(family),
        Source::Network(network) => Translated::InNetwork(network),
    }
}

/// What an entry's element in a map says.
fn data(set: SetId, key: &Key) -> Option<Octets> {
    let SetId::Translation(of, part) = set else { return None };
    let mut translations = [key.translation(), key.turned_source()].into_iter().flatten();
    let translation =
        translations.find(|translation| of.admits() == (translation.end == End::Destination))?;
    let mut octets = Octets { bytes: [0; KEY_MAX], length: 0 };
    match part {
        Part::Address => octets.address(translation.address),
        Part::Port => octets.push(&translation.port.to_be_bytes()),
    }
    Some(octets)
}

/// The address that an element of a map says.
pub(super) fn address_of(data: &[u8]) -> Option<IpAddr> {
    address(data)
}

/// The port that an element of a map says.
pub(super) fn port_of(data: &[u8]) -> Option<u16> {
    port(data.get(..2)?)
}

/// The element's key, in the order of [`SetId::fields`]. Behind routing packets go where the gate has sent them.
pub(super) fn octets(set: SetId, key: &Key) -> Octets {
    let outward = matches!(set, SetId::Translation(of, _) if !of.admits());
    let (destination, port) = match key.behind_routing().filter(|_| outward) {
        Some((_, destination)) => (destination.ip(), destination.port()),
        None => (key.destination(), key.ports().first()),
    };
    let mut octets = Octets { bytes: [0; KEY_MAX], length: 0 };
    octets.push(&[key.transport().protocol().number()]);
    if let SetId::Quoted(_) = set {
        quote(&mut octets, key);
        return octets;
    }
    match key.source() {
        Source::Exact { address, port } => {
            octets.address(address);
            octets.push(&port.to_be_bytes());
        }
        Source::Host(address) => octets.address(address),
        Source::Network(_) => {}
    }
    octets.address(destination);
    octets.push(&port.to_be_bytes());
    octets
}

/// To whom an error goes, and which packet it quotes.
fn quote(octets: &mut Octets, key: &Key) {
    let port = key.ports().first().to_be_bytes();
    match key.source() {
        Source::Exact { address, port: from } => {
            octets.address(address);
            octets.address(address);
            octets.address(key.destination());
            octets.push(&[from.to_be_bytes(), port].concat());
        }
        Source::Host(address) => {
            octets.address(address);
            octets.address(address);
            octets.address(key.destination());
            octets.push(&port);
        }
        Source::Network(_) => {
            octets.address(key.destination());
            octets.push(&port);
        }
    }
}

/// The entry that an element stands for, its translation left aside; `None` if we would never have written it.
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
    let class = match set {
        SetId::Translation(of, _) => of.admitting(),
        SetId::Quoted(quoted) => quoted.class(),
        SetId::Exact(_) | SetId::Host(..) | SetId::Network(..) => set,
    };
    let is_quote = matches!(set, SetId::Quoted(_));
    if is_quote && !matches!(class, SetId::Network(..)) {
        // To whom the error goes: the sender that is quoted behind it.
        take(width)?;
    }
    let mut from = None;
    let source = match class {
        // What admits is never a map, nor a quote.
        SetId::Translation(..) | SetId::Quoted(_) => return None,
        SetId::Exact(_) if is_quote => {
            from = Some(address(take(width)?)?);
            None
        }
        SetId::Exact(_) => Some(Source::Exact { address: address(take(width)?)?, port: port(take(2)?)? }),
        SetId::Host(..) => Some(Source::Host(address(take(width)?)?)),
        SetId::Network(network, _) => Some(Source::Network(network)),
    };
    let destination = address(take(width)?)?;
    let source = match (source, from) {
        (Some(source), _) => source,
        // Both ports in one piece.
        (None, Some(address)) => {
            let (from, to) = take(4)?.split_at(2);
            let exact = Source::Exact { address, port: port(from)? };
            return Key::new(transport, exact, destination, PortBlock::one(port(to)?)?);
        }
        (None, None) => return None,
    };
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
    /// What a map says; it lives until it is deleted in the same commit.
    Placed,
    /// A lifetime. With a counter if it takes the place of another element, and then the cap of its set.
    Lives(Duration, Option<(Counter, Option<u32>)>),
}

/// Writes one element of a list.
pub(super) fn write(list: &mut Writer, set: SetId, key: &Key, life: Life) {
    list.nest(uapi::LIST_ELEM, |element| {
        element.nest(uapi::ELEM_KEY, |data| data.bytes(uapi::DATA_VALUE, octets(set, key).as_slice()));
        let said = set.data().zip(data(set, key)).filter(|_| !matches!(life, Life::Named));
        if let Some((field, said)) = said {
            element.nest(uapi::ELEM_DATA, |data| data.bytes(uapi::DATA_VALUE, said.cut(field.octets())));
        }
        let Life::Lives(lifetime, counter) = life else { return };
        let milliseconds = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX).max(1);
        // Both: an equal TIMEOUT alone is accepted and changes nothing.
        element.be64(uapi::ELEM_TIMEOUT, milliseconds);
        element.be64(uapi::ELEM_EXPIRATION, milliseconds);
        let counter = counter.filter(|_| set.counts());
        if let Some((counter, Some(cap))) = counter {
            let counted = (counter.packets, counter.bytes);
            element.nest(uapi::ELEM_EXPRESSIONS, |list| capped(list, cap, Some(counted)));
        } else if let Some((counter, None)) = counter {
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
    /// What a map says for it.
    pub(super) data: &'a [u8],
    pub(super) remaining: Duration,
    pub(super) counter: Counter,
}

/// The elements in one message of the kernel.
pub(super) fn found<'a>(message: &Attributes<'a>) -> impl Iterator<Item = Found<'a>> {
    message.nested(uapi::ELEM_LIST_ELEMENTS).map(|element| {
        let element = element.nested();
        let number = |attributes: &Attributes<'_>, kind| attributes.find(kind).and_then(be64).unwrap_or(0);
        let of_several = element.nested(uapi::ELEM_EXPRESSIONS).map(|one| one.nested());
        let is_counter = |one: &Attributes<'_>| one.find(uapi::EXPR_NAME) == Some(b"counter\0");
        let expression = of_several.into_iter().find(is_counter);
        let expression = expression.unwrap_or_else(|| element.nested(uapi::ELEM_EXPR));
        let counter = expression.nested(uapi::EXPR_DATA);
        Found {
            octets: element.nested(uapi::ELEM_KEY).find(uapi::DATA_VALUE).unwrap_or_default(),
            data: element.nested(uapi::ELEM_DATA).find(uapi::DATA_VALUE).unwrap_or_default(),
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
    use middlebox::Translation;

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
                    assert_eq!(sets_of(&key).count(), 2, "the entry, and how it is quoted");
                    for set in sets_of(&key) {
                        let octets = octets(set, &key);
                        let fields: usize = set.fields().iter().map(|field| field.width()).sum();
                        assert_eq!(octets.as_slice().len(), fields);
                        assert_eq!(key_of(set, octets.as_slice()), Some(key));
                    }
                }
            }
        }
    }

    #[test]
    fn a_translated_entry_has_an_element_in_each_of_its_maps() {
        let near = IpAddr::from([10, 0, 40, 7]);
        let far = IpAddr::from([198, 51, 100, 9]);
        let one = PortBlock::one(5000).unwrap();
        let exact = Source::Exact { address: near, port: 4000 };
        for (source, end, count) in [
            (exact, End::Source, 3),
            (exact, End::Destination, 2),
            (Source::Host(near), End::Destination, 2),
            (Source::Network("10.0.0.0/8".parse().unwrap()), End::Destination, 2),
        ] {
            let translation = Translation { end, address: [203, 0, 113, 1].into(), port: 30001 };
            let key = Key::new(Transport::Udp, source, far, one).unwrap().translated(translation).unwrap();
            let sets: Vec<_> = sets_of(&key).collect();
            assert_eq!(sets.len(), count);
            assert_eq!(sets[0], set_of(&key));
            assert_eq!(sets.iter().filter(|set| set.counts()).count(), 1, "each packet is counted once");
            for set in sets {
                assert_eq!(key_of(set, octets(set, &key).as_slice()), Some(key.plain()));
                let said = set.data().zip(data(set, &key)).map(|(f, said)| said.cut(f.octets()).to_vec());
                match set {
                    SetId::Translation(_, Part::Address) => assert_eq!(said, Some(vec![203, 0, 113, 1])),
                    SetId::Translation(_, Part::Port) => assert_eq!(said, Some(vec![0x75, 0x31])),
                    SetId::Exact(_) | SetId::Host(..) | SetId::Network(..) | SetId::Quoted(_) => {
                        assert_eq!(said, None);
                    }
                }
            }
        }
    }

    #[test]
    fn what_turns_round_has_its_source_written_where_it_goes() {
        let (near, other) = (IpAddr::from([10, 0, 40, 7]), IpAddr::from([10, 0, 40, 8]));
        let gate = IpAddr::from([203, 0, 113, 1]);
        let exact = Source::Exact { address: near, port: 4000 };
        let key = Key::new(Transport::Udp, exact, gate, PortBlock::one(30002).unwrap()).unwrap();
        let key = key.turned((other, 5000), (gate, 30000)).unwrap();
        let sets: Vec<_> = sets_of(&key).collect();
        assert_eq!((sets.len(), sets[0]), (4, set_of(&key)));
        for set in sets {
            let SetId::Translation(of, part) = set else { panic!("nothing else admits it") };
            let found = key_of(set, octets(set, &key).as_slice()).unwrap();
            let (to, said) =
                if of.admits() { ((gate, 30002), (other, 5000)) } else { ((other, 5000), (gate, 30000)) };
            assert_eq!((found.source(), found.destination(), found.ports().first()), (exact, to.0, to.1));
            let data = data(set, &key).unwrap();
            match part {
                Part::Address => assert_eq!(address_of(data.cut(4)), Some(said.0)),
                Part::Port => assert_eq!(port_of(data.cut(2)), Some(said.1)),
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
