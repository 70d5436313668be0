//! re-INVITE of the other side: RFC 3261 §14.2.

use sip::endpoint::ServerKey;
use sip::message::{Builder, Message, Name};

use crate::CallNumber;
use crate::Event;
use crate::call::{Call, Exchange, State};
use crate::phone::{Out, Phone, Tick};

impl Phone {
    pub(crate) fn on_reinvite(&mut self, key: ServerKey, message: Message, out: &mut Out<'_>) {
        let found = self.find_dialog(&message);
        let Some((number, mut call)) = found.and_then(|(number, _)| self.calls.remove_entry(&number)) else {
            return self.respond(key, &message, (481, "Call/Transaction Does Not Exist"), out);
        };
        let at = found.map_or(0, |(_, at)| at);
        let in_order = call.talks.get_mut(at).is_some_and(|talk| talk.dialog.receive(&message).is_ok());
        match (call.state, in_order) {
            //= RFC 3261 §14.2: 500 for one too many, 491 while our own is open.
            (State::Up, true) if call.is_inviting || call.exchange() == Exchange::Offered => {
                self.respond(key, &message, (491, "Request Pending"), out);
            }
            (State::Up, true) if call.answer.is_none() && call.called.is_none() => {
                self.consider(number, &mut call, key, message, out);
            }
            (State::Up | State::Calling | State::Ringing, _) => self.postpone(key, &message, out),
            (State::Leaving | State::Over, _) => {
                self.respond(key, &message, (481, "Call/Transaction Does Not Exist"), out);
            }
        }
        self.calls.insert(number, call);
    }

    //= RFC 3261 §14.2, RFC 3311 §5.2: 500 says when to come back, up to 10 s later.
    pub(crate) fn postpone(&mut self, key: ServerKey, request: &Message, out: &mut Out<'_>) {
        let later = self.rng.below(11);
        let refusal = Builder::response_to(request, 500, "Server Internal Error", None);
        let refusal = refusal.header_fmt(Name::RetryAfter, format_args!("{later}"));
        self.endpoint.respond(out.now, key, refusal, &mut out.transmit);
    }

    fn consider(
        &mut self,
        number: CallNumber,
        call: &mut Call,
        key: ServerKey,
        message: Message,
        out: &mut Out<'_>,
    ) {
        if let Some(refusal) = self.objection(&message, call.local_tag()).or_else(|| self.stubborn(&message))
        {
            self.endpoint.respond(out.now, key, refusal, &mut out.transmit);
            return;
        }
        if let Some(talk) = call.talk() {
            talk.exchange = if message.body().is_empty() { Exchange::Empty } else { Exchange::Asked };
        }
        call.called = Some((key, message));
        match self.config.oddities.answers_reinvite_late {
            Some(after) => {
                self.timers.set(out.now + after, (number, Tick::Late));
            }
            None => self.agree(number, call, out),
        }
    }

    /// The refusal of a phone that never changes anything.
    pub(crate) fn stubborn(&self, request: &Message) -> Option<Builder> {
        let refuses = self.config.oddities.refuses_changes && !request.body().is_empty();
        refuses.then(|| {
            Builder::response_to(request, 488, "Not Acceptable Here", None)
                .header(Name::Warning, r#"399 phone "this phone never changes""#)
        })
    }

    fn agree(&mut self, number: CallNumber, call: &mut Call, out: &mut Out<'_>) {
        let Some((key, message)) = call.called.take() else { return };
        call.learn(&message);
        if let Some(talk) = call.talk() {
            talk.refresh(&message);
            talk.hear(&message);
        }
        self.weigh_offer(call, message.body());
        self.succeed(number, call, key, &message, out);
        let remote = if message.body().is_empty() { None } else { call.remote() };
        out.event(Event::Changed { call: number, remote });
    }

    /// The phone that took its time.
    pub(crate) fn answer_reinvite(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        if call.state == State::Up {
            self.agree(number, &mut call, out);
        }
        self.calls.insert(number, call);
    }
}
