//! A call goes out.

use sip::dialog::Initial;
use sip::message::{Method, Name};
use sip::transport::Hop;

use crate::call::{Call, State};
use crate::phone::{Out, Phone};
use crate::{Event, Reliable};

impl Phone {
    /// `replaces` is the value of that header field, if somebody's place is taken.
    pub(crate) fn call(&mut self, to: &str, next: Hop, replaces: Option<String>, out: &mut Out<'_>) {
        let call_id = format!("{:016x}@{}", self.rng.bits(), self.config.address.ip());
        let tag = self.tag();
        let Some(initial) = self.initial(&call_id, &tag, to, to, 1) else { return };
        let mut call = Call::new(State::Calling, next, self.local());
        call.initial = Some(initial);
        call.local.condition = self.wanted().filter(|_| !self.config.extensions.delayed_offer);
        to.clone_into(&mut call.to);
        call.replaces = replaces;
        self.invite(&mut call, out);
        let number = self.add(call, out);
        out.event(Event::Calling { call: number, call_id });
    }

    /// What an INVITE to `target` is made of, in a call to `to`.
    pub(crate) fn initial(
        &self,
        call_id: &str,
        tag: &str,
        to: &str,
        target: &str,
        cseq: u32,
    ) -> Option<Initial> {
        let from = format!("<sip:{}@{}>", self.config.user, self.config.address.ip());
        let remote = format!("<{to}>");
        Initial::new(call_id, (from.as_bytes(), tag), remote.as_bytes(), target, &[], cseq).ok()
    }

    /// Sends the first INVITE, or the next one after a refusal that says how.
    pub(crate) fn invite(&mut self, call: &mut Call, out: &mut Out<'_>) {
        let Some(initial) = &mut call.initial else { return };
        let mut invite = self.introduce(initial.request(&Method::Invite));
        if self.config.extensions.reliable == Reliable::Required {
            invite = invite.header(Name::Require, "100rel");
        }
        if let Some(replaces) = &call.replaces {
            invite = invite.header(Name::Replaces, replaces);
        }
        invite = self.insist(call, invite);
        invite = self.ask_session(call, invite);
        call.left_offer = self.config.extensions.delayed_offer;
        if !call.left_offer {
            invite = invite.body("application/sdp", call.local.offer());
        }
        call.talks.clear();
        call.invite = Some(self.send(call.hop, invite, out));
        call.is_inviting = true;
    }
}
