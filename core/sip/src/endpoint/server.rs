//! Server transactions at work: carries out what the tables of [`crate::transaction`] ask for.

use std::time::Duration;

use bytes::Bytes;
use machine::{Instant, Outbox, Text, TimerId};

use super::branch::Fingerprint;
use super::{Due, Endpoint, Incoming, Owner, ServerEnd, ServerKey, Transmit};
use crate::message::{Builder, Message, Method, Name};
use crate::transaction::{ServerAction, Step, Timer, invite_server, non_invite_server};
use crate::transport::Hop;

/// One server transaction.
#[derive(Debug, Clone)]
pub(super) struct Server {
    state: State,
    request: Fingerprint,
    origin: Option<Fingerprint>,
    /// The loop mark of its request.
    pub(super) mark: u32,
    /// Where responses go.
    pub(super) hop: Hop,
    /// The last response, while it may have to be sent again.
    kept: Text<Box<[u8]>>,
    /// The request of a non-INVITE without response: for the 100 that becomes due when the answer is slow.
    unanswered: Option<Box<Message>>,
    /// Of timer G.
    interval: Duration,
    /// G.
    repetition: Option<TimerId>,
    /// All others: one runs at a time.
    end: Option<TimerId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Invite(invite_server::State),
    Other(non_invite_server::State),
}

impl State {
    fn is_terminated(self) -> bool {
        matches!(
            self,
            Self::Invite(invite_server::State::Terminated)
                | Self::Other(non_invite_server::State::Terminated)
        )
    }
}

/// What happens to a server transaction, before it is known which machine it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Input {
    Request,
    Ack,
    Status(u16),
    Timer(Timer),
    TransportError,
}

fn step(state: State, input: Input) -> Option<Step<State, ServerAction>> {
    match state {
        State::Invite(state) => {
            use invite_server::Input as I;
            let input = match input {
                Input::Request => I::Invite,
                Input::Ack => I::Ack,
                Input::Status(100..200) => I::Provisional,
                Input::Status(200..300) => I::Success,
                Input::Status(_) => I::Failure,
                Input::Timer(timer) => invite_server::timer(timer)?,
                Input::TransportError => I::TransportError,
            };
            let Step { to, actions } = invite_server::step(state, input);
            Some(Step { to: State::Invite(to), actions })
        }
        State::Other(state) => {
            use non_invite_server::Input as I;
            let input = match input {
                Input::Request => I::Request,
                Input::Ack => return None,
                Input::Status(100..200) => I::Provisional,
                Input::Status(_) => I::Final,
                Input::Timer(timer) => non_invite_server::timer(timer)?,
                Input::TransportError => I::TransportError,
            };
            let Step { to, actions } = non_invite_server::step(state, input);
            Some(Step { to: State::Other(to), actions })
        }
    }
}

/// What a step may need.
#[derive(Debug, Default)]
pub(super) struct Given {
    /// The response of the transaction user.
    pub(super) response: Option<Bytes>,
    /// The ACK and where it came from.
    pub(super) ack: Option<(Hop, Message)>,
}

/// What a new server transaction is made of.
pub(super) struct New<'a> {
    pub(super) message: &'a Message,
    pub(super) request: Fingerprint,
    pub(super) origin: Option<Fingerprint>,
    pub(super) mark: u32,
    pub(super) hop: Hop,
}

impl Endpoint {
    pub(super) fn add_server(&mut self, now: Instant, new: New<'_>, out: &mut Outbox<Transmit>) -> ServerKey {
        let New { message, request, origin, mark, hop } = new;
        let is_invite = message.method() == Method::Invite;
        let state = if is_invite {
            State::Invite(invite_server::State::Proceeding)
        } else {
            State::Other(non_invite_server::State::Trying)
        };
        let key = ServerKey(self.servers.insert(Server {
            state,
            request,
            origin,
            mark,
            hop,
            kept: Text::default(),
            unanswered: (!is_invite).then(|| Box::new(message.clone())),
            interval: Duration::ZERO,
            repetition: None,
            end: None,
        }));
        self.by_request.insert(request, key);
        if let Some(origin) = origin {
            self.by_origin.insert(origin, key);
        }
        if hop.protocol.is_reliable() {
            self.by_return.insert((hop.remote, key));
        }
        if is_invite {
            //= RFC 3261 §17.2.1: 100 at once, since nobody knows whether the transaction user needs 200 ms.
            self.respond_bytes(now, key, trying(message), out);
        } else {
            self.act_server(now, key, non_invite_server::START, Given::default(), out, &mut Outbox::new());
        }
        key
    }

    pub(super) fn respond_bytes(
        &mut self,
        now: Instant,
        key: ServerKey,
        bytes: Bytes,
        out: &mut Outbox<Transmit>,
    ) -> bool {
        let Some(status) = status(&bytes) else { return false };
        //= RFC 3261 §8.2.2.2: compared with ongoing transactions only. What was refused may be tried again by the same
        // or another path.
        if status >= 300 {
            self.forget_origin(key);
        }
        let before = out.len();
        let given = Given { response: Some(bytes), ack: None };
        // Responses of the transaction user cause nothing that it would have to be told.
        self.step_server(now, key, Input::Status(status), given, out, &mut Outbox::new());
        out.len() > before
    }

    pub(super) fn server_timer(
        &mut self,
        now: Instant,
        key: ServerKey,
        timer: Timer,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        self.step_server(now, key, Input::Timer(timer), Given::default(), out, tu);
    }

