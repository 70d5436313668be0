//! Reliable provisional responses: RFC 3262 §3 towards the sender of the INVITE, §4 towards the one who answers it.
//!
//! ```text
//!   18x (RSeq) --in order--> pinholes --+-- sender supports 100rel: 18x (RSeq of our own), repeated --PRACK--> passed on
//!      |                                |        a second one waits for the PRACK of the first
//!      |  repeated, out of order        '-- it does not: 18x, and a PRACK of our own
//!      '--> not processed, nor is one that comes before that PRACK has its answer
//!   18x without -------> sender requires 100rel: 18x (RSeq of our own) without description, repeated --PRACK--> 200
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use machine::{Text, TimerId};
use sip::message::{Message, Method, Name, RAck};
use sip::transport::Hop;

use super::Call;
use super::early::Pair;
use super::ending::Cut;
use super::invite::{Client, Server};
use super::offer::{Agreement, Stage, Texts};
use super::own::Purpose;
use super::provisional::Manner;
use crate::context::{Context, Wake};
use crate::event::{Cause, Sip};
use crate::failure::Verdict;
use crate::leg::body::Body;
use crate::leg::headers;
use crate::side::Side;

/// The reliable provisional responses of one pair of dialogs.
#[derive(Debug, Clone, Default)]
pub(super) struct Reliable {
    /// RSeq of the last that came, in order.
    received: Option<u32>,
    /// RSeq of the last that was sent on.
    sent: u32,
    /// Sent on and not acknowledged.
    open: Option<Open>,
    /// Acknowledged last, and whether that may be tried again, because the PRACK was refused.
    acknowledged: Option<(Acknowledged, bool)>,
    /// Behind the open one, in order.
    waiting: VecDeque<Message>,
}

/// A response that is repeated until PRACK.
#[derive(Debug, Clone)]
struct Open {
    response: Acknowledged,
    hop: Hop,
    bytes: Text<Bytes>,
    interval: Duration,
    repeat: Option<TimerId>,
    missing: Option<TimerId>,
}

/// What a PRACK acknowledges, on both legs.
#[derive(Debug, Clone)]
pub(super) struct Acknowledged {
    /// As we sent it.
    sent: RAck,
    /// As it came; `None` if it was not reliable then.
    pub(super) received: Option<RAck>,
    pub(super) sdp: Description,
}

/// What a reliable response said about media.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Description {
    /// Nothing.
    None,
    /// The answer to the INVITE's offer.
    Answer,
    /// An offer: the PRACK answers it.
    Offer,
}

/// The RSeq of a reliable provisional response.
pub(super) fn rseq(message: &Message) -> Option<u32> {
    //= RFC 3262 §4: the tag means nothing in a 100.
    let reliable = message.status() > 100 && message.status() < 200 && headers::requires_100rel(message);
    message.rseq().ok().flatten().filter(|_| reliable)
}

fn has_description(message: &Message) -> bool {
    matches!(Body::of(message), Body::Description(_))
}

impl Reliable {
    /// Takes note of an RSeq; false if the response must not be processed.
    ///
    //= RFC 3262 §4: one higher than the last in order; repetitions and what comes too early are discarded.
    fn takes(&mut self, rseq: u32) -> bool {
        let in_order = self.received.is_none_or(|last| last.checked_add(1) == Some(rseq));
        if in_order {
            self.received = Some(rseq);
        }
        in_order
    }

    fn stop(&mut self, ctx: &mut Context<'_>) {
        if let Some(open) = &mut self.open {
            ctx.stop(&mut open.repeat);
            ctx.stop(&mut open.missing);
        }
    }
}

impl Agreement {
    /// Nothing is repeated any more, and nothing waits.
    pub(super) fn stop(&mut self, ctx: &mut Context<'_>) {
        if let Some(reliable) = self.reliable.as_deref_mut() {
            reliable.stop(ctx);
            reliable.waiting.clear();
        }
    }
}

