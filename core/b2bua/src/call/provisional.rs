//! Provisional responses: RFC 3261 §13.2.2.1, §13.3.1.1, §12.1, §16.7 step 2 (timer C).

use bytes::Bytes;
use sip::endpoint::ClientKey;
use sip::message::{Builder, Message, Method, Name};

use super::Call;
use super::early::Pair;
use super::invite::{Client, Server};
use super::offer::Stage;
use super::reliable::{Description, rseq};
use super::signal::Signal;
use crate::context::{Context, Wake};
use crate::event::Sip;
use crate::failure::Verdict;
use crate::leg::carried::Carried;
use crate::leg::{Sdp, headers};

impl Call {
    pub(super) fn on_provisional(&mut self, ctx: &mut Context<'_>, key: ClientKey, message: Message) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        match &invite.client {
            Client::Calling { .. } => invite.client = Client::Proceeding { key },
            Client::Proceeding { .. } => {}
            //= RFC 3261 §9.1: now that something was heard, CANCEL may be sent.
            Client::Cancelling { .. } => return self.send_cancel(ctx),
            Client::Idle | Client::Accepted { .. } | Client::Done => return,
        }
        if message.status() == 100 {
            return;
        }
        if let Some(setup) = invite.setup.as_deref_mut() {
            setup.rang |= message.status() == 180 || rseq(&message).is_none();
        }
        let (from, limit) = (invite.from.other(), ctx.config.timers.timer_c);
        ctx.stop(&mut invite.timer);
        //= RFC 3261 §16.7 step 2: timer C starts again with every provisional response but 100.
        invite.timer = Some(ctx.wake(self.id, limit, Wake::TimerC));
        let Some(pair) = self.pair_of_response(ctx, &message, false) else { return };
        if self.is_pair_alive(pair) && self.is_in_order(pair, &message) {
            self.submit(ctx, from, Signal::Ring { message, pair });
        }
    }

    /// A provisional response goes on.
    pub(super) fn send_provisional(&mut self, ctx: &mut Context<'_>, message: Message, pair: Pair) {
        if self.on_inserted_ring(ctx, &message, pair) {
            return;
        }
        let reliable = rseq(&message).is_some();
        if reliable && self.can_acknowledge() {
            return self.send_reliable(ctx, message, pair);
        }
        if reliable {
            self.end_reliable(ctx, &message, pair);
        }
        let _sent = self.respond_provisional(ctx, &message, pair, None);
    }

    /// Sends a provisional response, with an RSeq if it is reliable, and says what its description was.
    pub(super) fn respond_provisional(
        &mut self,
        ctx: &mut Context<'_>,
        message: &Message,
        pair: Pair,
        rseq: Option<u32>,
    ) -> Option<(Description, Bytes)> {
        let sdp = self.may_describe(pair, rseq.is_some());
        let invite = self.invite.as_deref()?;
        let Server::Proceeding { key, request } = &invite.server else { return None };
        let (from, key) = (invite.from, *key);
        let carried = Carried::new(message);
        let (status, phrase) = carried.status();
        let tag = self.tag_of(from, pair).text();
        let mut builder = Builder::response_to(request, status, &phrase, Some(tag.as_str()));
        //= RFC 3261 §12.1.1: a response that makes a dialog copies Record-Route.
        builder = builder.copy(request, Name::RecordRoute);
        builder = self.legs[from].contact(ctx.config, builder);
        builder = self.session_id.write(builder, from);
        if let Some(number) = rseq {
            //= RFC 3262 §3: Require and RSeq make it reliable.
            builder = builder.header(Name::Require, headers::REL100);
            builder = builder.header_fmt(Name::RSeq, format_args!("{number}"));
        }
        let (builder, described) = self.legs[from].carry(ctx.config, builder, carried, sdp);
        let sip = Sip { sdp: described, ..Sip::new(&Method::Invite, status) };
        let bytes = ctx.respond(self.to(from), key, builder, sip)?;
        let agreed = described && rseq.is_some();
        Some((if agreed { self.agreed_early(ctx, pair, message) } else { Description::None }, bytes))
    }

    /// Whether the description of a provisional response may pass.
    fn may_describe(&self, pair: Pair, reliably: bool) -> Sdp {
        if self.has_answered_us(pair) {
            return Sdp::Stays;
        }
        match (self.stage(pair), reliably, pair) {
            (Some(Stage::Offered), true, _) | (Some(Stage::Offered), false, Pair::Early(_)) => {
                self.as_answer()
            }
            (Some(Stage::Wanted), true, _) => Sdp::Passes,
            (Some(Stage::Agreed | Stage::Returned), _, _) => Sdp::Same,
            (Some(Stage::Offered | Stage::Wanted), false, _) | (None, _, _) => Sdp::Stays,
        }
    }
}

impl Call {
    /// The description in a provisional response may not pass: as figure 7, unless other early dialogs are left. A call in
    /// which it was a re-INVITE goes on as before.
    pub(super) fn refuse_ring(&mut self, ctx: &mut Context<'_>, pair: Pair, verdict: Verdict) {
        match pair {
            Pair::Early(number) if self.setup().is_some_and(|setup| setup.alive() > 1) => {
                self.end_early(ctx, number, (verdict.reason(), verdict.failed.as_deref()), None);
            }
            Pair::Early(_) | Pair::Call => self.fail_in_progress(ctx, verdict),
        }
    }
}
