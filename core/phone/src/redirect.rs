//! A final failure of our INVITE, and the ways around it: 3xx (RFC 3261 §8.1.3.4) and 422 (RFC 4028 §7.3).

use sip::message::Message;

use crate::call::{Call, State};
use crate::phone::{Out, Phone};
use crate::{CallNumber, Event, REDIRECTIONS_MAX};

impl Phone {
    pub(crate) fn on_refused(
        &mut self,
        number: CallNumber,
        status: u16,
        response: Option<&Message>,
        out: &mut Out<'_>,
    ) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.is_inviting = false;
        match call.state {
            State::Up => self.on_change_refused(number, 0, status, response, out),
            State::Calling | State::Ringing => {
                let Some(mut call) = self.calls.remove(&number) else { return };
                let has_way =
                    response.is_some_and(|response| self.try_again(number, &mut call, response, out));
                self.calls.insert(number, call);
                if !has_way {
                    self.end(number, status, response, out);
                }
            }
            State::Leaving | State::Over => {}
        }
    }

    fn try_again(
        &mut self,
        number: CallNumber,
        call: &mut Call,
        response: &Message,
        out: &mut Out<'_>,
    ) -> bool {
        let has_way = match response.status() {
            300..400 => self.follow(number, call, response, out),
            422 => self.config.extensions.session.is_some() && call.session.raise(response),
            _ => false,
        };
        if has_way && !call.wants_cancel {
            self.invite(call, out);
        }
        has_way && !call.wants_cancel
    }

    fn follow(&self, number: CallNumber, call: &mut Call, response: &Message, out: &mut Out<'_>) -> bool {
        let Some(Ok(contact)) = response.contacts().next() else { return false };
        let to = contact.uri().to_owned();
        out.event(Event::Redirected { call: number, to: to.clone() });
        if !self.config.extensions.follows || call.redirections >= REDIRECTIONS_MAX {
            return false;
        }
        call.redirections += 1;
        let Some(before) = &call.initial else { return false };
        //= RFC 3261 §8.1.3.4: the same Call-ID, To and From, the next CSeq.
        let next = self.initial(before.call_id(), before.local_tag(), &call.to, &to, before.cseq() + 1);
        let is_new = next.is_some();
        call.initial = next.or_else(|| call.initial.take());
        is_new
    }
}
