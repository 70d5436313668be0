//! Between the call and its ledger: which signal means which step, and what replies mean for the call.

use midcom::{Direction, Failure, MiddleboxId, Prid, Reply, Request, RequestId};
use sdp::{Refusal, Session};
use sip::message::{Message, Method};

use super::Call;
use super::early::Pair;
use super::offer::Stage;
use super::reliable::rseq;
use super::signal::Signal;
use crate::agents::Asker;
use crate::context::{Context, Wake};
use crate::event::Event;
use crate::failure::{SDP_CLASS, Verdict};
use crate::ledger::{LedgerRequest, Progress, Step};
use crate::leg::body::Body;
use crate::side::Side;

/// Whether a signal may be delivered.
#[derive(Debug)]
pub(super) enum Prepared {
    Ready,
    Wait,
    Refused(Verdict),
}

/// What a description is to the ledger.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning {
    Offer,
    /// By the early dialog with this number.
    Preview(usize),
    Answer,
}

impl Call {
    /// Asks the ledger what a signal needs.
    pub(super) fn prepare(&mut self, ctx: &mut Context<'_>, from: Side, signal: &Signal) -> Prepared {
        match signal {
            Signal::Try => match self.invite.as_deref().and_then(|invite| invite.server.request()).cloned() {
                Some(request) => self.step(ctx, from, &request, Meaning::Offer),
                None => self.prepare_own_offer(ctx, from),
            },
            Signal::Connect { message } if self.own_offer().is_some() => {
                self.prepare_own_answer(ctx, from, message)
            }
            Signal::Ring { message, pair } => match self.meaning_of_ring(*pair, message) {
                Some(meaning) if self.turn_to(*pair) => self.step(ctx, from, message, meaning),
                Some(_) | None => Prepared::Ready,
            },
            Signal::Met { message, pair } => self.prepare_met(ctx, message, *pair),
            Signal::Inform { pair } => self.prepare_inform(*pair),
            Signal::Connect { message } => self.prepare_connect(ctx, from, message),
            Signal::Confirm { message } => match self.stage(self.answered_pair()) {
                Some(Stage::Returned) => self.step(ctx, from, message, Meaning::Answer),
                Some(Stage::Offered | Stage::Wanted | Stage::Agreed) | None => Prepared::Ready,
            },
            Signal::Ask { exchange } => match self.asked_description(*exchange) {
                Some((request, meaning)) => {
                    self.resume(ctx);
                    self.step_in(ctx, self.pair_of_exchange(*exchange), from, &request, meaning)
                }
                None => Prepared::Ready,
            },
            Signal::Reply { exchange, message } => match self.answers_offer(*exchange, message) {
                true => self.step_in(ctx, self.pair_of_exchange(*exchange), from, message, Meaning::Answer),
                false => Prepared::Ready,
            },
        }
    }

    /// What the description of a provisional response is.
    fn meaning_of_ring(&self, pair: Pair, message: &Message) -> Option<Meaning> {
        if self.has_answered_us(pair) {
            return None;
        }
        let reliably = self.goes_on_reliably(message);
        // What is only a preview is not shown to somebody who would take it for the answer.
        if rseq(message).is_none() && self.invite.as_deref().is_some_and(|invite| invite.insists) {
            return None;
        }
        let described = matches!(Body::of(message), Body::Description(_) | Body::Hidden);
        match (self.stage(pair)?, reliably, pair) {
            (Stage::Offered, true, _) if described => Some(Meaning::Answer),
            (Stage::Offered, false, Pair::Early(number)) => Some(Meaning::Preview(number.into())),
            (Stage::Wanted, true, _) if described => Some(Meaning::Offer),
            (Stage::Offered | Stage::Wanted | Stage::Returned | Stage::Agreed, _, _) => None,
        }
    }

    /// The answer to an UPDATE of ours: it takes the place of what its early dialog has shown before.
    fn prepare_met(&mut self, ctx: &mut Context<'_>, message: &Message, pair: Pair) -> Prepared {
        let described = matches!(Body::of(message), Body::Description(_) | Body::Hidden);
        let Pair::Early(number) = pair else { return Prepared::Ready };
        if !described || !self.turn_to(pair) {
            return Prepared::Ready;
        }
        self.ledger.shows_other(usize::from(number));
        self.step(ctx, Side::B, message, Meaning::Preview(number.into()))
    }