impl Call {
    /// False if a provisional response must not be processed, because it is a repetition or another is missing, or because
    /// too many wait.
    pub(super) fn is_in_order(&mut self, ctx: &Context<'_>, pair: Pair, message: &Message) -> bool {
        let Some(rseq) = rseq(message) else { return true };
        // It will be repeated, and may find a place then.
        if !self.has_room(ctx, pair) || self.is_ending_reliable(pair) {
            return false;
        }
        let Some(agreement) = self.agreement_mut(pair) else { return false };
        agreement.reliable.get_or_insert_default().takes(rseq)
    }

    /// True if there is a place for another reliable response: behind what is held, and then behind what has no PRACK yet.
    fn has_room(&self, ctx: &Context<'_>, pair: Pair) -> bool {
        let Some(by) = self.invite.as_deref().map(|invite| invite.from.other()) else { return false };
        let reliable = self.agreement(pair).and_then(|agreement| agreement.reliable.as_deref());
        let unacknowledged = reliable.map_or(0, |reliable| reliable.waiting.len());
        let waiting = self.waiting(by) + unacknowledged;
        waiting == 0 || waiting + 1 < ctx.config.limits.held
    }

    /// True while a reliable response of this pair that goes no further waits for its pinholes, or has a PRACK of ours without
    /// an answer: in one pair there is one at a time, whatever its sender does.
    ///
    //= RFC 3262 §3: before the first is acknowledged there must be no second; later ones had better wait as well.
    fn is_ending_reliable(&self, pair: Pair) -> bool {
        !self.can_acknowledge() && (self.owns_prack(pair) || self.holds_reliable(pair))
    }

    /// True if the sender of the INVITE under way can acknowledge provisional responses.
    pub(super) fn can_acknowledge(&self) -> bool {
        self.invite.as_deref().is_some_and(|invite| invite.acknowledges)
    }

    /// True if a response is reliable on both legs.
    pub(super) fn goes_on_reliably(&self, message: &Message) -> bool {
        rseq(message).is_some() && self.can_acknowledge()
    }

    /// A reliable response goes on, as soon as the one before is acknowledged.
    pub(super) fn send_reliable(&mut self, ctx: &mut Context<'_>, message: Message, pair: Pair) {
        let Some(agreement) = self.agreement_mut(pair) else { return };
        let reliable = agreement.reliable.get_or_insert_default();
        //= RFC 3262 §3: no second one before the first is acknowledged.
        if reliable.open.is_some() {
            // Those that came reliably have found a place when they came.
            if reliable.waiting.len() < ctx.config.limits.held {
                reliable.waiting.push_back(message);
            }
            return;
        }
        //= RFC 3262 §3: the first number is random and below 2**31; then one by one.
        reliable.sent = match reliable.sent {
            0 => 1 + ctx.shared.rng.below(FIRST_RSEQ_BOUND) as u32,
            last => last.saturating_add(1),
        };
        let number = reliable.sent;
        let Some(Server::Proceeding { key, request }) = self.invite.as_deref().map(|invite| &invite.server)
        else {
            return;
        };
        let (key, cseq) = (*key, request.cseq().map_or(0, |cseq| cseq.number));
        let passed_on = self.goes_on_reliably(&message);
        let manner = if passed_on { Manner::Reliable(number) } else { Manner::Made(number) };
        let Some((sdp, bytes)) = self.respond_provisional(ctx, &message, pair, manner) else { return };
        let sent = RAck { rseq: number, cseq, method: Method::Invite };
        let received = passed_on.then(|| rack_of(&message));
        let response = Acknowledged { sent, received, sdp };
        let Some(hop) = ctx.shared.endpoint.response_hop(key) else { return };
        self.repeat_until_prack(ctx, pair, response, hop, &bytes);
    }

    fn repeat_until_prack(
        &mut self,
        ctx: &mut Context<'_>,
        pair: Pair,
        response: Acknowledged,
        hop: Hop,
        bytes: &[u8],
    ) {
        let timers = ctx.config.timers;
        let open = Open {
            response,
            hop,
            bytes: Text(Bytes::copy_from_slice(bytes)),
            interval: timers.t1,
            repeat: Some(ctx.wake(self.id, timers.t1, Wake::RepeatProvisional(pair))),
            missing: Some(ctx.wake(self.id, timers.t1_64(), Wake::PrackMissing(pair))),
        };
        if let Some(agreement) = self.agreement_mut(pair) {
            agreement.reliable.get_or_insert_default().open = Some(open);
        }
    }

