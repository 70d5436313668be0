//! The reference engine: what the real gate does, in memory and in plain words.
//!
//! Simulations let their packets through it, property tests compare the machine with it, and the contract suite
//! compares the kernel with it. `docs/pinholes.md` §3 is its text.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use machine::Instant;
use midcom::Network;

use crate::engine::{Drift, Engine};
use crate::entry::{Counter, EngineFailure, Entry, Key, Operation, PortBlock, Source, Transport};
use crate::limits;
use crate::nat::Nat;
use crate::realm::{Realms, ReversePath};

/// A packet as it reaches the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// UDP or TCP.
    pub transport: Transport,
    /// Who says to have sent it.
    pub source: SocketAddr,
    /// Who is to receive it.
    pub destination: SocketAddr,
    /// Where it came in.
    pub interface: &'a str,
    /// A TCP packet with SYN and without ACK.
    pub opens: bool,
}

/// What the gate does with a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It matches an entry: marked and untracked, so the administrator's line accepts it.
    Accepted(Key),
    /// It matches an entry but did not come from where its source lives.
    Spoofed(Key),
    /// An entry let it pass not long ago, between networks that are not managed.
    Held,
    /// UDP of a managed network and port, or to an outside port of the NAT, without an entry.
    Managed,
    /// Not ours: the administrator's rules decide.
    Untouched,
}

/// Where packets to a network leave, for the reverse path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// To whom.
    pub network: Network,
    /// Through which interface.
    pub interface: String,
}

/// Who sends to whom, and to which port.
type Flow = (IpAddr, IpAddr, u16);

fn flow(packet: &Packet<'_>) -> Flow {
    (packet.source.ip(), packet.destination.ip(), packet.destination.port())
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    ends: Instant,
    counter: Counter,
}

/// The engine. Time is what [`Memory::advance`] says.
#[derive(Debug, Clone)]
pub struct Memory {
    realms: Realms,
    nat: Nat,
    routes: Vec<Route>,
    now: Instant,
    slots: BTreeMap<Key, Slot>,
    /// What has passed, and until when it is kept out if no entry lets it pass.
    held: BTreeMap<Flow, Instant>,
    /// No slot ends before this.
    next_end: Instant,
    capacity: usize,
    refused: BTreeSet<Key>,
    available: bool,
}

impl Memory {
    /// An empty gate between these realms.
    #[must_use]
    pub fn new(realms: Realms, routes: Vec<Route>) -> Self {
        Self {
            realms,
            nat: Nat::default(),
            routes,
            now: Instant::ZERO,
            slots: BTreeMap::new(),
            held: BTreeMap::new(),
            next_end: Instant::ZERO,
            capacity: usize::MAX,
            refused: BTreeSet::new(),
            available: true,
        }
    }

    /// The same with outside addresses: packets to them that match no entry are dropped.
    #[must_use]
    pub fn with_nat(self, nat: Nat) -> Self {
        Self { nat, ..self }
    }

    /// Lets time pass: entries whose lifetime is over are gone, silently.
    pub fn advance(&mut self, now: Instant) {
        self.now = self.now.max(now);
        let now = self.now;
        if now < self.next_end {
            return;
        }
        self.slots.retain(|_, slot| slot.ends > now);
        let ends = self.slots.values().map(|slot| slot.ends);
        // Looked at again when something ends; in an empty engine when something is added.
        self.next_end = ends.min().unwrap_or(now);
    }

    /// Limits how many entries fit.
    pub fn limit(&mut self, capacity: usize) {
        self.capacity = capacity;
    }

    /// Every operation on this key fails until [`Memory::relent`].
    pub fn refuse(&mut self, key: Key) {
        self.refused.insert(key);
    }

    /// Nothing is refused any more.
    pub fn relent(&mut self) {
        self.refused.clear();
    }

    /// Whether the engine works at all.
    pub fn set_available(&mut self, available: bool) {
        self.available = available;
    }

    /// What a stranger does with `nft flush`: everything is gone.
    pub fn flush(&mut self) {
        self.slots.clear();
    }

    /// What a stranger does with `nft delete element`.
    pub fn lose(&mut self, key: &Key) {
        self.slots.remove(key);
    }

    /// When an entry ends; `None` if it is not there.
    #[must_use]
    pub fn ends(&self, key: &Key) -> Option<Instant> {
        self.slots.get(key).map(|slot| slot.ends)
    }

    /// The keys that are there, sorted.
    pub fn keys(&self) -> impl Iterator<Item = &Key> {
        self.slots.keys()
    }

    /// True if an entry lets the packet pass at `now`.
    pub fn passes(&mut self, packet: &Packet<'_>, now: Instant) -> bool {
        self.advance(now);
        self.hit(packet).is_some() && self.came_from_home(packet)
    }

    /// What happens to the packet now; an accepted one is counted.
    pub fn take(&mut self, packet: &Packet<'_>, bytes: u64) -> Verdict {
        let verdict = self.verdict(packet);
        match verdict {
            Verdict::Accepted(key) => {
                if let Some(slot) = self.slots.get_mut(&key) {
                    slot.counter.packets += 1;
                    slot.counter.bytes += bytes;
                }
                self.remember(packet);
            }
            Verdict::Held => self.remember(packet),
            Verdict::Spoofed(_) | Verdict::Managed | Verdict::Untouched => {}
        }
        verdict
    }

    fn remember(&mut self, packet: &Packet<'_>) {
        let (source, destination) = (packet.source.ip(), packet.destination.ip());
        let now = self.now;
        if packet.transport != Transport::Udp || !self.realms.holds(source, destination) {
            return;
        }
        if self.held.len() >= limits::HELD_MAX {
            self.held.retain(|_, until| *until > now);
        }
        if self.held.len() < limits::HELD_MAX {
            self.held.insert(flow(packet), now + limits::HELD_TIME);
        }
    }

