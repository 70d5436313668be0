//! Connections of agents: who they are, their SIMCO sessions, what they are owed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use machine::{Instant, Outbox, Rng};
use midcom::{Capabilities, Failure, IpVersions, Lifetime, Notification, Reply};
use middlebox::{AgentId, Input, Middlebox, SessionId};
use rustls::ServerConfig;
use simco::middlebox::{Admission, Authentication, Candidate, Config, Output, Session};
use tokio::net::{TcpListener, UnixListener};

use super::greetings::Greetings;
use super::guests::{Claim, Guests, Origin};
use crate::runtime::channel::{Channel, Read};
use crate::tls::Credentials;
use crate::{log, secret};

/// Connections of one agent at a time, so that none keeps the others out; one more is told that there is no room.
const CONNECTIONS_MAX: usize = 64;
/// Connections at a time of those who are only told that they may not, or that there is no room; one more is closed.
const REFUSED_MAX: usize = 16;
/// Connections at a time of those who are nobody until they have proven to be an agent; one more takes the place of the
/// oldest.
const UNPROVEN_MAX: usize = 64;
/// How long they have for it.
const PROOF_MAX: Duration = Duration::from_secs(10);
/// Reads from one agent in one turn, so that none keeps the others waiting.
const READS_MAX: usize = 16;
/// Read at once.
const READ_BYTES: usize = 64 << 10;

/// Somebody who has connected and has no session yet.
struct Arrival {
    channel: Channel,
    origin: Origin,
    who: String,
}

struct Connection {
    channel: Channel,
    session: Session,
    origin: Origin,
    who: String,
    /// `None` for one who has yet to prove who it is, or is only told that it may not, or that there is no room.
    agent: Option<AgentId>,
    /// Who it has to prove to be; empty if nothing has to be proven.
    claims: Vec<Claim>,
    /// To be closed once everything is written.
    closing: bool,
}

/// All connections and the sockets they come from.
pub(super) struct Sessions {
    guests: Guests,
    unix: UnixListener,
    /// With whether they are for TLS.
    doors: Vec<(TcpListener, bool)>,
    greetings: Greetings,
    arrivals: Vec<Arrival>,
    connections: BTreeMap<SessionId, Connection>,
    next: u64,
    rng: Rng,
    out: Outbox<Output>,
    buffer: Box<[u8]>,
    warnings: log::Rarely,
}

impl Sessions {
    pub(super) fn new(
        guests: Guests,
        unix: UnixListener,
        doors: Vec<(TcpListener, bool)>,
        credentials: Option<Credentials<Arc<ServerConfig>>>,
        rng: Rng,
    ) -> Self {
        let buffer = vec![0; READ_BYTES].into();
        Self {
            guests,
            unix,
            doors,
            greetings: Greetings::new(credentials),
            arrivals: Vec::new(),
            connections: BTreeMap::new(),
            next: 1,
            rng,
            out: Outbox::new(),
            buffer,
            warnings: log::Rarely::default(),
        }
    }

    /// Who may open a session.
    pub(super) fn guests(&self) -> &Guests {
        &self.guests
    }

    /// From now on others may open sessions. Who would not be let in any more as the agent that it is, with what it has
    /// shown, is sent away: its certificate's name, address, user or secret is not that agent's any more.
    pub(super) fn welcome(&mut self, now: Instant, guests: Guests, inputs: &mut VecDeque<Input>) {
        self.guests = guests;
        for (id, connection) in &mut self.connections {
            if connection.agent.is_none() && connection.claims.is_empty()
                || connection.is_welcome(&self.guests)
            {
                continue;
            }
            log::warn(format_args!(
                "session {}: {} is not what it was let in as any more; its session is ended",
                id.0, connection.who
            ));
            connection.session.terminate(now, &mut self.out);
            carry_out(*id, connection, &mut self.out, inputs);
        }
    }

