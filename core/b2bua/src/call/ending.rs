//! Taking a call down: BYE or CANCEL to whoever still needs it, then the rules, then the answer to the BYE.
//!
//! ```text
//!   Answering --all answered, or 1 s--> Closing --all rules closed, or 1 s--> Closed
//! ```
//!
//! `docs/calls.md`, details of the figures; RFC 3261 §15. BYE transactions and closes that take longer go on behind.

use machine::TimerId;
use sip::endpoint::ClientKey;
use sip::message::{Builder, Message, Method};

use super::invite::{Client, Server};
use super::{Call, Request};
use crate::context::{Context, Wake};
use crate::event::{Cause, Event, Sip};
use crate::failure::{Failed, Reason, Verdict, phrase};
use crate::leg::Sdp;
use crate::leg::carried::Carried;
use crate::side::{Side, Sides};

/// How far the end of a call is.
#[derive(Debug, Clone)]
pub(super) struct Ending {
    /// Ours, if we are the cause.
    reason: Option<Reason>,
    /// What CANCEL and BYE say of a precondition that failed.
    failed: Option<Box<Failed>>,
    /// The BYE that is answered when the rules are closed.
    pub(super) asked: Option<Asked>,
    pub(super) farewells: Sides<Farewell>,
    phase: Phase,
    timer: Option<TimerId>,
}

/// A BYE we owe an answer.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) from: Side,
    pub(super) request: Request,
    /// The other side's 2xx to it, for its header fields.
    pub(super) answer: Option<Message>,
}

/// What one leg still needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Farewell {
    /// BYE, as soon as RFC 3261 §15 allows it.
    Owed,
    /// An answer to our BYE.
    Sent(ClientKey),
    /// It wants credentials, which only the other peer has.
    Challenged,
    /// Nothing.
    #[default]
    Over,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Answering,
    Closing,
    Closed,
}

/// Why and how a call ends.
#[derive(Debug, Clone)]
pub(super) struct End<'m> {
    pub(super) cause: Cause,
    /// The failure in words, if it was one of ours.
    pub(super) why: Box<str>,
    pub(super) reason: Option<Reason>,
    /// What CANCEL and BYE say of a precondition that failed.
    pub(super) failed: Option<Box<Failed>>,
    /// The BYE or CANCEL that is passed on.
    pub(super) passed_on: Option<&'m Message>,
    /// The side that needs no BYE.
    pub(super) spared: Option<Side>,
}

impl End<'_> {
    /// Both sides know already.
    pub(super) fn quiet(cause: Cause) -> Self {
        Self { cause, why: "".into(), reason: None, failed: None, passed_on: None, spared: None }
    }

    /// The caller has been told this verdict; nobody else knows of the call.
    pub(super) fn refused(verdict: &Verdict) -> Self {
        Self { why: verdict.words(), ..Self::quiet(Cause::Refused(verdict.code)) }
    }
}

/// We end the call: both sides are told why.
#[derive(Debug, Clone)]
pub(crate) struct Cut {
    pub(crate) cause: Cause,
    pub(crate) verdict: Verdict,
}

impl Ending {
    pub(super) fn reason(&self) -> Option<Reason> {
        self.reason
    }

    pub(super) fn failed(&self) -> Option<&Failed> {
        self.failed.as_deref()
    }

    /// True if nothing more has to be waited for but the INVITE and the rules.
    pub(super) fn is_over(&self) -> bool {
        let over = |farewell| !matches!(farewell, Farewell::Owed | Farewell::Challenged);
        self.phase == Phase::Closed
            && self.asked.is_none()
            && over(self.farewells.a)
            && over(self.farewells.b)
    }
}

impl Call {
    /// We end the call, whatever its state, and tell both sides why.
    pub(crate) fn cut(&mut self, ctx: &mut Context<'_>, Cut { cause, verdict }: Cut) {
        self.fail_invite(ctx, &verdict);
        let (why, reason, failed) = (verdict.words(), Some(verdict.reason()), verdict.failed);
        self.end(ctx, End { cause, why, reason, failed, passed_on: None, spared: None });
    }

