//! Requests of our own inside a leg's dialog, which no peer has asked for: RFC 3261 §12.2.1. What their answers mean depends
//! on what they were for.
//!
//! ```text
//!   Sent --final response, or none--> by purpose      Paused --time--> by purpose
//! ```

use std::time::Duration;

use machine::TimerId;
use sip::endpoint::{ClientFailure, ClientKey};
use sip::message::{Builder, Message};
use sip::transport::Hop;

use super::Call;
use super::early::Pair;
use super::undo::Undo;
use crate::context::{Context, Wake};
use crate::event::Sip;
use crate::side::Side;

/// A request of ours.
#[derive(Debug, Clone)]
pub(super) struct OwnRequest {
    state: State,
    side: Side,
    pair: Pair,
    purpose: Purpose,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Without a final response.
    Sent(ClientKey),
    /// To be sent again when its time has come.
    Paused(TimerId),
}

/// What it is for.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// PRACK for a reliable response that the other side gets as an unreliable one (RFC 3262 §4).
    Acknowledge,
    /// PRACK for a response that only we see; what it acknowledges takes part in a precondition of ours.
    Assure,
    /// UPDATE that says that this precondition is met.
    Inform,
    /// UPDATE that brings a side back to the description it had.
    Undo(Box<Undo>),
    /// UPDATE that refreshes the session of its side (RFC 4028).
    Refresh,
}

impl Purpose {
    /// True for PRACK.
    fn acknowledges(&self) -> bool {
        match self {
            Self::Acknowledge | Self::Assure => true,
            Self::Inform | Self::Undo(_) | Self::Refresh => false,
        }
    }

    /// True if it carries an offer that its answer must meet.
    fn offers(&self) -> bool {
        match self {
            Self::Acknowledge | Self::Assure | Self::Refresh => false,
            Self::Inform | Self::Undo(_) => true,
        }
    }
}

/// What became of it.
pub(super) type Outcome = Result<Message, ClientFailure>;

impl Call {
    /// Sends what [`Call::request_in`] began.
    pub(super) fn send_own(
        &mut self,
        ctx: &mut Context<'_>,
        (side, pair): (Side, Pair),
        (builder, hop): (Builder, Hop),
        sip: Sip,
        purpose: Purpose,
    ) {
        let state = State::Sent(ctx.request(self.to(side), None, hop, builder, sip));
        self.own.push(OwnRequest { state, side, pair, purpose });
    }

    /// Sends it once more after a pause.
    pub(super) fn ask_again(
        &mut self,
        ctx: &mut Context<'_>,
        (side, pair): (Side, Pair),
        pause: Duration,
        purpose: Purpose,
    ) {
        let state = State::Paused(ctx.wake(self.id, pause, Wake::AskAgain));
        self.own.push(OwnRequest { state, side, pair, purpose });
    }

    /// The transaction is one of our own requests.
    pub(super) fn owns(&self, key: ClientKey) -> bool {
        self.own.iter().any(|own| own.state == State::Sent(key))
    }

    /// The dialog of one of our own requests.
    pub(super) fn own_pair(&self, key: ClientKey) -> Option<(Side, Pair)> {
        self.own.iter().find(|own| own.state == State::Sent(key)).map(|own| (own.side, own.pair))
    }

    /// It was sent again, by another transaction.
    pub(super) fn rename_own(&mut self, key: ClientKey, new: ClientKey) {
        for own in self.own.iter_mut().filter(|own| own.state == State::Sent(key)) {
            own.state = State::Sent(new);
        }
    }

    /// True while an offer of our own is under way.
    pub(super) fn owns_offer(&self) -> bool {
        self.own.iter().any(|own| own.purpose.offers())
    }

    /// True while a PRACK of our own has no answer in this pair of dialogs.
    pub(super) fn owns_prack(&self, pair: Pair) -> bool {
        self.own.iter().any(|own| own.pair == pair && own.purpose.acknowledges())
    }

