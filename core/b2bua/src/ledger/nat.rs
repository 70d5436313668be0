//! What the other side of a NAT sees: `docs/calls.md` §4, "NAT".
//!
//! Where a middlebox translates, its replies say which outside address and ports (A2) stand for a place. The offer travels
//! with them, the answer too; a place keeps them as long as the call does.

use std::net::{IpAddr, SocketAddr};

use machine::Instant;
use midcom::{Failure, Prid, Tuple};
use smallvec::SmallVec;

use super::rule::{Marks, Rule};
use super::{Ledger, Out, Progress, RequestIds};
use crate::side::Side;

/// How the descriptions that one side is sent must be changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Disguise {
    /// Not at all.
    #[default]
    None,
    /// They say nothing of ICE.
    WithoutIce,
    /// They say nothing of ICE, and these places instead of the other side's own.
    Places(SmallVec<[Disguised; 2]>),
}

/// Some ports of a host, and what the other side sees instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Disguised {
    address: IpAddr,
    port: u16,
    range: u16,
    seen_as: SocketAddr,
}

impl Disguised {
    /// What is seen instead of a port, if it is one of these.
    #[must_use]
    pub fn of(&self, address: IpAddr, port: u16) -> Option<SocketAddr> {
        let offset = port.checked_sub(self.port).filter(|offset| *offset < self.range)?;
        let seen = SocketAddr::new(self.seen_as.ip(), self.seen_as.port().checked_add(offset)?);
        (address == self.address).then_some(seen)
    }

    /// The address that is seen.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.seen_as.ip()
    }
}

impl Ledger {
    /// True if some middlebox of the path translates.
    pub(super) fn is_translated(&self) -> bool {
        self.terms.path.iter().any(|crossing| crossing.capabilities.nat)
    }

    /// How descriptions for `side` must be changed, by what is known now.
    #[must_use]
    pub fn disguise(&self, side: Side) -> Disguise {
        let hides = |side| self.terms.path.iter().any(|crossing| crossing.hides(side));
        match (hides(side.other()), self.is_translated()) {
            (_, false) => Disguise::None,
            (false, true) => Disguise::WithoutIce,
            (true, true) => {
                let of = |rule: &Rule| {
                    let place = rule.pinhole.place;
                    let theirs = rule.is_wanted() && rule.pinhole.toward == side.other();
                    let (address, port, range) = (place.address, place.port, place.range);
                    let seen_as = rule.seen_as.filter(|_| theirs && port != 0)?;
                    Some(Disguised { address, port, range, seen_as })
                };
                Disguise::Places(self.rules.iter().filter_map(of).collect())
            }
        }
    }

    /// Notes what a place is seen as. True if the other side has been told something else: then nothing can come there.
    pub(super) fn is_seen_elsewhere(&mut self, index: usize, outside: Option<Tuple>) -> bool {
        let Rule { pinhole, crossing, .. } = self.rules[index];
        let Some(outside) = outside.filter(|_| self.crossing(crossing).hides(pinhole.toward)) else {
            return false;
        };
        let seen_as = SocketAddr::new(outside.address(), outside.port);
        let place = pinhole.place;
        let told = self.rules.iter().filter(|rule| rule.is_wanted() && rule.pinhole.toward == pinhole.toward);
        let told = told.filter_map(|rule| {
            let other = rule.pinhole.place;
            let (address, port, range) = (other.address, other.port, other.range);
            Disguised { address, port, range, seen_as: rule.seen_as? }.of(place.address, place.port)
        });
        let differs = place.port != 0 && told.into_iter().any(|told| told != seen_as);
        if !differs {
            self.rules[index].seen_as = Some(seen_as);
        }
        differs
    }

    /// A rule that leads elsewhere than the other side was told is as good as none.
    pub(super) fn moved(
        &mut self,
        now: Instant,
        index: usize,
        prid: Prid,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Progress {
        let Rule { pinhole, marks, crossing, .. } = self.rules[index];
        self.end(now, index, prid, 0, ids, out);
        self.rules[index].marks = Marks::default();
        self.failed(now, (crossing, pinhole, marks), Failure::LackOfPorts, ids, out)
    }
}
