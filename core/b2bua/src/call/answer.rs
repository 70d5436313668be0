//! The 2xx to an INVITE: RFC 3261 §13.2.2.4, §13.3.1.4, RFC 6026 §7.1.

use std::time::Duration;

use sip::dialog::Dialog;
use sip::endpoint::{ClientKey, ServerKey};
use sip::message::{Builder, Message, Method, Name};

use super::Call;
use super::early::{Pair, remote_tag};
use super::invite::{Client, Invite, Offer, Server};
use super::offer::Stage;
use super::signal::Signal;
use super::{ending::Cut, stray};
use crate::context::{Context, Wake};
use crate::event::{Cause, Sip};
use crate::failure::{Reason, Verdict};
use crate::leg::Sdp;
use crate::leg::body::Body;
use crate::leg::carried::Carried;
use crate::side::Side;

/// How long a callee that has offered in its 2xx waits for ACK.
const ANSWER_DELAY_MAX: Duration = Duration::from_secs(4);

impl Call {
    /// A 2xx of the callee, or of one of several.
    pub(super) fn on_answer(&mut self, ctx: &mut Context<'_>, key: ClientKey, message: Message) {
        let Some(invite) = self.invite.as_deref() else { return };
        match (&invite.client, self.why_ended(&message)) {
            (Client::Calling { .. } | Client::Proceeding { .. }, Some(reason)) => {
                self.refuse_refused_answer(ctx, key, &message, reason);
            }
            (Client::Calling { .. } | Client::Proceeding { .. }, None) => {
                self.accept_answer(ctx, key, message);
            }
            //= RFC 3261 §9.1: CANCEL came too late; the dialog it made is ended.
            (Client::Cancelling { .. }, _) if invite.is_initial() => {
                self.refuse_late_answer(ctx, key, &message);
            }
            // Nobody waits for this answer any more, neither the ledger nor the sender of the INVITE.
            (Client::Cancelling { .. }, _) if !matches!(invite.server, Server::Proceeding { .. }) => {
                self.acknowledge_late_answer(ctx, key, &message);
            }
            (Client::Cancelling { .. }, _) => self.accept_answer(ctx, key, message),
            // The same one repeats its 2xx until we acknowledge it; another one has lost.
            (Client::Accepted { .. }, _) => {
                let winner = self.legs.b.dialog.as_ref().map(Dialog::remote_tag);
                let lost = invite.is_initial() && winner != Some(remote_tag(&message));
                if lost && self.has_room_for_stray(ctx) {
                    let hop = self.legs.b.hop;
                    stray::refuse(ctx, self.to(Side::B), hop, &message, Reason::CANCELLED);
                }
            }
            (Client::Idle | Client::Done, _) => {}
        }
    }

    /// Counts the 2xx responses that have lost; false above the limit.
    fn has_room_for_stray(&mut self, ctx: &Context<'_>) -> bool {
        let setup = self.invite.as_deref_mut().and_then(|invite| invite.setup.as_deref_mut());
        setup.is_some_and(|setup| stray::has_room(&mut setup.strays, ctx.config))
    }