    /// An UPDATE of ours: nobody is told that media passes while a middlebox that has lost a pinhole is asked for it again.
    fn prepare_inform(&mut self, pair: Pair) -> Prepared {
        let Pair::Early(number) = pair else { return Prepared::Ready };
        match self.turn_to(pair).then(|| self.ledger.passes(usize::from(number))) {
            Some(Step::Wait) => Prepared::Wait,
            Some(Step::Ready) | None => Prepared::Ready,
        }
    }

    fn prepare_connect(&mut self, ctx: &mut Context<'_>, from: Side, message: &Message) -> Prepared {
        let pair = self.answered_pair();
        self.decide(pair);
        let Some(agreement) = self.agreement(pair) else { return Prepared::Ready };
        let texts = agreement.texts.clone();
        let bare = matches!(Body::of(message), Body::None | Body::Opaque(_));
        match (agreement.stage, texts) {
            (Stage::Offered, Some(texts)) if bare || self.has_answered_us(pair) => {
                self.step_text(ctx, from, &texts[from], Meaning::Answer)
            }
            (Stage::Offered, _) if self.is_restoring() => {
                match self.step(ctx, from, message, Meaning::Answer) {
                    // It has moved again: the other side does not know where to.
                    Prepared::Wait => Prepared::Refused(Verdict::terminated()),
                    other @ (Prepared::Ready | Prepared::Refused(_)) => other,
                }
            }
            (Stage::Offered, _) => self.step(ctx, from, message, Meaning::Answer),
            (Stage::Wanted, _) => self.step(ctx, from, message, Meaning::Offer),
            (Stage::Returned | Stage::Agreed, _) => Prepared::Ready,
        }
    }

    /// True if a signal may have to wait for pinholes.
    pub(super) fn asks_ledger(&self, signal: &Signal) -> bool {
        match signal {
            Signal::Try | Signal::Met { .. } | Signal::Inform { .. } => true,
            Signal::Ring { message, pair } => self.meaning_of_ring(*pair, message).is_some(),
            Signal::Connect { .. } | Signal::Confirm { .. } => match self.stage(self.answered_pair()) {
                Some(Stage::Offered | Stage::Wanted | Stage::Returned) => true,
                Some(Stage::Agreed) => self.has_rivals(),
                None => false,
            },
            Signal::Ask { exchange } => self.asked_description(*exchange).is_some(),
            Signal::Reply { exchange, message } => self.answers_offer(*exchange, message),
        }
    }

    /// A step in one of the pairs of dialogs; one that has lost takes none.
    fn step_in(
        &mut self,
        ctx: &mut Context<'_>,
        pair: Pair,
        by: Side,
        message: &Message,
        meaning: Meaning,
    ) -> Prepared {
        match self.turn_to(pair) {
            true => self.step(ctx, by, message, meaning),
            //= RFC 3261 §13.2.2.4: the early dialogs that have not won are over.
            false => Prepared::Refused(Verdict::plain(481, "another has answered")),
        }
    }

    pub(super) fn step(
        &mut self,
        ctx: &mut Context<'_>,
        by: Side,
        message: &Message,
        meaning: Meaning,
    ) -> Prepared {
        let text = match (Body::of(message), meaning) {
            (Body::Description(text), _) => text,
            //= RFC 3261 §13.2.1: the 2xx must answer the offer, and the ACK the one in the 2xx.
            (Body::None | Body::Opaque(_), Meaning::Answer) => {
                return Prepared::Refused(Verdict::new(500, SDP_CLASS, "an answer is missing"));
            }
            (Body::None | Body::Opaque(_), Meaning::Preview(_)) => return Prepared::Ready,
            (Body::None | Body::Opaque(_), Meaning::Offer) => {
                let (ids, out) = (&mut ctx.shared.ids, &mut ctx.shared.requests);
                let step = self.ledger.offerless(ctx.now, by, ids, out);
                return self.prepared(ctx, step);
            }
            (Body::Hidden, _) => {
                return unusable(message, 415, "it is encoded or inside another body");
            }
        };
        if text.len() > ctx.config.limits.sdp_bytes {
            return unusable(message, 513, "it is too long");
        }
        let session = match Session::parse(text) {
            Ok(session) => session,
            //= RFC 3261 §21.4.1: a body that is not what its label says.
            Err(error) => return unusable(message, 400, error.to_string()),
        };
        let prepared = self.step_session(ctx, by, &session, meaning);
        if matches!(prepared, Prepared::Refused(_))
            && !message.is_request()
            && *message.method() == Method::Invite
            && !(message.status() < 200 && self.rings_elsewhere())
        {
            self.note_ghost_ring(ctx);
        }
        prepared
    }

