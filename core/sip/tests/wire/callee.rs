//! The smallest callee: 180, then 200 (repeated until its ACK) or a refusal; 200 to BYE; 487 after CANCEL.

use std::time::Duration;

use bytes::Bytes;
use machine::{Instant, Outbox, Timers};
use postern_sip::dialog::Dialog;
use postern_sip::endpoint::{Endpoint, Incoming, ServerEnd, ServerKey, Transmit};
use postern_sip::message::{Builder, Message, Method, Name};

#[derive(Debug)]
enum Tick {
    Answer,
    Repeat(Duration),
    GiveUp,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) invites: usize,
    pub(crate) cancels: usize,
    pub(crate) byes: usize,
    pub(crate) acks: usize,
    pub(crate) ack_timeouts: usize,
}

pub(crate) struct Callee {
    /// What to answer with, and when.
    status: u16,
    after: Duration,
    timers: Timers<Tick>,
    invite: Option<(ServerKey, Message)>,
    dialog: Option<Dialog>,
    answer: Option<Bytes>,
    has_ended: bool,
    pub(crate) seen: Seen,
}

impl Callee {
    pub(crate) fn new(status: u16, after: Duration) -> Self {
        Self {
            status,
            after,
            timers: Timers::new(),
            invite: None,
            dialog: None,
            answer: None,
            has_ended: false,
            seen: Seen::default(),
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
                Tick::Answer => self.answer(now, endpoint, out),
                Tick::Repeat(interval) if self.seen.acks == 0 && !self.has_ended => {
                    let (key, _) = self.invite.as_ref().unwrap();
                    if let (Some(hop), Some(answer)) = (endpoint.response_hop(*key), &self.answer) {
                        endpoint.repeat(hop, answer.clone(), out);
                        //= RFC 3261 §13.3.1.4: doubles up to T2.
                        let next = (interval * 2).min(endpoint.timer_values().t2);
                        self.timers.set(now + next, Tick::Repeat(next));
                    }
                }
                Tick::Repeat(_) => {}
                Tick::GiveUp => self.has_ended = true,
            }
        }
    }

    fn answer(&mut self, now: Instant, endpoint: &mut Endpoint, out: &mut Outbox<Transmit>) {
        if self.has_ended {
            return;
        }
        let (key, request) = self.invite.as_ref().unwrap();
        let response = Builder::response_to(request, self.status, "X", Some("tb"));
        if self.status >= 300 {
            self.has_ended = true;
            assert!(endpoint.respond(now, *key, response, out).is_some());
            return;
        }
        let response = response.header(Name::Contact, "<sip:b@192.0.2.2>");
        self.answer = endpoint.respond(now, *key, response, out);
        assert!(self.answer.is_some());
        self.dialog = Dialog::uas(request, "tb").ok();
        let t1 = endpoint.timer_values().t1;
        self.timers.set(now + t1, Tick::Repeat(t1));
        self.timers.set(now + t1 * 63, Tick::GiveUp);
    }

    pub(crate) fn incoming(
        &mut self,
        now: Instant,
        endpoint: &mut Endpoint,
        event: Incoming,
        out: &mut Outbox<Transmit>,
    ) {
        match event {
            Incoming::Request { key, message, .. } if message.method() == Method::Invite => {
                self.seen.invites += 1;
                endpoint.respond(now, key, Builder::response_to(&message, 180, "Ringing", Some("tb")), out);
                self.invite = Some((key, message));
                self.timers.set(now + self.after, Tick::Answer);
            }
            Incoming::Request { key, message, .. } => {
                let known = self
                    .dialog
                    .as_mut()
                    .is_some_and(|dialog| dialog.is_of_request(&message) && dialog.receive(&message).is_ok());
                self.seen.byes += usize::from(known);
                self.has_ended |= known;
                let status = if known { 200 } else { 481 };
                endpoint.respond(now, key, Builder::response_to(&message, status, "X", Some("tb")), out);
            }
            Incoming::Ack { .. } => self.seen.acks += 1,
            Incoming::Cancel { invite, message } => {
                assert_eq!(message.header(Name::Reason), Some(&b"SIP;cause=487"[..]));
                self.seen.cancels += 1;
                self.has_ended = true;
                let (_, request) = self.invite.as_ref().unwrap();
                endpoint.respond(now, invite, Builder::response_to(request, 487, "X", Some("tb")), out);
            }
            Incoming::ServerGone { why, .. } => {
                self.seen.ack_timeouts += usize::from(why == ServerEnd::AckTimeout)
            }
            Incoming::Response { .. }
            | Incoming::Stray2xx { .. }
            | Incoming::ClientFailed { .. }
            | Incoming::Malformed { .. } => {
                panic!("a callee asks nothing: {event:?}")
            }
        }
    }
}
