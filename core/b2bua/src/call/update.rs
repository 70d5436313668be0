//! UPDATE: RFC 3311 §5, in early dialogs and in the call; `docs/calls.md` §4 and §8.

use sip::message::{Method, Name};

use super::early::Pair;
use super::reinvite::RETRY_AFTER_BOUND_S;
use super::relay::Role;
use super::{Call, Request};
use crate::context::Context;
use crate::leg::body::Body;
use crate::side::Side;

impl Call {
    /// A side refreshes its target or its session, or offers.
    pub(super) fn on_update(&mut self, ctx: &mut Context<'_>, (from, pair): (Side, Pair), request: Request) {
        //= RFC 3311 §5.2: a second one before the first is answered: 500 and a random Retry-After.
        if self.asks((from, pair), &Method::Update) {
            return self.refuse_for_now(ctx, from, &request);
        }
        if pair == Pair::Call && self.refuses_interval(ctx, from, &request) {
            return;
        }
        if pair == Pair::Call && self.refreshes_only(from, &request.message) {
            return self.answer_refresh(ctx, from, &request);
        }
        let role = match Body::of(&request.message) {
            Body::None | Body::Opaque(_) => Role::Plain,
            Body::Description(_) | Body::Hidden => Role::Offer { before: None },
        };
        let open = if role == Role::Plain { None } else { self.open_offer(from, pair) };
        match open {
            None => self.pass_exchange(ctx, (from, pair), request, (role, None)),
            //= RFC 3311 §5.2: an offer of the sender's is not answered yet: 500 and a random Retry-After.
            Some(by) if by == from => self.refuse_for_now(ctx, from, &request),
            //= RFC 3311 §5.2: an offer to the sender is not answered yet: 491.
            Some(_) => self.refuse_request(ctx, from, &request, 491, &[]),
        }
    }

    /// 500, to be tried again in 0 to 10 s.
    pub(super) fn refuse_for_now(&mut self, ctx: &mut Context<'_>, from: Side, request: &Request) {
        let seconds = ctx.shared.rng.below(RETRY_AFTER_BOUND_S).to_string();
        self.refuse_request(ctx, from, request, 500, &[(Name::RetryAfter, &seconds)]);
    }
}
