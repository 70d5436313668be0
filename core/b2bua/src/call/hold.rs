//! Messages that wait: `docs/calls.md` §1.1.
//!
//! At most one signal waits for the ledger, because offers and answers of a call follow one another; behind it wait
//! the later signals of the same direction, in order. CANCEL, BYE, final failures and ACK never come here.

use std::collections::VecDeque;

use machine::TimerId;
use midcom::Failure;

use super::Call;
use super::early::Pair;
use super::pinholes::Prepared;
use super::reliable::rseq;
use super::signal::Signal;
use crate::context::{Context, Wake};
use crate::event::Event;
use crate::failure::Verdict;
use crate::ledger::Step;
use crate::side::{Side, Sides};

/// What waits.
#[derive(Debug, Clone, Default)]
pub(super) struct Hold {
    /// The side whose first signal waits for the ledger.
    held: Option<(Side, TimerId)>,
    /// By sender; the first of the held side is the one that waits for the ledger.
    waiting: Sides<VecDeque<Signal>>,
}

impl Call {
    /// Passes a signal on as soon as the ledger and the order of its direction allow.
    pub(super) fn submit(&mut self, ctx: &mut Context<'_>, from: Side, signal: Signal) {
        let (waiting, limit) = (self.hold.waiting[from].len(), ctx.config.limits.held);
        let rings = matches!(signal, Signal::Ring { .. });
        if waiting == 0 && !(self.hold.held.is_some() && self.asks_ledger(&signal)) {
            self.pass(ctx, from, signal);
        } else if rings && waiting + 1 >= limit {
            // Nobody misses one of many 18x, and one that is reliable has found a place; the last is kept for the answer.
        } else if waiting < limit {
            self.hold.waiting[from].push_back(signal);
        } else {
            self.refuse(ctx, from, signal, Verdict::plain(500, "too many messages wait").later());
        }
    }

    /// How many signals of a side wait.
    pub(super) fn waiting(&self, from: Side) -> usize {
        self.hold.waiting[from].len()
    }

    fn pass(&mut self, ctx: &mut Context<'_>, from: Side, signal: Signal) {
        match self.prepare(ctx, from, &signal) {
            Prepared::Ready => self.deliver(ctx, from, signal),
            Prepared::Wait => {
                let timer = ctx.wake(self.id, ctx.config.timers.hold, Wake::Hold);
                self.hold.held = Some((from, timer));
                self.hold.waiting[from].push_front(signal);
                ctx.event(Event::Held { call: self.id, from });
            }
            Prepared::Refused(verdict) => self.refuse(ctx, from, signal, verdict),
        }
    }

    /// The ledger has confirmed what the held signal needs: it goes on, and then those behind it.
    pub(super) fn release(&mut self, ctx: &mut Context<'_>) {
        if let Some((from, signal)) = self.take_held(ctx) {
            self.deliver(ctx, from, signal);
            self.pass_all_waiting(ctx, from);
        }
    }

    /// The ledger could not get what the held signal needs.
    pub(super) fn refuse_held(&mut self, ctx: &mut Context<'_>, verdict: Verdict) {
        if let Some((from, signal)) = self.take_held(ctx) {
            let verdict = self.enforced(&ctx.config.codes, from, &signal, verdict);
            self.refuse(ctx, from, signal, verdict);
            self.pass_all_waiting(ctx, from);
        }
    }

    /// The held signal has waited as long as it may: calls.md §1.1.
    pub(super) fn on_hold_over(&mut self, ctx: &mut Context<'_>) {
        match self.ledger.hold_over() {
            Step::Ready => self.release(ctx),
            Step::Wait => self.on_rule_refused(ctx, Failure::Timeout, 0),
        }
    }

    /// What waited behind a signal of `from` goes on, and what waited because the ledger does one thing at a time.
    fn pass_all_waiting(&mut self, ctx: &mut Context<'_>, from: Side) {
        self.pass_waiting(ctx, from);
        self.pass_waiting(ctx, from.other());
    }

    /// True if what waits for the ledger is about a change of what was agreed on, not about the call.
    pub(super) fn holds_change(&self) -> bool {
        let held = self.hold.held.as_ref().and_then(|(from, _)| self.hold.waiting[*from].front());
        match held {
            Some(Signal::Ask { exchange } | Signal::Reply { exchange, .. }) => self.is_update(*exchange),
            Some(
                Signal::Try
                | Signal::Ring { .. }
                | Signal::Met { .. }
                | Signal::Inform { .. }
                | Signal::Connect { .. }
                | Signal::Confirm { .. },
            )
            | None => false,
        }
    }

