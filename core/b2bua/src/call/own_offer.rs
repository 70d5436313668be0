//! INVITEs of our own inside a call: the refresh of a session, a stream that has lost its pinholes, a change that only
//! one peer knows of. `docs/calls.md` §3, §7; RFC 3261 §14.1, RFC 3264 §8, RFC 4028 §7.4.
//!
//! ```text
//!  owed ──the call is idle──► offered to one peer ──2xx as expected──► done
//!                                │ ▲      └──2xx that changes something──► owed to the other peer
//!                                │ └── 491: once more after a while
//!                                └── refused: a refresh is tried later, anything else ends the call
//! ```
//!
//! What is offered to a peer is always the other peer's description; one that has not changed keeps its `o=` line.

use sdp::Session;
use sip::message::{Message, Method};
use smallvec::SmallVec;

use super::Call;
use super::early::Pair;
use super::ending::Cut;
use super::invite::{Client, Invite, Offer, Server};
use super::pinholes::{Meaning, Prepared};
use super::restore::pause_after_491;
use super::signal::Signal;
use crate::context::{Context, Wake};
use crate::event::{Cause, Sip};
use crate::failure::Verdict;
use crate::leg::Sdp;
use crate::leg::body::Body;
use crate::side::Side;

/// How often a peer is asked if it has an INVITE of its own under way.
const ATTEMPTS_MAX: u8 = 2;
/// How often an answer that changes something becomes an offer to the other peer. Two that never agree are parted.
const ROUNDS_MAX: u8 = 3;

/// Streams by the position of their m-lines.
pub(super) type Streams = SmallVec<[u16; 4]>;

/// An offer of our own under way.
#[derive(Debug, Clone)]
pub(super) struct OwnOffer {
    why: Why,
    /// The other peer's description.
    text: Box<[u8]>,
    attempts: u8,
}

#[derive(Debug, Clone)]
enum Why {
    /// RFC 4028: nothing changes.
    Refresh,
    /// The peer must be told, or the call ends with this verdict.
    Change { rounds: u8, lost: Streams, verdict: Verdict },
}

/// Offers that wait until nothing else is under way.
#[derive(Debug, Clone, Default)]
pub(super) struct Owed {
    /// Streams have lost their pinholes; why the last of them did. Which the ledger knows.
    lost: Option<Verdict>,
    /// What a peer has to learn of the other.
    change: Option<(Side, OwnOffer)>,
}

impl OwnOffer {
    fn refreshes(&self) -> bool {
        match self.why {
            Why::Refresh => true,
            Why::Change { .. } => false,
        }
    }

    fn lost(&self) -> &[u16] {
        match &self.why {
            Why::Refresh => &[],
            Why::Change { lost, .. } => lost,
        }
    }
}

impl Call {
    /// True if nothing is under way that an offer of ours would meet.
    pub(super) fn is_idle(&self) -> bool {
        let open = self.invite.is_some() || self.open_offer(Side::A, Pair::Call).is_some();
        self.established.is_some() && self.ending.is_none() && !open
    }

    /// A stream lost its pinholes, and the call lives without it: both peers are told that it is over.
    pub(super) fn owe_loss(&mut self, verdict: Verdict) {
        self.owed.get_or_insert_default().lost = Some(verdict);
    }

    /// After every input: an offer that waits may leave.
    pub(crate) fn offer_owed(&mut self, ctx: &mut Context<'_>) {
        while self.owed.is_some() && self.is_idle() {
            let Some(owed) = self.owed.as_deref_mut() else { return };
            if let Some((to, own)) = owed.change.take() {
                self.offer(ctx, to, own);
            } else if let Some(verdict) = owed.lost.take() {
                self.offer_without(ctx, self.ledger.lost_streams(), verdict);
            } else {
                self.owed = None;
            }
        }
    }

    /// Offers a peer what it knows already, with port 0 for these streams, unless both know that.
    fn offer_without(&mut self, ctx: &mut Context<'_>, lost: Streams, verdict: Verdict) {
        for to in [Side::A, Side::B] {
            let Some(known) = self.legs[to].description.sent() else { continue };
            let Some(text) = without(&known, lost.iter().copied()).filter(|text| *text != known) else {
                continue;
            };
            let why = Why::Change { rounds: 0, lost, verdict };
            return self.offer(ctx, to, OwnOffer { why, text, attempts: 0 });
        }
    }