    /// True if a response answers an offer of ours with nothing that would need another pinhole.
    pub(super) fn answers_at_once(&mut self, ctx: &mut Context<'_>, by: Side, message: &Message) -> bool {
        matches!(self.step(ctx, by, message, Meaning::Answer), Prepared::Ready)
    }

    /// A description that has been read before.
    pub(super) fn step_text(
        &mut self,
        ctx: &mut Context<'_>,
        by: Side,
        text: &[u8],
        meaning: Meaning,
    ) -> Prepared {
        match Session::parse(text) {
            Ok(session) => self.step_session(ctx, by, &session, meaning),
            Err(error) => Prepared::Refused(Verdict::new(500, SDP_CLASS, error.to_string())),
        }
    }

    fn step_session(
        &mut self,
        ctx: &mut Context<'_>,
        by: Side,
        session: &Session<'_>,
        meaning: Meaning,
    ) -> Prepared {
        if let Some(refusal) = self.behind_own_nat(ctx, by, session) {
            return Prepared::Refused(Verdict::of_description(ctx.config.codes.refused_sdp, &refusal));
        }
        if matches!(meaning, Meaning::Offer) {
            self.legs[by].turned_off = sdp::turned_off(session).collect();
            self.legs[by.other()].turned_off.clear();
        }
        let (ids, out) = (&mut ctx.shared.ids, &mut ctx.shared.requests);
        let step = match meaning {
            Meaning::Offer => self.ledger.offered(ctx.now, by, session, ids, out),
            Meaning::Preview(fork) => self.ledger.preview(ctx.now, (by, fork), session, ids, out),
            Meaning::Answer => self.ledger.answered(ctx.now, by, session, ids, out),
        };
        self.prepared(ctx, step)
    }

    /// Sends what the ledger asks for, and says what its step means for the signal.
    fn prepared(&mut self, ctx: &mut Context<'_>, step: Result<Step, Refusal>) -> Prepared {
        self.ask(ctx);
        match step {
            Ok(Step::Ready) => Prepared::Ready,
            Ok(Step::Wait) => Prepared::Wait,
            Err(refusal) => {
                let code = ctx.config.codes.refused_sdp;
                Prepared::Refused(Verdict::of_description(code, &refusal))
            }
        }
    }

    /// Sends what the ledger asks for.
    pub(super) fn ask(&mut self, ctx: &mut Context<'_>) {
        let requests = std::mem::take(&mut ctx.shared.requests);
        for LedgerRequest { middlebox, id, request } in requests.iter().cloned() {
            let toward = self.toward(ctx, middlebox, &request);
            ctx.event(Event::Asked { call: self.id, middlebox, id, toward, request: request.clone() });
            ctx.ask(LedgerRequest { middlebox, id, request }, Asker::Call(self.id));
        }
        ctx.shared.give_back(requests);
        for side in [Side::A, Side::B] {
            self.legs[side].description.disguise(self.ledger.disguise(side));
        }
        self.set_ledger_timer(ctx);
    }

    /// The side that media may travel to because of a request.
    fn toward(&self, ctx: &Context<'_>, middlebox: MiddleboxId, request: &Request) -> Option<Side> {
        let realms = &ctx.config.middleboxes.get(usize::from(middlebox.0))?.inside;
        let inside = if realms.contains(&self.legs.a.realm) { Side::A } else { Side::B };
        match request {
            Request::Enable { direction, .. } | Request::EnableReserved { direction, .. } => {
                match direction {
                    Direction::Inbound => Some(inside),
                    Direction::Outbound => Some(inside.other()),
                    Direction::Bidirectional => None,
                }
            }
            Request::Reserve { .. }
            | Request::Disable { .. }
            | Request::Lifetime { .. }
            | Request::Status { .. }
            | Request::List
            | Request::Count { .. } => None,
        }
    }

    pub(super) fn set_ledger_timer(&mut self, ctx: &mut Context<'_>) {
        let next = self.ledger.next_timeout().map(|(at, _)| at);
        if self.ledger_timer.map(machine::TimerId::at) != next {
            ctx.stop(&mut self.ledger_timer);
            self.ledger_timer = next.map(|at| ctx.wake(self.id, at.since(ctx.now), Wake::Ledger));
        }
    }

