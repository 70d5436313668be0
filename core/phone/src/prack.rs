//! PRACK: received by the callee (RFC 3262 §3, §5), answered to the caller.

use sip::endpoint::ServerKey;
use sip::message::{Builder, Message, Method};

use crate::call::{Call, Exchange, Open, State};
use crate::phone::{Out, Phone};
use crate::{CallNumber, Event};

impl Phone {
    pub(crate) fn on_prack(&mut self, key: ServerKey, message: &Message, out: &mut Out<'_>) {
        let Some((number, at)) = self.find_dialog(message) else {
            return self.respond(key, message, (481, "Call/Transaction Does Not Exist"), out);
        };
        let Some(mut call) = self.calls.remove(&number) else { return };
        let in_order = call.talks.get_mut(at).is_some_and(|talk| talk.dialog.receive(message).is_ok());
        if !in_order {
            self.respond(key, message, (500, "CSeq Out of Order"), out);
        } else if is_match(&call, message) {
            call.unacknowledged = None;
            self.take_prack(number, &mut call, key, message, out);
        } else {
            //= RFC 3262 §3: a PRACK that matches nothing gets 481.
            self.respond(key, message, (481, "Call/Transaction Does Not Exist"), out);
        }
        self.calls.insert(number, call);
        self.go_on(number, out);
        self.resume(number, out);
    }

    fn take_prack(
        &mut self,
        number: CallNumber,
        call: &mut Call,
        key: ServerKey,
        message: &Message,
        out: &mut Out<'_>,
    ) {
        let mut response = Builder::response_to(message, 200, "OK", None);
        let Some(talk) = call.talks.first_mut() else { return };
        let remote = talk.hear(message);
        let mut is_offer = false;
        match (talk.exchange, &remote) {
            //= RFC 3262 §5: a new offer in PRACK is answered in its 2xx.
            (Exchange::Agreed, Some(_)) => {
                is_offer = true;
            }
            (Exchange::Offered, _) => talk.exchange = Exchange::Agreed,
            (Exchange::Agreed | Exchange::Asked | Exchange::Empty, _) => {}
        }
        if is_offer {
            self.weigh_offer(call, message.body());
            response = response.body("application/sdp", call.local.answer(message.body()));
        }
        self.endpoint.respond(out.now, key, response, &mut out.transmit);
        if remote.is_some() {
            out.event(Event::Changed { call: number, remote });
        }
    }

    /// What waited for a PRACK: the next provisional response, or the 2xx.
    fn go_on(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        if call.state != State::Ringing || call.unacknowledged.is_some() {
            return;
        }
        if let Some(status) = call.waiting.pop_front() {
            self.provisional(number, status, out);
        }
        let Some(call) = self.calls.get_mut(&number) else { return };
        if std::mem::take(&mut call.wants_accept) {
            self.accept(number, out);
        }
    }

    /// The end of a PRACK of ours, and of the offer in it; what the response brought can be confirmed now.
    pub(crate) fn on_pracked(
        &mut self,
        number: CallNumber,
        open: &Open,
        status: u16,
        response: Option<&Message>,
        out: &mut Out<'_>,
    ) {
        if open.has_offer {
            self.on_offer_answered(number, open, status, response, out);
        }
        self.confirm(number, out);
    }
}

fn is_match(call: &Call, prack: &Message) -> bool {
    let Some(unheard) = &call.unacknowledged else { return false };
    let Ok(Some(rack)) = prack.rack() else { return false };
    let invite = call.called.as_ref().and_then(|(_, invite)| invite.cseq().ok());
    rack.rseq == unheard.rseq
        && rack.method == Method::Invite
        && invite.is_none_or(|invite| invite.number == rack.cseq)
}