    /// A description without the streams that have lost their pinholes, and which those are.
    pub(super) fn without_lost(&self, text: &[u8]) -> (Box<[u8]>, Streams) {
        let lost = self.ledger.lost_streams();
        (without(text, lost.iter().copied()).unwrap_or_else(|| text.into()), lost)
    }

    /// The other peer has been told that streams are over: this one is to be told as well.
    pub(super) fn owe_without(&mut self, to: Side, lost: Streams, verdict: Verdict) {
        let Some(known) = self.legs[to].description.sent() else { return };
        let Some(text) = without(&known, lost.iter().copied()).filter(|text| *text != known) else { return };
        let why = Why::Change { rounds: 0, lost, verdict };
        self.owed.get_or_insert_default().change = Some((to, OwnOffer { why, text, attempts: 0 }));
    }

    /// The session of a leg is refreshed by offering again what its peer knows; false if it knows nothing.
    pub(super) fn offer_again_unchanged(&mut self, ctx: &mut Context<'_>, to: Side) -> bool {
        let Some(text) = self.legs[to].description.sent() else { return false };
        self.offer(ctx, to, OwnOffer { why: Why::Refresh, text, attempts: 0 });
        true
    }

    fn offer(&mut self, ctx: &mut Context<'_>, to: Side, own: OwnOffer) {
        let from = to.other();
        let mut invite = Invite::with(from, (Offer::InInvite, false), Server::Done);
        invite.own = Some(Box::new(own));
        self.invite = Some(Box::new(invite));
        self.submit(ctx, from, Signal::Try);
    }

    /// Its pinholes are there: it leaves.
    pub(super) fn send_own_offer(&mut self, ctx: &mut Context<'_>) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let to = invite.from.other();
        let Some(own) = invite.own.as_deref_mut() else { return };
        invite.timer = None;
        own.attempts = own.attempts.saturating_add(1);
        let leg = &mut self.legs[to];
        let hop = leg.next_hop(ctx.config);
        let Some(builder) = leg.request(&Method::Invite, None) else {
            return self.end_own_offer(ctx, None);
        };
        let builder = leg.contact(ctx.config, builder);
        let builder = self.session_id.write(builder, to);
        let (builder, sdp) = leg.describe(ctx.config, builder, &own.text, Sdp::Passes);
        leg.session.refreshing();
        let sip = Sip { sdp, ..Sip::new(&Method::Invite, 0) };
        let key = ctx.request(self.to(to), None, hop, builder, sip);
        self.called(ctx, key);
    }

    /// What it needs: pinholes, if it changes something.
    pub(super) fn prepare_own_offer(&mut self, ctx: &mut Context<'_>, from: Side) -> Prepared {
        match self.own_offer().filter(|own| !own.refreshes()).map(|own| own.text.clone()) {
            Some(text) => self.step_text(ctx, from, &text, Meaning::Offer),
            None => Prepared::Ready,
        }
    }

    /// What the answer to it needs.
    pub(super) fn prepare_own_answer(
        &mut self,
        ctx: &mut Context<'_>,
        by: Side,
        message: &Message,
    ) -> Prepared {
        let refreshes = self.own_offer().is_some_and(OwnOffer::refreshes);
        let Some(text) = self.own_answer(message) else {
            // Whoever does not repeat what it said goes on as before.
            return if refreshes { Prepared::Ready } else { self.step(ctx, by, message, Meaning::Answer) };
        };
        match refreshes && self.legs[by.other()].has_sent(ctx.config, &text) {
            true => Prepared::Ready,
            false if text.len() > ctx.config.limits.sdp_bytes => self.step(ctx, by, message, Meaning::Answer),
            false => self.step_text(ctx, by, &text, Meaning::Answer),
        }
    }

    /// The description in an answer to it, without the streams that are lost or that it has turned off, whatever the peer wrote.
    //= RFC 3264 §6: what the offer has turned off stays off: the other peer would else be offered what nobody has asked for.
    fn own_answer(&self, message: &Message) -> Option<Box<[u8]>> {
        let Body::Description(text) = Body::of(message) else { return None };
        let own = self.own_offer()?;
        let offer = Session::parse(&own.text).ok()?;
        let gone = own.lost().iter().copied().chain(self.ledger.lost_streams());
        without(text, gone.chain(sdp::turned_off(&offer)))
    }

