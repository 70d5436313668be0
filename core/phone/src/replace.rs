//! INVITE with Replaces (RFC 3891): a phone takes the place of another one in a call whose dialog it has been told.

use sip::message::{Message, Name};

use crate::CallNumber;
use crate::call::State;
use crate::phone::{Out, Phone};

impl Phone {
    /// What another phone needs to take this one's place in an answered call: whom to call, and the value of Replaces.
    #[must_use]
    pub fn place(&self, call: CallNumber) -> Option<(String, String)> {
        let call = self.calls.get(&call).filter(|call| call.state == State::Up)?;
        let dialog = &call.talks.first()?.dialog;
        let (call_id, ours, theirs) = (dialog.call_id(), dialog.local_tag(), dialog.remote_tag());
        //= RFC 3891 §6.1: the tags as the receiver of the INVITE has them.
        Some((dialog.next_hop().to_owned(), format!("{call_id};to-tag={theirs};from-tag={ours}")))
    }

    /// The answered call that an INVITE replaces; `Some(None)` if it names one that is not there.
    pub(crate) fn replaced(&self, invite: &Message) -> Option<Option<CallNumber>> {
        Some(self.named(&String::from_utf8_lossy(invite.header(Name::Replaces)?)))
    }

    /// The answered call that a value of Replaces names.
    #[must_use]
    pub fn named(&self, replaces: &str) -> Option<CallNumber> {
        let (call_id, tags) = replaces.split_once(';').unwrap_or((replaces, ""));
        let tag = |name| tags.split(';').find_map(|tag| tag.strip_prefix(name)?.strip_prefix('='));
        let (to, from) = (tag("to-tag").unwrap_or_default(), tag("from-tag").unwrap_or_default());
        let found = self.calls.iter().find(|(_, call)| {
            let is_it = |talk: &&crate::call::Talk| {
                let dialog = &talk.dialog;
                dialog.call_id() == call_id && dialog.local_tag() == to && dialog.remote_tag() == from
            };
            call.state == State::Up && call.talks.iter().any(|talk| is_it(&talk))
        });
        found.map(|(number, _)| *number)
    }

    /// A new call replaces an old one: at once, unless it must wait for a precondition. The old one stays for so long.
    pub(crate) fn replace(&mut self, new: CallNumber, old: CallNumber, out: &mut Out<'_>) {
        if let Some(call) = self.calls.get_mut(&new) {
            call.replaced = Some(old);
        }
        if self.is_suspended(new) {
            //= RFC 3312 §6: nothing is answered either before every mandatory precondition is met.
            self.provisional(new, 183, out);
            self.provide(new, out);
        } else {
            self.take_over(new, old, out);
        }
    }

    //= RFC 3891 §3: the new call is answered without asking anybody; the answer ends the old one with BYE.
    pub(crate) fn take_over(&mut self, new: CallNumber, old: CallNumber, out: &mut Out<'_>) {
        let is_there = self.calls.get(&old).is_some_and(|call| call.state == State::Up);
        if !is_there {
            //= RFC 3891 §3: 603 if the dialog has just ended, so that nobody rings for nothing.
            return self.reject(new, 603, out);
        }
        if let Some(call) = self.calls.get_mut(&new) {
            call.is_alerting = true;
        }
        self.accept(new, out);
    }
}
