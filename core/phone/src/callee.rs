//! What the phone is asked: INVITE, re-INVITE, CANCEL, ACK, BYE.

use std::time::Duration;

use sip::dialog::Dialog;
use sip::endpoint::ServerKey;
use sip::message::{Builder, Message, Name};
use sip::transport::Hop;

use crate::call::{Call, State};
use crate::phone::{ALLOW, Out, Phone, Tick};
use crate::{Answer, CallNumber, Event, Remote};

impl Phone {
    pub(crate) fn on_invite(&mut self, key: ServerKey, hop: Hop, message: Message, out: &mut Out<'_>) {
        if message.to().is_ok_and(|to| to.tag().is_some()) {
            return self.on_reinvite(key, message, out);
        }
        let tag = self.tag();
        let mut call = Call::new(State::Ringing, hop, self.local());
        match Dialog::uas(&message, &tag) {
            Ok(dialog) => call.dialog = Some(dialog),
            Err(defect) => {
                let refusal =
                    Builder::response_to(&message, defect.status(), &defect.to_string(), Some(&tag));
                self.endpoint.respond(out.now, key, refusal, &mut out.transmit);
                return;
            }
        }
        let number = self.add(call);
        let from = message.header(Name::From).map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        let call_id = message.call_id().unwrap_or_default().to_owned();
        out.event(Event::Called { call: number, call_id, from, remote: Remote::of(&message) });
        let after = match self.config.answer {
            Answer::Accept { after } | Answer::Reject { after, .. } => Some(after),
            Answer::Ring => None,
        };
        let at_once = matches!(self.config.answer, Answer::Reject { after: Duration::ZERO, .. });
        if !at_once {
            let ringing = Builder::response_to(&message, 180, "Ringing", Some(&tag));
            let ringing = ringing.copy(&message, Name::RecordRoute).header(Name::Contact, self.contact());
            self.endpoint.respond(out.now, key, ringing, &mut out.transmit);
        }
        if let Some(call) = self.calls.get_mut(&number) {
            call.called = Some((key, message));
        }
        if let Some(after) = after {
            self.timers.set(out.now + after, (number, Tick::Answer));
        }
    }

    pub(crate) fn answer_due(&mut self, number: CallNumber, out: &mut Out<'_>) {
        match self.config.answer {
            Answer::Accept { .. } => self.accept(number, out),
            Answer::Reject { status, .. } => self.reject(number, status, out),
            Answer::Ring => {}
        }
    }

    pub(crate) fn accept(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        if call.state == State::Ringing
            && let Some((key, invite)) = call.called.take()
        {
            call.state = State::Up;
            if let Some(dialog) = &mut call.dialog {
                dialog.confirm();
            }
            self.succeed(number, &mut call, key, &invite, out);
            out.event(Event::Answered { call: number, remote: Remote::of(&invite) });
        }
        self.calls.insert(number, call);
    }

    /// Sends a 200 with SDP, to be repeated until its ACK.
    fn succeed(
        &mut self,
        number: CallNumber,
        call: &mut Call,
        key: ServerKey,
        invite: &Message,
        out: &mut Out<'_>,
    ) {
        let tag = call.dialog.as_ref().map(Dialog::local_tag).unwrap_or_default();
        //= RFC 3261 §13.3.1.4: an INVITE without an offer gets one in the 2xx.
        let sdp = match invite.body() {
            [] => call.local.offer(&self.config.user),
            offer => call.local.answer(&self.config.user, offer),
        };
        let response = Builder::response_to(invite, 200, "OK", Some(tag))
            .copy(invite, Name::RecordRoute)
            .header(Name::Contact, self.contact())
            .header(Name::Allow, ALLOW)
            .body("application/sdp", sdp);
        let hop = self.endpoint.response_hop(key);
        let bytes = self.endpoint.respond(out.now, key, response, &mut out.transmit);
        let (Some(hop), Some(bytes)) = (hop, bytes) else { return };
        if self.config.oddities.answers_twice {
            self.endpoint.repeat(hop, bytes.clone(), &mut out.transmit);
        }
        call.answer = Some((hop, bytes));
        let (values, version) = (self.config.timers, call.local.version);
        self.timers.set(out.now + values.t1, (number, Tick::Repeat(version, values.t1)));
        self.timers.set(out.now + values.t1_64(), (number, Tick::NoAck(version)));
    }

    pub(crate) fn repeat_answer(
        &mut self,
        number: CallNumber,
        version: u64,
        interval: Duration,
        out: &mut Out<'_>,
    ) {
        let Some(call) = self.calls.get(&number).filter(|call| call.local.version == version) else { return };
        let Some((hop, bytes)) = call.answer.clone() else { return };
        self.endpoint.repeat(hop, bytes, &mut out.transmit);
        let next = interval.saturating_mul(2).min(self.config.timers.t2);
        self.timers.set(out.now + next, (number, Tick::Repeat(version, next)));
    }