    /// The response is due again.
    pub(super) fn on_repeat_provisional(&mut self, ctx: &mut Context<'_>, pair: Pair) {
        let id = self.id;
        let reliable = self.agreement_mut(pair).and_then(|agreement| agreement.reliable.as_deref_mut());
        let Some(open) = reliable.and_then(|reliable| reliable.open.as_mut()) else { return };
        ctx.repeat(open.hop, open.bytes.0.clone());
        //= RFC 3262 §3: the interval doubles without the bound that a 2xx has.
        open.interval *= 2;
        open.repeat = Some(ctx.wake(id, open.interval, Wake::RepeatProvisional(pair)));
    }

    //= RFC 3262 §3: no PRACK for 64*T1: the INVITE is refused with a 5xx.
    pub(super) fn on_prack_missing(&mut self, ctx: &mut Context<'_>, pair: Pair) {
        let reliable = self.agreement_mut(pair).and_then(|agreement| agreement.reliable.as_deref_mut());
        let Some(reliable) = reliable else { return };
        if let Some(open) = &mut reliable.open {
            open.missing = None;
        }
        reliable.stop(ctx);
        let verdict = Verdict::plain(500, "a provisional response was not acknowledged");
        self.fail_in_progress(ctx, verdict);
    }

    /// The INVITE under way cannot go on: its sender gets a failure, the other side CANCEL or, if it has answered, ACK and
    /// BYE. Inside a call that goes on if it can.
    pub(super) fn fail_in_progress(&mut self, ctx: &mut Context<'_>, verdict: Verdict) {
        let Some(invite) = self.invite.as_deref() else { return };
        let accepted = matches!(invite.client, Client::Accepted { .. });
        if invite.is_initial() || accepted {
            return self.cut(ctx, Cut { cause: Cause::Cut(verdict.code), verdict });
        }
        self.fail_invite(ctx, &verdict);
        self.cancel_client(ctx, Some(verdict.reason()), None);
        self.abandon_invite(ctx);
    }

    /// Takes the open response that a PRACK acknowledges out: it is not repeated any more.
    pub(super) fn acknowledge(
        &mut self,
        ctx: &mut Context<'_>,
        pair: Pair,
        rack: &RAck,
    ) -> Option<Acknowledged> {
        let reliable = self.agreement_mut(pair)?.reliable.as_deref_mut()?;
        if let Some((response, again @ true)) = &mut reliable.acknowledged
            && response.sent == *rack
        {
            *again = false;
            return Some(response.clone());
        }
        reliable.open.as_ref().filter(|open| open.response.sent == *rack)?;
        reliable.stop(ctx);
        let response = reliable.open.take()?.response;
        reliable.acknowledged = Some((response.clone(), false));
        Some(response)
    }

    /// The PRACK was refused: its sender may try again, with credentials for example.
    pub(super) fn may_acknowledge_again(&mut self, pair: Pair) {
        let reliable = self.agreement_mut(pair).and_then(|agreement| agreement.reliable.as_deref_mut());
        if let Some((_, again)) = reliable.and_then(|reliable| reliable.acknowledged.as_mut()) {
            *again = true;
        }
    }

    /// What waited for a PRACK goes on: the next provisional response, or the 2xx.
    pub(super) fn go_on_after_prack(&mut self, ctx: &mut Context<'_>, pair: Pair) {
        let reliable = self.agreement_mut(pair).and_then(|agreement| agreement.reliable.as_deref_mut());
        let next = reliable.filter(|reliable| reliable.open.is_none());
        if let Some(message) = next.and_then(|reliable| reliable.waiting.pop_front()) {
            self.send_reliable(ctx, message, pair);
        }
        self.send_waiting_answer(ctx);
    }

    /// True while a 2xx may not overtake a reliable response with a description.
    ///
    //= RFC 3262 §3, §5: then the 2xx waits for its PRACK.
    pub(super) fn awaits_prack(&self, pair: Pair) -> bool {
        let Some(agreement) = self.agreement(pair) else { return false };
        let Some(reliable) = agreement.reliable.as_deref() else { return false };
        let open = reliable.open.as_ref().is_some_and(|open| open.response.sdp != Description::None);
        let answers = |message: &Message| self.goes_on_reliably(message) && has_description(message);
        open || reliable.waiting.iter().any(answers)
    }

