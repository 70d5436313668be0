//! What a call is woken for.

use super::Call;
use crate::context::{Context, Wake};

impl Call {
    pub(crate) fn on_wake(&mut self, ctx: &mut Context<'_>, wake: Wake) {
        match wake {
            Wake::Hold => self.on_hold_over(ctx),
            Wake::TimerC => self.on_timer_c(ctx),
            Wake::CancelUnanswered => self.on_cancel_unanswered(ctx),
            Wake::RepeatAnswer => self.on_repeat_answer(ctx),
            Wake::AckMissing => self.on_ack_missing(ctx),
            Wake::RepeatProvisional(pair) => self.on_repeat_provisional(ctx, pair),
            Wake::PrackMissing(pair) => self.on_prack_missing(ctx, pair),
            Wake::OfferAgain if self.own_offer().is_some() => self.send_own_offer(ctx),
            Wake::OfferAgain => self.offer_again(ctx),
            Wake::AskAgain => self.on_ask_again(ctx),
            Wake::AnswerMissing => self.on_answer_missing(ctx),
            Wake::Ending => self.on_ending_timeout(ctx),
            Wake::Session(side) => self.on_session_due(ctx, side),
            Wake::Media => self.on_media_due(ctx),
            Wake::Longest => self.on_longest(ctx),
            Wake::Ledger => self.on_ledger_timeout(ctx),
        }
    }
}