    pub(super) fn servers_failed(&mut self, now: Instant, hop: Hop, tu: &mut Outbox<Incoming>) {
        if !hop.protocol.is_reliable() {
            return;
        }
        let range = (hop.remote, ServerKey::MIN)..=(hop.remote, ServerKey::MAX);
        let keys: Vec<ServerKey> = self.by_return.range(range).map(|entry| entry.1).collect();
        for key in keys {
            self.step_server(now, key, Input::TransportError, Given::default(), &mut Outbox::new(), tu);
        }
    }

    pub(super) fn step_server(
        &mut self,
        now: Instant,
        key: ServerKey,
        input: Input,
        given: Given,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        let Some(server) = self.servers.at_mut(key.0) else { return };
        let Some(next) = step(server.state, input) else { return };
        server.state = next.to;
        self.act_server(now, key, next.actions, given, out, tu);
        if next.to.is_terminated() {
            self.remove_server(key);
        }
    }

    fn act_server(
        &mut self,
        now: Instant,
        key: ServerKey,
        actions: &[ServerAction],
        mut given: Given,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        let mut over = None;
        for action in actions {
            let Some(server) = self.servers.at_mut(key.0) else { return };
            match *action {
                ServerAction::Send => server.send(given.response.take(), out),
                ServerAction::Repeat => server.repeat(out),
                ServerAction::SendTrying => {
                    let trying = server.unanswered.as_deref().map(trying);
                    server.send(trying, out);
                }
                ServerAction::AckToTu => {
                    tu.extend(given.ack.take().map(|(hop, message)| Incoming::Ack { hop, message }));
                }
                ServerAction::AckMissing => tu.push(gone(key, ServerEnd::AckTimeout)),
                ServerAction::Undelivered => tu.push(gone(key, ServerEnd::Transport)),
                ServerAction::Ended => tu.push(gone(key, ServerEnd::Ended)),
                ServerAction::Forget => server.kept = Text::default(),
                ServerAction::Start(timer) => over = self.start_server_timer(now, key, timer).or(over),
                ServerAction::Again(timer) => {
                    self.counters.repetitions_sent += 1;
                    server.interval = timer.again(server.interval, &self.config.timers);
                    let at = now + server.interval;
                    server.repetition = Some(self.timers.set(at, Due { owner: Owner::Server(key), timer }));
                }
                ServerAction::Stop => {
                    for id in [server.repetition.take(), server.end.take()].into_iter().flatten() {
                        self.timers.stop(id);
                    }
                }
            }
        }
        if let Some(timer) = over {
            self.server_timer(now, key, timer, out, tu);
        }
    }

    /// Gives the timer back if it runs for no time at all.
    fn start_server_timer(&mut self, now: Instant, key: ServerKey, timer: Timer) -> Option<Timer> {
        let server = self.servers.at_mut(key.0)?;
        let time = timer.first(&self.config.timers, server.hop.protocol.is_reliable())?;
        if time.is_zero() {
            return Some(timer);
        }
        let id = self.timers.set(now + time, Due { owner: Owner::Server(key), timer });
        if timer == Timer::G {
            server.interval = time;
            server.repetition = Some(id);
        } else {
            server.end = Some(id);
        }
        None
    }

    fn forget_origin(&mut self, key: ServerKey) {
        if let Some(origin) = self.servers.at_mut(key.0).and_then(|server| server.origin.take()) {
            self.by_origin.remove(&origin);
        }
    }

    fn remove_server(&mut self, key: ServerKey) {
        self.forget_origin(key);
        let Some(server) = self.servers.remove(key.0) else { return };
        self.by_request.remove(&server.request);
        if server.hop.protocol.is_reliable() {
            self.by_return.remove(&(server.hop.remote, key));
        }
        for id in [server.repetition, server.end].into_iter().flatten() {
            self.timers.stop(id);
        }
    }
}

impl Server {
    /// Sends a response and keeps a copy that is not larger than it must be.
    fn send(&mut self, response: Option<Bytes>, out: &mut Outbox<Transmit>) {
        let Some(bytes) = response else { return };
        self.kept = Text(Box::from(bytes.as_ref()));
        self.unanswered = None;
        out.push(Transmit { hop: self.hop, bytes });
    }

    fn repeat(&self, out: &mut Outbox<Transmit>) {
        if !self.kept.is_empty() {
            out.push(Transmit { hop: self.hop, bytes: Bytes::copy_from_slice(&self.kept) });
        }
    }

    /// True while the transaction user owes an INVITE its final response.
    pub(super) fn is_open_invite(&self) -> bool {
        self.state == State::Invite(invite_server::State::Proceeding)
    }

    /// The To tag of the last response, if it is still there and has one.
    pub(super) fn local_tag(&self) -> Option<String> {
        let kept = Message::parse(Bytes::copy_from_slice(&self.kept)).ok()?;
        kept.to().ok()?.tag().map(str::to_owned)
    }
}

fn gone(key: ServerKey, why: ServerEnd) -> Incoming {
    Incoming::ServerGone { key, why }
}

//= RFC 3261 §8.2.6.1: a Timestamp is copied into a 100; no To tag is added (§17.2.1).
fn trying(request: &Message) -> Bytes {
    Builder::response_to(request, 100, "Trying", None).copy(request, Name::Timestamp).finish()
}

/// The status code of a response we built: `SIP/2.0 nnn `.
fn status(bytes: &[u8]) -> Option<u16> {
    std::str::from_utf8(bytes.strip_prefix(b"SIP/2.0 ")?.get(..3)?).ok()?.parse().ok()
}
