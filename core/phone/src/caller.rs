//! What the phone asks: INVITE, re-INVITE, CANCEL, BYE, and the answers to them.

use std::net::SocketAddr;

use sdp::Direction;
use sip::dialog::{Dialog, Initial};
use sip::endpoint::ClientKey;
use sip::message::{Builder, Message, Method, Name};
use sip::transport::Hop;

use crate::call::{Call, State};
use crate::phone::{ALLOW, Out, Phone, Tick, text};
use crate::{CallNumber, Event, Remote};

impl Phone {
    pub(crate) fn call(&mut self, to: &str, next: Hop, out: &mut Out<'_>) {
        let call_id = format!("{:016x}@{}", self.rng.bits(), self.config.address.ip());
        let from = format!("<sip:{}@{}>", self.config.user, self.config.address.ip());
        let tag = self.tag();
        let remote = format!("<{to}>");
        let initial = Initial::new(&call_id, (from.as_bytes(), &tag), remote.as_bytes(), to, &[], 1);
        let Ok(mut initial) = initial else { return };
        let mut call = Call::new(State::Calling, next, self.local());
        let invite = self.with_offer(initial.request(&Method::Invite), &call);
        let key = self.send(next, invite, out);
        call.invite = Some(key);
        call.is_inviting = true;
        call.initial = Some(initial);
        let number = self.add(call);
        out.event(Event::Calling { call: number, call_id });
    }

    fn with_offer(&self, invite: Builder, call: &Call) -> Builder {
        let offer = call.local.offer(&self.config.user);
        let invite = invite.header(Name::Contact, self.contact()).header(Name::Allow, ALLOW);
        invite.body("application/sdp", offer)
    }

