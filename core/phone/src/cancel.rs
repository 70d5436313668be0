//! CANCEL, of either side: RFC 3261 §9.

use sip::endpoint::ServerKey;
use sip::message::{Message, Name};

use crate::CallNumber;
use crate::call::{Call, State};
use crate::phone::{Out, Phone, Tick};

impl Phone {
    pub(crate) fn cancel(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let Some(invite) = call.invite.filter(|_| call.state == State::Calling) else { return };
        call.wants_cancel = true;
        //= RFC 3261 §9.1: only after a provisional response.
        let labels: &[(Name, &[u8])] = &[(Name::ContentType, b"application/sdp")];
        let labels = if call.failure.is_empty() { &[] } else { labels };
        if self.endpoint.cancel(out.now, invite, labels, &call.failure, &mut out.transmit).is_some() {
            self.timers.set(out.now + self.config.timers.t1_64(), (number, Tick::Abandon));
        }
    }

    pub(crate) fn abandon(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let Some(invite) = call.invite.filter(|_| call.state == State::Calling) else { return };
        self.endpoint.abandon(invite);
        self.end(number, 487, None, out);
    }

    pub(crate) fn on_cancel(&mut self, invite: ServerKey, message: &Message, out: &mut Out<'_>) {
        let is_it = |call: &Call| call.called.as_ref().is_some_and(|(key, _)| *key == invite);
        let Some(number) = self.find(is_it) else { return };
        if self.config.oddities.ignores_cancel {
            return;
        }
        if !self.config.oddities.silent_after_cancel {
            self.refuse(number, 487, out);
        }
        // A re-INVITE that is cancelled leaves its call as it was.
        if self.calls.get(&number).is_some_and(|call| call.state == State::Ringing) {
            self.end(number, 487, Some(message), out);
        }
    }
}
