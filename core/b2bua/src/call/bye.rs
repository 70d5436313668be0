//! BYE: RFC 3261 §15; figure 3 and the races of `docs/calls.md`.

use sip::endpoint::ClientKey;
use sip::message::{Builder, Message, Method};

use super::early::Pair;
use super::ending::{Asked, End, Farewell};
use super::invite::Setup;
use super::{Call, Request};
use crate::context::Context;
use crate::event::{Cause, Sip};
use crate::failure::Reason;
use crate::leg::Sdp;
use crate::leg::carried::Carried;
use crate::side::Side;

impl Call {
    /// A side hangs up.
    pub(super) fn on_bye(&mut self, ctx: &mut Context<'_>, (from, pair): (Side, Pair), request: Request) {
        if self.legs[from].dialog.is_none() || self.has_other_won(pair) {
            return self.on_early_bye(ctx, (from, pair), &request);
        }
        if self.ending.is_some() {
            return self.on_second_bye(ctx, from, request);
        }
        let message = request.message.clone();
        self.end(ctx, End { passed_on: Some(&message), spared: Some(from), ..End::quiet(Cause::Bye(from)) });
        self.owe_answer(ctx, from, request);
    }

    /// The answer waits for the rules, unless they are closed by now.
    fn owe_answer(&mut self, ctx: &mut Context<'_>, from: Side, request: Request) {
        if let Some(ending) = self.ending.as_deref_mut() {
            ending.asked = Some(Asked { from, request, answer: None });
        }
        if self.is_closed_phase() {
            self.answer_bye(ctx);
        }
    }

    /// While another early dialog rings, or once it has won, BYE ends this one only.
    //= RFC 3261 §15: the caller may end an early dialog with BYE; the callee may not.
    fn on_early_bye(&mut self, ctx: &mut Context<'_>, (from, pair): (Side, Pair), request: &Request) {
        let is_alive = self.is_pair_alive(pair);
        let ringing = |setup: &Setup| setup.winner.is_none() && setup.alive() > usize::from(is_alive);
        let others = self.setup().is_some_and(ringing) || self.has_other_won(pair);
        match (from, pair) {
            (Side::A, _) if others && !is_alive => self.refuse_request(ctx, from, request, 481, &[]),
            (Side::A, Pair::Early(number)) if others => {
                self.refuse_request(ctx, from, request, 200, &[]);
                self.end_early(ctx, number, (Reason::CANCELLED, None), Some(&request.message));
            }
            (Side::A, _) => {
                self.refuse_request(ctx, from, request, 200, &[]);
                self.give_up(ctx, Cause::Bye(from), &request.message);
            }
            (Side::B, _) => self.refuse_request(ctx, from, request, 481, &[]),
        }
    }

    /// The call is ending: by the other side's BYE, by ours, or by this side's first BYE, which was challenged.
    fn on_second_bye(&mut self, ctx: &mut Context<'_>, from: Side, request: Request) {
        let Some(ending) = self.ending.as_deref_mut() else { return };
        if ending.farewells[from.other()] == Farewell::Challenged && ending.asked.is_none() {
            let farewell = self.send_bye(ctx, from.other(), Some(&request.message));
            if let Some(ending) = self.ending.as_deref_mut() {
                ending.farewells[from.other()] = farewell;
                ending.asked = Some(Asked { from, request, answer: None });
            }
            return self.await_again(ctx);
        }
        // Both hang up: this BYE is as good as the answer to ours.
        ending.farewells[from] = Farewell::Over;
        self.refuse_request(ctx, from, &request, 200, &[]);
        self.proceed(ctx);
    }

    /// The side whose answer to our BYE this transaction is.
    pub(super) fn bye_side(&self, key: ClientKey) -> Option<Side> {
        let farewells = &self.ending.as_deref()?.farewells;
        [Side::A, Side::B].into_iter().find(|side| farewells[*side] == Farewell::Sent(key))
    }

    /// Our BYE was sent again, by another transaction.
    pub(super) fn rename_bye(&mut self, key: ClientKey, new: ClientKey) {
        if let Some((side, ending)) = self.bye_side(key).zip(self.ending.as_deref_mut()) {
            ending.farewells[side] = Farewell::Sent(new);
        }
    }

    /// A side answered our BYE; `None`: it will not.
    pub(super) fn on_bye_response(&mut self, ctx: &mut Context<'_>, side: Side, message: Option<Message>) {
        let status = message.as_ref().map_or(408, Message::status);
        if status < 200 {
            return;
        }
        let Some(ending) = self.ending.as_deref_mut() else { return };
        ending.farewells[side] = Farewell::Over;
        match (&mut ending.asked, message) {
            (Some(_), Some(message)) if matches!(status, 401 | 407) => {
                ending.farewells[side] = Farewell::Challenged;
                self.relay_challenge(ctx, &message);
            }
            (Some(asked), Some(message)) if status < 300 => asked.answer = Some(message),
            (Some(_) | None, _) => {}
        }
        if self.is_closed_phase() {
            self.answer_bye(ctx);
        }
        self.proceed(ctx);
    }

    /// Whoever hung up has the credentials; the rules close regardless.
    fn relay_challenge(&mut self, ctx: &mut Context<'_>, message: &Message) {
        let Some(asked) = self.ending.as_deref_mut().and_then(|ending| ending.asked.take()) else { return };
        let Asked { from, request, .. } = asked;
        let carried = Carried::new(message);
        let (status, phrase) = carried.status();
        let tag = self.legs[from].tag.text();
        let builder = Builder::response_to(&request.message, status, &phrase, Some(tag.as_str()));
        let builder = self.session_id.write(builder, from);
        let (builder, _) = self.legs[from].carry(ctx.config, builder, carried, Sdp::Stays);
        ctx.respond(self.to(from), request.key, builder, Sip::new(&Method::Bye, status));
    }
}
