//! The sessions of both legs: refreshed, watched, ended. `docs/calls.md` §7; RFC 4028 §7.4, §10, RFC 3311 §5.
//!
//! A leg's session timer says when something is due; here it becomes requests. A refresh of ours is an UPDATE without
//! a description if the peer takes it, otherwise an INVITE with what the peer knows already ([`super::own_offer`]).

use std::time::Duration;

use machine::{Instant, TimerId};
use sip::message::{Builder, Message, Method, Name};

use super::early::Pair;
use super::ending::Cut;
use super::invite::Client;
use super::own::{Outcome, Purpose};
use super::restore::pause_after_491;
use super::{Call, Request};
use crate::context::{Context, Wake};
use crate::event::{Cause, Sip};
use crate::failure::Verdict;
use crate::leg::session_timer::Due;
use crate::side::Side;

/// How much longer than the session its rules may live.
const GRACE: Duration = Duration::from_secs(32);

impl Call {
    /// A side's 2xx to an INVITE or UPDATE of ours.
    pub(super) fn session_accepted(&mut self, ctx: &mut Context<'_>, side: Side, response: &Message) {
        self.legs[side].session.accepted(ctx.now, response);
        self.time_session(ctx, side);
    }

    /// Writes what our 2xx to a side's INVITE or UPDATE says of its session.
    pub(super) fn answer_session(
        &mut self,
        ctx: &mut Context<'_>,
        side: Side,
        builder: Builder,
        request: &Message,
    ) -> Builder {
        let builder = self.legs[side].session.answer(ctx.now, builder, request);
        self.time_session(ctx, side);
        builder
    }

    /// Sets the timer to what is due next, and lets the rules live as long as the sessions.
    pub(super) fn time_session(&mut self, ctx: &mut Context<'_>, side: Side) {
        if self.ending.is_some() {
            // There are no sessions any more; what they allowed is the limit until the rules are closed.
            return;
        }
        let leg = &mut self.legs[side];
        let next = leg.session.next().map(|(at, _)| at);
        if leg.session_wake.map(TimerId::at) != next {
            ctx.stop(&mut leg.session_wake);
            leg.session_wake = next.map(|at| ctx.wake(self.id, at.since(ctx.now), Wake::Session(side)));
        }
        let end = |side: Side| self.legs[side].session.expires();
        let first: Option<Instant> = end(Side::A).into_iter().chain(end(Side::B)).min();
        self.ledger.live_until(first.map(|at| at + GRACE));
    }

    /// The call ends: nothing is refreshed any more.
    pub(super) fn stop_sessions(&mut self, ctx: &mut Context<'_>) {
        for side in [Side::A, Side::B] {
            let leg = &mut self.legs[side];
            leg.session.stop();
            ctx.stop(&mut leg.session_wake);
        }
    }

    pub(super) fn on_session_due(&mut self, ctx: &mut Context<'_>, side: Side) {
        self.legs[side].session_wake = None;
        match self.legs[side].session.next() {
            Some((at, Due::Refresh)) if at <= ctx.now => self.refresh(ctx, side),
            //= RFC 4028 §10: nobody has refreshed the session.
            Some((at, Due::Expired)) if at <= ctx.now => self.on_session_lost(ctx),
            Some(_) | None => {}
        }
        self.time_session(ctx, side);
    }

    fn refresh(&mut self, ctx: &mut Context<'_>, side: Side) {
        if !self.is_idle() {
            // What is under way refreshes this leg as well, if it goes well.
            let at = ctx.now + pause_after_491(ctx, side);
            return self.legs[side].session.postpone(at);
        }
        let by_invite = !self.legs[side].session.takes_update();
        if !by_invite || !self.offer_again_unchanged(ctx, side) {
            self.refresh_by_update(ctx, side);
        }
    }

    //= RFC 4028 §7.4: without an offer.
    fn refresh_by_update(&mut self, ctx: &mut Context<'_>, side: Side) {
        let to = (side, Pair::Call);
        let Some((builder, hop)) = self.request_in(ctx, to, &Method::Update, None) else { return };
        let leg = &mut self.legs[side];
        leg.session.refreshing();
        let builder = leg.contact(ctx.config, builder);
        self.send_own(ctx, to, (builder, hop), Sip::new(&Method::Update, 0), Purpose::Refresh);
    }

