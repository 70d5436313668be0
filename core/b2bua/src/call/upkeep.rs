//! What becomes of a call's rules without its doing: lifetimes that run out, rules that a middlebox changes or takes away
//! (figure 8), sessions that are lost and come back. `docs/calls.md` §3, §7.

use midcom::{Lifetime, MiddleboxId, Prid};

use super::Call;
use super::ending::Cut;
use crate::context::Context;
use crate::event::{Cause, Event};
use crate::failure::Verdict;
use crate::ledger::{EventEffect, Loss};

impl Call {
    /// Notes a rule so that its events find the call; those that are long gone are forgotten.
    pub(super) fn own_rule(&mut self, ctx: &mut Context<'_>, rule: (MiddleboxId, Prid)) {
        if self.rules.len() > 2 * self.ledger.open_rules() {
            let ledger = &self.ledger;
            let live = |(middlebox, prid): &(MiddleboxId, Prid)| {
                ledger.rules().any(|rule| rule.middlebox == *middlebox && rule.prid == Some(*prid))
            };
            let gone = self.rules.extract_if(.., |rule| !live(rule));
            ctx.shared.forget_rules(self.id, gone);
        }
        ctx.shared.rules.insert(rule, self.id);
        self.rules.push(rule);
    }

    /// A middlebox changed a rule by itself (ARE).
    pub(crate) fn on_rule_event(
        &mut self,
        ctx: &mut Context<'_>,
        middlebox: MiddleboxId,
        prid: Prid,
        lifetime: Lifetime,
    ) {
        let (ids, out) = (&mut ctx.shared.ids, &mut ctx.shared.requests);
        let effect = self.ledger.rule_event(ctx.now, middlebox, prid, lifetime, ids, out);
        if effect != EventEffect::Ignored {
            let lifetime_s = lifetime.0;
            ctx.event(Event::RuleChanged { call: self.id, middlebox, prid, lifetime_s });
        }
        self.ask(ctx);
        match effect {
            EventEffect::Ignored | EventEffect::Extended => {}
            EventEffect::Lost(loss) => self.on_loss(ctx, loss),
        }
        if self.ledger.is_closed() {
            self.on_rules_closed(ctx);
        }
    }

    /// Figure 8: a rule the call cannot live without is gone.
    pub(super) fn on_loss(&mut self, ctx: &mut Context<'_>, loss: Loss) {
        let (cause, verdict): (fn(u16) -> Cause, _) = match loss.failure {
            Some(failure) => {
                (Cause::Cut, Verdict::of_middlebox(&ctx.config.codes, failure, loss.stream, true))
            }
            None => (Cause::Revoked, Verdict::revoked(&ctx.config.codes, loss.stream)),
        };
        let end = (cause, verdict);
        match (loss.crucial, loss.dialogs) {
            (true, Some(dialogs)) => self.lose_early(ctx, dialogs, end),
            (true, None) => self.cut_in_setup(ctx, None, end),
            (false, _) => {
                let Loss { stream, failure, .. } = loss;
                ctx.event(Event::StreamLost { call: self.id, stream, failure });
                self.owe_loss(end.1);
            }
        }
    }

    /// The call ends for a rule that is gone, perhaps before it was there; `early` is the early dialog that has lost it.
    pub(super) fn cut_in_setup(
        &mut self,
        ctx: &mut Context<'_>,
        early: Option<u8>,
        (cause, verdict): (fn(u16) -> Cause, Verdict),
    ) {
        self.note_ghost_ring(ctx);
        let verdict = match self.established {
            None => self.enforced_in_setup(&ctx.config.codes, verdict, early),
            Some(_) => verdict,
        };
        self.cut(ctx, Cut { cause: cause(verdict.code), verdict });
    }

    pub(crate) fn on_session_down(&mut self, ctx: &mut Context<'_>, middlebox: MiddleboxId) {
        self.ledger.session_down(middlebox);
        self.set_ledger_timer(ctx);
    }

    pub(crate) fn has_rule(&self, middlebox: MiddleboxId, prid: Prid) -> bool {
        self.ledger.rules().any(|rule| rule.middlebox == middlebox && rule.prid == Some(prid))
    }

    pub(crate) fn on_session_up(&mut self, ctx: &mut Context<'_>, middlebox: MiddleboxId, known: &[Prid]) {
        let (ids, out) = (&mut ctx.shared.ids, &mut ctx.shared.requests);
        self.ledger.session_up(ctx.now, middlebox, known, ids, out);
        self.ask(ctx);
        if self.ending.is_some() && self.ledger.is_closed() {
            self.on_rules_closed(ctx);
        }
    }

    pub(super) fn on_ledger_timeout(&mut self, ctx: &mut Context<'_>) {
        self.ledger_timer = None;
        loop {
            let (ids, out) = (&mut ctx.shared.ids, &mut ctx.shared.requests);
            let loss = self.ledger.handle_timeout(ctx.now, ids, out);
            self.ask(ctx);
            match loss {
                Some(loss) => self.on_loss(ctx, loss),
                None => break,
            }
        }
        if self.ending.is_some() && self.ledger.is_closed() {
            self.on_rules_closed(ctx);
        }
    }
}
