//! UPDATE of the other side (RFC 3311 §5.2), and the end of ours.

use sip::endpoint::ServerKey;
use sip::message::{Builder, Message, Name};

use crate::call::{Call, Exchange, Open, State};
use crate::phone::{Out, Phone};
use crate::{CallNumber, Event};

impl Phone {
    pub(crate) fn on_update(&mut self, key: ServerKey, message: &Message, out: &mut Out<'_>) {
        let Some((number, at)) = self.find_dialog(message) else {
            return self.respond(key, message, (481, "Call/Transaction Does Not Exist"), out);
        };
        if self.config.oddities.refuses_update {
            let refusal = Builder::response_to(message, 405, "Method Not Allowed", None);
            let refusal = refusal.header(Name::Allow, self.allow());
            self.endpoint.respond(out.now, key, refusal, &mut out.transmit);
            return;
        }
        let Some(mut call) = self.calls.remove(&number) else { return };
        self.judge_update(number, &mut call, at, key, message, out);
        self.calls.insert(number, call);
        self.resume(number, out);
    }

    fn judge_update(
        &mut self,
        number: CallNumber,
        call: &mut Call,
        at: usize,
        key: ServerKey,
        message: &Message,
        out: &mut Out<'_>,
    ) {
        let Some(talk) = call.talks.get_mut(at) else { return };
        if talk.dialog.receive(message).is_err() {
            return self.respond(key, message, (500, "CSeq Out of Order"), out);
        }
        let has_offer = !message.body().is_empty();
        match (call.state, talk.exchange) {
            (State::Leaving | State::Over, _) => {
                self.respond(key, message, (481, "Call/Transaction Does Not Exist"), out);
            }
            //= RFC 3311 §5.2: 491 while our offer has no answer, 500 while theirs has none.
            (_, Exchange::Offered) if has_offer => self.respond(key, message, (491, "Request Pending"), out),
            (_, Exchange::Asked | Exchange::Empty) if has_offer => self.postpone(key, message, out),
            (State::Calling | State::Ringing | State::Up, _) => {
                self.take_update(number, call, at, key, message, out);
            }
        }
    }

    fn take_update(
        &mut self,
        number: CallNumber,
        call: &mut Call,
        at: usize,
        key: ServerKey,
        message: &Message,
        out: &mut Out<'_>,
    ) {
        if let Some(refusal) = self.objection(message, call.local_tag()).or_else(|| self.stubborn(message)) {
            self.endpoint.respond(out.now, key, refusal, &mut out.transmit);
            return;
        }
        call.learn(message);
        let Some(talk) = call.talks.get_mut(at) else { return };
        talk.refresh(message);
        let remote = talk.hear(message);
        let mut response = self.introduce(Builder::response_to(message, 200, "OK", None));
        response = self.agree_session(number, call, message, response, out);
        if remote.is_some() {
            self.weigh_offer(call, message.body());
            response = response.body("application/sdp", call.local.answer(message.body()));
        }
        self.endpoint.respond(out.now, key, response, &mut out.transmit);
        out.event(match remote {
            Some(_) => Event::Changed { call: number, remote },
            None => Event::Refreshed { call: number },
        });
    }

    /// The end of an UPDATE of ours.
    pub(crate) fn on_updated(
        &mut self,
        number: CallNumber,
        open: &Open,
        status: u16,
        response: Option<&Message>,
        out: &mut Out<'_>,
    ) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        if let (200..300, Some(response)) = (status, response) {
            call.learn(response);
            if let Some(talk) = call.talk_with(&open.tag) {
                talk.refresh(response);
            }
            self.note_session(number, &mut call, response, out);
        }
        self.calls.insert(number, call);
        match (open.has_offer, status) {
            (true, _) => self.on_offer_answered(number, open, status, response, out),
            (false, 200..300) => out.event(Event::Refreshed { call: number }),
            (false, _) => self.on_refresh_refused(number, status, response, out),
        }
    }
}
