//! BYE, of either side.

use sip::endpoint::ServerKey;
use sip::message::{Message, Method, Name};

use crate::CallNumber;
use crate::call::State;
use crate::phone::{Out, Phone};

impl Phone {
    /// Ends an answered call, and says why if there is a reason.
    pub(crate) fn hang_up(&mut self, number: CallNumber, reason: Option<&str>, out: &mut Out<'_>) {
        let is_early = self.config.oddities.hangs_up_early;
        let Some(call) = self.calls.get_mut(&number).filter(|call| call.state == State::Up) else { return };
        //= RFC 3261 §15: the callee's BYE waits for the ACK, which may be 64*T1 away.
        if call.initial.is_none() && call.answers == 1 && call.answer.is_some() && !is_early {
            call.wants_hang_up = true;
            return;
        }
        let Some(mut bye) = call.talk().map(|talk| talk.dialog.request(&Method::Bye)) else { return };
        if let Some(reason) = reason {
            bye = bye.header(Name::Reason, reason);
        }
        let hop = call.next_hop();
        call.state = State::Leaving;
        call.session.stop(&mut self.timers);
        call.bye = Some(self.endpoint.request(out.now, hop, bye, &mut out.transmit));
    }

    pub(crate) fn on_bye(&mut self, key: ServerKey, message: &Message, out: &mut Out<'_>) {
        let found = self.find_dialog(message);
        let talk = found.and_then(|(number, at)| self.calls.get_mut(&number)?.talks.get_mut(at));
        let (Some((number, _)), Some(talk)) = (found, talk) else {
            return self.respond(key, message, (481, "Call/Transaction Does Not Exist"), out);
        };
        if talk.dialog.receive(message).is_err() {
            return self.respond(key, message, (500, "CSeq Out of Order"), out);
        }
        if !self.config.oddities.ignores_bye {
            self.respond(key, message, (200, "OK"), out);
        }
        let Some(call) = self.calls.get_mut(&number) else { return };
        if call.state == State::Calling {
            // One early dialog of several is over; the others may still answer.
            call.talks.retain(|talk| !talk.dialog.is_of_request(message));
            return;
        }
        //= RFC 3261 §15.1.2: an INVITE still open gets 487.
        self.refuse(number, 487, out);
        self.end(number, 200, Some(message), out);
    }
}
