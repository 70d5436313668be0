//! Network address translation: which outside address and ports (A2) stand for which inside ones (A0).
//! RFC 4540 §8.2.3, §8.3.3 and §8.4.3, traditional NAT; `docs/pinholes.md` §2 and §4.
//!
//! A reservation takes A2 before A0 is known; an enable rule without one takes A2 itself, unless A0 has one already.
//! One A0 has one A2 for all rules of its owner that came to it this way, so that a phone sends from where it receives.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;

use machine::Instant;
use midcom::{Failure, Gid, Network, Parity, PortParity, Protocol, Tuple};
use smallvec::SmallVec;
use thiserror::Error;

use crate::authority::AgentId;
use crate::entry::{End, Key, Source, Translation};
use crate::journal::{StoredLease, StoredOutside};
use crate::limits;
use crate::pool::{Block, Pool};

/// The outside addresses and their ports, which are nobody else's. Without addresses nothing is translated; with
/// addresses of one IP version only, the other passes as through a firewall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Nat {
    /// The addresses, in the order in which they take turns.
    pub addresses: Vec<IpAddr>,
    /// The ports of each.
    pub ports: RangeInclusive<u16>,
}

/// No translation.
impl Default for Nat {
    fn default() -> Self {
        Self { addresses: Vec::new(), ports: 0..=0 }
    }
}

/// Why a NAT is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NatError {
    /// It can be nobody's address on the outside.
    #[error("{0} cannot be an outside address")]
    Address(IpAddr),
    /// The same address twice.
    #[error("outside address {0} is named twice")]
    Twice(IpAddr),
    /// More than [`limits::OUTSIDE_ADDRESSES_MAX`].
    #[error("more than {} outside addresses", limits::OUTSIDE_ADDRESSES_MAX)]
    TooManyAddresses,
    /// Not one pair of ports, or port 0.
    #[error("the outside ports hold no pair that begins with an even port")]
    NoPair,
}

impl Nat {
    /// Checks addresses and ports.
    ///
    /// # Errors
    /// See [`NatError`].
    pub fn new(addresses: Vec<IpAddr>, ports: RangeInclusive<u16>) -> Result<Self, NatError> {
        if addresses.len() > limits::OUTSIDE_ADDRESSES_MAX {
            return Err(NatError::TooManyAddresses);
        }
        for (position, address) in addresses.iter().enumerate() {
            let mapped = matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some());
            if address.is_unspecified() || address.is_loopback() || address.is_multicast() || mapped {
                return Err(NatError::Address(*address));
            }
            if addresses[..position].contains(address) {
                return Err(NatError::Twice(*address));
            }
        }
        let even = u32::from(*ports.start()).next_multiple_of(2);
        match *ports.start() > 0 && even < u32::from(*ports.end()) {
            true => Ok(Self { addresses, ports }),
            false => Err(NatError::NoPair),
        }
    }

    /// True if nothing is translated.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    /// True if packets of this IP version are translated.
    #[must_use]
    pub fn translates(&self, v4: bool) -> bool {
        self.addresses.iter().any(|address| address.is_ipv4() == v4)
    }

    /// True if this is one of the outside addresses and ports.
    #[must_use]
    pub fn owns(&self, address: IpAddr, port: u16) -> bool {
        self.ports.contains(&port) && self.addresses.contains(&address)
    }
}

pub(crate) type Blocks = SmallVec<[Block; 1]>;

/// Where an inside endpoint's ports begin, and whose they are. Ordered so that what may contain a port is just before.
type Place = (AgentId, Protocol, IpAddr, u16);

/// A2 of one rule, and what becomes free with the rule.
#[derive(Debug, Clone)]
pub(crate) struct Outside {
    /// A2.
    pub(crate) tuple: Tuple,
    lease: Lease,
}

#[derive(Debug, Clone)]
enum Lease {
    /// The rule's alone: a reservation, or a rule whose A0 has another A2 as well.
    Own(Blocks),
    /// Of all rules with this A0.
    Shared(Place, Gid),
}

