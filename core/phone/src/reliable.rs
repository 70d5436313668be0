//! Provisional responses of the callee, reliable if both sides can: RFC 3262 §3.
//!
//! ```text
//!   ring ──> 18x RSeq=n ──(T1, 2*T1, 4*T1 …)──> the same again
//!               │ PRACK n                 │ 64*T1
//!               V                         V
//!        the next in line, or 2xx     500 to the INVITE
//! ```

use std::time::Duration;

use bytes::Bytes;
use sip::endpoint::ServerKey;
use sip::message::{Builder, Message, Name};
use sip::transport::Hop;

use crate::call::{Call, Exchange, State};
use crate::phone::{Out, Phone, Tick};
use crate::{CallNumber, Event, Progress};

/// A reliable response without its PRACK.
#[derive(Debug, Clone)]
pub(crate) struct Unacknowledged {
    pub(crate) rseq: u32,
    pub(crate) has_sdp: bool,
    hop: Hop,
    bytes: Bytes,
}

impl Phone {
    /// The callee's first words, by configuration.
    pub(crate) fn make_progress(&mut self, number: CallNumber, out: &mut Out<'_>) {
        match self.config.extensions.progress {
            Progress::Silent => {
                if let Some(call) = self.calls.get_mut(&number) {
                    call.is_alerting = true;
                }
                out.event(Event::Alerting { call: number });
            }
            Progress::Ringing | Progress::RingingWithSdp => self.ring(number, out),
            Progress::Session => {
                self.provisional(number, 183, out);
                self.ring(number, out);
            }
        }
    }

    pub(crate) fn ring(&mut self, number: CallNumber, out: &mut Out<'_>) {
        if let Some(call) = self.calls.get_mut(&number) {
            call.is_alerting = true;
        }
        self.provisional(number, 180, out);
        out.event(Event::Alerting { call: number });
    }

    pub(crate) fn provisional(&mut self, number: CallNumber, status: u16, out: &mut Out<'_>) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        //= RFC 3262 §3: not a second reliable one before the first is acknowledged.
        if call.unacknowledged.is_some() {
            call.waiting.push_back(status);
        } else if let Some((key, invite)) = call.called.clone() {
            self.say(number, &mut call, (key, &invite), status, out);
        }
        self.calls.insert(number, call);
    }

    fn say(
        &mut self,
        number: CallNumber,
        call: &mut Call,
        (key, invite): (ServerKey, &Message),
        status: u16,
        out: &mut Out<'_>,
    ) {
        let reliable = self.is_reliable()
            && [Name::Supported, Name::Require].iter().any(|name| invite.has_option(*name, "100rel"));
        let phrase = if status == 180 { "Ringing" } else { "Session Progress" };
        let response = Builder::response_to(invite, status, phrase, Some(call.local_tag()));
        let mut response = self.introduce(response.copy(invite, Name::RecordRoute));
        if reliable {
            //= RFC 3262 §3: RSeq starts anywhere below 2**31 and goes up by one.
            call.rseq = match call.rseq {
                0 => 1 + self.rng.below((1 << 31) - 1) as u32,
                last => last.saturating_add(1),
            };
            response = response.header(Name::Require, "100rel");
            response = response.header_fmt(Name::RSeq, format_args!("{}", call.rseq));
        }
        let sdp = self.preview(call, invite, status, reliable);
        let has_sdp = sdp.is_some();
        if let Some(sdp) = sdp {
            response = response.body("application/sdp", sdp);
        }
        let hop = self.endpoint.response_hop(key);
        let bytes = self.endpoint.respond(out.now, key, response, &mut out.transmit);
        if let (true, Some(hop), Some(bytes)) = (reliable, hop, bytes) {
            let (values, rseq) = (self.config.timers, call.rseq);
            call.unacknowledged = Some(Unacknowledged { rseq, has_sdp, hop, bytes });
            self.timers.set(out.now + values.t1, (number, Tick::Unheard(rseq, values.t1)));
            self.timers.set(out.now + values.t1_64(), (number, Tick::NoPrack(rseq)));
        }
    }

    /// The SDP of a provisional response, if it has one.
    fn preview(&self, call: &mut Call, invite: &Message, status: u16, reliable: bool) -> Option<String> {
        let is_wanted = match self.config.extensions.progress {
            Progress::Ringing | Progress::Silent => status != 180,
            Progress::RingingWithSdp | Progress::Session => true,
        };
        let (sdp, next) = match (call.exchange(), reliable) {
            (Exchange::Asked, _) if is_wanted => (call.local.answer(invite.body()), Exchange::Agreed),
            //= RFC 3262 §5: an INVITE without an offer gets it in the first reliable response.
            (Exchange::Empty, true) => (call.local.offer(), Exchange::Offered),
            (Exchange::Empty | Exchange::Asked | Exchange::Offered | Exchange::Agreed, _) => return None,
        };
        //= RFC 6337 §3.1.1: SDP in an unreliable response is a preview, the answer is still to come.
        if let Some(talk) = call.talk().filter(|_| reliable) {
            talk.exchange = next;
        }
        Some(sdp)
    }

    //= RFC 3262 §3: the interval doubles without limit.
    pub(crate) fn repeat_provisional(
        &mut self,
        number: CallNumber,
        rseq: u32,
        interval: Duration,
        out: &mut Out<'_>,
    ) {
        let Some(call) = self.calls.get(&number).filter(|call| call.state == State::Ringing) else { return };
        let Some(unheard) = call.unacknowledged.as_ref().filter(|unheard| unheard.rseq == rseq) else {
            return;
        };
        self.endpoint.repeat(unheard.hop, unheard.bytes.clone(), &mut out.transmit);
        let next = interval.saturating_mul(2);
        self.timers.set(out.now + next, (number, Tick::Unheard(rseq, next)));
    }

    //= RFC 3262 §3: without PRACK for 64*T1 the INVITE gets a 5xx.
    pub(crate) fn no_prack(&mut self, number: CallNumber, rseq: u32, out: &mut Out<'_>) {
        let call = self.calls.get(&number).filter(|call| call.state == State::Ringing);
        let unheard = call.and_then(|call| call.unacknowledged.as_ref());
        if unheard.is_some_and(|unheard| unheard.rseq == rseq) {
            self.reject(number, 500, out);
        }
    }
}
