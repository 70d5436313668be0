//! Requests inside a call but INVITE and BYE, relayed as transactions: RFC 3261 §12.2, RFC 6086 (INFO), RFC 3515 (REFER) …
//! and methods we have never heard of. PRACK and UPDATE may carry descriptions: [`Role`].

use sip::endpoint::{ClientFailure, ClientKey};
use sip::message::{Builder, Message, Method, Name, RAck};

use super::early::Pair;
use super::pinholes::Meaning;
use super::signal::Signal;
use super::{Call, Request};
use crate::context::Context;
use crate::event::Sip;
use crate::failure::{Verdict, phrase};
use crate::leg::carried::Carried;
use crate::leg::{Sdp, headers};
use crate::named;
use crate::side::Side;

/// A request being relayed.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    number: u32,
    from: Side,
    pair: Pair,
    request: Request,
    client: Option<ClientKey>,
    role: Role,
    /// RAck of a PRACK, as it is on the other leg.
    rack: Option<Box<RAck>>,
}

/// What the description in a request is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Role {
    /// Nothing: it does not travel.
    Plain,
    /// An offer; the answer is in the 2xx. `before` is what the other side had until it was sent on.
    Offer { before: Option<Box<[u8]>> },
    /// The answer to the offer of the response that a PRACK acknowledges.
    Answer,
}

impl Call {
    pub(super) fn on_other_request(
        &mut self,
        ctx: &mut Context<'_>,
        (from, pair): (Side, Pair),
        request: Request,
    ) {
        if self.ending.is_some() || !self.is_pair_alive(pair) {
            return self.refuse_request(ctx, from, &request, 481, &[]);
        }
        if matches!(request.message.method(), Method::Register | Method::Publish) {
            //= RFC 3261 §8.2.1: a method we know but do not take part in: 405 with Allow.
            return self.refuse_request(ctx, from, &request, 405, &[(Name::Allow, headers::ALLOW)]);
        }
        let timer = self.legs[from].session.is_on();
        let unsupported = headers::unsupported(&request.message, timer).collect::<Vec<_>>().join(", ");
        if !unsupported.is_empty() {
            let lines = [(Name::Unsupported, unsupported.as_str())];
            return self.refuse_request(ctx, from, &request, 420, &lines);
        }
        if self.exchanges.len() >= ctx.config.limits.exchanges {
            return self.refuse_request(ctx, from, &request, 500, &[(Name::RetryAfter, "1")]);
        }
        match request.message.method() {
            Method::Refer if self.names_the_inside(ctx, from, &request) => {
                let what = "Refer-To names a host behind the firewall";
                let verdict = Verdict::new(ctx.config.codes.static_policy, "firewall policy", what);
                self.refuse_with(ctx, from, &request, &verdict);
            }
            Method::Prack => self.on_prack(ctx, (from, pair), request),
            Method::Update => self.on_update(ctx, (from, pair), request),
            _ => self.pass_exchange(ctx, (from, pair), request, (Role::Plain, None)),
        }
    }

    /// What it names of ours has been translated, so that it names nothing but that.
    fn names_the_inside(&self, ctx: &Context<'_>, from: Side, request: &Request) -> bool {
        request.refer_to.is_none() && named::names_the_inside(ctx.config, self.realms(from), &request.message)
    }

    /// A request goes on as soon as what it says about media may pass.
    pub(super) fn pass_exchange(
        &mut self,
        ctx: &mut Context<'_>,
        (from, pair): (Side, Pair),
        request: Request,
        (role, rack): (Role, Option<RAck>),
    ) {
        let number = self.exchanges_made;
        self.exchanges_made = number.wrapping_add(1);
        let rack = rack.map(Box::new);
        self.exchanges.push(Exchange { number, from, pair, request, client: None, role, rack });
        self.submit(ctx, from, Signal::Ask { exchange: number });
    }

    fn exchange(&self, number: u32) -> Option<usize> {
        self.exchanges.iter().position(|exchange| exchange.number == number)
    }

