//! From the tuples of an enable rule to keys: what a request may look like, and which elements it needs.
//!
//! RFC 4540 §8.3.1 (checks of the tuples), RFC 5189 §2.3.5 and §2.3.6 (wildcards, ranges); `docs/pinholes.md` §4
//! (key classes). Nothing here knows who asks.

use std::net::IpAddr;

use midcom::{Direction, Failure, Protocol, Tuple};

use crate::authority::Opening;
use crate::entry::{End, Key, PortBlock, Source, Translation, Transport};
use crate::limits;
use crate::nat::Nat;
use crate::realm::{Realms, Side};
use crate::rule::Barrier;

/// Checks whether the tuples make sense together and whether there is a key class for them.
///
/// # Errors
/// The failure of the first check that does not hold.
pub(crate) fn check(opening: &Opening) -> Result<(), Failure> {
    let (internal, external) = (&opening.internal, &opening.external);
    //= RFC 4540 §8.3.1: both tuples carry the same protocol.
    if internal.protocol != external.protocol {
        return Err(Failure::Inconsistent);
    }
    //= RFC 4540 §8.3.1: both tuples carry the same port range; it means nothing where a port is wild.
    let wild_port = internal.wildcards_port() || external.wildcards_port();
    if !wild_port && internal.range != external.range {
        return Err(Failure::Inconsistent);
    }
    check_wildcards(opening)?;
    if internal.network.addr().is_ipv4() != external.network.addr().is_ipv4() {
        return Err(Failure::IpVersionMismatch);
    }
    for tuple in [internal, external] {
        check_ports(tuple)?;
        check_address(tuple)?;
    }
    Ok(())
}

/// Checks whether the tuples of a disable rule make sense together. Every wildcard is fine.
///
/// # Errors
/// The failure of the first check that does not hold.
pub(crate) fn check_barrier(barrier: &Barrier) -> Result<(), Failure> {
    let (internal, external) = (&barrier.internal, &barrier.external);
    //= RFC 4540 §8.8.2: both tuples carry the same protocol, and the same port range where it means something.
    let ports = !internal.wildcards_port() && !external.wildcards_port();
    if internal.protocol != external.protocol || (ports && internal.range != external.range) {
        return Err(Failure::Inconsistent);
    }
    if internal.network.addr().is_ipv4() != external.network.addr().is_ipv4() {
        return Err(Failure::IpVersionMismatch);
    }
    let fits = |tuple: &Tuple| {
        let last = u32::from(tuple.port) + u32::from(tuple.range);
        tuple.wildcards_port() || (tuple.range > 0 && last <= 0x1_0000)
    };
    match fits(internal) && fits(external) {
        true => Ok(()),
        false => Err(Failure::IllegalPortCount),
    }
}

/// The receiving end is always exact; the sending end may be a host with any port or a network with any port.
fn check_wildcards(opening: &Opening) -> Result<(), Failure> {
    let wild = |tuple: &Tuple| tuple.wildcards_address() || tuple.wildcards_port();
    let (source, destination) = match opening.direction {
        Direction::Inbound => (&opening.external, &opening.internal),
        Direction::Outbound => (&opening.internal, &opening.external),
        //= RFC 4540 §8.3.1: a bi-directional rule wildcards neither addresses nor ports.
        Direction::Bidirectional if wild(&opening.internal) || wild(&opening.external) => {
            return Err(Failure::Inconsistent);
        }
        Direction::Bidirectional => return Ok(()),
    };
    let no_class = source.wildcards_address() && !source.wildcards_port();
    match wild(destination) || no_class {
        true => Err(Failure::WildcardNotSupported),
        false => Ok(()),
    }
}

fn check_ports(tuple: &Tuple) -> Result<(), Failure> {
    let fits = u32::from(tuple.port) + u32::from(tuple.range) <= 0x1_0000;
    let few = (1..=limits::PORTS_PER_RULE_MAX).contains(&tuple.range);
    match tuple.wildcards_port() || (fits && few) {
        true => Ok(()),
        false => Err(Failure::IllegalPortCount),
    }
}

/// No rule for one host that can be nobody's media address.
fn check_address(tuple: &Tuple) -> Result<(), Failure> {
    let illegal = match tuple.address() {
        IpAddr::V4(address) => {
            address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_broadcast()
                || address.is_link_local()
        }
        IpAddr::V6(address) => {
            address.is_unspecified()
                || address.is_loopback()
                || address.is_multicast()
                || address.is_unicast_link_local()
                // It would name an IPv4 host past every IPv4 network of the policy.
                || address.to_ipv4_mapped().is_some()
        }
    };
    match illegal && !tuple.wildcards_address() {
        true => Err(Failure::IllegalAddress),
        false => Ok(()),
    }
}

/// The keys of a rule that passed [`check`], lowest port first.
///
/// # Errors
/// [`Failure::WildcardNotSupported`] for a network that is not made of whole zones; [`Failure::ProtocolNotSupported`].
pub(crate) fn keys(realms: &Realms, opening: &Opening) -> Result<Vec<Key>, Failure> {
    let (internal, external) = (&opening.internal, &opening.external);
    match opening.direction {
        Direction::Inbound => one_way(realms, (external, Side::Outside), internal),
        Direction::Outbound => one_way(realms, (internal, Side::Inside), external),
        Direction::Bidirectional => {
            let mut keys = one_way(realms, (external, Side::Outside), internal)?;
            keys.extend(one_way(realms, (internal, Side::Inside), external)?);
            Ok(keys)
        }
    }
}

