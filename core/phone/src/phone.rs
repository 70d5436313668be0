//! The phone: gives messages to its endpoint and the endpoint's events to its calls.

use std::collections::BTreeMap;
use std::time::Duration;

use machine::{Instant, Machine, Outbox, Rng, Timers};
use sdp::Direction;
use sip::endpoint::{self, Endpoint, Incoming, Limits, Listener, ServerEnd, Transmit};
use sip::message::{Builder, Message, Method, Name};
use sip::transport::{Hop, ListenerId, Protocol};

use crate::call::{Call, State};
use crate::media::Local;
use crate::{CallNumber, Config, Event, Input, Output};

/// What it allows.
pub(crate) const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS";

/// See the crate.
#[derive(Debug, Clone)]
pub struct Phone {
    pub(crate) config: Config,
    pub(crate) endpoint: Endpoint,
    pub(crate) calls: BTreeMap<CallNumber, Call>,
    pub(crate) timers: Timers<(CallNumber, Tick)>,
    pub(crate) rng: Rng,
    last: u64,
}

/// What time brings.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tick {
    /// The phone has rung long enough.
    Answer,
    /// The 2xx with the SDP of this version is repeated, after this interval.
    Repeat(u64, Duration),
    /// The ACK to the 2xx with the SDP of this version never came.
    NoAck(u64),
    /// No final response after CANCEL.
    Abandon,
    /// Repetitions of a 2xx cannot come any more.
    Forget,
}

/// Where one call of `handle` writes to.
pub(crate) struct Out<'a> {
    pub(crate) now: Instant,
    pub(crate) transmit: Outbox<Transmit>,
    pub(crate) outputs: &'a mut Outbox<Output>,
}

impl Out<'_> {
    /// What the transactions sent before an event stands before it.
    pub(crate) fn event(&mut self, event: Event) {
        self.flush();
        self.outputs.push(Output::Event(event));
    }

    fn flush(&mut self) {
        self.outputs.extend(self.transmit.drain().map(Output::Transmit));
    }
}

impl Phone {
    /// A phone without calls.
    #[must_use]
    pub fn new(config: Config, mut rng: Rng) -> Self {
        let listener = Listener {
            id: ListenerId(0),
            protocol: config.protocol,
            address: config.address,
            sent_by: config.address.to_string(),
        };
        let endpoint = endpoint::Config {
            timers: config.timers,
            listeners: vec![listener],
            branch_prefix: String::new(),
            limits: Limits::default(),
        };
        Self {
            endpoint: Endpoint::new(endpoint, rng.fork()),
            calls: BTreeMap::new(),
            timers: Timers::new(),
            rng,
            last: 0,
            config,
        }
    }

