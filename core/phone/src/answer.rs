//! The final response of the callee: 200 repeated until its ACK (RFC 3261 §13.3.1.4), or a refusal.

use std::net::SocketAddr;
use std::time::Duration;

use sip::endpoint::ServerKey;
use sip::message::{Builder, Message, Name};

use crate::call::{Call, Exchange, State};
use crate::phone::{Out, Phone, Tick};
use crate::{CallNumber, Event};

impl Phone {
    pub(crate) fn accept(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        let mut replaced = None;
        //= RFC 3262 §5: no 2xx while a reliable response with SDP has no PRACK.
        let is_held = call.unacknowledged.as_ref().is_some_and(|unheard| unheard.has_sdp);
        if call.state == State::Ringing && call.is_alerting && is_held {
            call.wants_accept = true;
        } else if call.state == State::Ringing
            && call.is_alerting
            && let Some((key, invite)) = call.called.take()
        {
            call.state = State::Up;
            if let Some(talk) = call.talk() {
                talk.dialog.confirm();
            }
            self.move_away(number, &mut call, out);
            self.succeed(number, &mut call, key, &invite, out);
            out.event(Event::Answered { call: number, remote: call.remote() });
            replaced = call.replaced.take();
        }
        self.calls.insert(number, call);
        if let Some(old) = replaced {
            self.hang_up(old, None, out);
        }
    }

    /// An odd phone receives elsewhere than it said in its 18x.
    fn move_away(&self, number: CallNumber, call: &mut Call, out: &mut Out<'_>) {
        if self.config.oddities.moves_in_answer {
            let media = SocketAddr::new(call.local.media.ip(), call.local.media.port().saturating_add(2));
            call.local.move_to(media);
            out.event(Event::Moved { call: number, media });
        }
    }

    /// Sends a 200 to INVITE, to be repeated until its ACK.
    pub(crate) fn succeed(
        &mut self,
        number: CallNumber,
        call: &mut Call,
        key: ServerKey,
        invite: &Message,
        out: &mut Out<'_>,
    ) {
        let response = Builder::response_to(invite, 200, "OK", Some(call.local_tag()));
        let response = self.introduce(response.copy(invite, Name::RecordRoute));
        let response = self.agree_session(number, call, invite, response, out);
        let response = match self.final_sdp(call, invite) {
            Some(sdp) => response.body("application/sdp", sdp),
            None => response,
        };
        let hop = self.endpoint.response_hop(key);
        let bytes = self.endpoint.respond(out.now, key, response, &mut out.transmit);
        let (Some(hop), Some(bytes)) = (hop, bytes) else { return };
        if self.config.oddities.answers_twice {
            self.endpoint.repeat(hop, bytes.clone(), &mut out.transmit);
        }
        call.answer = Some((hop, bytes));
        call.answers += 1;
        let (values, answer) = (self.config.timers, call.answers);
        self.timers.set(out.now + values.t1, (number, Tick::Repeat(answer, values.t1)));
        self.timers.set(out.now + values.t1_64(), (number, Tick::NoAck(answer)));
    }

    fn final_sdp(&self, call: &mut Call, invite: &Message) -> Option<String> {
        let (sdp, next) = match call.exchange() {
            Exchange::Asked => (call.local.answer(invite.body()), Exchange::Agreed),
            //= RFC 3261 §13.3.1.4: an INVITE without an offer gets one in the 2xx.
            Exchange::Empty => (call.local.offer(), Exchange::Offered),
            // An odd phone says where it moved although nobody asked again.
            Exchange::Agreed if self.config.oddities.moves_in_answer && !invite.body().is_empty() => {
                (call.local.answer(invite.body()), Exchange::Agreed)
            }
            Exchange::Offered | Exchange::Agreed => return None,
        };
        if let Some(talk) = call.talk() {
            talk.exchange = next;
        }
        Some(sdp)
    }

    pub(crate) fn repeat_answer(
        &mut self,
        number: CallNumber,
        answer: u64,
        interval: Duration,
        out: &mut Out<'_>,
    ) {
        let Some(call) = self.calls.get(&number).filter(|call| call.answers == answer) else { return };
        let Some((hop, bytes)) = call.answer.clone() else { return };
        self.endpoint.repeat(hop, bytes, &mut out.transmit);
        let next = interval.saturating_mul(2).min(self.config.timers.t2);
        self.timers.set(out.now + next, (number, Tick::Repeat(answer, next)));
    }

    //= RFC 3261 §13.3.1.4: without an ACK for 64*T1 the callee says BYE.
    pub(crate) fn no_ack(&mut self, number: CallNumber, answer: u64, out: &mut Out<'_>) {
        let call = self.calls.get_mut(&number).filter(|call| call.answers == answer);
        if call.is_some_and(|call| call.answer.take().is_some()) {
            self.hang_up(number, None, out);
        }
    }

    pub(crate) fn reject(&mut self, number: CallNumber, status: u16, out: &mut Out<'_>) {
        if self.calls.get(&number).is_none_or(|call| call.state != State::Ringing) {
            return;
        }
        self.refuse(number, status, out);
        self.end(number, status, None, out);
    }

    /// The final failure of an INVITE that has no final response.
    pub(crate) fn refuse(&mut self, number: CallNumber, status: u16, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let Some((key, invite)) = call.called.take() else { return };
        let mut refusal = Builder::response_to(&invite, status, "Refused", Some(call.local_tag()));
        if !call.failure.is_empty() {
            refusal = refusal.body("application/sdp", &call.failure);
        }
        if (300..400).contains(&status) {
            refusal = refusal.header(Name::Contact, self.elsewhere());
        }
        self.endpoint.respond(out.now, key, refusal, &mut out.transmit);
    }
}
