//! The phone: gives messages to its endpoint and the endpoint's events to its calls.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use machine::{Instant, Machine, Outbox, Rng, Timers};
use sip::endpoint::{self, ClientKey, Endpoint, Incoming, Limits, Listener, ServerEnd, ServerKey, Transmit};
use sip::message::{Builder, Message, Method, Name};
use sip::transport::{Hop, ListenerId};

use crate::call::{Call, State};
use crate::local::Local;
use crate::{CallNumber, Config, Event, Input, Oddities, Output};

/// How many of its last messages a phone keeps that repeats them.
const OLD_MAX: usize = 3;

/// See the crate.
#[derive(Debug, Clone)]
pub struct Phone {
    pub(crate) config: Config,
    pub(crate) endpoint: Endpoint,
    pub(crate) calls: BTreeMap<CallNumber, Call>,
    pub(crate) timers: Timers<(CallNumber, Tick)>,
    pub(crate) rng: Rng,
    last: u64,
    /// The last messages, for a phone that repeats them.
    old: VecDeque<Transmit>,
}

/// What time brings.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Tick {
    /// The phone has rung long enough.
    Answer,
    /// The 2xx of this number is repeated, after this interval.
    Repeat(u64, Duration),
    /// The ACK to the 2xx of this number never came.
    NoAck(u64),
    /// The reliable response with this RSeq is repeated, after this interval.
    Unheard(u32, Duration),
    /// The PRACK for the response with this RSeq never came.
    NoPrack(u32),
    /// The re-INVITE that was to wait is answered.
    Late,
    /// What got 491 is tried again.
    Retry,
    /// Half of the session interval is over: RFC 4028 §7.2.
    Refresh,
    /// The session is about to expire: RFC 4028 §10.
    Expire,
    /// What the phone provides for a precondition is there, or failed.
    Provided,
    /// The power fails.
    Reboot,
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
    /// What was sent, if the phone repeats old messages.
    sent: Vec<Transmit>,
    remembers: bool,
}

impl<'a> Out<'a> {
    fn new(now: Instant, oddities: &Oddities, outputs: &'a mut Outbox<Output>) -> Self {
        Self { now, transmit: Outbox::new(), outputs, sent: Vec::new(), remembers: oddities.repeats_old }
    }

    /// What the transactions sent before an event stands before it.
    pub(crate) fn event(&mut self, event: Event) {
        self.flush();
        self.outputs.push(Output::Event(event));
    }

    fn flush(&mut self) {
        for transmit in self.transmit.drain() {
            if self.remembers {
                self.sent.push(transmit.clone());
            }
            self.outputs.push(Output::Transmit(transmit));
        }
    }
}

impl Phone {
    /// A phone without calls.
    #[must_use]
    pub fn new(config: Config, mut rng: Rng) -> Self {
        Self {
            endpoint: endpoint_of(&config, rng.fork()),
            calls: BTreeMap::new(),
            timers: Timers::new(),
            rng,
            last: 0,
            old: VecDeque::new(),
            config,
        }
    }