    /// The early dialog that was ended for its pinholes answers nevertheless; whoever forked has ended the others.
    fn refuse_refused_answer(
        &mut self,
        ctx: &mut Context<'_>,
        key: ClientKey,
        message: &Message,
        reason: Reason,
    ) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        invite.client = Client::Done;
        ctx.stop(&mut invite.timer);
        ctx.shared.clients.remove(&key);
        let verdict = Verdict::new(reason.cause, reason.text, "the answer's pinholes were refused");
        self.cut(ctx, Cut { cause: Cause::Cut(reason.cause), verdict });
        stray::refuse_only(ctx, self.to(Side::B), (key, self.legs.b.hop), message, reason);
    }

    fn accept_answer(&mut self, ctx: &mut Context<'_>, key: ClientKey, message: Message) {
        let initial = self.setup().map(|setup| setup.early_of(&message).map(Pair::Early));
        let stage = self.stage(initial.flatten().unwrap_or(Pair::Call));
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let by = invite.from.other();
        ctx.stop(&mut invite.timer);
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        let offer = (stage == Some(Stage::Wanted)).then(|| message.clone());
        if offer.is_some() {
            invite.timer = Some(ctx.wake(self.id, ANSWER_DELAY_MAX, Wake::AnswerMissing));
        }
        invite.client = Client::Accepted { key, cseq, offer };
        let usable = match (invite.is_initial(), &mut self.legs[by].dialog) {
            (true, _) => self.win(ctx, &message),
            //= RFC 3261 §12.2.1.2: the 2xx to a re-INVITE may move the peer.
            (false, Some(dialog)) => {
                // A Contact that cannot be read leaves the peer where it was.
                let _unreadable = dialog.refresh(&message);
                true
            }
            (false, None) => false,
        };
        if usable {
            self.session_accepted(ctx, by, &message);
            return self.submit(ctx, by, Signal::Connect { message });
        }
        if let Some(invite) = self.invite.as_deref_mut().filter(|_| self.legs[by].dialog.is_none()) {
            invite.client = Client::Done;
            ctx.shared.clients.remove(&key);
        }
        let verdict = Verdict::plain(500, "the answer makes no dialog");
        self.cut(ctx, Cut { cause: Cause::Refused(500), verdict });
    }

    /// The caller has given up already.
    fn refuse_late_answer(&mut self, ctx: &mut Context<'_>, key: ClientKey, message: &Message) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        invite.client = Client::Done;
        ctx.stop(&mut invite.timer);
        ctx.shared.clients.remove(&key);
        let reason = self.ending.as_ref().and_then(|ending| ending.reason()).unwrap_or(Reason::CANCELLED);
        let hop = self.legs.b.hop;
        stray::refuse_only(ctx, self.to(Side::B), (key, hop), message, reason);
        self.proceed(ctx);
        self.settle_invite(ctx);
    }

    /// A re-INVITE that was given up has succeeded nevertheless.
    ///
    //= RFC 3261 §13.2.2.4: a 2xx is acknowledged even if the session has ended meanwhile.
    fn acknowledge_late_answer(&mut self, ctx: &mut Context<'_>, key: ClientKey, message: &Message) {
        let Some(invite) = self.invite.as_deref_mut() else { return };
        ctx.stop(&mut invite.timer);
        let cseq = message.cseq().map_or(0, |cseq| cseq.number);
        let offer = (invite.offer == Offer::InAnswer).then(|| message.clone());
        invite.client = Client::Accepted { key, cseq, offer };
        self.send_ack(ctx, None);
        self.proceed(ctx);
    }

    /// The answer goes on.
    pub(super) fn send_answer(&mut self, ctx: &mut Context<'_>, message: Message) {
        let pair = self.answered_pair();
        let stage = self.stage(pair);
        let waits = self.awaits_prack(pair) || self.is_informing(pair) || stage == Some(Stage::Returned);
        let Some(invite) = self.invite.as_deref_mut() else { return };
        if invite.restore.is_some() {
            return self.restored(ctx);
        }
        if invite.own.is_some() {
            return self.own_offer_answered(ctx, &message);
        }
        if waits {
            invite.answer = Some(Box::new(message));
            return;
        }
        let Some((key, request)) = invite.server.take_proceeding() else { return };
        self.stop_provisional(ctx);
        self.respond_answer(ctx, pair, (key, &request), &message);
        self.answered(ctx, pair);
    }

    /// The 2xx leaves, and is repeated from now on.
    fn respond_answer(
        &mut self,
        ctx: &mut Context<'_>,
        pair: Pair,
        (key, request): (ServerKey, &Message),
        message: &Message,
    ) {
        let Some(invite) = self.invite.as_deref() else { return };
        let (from, initial) = (invite.from, invite.is_initial());
        match (initial, &mut self.legs[from].dialog) {
            (true, _) => self.confirm_on_a(),
            //= RFC 3261 §12.2.2: an accepted re-INVITE may move its sender.
            (false, Some(dialog)) => {
                let _unreadable = dialog.refresh(request);
            }
            (false, None) => {}
        }
        let leg = &self.legs[from];
        let carried = Carried::new(message);
        let (status, phrase) = carried.status();
        let mut builder = Builder::response_to(request, status, &phrase, Some(leg.tag.text().as_str()));
        if initial {
            builder = builder.copy(request, Name::RecordRoute);
        }
        builder = leg.contact(ctx.config, builder);
        builder = self.session_id.write(builder, from);
        let (builder, sdp) = self.write_answer(ctx, (from, pair), builder, carried);
        let builder = self.answer_session(ctx, from, builder, request);
        ctx.shared.servers.remove(&key);
        let sip = Sip { sdp, ..Sip::new(&Method::Invite, status) };
        if let Some(bytes) = ctx.respond(self.to(from), key, builder, sip) {
            self.await_ack(ctx, request, key, &bytes);
        }
    }

    /// The description of a 2xx: the answer, or the offer, or neither, because that was in a provisional response.
    fn write_answer(
        &mut self,
        ctx: &Context<'_>,
        (from, pair): (Side, Pair),
        builder: Builder,
        carried: Carried<'_>,
    ) -> (Builder, bool) {
        let Some(agreement) = self.agreement(pair) else { return (builder, false) };
        let shown = agreement.texts.as_deref().map(|texts| texts[from.other()].clone());
        let bare = matches!(carried.body(), Body::None | Body::Opaque(_));
        match (agreement.stage, shown.filter(|_| bare || self.has_answered_us(pair))) {
            // It answered in a response that its peer has not seen as an answer.
            (Stage::Offered, Some(shown)) => {
                let answer = self.as_answer();
                self.legs[from].describe(ctx.config, carried.relay(builder, false), &shown, answer)
            }
            (Stage::Offered, None) => {
                let answer = self.as_answer();
                self.legs[from].carry(ctx.config, builder, carried, answer)
            }
            (Stage::Wanted, _) => self.legs[from].carry(ctx.config, builder, carried, Sdp::Passes),
            //= RFC 6337 §3.1.1: after the answer a description in a response says nothing; it may be the same once more.
            (Stage::Returned | Stage::Agreed, _) => {
                self.legs[from].carry(ctx.config, builder, carried, Sdp::Same)
            }
        }
    }

    /// The 2xx has left.
    fn answered(&mut self, ctx: &mut Context<'_>, pair: Pair) {
        match self.stage(pair) {
            Some(Stage::Offered) => {
                self.set_stage(pair, Stage::Agreed);
                self.complete_exchange(ctx, pair);
            }
            Some(Stage::Wanted) => self.set_stage(pair, Stage::Returned),
            Some(Stage::Agreed) if self.has_rivals() => self.complete_exchange(ctx, pair),
            Some(Stage::Agreed) => self.resume(ctx),
            Some(Stage::Returned) | None => {}
        }
    }

    /// True if there were several early dialogs, so that there is something to be closed when one has won.
    pub(super) fn has_rivals(&self) -> bool {
        self.setup().is_some_and(|setup| setup.early.len() > 1)
    }

    /// A 2xx that waited for PRACK goes on.
    pub(super) fn send_waiting_answer(&mut self, ctx: &mut Context<'_>) {
        if let Some(answer) = self.invite.as_deref_mut().and_then(|invite| invite.answer.take()) {
            self.send_answer(ctx, *answer);
        }
    }

    //= RFC 6026 §7.1: the transaction user, not the transaction, repeats a 2xx until ACK.
    fn await_ack(&mut self, ctx: &mut Context<'_>, request: &Message, key: ServerKey, bytes: &[u8]) {
        let Some(hop) = ctx.shared.endpoint.response_hop(key) else { return };
        let timers = ctx.config.timers;
        let Some(invite) = self.invite.as_deref_mut() else { return };
        invite.server = Server::Accepted {
            cseq: request.cseq().map_or(0, |cseq| cseq.number),
            hop,
            // A copy is as large as the message; what was sent has room to spare.
            bytes: machine::Text(bytes::Bytes::copy_from_slice(bytes)),
            interval: timers.t1,
            repeat: ctx.wake(self.id, timers.t1, Wake::RepeatAnswer),
            missing: ctx.wake(self.id, timers.t1_64(), Wake::AckMissing),
        };
    }

    /// The 2xx is due again.
    pub(super) fn on_repeat_answer(&mut self, ctx: &mut Context<'_>) {
        let id = self.id;
        let Some(Invite { server: Server::Accepted { hop, bytes, interval, repeat, .. }, .. }) =
            self.invite.as_deref_mut()
        else {
            return;
        };
        ctx.repeat(*hop, bytes.0.clone());
        //= RFC 3261 §13.3.1.4: the interval doubles up to T2, whatever the transport.
        *interval = (*interval * 2).min(ctx.config.timers.t2);
        *repeat = ctx.wake(id, *interval, Wake::RepeatAnswer);
    }

    /// What the one who answers an INVITE inside a call knew of its sender before.
    fn known_before(&mut self) -> Option<Box<[u8]>> {
        let offered_late = self.stage(Pair::Call) == Some(Stage::Wanted);
        let invite = self.invite.as_deref_mut().filter(|invite| !invite.is_initial())?;
        // Nothing has been sent to whoever was asked for an offer.
        let untouched = || self.legs[invite.from.other()].description.sent().filter(|_| offered_late);
        invite.before.take().or_else(untouched)
    }

    /// Figure 5: the answer's pinhole is refused. The caller gets a failure, the callee ACK and BYE. Inside a call the
    /// answerer is brought back to what it had before.
    pub(super) fn refuse_connect(&mut self, ctx: &mut Context<'_>, verdict: Verdict) {
        if self.is_restoring() {
            return self.cannot_restore(ctx);
        }
        if self.own_offer().is_some() {
            return self.refuse_own_offer(ctx, verdict);
        }
        match self.known_before() {
            Some(before) => self.restore(ctx, before, verdict),
            None => self.cut(ctx, Cut { cause: Cause::Cut(verdict.code), verdict }),
        }
    }
}