    /// Ready when an agent connects or says something, or takes what it would not take before. Connections are
    /// accepted here, since only a waiting loop is told of them.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ready = Poll::Pending;
        while let Poll::Ready(accepted) = self.unix.poll_accept(cx) {
            ready = Poll::Ready(());
            // Out of descriptors: the next turn may find some.
            let Ok((stream, _)) = accepted else { break };
            let uid = stream.peer_cred().map(|peer| peer.uid()).ok();
            let Ok(channel) = Channel::unix(stream) else { break };
            self.arrivals.push(Arrival {
                channel,
                origin: Origin::Unix(uid),
                who: uid.map_or_else(|| "an unknown user".to_owned(), |uid| format!("user {uid}")),
            });
        }
        for (listener, tls) in &self.doors {
            while let Poll::Ready(accepted) = listener.poll_accept(cx) {
                ready = Poll::Ready(());
                let Ok((stream, remote)) = accepted else { break };
                if *tls {
                    self.greetings.begin(stream, remote);
                    continue;
                }
                let Ok(channel) = Channel::tcp(stream) else { break };
                let origin = Origin::Tcp(remote.ip());
                self.arrivals.push(Arrival { channel, origin, who: remote.to_string() });
            }
        }
        if self.greetings.poll_ready(cx).is_ready() {
            ready = Poll::Ready(());
        }
        for connection in self.connections.values_mut() {
            if connection.channel.poll_ready(cx).is_ready() {
                ready = Poll::Ready(());
            }
        }
        ready
    }

    /// Reads from every agent; what they want goes to `inputs`.
    pub(super) fn turn(&mut self, now: Instant, machine: &Middlebox, inputs: &mut VecDeque<Input>) {
        let known = self.greetings.turn(now);
        let mut arrivals = std::mem::take(&mut self.arrivals);
        arrivals.extend(known.into_iter().map(|known| Arrival {
            channel: known.channel,
            who: format!("{} with a certificate of {}", known.remote, known.certificate.names.join(", ")),
            origin: Origin::Tls(known.certificate),
        }));
        for arrival in arrivals {
            self.admit(now, arrival, machine);
        }
        let ids: Vec<SessionId> = self.connections.keys().copied().collect();
        for id in ids {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            let ended = connection.read(now, &mut self.buffer, &mut self.out);
            if connection.session.next_timeout().is_some_and(|(at, _)| at <= now) {
                connection.session.handle_timeout(now, &mut self.out);
            }
            if let Some(why) = ended {
                log::debug(format_args!("session {}: {why}", id.0));
                connection.session.disconnected(now, &mut self.out);
                connection.closing = true;
            }
            let before = connection.agent;
            carry_out(id, connection, &mut self.out, inputs);
            if connection.has_failed() {
                self.warnings
                    .warn(format_args!("{} has not proven who it is (key `secret`)", connection.who));
            }
            let (now_known, agent) = (connection.agent != before, connection.agent);
            // Only now it is known whose connections have to be counted.
            if now_known && self.count(agent) > CONNECTIONS_MAX {
                self.terminate(now, id, inputs);
            }
        }
    }

    /// Answers a request.
    pub(super) fn reply(
        &mut self,
        now: Instant,
        id: SessionId,
        tid: u32,
        result: Result<Reply, Failure>,
        inputs: &mut VecDeque<Input>,
    ) {
        self.with(id, inputs, |session, out| session.reply(now, tid, result, out));
    }

    /// Says something unasked.
    pub(super) fn notify(
        &mut self,
        now: Instant,
        id: SessionId,
        notification: Notification,
        inputs: &mut VecDeque<Input>,
    ) {
        self.with(id, inputs, |session, out| session.notify(now, notification, out));
    }

    /// Ends a session.
    pub(super) fn terminate(&mut self, now: Instant, id: SessionId, inputs: &mut VecDeque<Input>) {
        self.with(id, inputs, |session, out| session.terminate(now, out));
    }

    /// Ends every session, those included that are not established yet and that the machine does not know.
    pub(super) fn terminate_all(&mut self, now: Instant, inputs: &mut VecDeque<Input>) {
        for id in self.connections.keys().copied().collect::<Vec<_>>() {
            self.terminate(now, id, inputs);
        }
    }

    /// Writes what every agent is owed, and forgets those that are gone.
    pub(super) fn flush(&mut self, now: Instant, inputs: &mut VecDeque<Input>) {
        let ids: Vec<SessionId> = self.connections.keys().copied().collect();
        for id in ids {
            let Some(connection) = self.connections.get_mut(&id) else { continue };
            if let Err(why) = connection.channel.flush() {
                log::debug(format_args!("session {}: {why}", id.0));
                connection.session.disconnected(now, &mut self.out);
                connection.closing = true;
                carry_out(id, connection, &mut self.out, inputs);
            }
            if connection.closing {
                self.connections.remove(&id);
            }
        }
    }

    /// Writes what can still be written, at the end.
    pub(super) fn flush_all(&mut self) {
        for connection in self.connections.values_mut() {
            let _ = connection.channel.flush();
        }
    }

    /// When [`Sessions::turn`] is next due.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.connections
            .values()
            .filter_map(|connection| connection.session.next_timeout())
            .map(|(at, _)| at)
            .chain(self.greetings.next_timeout())
            .min()
    }

    /// Looks whether a certificate has been replaced.
    pub(super) fn refresh(&mut self) {
        self.greetings.refresh();
    }

    /// What is to be known of the certificate that agents are shown.
    pub(super) fn certificate(&self) -> Option<String> {
        self.greetings.certificate()
    }

    /// How many connections there are.
    pub(super) fn len(&self) -> usize {
        self.connections.len()
    }

    fn with(
        &mut self,
        id: SessionId,
        inputs: &mut VecDeque<Input>,
        work: impl FnOnce(&mut Session, &mut Outbox<Output>),
    ) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        work(&mut connection.session, &mut self.out);
        carry_out(id, connection, &mut self.out, inputs);
    }

    fn admit(&mut self, now: Instant, arrival: Arrival, machine: &Middlebox) {
        let Arrival { channel, origin, who } = arrival;
        let claims = self.guests.claims(&origin);
        let agent = self.guests.known(&origin);
        let capabilities = agent.and_then(|agent| machine.capabilities(agent));
        let admission = match capabilities {
            None if !claims.is_empty() => Admission::Admitted,
            None => Admission::NotAuthorized,
            Some(_) if self.count(agent) >= CONNECTIONS_MAX => Admission::LackOfResources,
            Some(_) => Admission::Admitted,
        };
        let agent = agent.filter(|_| admission == Admission::Admitted);
        if admission != Admission::Admitted && self.refused() >= REFUSED_MAX {
            log::debug(format_args!("{who}: closed; too many are waiting to be refused"));
            return;
        }
        match admission {
            Admission::NotAuthorized => {
                self.warnings.warn(format_args!(
                    "{who} may not open a session (keys `users`, `peers`, `certificates`)"
                ));
            }
            Admission::LackOfResources => {
                self.warnings.warn(format_args!("{who} has {CONNECTIONS_MAX} connections already"));
            }
            Admission::Admitted | Admission::TransportProblem | Admission::InsufficientSecurity => {}
        }
        let mut config = Config::new(capabilities.unwrap_or(NOTHING), admission);
        let claims = if admission == Admission::Admitted { claims } else { Vec::new() };
        if !claims.is_empty() {
            let candidate = |(agent, secret): &Claim| {
                let capabilities = machine.capabilities(*agent).unwrap_or(NOTHING);
                Candidate { secret: secret.clone(), capabilities }
            };
            let candidates = claims.iter().map(candidate).collect();
            config.authentication = Some(Authentication { nonce: secret::nonce(&mut self.rng), candidates });
            config.establishment_max = PROOF_MAX;
            self.make_room();
        }
        let session = Session::new(now, config);
        let id = SessionId(self.next);
        self.next += 1;
        self.connections
            .insert(id, Connection { channel, session, origin, who, agent, claims, closing: false });
    }

    /// How many connections an agent has.
    fn count(&self, agent: Option<AgentId>) -> usize {
        self.connections.values().filter(|other| other.agent == agent).count()
    }

    /// How many are only told that they may not, or that there is no room.
    fn refused(&self) -> usize {
        let refused = |one: &&Connection| one.agent.is_none() && one.claims.is_empty();
        self.connections.values().filter(refused).count()
    }

    /// Among those who have nothing but a claim: the oldest has had its time, a proof takes milliseconds.
    fn make_room(&mut self) {
        let unproven = |(_, one): &(&SessionId, &Connection)| one.agent.is_none() && !one.claims.is_empty();
        let ids: Vec<SessionId> = self.connections.iter().filter(unproven).map(|(id, _)| *id).collect();
        if let Some(oldest) = ids.first().filter(|_| ids.len() >= UNPROVEN_MAX) {
            self.connections.remove(oldest);
        }
    }
}