    /// True if nothing is left of any call.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.calls.is_empty() && self.timers.is_empty() && self.endpoint.is_empty()
    }

    pub(crate) fn local(&self) -> Local {
        let Config { user, media, extensions, oddities, .. } = &self.config;
        Local::new(user, *media, extensions, oddities.odd_sdp)
    }

    pub(crate) fn tag(&mut self) -> String {
        format!("{:016x}", self.rng.bits())
    }

    pub(crate) fn add(&mut self, call: Call, out: &Out<'_>) -> CallNumber {
        self.last += 1;
        let number = CallNumber(self.last);
        self.calls.insert(number, call);
        if let Some(after) = self.config.oddities.reboots_after {
            self.timers.set(out.now + after, (number, Tick::Reboot));
        }
        number
    }

    fn on_input(&mut self, input: Input, tu: &mut Outbox<Incoming>, out: &mut Out<'_>) {
        match input {
            Input::Received { hop, bytes } => {
                self.endpoint.receive(out.now, hop, bytes, &mut out.transmit, tu);
            }
            Input::TransportFailed { hop } => {
                self.endpoint.transport_failed(out.now, hop, &mut out.transmit, tu);
            }
            Input::Call { to, next } => self.call(&to, next, None, out),
            Input::TakeOver { to, next, replaces } => self.call(&to, next, Some(replaces), out),
            Input::Cancel(call) => self.cancel(call, out),
            Input::HangUp(call) => self.hang_up(call, None, out),
            Input::Accept(call) => self.accept(call, out),
            Input::Reject { call, status } => self.reject(call, status, out),
            Input::Offer { call, offer } => self.offer(call, offer, out),
            Input::Ask(call) => self.ask(call, out),
            Input::Refer { call, to } => self.refer(call, &to, out),
            Input::Notify { call, status } => self.notify(call, status, out),
            Input::Reboot => self.reboot(),
        }
    }

    fn on_event(&mut self, event: Incoming, out: &mut Out<'_>) {
        match event {
            Incoming::Request { key, hop, message } => match message.method() {
                Method::Invite => self.on_invite(key, hop, message, out),
                Method::Bye => self.on_bye(key, &message, out),
                Method::Prack if self.is_reliable() => self.on_prack(key, &message, out),
                Method::Update if self.is_updating() => self.on_update(key, &message, out),
                Method::Refer if self.config.extensions.refers => self.on_refer(key, &message, out),
                Method::Notify if self.config.extensions.refers => self.on_notify(key, &message, out),
                method => {
                    let (status, phrase) = other(method);
                    let tag = self.tag();
                    let response = Builder::response_to(&message, status, phrase, Some(&tag));
                    let response =
                        response.header(Name::Allow, self.allow()).header(Name::Accept, "application/sdp");
                    self.endpoint.respond(out.now, key, response, &mut out.transmit);
                }
            },
            Incoming::Ack { message, .. } => self.on_ack(&message, out),
            Incoming::Cancel { invite, message } => self.on_cancel(invite, &message, out),
            Incoming::Response { key, message } => self.on_response(key, &message, out),
            Incoming::Stray2xx { message, .. } => self.on_stray(&message, out),
            Incoming::ClientFailed { key, why } => self.on_final(key, why.status(), None, out),
            Incoming::Malformed { .. } => {}
            Incoming::ServerGone {
                why: ServerEnd::AckTimeout | ServerEnd::Ended | ServerEnd::Transport,
                ..
            } => {}
        }
    }

    fn on_response(&mut self, key: ClientKey, message: &Message, out: &mut Out<'_>) {
        let invited = self.find(|call| call.invite == Some(key));
        match (invited, message.status()) {
            (Some(number), 100..200) => self.on_progress(number, message, out),
            (Some(number), 200..300) => self.on_success(number, message, out),
            (None, 100..200) => {}
            (Some(_) | None, status) => self.on_final(key, status, Some(message), out),
        }
    }

    /// The end of a request of ours that is no 2xx to INVITE.
    fn on_final(&mut self, key: ClientKey, status: u16, response: Option<&Message>, out: &mut Out<'_>) {
        if let Some(number) = self.find(|call| call.bye == Some(key)) {
            return self.end(number, status, response, out);
        }
        if let Some(number) = self.find(|call| call.invite == Some(key)) {
            return self.on_refused(number, status, response, out);
        }
        if let Some(number) = self.find(|call| call.referral.awaits(key)) {
            return self.on_referred(number, key, status, out);
        }
        let Some(number) = self.find(|call| call.open.iter().any(|open| open.key == key)) else { return };
        let Some(call) = self.calls.get_mut(&number) else { return };
        let Some(at) = call.open.iter().position(|open| open.key == key) else { return };
        let open = call.open.remove(at);
        match open.method {
            Method::Prack => self.on_pracked(number, &open, status, response, out),
            _ => self.on_updated(number, &open, status, response, out),
        }
    }

    fn on_tick(&mut self, number: CallNumber, tick: Tick, out: &mut Out<'_>) {
        match tick {
            Tick::Answer => self.answer_due(number, out),
            Tick::Repeat(answer, interval) => self.repeat_answer(number, answer, interval, out),
            Tick::NoAck(answer) => self.no_ack(number, answer, out),
            Tick::Unheard(rseq, interval) => self.repeat_provisional(number, rseq, interval, out),
            Tick::NoPrack(rseq) => self.no_prack(number, rseq, out),
            Tick::Late => self.answer_reinvite(number, out),
            Tick::Retry => self.retry(number, out),
            Tick::Refresh => self.refresh(number, out),
            Tick::Expire => self.expire(number, out),
            Tick::Provided => self.provided(number, out),
            Tick::Abandon => self.abandon(number, out),
            Tick::Forget => self.forget(number),
            Tick::Reboot => self.reboot(),
        }
    }

    /// Nothing of the call can come any more. An INVITE that got no final response (whoever had it is gone) is given up.
    fn forget(&mut self, number: CallNumber) {
        let Some(call) = self.calls.remove(&number) else { return };
        if let Some(invite) = call.invite.filter(|_| call.is_inviting) {
            self.endpoint.abandon(invite);
        }
    }

    /// Everything is forgotten but how many calls there were.
    fn reboot(&mut self) {
        self.calls.clear();
        self.timers = Timers::new();
        self.old.clear();
        self.endpoint = endpoint_of(&self.config, self.rng.fork());
    }

    /// Says that a call is over, once; what is left of it absorbs repetitions for 64*T1.
    pub(crate) fn end(&mut self, number: CallNumber, status: u16, last: Option<&Message>, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        if call.state == State::Over {
            return;
        }
        call.state = State::Over;
        (call.answer, call.unacknowledged, call.wish) = (None, None, None);
        call.session.stop(&mut self.timers);
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

    /// The call in one of whose dialogs a request is, and which.
    pub(crate) fn find_dialog(&self, request: &Message) -> Option<(CallNumber, usize)> {
        self.calls.iter().find_map(|(number, call)| {
            let at = call.talks.iter().position(|talk| talk.dialog.is_of_request(request))?;
            Some((*number, at))
        })
    }

    pub(crate) fn send(&mut self, hop: Hop, builder: Builder, out: &mut Out<'_>) -> ClientKey {
        self.endpoint.request(out.now, hop, builder, &mut out.transmit)
    }

    pub(crate) fn respond(
        &mut self,
        key: ServerKey,
        request: &Message,
        (status, phrase): (u16, &str),
        out: &mut Out<'_>,
    ) {
        let response = Builder::response_to(request, status, phrase, None);
        self.endpoint.respond(out.now, key, response, &mut out.transmit);
    }

    /// What was sent now is remembered, and with each message an older one is sent again.
    fn repeat_old(&mut self, out: &mut Out<'_>) {
        out.flush();
        for transmit in std::mem::take(&mut out.sent) {
            self.old.push_back(transmit);
            if self.old.len() > OLD_MAX
                && let Some(old) = self.old.pop_front()
            {
                out.outputs.push(Output::Transmit(old));
            }
        }
    }
}

