//! Client transactions at work: carries out what the tables of [`crate::transaction`] ask for.

use std::time::Duration;

use bytes::Bytes;
use machine::{Instant, Outbox, Text, TimerId};

use super::config::DATAGRAM_LEN_MAX;
use super::{ClientFailure, ClientKey, Due, Endpoint, Incoming, Owner, Transmit, build};
use crate::message::{Builder, Message, Method, Name};
use crate::transaction::{ClientAction, Step, Timer, invite_client, non_invite_client};
use crate::transport::{Hop, Protocol};

/// One client transaction.
#[derive(Debug, Clone)]
pub(super) struct Client {
    state: State,
    /// The random part of its branch.
    number: u64,
    pub(super) method: Method,
    pub(super) hop: Hop,
    /// The request; in Completed the ACK; empty when nothing will be sent any more.
    bytes: Text<Bytes>,
    /// Of the repetition timer.
    interval: Duration,
    /// A or E.
    repetition: Option<TimerId>,
    /// All others: one runs at a time.
    end: Option<TimerId>,
    /// How it goes on over UDP if no stream leads there.
    datagram: Option<Box<(Hop, Bytes)>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Invite(invite_client::State),
    Other(non_invite_client::State),
}

impl State {
    /// True while no final response came.
    fn is_waiting(self) -> bool {
        use invite_client::State as I;
        use non_invite_client::State as N;
        match self {
            Self::Invite(I::Calling | I::Proceeding) | Self::Other(N::Trying | N::Proceeding) => true,
            Self::Invite(I::Completed | I::Accepted | I::Terminated)
            | Self::Other(N::Completed | N::Terminated) => false,
        }
    }

    fn is_terminated(self) -> bool {
        matches!(
            self,
            Self::Invite(invite_client::State::Terminated)
                | Self::Other(non_invite_client::State::Terminated)
        )
    }
}

/// What happens to a client transaction, before it is known which machine it is.
#[derive(Debug, Clone, Copy)]
enum Input {
    Status(u16),
    Timer(Timer),
    TransportError,
}

fn step(state: State, input: Input) -> Option<Step<State, ClientAction>> {
    match state {
        State::Invite(state) => {
            use invite_client::Input as I;
            let input = match input {
                Input::Status(100..200) => I::Provisional,
                Input::Status(200..300) => I::Success,
                Input::Status(_) => I::Failure,
                Input::Timer(timer) => invite_client::timer(timer)?,
                Input::TransportError => I::TransportError,
            };
            let Step { to, actions } = invite_client::step(state, input);
            Some(Step { to: State::Invite(to), actions })
        }
        State::Other(state) => {
            use non_invite_client::Input as I;
            let input = match input {
                Input::Status(100..200) => I::Provisional,
                Input::Status(_) => I::Final,
                Input::Timer(timer) => non_invite_client::timer(timer)?,
                Input::TransportError => I::TransportError,
            };
            let Step { to, actions } = non_invite_client::step(state, input);
            Some(Step { to: State::Other(to), actions })
        }
    }
}

impl Endpoint {
    /// The message with our Via on top, and the random part of its branch.
    pub(super) fn stamped(&mut self, hop: Hop, builder: Builder, mark: Option<u32>) -> (u64, Bytes) {
        let number = self.rng.bits();
        (number, builder.via(self.via(hop, number, mark)).finish())
    }

    fn via(&self, hop: Hop, number: u64, mark: Option<u32>) -> String {
        let sent_by = self.listener(hop.listener).map_or("unknown.invalid", |listener| &listener.sent_by);
        let mut via = self.branches.via(hop.protocol.token(), sent_by, number, mark);
        //= RFC 3581 §3: rport is asked for over UDP, where an address translator may change the port.
        if !hop.protocol.is_reliable() {
            via.push_str(";rport");
        }
        //= RFC 5923 §8.1: whoever answers may send us requests over this connection.
        if hop.protocol == Protocol::Tls {
            via.push_str(";alias");
        }
        via
    }

    /// The hop over a stream and the request for it, if it is too long for the datagram that it would be.
    //= RFC 3261 §18.1.1: above 1300 bytes over a congestion controlled transport, with the Via of that.
    fn lengthened(
        &self,
        now: Instant,
        hop: Hop,
        bytes: &Bytes,
        via: impl Fn(Hop) -> String,
    ) -> Option<(Hop, Bytes)> {
        if bytes.len() <= DATAGRAM_LEN_MAX
            || hop.protocol != Protocol::Udp
            || self.streamless.has(now, hop.remote)
        {
            return None;
        }
        let listener = self.listener(self.listener(hop.listener)?.longer?)?;
        let hop = Hop { listener: listener.id, protocol: listener.protocol, ..hop };
        // We wrote it: the Via is the first line behind the request line.
        let start = memchr::memmem::find(bytes, b"\r\n")? + 2;
        let length = memchr::memmem::find(bytes.get(start..)?, b"\r\n")?;
        let text = format!("Via: {}", via(hop));
        let bytes = [&bytes[..start], text.as_bytes(), &bytes[start + length..]].concat();
        Some((hop, bytes.into()))
    }

