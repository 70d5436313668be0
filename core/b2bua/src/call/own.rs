//! Requests of our own inside a leg's dialog, which no peer has asked for: RFC 3261 §12.2.1. What their answers mean depends
//! on what they were for.

use sip::endpoint::{ClientFailure, ClientKey};
use sip::message::{Builder, Message};
use sip::transport::Hop;

use super::Call;
use super::early::Pair;
use super::restore::Undo;
use crate::context::Context;
use crate::event::Sip;
use crate::side::Side;

/// A request of ours without a final response.
#[derive(Debug, Clone)]
pub(super) struct OwnRequest {
    key: ClientKey,
    pub(super) side: Side,
    pub(super) pair: Pair,
    pub(super) purpose: Purpose,
}

/// What it is for.
#[derive(Debug, Clone)]
pub(super) enum Purpose {
    /// PRACK for a reliable response that the other side gets as an unreliable one (RFC 3262 §4).
    Acknowledge,
    /// UPDATE that brings a side back to the description it had.
    Undo(Box<Undo>),
}

impl Purpose {
    /// True if it carries an offer that its answer must meet.
    pub(super) fn offers(&self) -> bool {
        match self {
            Self::Acknowledge => false,
            Self::Undo(_) => true,
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
        let key = ctx.request(self.to(side), None, hop, builder, sip);
        self.own.push(OwnRequest { key, side, pair, purpose });
    }

    pub(super) fn owns(&self, key: ClientKey) -> bool {
        self.own.iter().any(|own| own.key == key)
    }

    /// A response to a request of ours.
    pub(super) fn on_own_response(&mut self, ctx: &mut Context<'_>, key: ClientKey, message: Message) {
        let Some(own) = self.own.iter().find(|own| own.key == key) else { return };
        self.received(ctx, own.side, &message);
        if message.status() >= 200 {
            self.on_own_outcome(ctx, key, Ok(message));
        }
    }

    /// A request of ours is answered, or will not be.
    pub(super) fn on_own_outcome(&mut self, ctx: &mut Context<'_>, key: ClientKey, outcome: Outcome) {
        let Some(position) = self.own.iter().position(|own| own.key == key) else { return };
        let own = self.own.remove(position);
        match own.purpose {
            // Whoever does not take it repeats its response, or gives the INVITE up.
            Purpose::Acknowledge => {}
            Purpose::Undo(undo) => self.on_undone(ctx, (own.side, own.pair), *undo, outcome),
        }
    }

    /// The call ends: nobody waits for the answers.
    pub(super) fn drop_own(&mut self, ctx: &mut Context<'_>) {
        for own in self.own.drain(..) {
            ctx.shared.clients.remove(&own.key);
        }
    }
}
