//! Our own changes of a session: re-INVITE (RFC 3261 §14.1) and UPDATE (RFC 3311 §5.1), and what comes of them.

use std::time::Duration;

use sip::message::{Message, Method, Name};

use crate::call::{Call, Exchange, Open, State};
use crate::phone::{Out, Phone, Tick, text};
use crate::precondition::weigh_answer;
use crate::{By, CallNumber, Event, Offer};

impl Phone {
    pub(crate) fn offer(&mut self, number: CallNumber, offer: Offer, out: &mut Out<'_>) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        if self.may_change(&call, offer.by) {
            call.before = Some(call.local.clone());
            call.wish = Some(offer);
            call.local.set(&offer);
            if call.state == State::Up {
                // Whoever talks has nobody to alert.
                call.local.condition = None;
            }
            let sdp = call.local.offer();
            self.change(&mut call, 0, offer.by, Some(sdp), out);
            out.event(Event::Offered { call: number });
        }
        self.calls.insert(number, call);
    }

    pub(crate) fn ask(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        if self.may_change(&call, By::Invite) {
            self.change(&mut call, 0, By::Invite, None, out);
        }
        self.calls.insert(number, call);
    }

    //= RFC 3261 §14.1: one INVITE at a time, in either direction.
    //= RFC 3311 §5.1: an UPDATE has no offer while another has no answer.
    pub(crate) fn may_change(&self, call: &Call, by: By) -> bool {
        let is_quiet = match (call.state, by) {
            (State::Up, _) => !call.is_inviting && call.answer.is_none() && call.called.is_none(),
            (State::Calling | State::Ringing, By::Update) => call.unacknowledged.is_none(),
            (State::Calling | State::Ringing, By::Invite) | (State::Leaving | State::Over, _) => false,
        };
        let is_known = by == By::Invite || self.is_updating();
        is_quiet && is_known && call.exchange() == Exchange::Agreed
    }

    /// Sends a re-INVITE or UPDATE, with an offer or without.
    pub(crate) fn change(
        &mut self,
        call: &mut Call,
        at: usize,
        by: By,
        sdp: Option<String>,
        out: &mut Out<'_>,
    ) {
        let Some(talk) = call.talks.get_mut(at) else { return };
        let method = match by {
            By::Invite => Method::Invite,
            By::Update => Method::Update,
        };
        let request = talk.dialog.request(&method);
        let (tag, has_offer) = (talk.dialog.remote_tag().to_owned(), sdp.is_some());
        if has_offer {
            talk.exchange = Exchange::Offered;
        }
        if by == By::Invite {
            (talk.rseq, talk.wants_offer) = (None, !has_offer);
        }
        let hop = talk.next_hop(call.hop);
        let request = self.ask_session(call, self.introduce(request));
        let request = match sdp {
            Some(sdp) => self.insist(call, request).body("application/sdp", sdp),
            None => request,
        };
        let key = self.send(hop, request, out);
        match by {
            By::Invite => {
                (call.invite, call.is_inviting) = (Some(key), true);
            }
            By::Update => call.open.push(Open { key, method, tag, has_offer }),
        }
    }

    /// The answer to an offer of ours in UPDATE or PRACK came, or a refusal.
    pub(crate) fn on_offer_answered(
        &mut self,
        number: CallNumber,
        open: &Open,
        status: u16,
        response: Option<&Message>,
        out: &mut Out<'_>,
    ) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let Some(at) = call.talks.iter().position(|talk| talk.dialog.remote_tag() == open.tag) else {
            return;
        };
        match (response, status) {
            (Some(response), 200..300) => {
                let Some(talk) = call.talks.get_mut(at) else { return };
                talk.exchange = Exchange::Agreed;
                let remote = talk.hear(response);
                (call.before, call.wish) = (None, None);
                if let Some(remote) = &remote {
                    weigh_answer(call, &remote.sdp);
                }
                out.event(Event::Changed { call: number, remote });
            }
            (_, _) => self.on_change_refused(number, at, status, response, out),
        }
    }

    /// Everything is as it was before; 408 and 481 end the call (RFC 3261 §12.2.1.2).
    pub(crate) fn on_change_refused(
        &mut self,
        number: CallNumber,
        at: usize,
        status: u16,
        response: Option<&Message>,
        out: &mut Out<'_>,
    ) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let Some(talk) = call.talks.get_mut(at) else { return };
        //= RFC 6141 §3: what was agreed on the way stays.
        if talk.exchange == Exchange::Offered
            && let Some(before) = call.before.take()
        {
            call.local.restore(before);
        }
        talk.exchange = Exchange::Agreed;
        let owns_call_id = call.initial.is_some();
        let is_wanted = call.wish.is_some() && status == 491 && self.config.extensions.retries;
        if !is_wanted {
            call.wish = None;
        }
        let is_gone = matches!(status, 408 | 481);
        if !is_gone {
            let warning = response.and_then(|response| text(response, Name::Warning));
            out.event(Event::ChangeRefused { call: number, status, warning });
        }
        if is_wanted {
            let pause = glare_pause(owns_call_id, self.rng.below(201));
            self.timers.set(out.now + pause, (number, Tick::Retry));
        } else if is_gone {
            self.hang_up(number, None, out);
        } else if let Some(response) = response {
            self.refresh_again(number, response, out);
        }
    }

    pub(crate) fn retry(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let wish = self.calls.get_mut(&number).and_then(|call| call.wish.take());
        if let Some(wish) = wish {
            self.offer(number, wish, out);
        }
    }
}

//= RFC 3261 §14.1: 2.1 to 4 s for the owner of the Call-ID, up to 2 s for the other, in steps of 10 ms.
fn glare_pause(owns_call_id: bool, drawn: u64) -> Duration {
    let (from, steps) = if owns_call_id { (2_100, drawn % 191) } else { (0, drawn) };
    Duration::from_millis(from + 10 * steps)
}
