//! ACK to a 2xx: sent, repeated, received, and with the answer in it.

use bytes::Bytes;
use sip::dialog::Dialog;
use sip::message::{Message, Method};
use sip::transport::Hop;

use crate::Event;
use crate::call::{Call, Exchange};
use crate::phone::{Out, Phone};

impl Phone {
    pub(crate) fn on_ack(&mut self, message: &Message, out: &mut Out<'_>) {
        let Some((number, at)) = self.find_dialog(message) else { return };
        let Some(call) = self.calls.get_mut(&number) else { return };
        //= RFC 3261 §13.3: an ACK is for the 2xx with its CSeq number; one of the last exchange may come again, late.
        let acknowledged = |(_, bytes): &(Hop, Bytes)| {
            Message::parse(bytes.clone()).is_ok_and(|answer| cseq(&answer) == cseq(message))
        };
        if call.answer.take_if(|answer| acknowledged(answer)).is_none() {
            return;
        }
        let Some(talk) = call.talks.get_mut(at) else { return };
        // An answer that never came is not waited for.
        talk.exchange = Exchange::Agreed;
        if let Some(remote) = talk.hear(message) {
            out.event(Event::Changed { call: number, remote: Some(remote) });
        }
        if self.calls.get(&number).is_some_and(|call| call.wants_hang_up) {
            self.hang_up(number, None, out);
        }
    }

    /// Acknowledges a 2xx to INVITE, with the answer if it has the offer. The same again for a repetition: false.
    pub(crate) fn acknowledge(&mut self, call: &mut Call, message: &Message, out: &mut Out<'_>) -> bool {
        let hop = call.next_hop();
        let cseq = message.cseq().map_or(1, |cseq| cseq.number);
        match &call.ack {
            Some((number, ack)) if *number == cseq => {
                if !self.config.oddities.never_acks {
                    self.endpoint.repeat(hop, ack.clone(), &mut out.transmit);
                }
                return false;
            }
            Some(_) | None => {}
        }
        let wants_offer = call.talk().is_some_and(|talk| std::mem::take(&mut talk.wants_offer));
        //= RFC 3261 §13.2.2.4: the offer of a 2xx is answered in the ACK.
        let answer = (wants_offer && !message.body().is_empty()).then(|| {
            self.weigh_offer(call, message.body());
            call.local.answer(message.body())
        });
        let Some(talk) = call.talks.first_mut() else { return false };
        talk.exchange = Exchange::Agreed;
        let ack = talk.dialog.ack(cseq);
        let ack = match answer {
            Some(answer) => ack.body("application/sdp", answer),
            None => ack,
        };
        let ack = match self.config.oddities.never_acks {
            true => ack.finish(),
            false => self.endpoint.send_ack(hop, ack, &mut out.transmit),
        };
        call.ack = Some((cseq, ack));
        true
    }

    //= RFC 3261 §13.2.2.4: another branch of a fork answered too, or a 2xx comes after CANCEL was given up: ACK, BYE.
    pub(crate) fn decline(&mut self, call: &Call, message: &Message, out: &mut Out<'_>) {
        let Some(initial) = &call.initial else { return };
        let Ok(mut other) = Dialog::uac(initial, message) else { return };
        let ack = other.ack(message.cseq().map_or(1, |cseq| cseq.number));
        self.endpoint.send_ack(call.hop, ack, &mut out.transmit);
        self.send(call.hop, other.request(&Method::Bye), out);
    }

    /// A 2xx whose INVITE is forgotten.
    pub(crate) fn on_stray(&mut self, message: &Message, out: &mut Out<'_>) {
        let call = self.calls.values().find(|call| {
            call.initial.as_ref().is_some_and(|initial| message.call_id() == Ok(initial.call_id()))
        });
        if let Some(call) = call.cloned() {
            self.decline(&call, message, out);
        }
    }
}

fn cseq(message: &Message) -> Option<u32> {
    message.cseq().ok().map(|cseq| cseq.number)
}