    //= RFC 3261 §13.3.1.4: without an ACK for 64*T1 the callee says BYE.
    pub(crate) fn no_ack(&mut self, number: CallNumber, version: u64, out: &mut Out<'_>) {
        let call = self.calls.get_mut(&number).filter(|call| call.local.version == version);
        if call.is_some_and(|call| call.answer.take().is_some()) {
            self.hang_up(number, out);
        }
    }

    pub(crate) fn reject(&mut self, number: CallNumber, status: u16, out: &mut Out<'_>) {
        if self.calls.get(&number).is_none_or(|call| call.state != State::Ringing) {
            return;
        }
        self.refuse(number, status, out);
        self.end(number, status, None, out);
    }

    /// The final failure of an INVITE that rings.
    fn refuse(&mut self, number: CallNumber, status: u16, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let Some((key, invite)) = call.called.take() else { return };
        let tag = call.dialog.as_ref().map(Dialog::local_tag);
        let refusal = Builder::response_to(&invite, status, "Refused", tag);
        self.endpoint.respond(out.now, key, refusal, &mut out.transmit);
    }

    fn on_reinvite(&mut self, key: ServerKey, message: Message, out: &mut Out<'_>) {
        let found = self.find_dialog(&message);
        let Some((number, mut call)) = found.and_then(|number| self.calls.remove_entry(&number)) else {
            return self.refuse_request(key, &message, 481, "Call/Transaction Does Not Exist", out);
        };
        let in_order = call.dialog.as_mut().is_some_and(|dialog| dialog.receive(&message).is_ok());
        match (call.state, in_order) {
            //= RFC 3261 §14.2: 500 for one too many, 491 while our own is open.
            (State::Up, true) if call.is_inviting => {
                self.refuse_request(key, &message, 491, "Request Pending", out);
            }
            (State::Up, true) if call.answer.is_none() => {
                if let Some(dialog) = &mut call.dialog {
                    // A target that cannot be read changes nothing.
                    let _unreadable = dialog.refresh(&message);
                }
                call.local.version += 1;
                self.succeed(number, &mut call, key, &message, out);
                out.event(Event::Changed { call: number, remote: Remote::of(&message) });
            }
            (State::Up | State::Calling | State::Ringing, _) => {
                self.refuse_request(key, &message, 500, "Server Internal Error", out);
            }
            (State::Leaving | State::Over, _) => {
                self.refuse_request(key, &message, 481, "Call/Transaction Does Not Exist", out);
            }
        }
        self.calls.insert(number, call);
    }

    fn refuse_request(
        &mut self,
        key: ServerKey,
        request: &Message,
        status: u16,
        phrase: &str,
        out: &mut Out<'_>,
    ) {
        let refusal = Builder::response_to(request, status, phrase, None);
        self.endpoint.respond(out.now, key, refusal, &mut out.transmit);
    }

    pub(crate) fn on_ack(&mut self, message: &Message, out: &mut Out<'_>) {
        let Some(number) = self.find_dialog(message) else { return };
        let Some(call) = self.calls.get_mut(&number) else { return };
        if call.answer.take().is_some()
            && let Some(remote) = Remote::of(message)
        {
            out.event(Event::Changed { call: number, remote: Some(remote) });
        }
    }

    pub(crate) fn on_cancel(&mut self, invite: ServerKey, message: &Message, out: &mut Out<'_>) {
        let is_it = |call: &Call| call.called.as_ref().is_some_and(|(key, _)| *key == invite);
        let Some(number) = self.find(is_it) else { return };
        if !self.config.oddities.silent_after_cancel {
            self.refuse(number, 487, out);
        }
        self.end(number, 487, Some(message), out);
    }

    pub(crate) fn on_bye(&mut self, key: ServerKey, message: &Message, out: &mut Out<'_>) {
        let found = self.find_dialog(message);
        let Some((number, call)) = found.and_then(|number| Some((number, self.calls.get_mut(&number)?)))
        else {
            return self.refuse_request(key, message, 481, "Call/Transaction Does Not Exist", out);
        };
        if call.dialog.as_mut().is_some_and(|dialog| dialog.receive(message).is_err()) {
            return self.refuse_request(key, message, 500, "CSeq Out of Order", out);
        }
        if !self.config.oddities.ignores_bye {
            self.refuse_request(key, message, 200, "OK", out);
        }
        //= RFC 3261 §15.1.2: an INVITE still open gets 487.
        self.refuse(number, 487, out);
        self.end(number, 200, Some(message), out);
    }
}
