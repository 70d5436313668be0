//! What the other side of a NAT sees: `docs/calls.md` §4, "NAT".
//!
//! Where a middlebox translates, its replies say which outside address and ports (A2) stand for a place. The offer travels
//! with them, the answer too; a place keeps them as long as the call does.

use std::net::{IpAddr, SocketAddr};

use machine::Instant;
use midcom::{Failure, Gid, Prid, Tuple};
use sdp::Flows;
use smallvec::SmallVec;

use super::pinhole::{Pinhole, Place};
use super::plan::places;
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

    /// The host and its first port.
    fn place(&self) -> (IpAddr, u16) {
        (self.address, self.port)
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
                    let theirs = rule.is_wanted() && rule.pinhole.toward == side.other();
                    disguised(rule.pinhole.place, rule.seen_as.filter(|_| theirs)?)
                };
                // A port that was RTCP's and is RTP's now, or the other way round, is seen as what was asked for last.
                Disguise::Places(self.rules.iter().rev().filter_map(of).collect())
            }
        }
    }

    /// The place behind the NAT that a rule is about, and whose: where its packets go, or from where they come.
    fn place_inside(&self, crossing: u8, pinhole: &Pinhole) -> Option<(Side, Place)> {
        let (Pinhole { toward, place, source, source_port, .. }, at) = (*pinhole, self.crossing(crossing));
        match (at.hides(toward), at.hides(toward.other())) {
            (true, _) => Some((toward, place)),
            (false, true) => {
                let from = Place { address: source.addr(), port: source_port, ..place };
                Some((toward.other(), from))
            }
            (false, false) => None,
        }
        .filter(|(_, place)| place.port != 0)
    }

    /// The group in which a rule is asked for: the call's, or for a way out of a NAT that of the way in to where its packets
    /// come from. So they have the outside place of this call, whatever others have that place inside.
    pub(super) fn group_for(&self, index: usize) -> Option<Gid> {
        let Rule { pinhole, crossing, marks, .. } = self.rules[index];
        let usual = self.sites[usize::from(crossing)].group;
        let outward = self.crossing(crossing).hides(pinhole.toward.other()) && !marks.regrouped;
        let Some((side, place)) = self.place_inside(crossing, &pinhole).filter(|_| outward) else {
            return usual;
        };
        let leads_there = |rule: &&Rule| {
            let there = rule.pinhole.toward == side && rule.pinhole.place.covers(place);
            rule.crossing == crossing && rule.is_wanted() && there
        };
        self.rules.iter().find(leads_there).and_then(|rule| rule.group).or(usual)
    }

    /// Notes what a place is seen as. True if the other side has been told something else: then nothing can come there, or
    /// comes from where nobody expects it.
    pub(super) fn is_seen_elsewhere(&mut self, index: usize, outside: Option<Tuple>) -> bool {
        let Rule { pinhole, crossing, .. } = self.rules[index];
        let (Some(outside), Some((side, place))) = (outside, self.place_inside(crossing, &pinhole)) else {
            self.note_seen(index, outside);
            return false;
        };
        let seen_as = SocketAddr::new(outside.address(), outside.port);
        let known = self.rules.iter().filter(|rule| rule.is_wanted() && rule.pinhole.toward == side);
        let known = known.filter_map(|rule| disguised(rule.pinhole.place, rule.seen_as?));
        let promised = self.promised.iter().filter(|(of, _)| *of == side).map(|(_, promised)| *promised);
        let mut told = known.chain(promised).filter_map(|told| told.of(place.address, place.port));
        let differs = told.any(|told| told != seen_as);
        if !differs {
            self.note_seen(index, Some(outside));
        }
        differs
    }

    fn note_seen(&mut self, index: usize, outside: Option<Tuple>) {
        let Rule { pinhole, crossing, .. } = self.rules[index];
        let Some(outside) = outside.filter(|_| self.crossing(crossing).hides(pinhole.toward)) else { return };
        let seen_as = SocketAddr::new(outside.address(), outside.port);
        self.rules[index].seen_as = Some(seen_as);
        if let Some(promised) = disguised(pinhole.place, seen_as) {
            self.promised
                .retain(|(side, other)| (*side, other.place()) != (pinhole.toward, promised.place()));
            if self.promised.len() >= usize::from(self.terms.rules_max) {
                self.promised.remove(0);
            }
            self.promised.push((pinhole.toward, promised));
        }
    }

    /// A side describes these flows, or describes them again: it tells of the outside places that they have now.
    pub(super) fn tells_anew(&mut self, by: Side, flows: &Flows) {
        let is_told = |promised: &Disguised| {
            flows.iter().flat_map(places).any(|place| (place.address, place.port) == promised.place())
        };
        let rules = &self.rules;
        let stays = |promised: &Disguised| {
            let mut seen = rules.iter().filter(|rule| rule.is_wanted() && rule.pinhole.toward == by);
            seen.any(|rule| rule.seen_as == Some(promised.seen_as))
        };
        self.promised.retain(|(side, promised)| *side != by || !is_told(promised) || stays(promised));
    }

    /// What other early dialogs have a reservation for, if one of them could not make it into a pinhole: they were told of
    /// its outside place too.
    pub(super) fn place_of_others(&self, crossing: u8, pinhole: &Pinhole) -> Option<Pinhole> {
        let is_seen = self.crossing(crossing).hides(pinhole.toward) && self.is_undecided();
        let common = self.forks.as_deref().filter(|_| is_seen).map(|forks| &forks.common)?;
        let is_it = |(at, other): &&(u8, Pinhole)| *at == crossing && other.covers(pinhole);
        common.iter().find(is_it).map(|(_, other)| *other)
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

/// A place that is known, and what is seen instead of it.
fn disguised(place: Place, seen_as: SocketAddr) -> Option<Disguised> {
    let Place { address, port, range, .. } = place;
    (port != 0).then_some(Disguised { address, port, range, seen_as })
}