    /// The exchange a transaction of ours belongs to.
    pub(super) fn exchange_of(&self, key: ClientKey) -> Option<u32> {
        self.exchanges.iter().find(|exchange| exchange.client == Some(key)).map(|exchange| exchange.number)
    }

    /// The dialog that it was sent in.
    pub(super) fn exchange_pair(&self, key: ClientKey) -> Option<(Side, Pair)> {
        let exchange = self.exchanges.iter().find(|exchange| exchange.client == Some(key))?;
        Some((exchange.from.other(), exchange.pair))
    }

    /// It was sent again, by another transaction.
    pub(super) fn rename_exchange(&mut self, key: ClientKey, new: ClientKey) {
        for exchange in self.exchanges.iter_mut().filter(|exchange| exchange.client == Some(key)) {
            exchange.client = Some(new);
        }
    }

    /// True if a side has a request of this method open in a pair of dialogs.
    pub(super) fn asks(&self, from: (Side, Pair), method: &Method) -> bool {
        let is_it = |exchange: &Exchange| {
            (exchange.from, exchange.pair) == from && exchange.request.message.method() == *method
        };
        self.exchanges.iter().any(is_it)
    }

    pub(super) fn is_update(&self, number: u32) -> bool {
        let exchange = self.exchange(number).map(|position| &self.exchanges[position]);
        exchange.is_some_and(|exchange| exchange.request.message.method() == Method::Update)
    }

    /// Who has an offer open in a request.
    pub(super) fn offer_in_exchange(&self) -> Option<Side> {
        let offers = |exchange: &&Exchange| matches!(exchange.role, Role::Offer { .. });
        self.exchanges.iter().find(offers).map(|exchange| exchange.from)
    }

    /// The pair of dialogs that a request belongs to.
    pub(super) fn pair_of_exchange(&self, number: u32) -> Pair {
        self.exchange(number).map_or(Pair::Call, |position| self.exchanges[position].pair)
    }

    /// The request, if what it says about media matters.
    pub(super) fn asked_description(&self, number: u32) -> Option<(Message, Meaning)> {
        let exchange = &self.exchanges[self.exchange(number)?];
        let meaning = match exchange.role {
            Role::Plain => return None,
            Role::Offer { .. } => Meaning::Offer,
            Role::Answer => Meaning::Answer,
        };
        Some((exchange.request.message.clone(), meaning))
    }

    /// True if a response must have the answer to the request's offer.
    pub(super) fn answers_offer(&self, number: u32, message: &Message) -> bool {
        let exchange = self.exchange(number).map(|position| &self.exchanges[position]);
        let offers = exchange.is_some_and(|exchange| matches!(exchange.role, Role::Offer { .. }));
        offers && message.status() < 300
    }

    /// The request goes on.
    pub(super) fn send_exchange(&mut self, ctx: &mut Context<'_>, from: Side, number: u32) {
        let Some(position) = self.exchange(number) else { return };
        let (to, pair) = (from.other(), self.exchanges[position].pair);
        let mut exchange = self.exchanges.remove(position);
        let message = &exchange.request.message;
        let Some((builder, hop)) = self.request_in(ctx, (to, pair), message.method(), Some(message)) else {
            self.exchanges.insert(position, exchange);
            return self.refuse_exchange(ctx, from, number, &Verdict::plain(481, ""));
        };
        let builder = self.write_own_fields(ctx, to, &exchange, builder);
        let sdp = match exchange.role {
            Role::Plain => Sdp::Stays,
            Role::Offer { .. } => Sdp::Passes,
            Role::Answer => self.as_answer(),
        };
        if sdp != Sdp::Stays {
            self.keep_offered(to, pair);
        }
        let leg = &mut self.legs[to];
        if let Role::Offer { before: before @ None } = &mut exchange.role {
            *before = leg.description.sent();
        }
        let (builder, sdp) = leg.carry(ctx.config, builder, Carried::new(message), sdp);
        if sdp {
            self.note_told(to, pair);
        }
        let sip = Sip { sdp, ..Sip::new(message.method(), 0) };
        exchange.client = Some(ctx.request(self.to(to), Some(exchange.request.key), hop, builder, sip));
        let answer = (exchange.role == Role::Answer).then(|| message.body().into());
        self.exchanges.insert(position, exchange);
        if let Some(answer) = answer {
            self.agree_by_prack(ctx, (from, pair), answer);
        }
    }

