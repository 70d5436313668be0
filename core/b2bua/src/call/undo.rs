//! The answer to an UPDATE may not pass: its sender keeps what it had, and whoever has answered is brought back. In a call
//! without an INVITE under way that is a restoring re-INVITE; else an UPDATE of our own. `docs/calls.md` §4; RFC 3311 §5.3.

use sdp::Session;
use sip::message::Method;

use super::Call;
use super::early::Pair;
use super::ending::Cut;
use super::own::{Outcome, Purpose};
use super::own_offer::Streams;
use super::restore::{ATTEMPTS_MAX, pause_after_491};
use crate::context::Context;
use crate::event::{Cause, Sip};
use crate::failure::Verdict;
use crate::side::Side;

/// What a side is brought back to.
#[derive(Debug, Clone)]
pub(super) struct Undo {
    /// Who offered what is undone.
    from: Side,
    /// The description of it that the other side had.
    before: Box<[u8]>,
    /// Why the answer did not pass: what both are told if the answerer will not go back.
    verdict: Verdict,
    attempts: u8,
    /// Streams without pinholes: nobody is brought back to them.
    lost: Streams,
}

impl Call {
    /// The answer to an offer of `from` could not pass: whoever gave it is brought back to what it had.
    pub(super) fn undo(
        &mut self,
        ctx: &mut Context<'_>,
        (from, pair): (Side, Pair),
        before: Option<Box<[u8]>>,
        verdict: Verdict,
    ) {
        match before {
            Some(before) if self.invite.is_none() => self.begin_restore(ctx, from, before, verdict),
            Some(before) => self.undo_by_update(
                ctx,
                pair,
                Undo { from, before, verdict, attempts: 0, lost: Streams::new() },
            ),
            None => self.cannot_undo(ctx, verdict),
        }
    }

    /// The previous description goes out, if everything it needs is still there.
    pub(super) fn undo_by_update(&mut self, ctx: &mut Context<'_>, pair: Pair, mut undo: Undo) {
        let to = (undo.from.other(), pair);
        undo.attempts += 1;
        (undo.before, undo.lost) = self.without_lost(&undo.before);
        let ready = self.turn_to(pair) && self.offers_at_once(ctx, undo.from, &undo.before);
        let request = if ready { self.request_in(ctx, to, &Method::Update, None) } else { None };
        let (Some((builder, hop)), Ok(session)) = (request, Session::parse(&undo.before)) else {
            return self.cannot_undo(ctx, undo.verdict);
        };
        let leg = &mut self.legs[to.0];
        let builder = leg.contact(ctx.config, builder);
        let builder = leg.describe_again(ctx.config, builder, &session);
        self.note_told(to.0, pair);
        let sip = Sip { sdp: true, ..Sip::new(&Method::Update, 0) };
        self.send_own(ctx, to, (builder, hop), sip, Purpose::Undo(Box::new(undo)));
    }

    /// The answerer is back, or has an offer of its own under way, or will not go back.
    pub(super) fn on_undone(
        &mut self,
        ctx: &mut Context<'_>,
        (side, pair): (Side, Pair),
        undo: Undo,
        outcome: Outcome,
    ) {
        match outcome {
            Ok(answer)
                if answer.status() < 300
                    && self.turn_to(pair)
                    && self.answers_at_once(ctx, side, &answer) =>
            {
                self.note_texts(pair, undo.from, undo.before, answer.body().into());
                self.complete_exchange(ctx, pair);
                self.owe_without(undo.from, undo.lost, undo.verdict);
            }
            Ok(answer) if answer.status() == 491 && undo.attempts < ATTEMPTS_MAX => {
                self.abandon_offer(ctx, pair, None);
                let pause = pause_after_491(ctx, side);
                self.ask_again(ctx, (side, pair), pause, Purpose::Undo(Box::new(undo)));
            }
            Ok(_) | Err(_) => self.cannot_undo(ctx, undo.verdict),
        }
    }

    /// Each side is left with a description that the other does not have.
    fn cannot_undo(&mut self, ctx: &mut Context<'_>, verdict: Verdict) {
        self.cut(ctx, Cut { cause: Cause::Cut(verdict.code), verdict });
    }
}