    pub(crate) fn offer(
        &mut self,
        number: CallNumber,
        media: SocketAddr,
        direction: Direction,
        out: &mut Out<'_>,
    ) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        if let (State::Up, false, Some(dialog)) = (call.state, call.is_inviting, call.dialog.as_mut()) {
            let invite = dialog.request(&Method::Invite);
            (call.local.media, call.local.direction) = (media, direction);
            call.local.version += 1;
            let invite = self.with_offer(invite, &call);
            call.invite = Some(self.send(call.next_hop(), invite, out));
            call.is_inviting = true;
        }
        self.calls.insert(number, call);
    }

    pub(crate) fn cancel(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let Some(invite) = call.invite.filter(|_| call.state == State::Calling) else { return };
        call.wants_cancel = true;
        //= RFC 3261 §9.1: only after a provisional response.
        if self.endpoint.cancel(out.now, invite, &[], b"", &mut out.transmit).is_some() {
            self.timers.set(out.now + self.config.timers.t1_64(), (number, Tick::Abandon));
        }
    }

    pub(crate) fn abandon(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let Some(invite) = call.invite.filter(|_| call.state == State::Calling) else { return };
        self.endpoint.abandon(invite);
        self.end(number, 487, None, out);
    }

    pub(crate) fn hang_up(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number).filter(|call| call.state == State::Up) else { return };
        let Some(bye) = call.dialog.as_mut().map(|dialog| dialog.request(&Method::Bye)) else { return };
        let hop = call.next_hop();
        call.state = State::Leaving;
        call.bye = Some(self.endpoint.request(out.now, hop, bye, &mut out.transmit));
    }

    pub(crate) fn on_response(&mut self, key: ClientKey, message: &Message, out: &mut Out<'_>) {
        let Some(number) = self.find(|call| call.invite == Some(key)) else {
            if message.status() >= 200 {
                self.on_failure(key, message.status(), Some(message), out);
            }
            return;
        };
        match message.status() {
            100..200 => self.on_progress(number, message, out),
            200..300 => self.on_success(number, message, out),
            status => self.on_failure(key, status, Some(message), out),
        }
    }

    fn on_progress(&mut self, number: CallNumber, message: &Message, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number).filter(|call| call.state == State::Calling) else {
            return;
        };
        let wants_cancel = call.wants_cancel;
        if message.status() > 100 {
            let (status, remote) = (message.status(), Remote::of(message));
            out.event(Event::Ringing { call: number, status, remote });
        }
        if wants_cancel {
            self.cancel(number, out);
        }
    }

    fn on_success(&mut self, number: CallNumber, message: &Message, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let known = message.to().is_ok_and(|to| {
            call.dialog.as_ref().is_some_and(|dialog| to.tag().unwrap_or_default() == dialog.remote_tag())
        });
        match (&mut call.dialog, &call.initial) {
            (Some(dialog), _) if known => {
                // A target that cannot be read changes nothing.
                let _unreadable = dialog.refresh(message);
            }
            (Some(_), Some(initial)) => {
                //= RFC 3261 §13.2.2.4: another branch of a fork answered too: ACK and BYE.
                let Ok(mut other) = Dialog::uac(initial, message) else { return };
                let hop = call.hop;
                let ack = other.ack(message.cseq().map_or(1, |cseq| cseq.number));
                self.endpoint.send_ack(hop, ack, &mut out.transmit);
                self.send(hop, other.request(&Method::Bye), out);
                return;
            }
            (None, Some(initial)) => call.dialog = Dialog::uac(initial, message).ok(),
            (_, None) => return,
        }
        self.acknowledge(number, message, out);
    }

    fn acknowledge(&mut self, number: CallNumber, message: &Message, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let hop = call.next_hop();
        let cseq = message.cseq().map_or(1, |cseq| cseq.number);
        match &call.ack {
            Some((number, ack)) if *number == cseq => {
                return self.endpoint.repeat(hop, ack.clone(), &mut out.transmit);
            }
            Some(_) | None => {}
        }
        if !self.config.oddities.never_acks
            && let Some(dialog) = &call.dialog
        {
            let ack = self.endpoint.send_ack(hop, dialog.ack(cseq), &mut out.transmit);
            call.ack = Some((cseq, ack));
        }
        if !std::mem::replace(&mut call.is_inviting, false) {
            return;
        }
        let remote = Remote::of(message);
        let first = call.state == State::Calling;
        if first {
            call.state = State::Up;
            out.event(Event::Answered { call: number, remote });
        } else {
            out.event(Event::Changed { call: number, remote });
        }
        if self.calls.get(&number).is_some_and(|call| first && call.wants_cancel) {
            self.hang_up(number, out);
        }
    }

    /// A 2xx after CANCEL was given up.
    pub(crate) fn on_stray(&mut self, message: &Message, out: &mut Out<'_>) {
        let call = self.calls.values().find(|call| {
            call.initial.as_ref().is_some_and(|initial| message.call_id() == Ok(initial.call_id()))
        });
        let Some((hop, initial)) = call.and_then(|call| Some((call.hop, call.initial.as_ref()?))) else {
            return;
        };
        let Ok(mut dialog) = Dialog::uac(initial, message) else { return };
        let ack = dialog.ack(message.cseq().map_or(1, |cseq| cseq.number));
        self.endpoint.send_ack(hop, ack, &mut out.transmit);
        self.send(hop, dialog.request(&Method::Bye), out);
    }

    /// The end of a request of ours that is no 2xx to INVITE.
    pub(crate) fn on_failure(
        &mut self,
        key: ClientKey,
        status: u16,
        response: Option<&Message>,
        out: &mut Out<'_>,
    ) {
        if let Some(number) = self.find(|call| call.bye == Some(key)) {
            return self.end(number, status, response, out);
        }
        let Some(number) = self.find(|call| call.invite == Some(key)) else { return };
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.is_inviting = false;
        match (call.state, status) {
            (State::Up, 408 | 481) => self.hang_up(number, out),
            (State::Up, _) => {
                let warning = response.and_then(|response| text(response, Name::Warning));
                out.event(Event::ChangeRefused { call: number, status, warning });
            }
            (State::Calling | State::Ringing, _) => self.end(number, status, response, out),
            (State::Leaving | State::Over, _) => {}
        }
    }
}
