//! A call comes in: what must be understood, the dialog, and when it is answered.

use std::time::Duration;

use sip::dialog::Dialog;
use sip::endpoint::ServerKey;
use sip::message::{Builder, Message, Name};
use sip::transport::Hop;

use crate::call::{Call, Exchange, State, Talk};
use crate::phone::{Out, Phone, Tick};
use crate::{Answer, CallNumber, Event, Reliable};

impl Phone {
    pub(crate) fn on_invite(&mut self, key: ServerKey, hop: Hop, message: Message, out: &mut Out<'_>) {
        if message.to().is_ok_and(|to| to.tag().is_some()) {
            return self.on_reinvite(key, message, out);
        }
        let tag = self.tag();
        if let Some(refusal) = self.objection(&message, &tag) {
            self.endpoint.respond(out.now, key, refusal, &mut out.transmit);
            return;
        }
        let replaced = self.replaced(&message);
        if replaced == Some(None) {
            //= RFC 3891 §3: no such dialog.
            let refusal = Builder::response_to(&message, 481, "Call/Transaction Does Not Exist", Some(&tag));
            self.endpoint.respond(out.now, key, refusal, &mut out.transmit);
            return;
        }
        let mut call = Call::new(State::Ringing, hop, self.local());
        match Dialog::uas(&message, &tag) {
            Ok(dialog) => {
                let exchange = if message.body().is_empty() { Exchange::Empty } else { Exchange::Asked };
                let mut talk = Talk::new(dialog, exchange);
                talk.hear(&message);
                call.talks.push(talk);
            }
            Err(defect) => {
                let refusal =
                    Builder::response_to(&message, defect.status(), &defect.to_string(), Some(&tag));
                self.endpoint.respond(out.now, key, refusal, &mut out.transmit);
                return;
            }
        }
        call.learn(&message);
        let remote = call.remote();
        self.weigh_offer(&mut call, message.body());
        let number = self.add(call, out);
        let from = message.header(Name::From).map(String::from_utf8_lossy).unwrap_or_default().into_owned();
        let call_id = message.call_id().unwrap_or_default().to_owned();
        out.event(Event::Called { call: number, call_id, from, remote });
        if let Some(call) = self.calls.get_mut(&number) {
            call.called = Some((key, message));
        }
        match replaced.flatten() {
            Some(old) => self.replace(number, old, out),
            None => self.take_up(number, out),
        }
    }

    /// Rings and waits, as configured.
    fn take_up(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let at_once = matches!(self.config.answer, Answer::Reject { after: Duration::ZERO, .. });
        if at_once {
            return self.set_answer_timer(number, out);
        }
        if self.is_suspended(number) {
            //= RFC 3312 §6: nobody is alerted before every mandatory precondition is met.
            self.provisional(number, 183, out);
            self.provide(number, out);
        } else {
            self.make_progress(number, out);
            self.set_answer_timer(number, out);
        }
    }

    /// From when the phone rings its user has time to answer.
    pub(crate) fn set_answer_timer(&mut self, number: CallNumber, out: &Out<'_>) {
        if let Answer::Accept { after } | Answer::Reject { after, .. } = self.config.answer {
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

    /// The refusal of an INVITE whose terms cannot be met, before any call is made of it.
    pub(crate) fn objection(&self, invite: &Message, tag: &str) -> Option<Builder> {
        let refusal = |status, phrase| Builder::response_to(invite, status, phrase, Some(tag));
        if let Some(unsupported) = self.unsupported(invite) {
            return Some(refusal(420, "Bad Extension").header(Name::Unsupported, unsupported));
        }
        let offers = [Name::Supported, Name::Require].iter().any(|name| invite.has_option(*name, "100rel"));
        let is_first = invite.to().is_ok_and(|to| to.tag().is_none());
        if self.config.extensions.reliable == Reliable::Required && is_first && !offers {
            //= RFC 3261 §21.4.15: 421 names in Require what the caller must support.
            return Some(refusal(421, "Extension Required").header(Name::Require, "100rel"));
        }
        if let Some(refusal) = self.precondition_objection(invite, tag) {
            return Some(refusal);
        }
        let minimum = self.too_short(invite)?;
        let refusal = refusal(422, "Session Interval Too Small");
        Some(refusal.header_fmt(Name::MinSe, format_args!("{minimum}")))
    }
}