#[derive(Debug, Clone)]
struct Binding {
    group: Gid,
    range: u16,
    outside: SocketAddr,
    blocks: Blocks,
    users: u32,
}

/// The bindings of a NAT.
#[derive(Debug, Clone)]
pub(crate) struct Translator {
    nat: Nat,
    pool: Pool,
    bindings: BTreeMap<Place, SmallVec<[Binding; 1]>>,
    /// What entries found at start say: the A2 of an A0, one port each, until their agents are back.
    found: BTreeMap<(Protocol, IpAddr, u16), SocketAddr>,
    /// The pairs of ports that these use.
    kept: BTreeMap<(IpAddr, u16), Block>,
}

impl Translator {
    pub(crate) fn new(nat: Nat) -> Self {
        let pool = Pool::new(&nat);
        Self { nat, pool, bindings: BTreeMap::new(), found: BTreeMap::new(), kept: BTreeMap::new() }
    }

    pub(crate) fn nat(&self) -> &Nat {
        &self.nat
    }

    /// Outside ports that are taken.
    pub(crate) fn taken(&self) -> usize {
        self.pool.taken()
    }

    /// PRR: takes A2. `v4` must be a version that is translated.
    //= RFC 4540 §8.2.3: the NAT reserves an outside binding with the protocol, version, range and parity asked for.
    pub(crate) fn reserve(
        &mut self,
        now: Instant,
        v4: bool,
        protocol: Protocol,
        ports: u16,
        parity: PortParity,
    ) -> Result<Outside, Failure> {
        let (address, port, block) = self.pool.take(now, v4, ports, parity)?;
        let tuple = Tuple { network: Network::from(address), protocol, port, range: ports };
        Ok(Outside { tuple, lease: Lease::Own(SmallVec::from_iter([block])) })
    }

    /// PEA: the reservation's A2 becomes that of this A0. It has room for it.
    //= RFC 4540 §8.4.3: the outside address of the reservation is that of the enable rule.
    pub(crate) fn enable(
        &mut self,
        agent: AgentId,
        group: Gid,
        internal: &Tuple,
        reserved: Outside,
    ) -> Outside {
        let tuple = Tuple { range: internal.range, ..reserved.tuple };
        let place = place(agent, internal);
        let others = self.bindings.entry(place).or_default();
        match reserved.lease {
            Lease::Own(blocks) if !others.iter().any(|binding| binding.group == group) => {
                let outside = SocketAddr::new(tuple.address(), tuple.port);
                others.push(Binding { group, range: internal.range, outside, blocks, users: 1 });
                Outside { tuple, lease: Lease::Shared(place, group) }
            }
            lease => Outside { tuple, lease },
        }
    }

    /// Undoes [`Translator::enable`]: the reservation's own again, `range` ports of it. Whoever shares it by now keeps it.
    pub(crate) fn back_to_reservation(&mut self, outside: Outside, range: u16) -> Outside {
        let lease = match outside.lease {
            Lease::Shared(place, group) if self.users(place, group) == 1 => {
                Lease::Own(self.leave(place, group).unwrap_or_default())
            }
            lease @ (Lease::Shared(..) | Lease::Own(_)) => lease,
        };
        Outside { tuple: Tuple { range, ..outside.tuple }, lease }
    }

    fn users(&self, place: Place, group: Gid) -> u32 {
        let bindings = self.bindings.get(&place).into_iter().flatten();
        bindings.filter(|binding| binding.group == group).map(|binding| binding.users).sum()
    }