    /// What a request has of its own on the leg it goes to.
    fn write_own_fields(
        &self,
        ctx: &Context<'_>,
        to: Side,
        exchange: &Exchange,
        builder: Builder,
    ) -> Builder {
        let Exchange { request: Request { message, refer_to, .. }, rack, .. } = exchange;
        let builder = match has_contact(message.method()) {
            true => self.legs[to].contact(ctx.config, builder),
            false => builder,
        };
        match (refer_to, rack) {
            (Some(refer_to), _) => builder.header(Name::ReferTo, refer_to.as_bytes()),
            (None, Some(rack)) => builder.header_fmt(Name::RAck, format_args!("{rack}")),
            (None, None) if *message.method() == Method::Refer => builder.copy(message, Name::ReferTo),
            (None, None) => builder,
        }
    }

    pub(super) fn on_exchange_response(&mut self, ctx: &mut Context<'_>, number: u32, message: Message) {
        let Some(from) = self.exchange(number).map(|position| self.exchanges[position].from.other()) else {
            return;
        };
        self.received(ctx, from, &message);
        self.session_id.learn(from, &message, &mut ctx.shared.rng);
        if self.asks_longer_by_update(number, from, &message) {
            return self.send_exchange(ctx, from.other(), number);
        }
        //= RFC 4320 §4.1: provisional responses to anything but INVITE are not worth relaying.
        if message.status() >= 200 {
            self.submit(ctx, from, Signal::Reply { exchange: number, message });
        }
    }

    /// The final response goes back.
    pub(super) fn send_reply(&mut self, ctx: &mut Context<'_>, number: u32, message: &Message) {
        let Some(exchange) = self.take_exchange(number) else { return };
        let (from, pair, method) = (exchange.from, exchange.pair, exchange.request.message.method().clone());
        let carried = Carried::new(message);
        let (status, words) = match carried.status() {
            (503, _) => (500, phrase(500).to_owned()),
            other => other,
        };
        let (accepted, answer) = (status < 300, self.as_answer());
        let updated = accepted && method == Method::Update;
        if updated {
            self.refresh_targets(&exchange, message);
        }
        if self.ends_here(&exchange, status) {
            return self.answer_refresh(ctx, from, &exchange.request);
        }
        let leg = &mut self.legs[from];
        let mut builder = Builder::response_to(&exchange.request.message, status, &words, None);
        if has_contact(&method) && accepted {
            builder = leg.contact(ctx.config, builder);
        }
        let builder = self.session_id.write(builder, from);
        let answers = accepted && matches!(exchange.role, Role::Offer { .. });
        let sdp = if answers { answer } else { Sdp::Stays };
        if sdp != Sdp::Stays {
            self.keep_offered(from, pair);
        }
        let (mut builder, sdp) = self.legs[from].carry(ctx.config, builder, carried, sdp);
        if sdp {
            self.note_told(from, pair);
        }
        if updated && pair == Pair::Call {
            self.session_accepted(ctx, from.other(), message);
            builder = self.answer_session(ctx, from, builder, &exchange.request.message);
        }
        ctx.respond(self.to(from), exchange.request.key, builder, Sip { sdp, ..Sip::new(&method, status) });
        self.settle_offer(ctx, &exchange, accepted.then_some(message));
        if method == Method::Prack && !accepted {
            self.may_acknowledge_again(pair);
        }
        //= RFC 6665 §4.1.3: 481 to these says that there is no such subscription; the call has nothing to do with it. A
        // PRACK may have come too late for its response.
        let local = matches!(method, Method::Notify | Method::Subscribe | Method::Prack);
        // Before the answer the INVITE tells how the call goes on.
        if status == 481 && pair == Pair::Call && !local {
            self.on_peer_gone(ctx, from.other());
        }
    }

