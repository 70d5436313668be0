//! Connections of agents: who they are, their SIMCO sessions, what they are owed.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::{Context, Poll};

use machine::{Instant, Outbox};
use midcom::{Capabilities, Failure, IpVersions, Lifetime, Notification, Reply};
use middlebox::{AgentId, Input, Middlebox, SessionId};
use rustls::ServerConfig;
use simco::middlebox::{Admission, Config, Output, Session};
use tokio::net::{TcpListener, UnixListener};

use super::greetings::Greetings;
use super::settings::Guests;
use crate::log;
use crate::runtime::channel::{Channel, Read};
use crate::tls::Credentials;

/// Connections of one agent at a time, so that none keeps the others out; one more is told that there is no room.
const CONNECTIONS_MAX: usize = 64;
/// Connections at a time of those who are only told that they may not, or that there is no room; one more is closed.
const REFUSED_MAX: usize = 16;
/// Reads from one agent in one turn, so that none keeps the others waiting.
const READS_MAX: usize = 16;
/// Read at once.
const READ_BYTES: usize = 64 << 10;

/// Somebody who has connected and has no session yet.
struct Arrival {
    channel: Channel,
    agent: Option<AgentId>,
    who: String,
}

struct Connection {
    channel: Channel,
    session: Session,
    /// `None` for one who is only told that it may not, or that there is no room.
    agent: Option<AgentId>,
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
            out: Outbox::new(),
            buffer,
            warnings: log::Rarely::default(),
        }
    }

    /// From now on others may open sessions. Who no longer may is told by the machine.
    pub(super) fn welcome(&mut self, guests: Guests) {
        self.guests = guests;
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
                agent: uid.and_then(|uid| self.guests.local(uid)),
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
                let agent = self.guests.remote(remote.ip());
                let Ok(channel) = Channel::tcp(stream) else { break };
                self.arrivals.push(Arrival { channel, agent, who: remote.to_string() });
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
            agent: self.guests.certified(&known.certificate),
            who: format!("{} with a certificate of {}", known.remote, known.certificate.names.join(", ")),
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
            carry_out(id, connection, &mut self.out, inputs);
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
        let Arrival { channel, agent, who } = arrival;
        let count = |agent| self.connections.values().filter(|other| other.agent == agent).count();
        let capabilities = agent.and_then(|agent| machine.capabilities(agent));
        let admission = match capabilities {
            None => Admission::NotAuthorized,
            Some(_) if count(agent) >= CONNECTIONS_MAX => Admission::LackOfResources,
            Some(_) => Admission::Admitted,
        };
        let agent = agent.filter(|_| admission == Admission::Admitted);
        if agent.is_none() && count(None) >= REFUSED_MAX {
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
        let config = Config::new(capabilities.unwrap_or(NOTHING), admission);
        let session = Session::new(now, config);
        let id = SessionId(self.next);
        self.next += 1;
        self.connections.insert(id, Connection { channel, session, agent, closing: false });
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
