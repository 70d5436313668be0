//! PRACK: RFC 3262 §3, §5; `docs/calls.md` §4. It goes end to end; what it acknowledges has another number on each leg.

use sip::message::{Message, Method};

use super::early::Pair;
use super::offer::Stage;
use super::relay::Role;
use super::reliable::{Acknowledged, Description};
use super::{Call, Request};
use crate::context::Context;
use crate::event::Sip;
use crate::failure::Verdict;
use crate::leg::body::Body;
use crate::leg::carried::Carried;
use crate::side::Side;

impl Call {
    /// The sender of the INVITE acknowledges a provisional response.
    pub(super) fn on_prack(&mut self, ctx: &mut Context<'_>, (from, pair): (Side, Pair), request: Request) {
        let Ok(Some(rack)) = request.message.rack() else {
            return self.refuse_request(ctx, from, &request, 400, &[]);
        };
        let invited = self.invite.as_deref().is_some_and(|invite| invite.from == from);
        let acknowledged = if invited { self.acknowledge(ctx, pair, &rack) } else { None };
        let Some(Acknowledged { received, sdp, .. }) = acknowledged else {
            //= RFC 3262 §3: a PRACK for nothing that is unacknowledged: 481.
            return self.refuse_request(ctx, from, &request, 481, &[]);
        };
        let role = self.role_of_prack(from, pair, sdp, &request.message);
        match received {
            Some(received) => self.pass_exchange(ctx, (from, pair), request, (role, Some(received))),
            None => self.answer_prack(ctx, (from, pair), &role, &request),
        }
        self.go_on_after_prack(ctx, pair);
    }

    /// A PRACK that only we have waited for: the other side has sent nothing that could be acknowledged, so it cannot be
    /// asked either.
    fn answer_prack(
        &mut self,
        ctx: &mut Context<'_>,
        (from, pair): (Side, Pair),
        role: &Role,
        request: &Request,
    ) {
        match role {
            Role::Plain | Role::Answer => {
                let builder = self.response_in(from, &request.message, 200);
                ctx.respond(self.to(from), request.key, builder, Sip::new(&Method::Prack, 200));
            }
            //= RFC 6337 §2.3: the offer may be refused with 488; then its sender acknowledges once more without.
            Role::Offer { .. } => {
                let verdict = Verdict::new(488, "session description", "no PRACK reaches the other side");
                self.refuse_with(ctx, from, request, &verdict);
                self.may_acknowledge_again(pair);
            }
        }
    }

    /// What the description in a PRACK is.
    fn role_of_prack(&self, from: Side, pair: Pair, sdp: Description, message: &Message) -> Role {
        match (sdp, Body::of(message)) {
            (Description::Offer, _) => Role::Answer,
            (_, Body::None | Body::Opaque(_)) => Role::Plain,
            //= RFC 3262 §5: a new offer, as soon as the first is answered.
            (_, Body::Description(_) | Body::Hidden) => match self.open_offer(from, pair) {
                None if self.stage(pair) == Some(Stage::Agreed) => Role::Offer { before: None },
                None | Some(_) => Role::Plain,
            },
        }
    }

    /// The PRACK with this answer has gone on.
    pub(super) fn agree_by_prack(
        &mut self,
        ctx: &mut Context<'_>,
        (from, pair): (Side, Pair),
        answer: Box<[u8]>,
    ) {
        if let Some(texts) = self.agreement_mut(pair).and_then(|agreement| agreement.texts.as_deref_mut()) {
            texts[from] = answer;
        }
        self.set_stage(pair, Stage::Agreed);
        self.complete_exchange(ctx, pair);
        self.send_waiting_answer(ctx);
    }

    /// The description in a PRACK, or the answer to it, may not pass. PRACK itself cannot be refused: 200, an offer is
    /// declined; then the INVITE fails.
    //= RFC 6337 §2.3: rejected by an answer in the 2xx, and by ending what it was about.
    pub(super) fn refuse_prack(
        &mut self,
        ctx: &mut Context<'_>,
        (from, role): (Side, &Role),
        request: &Request,
        verdict: Verdict,
    ) {
        let builder = self.response_in(from, &request.message, 200);
        let (builder, sdp) = match role {
            Role::Offer { .. } => {
                self.legs[from].decline(ctx.config, builder, Carried::new(&request.message))
            }
            Role::Plain | Role::Answer => (builder, false),
        };
        let sip = Sip { sdp, ..Sip::new(&Method::Prack, 200) };
        ctx.respond(self.to(from), request.key, builder, sip);
        self.fail_in_progress(ctx, verdict);
    }
}