    fn take_own(&mut self, is: impl Fn(&State) -> bool) -> Option<OwnRequest> {
        let position = self.own.iter().position(|own| is(&own.state))?;
        Some(self.own.remove(position))
    }

    /// A response to a request of ours.
    pub(super) fn on_own_response(&mut self, ctx: &mut Context<'_>, key: ClientKey, message: Message) {
        let Some(own) = self.own.iter().find(|own| own.state == State::Sent(key)) else { return };
        self.received(ctx, own.side, &message);
        if message.status() >= 200 {
            self.on_own_outcome(ctx, key, Ok(message));
        }
    }

    /// A request of ours is answered, or will not be.
    pub(super) fn on_own_outcome(&mut self, ctx: &mut Context<'_>, key: ClientKey, outcome: Outcome) {
        let Some(own) = self.take_own(|state| *state == State::Sent(key)) else { return };
        match own.purpose {
            // Whoever does not take it repeats its response, or gives the INVITE up.
            Purpose::Acknowledge => {}
            Purpose::Refresh => self.on_refreshed(ctx, own.side, outcome),
            Purpose::Assure => self.on_assured(ctx, own.pair, &outcome),
            Purpose::Inform => self.on_informed(ctx, own.pair, outcome),
            Purpose::Undo(undo) => self.on_undone(ctx, (own.side, own.pair), *undo, outcome),
        }
    }

    /// A pause is over.
    pub(super) fn on_ask_again(&mut self, ctx: &mut Context<'_>) {
        let now = ctx.now;
        let due = |state: &State| matches!(state, State::Paused(timer) if timer.at() <= now);
        let Some(own) = self.take_own(due) else { return };
        match own.purpose {
            // The one is not repeated, the other by the timer of its session.
            Purpose::Acknowledge | Purpose::Assure | Purpose::Refresh => {}
            Purpose::Inform => self.inform_again(ctx, own.pair),
            Purpose::Undo(undo) => self.undo_by_update(ctx, own.pair, *undo),
        }
    }

    /// No UPDATE is due any more that says that a precondition is met.
    pub(super) fn stop_informing(&mut self, ctx: &mut Context<'_>) {
        let is_due = |own: &mut OwnRequest| match (&own.state, &own.purpose) {
            (State::Paused(_), Purpose::Inform) => true,
            (State::Paused(_) | State::Sent(_), _) => false,
        };
        for own in self.own.extract_if(.., is_due) {
            if let State::Paused(timer) = own.state {
                ctx.shared.timers.stop(timer);
            }
        }
    }

    /// The early dialogs are gone: what was under way in the one that has won goes on in the call.
    pub(super) fn move_own(&mut self, ctx: &mut Context<'_>, winner: Option<u8>) {
        for own in &mut self.own {
            if own.pair == winner.map_or(Pair::Call, Pair::Early) {
                own.pair = Pair::Call;
            }
        }
        let lost: Vec<OwnRequest> = self.own.extract_if(.., |own| own.pair != Pair::Call).collect();
        for own in lost {
            own.stop(ctx);
        }
    }

    /// An early dialog ends: nobody waits for the answers in it.
    pub(super) fn drop_own_in(&mut self, ctx: &mut Context<'_>, pair: Pair) {
        for own in self.own.extract_if(.., |own| own.pair == pair) {
            own.stop(ctx);
        }
    }

    /// The call ends: nobody waits for the answers.
    pub(super) fn drop_own(&mut self, ctx: &mut Context<'_>) {
        for own in self.own.drain(..) {
            own.stop(ctx);
        }
    }
}

impl OwnRequest {
    fn stop(&self, ctx: &mut Context<'_>) {
        match self.state {
            State::Sent(key) => {
                ctx.shared.clients.remove(&key);
            }
            State::Paused(timer) => ctx.shared.timers.stop(timer),
        }
    }
}
