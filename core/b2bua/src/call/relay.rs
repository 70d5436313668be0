//! All other requests inside a call, relayed as transactions: RFC 3261 §12.2, RFC 6086 (INFO), RFC 3515 (REFER) …
//! and methods we have never heard of. UPDATE and PRACK are not taken part in yet: 405.

use sip::endpoint::{ClientFailure, ClientKey};
use sip::message::{Builder, Message, Method, Name};

use super::early::Pair;
use super::signal::Signal;
use super::{Call, Request};
use crate::context::Context;
use crate::event::Sip;
use crate::failure::{Verdict, phrase};
use crate::leg::carried::Carried;
use crate::leg::{Sdp, headers};
use crate::side::Side;

/// A request being relayed.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    number: u32,
    from: Side,
    pair: Pair,
    request: Request,
    client: Option<ClientKey>,
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
        if matches!(
            request.message.method(),
            Method::Prack | Method::Update | Method::Register | Method::Publish
        ) {
            //= RFC 3261 §8.2.1: a method we know but do not take part in: 405 with Allow.
            return self.refuse_request(ctx, from, &request, 405, &[(Name::Allow, headers::ALLOW)]);
        }
        let unsupported = headers::unsupported(&request.message).collect::<Vec<_>>().join(", ");
        if !unsupported.is_empty() {
            let lines = [(Name::Unsupported, unsupported.as_str())];
            return self.refuse_request(ctx, from, &request, 420, &lines);
        }
        if self.exchanges.len() >= ctx.config.limits.exchanges {
            return self.refuse_request(ctx, from, &request, 500, &[(Name::RetryAfter, "1")]);
        }
        let number = self.exchanges.last().map_or(0, |last| last.number.wrapping_add(1));
        self.exchanges.push(Exchange { number, from, pair, request, client: None });
        self.submit(ctx, from, Signal::Ask { exchange: number });
    }

    fn exchange(&self, number: u32) -> Option<usize> {
        self.exchanges.iter().position(|exchange| exchange.number == number)
    }

    /// The exchange a transaction of ours belongs to.
    pub(super) fn exchange_of(&self, key: ClientKey) -> Option<u32> {
        self.exchanges.iter().find(|exchange| exchange.client == Some(key)).map(|exchange| exchange.number)
    }

    /// The request goes on.
    pub(super) fn send_exchange(&mut self, ctx: &mut Context<'_>, from: Side, number: u32) {
        let Some(position) = self.exchange(number) else { return };
        let to = from.other();
        let Exchange { pair, ref request, .. } = self.exchanges[position];
        let (key, message) = (request.key, request.message.clone());
        let method = message.method().clone();
        let Some((mut builder, hop)) = self.request_in(ctx, (to, pair), &method, Some(&message)) else {
            return self.refuse_exchange(ctx, from, number, &Verdict::plain(481, ""));
        };
        let leg = &mut self.legs[to];
        if matches!(method, Method::Subscribe | Method::Notify | Method::Refer) {
            //= RFC 6665 §4.1.2.1, RFC 3515 §2.2: these refresh the target, so they carry Contact.
            builder = leg.contact(ctx.config, builder);
        }
        builder = match &self.exchanges[position].request.refer_to {
            Some(refer_to) => builder.header(Name::ReferTo, refer_to.as_bytes()),
            None if method == Method::Refer => builder.copy(&message, Name::ReferTo),
            None => builder,
        };
        let (builder, _) = leg.carry(ctx.config, builder, Carried::new(&message), Sdp::Stays);
        let client = ctx.request(self.to(to), Some(key), hop, builder, Sip::new(&method, 0));
        self.exchanges[position].client = Some(client);
    }

    pub(super) fn on_exchange_response(&mut self, ctx: &mut Context<'_>, number: u32, message: Message) {
        let Some(from) = self.exchange(number).map(|position| self.exchanges[position].from.other()) else {
            return;
        };
        self.received(ctx, from, &message);
        self.session_id.learn(from, &message, &mut ctx.shared.rng);
        //= RFC 4320 §4.1: provisional responses to anything but INVITE are not worth relaying.
        if message.status() >= 200 {
            self.submit(ctx, from, Signal::Reply { exchange: number, message });
        }
    }

    /// The final response goes back.
    pub(super) fn send_reply(&mut self, ctx: &mut Context<'_>, number: u32, message: &Message) {
        let Some(Exchange { from, pair, request, .. }) = self.take_exchange(number) else { return };
        let carried = Carried::new(message);
        let (status, words) = match carried.status() {
            (503, _) => (500, phrase(500).to_owned()),
            other => other,
        };
        let leg = &mut self.legs[from];
        let method = request.message.method();
        let mut builder = Builder::response_to(&request.message, status, &words, None);
        if matches!(method, Method::Subscribe | Method::Notify | Method::Refer) && status < 300 {
            builder = leg.contact(ctx.config, builder);
        }
        let builder = self.session_id.write(builder, from);
        let (builder, _) = leg.carry(ctx.config, builder, carried, Sdp::Stays);
        ctx.respond(self.to(from), request.key, builder, Sip::new(method, status));
        //= RFC 6665 §4.1.3: 481 to these says that there is no such subscription; the call has nothing to do with it.
        let subscription = matches!(method, Method::Notify | Method::Subscribe);
        // Before the answer the INVITE tells how the call goes on.
        if status == 481 && pair == Pair::Call && !subscription {
            self.on_peer_gone(ctx, from.other());
        }
    }

    fn take_exchange(&mut self, number: u32) -> Option<Exchange> {
        self.exchange(number).map(|position| self.exchanges.remove(position))
    }

    /// Nobody answered, or the request could not be delivered.
    pub(super) fn on_exchange_unanswered(&mut self, ctx: &mut Context<'_>, number: u32, why: ClientFailure) {
        let Some(Exchange { from, request, .. }) = self.take_exchange(number) else { return };
        //= RFC 4320 §4.2: never 408 to anything but INVITE; the sender has given up by itself, and 504 frees the rest.
        let status = match why {
            ClientFailure::Timeout => 504,
            ClientFailure::Transport => 500,
        };
        self.refuse_request(ctx, from, &request, status, &[]);
    }

    /// The request may not go on.
    pub(super) fn refuse_exchange(
        &mut self,
        ctx: &mut Context<'_>,
        from: Side,
        number: u32,
        verdict: &Verdict,
    ) {
        if let Some(exchange) = self.take_exchange(number) {
            self.refuse_request(ctx, from, &exchange.request, verdict.code, &[(Name::RetryAfter, "1")]);
        }
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
        for exchange in lost {
            self.drop_exchange(ctx, &exchange, 481);
        }
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
