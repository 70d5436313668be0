//! From one phone inside to the outside place of another: two rules that nobody made for each other, and one entry.
//! `docs/pinholes.md` §4, "Hairpin".
//!
//! What leaves by the one rule comes in by the other without ever being outside. The entry for it is wanted while both
//! rules are, and lives no longer than either.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use crate::authority::Permit;
use crate::entry::{End, Key, PortBlock, Source};
use crate::nat::Nat;
use crate::realm::Realms;

/// Which entries come of two others.
#[derive(Debug, Clone)]
pub(crate) struct Hairpins {
    nat: Nat,
    realms: Realms,
    /// Keys that lead to an outside place of ours, by that place.
    leading: BTreeMap<(IpAddr, u16), BTreeSet<Key>>,
    /// What comes of which two: the one that leaves and the one that comes in. Several may make the same.
    pairs: BTreeMap<Key, BTreeSet<(Key, Key)>>,
    /// What a key has a part in.
    parts: BTreeMap<Key, BTreeSet<Key>>,
    /// What they are by what their packets are behind routing.
    behind: BTreeMap<(SocketAddr, SocketAddr), Key>,
}

impl Hairpins {
    pub(crate) fn new(nat: Nat, realms: Realms) -> Self {
        let (leading, pairs, parts, behind) = Default::default();
        Self { nat, realms, leading, pairs, parts, behind }
    }

    /// A key is needed; `translated` gives what comes in, by its key without translation. What it has a part in now.
    pub(crate) fn join(&mut self, key: &Key, translated: &BTreeMap<Key, Key>) -> Vec<Key> {
        let Some(translation) = key.translation() else { return Vec::new() };
        let place = (key.destination(), key.ports().first());
        match translation.end {
            End::Source if self.nat.owns(place.0, place.1) => {
                self.leading.entry(place).or_default().insert(*key);
                let seen = (translation.address, translation.port);
                for inward in self.keys_of(seen, key).into_iter().filter_map(|plain| translated.get(&plain)) {
                    self.pair(key, inward);
                }
            }
            End::Source => return Vec::new(),
            End::Destination => {
                for outward in self.leading.get(&place).cloned().unwrap_or_default() {
                    self.pair(&outward, key);
                }
            }
        }
        self.of(key)
    }

    /// The keys, without translation, by which `seen` may come in where `leading` leads.
    fn keys_of(&self, seen: (IpAddr, u16), leading: &Key) -> Vec<Key> {
        let exact = Source::Exact { address: seen.0, port: seen.1 };
        let network = self.realms.zone_of(seen.0).map(|zone| Source::Network(zone.network));
        let sources = [Some(exact), Some(Source::Host(seen.0)), network];
        let ports = PortBlock::one(leading.ports().first());
        let keys = sources.into_iter().flatten().zip(ports.into_iter().cycle());
        keys.filter_map(|(source, ports)| Key::new(leading.transport(), source, leading.destination(), ports))
            .collect()
    }

    fn pair(&mut self, outward: &Key, inward: &Key) {
        let Some(turned) = Key::hairpin(&self.realms, outward, inward) else { return };
        // Behind routing they are packets of one host to another, which have one source; the first that came keeps it.
        let Some(behind) = turned.behind_routing() else { return };
        if *self.behind.entry(behind).or_insert(turned) != turned {
            return;
        }
        self.pairs.entry(turned).or_default().insert((*outward, *inward));
        for part in [outward, inward] {
            self.parts.entry(*part).or_default().insert(turned);
        }
    }

    /// What a key has a part in.
    pub(crate) fn of(&self, key: &Key) -> Vec<Key> {
        self.parts.get(key).into_iter().flatten().copied().collect()
    }

    /// The pairs that make an entry.
    pub(crate) fn pairs(&self, turned: &Key) -> Option<&BTreeSet<(Key, Key)>> {
        self.pairs.get(turned)
    }

    /// The proof that an entry is allowed: those of both that make it.
    pub(crate) fn permit(&self, outward: &Permit, inward: &Permit) -> Option<Permit> {
        Permit::hairpin(&self.realms, outward, inward)
    }

    /// A key is gone.
    pub(crate) fn forget(&mut self, key: &Key) {
        let place = (key.destination(), key.ports().first());
        if let Some(leading) = self.leading.get_mut(&place) {
            leading.remove(key);
            if leading.is_empty() {
                self.leading.remove(&place);
            }
        }
        if let Some(behind) = key.behind_routing().filter(|behind| self.behind.get(behind) == Some(key)) {
            self.behind.remove(&behind);
        }
        for (outward, inward) in self.pairs.remove(key).unwrap_or_default() {
            for part in [outward, inward] {
                if let Some(turned) = self.parts.get_mut(&part) {
                    turned.remove(key);
                    if turned.is_empty() {
                        self.parts.remove(&part);
                    }
                }
            }
        }
    }
}