/// Checks what translation cannot do: send from a port that is not known, and anything but UDP. What leads to an outside
/// address of ours comes back in where it leads to an outside port, and nowhere else: other ports are no phone's.
///
/// # Errors
/// [`Failure::WildcardNotSupported`], [`Failure::ProtocolNotSupported`], [`Failure::IllegalAddress`].
pub(crate) fn check_translated(nat: &Nat, opening: &Opening) -> Result<(), Failure> {
    let (internal, external) = (&opening.internal, &opening.external);
    if internal.protocol != Protocol::Udp {
        return Err(Failure::ProtocolNotSupported);
    }
    if internal.wildcards_address() || internal.wildcards_port() {
        return Err(Failure::WildcardNotSupported);
    }
    let own = !external.wildcards_address() && nat.addresses.contains(&external.address());
    let anybodys = external.wildcards_port()
        || [external.port, external.last_port()].iter().all(|port| nat.ports.contains(port));
    match own && !anybodys {
        true => Err(Failure::IllegalAddress),
        false => Ok(()),
    }
}

/// The keys of a rule whose A0 is `outside` to the other side; each port has a key of its own.
///
/// # Errors
/// As [`keys`].
pub(crate) fn translated_keys(
    realms: &Realms,
    opening: &Opening,
    outside: &Tuple,
) -> Result<Vec<Key>, Failure> {
    let inward = || inward(realms, opening, outside);
    match opening.direction {
        Direction::Inbound => inward(),
        Direction::Outbound => outward(opening, outside),
        Direction::Bidirectional => {
            let mut keys = inward()?;
            keys.extend(outward(opening, outside)?);
            Ok(keys)
        }
    }
}

/// From A3 to A2, which becomes A0.
fn inward(realms: &Realms, opening: &Opening, outside: &Tuple) -> Result<Vec<Key>, Failure> {
    let (internal, external) = (&opening.internal, &opening.external);
    let sources = sources(realms, external, Side::Outside)?;
    let mut keys = Vec::with_capacity(usize::from(internal.range) * sources.len());
    for offset in 0..internal.range {
        let at = |tuple: &Tuple| tuple.port.checked_add(offset).ok_or(Failure::IllegalPort);
        let block = PortBlock::one(at(outside)?).ok_or(Failure::IllegalPort)?;
        let translation =
            Translation { end: End::Destination, address: internal.address(), port: at(internal)? };
        for source in &sources {
            let source = match external.wildcards_port() {
                true => *source,
                false => Source::Exact { address: external.address(), port: at(external)? },
            };
            let key = Key::new(Transport::Udp, source, outside.address(), block);
            keys.push(key.and_then(|key| key.translated(translation)).ok_or(Failure::IpVersionMismatch)?);
        }
    }
    Ok(keys)
}

/// From A0, which becomes A2, to A3.
fn outward(opening: &Opening, outside: &Tuple) -> Result<Vec<Key>, Failure> {
    let keys = exact(Transport::Udp, &opening.internal, &opening.external).ok_or(Failure::IllegalPort)?;
    let translated = |(offset, key): (u16, Key)| {
        let port = outside.port.checked_add(offset).ok_or(Failure::IllegalPort)?;
        let translation = Translation { end: End::Source, address: outside.address(), port };
        key.translated(translation).ok_or(Failure::IpVersionMismatch)
    };
    (0..).zip(keys).map(translated).collect()
}

fn one_way(realms: &Realms, source: (&Tuple, Side), destination: &Tuple) -> Result<Vec<Key>, Failure> {
    let transport = match destination.protocol {
        Protocol::Udp => Transport::Udp,
        Protocol::Tcp => Transport::Tcp,
        Protocol::Any | Protocol::Other(_) => return Err(Failure::ProtocolNotSupported),
    };
    let sources = sources(realms, source.0, source.1)?;
    let address = destination.address();
    if !source.0.wildcards_port() {
        return exact(transport, source.0, destination).ok_or(Failure::IllegalPort);
    }
    let blocks = PortBlock::split(destination.port, destination.range).ok_or(Failure::IllegalPortCount)?;
    let pairs = blocks.iter().flat_map(|block| sources.iter().map(move |source| (*source, *block)));
    pairs
        .map(|(source, block)| Key::new(transport, source, address, block).ok_or(Failure::IpVersionMismatch))
        .collect()
}

/// The i-th source port to the i-th destination port, each pair of its own: masking both would admit crossed ones.
fn exact(transport: Transport, source: &Tuple, destination: &Tuple) -> Option<Vec<Key>> {
    //= RFC 5189 §2.3.6: a rule with a range is as many rules, each with the next port of every tuple.
    (0..destination.range)
        .map(|offset| {
            let port = source.port.checked_add(offset)?;
            let block = PortBlock::one(destination.port.checked_add(offset)?)?;
            Key::new(
                transport,
                Source::Exact { address: source.address(), port },
                destination.address(),
                block,
            )
        })
        .collect()
}

fn sources(realms: &Realms, tuple: &Tuple, side: Side) -> Result<Vec<Source>, Failure> {
    if !tuple.wildcards_address() {
        return Ok(vec![Source::Host(tuple.address())]);
    }
    let zones = realms.zones_within(side, tuple.network);
    match zones.is_empty() {
        true => Err(Failure::WildcardNotSupported),
        false => Ok(zones.into_iter().map(Source::Network).collect()),
    }
}
