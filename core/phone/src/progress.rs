//! Provisional responses to our INVITE, and PRACK for the reliable ones: RFC 3262 §4.

use sip::dialog::Dialog;
use sip::message::{Message, Method, Name, RAck};

use crate::call::{Call, Exchange, Open, State, Talk};
use crate::phone::{Out, Phone};
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
        self.calls.insert(number, call);
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
        let Call { talks, local, before, wants_offer, open, hop, .. } = call;
        let Some(talk) = talks.get_mut(at) else { return };
        let Ok(cseq) = message.cseq() else { return };
        let rack = RAck { rseq, cseq: cseq.number, method: Method::Invite };
        let mut prack = talk.dialog.request(&Method::Prack).header_fmt(Name::RAck, format_args!("{rack}"));
        let mut has_offer = false;
        if talk.hear(message).is_some() {
            if *wants_offer {
                //= RFC 3262 §5: the offer of a reliable response is answered in its PRACK.
                *wants_offer = false;
                prack = prack.body("application/sdp", local.answer(message.body()));
                talk.exchange = Exchange::Agreed;
            } else if talk.exchange == Exchange::Offered {
                talk.exchange = Exchange::Agreed;
                if self.config.extensions.offers_in_prack {
                    has_offer = true;
                    *before = Some(local.clone());
                    prack = prack.body("application/sdp", local.offer());
                    talk.exchange = Exchange::Offered;
                }
            }
        }
        if !self.config.oddities.never_pracks {
            let (hop, tag) = (talk.next_hop(*hop), talk.dialog.remote_tag().to_owned());
            let key = self.endpoint.request(out.now, hop, prack, &mut out.transmit);
            open.push(Open { key, method: Method::Prack, tag, has_offer });
        }
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
    let exchange = if call.wants_offer { Exchange::Empty } else { Exchange::Offered };
    call.talks.push(Talk::new(dialog, exchange));
    Some(call.talks.len() - 1)
}
