//! Provisional responses: RFC 3261 §13.2.2.1, §13.3.1.1, §12.1, §16.7 step 2 (timer C).

use bytes::Bytes;
use sip::endpoint::ClientKey;
use sip::message::{Builder, Message, Method, Name};

use super::Call;
use super::early::Pair;
use super::invite::{Client, Server, Setup};
use super::offer::Stage;
use super::reliable::{Description, rseq};
use super::signal::Signal;
use crate::context::{Context, Wake};
use crate::event::Sip;
use crate::failure::Verdict;
use crate::leg::carried::Carried;
use crate::leg::{Sdp, headers};

/// How a provisional response goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// To be heard or not.
    Unreliable,
    /// As it came, with an RSeq of ours; the PRACK goes on as well.
    Reliable(u32),
    /// Reliable on this leg only, because its INVITE requires that; the PRACK is for us.
    Made(u32),
}

impl Manner {
    fn rseq(self) -> Option<u32> {
        match self {
            Self::Unreliable => None,
            Self::Reliable(number) | Self::Made(number) => Some(number),
        }
    }
}

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
        if self.is_pair_alive(pair) && self.is_in_order(ctx, pair, &message) {
            self.submit(ctx, from, Signal::Ring { message, pair });
        }
    }

    /// A provisional response goes on.
    pub(super) fn send_provisional(&mut self, ctx: &mut Context<'_>, message: Message, pair: Pair) {
        if self.on_inserted_ring(ctx, &message, pair) {
            return;
        }
        let passed_on = self.goes_on_reliably(&message);
        if rseq(&message).is_some() && !passed_on {
            self.end_reliable(ctx, &message, pair);
        }
        //= RFC 3262 §3: all are reliable if the INVITE requires it; those that came otherwise are acknowledged to us.
        if passed_on || self.invite.as_deref().is_some_and(|invite| invite.insists) {
            return self.send_reliable(ctx, message, pair);
        }
        let _sent = self.respond_provisional(ctx, &message, pair, Manner::Unreliable);
    }

    /// Sends a provisional response and says what its description was.
    pub(super) fn respond_provisional(
        &mut self,
        ctx: &mut Context<'_>,
        message: &Message,
        pair: Pair,
        manner: Manner,
    ) -> Option<(Description, Bytes)> {
        let sdp = self.may_describe(pair, manner);
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
        if let Some(number) = manner.rseq() {
            //= RFC 3262 §3: Require and RSeq make it reliable.
            builder = builder.header(Name::Require, headers::REL100);
            builder = builder.header_fmt(Name::RSeq, format_args!("{number}"));
        }
        let (builder, described) = self.legs[from].carry(ctx.config, builder, carried, sdp);
        if described {
            self.note_told(from, pair);
        }
        let sip = Sip { sdp: described, ..Sip::new(&Method::Invite, status) };
        let bytes = ctx.respond(self.to(from), key, builder, sip)?;
        let agreed = described && manner.rseq().is_some();
        Some((if agreed { self.agreed_early(ctx, pair, message) } else { Description::None }, bytes))
    }

    /// Whether the description of a provisional response may pass.
    fn may_describe(&self, pair: Pair, manner: Manner) -> Sdp {
        if self.has_answered_us(pair) {
            return Sdp::Stays;
        }
        match (self.stage(pair), manner, pair) {
            (Some(Stage::Offered), Manner::Reliable(_), _)
            | (Some(Stage::Offered), Manner::Unreliable, Pair::Early(_)) => self.as_answer(),
            (Some(Stage::Wanted), Manner::Reliable(_), _) => Sdp::Passes,
            (Some(Stage::Agreed | Stage::Returned), _, _) => Sdp::Same,
            //= RFC 3262 §5: a description in a reliable response is the answer for good, and what was only a preview may still
            // change: it stays here, and the answer is in the 2xx.
            (Some(Stage::Offered | Stage::Wanted), Manner::Made(_), _)
            | (Some(Stage::Offered | Stage::Wanted), Manner::Unreliable, _)
            | (None, _, _) => Sdp::Stays,
        }
    }
}

impl Call {
    /// The description in a provisional response may not pass: as figure 7, unless other early dialogs are left; if its own
    /// answer waits behind it, as figure 5. A call in which it was a re-INVITE goes on as before.
    pub(super) fn refuse_ring(&mut self, ctx: &mut Context<'_>, pair: Pair, verdict: Verdict) {
        let is_one_of_several = |setup: &Setup, number: u8| setup.alive() > 1 && setup.winner != Some(number);
        match pair {
            Pair::Early(number) if self.setup().is_some_and(|setup| is_one_of_several(setup, number)) => {
                self.end_early(ctx, number, (verdict.reason(), verdict.failed.as_deref()), None);
            }
            Pair::Early(_) | Pair::Call => self.fail_in_progress(ctx, verdict),
        }
    }
}