    fn is_held(&self, packet: &Packet<'_>) -> bool {
        let udp = packet.transport == Transport::Udp;
        udp && self.held.get(&flow(packet)).is_some_and(|until| *until > self.now)
    }

    /// What would happen to the packet now.
    #[must_use]
    pub fn verdict(&self, packet: &Packet<'_>) -> Verdict {
        let source = (packet.source.ip(), packet.source.port());
        let destination = (packet.destination.ip(), packet.destination.port());
        match self.hit(packet) {
            Some(key) if self.came_from_home(packet) => Verdict::Accepted(key),
            Some(key) => Verdict::Spoofed(key),
            None if self.is_held(packet) => Verdict::Held,
            None if packet.transport == Transport::Udp
                && (self.realms.manages(source, destination)
                    || self.nat.owns(destination.0, destination.1)) =>
            {
                Verdict::Managed
            }
            None => Verdict::Untouched,
        }
    }

    fn hit(&self, packet: &Packet<'_>) -> Option<Key> {
        self.find(packet.transport, packet.source, packet.destination).or_else(|| {
            let answers = packet.transport == Transport::Tcp && !packet.opens;
            answers.then(|| self.find(packet.transport, packet.destination, packet.source)).flatten()
        })
    }

    /// The three classes in their order, the single port before the pair.
    fn find(&self, transport: Transport, source: SocketAddr, destination: SocketAddr) -> Option<Key> {
        let exact = Source::Exact { address: source.ip(), port: source.port() };
        let network = self.realms.zone_of(source.ip()).map(|zone| Source::Network(zone.network));
        let one = PortBlock::one(destination.port());
        let pair = PortBlock::pair(destination.port() & 0xfffe);
        [Some(exact), Some(Source::Host(source.ip())), network]
            .into_iter()
            .flatten()
            .flat_map(|source| [one, pair].into_iter().flatten().map(move |ports| (source, ports)))
            .filter_map(|(source, ports)| Key::new(transport, source, destination.ip(), ports))
            .find_map(|key| self.held(&key))
    }

    /// The entry of a key's element, translated or not: those of one element are neighbours.
    fn held(&self, plain: &Key) -> Option<Key> {
        let neighbours = self.slots.range(plain..).take_while(|(key, _)| key.plain() == *plain);
        neighbours.filter(|(_, slot)| slot.ends > self.now).map(|(key, _)| *key).next()
    }

    /// True if the packet came in where its source lives.
    fn came_from_home(&self, packet: &Packet<'_>) -> bool {
        let Some(zone) = self.realms.zone_of(packet.source.ip()) else { return false };
        let realm = &self.realms.realms()[zone.realm];
        if !realm.interfaces.is_empty() {
            return realm.interfaces.iter().any(|interface| interface == packet.interface);
        }
        let back = self
            .routes
            .iter()
            .filter(|route| route.network.contains(&packet.source.ip()))
            .max_by_key(|route| route.network.prefix_len());
        match realm.reverse_path {
            ReversePath::Strict => back.is_some_and(|route| route.interface == packet.interface),
            ReversePath::Loose => back.is_some(),
            ReversePath::Off => true,
        }
    }

    fn carry_out(&mut self, operation: &Operation) -> Result<(), EngineFailure> {
        let key = operation.key();
        if !self.available {
            return Err(EngineFailure::Unavailable);
        }
        if self.refused.contains(&key) {
            return Err(EngineFailure::Refused(1));
        }
        match operation {
            Operation::Add { lifetime, .. } | Operation::Extend { lifetime, .. } => {
                self.expressible(&key)?;
                if !self.slots.contains_key(&key) && self.slots.len() >= self.capacity {
                    return Err(EngineFailure::Full);
                }
                let ends = self.now + *lifetime;
                self.next_end = self.next_end.min(ends);
                let fresh = Slot { ends, counter: Counter::default() };
                self.slots.entry(key).or_insert(fresh).ends = ends;
            }
            Operation::Remove { .. } => {
                self.slots.remove(&key);
            }
        }
        Ok(())
    }

    fn expressible(&self, key: &Key) -> Result<(), EngineFailure> {
        let known = |network| self.realms.zones().iter().any(|zone| zone.network == network);
        match key.source() {
            Source::Network(network) if !known(network) => Err(EngineFailure::Unsupported),
            Source::Exact { .. } | Source::Host(_) | Source::Network(_) => Ok(()),
        }
    }
}

impl Engine for Memory {
    fn apply(&mut self, operations: &[Operation]) -> Vec<Result<(), EngineFailure>> {
        operations.iter().map(|operation| self.carry_out(operation)).collect()
    }

    fn verify(&mut self, expected: &[Key]) -> Result<Drift, EngineFailure> {
        if !self.available {
            return Err(EngineFailure::Unavailable);
        }
        let missing = expected.iter().filter(|key| !self.slots.contains_key(key)).copied().collect();
        let foreign = self.slots.keys().filter(|key| expected.binary_search(key).is_err()).copied().collect();
        Ok(Drift { missing, foreign })
    }

    fn counters(&mut self, keys: &[Key]) -> Vec<Option<Counter>> {
        keys.iter().map(|key| self.slots.get(key).map(|slot| slot.counter)).collect()
    }

    fn entries(&mut self) -> Result<Vec<Entry>, EngineFailure> {
        let entry = |(key, slot): (&Key, &Slot)| Entry {
            key: *key,
            remaining: slot.ends.since(self.now),
            counter: slot.counter,
        };
        self.available.then(|| self.slots.iter().map(entry).collect()).ok_or(EngineFailure::Unavailable)
    }
}