    /// A final response leaves: provisional ones are not repeated any more.
    pub(super) fn stop_provisional(&mut self, ctx: &mut Context<'_>) {
        self.stop_informing(ctx);
        let Some(invite) = self.invite.as_deref_mut() else { return };
        let early = invite.setup.iter_mut().flat_map(|setup| &mut setup.early);
        let agreements = early.map(|early| &mut early.agreement).chain([&mut invite.agreement]);
        for agreement in agreements {
            agreement.stop(ctx);
        }
    }

    /// PRACK of our own, because the sender of the INVITE cannot send one. The answer is kept for its 2xx.
    pub(super) fn end_reliable(&mut self, ctx: &mut Context<'_>, message: &Message, pair: Pair) {
        match self.stage(pair) {
            Some(Stage::Offered) if self.has_answered_us(pair) => {}
            Some(Stage::Offered) => self.note_answer(pair, message),
            // An offer that nobody can answer, although the extension was not offered: its sender gives up.
            Some(Stage::Wanted) if has_description(message) => return,
            Some(Stage::Wanted | Stage::Returned | Stage::Agreed) | None => {}
        }
        self.send_prack(ctx, message, pair, Purpose::Acknowledge);
    }

    /// PRACK of our own for a reliable response.
    pub(super) fn send_prack(
        &mut self,
        ctx: &mut Context<'_>,
        message: &Message,
        pair: Pair,
        purpose: Purpose,
    ) {
        let Some(to) = self.invite.as_deref().map(|invite| invite.from.other()) else { return };
        let Some((builder, hop)) = self.request_in(ctx, (to, pair), &Method::Prack, None) else { return };
        let builder = builder.header_fmt(Name::RAck, format_args!("{}", rack_of(message)));
        let sip = Sip::new(&Method::Prack, 0);
        self.send_own(ctx, (to, pair), (builder, hop), sip, purpose);
    }

    /// Keeps the offer of the INVITE and its answer.
    pub(super) fn note_answer(&mut self, pair: Pair, message: &Message) {
        let (Body::Description(answer), Some(invite)) = (Body::of(message), self.invite.as_deref()) else {
            return;
        };
        let offer = invite.server.request().map(Message::body).unwrap_or_default();
        self.note_texts(pair, invite.from, offer.into(), answer.into());
    }

    /// Keeps what a pair of dialogs has agreed on.
    pub(super) fn note_texts(&mut self, pair: Pair, by: Side, offer: Box<[u8]>, answer: Box<[u8]>) {
        let texts = match by {
            Side::A => Texts { a: offer, b: answer },
            Side::B => Texts { a: answer, b: offer },
        };
        if let Some(agreement) = self.agreement_mut(pair) {
            agreement.texts = Some(Box::new(texts));
        }
    }

    /// A reliable provisional response with this description has left.
    pub(super) fn agreed_early(
        &mut self,
        ctx: &mut Context<'_>,
        pair: Pair,
        message: &Message,
    ) -> Description {
        match self.stage(pair) {
            Some(Stage::Offered) => {
                self.note_answer(pair, message);
                self.set_stage(pair, Stage::Agreed);
                if !self.suspends(pair, message) {
                    self.complete_exchange(ctx, pair);
                }
                Description::Answer
            }
            Some(Stage::Wanted) => {
                let by = self.invite.as_deref().map_or(Side::B, |invite| invite.from.other());
                self.note_texts(pair, by, message.body().into(), Box::default());
                self.set_stage(pair, Stage::Returned);
                Description::Offer
            }
            Some(Stage::Returned | Stage::Agreed) | None => Description::None,
        }
    }
}

/// One more than the highest difference to 1 (RFC 3262 §3: below 2**31).
const FIRST_RSEQ_BOUND: u64 = (1 << 31) - 1;

/// What acknowledges a response.
fn rack_of(message: &Message) -> RAck {
    let cseq = message.cseq().map_or(0, |cseq| cseq.number);
    RAck { rseq: rseq(message).unwrap_or_default(), cseq, method: Method::Invite }
}
