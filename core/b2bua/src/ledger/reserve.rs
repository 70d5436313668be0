//! Places taken before anybody knows which: `docs/calls.md` §5, "plain | plain".
//!
//! Before the INVITE leaves, every middlebox reserves one rule for each stream (PRR), beside the rules the offer needs
//! and in the same step, so no round trip is added. That proves the session, the agent's rights, the protocol and
//! the room, at a time when nobody has rung. The answer makes the reservations into its rules (PEA); what it has no use
//! for is closed with the exchange.

use machine::Instant;
use sdp::{Flows, MediaFlow, Protocol, Refusal, Setup};

use super::exchange::{Missing, is_bundled};
use super::pinhole::Pinhole;
use super::rule::{Marks, State};
use super::{Ledger, Out, RequestIds, Step};
use crate::side::Side;

impl Ledger {
    /// An INVITE without an offer: what its stream will be is not known, so one with RTP and RTCP is reserved.
    pub(super) fn on_no_offer(
        &mut self,
        now: Instant,
        by: Side,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Result<Step, Refusal> {
        let reservations = self.reservations(by, None);
        if reservations.is_empty() {
            self.unreserved = false;
            return Ok(Step::Ready);
        }
        self.has_room(reservations.len())?;
        self.reserve_all(now, reservations, ids, out);
        Ok(self.step())
    }

    /// What is to be reserved toward the callee: once in a call, with its first INVITE.
    pub(super) fn reservations(&self, by: Side, offer: Option<&Flows>) -> Missing {
        let mut all = Missing::new();
        if !self.unreserved {
            return all;
        }
        let toward = by.other();
        for crossing in 0..self.terms.path.len() as u8 {
            let at = self.crossing(crossing);
            // Toward the outside of a NAT a reservation would take a port that no answer needs.
            if !(self.terms.reserve || at.hides(toward)) || at.hides(by) {
                continue;
            }
            match offer {
                Some(offer) => all.extend(offer.iter().filter(|flow| needs_one(flow, offer)).map(|flow| {
                    let MediaFlow { stream, protocol, address, rtcp, .. } = *flow;
                    let range = 1 + u16::from(rtcp.is_some());
                    (crossing, Pinhole::unplaced(stream, toward, protocol, address.is_ipv4(), range))
                })),
                None => {
                    let networks = &self.terms.realms[toward].media.networks;
                    let v4 = networks.iter().any(|network| network.addr().is_ipv4());
                    all.push((crossing, Pinhole::unplaced(0, toward, Protocol::Udp, v4, 2)));
                }
            }
        }
        all
    }

    /// PRR for each; the step that waits needs them.
    pub(super) fn reserve_all(
        &mut self,
        now: Instant,
        reservations: Missing,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) {
        self.unreserved = false;
        for (crossing, pinhole) in reservations {
            // One that would be made when it is back is of no use any more by then.
            if self.is_stood_in_at(crossing) {
                continue;
            }
            let index = self.push(now, crossing, pinhole, Marks { held: true, ..Marks::default() });
            self.reserve(index, ids, out);
        }
    }

    /// Makes a reservation into the pinhole if there is one, or adds a rule.
    pub(super) fn fill(
        &mut self,
        now: Instant,
        crossing: u8,
        pinhole: Pinhole,
        marks: Marks,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) {
        let reservation = self.reservation(crossing, &pinhole).map(|index| (index, self.rules[index].state));
        if let Some((index, State::Reserved(prid))) = reservation
            && self.may_open(crossing, &pinhole)
        {
            self.rules[index].marks.held |= marks.held;
            return self.enable_reserved(index, prid, pinhole, ids, out);
        }
        self.add(now, crossing, pinhole, marks, ids, out);
    }

    /// Gives the pinhole's place to a reservation that has none yet; true if one has it now, or had it before.
    pub(super) fn is_reserved(&mut self, crossing: u8, pinhole: &Pinhole) -> bool {
        let index = self.reservation(crossing, pinhole);
        if let Some(index) = index {
            self.rules[index].pinhole = *pinhole;
        }
        index.is_some()
    }

    /// The reservation of a pinhole's place, or else one that will do for it.
    fn reservation(&self, crossing: u8, pinhole: &Pinhole) -> Option<usize> {
        let beside = |index: &usize| {
            let rule = &self.rules[*index];
            rule.crossing == crossing && rule.is_reservation() && rule.pinhole.is_beside(pinhole)
        };
        let mut all = (0..self.rules.len()).filter(beside);
        let placed = all.clone().find(|index| self.rules[*index].pinhole.place == pinhole.place);
        placed.or_else(|| all.find(|index| self.rules[*index].pinhole.would_do_for(pinhole)))
    }
}

/// True if the answer to a flow will need a way to the answerer: not for a candidate beside others of its stream, nor
/// for a stream without a transport of its own, nor where the answerer will open the connection.
fn needs_one(flow: &MediaFlow, offer: &Flows) -> bool {
    !flow.ice.is_candidate() && !is_bundled(flow, offer) && flow.setup != Setup::Passive
}
