//! INVITEs that fail: by the peer's final failure, by silence, or because we refuse to pass something on.

use sip::endpoint::ClientFailure;
use sip::message::{Builder, Message, Method, Name};

use super::Call;
use super::early::Pair;
use super::ending::{Cut, End};
use super::invite::Client;
use super::offer::Stage;
use super::redirect::Failure;
use crate::context::Context;
use crate::event::{Cause, Sip};
use crate::failure::{Verdict, phrase};
use crate::leg::Sdp;
use crate::leg::carried::Carried;
use crate::side::Side;

impl Call {
    /// A final failure of the callee.
    pub(super) fn on_invite_refused(&mut self, ctx: &mut Context<'_>, message: Message) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        if self.ending.is_none() && invite.own.is_none() && self.asks_longer(ctx, &message) {
            return;
        }
        let Some(invite) = self.invite.as_deref_mut() else { return };
        invite.client = Client::Done;
        ctx.stop(&mut invite.timer);
        let (from, initial) = (invite.from, invite.is_initial());
        if self.ending.is_some() {
            self.proceed(ctx);
            return self.settle_invite(ctx);
        }
        if self.own_offer().is_some() {
            return self.on_own_offer_refused(ctx, Some(&message));
        }
        if self.is_restoring() {
            return self.on_restore_refused(ctx, message.status());
        }
        if initial && self.offers_less(ctx, &message) {
            return;
        }
        if initial {
            return self.on_target_failed(ctx, Failure::Heard(message));
        }
        self.relay_failure(ctx, &message, &[]);
        self.abandon_invite(ctx);
        if message.status() == 481 {
            self.on_peer_gone(ctx, from.other());
        }
    }

    /// The callee's failure goes on at once, with the challenges of others; what was held is of no use any more.
    fn relay_failure(&mut self, ctx: &mut Context<'_>, message: &Message, challenges: &[Message]) -> u16 {
        let Some(invite) = self.invite.as_deref_mut() else { return 0 };
        let from = invite.from;
        let Some((key, request)) = invite.server.take_proceeding() else { return 0 };
        self.drop_held_invite(ctx);
        self.stop_provisional(ctx);
        let carried = Carried::new(message);
        let (status, words) = match carried.status() {
            //= RFC 3261 §16.7 step 6: a 503 of one server is not a 503 of ours.
            (503, _) => (500, phrase(500).to_owned()),
            other => other,
        };
        let leg = &mut self.legs[from];
        let builder = Builder::response_to(&request, status, &words, Some(leg.tag.text().as_str()));
        let builder = self.session_id.write(builder, from);
        let (builder, _) = leg.carry(ctx.config, builder, carried, Sdp::Stays);
        let builder = challenges.iter().fold(builder, |builder, other| {
            builder.copy(other, Name::WwwAuthenticate).copy(other, Name::ProxyAuthenticate)
        });
        ctx.shared.servers.remove(&key);
        ctx.respond(self.to(from), key, builder, Sip::new(&Method::Invite, status));
        status
    }

    /// Nobody answered the INVITE, or it could not be delivered.
    pub(super) fn on_invite_unanswered(&mut self, ctx: &mut Context<'_>, why: ClientFailure) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        invite.client = Client::Done;
        ctx.stop(&mut invite.timer);
        let initial = invite.is_initial();
        if self.ending.is_some() {
            self.proceed(ctx);
            return self.settle_invite(ctx);
        }
        if self.is_restoring() {
            return self.cannot_restore(ctx);
        }
        if self.own_offer().is_some() {
            return self.on_own_offer_refused(ctx, None);
        }
        let verdict = match why {
            ClientFailure::Timeout => Verdict::plain(408, "the other side does not answer"),
            //= RFC 3261 §16.9: a transport error counts as 503, which is not passed on as such.
            ClientFailure::Transport => Verdict::plain(500, "the other side cannot be reached"),
        };
        if initial {
            return self.on_target_failed(ctx, Failure::Silent(verdict));
        }
        self.fail_invite(ctx, &verdict);
        self.abandon_invite(ctx);
    }

    /// Who was called will not answer: somebody else is called, or the caller is told.
    fn on_target_failed(&mut self, ctx: &mut Context<'_>, failure: Failure) {
        self.remember_failure(ctx, &failure);
        let is_tried = self.try_next_place(ctx, &failure)
            || self.try_next_contact(ctx, &failure)
            || self.try_another(ctx, &failure);
        if !is_tried {
            self.fail_with(ctx, failure);
        }
    }

    /// The call fails with the best failure of all who were called, the last of which is this.
    pub(super) fn fail_with(&mut self, ctx: &mut Context<'_>, last: Failure) {
        let (best, challenges) = self.best_failure().unwrap_or((last, Vec::new()));
        match best {
            Failure::Heard(message) => {
                let status = self.relay_failure(ctx, &message, &challenges);
                self.end(ctx, End::quiet(Cause::Refused(status)));
            }
            Failure::Silent(verdict) => {
                self.fail_invite(ctx, &verdict);
                self.end(ctx, End::refused(&verdict));
            }
        }
    }

    /// Whoever is called rings for too long: somebody else is called, or the caller is told.
    fn on_target_rings_on(&mut self, ctx: &mut Context<'_>, verdict: Verdict) {
        if self.has_another() {
            self.leave_behind(ctx, verdict.reason());
            return self.on_target_failed(ctx, Failure::Silent(verdict));
        }
        self.note_failure(verdict.clone());
        if let Some((Failure::Heard(message), challenges)) = self.best_failure() {
            let status = self.relay_failure(ctx, &message, &challenges);
            let reason = Some(verdict.reason());
            return self.end(ctx, End { reason, ..End::quiet(Cause::Refused(status)) });
        }
        self.cut(ctx, Cut { cause: Cause::Refused(408), verdict });
    }

    //= RFC 3261 §16.8: timer C without a final response: CANCEL after a provisional one, and 408 upstream.
    pub(super) fn on_timer_c(&mut self, ctx: &mut Context<'_>) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        invite.timer = None;
        if invite.restore.is_some() {
            return self.cannot_restore(ctx);
        }
        if invite.own.is_some() {
            return self.on_session_lost(ctx);
        }
        let initial = invite.is_initial();
        let verdict = Verdict::plain(408, "no final response");
        if initial {
            return self.on_target_rings_on(ctx, verdict);
        }
        self.fail_invite(ctx, &verdict);
        self.cancel_client(ctx, Some(verdict.reason()), None);
        self.abandon_invite(ctx);
    }

    /// The offer may not pass: figure 4, or the call goes on as before.
    pub(super) fn refuse_try(&mut self, ctx: &mut Context<'_>, verdict: Verdict) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let initial = invite.is_initial();
        if invite.own.is_some() {
            return self.refuse_own_offer(ctx, verdict);
        }
        self.fail_invite(ctx, &verdict);
        if initial {
            return self.end(ctx, End::refused(&verdict));
        }
        self.abandon_invite(ctx);
    }

    /// An INVITE inside the call came to nothing; the call goes on as before.
    pub(super) fn abandon_invite(&mut self, ctx: &mut Context<'_>) {
        if let Some(invite) = self.invite.as_deref_mut()
            && matches!(invite.client, Client::Idle)
        {
            invite.client = Client::Done;
        }
        //= RFC 6141 §3.3: what was agreed on inside the INVITE stays, unless it still waits for its preconditions.
        let open = matches!(self.stage(Pair::Call), Some(Stage::Offered | Stage::Returned));
        if open || self.is_suspended() {
            self.abandon_exchange(ctx);
        }
        self.settle_invite(ctx);
    }

    //= RFC 3261 §12.2.1.2: 481 means that the peer has no such dialog any more.
    pub(super) fn on_peer_gone(&mut self, ctx: &mut Context<'_>, gone: Side) {
        let verdict = Verdict::plain(481, "the other side has no such call");
        let (why, reason) = (verdict.words(), Some(verdict.reason()));
        self.end(
            ctx,
            End { cause: Cause::Cut(481), why, reason, failed: None, passed_on: None, spared: Some(gone) },
        );
    }
}