    /// True if nothing is left of any call.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.timers.is_empty() && self.endpoint.is_empty()
    }

    pub(crate) fn local(&self) -> Local {
        Local { media: self.config.media, direction: Direction::SendRecv, version: 1 }
    }

    pub(crate) fn contact(&self) -> String {
        let transport = match self.config.protocol {
            Protocol::Udp => "",
            Protocol::Tcp => ";transport=tcp",
        };
        format!("<sip:{}@{}{transport}>", self.config.user, self.config.address)
    }

    pub(crate) fn tag(&mut self) -> String {
        format!("{:016x}", self.rng.bits())
    }

    pub(crate) fn add(&mut self, call: Call) -> CallNumber {
        self.last += 1;
        self.calls.insert(CallNumber(self.last), call);
        CallNumber(self.last)
    }

    fn on_input(&mut self, input: Input, tu: &mut Outbox<Incoming>, out: &mut Out<'_>) {
        match input {
            Input::Received { hop, bytes } => {
                self.endpoint.receive(out.now, hop, bytes, &mut out.transmit, tu);
            }
            Input::TransportFailed { hop } => self.endpoint.transport_failed(out.now, hop, tu),
            Input::Call { to, next } => self.call(&to, next, out),
            Input::Cancel(call) => self.cancel(call, out),
            Input::HangUp(call) => self.hang_up(call, out),
            Input::Accept(call) => self.accept(call, out),
            Input::Reject { call, status } => self.reject(call, status, out),
            Input::Offer { call, media, direction } => self.offer(call, media, direction, out),
        }
    }

    fn on_event(&mut self, event: Incoming, out: &mut Out<'_>) {
        match event {
            Incoming::Request { key, hop, message } => match message.method() {
                Method::Invite => self.on_invite(key, hop, message, out),
                Method::Bye => self.on_bye(key, &message, out),
                method => {
                    let (status, phrase) = other(method);
                    let tag = self.tag();
                    let response = Builder::response_to(&message, status, phrase, Some(&tag));
                    let response =
                        response.header(Name::Allow, ALLOW).header(Name::Accept, "application/sdp");
                    self.endpoint.respond(out.now, key, response, &mut out.transmit);
                }
            },
            Incoming::Ack { message, .. } => self.on_ack(&message, out),
            Incoming::Cancel { invite, message } => self.on_cancel(invite, &message, out),
            Incoming::Response { key, message } => self.on_response(key, &message, out),
            Incoming::Stray2xx { message, .. } => self.on_stray(&message, out),
            Incoming::ClientFailed { key, why } => self.on_failure(key, why.status(), None, out),
            Incoming::ServerGone {
                why: ServerEnd::AckTimeout | ServerEnd::Ended | ServerEnd::Transport,
                ..
            } => {}
        }
    }

    fn on_tick(&mut self, number: CallNumber, tick: Tick, out: &mut Out<'_>) {
        match tick {
            Tick::Answer => self.answer_due(number, out),
            Tick::Repeat(version, interval) => self.repeat_answer(number, version, interval, out),
            Tick::NoAck(version) => self.no_ack(number, version, out),
            Tick::Abandon => self.abandon(number, out),
            Tick::Forget => self.forget(number),
        }
    }

    /// Nothing of the call can come any more. An INVITE that got no final response (whoever had it is gone) is given up.
    fn forget(&mut self, number: CallNumber) {
        let Some(call) = self.calls.remove(&number) else { return };
        if let Some(invite) = call.invite.filter(|_| call.is_inviting) {
            self.endpoint.abandon(invite);
        }
    }

    /// Says that a call is over, once; what is left of it absorbs repetitions for 64*T1.
    pub(crate) fn end(&mut self, number: CallNumber, status: u16, last: Option<&Message>, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        if call.state == State::Over {
            return;
        }
        call.state = State::Over;
        call.answer = None;
        self.timers.set(out.now + self.config.timers.t1_64(), (number, Tick::Forget));
        out.event(Event::Ended {
            call: number,
            status,
            reason: last.and_then(|message| text(message, Name::Reason)),
            warning: last.and_then(|message| text(message, Name::Warning)),
        });
    }

    pub(crate) fn find(&self, matches: impl Fn(&Call) -> bool) -> Option<CallNumber> {
        self.calls.iter().find(|(_, call)| matches(call)).map(|(number, _)| *number)
    }

    /// The call whose dialog a request is of.
    pub(crate) fn find_dialog(&self, request: &Message) -> Option<CallNumber> {
        self.find(|call| call.dialog.as_ref().is_some_and(|dialog| dialog.is_of_request(request)))
    }

    pub(crate) fn send(&mut self, hop: Hop, builder: Builder, out: &mut Out<'_>) -> endpoint::ClientKey {
        self.endpoint.request(out.now, hop, builder, &mut out.transmit)
    }
}

/// What a request gets that is neither INVITE nor BYE.
fn other(method: &Method) -> (u16, &'static str) {
    match method {
        Method::Options => (200, "OK"),
        Method::Other(_) => (501, "Not Implemented"),
        Method::Invite
        | Method::Ack
        | Method::Bye
        | Method::Cancel
        | Method::Register
        | Method::Prack
        | Method::Update
        | Method::Info
        | Method::Refer
        | Method::Notify
        | Method::Subscribe
        | Method::Message
        | Method::Publish => (405, "Method Not Allowed"),
    }
}

/// All values of a field as text.
pub(crate) fn text(message: &Message, name: Name) -> Option<String> {
    let values: Vec<_> = message.values(name).map(String::from_utf8_lossy).collect();
    (!values.is_empty()).then(|| values.join(", "))
}

impl Machine for Phone {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input, outputs: &mut Outbox<Output>) {
        let mut out = Out { now, transmit: Outbox::new(), outputs };
        let mut tu = Outbox::new();
        self.on_input(input, &mut tu, &mut out);
        for event in tu {
            self.on_event(event, &mut out);
        }
        out.flush();
    }

    fn handle_timeout(&mut self, now: Instant, outputs: &mut Outbox<Output>) {
        let mut out = Out { now, transmit: Outbox::new(), outputs };
        let mut tu = Outbox::new();
        self.endpoint.handle_timeout(now, &mut out.transmit, &mut tu);
        for event in tu {
            self.on_event(event, &mut out);
        }
        while let Some((number, tick)) = self.timers.pop(now) {
            self.on_tick(number, tick, &mut out);
        }
        out.flush();
    }

    fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        let own = self.timers.next().map(|(at, _)| (at, "phone"));
        [own, self.endpoint.next_timeout()].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}