    /// Takes the call down, whatever its state. The INVITE under way has been answered where its sender is owed more
    /// than 487.
    pub(super) fn end(&mut self, ctx: &mut Context<'_>, mut end: End<'_>) {
        if self.ending.is_some() {
            return;
        }
        ctx.event(Event::Ending { call: self.id, cause: end.cause, why: end.why.clone() });
        self.ending = Some(Box::new(Ending {
            reason: end.reason,
            failed: end.failed.take(),
            asked: None,
            farewells: Sides::default(),
            phase: Phase::Answering,
            timer: None,
        }));
        self.stop_sessions(ctx);
        self.unwatch_media(ctx);
        ctx.stop(&mut self.longest);
        ctx.shared.counts.give_back(&std::mem::take(&mut self.terms.limiting));
        self.drop_held(ctx);
        self.fail_invite(ctx, &Verdict::terminated());
        self.drop_exchanges(ctx);
        self.drop_own(ctx);
        self.end_client(ctx, &end);
        for side in [Side::A, Side::B] {
            if end.spared != Some(side) && self.legs[side].dialog.is_some() {
                self.say_bye(ctx, side, end.passed_on);
            }
        }
        self.settle_invite(ctx);
        self.proceed(ctx);
    }

    /// Ends what leg B, or whoever got the INVITE under way, knows of it.
    fn end_client(&mut self, ctx: &mut Context<'_>, end: &End<'_>) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        match &invite.client {
            Client::Idle => invite.client = Client::Done,
            Client::Calling { .. } | Client::Proceeding { .. } => {
                self.cancel_client(ctx, end.reason, end.passed_on);
            }
            //= RFC 3261 §13.2.2.4: a 2xx is acknowledged even if the call ends at once.
            Client::Accepted { .. } => self.send_ack(ctx, None),
            Client::Cancelling { .. } | Client::Done => {}
        }
        // Inside an established call nobody waits for the ACK to a re-INVITE's 2xx.
        if let Some(invite) = self.invite.as_deref_mut()
            && !invite.is_initial()
            && let Server::Accepted { repeat, missing, .. } = &invite.server
        {
            ctx.shared.timers.stop(*repeat);
            ctx.shared.timers.stop(*missing);
            invite.server = Server::Done;
        }
    }

    /// Sends BYE, or notes that it is owed.
    fn say_bye(&mut self, ctx: &mut Context<'_>, side: Side, passed_on: Option<&Message>) {
        let unacknowledged = self.invite.as_deref().is_some_and(|invite| {
            invite.from == side && invite.is_initial() && matches!(invite.server, Server::Accepted { .. })
        });
        //= RFC 3261 §15: the callee's side sends no BYE before ACK or 64*T1.
        let farewell = if unacknowledged { Farewell::Owed } else { self.send_bye(ctx, side, passed_on) };
        if let Some(ending) = self.ending.as_deref_mut() {
            ending.farewells[side] = farewell;
        }
    }

    /// The ACK came, or will not come any more.
    pub(super) fn send_delayed_bye(&mut self, ctx: &mut Context<'_>, side: Side) {
        if self.ending.as_deref().is_some_and(|ending| ending.farewells[side] == Farewell::Owed) {
            self.say_bye(ctx, side, None);
        }
    }

    pub(super) fn send_bye(
        &mut self,
        ctx: &mut Context<'_>,
        side: Side,
        passed_on: Option<&Message>,
    ) -> Farewell {
        let reason = self.ending.as_deref().and_then(|ending| ending.reason);
        let leg = &mut self.legs[side];
        let hop = leg.next_hop(ctx.config);
        let bye = passed_on.filter(|message| message.method() == Method::Bye);
        let Some(builder) = leg.request(&Method::Bye, bye) else { return Farewell::Over };
        let mut builder = self.session_id.write(builder, side);
        builder = crate::failure::write_reason(builder, reason, passed_on);
        builder = match bye {
            Some(bye) => leg.carry(ctx.config, builder, Carried::new(bye), Sdp::Stays).0,
            None => {
                let failed = self.ending.as_deref().and_then(Ending::failed);
                self.explain_failed(ctx, builder, side, failed)
            }
        };
        let sip = Sip { reason: reason.map_or(0, |reason| reason.cause), ..Sip::new(&Method::Bye, 0) };
        Farewell::Sent(ctx.request(self.to(side), None, hop, builder, sip))
    }

    /// Goes on to the next phase when nothing is missing for it.
    pub(super) fn proceed(&mut self, ctx: &mut Context<'_>) {
        let cancelling = self
            .invite
            .as_deref()
            .is_some_and(|invite| matches!(invite.client, Client::Cancelling { sent: true, .. }));
        let Some(ending) = self.ending.as_deref_mut() else { return };
        if ending.phase != Phase::Answering {
            return;
        }
        let farewells = ending.farewells;
        let unanswered = [farewells.a, farewells.b].iter().any(|one| matches!(one, Farewell::Sent(_)));
        if !unanswered && !cancelling {
            return self.start_closing(ctx);
        }
        if ending.timer.is_none() {
            ending.timer = Some(ctx.wake(self.id, ctx.config.timers.answer, Wake::Ending));
        }
    }

    fn start_closing(&mut self, ctx: &mut Context<'_>) {
        let Some(ending) = self.ending.as_deref_mut() else { return };
        ctx.stop(&mut ending.timer);
        ending.phase = Phase::Closing;
        ending.timer = Some(ctx.wake(self.id, ctx.config.timers.close, Wake::Ending));
        self.close_rules(ctx);
        if self.ledger.is_closed() || self.ledger.is_unknown() {
            self.on_rules_closed(ctx);
        }
    }

    /// Every rule is closed, or it took too long.
    pub(super) fn on_rules_closed(&mut self, ctx: &mut Context<'_>) {
        let Some(ending) = self.ending.as_deref_mut() else { return };
        if ending.phase != Phase::Closing {
            return;
        }
        ctx.stop(&mut ending.timer);
        ending.phase = Phase::Closed;
        self.answer_bye(ctx);
        let challenged = |farewell| farewell == Farewell::Challenged;
        if let Some(ending) = self.ending.as_deref_mut()
            && (challenged(ending.farewells.a) || challenged(ending.farewells.b))
        {
            ending.timer = Some(ctx.wake(self.id, ctx.config.timers.t1_64(), Wake::Ending));
        }
    }

    /// Answers the BYE, if one waits.
    pub(super) fn answer_bye(&mut self, ctx: &mut Context<'_>) {
        let Some(asked) = self.ending.as_deref_mut().and_then(|ending| ending.asked.take()) else { return };
        let Asked { from, request, answer } = asked;
        let tag = self.legs[from].tag.text();
        let builder = Builder::response_to(&request.message, 200, phrase(200), Some(tag.as_str()));
        let mut builder = self.session_id.write(builder, from);
        if let Some(answer) = &answer {
            (builder, _) = self.legs[from].carry(ctx.config, builder, Carried::new(answer), Sdp::Stays);
        }
        ctx.respond(self.to(from), request.key, builder, Sip::new(&Method::Bye, 200));
    }

    pub(super) fn on_ending_timeout(&mut self, ctx: &mut Context<'_>) {
        let Some(ending) = self.ending.as_deref_mut() else { return };
        ending.timer = None;
        match ending.phase {
            Phase::Answering => self.start_closing(ctx),
            Phase::Closing => self.on_rules_closed(ctx),
            // A second BYE inside the challenge's time waits for its answer, or nobody came back with credentials.
            Phase::Closed => {
                for side in [Side::A, Side::B] {
                    if ending.farewells[side] == Farewell::Challenged {
                        ending.farewells[side] = Farewell::Over;
                    }
                }
                self.answer_bye(ctx);
            }
        }
    }

    pub(super) fn is_closed_phase(&self) -> bool {
        self.ending.as_deref().is_some_and(|ending| ending.phase == Phase::Closed)
    }

    /// Waits once more, at most as long as for the first answer, for the other side's answer to a repeated BYE.
    pub(super) fn await_again(&mut self, ctx: &mut Context<'_>) {
        let (id, wait) = (self.id, ctx.config.timers.answer);
        if let Some(ending) = self.ending.as_deref_mut() {
            ctx.stop(&mut ending.timer);
            ending.timer = Some(ctx.wake(id, wait, Wake::Ending));
        }
    }
}