    /// An UPDATE of ours is answered, or will not be.
    pub(super) fn on_refreshed(&mut self, ctx: &mut Context<'_>, side: Side, outcome: Outcome) {
        match outcome {
            Ok(message) if message.status() < 300 => {
                if let Some(dialog) = &mut self.legs[side].dialog {
                    // A Contact that cannot be read leaves the peer where it was.
                    let _unreadable = dialog.refresh(&message);
                }
                self.session_accepted(ctx, side, &message);
            }
            refused => self.on_refresh_failed(ctx, side, refused.ok().as_ref()),
        }
    }

    /// Answers an INVITE or UPDATE whose interval is too short; says whether it was.
    pub(super) fn refuses_interval(&mut self, ctx: &mut Context<'_>, from: Side, request: &Request) -> bool {
        let Err(minimum_s) = self.legs[from].session.asked_by_peer(&request.message) else { return false };
        //= RFC 4028 §9: with the shortest that we take.
        self.refuse_request(ctx, from, request, 422, &[(Name::MinSe, &minimum_s.to_string())]);
        true
    }

    /// True for an UPDATE that says nothing to the other peer, which would not take it.
    pub(super) fn refreshes_only(&self, from: Side, update: &Message) -> bool {
        let other = &self.legs[from.other()].session;
        self.legs[from].session.is_on() && update.body().is_empty() && other.is_on() && !other.takes_update()
    }

    /// A peer's own refresh that the other one need not or cannot hear of.
    pub(super) fn answer_refresh(&mut self, ctx: &mut Context<'_>, side: Side, request: &Request) {
        let builder = self.response_in(side, &request.message, 200);
        if let Some(dialog) = &mut self.legs[side].dialog {
            // A Contact that cannot be read leaves the peer where it was.
            let _unreadable = dialog.refresh(&request.message);
        }
        let builder = self.legs[side].contact(ctx.config, builder);
        let builder = self.answer_session(ctx, side, builder, &request.message);
        ctx.respond(self.to(side), request.key, builder, Sip::new(&Method::Update, 200));
    }

    /// A refresh of ours is refused, or (`None`) nothing was heard of it.
    pub(super) fn on_refresh_failed(&mut self, ctx: &mut Context<'_>, side: Side, message: Option<&Message>) {
        let session = &mut self.legs[side].session;
        match message.map(|message| (message, message.status())) {
            //= RFC 4028 §10: silence and 408 end the session.
            None | Some((_, 408)) => return self.on_session_lost(ctx),
            Some((_, 481)) => return self.on_peer_gone(ctx, side),
            Some((message, 422)) if session.too_small(message) => self.refresh(ctx, side),
            Some((_, 405 | 501)) if session.takes_update() => {
                session.update_refused();
                self.refresh(ctx, side);
            }
            Some((_, 491)) => {
                let at = ctx.now + pause_after_491(ctx, side);
                session.postpone(at);
            }
            Some((message, _)) => {
                let after = message.retry_after().ok().flatten();
                session.refused(ctx.now, after.map(|after| Duration::from_secs(after.delay_s.into())));
            }
        }
        self.time_session(ctx, side);
    }

    /// A leg's session was not refreshed in time: both sides are told that the call is over.
    pub(super) fn on_session_lost(&mut self, ctx: &mut Context<'_>) {
        let verdict = Verdict::new(408, "session not refreshed", "");
        self.cut(ctx, Cut { cause: Cause::Cut(408), verdict });
    }

    /// A 422 of the side that gets the INVITE under way: it is asked once more, and nobody else hears of it.
    //= RFC 4028 §7.3: a new transaction with the next CSeq.
    pub(super) fn asks_longer(&mut self, ctx: &mut Context<'_>, message: &Message) -> bool {
        let Some(invite) = self.invite.as_deref_mut() else { return false };
        let to = invite.from.other();
        let open = matches!(invite.client, Client::Calling { .. } | Client::Proceeding { .. });
        if message.status() != 422 || !open || !self.legs[to].session.too_small(message) {
            return false;
        }
        ctx.stop(&mut invite.timer);
        invite.client = Client::Idle;
        match invite.is_initial() {
            true => self.call_for_longer(ctx),
            false => self.send_reinvite(ctx),
        }
        true
    }

    /// The early dialogs are gone with the INVITE that was refused; what we have put in is put in anew.
    fn call_for_longer(&mut self, ctx: &mut Context<'_>) {
        self.forget_early(ctx, 422);
        if self.inserted_type().is_some() {
            self.offer_anew();
        }
        let hop = self.legs.b.hop;
        self.call_again(ctx, hop);
    }
}