    /// The peer has accepted. Whatever it has changed the other one has to know.
    pub(super) fn own_offer_answered(&mut self, ctx: &mut Context<'_>, message: &Message) {
        let text = self.own_answer(message);
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let (to, Some(own)) = (invite.from, invite.own.take()) else { return };
        self.complete_exchange(ctx, Pair::Call);
        self.send_ack(ctx, None);
        let Some(text) = text.filter(|text| !self.legs[to].has_sent(ctx.config, text)) else { return };
        let (rounds, lost, verdict) = match own.why {
            Why::Refresh => {
                (0, Streams::new(), Verdict::plain(488, "what the other side has changed is refused"))
            }
            Why::Change { rounds, lost, verdict } => (rounds + 1, lost, verdict),
        };
        if rounds >= ROUNDS_MAX {
            return self.cut(ctx, Cut { cause: Cause::Cut(verdict.code), verdict });
        }
        let why = Why::Change { rounds, lost, verdict };
        self.owed.get_or_insert_default().change = Some((to, OwnOffer { why, text, attempts: 0 }));
    }

    /// The peer refuses, or (`None`) nothing was heard of it.
    pub(super) fn on_own_offer_refused(&mut self, ctx: &mut Context<'_>, message: Option<&Message>) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let (to, again) =
            (invite.from.other(), invite.own.as_ref().is_some_and(|own| own.attempts < ATTEMPTS_MAX));
        invite.client = Client::Idle;
        match message.map(|message| (message, message.status())) {
            Some((message, 422)) if self.legs[to].session.too_small(message) => {
                self.submit(ctx, to.other(), Signal::Try);
            }
            //= RFC 3261 §14.1: the other side is offering as well; a refresh is postponed by its timer.
            Some((_, 491)) if again && !self.own_offer().is_some_and(OwnOffer::refreshes) => {
                let pause = pause_after_491(ctx, to);
                let timer = ctx.wake(self.id, pause, Wake::OfferAgain);
                if let Some(invite) = self.invite.as_deref_mut() {
                    invite.timer = Some(timer);
                }
            }
            _ => self.end_own_offer(ctx, message),
        }
    }

    /// It came to nothing.
    pub(super) fn end_own_offer(&mut self, ctx: &mut Context<'_>, message: Option<&Message>) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let (to, Some(own)) = (invite.from.other(), invite.own.take()) else { return };
        let unanswered = message.is_none() || message.is_some_and(|message| message.status() == 408);
        match own.why {
            Why::Refresh => {
                invite.client = Client::Done;
                self.settle_invite(ctx);
                self.on_refresh_failed(ctx, to, message);
            }
            Why::Change { .. } if message.is_some_and(|message| message.status() == 481) => {
                self.on_peer_gone(ctx, to);
            }
            Why::Change { .. } if unanswered => {
                let verdict = Verdict::plain(408, "the other side does not answer");
                self.cut(ctx, Cut { cause: Cause::Cut(408), verdict });
            }
            Why::Change { verdict, .. } => self.cut(ctx, Cut { cause: Cause::Cut(verdict.code), verdict }),
        }
    }

    /// What it needs is not to be had, or the answer to it may not pass.
    pub(super) fn refuse_own_offer(&mut self, ctx: &mut Context<'_>, verdict: Verdict) {
        self.cut(ctx, Cut { cause: Cause::Cut(verdict.code), verdict });
    }

    /// The one under way.
    pub(super) fn own_offer(&self) -> Option<&OwnOffer> {
        self.invite.as_deref().and_then(|invite| invite.own.as_deref())
    }
}

/// A description with port 0 for these streams.
//= RFC 3264 §8.2: an m-line is never taken out, its port becomes 0.
fn without(text: &[u8], lost: impl Iterator<Item = u16>) -> Option<Box<[u8]>> {
    let session = Session::parse(text).ok()?;
    let there = lost.filter(|stream| *stream < session.streams());
    Some(there.fold(session.patch(), |patch, stream| patch.port(stream, 0)).finish().into())
}
