//! A re-INVITE that was answered, and whose answer may not pass: the offerer keeps what it had, and the answerer, which
//! believes in the new descriptions, is brought back by a re-INVITE of our own. `docs/calls.md` §4; RFC 3261 §14.1.

use std::time::Duration;

use sdp::Session;
use sip::message::Method;

use super::Call;
use super::early::Pair;
use super::ending::Cut;
use super::invite::{Client, Invite, Offer, Server};
use super::own_offer::Streams;
use crate::context::{Context, Wake};
use crate::event::{Cause, Sip};
use crate::failure::Verdict;
use crate::ledger::Step;
use crate::side::Side;

/// How often the answerer is asked if it has an INVITE of its own under way.
pub(super) const ATTEMPTS_MAX: u8 = 2;

/// What the answerer is brought back to.
#[derive(Debug, Clone)]
pub(super) struct Restore {
    /// The description it had of the offerer.
    before: Box<[u8]>,
    /// Why its answer did not pass: what both are told if it will not go back.
    verdict: Verdict,
    attempts: u8,
    /// Streams without pinholes: nobody is brought back to them.
    lost: Streams,
}

impl Call {
    /// The offerer gets a failure, the answerer its ACK and the offerer's previous description.
    pub(super) fn restore(&mut self, ctx: &mut Context<'_>, before: Box<[u8]>, verdict: Verdict) {
        let Some(from) = self.invite.as_ref().map(|invite| invite.from) else { return };
        self.fail_invite(ctx, &verdict);
        self.abandon_exchange(ctx);
        self.send_ack(ctx, None);
        self.begin_restore(ctx, from, before, verdict);
    }

    /// A re-INVITE of our own with what the other side had of `from`.
    pub(super) fn begin_restore(
        &mut self,
        ctx: &mut Context<'_>,
        from: Side,
        before: Box<[u8]>,
        verdict: Verdict,
    ) {
        let mut invite = Invite::with(from, (Offer::InInvite, false), Server::Done);
        invite.restore = Some(Restore { before, verdict, attempts: 0, lost: Streams::new() });
        self.invite = Some(Box::new(invite));
        self.offer_again(ctx);
    }

    /// The previous description goes out, if everything it needs is still there.
    pub(super) fn offer_again(&mut self, ctx: &mut Context<'_>) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let (from, to) = (invite.from, invite.from.other());
        let Some(restore) = &mut invite.restore else { return };
        invite.timer = None;
        restore.attempts += 1;
        let before = restore.before.clone();
        let (before, lost) = self.without_lost(&before);
        self.note_lost(lost);
        let ready = self.offers_at_once(ctx, from, &before);
        let Some(session) = Session::parse(&before).ok().filter(|_| ready) else {
            return self.cannot_restore(ctx);
        };
        let leg = &mut self.legs[to];
        let hop = leg.next_hop(ctx.config);
        let Some(builder) = leg.request(&Method::Invite, None) else { return self.cannot_restore(ctx) };
        let builder = leg.contact(ctx.config, builder);
        let builder = self.session_id.write(builder, to);
        let builder = leg.describe_again(ctx.config, builder, &session);
        let sip = Sip { sdp: true, ..Sip::new(&Method::Invite, 0) };
        let key = ctx.request(self.to(to), None, hop, builder, sip);
        self.called(ctx, key);
    }

    /// The answerer is back: acknowledged, and nobody else hears of it.
    pub(super) fn restored(&mut self, ctx: &mut Context<'_>) {
        let restored = self.invite.as_deref().and_then(|invite| {
            let Restore { lost, verdict, .. } = invite.restore.as_ref()?;
            Some((invite.from, lost.clone(), verdict.clone()))
        });
        self.complete_exchange(ctx, Pair::Call);
        self.send_ack(ctx, None);
        if let Some((from, lost, verdict)) = restored {
            self.owe_without(from, lost, verdict);
        }
    }

    fn note_lost(&mut self, lost: Streams) {
        if let Some(restore) = self.invite.as_deref_mut().and_then(|invite| invite.restore.as_mut()) {
            restore.lost = lost;
        }
    }

    /// The answerer will not, or cannot, go back: each side is left with a description that the other does not have.
    pub(super) fn cannot_restore(&mut self, ctx: &mut Context<'_>) {
        let Some(restore) = self.invite.as_deref_mut().and_then(|invite| invite.restore.take()) else {
            return;
        };
        let verdict = restore.verdict;
        self.cut(ctx, Cut { cause: Cause::Cut(verdict.code), verdict });
    }

    /// The answerer refuses our re-INVITE; with 491 it is asked once more.
    pub(super) fn on_restore_refused(&mut self, ctx: &mut Context<'_>, status: u16) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let to = invite.from.other();
        let again = invite.restore.as_ref().is_some_and(|restore| restore.attempts < ATTEMPTS_MAX);
        if status != 491 || !again {
            return self.cannot_restore(ctx);
        }
        invite.client = Client::Idle;
        let pause = pause_after_491(ctx, to);
        invite.timer = Some(ctx.wake(self.id, pause, Wake::OfferAgain));
    }

    /// True while a re-INVITE of our own is under way.
    pub(super) fn is_restoring(&self) -> bool {
        self.invite.as_deref().is_some_and(|invite| invite.restore.is_some())
    }

    /// Offers a side's earlier description; true if everything it needs is still there.
    pub(super) fn offers_at_once(&mut self, ctx: &mut Context<'_>, from: Side, text: &[u8]) -> bool {
        let Ok(session) = Session::parse(text) else { return false };
        let (ids, out) = (&mut ctx.shared.ids, &mut ctx.shared.requests);
        let step = self.ledger.offered(ctx.now, from, &session, ids, out);
        self.ask(ctx);
        step == Ok(Step::Ready)
    }
}

/// How long a request of ours with an offer waits before it is sent to a side once more.
//= RFC 3261 §14.1, RFC 3311 §5.3: 2.1 to 4 s if the Call-ID is ours, else 0 to 2 s, in steps of 10 ms.
pub(super) fn pause_after_491(ctx: &mut Context<'_>, to: Side) -> Duration {
    let steps = match to {
        Side::B => 210 + ctx.shared.rng.below(191),
        Side::A => ctx.shared.rng.below(201),
    };
    Duration::from_millis(10 * steps)
}