    /// True if a 422 to an UPDATE is met with a longer interval.
    fn asks_longer_by_update(&mut self, number: u32, side: Side, message: &Message) -> bool {
        let exchange = self.exchange(number).map(|position| &self.exchanges[position]);
        let updates = exchange.is_some_and(|exchange| {
            exchange.pair == Pair::Call && exchange.request.message.method() == Method::Update
        });
        updates && message.status() == 422 && self.legs[side].session.too_small(message)
    }

    /// True if a refresh of a peer's own has met one that does not take UPDATE.
    fn ends_here(&mut self, exchange: &Exchange, status: u16) -> bool {
        let refreshes = exchange.role == Role::Plain
            && exchange.pair == Pair::Call
            && exchange.request.message.method() == Method::Update
            && self.legs[exchange.from].session.is_on();
        let refused = refreshes && matches!(status, 405 | 501);
        if refused {
            self.legs[exchange.from.other()].session.update_refused();
        }
        refused
    }

    //= RFC 3311 §5.1: UPDATE and its 2xx may move the peers.
    fn refresh_targets(&mut self, exchange: &Exchange, answer: &Message) {
        let (from, pair) = (exchange.from, exchange.pair);
        for (side, message) in [(from, &exchange.request.message), (from.other(), answer)] {
            if let Some(dialog) = self.dialog_mut(side, pair) {
                // A Contact that cannot be read leaves the peer where it was.
                let _unreadable = dialog.refresh(message);
            }
        }
    }

    /// The offer of a request is answered, or came to nothing.
    fn settle_offer(&mut self, ctx: &mut Context<'_>, exchange: &Exchange, answer: Option<&Message>) {
        let Role::Offer { before } = &exchange.role else { return };
        let (from, pair) = (exchange.from, exchange.pair);
        match answer {
            Some(answer) => {
                self.note_texts(pair, from, exchange.request.message.body().into(), answer.body().into());
                self.complete_exchange(ctx, pair);
            }
            None => self.abandon_offer(ctx, pair, before.clone().map(|before| (from.other(), before))),
        }
    }

    fn take_exchange(&mut self, number: u32) -> Option<Exchange> {
        self.exchange(number).map(|position| self.exchanges.remove(position))
    }

    /// Nobody answered, or the request could not be delivered.
    pub(super) fn on_exchange_unanswered(&mut self, ctx: &mut Context<'_>, number: u32, why: ClientFailure) {
        let Some(exchange) = self.take_exchange(number) else { return };
        //= RFC 4320 §4.2: never 408 to anything but INVITE; the sender has given up by itself, and 504 frees the rest.
        let status = match why {
            ClientFailure::Timeout => 504,
            ClientFailure::Transport => 500,
        };
        self.refuse_request(ctx, exchange.from, &exchange.request, status, &[]);
        self.settle_offer(ctx, &exchange, None);
    }

    /// The request may not go on.
    pub(super) fn refuse_exchange(
        &mut self,
        ctx: &mut Context<'_>,
        from: Side,
        number: u32,
        verdict: &Verdict,
    ) {
        let Some(exchange) = self.take_exchange(number) else { return };
        let request = &exchange.request;
        match (&exchange.role, request.message.method()) {
            (Role::Plain, _) => {
                self.refuse_request(ctx, from, request, verdict.code, &[(Name::RetryAfter, "1")]);
            }
            (role, Method::Prack) => {
                self.refuse_prack(ctx, (from, role), request, verdict.clone());
            }
            (_, _) => {
                self.refuse_with(ctx, from, request, verdict);
                self.settle_offer(ctx, &exchange, None);
            }
        }
    }