    pub(super) fn start_client(
        &mut self,
        now: Instant,
        hop: Hop,
        builder: Builder,
        mark: Option<u32>,
        out: &mut Outbox<Transmit>,
    ) -> ClientKey {
        let method = builder.method().cloned().unwrap_or(Method::Options);
        debug_assert!(method != Method::Ack, "an ACK is no transaction: use send_ack");
        let (number, bytes) = self.stamped(hop, builder, mark);
        match self.lengthened(now, hop, &bytes, |hop| self.via(hop, number, mark)) {
            Some((stream, longer)) => {
                let datagram = Some(Box::new((hop, bytes)));
                self.add_client(now, (stream, datagram), number, method, longer, out)
            }
            None => self.add_client(now, (hop, None), number, method, bytes, out),
        }
    }

    fn add_client(
        &mut self,
        now: Instant,
        (hop, datagram): (Hop, Option<Box<(Hop, Bytes)>>),
        number: u64,
        method: Method,
        bytes: Bytes,
        out: &mut Outbox<Transmit>,
    ) -> ClientKey {
        let (state, start) = if method == Method::Invite {
            (State::Invite(invite_client::State::Calling), invite_client::START)
        } else {
            (State::Other(non_invite_client::State::Trying), non_invite_client::START)
        };
        let by_branch = (number, method == Method::Cancel);
        let key = ClientKey(self.clients.insert(Client {
            state,
            number,
            method,
            hop,
            bytes: Text(bytes),
            interval: Duration::ZERO,
            repetition: None,
            end: None,
            datagram,
        }));
        self.by_branch.insert(by_branch, key);
        self.by_remote.insert((hop.protocol, hop.remote, key));
        self.act_client(now, key, start, None, out, &mut Outbox::new());
        key
    }

    pub(super) fn start_cancel(
        &mut self,
        now: Instant,
        key: ClientKey,
        extra: &[(Name, &[u8])],
        body: &[u8],
        out: &mut Outbox<Transmit>,
    ) -> Option<ClientKey> {
        let client = self.clients.at(key.0)?;
        //= RFC 3261 §9.1: not before a provisional response, and not after a final one.
        if client.state != State::Invite(invite_client::State::Proceeding) {
            return None;
        }
        let (hop, number) = (client.hop, client.number);
        if self.by_branch.contains_key(&(number, true)) {
            return None;
        }
        let invite = Message::parse(client.bytes.0.clone()).ok()?;
        let bytes = build::cancel(&invite, extra, body);
        Some(self.add_client(now, (hop, None), number, Method::Cancel, bytes, out))
    }

    /// RFC 3261 §17.1.3: by branch and by the method of CSeq.
    pub(super) fn find_client(&self, number: u64, method: &Method) -> Option<ClientKey> {
        let key = *self.by_branch.get(&(number, *method == Method::Cancel))?;
        self.clients.at(key.0).filter(|client| client.method == *method).map(|_| key)
    }

    pub(super) fn client_hop(&self, key: ClientKey) -> Option<Hop> {
        self.clients.at(key.0).map(|client| client.hop)
    }

    pub(super) fn client_response(
        &mut self,
        now: Instant,
        key: ClientKey,
        response: Message,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        let status = response.status();
        self.step_client(now, key, Input::Status(status), Some(response), out, tu);
    }

    pub(super) fn client_timer(
        &mut self,
        now: Instant,
        key: ClientKey,
        timer: Timer,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        self.step_client(now, key, Input::Timer(timer), None, out, tu);
    }

    pub(super) fn clients_failed(
        &mut self,
        now: Instant,
        hop: Hop,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        let range = (hop.protocol, hop.remote, ClientKey::MIN)..=(hop.protocol, hop.remote, ClientKey::MAX);
        let keys: Vec<ClientKey> = self.by_remote.range(range).map(|entry| entry.2).collect();
        for key in keys {
            let own = self.client_hop(key).and_then(|own| own.connection);
            let is_meant = own.is_none() || hop.connection.is_none() || own == hop.connection;
            if is_meant && !self.falls_back(now, key, out) {
                self.step_client(now, key, Input::TransportError, None, &mut Outbox::new(), tu);
            }
        }
    }