/// What one without a session would be told it can do; it is never sent.
const NOTHING: Capabilities = Capabilities {
    firewall: false,
    nat: false,
    port_translation: false,
    protocol_translation: false,
    twice_nat: false,
    disable_rules: false,
    internal_wildcards: false,
    external_wildcards: false,
    port_wildcards: false,
    persistent: false,
    inside: IpVersions::Both,
    outside: IpVersions::Both,
    lifetime_max: Lifetime(0),
};

impl Connection {
    /// True if this is still the agent that it was let in as, or may still become one of those that it was to prove to be.
    fn is_welcome(&self, guests: &Guests) -> bool {
        let claims = guests.claims(&self.origin);
        match self.session.proven().and_then(|proven| self.claims.get(proven)) {
            Some(proven) => claims.contains(proven),
            None if self.claims.is_empty() => guests.known(&self.origin) == self.agent && claims.is_empty(),
            None => claims == self.claims,
        }
    }

    /// True if it was to prove who it is, and has not.
    fn has_failed(&self) -> bool {
        self.closing && !self.claims.is_empty() && self.session.proven().is_none()
    }

    /// Reads what is there; why the connection is over, if it is.
    fn read(&mut self, now: Instant, buffer: &mut [u8], out: &mut Outbox<Output>) -> Option<String> {
        for _ in 0..READS_MAX {
            match self.channel.read(buffer) {
                Read::Bytes(count) => self.session.receive(now, buffer.get(..count).unwrap_or_default(), out),
                Read::Empty => return None,
                Read::Ended(why) => return Some(why),
            }
        }
        None
    }
}

fn carry_out(
    id: SessionId,
    connection: &mut Connection,
    out: &mut Outbox<Output>,
    inputs: &mut VecDeque<Input>,
) {
    for output in out.drain() {
        match output {
            Output::Send(bytes) => connection.channel.queue(&bytes),
            Output::Opened => {
                let proven = connection.session.proven().and_then(|proven| connection.claims.get(proven));
                connection.agent = proven.map(|(agent, _)| *agent).or(connection.agent);
                if let Some(agent) = connection.agent {
                    inputs.push_back(Input::Opened { session: id, agent });
                }
            }
            Output::Request { tid, request } => {
                inputs.push_back(Input::Request { session: id, tid, request })
            }
            Output::Closed => inputs.push_back(Input::Closed { session: id }),
            Output::Close => connection.closing = true,
        }
    }
}