    /// PER: the A2 that this A0 has, or a new one.
    //= RFC 5189 §2.3.9: an overlap that is no conflict is accepted; on a NAT the same A0 keeps its A2.
    pub(crate) fn bind(
        &mut self,
        now: Instant,
        agent: AgentId,
        group: Gid,
        internal: &Tuple,
        parity: Parity,
    ) -> Result<Outside, Failure> {
        if let Some(outside) = self.share(agent, group, internal) {
            return Ok(outside);
        }
        let (address, port, blocks) = match self.take_found(internal) {
            Some(found) => found,
            None => {
                let parity = match (parity, internal.port % 2) {
                    (Parity::Any, _) => PortParity::Any,
                    (Parity::Same, 0) => PortParity::Even,
                    (Parity::Same, _) => PortParity::Odd,
                };
                let v4 = internal.address().is_ipv4();
                let (address, port, block) = self.pool.take(now, v4, internal.range, parity)?;
                (address, port, SmallVec::from_iter([block]))
            }
        };
        let tuple = Tuple { network: Network::from(address), port, ..*internal };
        let outside = SocketAddr::new(address, port);
        let binding = Binding { group, range: internal.range, outside, blocks, users: 1 };
        let place = place(agent, internal);
        let others = self.bindings.entry(place).or_default();
        match others.iter().any(|binding| binding.group == group) {
            true => Ok(Outside { tuple, lease: Lease::Own(binding.blocks) }),
            false => {
                others.push(binding);
                Ok(Outside { tuple, lease: Lease::Shared(place, group) })
            }
        }
    }

    /// A rule is gone.
    pub(crate) fn release(&mut self, now: Instant, outside: Outside) {
        let blocks = match outside.lease {
            Lease::Own(blocks) => blocks,
            Lease::Shared(place, group) => self.leave(place, group).unwrap_or_default(),
        };
        for block in blocks {
            self.pool.give_back(now, block);
        }
    }

    /// One user less of a binding; its ports if that was the last.
    fn leave(&mut self, place: Place, group: Gid) -> Option<Blocks> {
        let bindings = self.bindings.get_mut(&place)?;
        let position = bindings.iter().position(|binding| binding.group == group)?;
        bindings[position].users -= 1;
        if bindings[position].users > 0 {
            return None;
        }
        let binding = bindings.remove(position);
        if bindings.is_empty() {
            self.bindings.remove(&place);
        }
        Some(binding.blocks)
    }

    /// Joins the binding that has all these ports, one of the same group before others.
    fn share(&mut self, agent: AgentId, group: Gid, internal: &Tuple) -> Option<Outside> {
        let wanted = place(agent, internal);
        let (place, bindings) = self.bindings.range_mut(..=wanted).next_back()?;
        if (place.0, place.1, place.2) != (wanted.0, wanted.1, wanted.2) {
            return None;
        }
        let offset = wanted.3 - place.3;
        let has_room =
            |binding: &Binding| u32::from(offset) + u32::from(internal.range) <= u32::from(binding.range);
        let own = bindings.iter().position(|binding| binding.group == group && has_room(binding));
        let position = own.or_else(|| bindings.iter().position(has_room))?;
        let binding = &mut bindings[position];
        binding.users += 1;
        let network = Network::from(binding.outside.ip());
        let tuple = Tuple { network, port: binding.outside.port() + offset, ..*internal };
        Some(Outside { tuple, lease: Lease::Shared(*place, binding.group) })
    }

    /// A2 as it is written down.
    pub(crate) fn stored(&self, outside: &Outside) -> StoredOutside {
        let at = |tuple: &Tuple| SocketAddr::new(tuple.address(), tuple.port);
        let lease = match outside.lease {
            Lease::Own(_) => StoredLease::Own,
            Lease::Shared(place, group) => {
                let mut bindings = self.bindings.get(&place).into_iter().flatten();
                match bindings.find(|binding| binding.group == group) {
                    Some(binding) => StoredLease::Shared { port: place.3, group, range: binding.range },
                    None => StoredLease::Own,
                }
            }
        };
        StoredOutside { at: at(&outside.tuple), lease }
    }

