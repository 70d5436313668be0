//! Provisional responses to our INVITE, and PRACK for the reliable ones: RFC 3262 §4.

use sip::dialog::Dialog;
use sip::message::{Message, Method, Name, RAck};

use crate::call::{Call, Exchange, Open, State, Talk};
use crate::phone::{Out, Phone};
use crate::precondition::weigh_answer;
use crate::{CallNumber, Event, Remote};

/// Early dialogs of one call; a response of one more is taken without a dialog, and never acknowledged.
const EARLY_MAX: usize = 8;

impl Phone {
    pub(crate) fn on_progress(&mut self, number: CallNumber, message: &Message, out: &mut Out<'_>) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        let is_first = call.state == State::Calling;
        let is_news = (is_first || call.state == State::Up)
            && message.status() > 100
            && self.take_provisional(&mut call, message, out);
        let wants_cancel = call.wants_cancel;
        let is_agreed = call.talks.iter().any(|talk| talk.exchange == Exchange::Agreed);
        self.calls.insert(number, call);
        if is_first && is_agreed {
            self.provide(number, out);
        }
        if is_news && is_first {
            let (status, remote) = (message.status(), Remote::of(message));
            out.event(Event::Ringing { call: number, status, remote });
        }
        if wants_cancel {
            self.cancel(number, out);
        }
    }

    /// False for a reliable response that was there before, or comes before its turn.
    fn take_provisional(&mut self, call: &mut Call, message: &Message, out: &mut Out<'_>) -> bool {
        call.learn(message);
        let is_reliable = self.is_reliable() && message.has_option(Name::Require, "100rel");
        let rseq = message.rseq().ok().flatten().filter(|_| is_reliable);
        let Some(at) = place(call, message) else { return rseq.is_none() };
        let Some(talk) = call.talks.get_mut(at) else { return false };
        let Some(rseq) = rseq else {
            //= RFC 6337 §3.1.1: a preview; the exchange is still open.
            talk.hear(message);
            return true;
        };
        //= RFC 3262 §4: anything but the next number is discarded.
        if talk.rseq.is_some_and(|last| last.checked_add(1) != Some(rseq)) {
            return false;
        }
        talk.rseq = Some(rseq);
        self.prack(call, at, message, rseq, out);
        true
    }

    fn prack(&mut self, call: &mut Call, at: usize, message: &Message, rseq: u32, out: &mut Out<'_>) {
        let Ok(cseq) = message.cseq() else { return };
        let (sdp, has_offer) = self.sdp_for_prack(call, at, message);
        let Some(talk) = call.talks.get_mut(at).filter(|_| !self.config.oddities.never_pracks) else {
            return;
        };
        let rack = RAck { rseq, cseq: cseq.number, method: Method::Invite };
        let prack = talk.dialog.request(&Method::Prack).header_fmt(Name::RAck, format_args!("{rack}"));
        let prack = match sdp {
            Some(sdp) => prack.body("application/sdp", sdp),
            None => prack,
        };
        let (hop, tag) = (talk.next_hop(call.hop), talk.dialog.remote_tag().to_owned());
        let key = self.endpoint.request(out.now, hop, prack, &mut out.transmit);
        call.open.push(Open { key, method: Method::Prack, tag, has_offer });
    }

    /// What the PRACK says: the answer to the offer of its response; or, if the phone does that, a new offer after an
    /// answer: then true.
    fn sdp_for_prack(&self, call: &mut Call, at: usize, message: &Message) -> (Option<String>, bool) {
        let Some(talk) = call.talks.get_mut(at) else { return (None, false) };
        if talk.hear(message).is_none() {
            return (None, false);
        }
        let was_offered = talk.exchange == Exchange::Offered;
        if std::mem::take(&mut talk.wants_offer) {
            //= RFC 3262 §5: the offer of a reliable response is answered in its PRACK.
            talk.exchange = Exchange::Agreed;
            self.weigh_offer(call, message.body());
            return (Some(call.local.answer(message.body())), false);
        }
        if !was_offered {
            return (None, false);
        }
        let has_offer = self.config.extensions.offers_in_prack;
        talk.exchange = if has_offer { Exchange::Offered } else { Exchange::Agreed };
        weigh_answer(call, message.body());
        if has_offer {
            call.before = Some(call.local.clone());
        }
        (has_offer.then(|| call.local.offer()), has_offer)
    }
}

/// Which dialog of the call a provisional response is of; it may begin one.
fn place(call: &mut Call, message: &Message) -> Option<usize> {
    let tag = message.to().ok()?.tag()?.to_owned();
    if let Some(at) = call.talks.iter().position(|talk| talk.dialog.remote_tag() == tag) {
        return Some(at);
    }
    let initial = call.initial.as_ref().filter(|_| call.state == State::Calling)?;
    let dialog = Dialog::uac(initial, message).ok().filter(|_| call.talks.len() < EARLY_MAX)?;
    call.talks.push(Talk::called(dialog, call.left_offer));
    Some(call.talks.len() - 1)
}