    /// The answer to the request's offer may not pass: its sender gets a failure, and the other side is brought back.
    pub(super) fn refuse_reply(
        &mut self,
        ctx: &mut Context<'_>,
        number: u32,
        message: &Message,
        verdict: Verdict,
    ) {
        if !self.answers_offer(number, message) {
            return self.send_reply(ctx, number, message);
        }
        let Some(exchange) = self.take_exchange(number) else { return };
        let (from, pair, request) = (exchange.from, exchange.pair, exchange.request);
        if request.message.method() == Method::Prack {
            return self.refuse_prack(ctx, (from, &exchange.role), &request, verdict);
        }
        self.refuse_with(ctx, from, &request, &verdict);
        self.abandon_offer(ctx, pair, None);
        if let Role::Offer { before } = exchange.role
            && !self.has_lost(pair)
        {
            self.undo(ctx, (from, pair), before, verdict);
        }
    }

    /// A failure of ours, with what there is to say about it.
    pub(super) fn refuse_with(
        &mut self,
        ctx: &mut Context<'_>,
        side: Side,
        request: &Request,
        verdict: &Verdict,
    ) {
        let builder = self.response_in(side, &request.message, verdict.code);
        let builder = verdict.explain(builder, &ctx.config.pseudonym);
        let builder = self.explain_failed(ctx, builder, side, verdict.failed.as_deref());
        let sip = Sip::new(request.message.method(), verdict.code);
        ctx.respond(self.to(side), request.key, builder, sip);
    }

    /// The early dialogs are gone: what was under way in the one that has won goes on, the rest has no answer any more.
    pub(super) fn move_exchanges(&mut self, ctx: &mut Context<'_>, winner: Option<u8>) {
        for exchange in &mut self.exchanges {
            if exchange.pair == winner.map_or(Pair::Call, Pair::Early) {
                exchange.pair = Pair::Call;
            }
        }
        let lost: Vec<Exchange> =
            self.exchanges.extract_if(.., |exchange| exchange.pair != Pair::Call).collect();
        for exchange in &lost {
            self.drop_exchange(ctx, exchange, 481);
        }
        self.drop_held_where(ctx, is_of(&lost));
    }

    /// An early dialog is over: what was under way in it has no answer any more.
    //= RFC 3261 §15.1.2: as after a BYE.
    pub(super) fn drop_exchanges_in(&mut self, ctx: &mut Context<'_>, pair: Pair) {
        let gone: Vec<Exchange> = self.exchanges.extract_if(.., |exchange| exchange.pair == pair).collect();
        for exchange in &gone {
            self.drop_exchange(ctx, exchange, 487);
        }
        let is_gone = is_of(&gone);
        self.drop_held_where(ctx, |signal| signal.is_in(pair) || is_gone(signal));
    }

    fn drop_exchange(&mut self, ctx: &mut Context<'_>, exchange: &Exchange, status: u16) {
        if let Some(client) = exchange.client {
            ctx.shared.clients.remove(&client);
        }
        self.refuse_request(ctx, exchange.from, &exchange.request, status, &[]);
    }

    //= RFC 3261 §15.1.2: requests still open when BYE comes get 487.
    pub(super) fn drop_exchanges(&mut self, ctx: &mut Context<'_>) {
        for exchange in std::mem::take(&mut self.exchanges) {
            self.drop_exchange(ctx, &exchange, 487);
        }
    }
}

/// Picks the signals that belong to one of these.
fn is_of(exchanges: &[Exchange]) -> impl Fn(&Signal) -> bool {
    |signal| exchanges.iter().any(|exchange| signal.exchange() == Some(exchange.number))
}

//= RFC 3311 §5.1, RFC 6665 §4.1.2.1, RFC 3515 §2.2: these refresh the target, so they carry Contact.
fn has_contact(method: &Method) -> bool {
    matches!(method, Method::Update | Method::Subscribe | Method::Notify | Method::Refer)
}