    /// What was written down is taken again: the same address and the same ports, or nothing. `inside` is A0, of a
    /// reservation the ports that it has.
    pub(crate) fn take_again(
        &mut self,
        agent: AgentId,
        inside: &Tuple,
        stored: &StoredOutside,
    ) -> Option<Outside> {
        let network = Network::from(stored.at.ip());
        let tuple = Tuple { network, port: stored.at.port(), ..*inside };
        let StoredLease::Shared { port, group, range } = stored.lease else {
            let blocks = self.pool.take_run(stored.at, inside.range)?;
            return Some(Outside { tuple, lease: Lease::Own(blocks) });
        };
        let offset = inside.port.checked_sub(port)?;
        let outside = SocketAddr::new(stored.at.ip(), stored.at.port().checked_sub(offset)?);
        if u32::from(offset) + u32::from(inside.range) > u32::from(range) {
            return None;
        }
        let place = (agent, inside.protocol, inside.address(), port);
        let others = self.bindings.entry(place).or_default();
        match others.iter_mut().find(|binding| binding.group == group) {
            Some(binding) if binding.outside == outside && binding.range == range => binding.users += 1,
            Some(_) => return None,
            None => match self.pool.take_run(outside, range) {
                Some(blocks) => others.push(Binding { group, range, outside, blocks, users: 1 }),
                None => {
                    if others.is_empty() {
                        self.bindings.remove(&place);
                    }
                    return None;
                }
            },
        }
        Some(Outside { tuple, lease: Lease::Shared(place, group) })
    }

    /// An entry was found at start: its A2 is nobody else's until its agent is back.
    pub(crate) fn adopt(&mut self, key: &Key) {
        for translation in [key.translation(), key.turned_source()].into_iter().flatten() {
            self.adopt_one(key, translation);
        }
    }

    fn adopt_one(&mut self, key: &Key, translation: Translation) {
        let transport = key.transport().protocol();
        let inside_and_outside = match (translation.end, key.source()) {
            (End::Destination, _) => Some((
                (translation.address, translation.port),
                SocketAddr::new(key.destination(), key.ports().first()),
            )),
            (End::Source, Source::Exact { address, port }) => {
                Some(((address, port), SocketAddr::new(translation.address, translation.port)))
            }
            (End::Source, Source::Host(_) | Source::Network(_)) => None,
        };
        let Some(((address, port), outside)) = inside_and_outside else { return };
        let pair = (outside.ip(), outside.port() & 0xfffe);
        if !self.kept.contains_key(&pair) {
            // A port that the pool no longer has is of a configuration that is past.
            let Some(block) = self.pool.take_at(outside.ip(), outside.port()) else { return };
            self.kept.insert(pair, block);
        }
        self.found.insert((transport, address, port), outside);
    }

    /// What was found for all ports of an A0, if it is one run of ports.
    fn take_found(&mut self, internal: &Tuple) -> Option<(IpAddr, u16, Blocks)> {
        let key = |offset: u16| (internal.protocol, internal.address(), internal.port.wrapping_add(offset));
        let first = *self.found.get(&key(0))?;
        let run = (0..internal.range).all(|offset| {
            self.found.get(&key(offset)).is_some_and(|found| {
                (found.ip(), found.port()) == (first.ip(), first.port().wrapping_add(offset))
            })
        });
        if !run {
            return None;
        }
        let mut blocks = Blocks::new();
        for offset in 0..internal.range {
            self.found.remove(&key(offset));
            let pair = (first.ip(), first.port().wrapping_add(offset) & 0xfffe);
            blocks.extend(self.kept.remove(&pair));
        }
        Some((first.ip(), first.port(), blocks))
    }

    /// Whoever wanted what was found has had the time to say so.
    pub(crate) fn forget_found(&mut self, now: Instant) {
        self.found.clear();
        for block in std::mem::take(&mut self.kept).into_values() {
            self.pool.give_back(now, block);
        }
    }
}

fn place(agent: AgentId, internal: &Tuple) -> Place {
    (agent, internal.protocol, internal.address(), internal.port)
}
