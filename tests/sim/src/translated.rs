//! What the model knows of a NAT: which entries it may have, what packets must become, and for how long an outside place
//! stands for one inside. `docs/calls.md` §4, "NAT"; `docs/pinholes.md` §2 and §4.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use machine::Instant;
use middlebox::{End, Key, PortBlock, Source};

use crate::carry::Ends;
use crate::far::{Far, Flow};
use crate::model::{Model, View, above};

/// How long an outside place rests before it stands for another place inside: 64*T1.
const REST: Duration = Duration::from_secs(32);

/// Which place inside each outside place of a middlebox stands for, or stood for last, and when that was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lent(BTreeMap<SocketAddr, (SocketAddr, Instant)>);

impl Lent {
    /// An entry is there. Says what is wrong about it.
    pub(crate) fn see(&mut self, now: Instant, key: &Key) -> Option<String> {
        let (outside, inside) = places(key)?;
        let before = self.0.insert(outside, (inside, now));
        let (other, at) = before.filter(|(other, at)| *other != inside && *at + REST > now)?;
        Some(format!("{outside} stands for {inside}, and at {at} it stood for {other}"))
    }

    /// What rested is free at once, because its middlebox has died or nothing is certain.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }
}

/// The outside place that an entry is about, and the place inside that it stands for.
fn places(key: &Key) -> Option<Ends> {
    let translation = key.translation()?;
    let written = SocketAddr::new(translation.address, translation.port);
    match (translation.end, key.source()) {
        (End::Destination, _) => Some((SocketAddr::new(key.destination(), key.ports().first()), written)),
        (End::Source, Source::Exact { address, port }) => Some((written, SocketAddr::new(address, port))),
        (End::Source, Source::Host(_) | Source::Network(_)) => None,
    }
}

impl Model {
    /// An entry as the ends of a call see it: from where one sends to where the other receives. `None` if such an entry
    /// may not be there at all: where there is a NAT it translates everything, and into outside places of its own.
    pub(crate) fn plain(&self, key: &Key) -> Option<Key> {
        let is_whole = key.turned_source().is_none();
        match (&self.nat, key.translation()) {
            (None, None) => Some(*key),
            (None, Some(_)) | (Some(_), None) => None,
            (Some(nat), Some(translation)) => {
                let (outside, inside) = places(key).filter(|_| is_whole)?;
                let is_ours = nat.owns(outside.ip(), outside.port()) && !nat.owns(inside.ip(), inside.port());
                match translation.end {
                    End::Source => Some(key.plain()),
                    End::Destination => {
                        let port = PortBlock::one(inside.port())?;
                        Key::new(key.transport(), key.source(), inside.ip(), port)
                    }
                }
                .filter(|_| is_ours)
            }
        }
    }

    /// True if a packet has become what it must where there is a NAT, and nothing else where there is none: exactly one
    /// end is another one, and what the outside sees is an outside place.
    pub(crate) fn is_translated(&self, sent: Ends, arrived: Ends) -> bool {
        let Some(nat) = &self.nat else { return sent == arrived };
        let shows = |place: SocketAddr| nat.owns(place.ip(), place.port());
        let inward = shows(sent.1) && !shows(arrived.1) && arrived.0 == sent.0;
        let outward = shows(arrived.0) && !shows(arrived.1) && arrived.1 == sent.1;
        inward != outward
    }

    /// A middlebox without a journal begins again. It reads in its entries which outside place a place inside has, one for
    /// each: calls that share a place inside may find theirs taken, and what was only reserved is gone.
    pub(crate) fn begins_again(&mut self, now: Instant, gate: usize) {
        if self.nat.is_none() {
            return;
        }
        let life = self.life;
        let living = |view: &View| view.may_hold(now, gate, life);
        let shares = |at: usize| {
            let mut others =
                self.views.iter().enumerate().filter(|(other, view)| *other != at && living(view));
            others.any(|(_, other)| self.views[at].shares(other, false))
        };
        let uncertain: Vec<usize> = (0..self.views.len())
            .filter(|at| living(&self.views[*at]) && (!self.views[*at].is_sound(life) || shares(*at)))
            .collect();
        for at in uncertain {
            self.views[at].disturbed = true;
        }
    }
}

impl View {
    /// Both have named the same place, inside or outside.
    pub(crate) fn shares(&self, other: &Self, outside: bool) -> bool {
        let places = |view: &Self| {
            let ends = view.named.iter().zip(view.outside).filter(|(_, of)| *of == outside);
            ends.flat_map(|(named, _)| named.iter().map(|(_, (_, place))| *place)).collect::<Vec<_>>()
        };
        let near =
            |one: &SocketAddr, two: &SocketAddr| one.ip() == two.ip() && one.port().abs_diff(two.port()) <= 1;
        let theirs = places(other);
        places(self).iter().any(|one| theirs.iter().any(|two| near(one, two)))
    }
}

impl Flow {
    /// What its packets are behind the NAT: `inside` is where the phone inside listens, `told` what the one outside knows.
    pub(crate) fn translate(&mut self, inside: SocketAddr, told: &Far) {
        for next in 0..2 {
            let Some(seen) = told.receives(next) else { continue };
            let inside = above(inside, next);
            if self.outside && self.to == seen {
                self.arrives.1 = inside;
            } else if !self.outside && self.from == inside {
                self.arrives.0 = seen;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use middlebox::{Translation, Transport};

    fn inward(inside: [u8; 4], port: u16) -> Key {
        let source = Source::Host([203, 0, 113, 10].into());
        let block = PortBlock::one(20_000).unwrap();
        let key = Key::new(Transport::Udp, source, [203, 0, 113, 200].into(), block).unwrap();
        key.translated(Translation { end: End::Destination, address: inside.into(), port }).unwrap()
    }

    #[test]
    fn an_outside_place_that_stands_for_another_too_soon_is_seen() {
        let at = |seconds: u64| Instant::ZERO + Duration::from_secs(seconds);
        let mut lent = Lent::default();
        assert_eq!(lent.see(at(1), &inward([10, 0, 40, 10], 20_002)), None);
        assert_eq!(lent.see(at(9), &inward([10, 0, 40, 10], 20_002)), None);
        assert!(lent.see(at(40), &inward([10, 0, 40, 11], 20_002)).is_some());
        assert_eq!(lent.see(at(72), &inward([10, 0, 40, 12], 20_002)), None);
        lent.forget();
        assert_eq!(lent.see(at(73), &inward([10, 0, 40, 13], 20_002)), None);
    }
}
