//! 2xx to our INVITE: RFC 3261 §13.2.2.4, §14.1.

use sip::dialog::Dialog;
use sip::message::Message;

use crate::call::{Call, State, Talk};
use crate::phone::{Out, Phone};
use crate::{CallNumber, Event};

impl Phone {
    pub(crate) fn on_success(&mut self, number: CallNumber, message: &Message, out: &mut Out<'_>) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        let is_ours = choose(&mut call, message);
        if is_ours {
            self.take_success(number, &mut call, message, out);
        } else {
            self.decline(&call, message, out);
        }
        let is_given_up = call.state == State::Up && std::mem::take(&mut call.wants_cancel);
        self.calls.insert(number, call);
        if is_given_up {
            self.hang_up(number, None, out);
        }
    }

    fn take_success(&mut self, number: CallNumber, call: &mut Call, message: &Message, out: &mut Out<'_>) {
        if !self.acknowledge(call, message, out) || !std::mem::replace(&mut call.is_inviting, false) {
            return;
        }
        call.learn(message);
        self.note_session(number, call, message, out);
        (call.before, call.wish) = (None, None);
        if let Some(talk) = call.talk() {
            talk.hear(message);
        }
        let remote = call.remote();
        if call.state == State::Calling {
            call.state = State::Up;
            out.event(Event::Answered { call: number, remote });
        } else {
            out.event(Event::Changed { call: number, remote });
        }
    }
}

/// Finds or makes the dialog of a 2xx; false if the call has another one already.
fn choose(call: &mut Call, message: &Message) -> bool {
    let tag = message.to().ok().and_then(|to| to.tag().map(str::to_owned)).unwrap_or_default();
    let known = call.talks.iter().position(|talk| talk.dialog.remote_tag() == tag);
    match (call.state, known) {
        (State::Calling, Some(at)) => {
            //= RFC 3261 §13.2.2.4: the first 2xx wins; the other early dialogs are over.
            let mut talk = call.talks.swap_remove(at);
            // What cannot be read changes nothing.
            let _unreadable = talk.dialog.confirm_by(message);
            call.talks = vec![talk];
        }
        (State::Calling, None) => {
            let Some(initial) = &call.initial else { return false };
            let Ok(dialog) = Dialog::uac(initial, message) else { return false };
            call.talks = vec![Talk::called(dialog, call.left_offer)];
        }
        (State::Up | State::Leaving | State::Over, Some(at)) => {
            if let Some(talk) = call.talks.get_mut(at) {
                talk.refresh(message);
            }
        }
        (State::Ringing, _) | (State::Up | State::Leaving | State::Over, None) => return false,
    }
    true
}
