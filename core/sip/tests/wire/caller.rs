//! The smallest caller: INVITE, ACK to every 2xx, then BYE, or CANCEL at a given time.

use std::time::Duration;

use bytes::Bytes;
use machine::{Instant, Outbox, Timers};
use postern_sip::dialog::{Dialog, Initial};
use postern_sip::endpoint::{ClientKey, Endpoint, Incoming, Transmit};
use postern_sip::message::{Builder, Message, Method, Name};
use postern_sip::transport::Hop;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Failed(u16),
    /// Answered, and BYE got this final status.
    Ended(u16),
}

#[derive(Debug)]
enum Tick {
    Cancel,
    Bye,
    Abandon,
}

pub(crate) struct Caller {
    peer: Hop,
    initial: Initial,
    timers: Timers<Tick>,
    invite: Option<ClientKey>,
    bye: Option<ClientKey>,
    dialog: Option<Dialog>,
    ack: Option<Bytes>,
    must_cancel: bool,
    is_ringing: bool,
    pub(crate) outcomes: Vec<Outcome>,
}

impl Caller {
    pub(crate) fn new(peer: Hop, call_id: &str) -> Self {
        let initial = Initial::new(
            call_id,
            (b"<sip:a@192.0.2.1>", "ta"),
            b"<sip:b@192.0.2.2>",
            "sip:b@192.0.2.2",
            &[],
            1,
        )
        .unwrap();
        Self {
            peer,
            initial,
            timers: Timers::new(),
            invite: None,
            bye: None,
            dialog: None,
            ack: None,
            must_cancel: false,
            is_ringing: false,
            outcomes: Vec::new(),
        }
    }

    pub(crate) fn call(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        cancel: Option<Duration>,
        out: &mut Outbox<Transmit>,
    ) {
        let invite = self.initial.request(&Method::Invite).header(Name::Contact, "<sip:a@192.0.2.1>");
        self.invite = Some(endpoint.request(now, self.peer, invite, out));
        if let Some(after) = cancel {
            self.timers.set(now + after, Tick::Cancel);
        }
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.timers.next().map(|(at, _)| at)
    }

    pub(crate) fn handle_timeout(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        out: &mut Outbox<Transmit>,
    ) {
        while let Some(tick) = self.timers.pop(now) {
            match tick {
                Tick::Cancel => {
                    self.must_cancel = true;
                    self.try_cancel(now, endpoint, out);
                }
                Tick::Bye => {
                    let bye = self.dialog.as_mut().unwrap().request(&Method::Bye);
                    self.bye = Some(endpoint.request(now, self.peer, bye, out));
                }
                Tick::Abandon => {
                    if self.dialog.is_none() && self.outcomes.is_empty() {
                        endpoint.abandon(self.invite.unwrap());
                        self.outcomes.push(Outcome::Failed(487));
                    }
                }
            }
        }
    }

    fn try_cancel(&mut self, now: Instant, endpoint: &mut Endpoint, out: &mut Outbox<Transmit>) {
        if !self.must_cancel || !self.is_ringing || self.dialog.is_some() {
            return;
        }
        self.must_cancel = false;
        let reason: (Name, &[u8]) = (Name::Reason, b"SIP;cause=487");
        if endpoint.cancel(now, self.invite.unwrap(), &[reason], b"", out).is_some() {
            self.timers.set(now + endpoint.timer_values().t1_64(), Tick::Abandon);
        }
    }

    pub(crate) fn incoming(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        event: Incoming,
        out: &mut Outbox<Transmit>,
    ) {
        match event {
            Incoming::Response { key, message } if Some(key) == self.invite => {
                self.invite_response(now, endpoint, &message, out);
            }
            Incoming::Stray2xx { message, .. } => self.acknowledge(now, endpoint, &message, out),
            Incoming::Response { key, message } if Some(key) == self.bye && message.status() >= 200 => {
                self.outcomes.push(Outcome::Ended(message.status()));
            }
            Incoming::ClientFailed { key, why } if Some(key) == self.invite => {
                self.outcomes.push(Outcome::Failed(why.status()));
            }
            Incoming::ClientFailed { key, why } if Some(key) == self.bye => {
                self.outcomes.push(Outcome::Ended(why.status()));
            }
            Incoming::Response { .. } | Incoming::ClientFailed { .. } | Incoming::Malformed { .. } => {}
            Incoming::Request { .. }
            | Incoming::Ack { .. }
            | Incoming::Cancel { .. }
            | Incoming::ServerGone { .. } => {
                panic!("a caller gets no requests: {event:?}")
            }
        }
    }

    fn invite_response(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        message: &Message,
        out: &mut Outbox<Transmit>,
    ) {
        match message.status() {
            100..200 => {
                self.is_ringing = true;
                self.try_cancel(now, endpoint, out);
            }
            200..300 => self.acknowledge(now, endpoint, message, out),
            status => self.outcomes.push(Outcome::Failed(status)),
        }
    }

    /// Every 2xx is acknowledged; the first one also makes the dialog. A 2xx after giving up is ended at once.
    fn acknowledge(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        message: &Message,
        out: &mut Outbox<Transmit>,
    ) {
        if let Some(ack) = &self.ack {
            return endpoint.repeat(self.peer, ack.clone(), out);
        }
        let dialog = Dialog::uac(&self.initial, message).unwrap();
        let ack: Builder = dialog.ack(message.cseq().unwrap().number);
        self.ack = Some(endpoint.send_ack(self.peer, ack, out));
        self.dialog = Some(dialog);
        self.timers.set(now + Duration::from_millis(700), Tick::Bye);
    }
}
