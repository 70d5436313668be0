//! ACK to a 2xx: RFC 3261 §13.2.2.4, §13.3.1.4, RFC 6026.

use sip::message::{Message, Method};

use super::Call;
use super::ending::Cut;
use super::invite::{Client, Server};
use super::offer::Stage;
use super::signal::Signal;
use crate::context::Context;
use crate::event::{Cause, Event, Sip};
use crate::failure::Verdict;
use crate::leg::Sdp;
use crate::leg::carried::Carried;
use crate::side::Side;

impl Call {
    /// An ACK with a tag of ours. Repetitions and strays change nothing.
    pub(crate) fn on_ack(&mut self, ctx: &mut Context<'_>, from: Side, message: Message) {
        let message = self.admitted(message);
        let is_ours = self.legs[from].dialog.as_ref().is_some_and(|dialog| dialog.is_of_request(&message));
        let number = message.cseq().map_or(0, |cseq| cseq.number);
        let Some(invite) = self.invite.as_deref_mut().filter(|invite| is_ours && invite.from == from) else {
            return;
        };
        let Server::Accepted { cseq, repeat, missing, .. } = &invite.server else { return };
        if *cseq != number {
            return;
        }
        for timer in [*repeat, *missing] {
            ctx.shared.timers.stop(timer);
        }
        invite.server = Server::Done;
        let initial = invite.is_initial();
        self.received(ctx, from, &message);
        self.session_id.learn(from, &message, &mut ctx.shared.rng);
        if initial {
            self.established = Some(ctx.now);
            ctx.event(Event::Established { call: self.id });
            self.watch_media(ctx);
            self.time_longest(ctx);
        }
        if self.ending.is_some() {
            //= RFC 3261 §15: the callee's BYE had to wait for this ACK.
            self.send_delayed_bye(ctx, from);
            return self.settle_invite(ctx);
        }
        match self.stage(self.answered_pair()) {
            Some(Stage::Returned) => self.submit(ctx, from, Signal::Confirm { message }),
            Some(Stage::Offered | Stage::Wanted | Stage::Agreed) | None => self.send_ack(ctx, Some(&message)),
        }
    }

    /// The ACK goes on, or one of our own.
    pub(super) fn send_ack(&mut self, ctx: &mut Context<'_>, message: Option<&Message>) {
        let pair = self.answered_pair();
        let (returned, answer) = (self.stage(pair) == Some(Stage::Returned), self.as_answer());
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let to = invite.from.other();
        let Client::Accepted { key, cseq, offer } = std::mem::replace(&mut invite.client, Client::Done)
        else {
            return;
        };
        ctx.stop(&mut invite.timer);
        let sdp = if returned { answer } else { Sdp::Stays };
        let leg = &mut self.legs[to];
        let hop = leg.next_hop(ctx.config);
        let Some(dialog) = &leg.dialog else { return };
        let remote_tag: Box<str> = dialog.remote_tag().into();
        let builder = self.session_id.write(dialog.ack(cseq), to);
        let (builder, sdp) = match (message, offer) {
            //= RFC 3261 §13.2.2.4: credentials of the INVITE stand in the ACK as well; the caller writes them there.
            (Some(message), _) => leg.carry(ctx.config, builder, Carried::new(message), sdp),
            (None, Some(offer)) => leg.decline(ctx.config, builder, Carried::new(&offer)),
            (None, None) => (builder, false),
        };
        ctx.shared.clients.remove(&key);
        let sip = Sip { sdp, ..Sip::new(&Method::Ack, 0) };
        ctx.ack(self.to(to), key, &remote_tag, hop, builder, sip);
        if sdp && message.is_some() {
            self.set_stage(pair, Stage::Agreed);
            self.complete_exchange(ctx, pair);
        }
        self.settle_invite(ctx);
    }

    /// The answer in the ACK may not pass: the offer is declined, and the call ends.
    pub(super) fn refuse_confirm(&mut self, ctx: &mut Context<'_>, verdict: Verdict) {
        self.cut(ctx, Cut { cause: Cause::Cut(verdict.code), verdict });
    }

    /// The callee has offered, and the caller does not answer: the offer is declined, and the call ends.
    //= RFC 3261 §13.2.2.4: the ACK to a 2xx may wait for an answer, but not for long.
    pub(super) fn on_answer_missing(&mut self, ctx: &mut Context<'_>) {
        if let Some(invite) = self.invite.as_deref_mut() {
            invite.timer = None;
            let verdict = Verdict::plain(408, "the offer was not answered");
            self.cut(ctx, Cut { cause: Cause::Cut(408), verdict });
        }
    }

    //= RFC 3261 §13.3.1.4: no ACK for 64*T1: the dialog is confirmed, and the session is ended with BYE.
    pub(super) fn on_ack_missing(&mut self, ctx: &mut Context<'_>) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let from = invite.from;
        let Server::Accepted { repeat, .. } = &invite.server else { return };
        ctx.shared.timers.stop(*repeat);
        invite.server = Server::Done;
        if self.ending.is_some() {
            self.send_delayed_bye(ctx, from);
            return self.settle_invite(ctx);
        }
        let verdict = Verdict::plain(408, "the answer was not acknowledged");
        self.cut(ctx, Cut { cause: Cause::Cut(408), verdict });
    }
}