    /// A request that was only too long for a datagram begins anew as one, if nobody has answered it; true if it does.
    //= RFC 3261 §18.1.1: whoever knows no TCP gets it over UDP.
    fn falls_back(&mut self, now: Instant, key: ClientKey, out: &mut Outbox<Transmit>) -> bool {
        let Some(client) = self.clients.at_mut(key.0) else { return false };
        let start = match client.state {
            State::Invite(invite_client::State::Calling) => invite_client::START,
            State::Other(non_invite_client::State::Trying) => non_invite_client::START,
            State::Invite(_) | State::Other(_) => return false,
        };
        let Some(datagram) = client.datagram.take() else { return false };
        let stream = client.hop;
        (client.hop, client.bytes) = (datagram.0, Text(datagram.1));
        let hop = client.hop;
        for id in [client.repetition.take(), client.end.take()].into_iter().flatten() {
            self.timers.stop(id);
        }
        self.streamless.note(now, hop.remote);
        self.by_remote.remove(&(stream.protocol, stream.remote, key));
        self.by_remote.insert((hop.protocol, hop.remote, key));
        self.act_client(now, key, start, None, out, &mut Outbox::new());
        true
    }

    fn step_client(
        &mut self,
        now: Instant,
        key: ClientKey,
        input: Input,
        response: Option<Message>,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        let Some(client) = self.clients.at_mut(key.0) else { return };
        let Some(next) = step(client.state, input) else { return };
        let was_waiting = client.state.is_waiting();
        client.state = next.to;
        if was_waiting && !next.to.is_waiting() {
            let hop = client.hop;
            self.by_remote.remove(&(hop.protocol, hop.remote, key));
        }
        self.act_client(now, key, next.actions, response, out, tu);
        if next.to.is_terminated() {
            self.remove_client(key);
        }
    }

    fn act_client(
        &mut self,
        now: Instant,
        key: ClientKey,
        actions: &[ClientAction],
        mut response: Option<Message>,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        let mut over = None;
        for action in actions {
            let Some(client) = self.clients.at_mut(key.0) else { return };
            match *action {
                ClientAction::Send | ClientAction::AcknowledgeAgain => client.send(out),
                ClientAction::Acknowledge => client.acknowledge(response.as_ref(), out),
                ClientAction::ToTu => {
                    tu.extend(response.take().map(|message| Incoming::Response { key, message }));
                }
                ClientAction::TimedOut => {
                    tu.push(Incoming::ClientFailed { key, why: ClientFailure::Timeout });
                }
                ClientAction::Unreachable => {
                    tu.push(Incoming::ClientFailed { key, why: ClientFailure::Transport });
                }
                ClientAction::Forget => client.bytes = Text::default(),
                ClientAction::Start(timer) => over = self.start_client_timer(now, key, timer).or(over),
                ClientAction::Again(timer) => {
                    let interval = timer.again(client.interval, &self.config.timers);
                    self.repeat_client_timer(now, key, timer, interval);
                }
                ClientAction::AgainAtT2(timer) => {
                    self.repeat_client_timer(now, key, timer, self.config.timers.t2);
                }
                ClientAction::Stop => {
                    for id in [client.repetition.take(), client.end.take()].into_iter().flatten() {
                        self.timers.stop(id);
                    }
                }
            }
        }
        if let Some(timer) = over {
            self.client_timer(now, key, timer, out, tu);
        }
    }

    /// Gives the timer back if it runs for no time at all.
    fn start_client_timer(&mut self, now: Instant, key: ClientKey, timer: Timer) -> Option<Timer> {
        let client = self.clients.at_mut(key.0)?;
        let time = timer.first(&self.config.timers, client.hop.protocol.is_reliable())?;
        if time.is_zero() {
            return Some(timer);
        }
        let id = self.timers.set(now + time, Due { owner: Owner::Client(key), timer });
        if matches!(timer, Timer::A | Timer::E) {
            client.interval = time;
            client.repetition = Some(id);
        } else {
            client.end = Some(id);
        }
        None
    }

    fn repeat_client_timer(&mut self, now: Instant, key: ClientKey, timer: Timer, interval: Duration) {
        self.counters.repetitions_sent += 1;
        if let Some(client) = self.clients.at_mut(key.0) {
            client.interval = interval;
            client.repetition =
                Some(self.timers.set(now + interval, Due { owner: Owner::Client(key), timer }));
        }
    }

    pub(super) fn remove_client(&mut self, key: ClientKey) {
        let Some(client) = self.clients.remove(key.0) else { return };
        self.by_branch.remove(&(client.number, client.method == Method::Cancel));
        self.by_remote.remove(&(client.hop.protocol, client.hop.remote, key));
        for id in [client.repetition, client.end].into_iter().flatten() {
            self.timers.stop(id);
        }
    }
}

impl Client {
    fn send(&self, out: &mut Outbox<Transmit>) {
        out.push(Transmit { hop: self.hop, bytes: self.bytes.0.clone() });
    }

    fn acknowledge(&mut self, response: Option<&Message>, out: &mut Outbox<Transmit>) {
        let Some(response) = response else { return };
        if let Ok(invite) = Message::parse(std::mem::take(&mut self.bytes.0)) {
            self.bytes = Text(build::ack(&invite, response));
            //= RFC 3261 §17.1.1.2: the ACK goes where the INVITE went.
            self.send(out);
        }
    }
}