    /// A middlebox answered, or will not.
    pub(crate) fn on_reply(
        &mut self,
        ctx: &mut Context<'_>,
        middlebox: MiddleboxId,
        id: RequestId,
        result: Result<Reply, Failure>,
    ) {
        let fact = result.as_ref().map(prid).map_err(|failure| *failure);
        if let Ok(Some(prid)) = fact {
            self.own_rule(ctx, (middlebox, prid));
        }
        ctx.event(Event::Answered { call: self.id, middlebox, id, result: fact });
        let (ids, out) = (&mut ctx.shared.ids, &mut ctx.shared.requests);
        let progress = self.ledger.replied(ctx.now, id, result, ids, out);
        self.ask(ctx);
        match progress {
            Progress::Pending | Progress::Stale => {}
            Progress::Ready => self.release(ctx),
            Progress::Failed(failure, stream) => self.on_rule_refused(ctx, failure, stream),
            Progress::StaysWide(failure, stream) => {
                ctx.event(Event::StaysWide { call: self.id, stream, failure });
            }
            Progress::Lost(loss) => self.on_loss(ctx, loss),
            Progress::Closed => self.on_rules_closed(ctx),
        }
    }

    /// True if the call goes on without one of its early dialogs, whichever it is.
    fn rings_elsewhere(&self) -> bool {
        self.setup().is_some_and(|setup| setup.alive() > 1 && setup.winner.is_none())
    }

    /// The firewall is why nobody will talk: whether the callee's phone has rung for it is what is counted.
    pub(super) fn note_ghost_ring(&self, ctx: &mut Context<'_>) {
        let Some(invite) = self.invite.as_deref() else { return };
        let Some(setup) = invite.setup.as_deref().filter(|_| self.ending.is_none()) else { return };
        let (call, reserved) = (self.id, self.ledger.reserves());
        ctx.event(match setup.rang || invite.client.is_accepted() {
            true => Event::GhostRing { call, reserved },
            false => Event::GhostRingPrevented { call, reserved },
        });
    }

    /// What the held message needs is not to be had.
    pub(super) fn on_rule_refused(&mut self, ctx: &mut Context<'_>, failure: Failure, stream: u16) {
        // Of several phones that ring one is taken out: no call has failed yet.
        let one_of_several = self.holds_ring() && self.rings_elsewhere();
        if !self.holds_change() && !one_of_several {
            self.note_ghost_ring(ctx);
        }
        let in_call = self.established.is_some() || self.holds_change();
        let verdict = Verdict::of_middlebox(&ctx.config.codes, failure, stream, in_call);
        self.refuse_held(ctx, verdict);
    }

    /// The answer has left: the exchange is complete.
    pub(super) fn complete_exchange(&mut self, ctx: &mut Context<'_>, pair: Pair) {
        if self.has_lost(pair) {
            return;
        }
        self.ledger.completed(ctx.now, pair.early(), &mut ctx.shared.ids, &mut ctx.shared.requests);
        self.ask(ctx);
        self.note_media_hold(ctx);
    }

    /// The exchange came to nothing.
    pub(super) fn abandon_exchange(&mut self, ctx: &mut Context<'_>) {
        if let Some(invite) = self.invite.as_deref_mut()
            && let Some(before) = invite.before.take()
        {
            self.legs[invite.from.other()].description.take_back(before);
        }
        self.abandon_offer(ctx, Pair::Call, None);
    }

    /// An offer came to nothing; the side that got it has what it had before.
    pub(super) fn abandon_offer(
        &mut self,
        ctx: &mut Context<'_>,
        pair: Pair,
        told: Option<(Side, Box<[u8]>)>,
    ) {
        if self.has_lost(pair) {
            return;
        }
        if let Some((side, before)) = told {
            self.legs[side].description.take_back(before);
            self.note_told(side, pair);
        }
        self.ledger.abandoned(ctx.now, pair.early(), &mut ctx.shared.ids, &mut ctx.shared.requests);
        self.ask(ctx);
    }

    /// Every rule of the call is closed.
    pub(super) fn close_rules(&mut self, ctx: &mut Context<'_>) {
        self.ledger.close(ctx.now, &mut ctx.shared.ids, &mut ctx.shared.requests);
        self.ask(ctx);
    }
}

/// A description that cannot be read: its sender's fault, so a request gets `code`; the sender of the request that a
/// response answers has done nothing wrong.
fn unusable(message: &Message, code: u16, what: impl Into<String>) -> Prepared {
    Prepared::Refused(Verdict::new(if message.is_request() { code } else { 500 }, SDP_CLASS, what))
}

/// The rule a reply names.
fn prid(reply: &Reply) -> Option<Prid> {
    match reply {
        Reply::Reserved { prid, .. } | Reply::Enabled { prid, .. } | Reply::Disabled { prid, .. } => {
            Some(*prid)
        }
        Reply::Lifetime(_) | Reply::Ended | Reply::Status(_) | Reply::List(_) | Reply::Counted(_) => None,
    }
}