fn endpoint_of(config: &Config, rng: Rng) -> Endpoint {
    let listener = Listener {
        id: ListenerId(0),
        protocol: config.protocol,
        address: config.address,
        sent_by: config.address.to_string(),
        longer: None,
    };
    let settings = endpoint::Config {
        timers: config.timers,
        listeners: vec![listener],
        branch_prefix: String::new(),
        limits: Limits::default(),
    };
    Endpoint::new(settings, rng)
}

/// What a request gets that the phone does not know.
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
        let mut out = Out::new(now, &self.config.oddities, outputs);
        let mut tu = Outbox::new();
        self.on_input(input, &mut tu, &mut out);
        for event in tu {
            self.on_event(event, &mut out);
        }
        self.repeat_old(&mut out);
    }

    fn handle_timeout(&mut self, now: Instant, outputs: &mut Outbox<Output>) {
        let mut out = Out::new(now, &self.config.oddities, outputs);
        let mut tu = Outbox::new();
        self.endpoint.handle_timeout(now, &mut out.transmit, &mut tu);
        for event in tu {
            self.on_event(event, &mut out);
        }
        while let Some((number, tick)) = self.timers.pop(now) {
            self.on_tick(number, tick, &mut out);
        }
        self.repeat_old(&mut out);
    }

    fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        let own = self.timers.next().map(|(at, _)| (at, "phone"));
        [own, self.endpoint.next_timeout()].into_iter().flatten().min_by_key(|(at, _)| *at)
    }
}