    /// True if what waits for the ledger is of one early dialog.
    pub(super) fn holds_ring(&self) -> bool {
        let held = self.hold.held.as_ref().and_then(|(from, _)| self.hold.waiting[*from].front());
        matches!(held, Some(Signal::Ring { .. } | Signal::Met { .. } | Signal::Inform { .. }))
    }

    /// True while a reliable provisional response of this pair of dialogs waits.
    pub(super) fn holds_reliable(&self, pair: Pair) -> bool {
        let is_one = |signal: &Signal| match signal {
            Signal::Ring { message, pair: of } => *of == pair && rseq(message).is_some(),
            Signal::Try
            | Signal::Met { .. }
            | Signal::Inform { .. }
            | Signal::Connect { .. }
            | Signal::Confirm { .. }
            | Signal::Ask { .. }
            | Signal::Reply { .. } => false,
        };
        self.hold.waiting.a.iter().chain(&self.hold.waiting.b).any(is_one)
    }

    fn take_held(&mut self, ctx: &mut Context<'_>) -> Option<(Side, Signal)> {
        let (from, timer) = self.hold.held.take()?;
        ctx.shared.timers.stop(timer);
        self.hold.waiting[from].pop_front().map(|signal| (from, signal))
    }

    fn pass_waiting(&mut self, ctx: &mut Context<'_>, from: Side) {
        while self.hold.held.is_none() && self.ending.is_none() {
            let Some(signal) = self.hold.waiting[from].pop_front() else { return };
            self.pass(ctx, from, signal);
        }
    }

    /// The INVITE under way is over: what waited for it is forgotten, everything else goes on.
    pub(super) fn drop_held_invite(&mut self, ctx: &mut Context<'_>) {
        let Some(from) = self.invite.as_deref().map(|invite| invite.from) else { return };
        let first = |side: Side| self.hold.waiting[side].front();
        if let Some((side, timer)) = self.hold.held
            && first(side).is_some_and(Signal::is_of_invite)
        {
            ctx.shared.timers.stop(timer);
            self.hold.held = None;
        }
        for side in [Side::A, Side::B] {
            self.hold.waiting[side].retain(|signal| !signal.is_of_invite());
        }
        self.pass_all_waiting(ctx, from);
    }

    /// What nobody waits for any more is not passed on; everything else goes on.
    pub(super) fn drop_held_where(&mut self, ctx: &mut Context<'_>, goes: impl Fn(&Signal) -> bool) {
        if let Some((side, timer)) = self.hold.held
            && self.hold.waiting[side].front().is_some_and(&goes)
        {
            ctx.shared.timers.stop(timer);
            self.hold.held = None;
        }
        for side in [Side::A, Side::B] {
            self.hold.waiting[side].retain(|signal| !goes(signal));
        }
        self.pass_all_waiting(ctx, Side::A);
    }

    /// Nothing waits any more: what did is forgotten.
    pub(super) fn drop_held(&mut self, ctx: &mut Context<'_>) {
        if let Some((_, timer)) = self.hold.held.take() {
            ctx.shared.timers.stop(timer);
        }
        self.hold.waiting = Sides::default();
    }

    /// Hands a signal to the other leg.
    fn deliver(&mut self, ctx: &mut Context<'_>, from: Side, signal: Signal) {
        match signal {
            Signal::Try => self.send_invite(ctx),
            Signal::Ring { message, pair } => self.send_provisional(ctx, message, pair),
            Signal::Met { message, pair } => self.on_met(ctx, &message, pair),
            Signal::Inform { pair } => self.inform(ctx, pair),
            Signal::Connect { message } => self.send_answer(ctx, message),
            Signal::Confirm { message } => self.send_ack(ctx, Some(&message)),
            Signal::Ask { exchange } => self.send_exchange(ctx, from, exchange),
            Signal::Reply { exchange, message } => self.send_reply(ctx, exchange, &message),
        }
    }

    /// Deals with a signal that may not pass.
    fn refuse(&mut self, ctx: &mut Context<'_>, from: Side, signal: Signal, verdict: Verdict) {
        match signal {
            Signal::Try => self.refuse_try(ctx, verdict),
            Signal::Ring { pair, .. } | Signal::Met { pair, .. } => self.refuse_ring(ctx, pair, verdict),
            Signal::Inform { pair } => self.refuse_inform(ctx, pair, verdict),
            Signal::Connect { .. } => self.refuse_connect(ctx, verdict),
            Signal::Confirm { .. } => self.refuse_confirm(ctx, verdict),
            Signal::Ask { exchange } => self.refuse_exchange(ctx, from, exchange, &verdict),
            Signal::Reply { exchange, message } => self.refuse_reply(ctx, exchange, &message, verdict),
        }
    }
}
