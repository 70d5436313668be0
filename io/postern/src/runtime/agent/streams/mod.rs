//! Streams: TCP, TLS and WebSocket. One task per connection, a queue in each direction, limits on everything. RFC 3261 §18, RFC 5922,
//! RFC 5923.
//!
//! ```text
//!  accept --> the loop: within the limits? --> task (handshake, messages)      plain: on the loop's own thread
//!  send ----> the loop: a connection there? --no--> task (dial, handshake, messages)      encrypted: on another one
//! ```

mod alias;
mod framing;
mod greeting;
mod secure;
mod task;
mod web;
mod wire;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ServerConfig, ServerConnection};
use sip::transport::{ConnectionId, Hop, ListenerId, NameId, Protocol};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use self::framing::Framing;
use self::task::{Ends, serve};
use self::wire::Wire;
use super::doors;
use crate::tls::sip::Credentials;

/// Messages that may wait for a peer; one more and the peer is too slow.
const QUEUE_MAX: usize = 256;
/// Events on their way to the loop; connections wait when it is full.
const EVENTS_MAX: usize = 1_024;
/// How long a connection may take to come about, its handshake not counted: three attempts of the kernel. A long request waits so
/// long before it goes in a datagram to who drops TCP.
const CONNECT_MAX: Duration = Duration::from_secs(4);
/// How often the files of TLS are looked at, at most: under a flood not for every connection.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Limits of the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub connections: usize,
    pub connections_per_peer: usize,
    /// Handshakes of peers at a time; one more, and the oldest is given up.
    pub handshakes: usize,
    /// Silence after which a connection is closed.
    pub idle: Duration,
    /// How long a message may take to arrive or to be taken.
    pub message: Duration,
    /// How long a handshake may take.
    pub handshake: Duration,
}

/// What connections tell the loop.
#[derive(Debug)]
pub(crate) enum StreamEvent {
    Accepted {
        listener: ListenerId,
        stream: TcpStream,
        remote: SocketAddr,
    },
    /// Its handshake is over, if it has one; the peer has proven these SIP domains.
    Open {
        id: ConnectionId,
        domains: Vec<String>,
    },
    Message {
        id: ConnectionId,
        bytes: Bytes,
    },
    Closed {
        id: ConnectionId,
        why: String,
    },
}

/// A connection that is over.
pub(crate) struct Ended {
    pub hop: Hop,
    /// True if we made it.
    pub ours: bool,
}

struct Connection {
    hop: Hop,
    sender: mpsc::Sender<Bytes>,
    ours: bool,
    /// The SIP domains that the peer has proven to be its own.
    domains: Vec<String>,
    /// Where it says that it can be reached by this connection.
    alias: Option<Place>,
}

struct Door {
    protocol: Protocol,
    /// Where connections that we make come from.
    source: IpAddr,
    /// Of its realm; empty where nothing is encrypted.
    credentials: Option<usize>,
}

/// A listening socket whose peers are not accepted yet.
type Waiting = (std::net::TcpListener, ListenerId, Protocol);
/// Where a peer listens, as it says.
type Place = (ListenerId, SocketAddr);
/// By whom a connection can be found: where it leads, and whom that has to be.
type Lead = (ListenerId, SocketAddr, Option<NameId>);

/// All listeners and connections.
pub(crate) struct Streams {
    limits: Limits,
    doors: BTreeMap<ListenerId, Door>,
    waiting: Vec<Waiting>,
    /// Of each realm that speaks TLS.
    credentials: BTreeMap<usize, Credentials>,
    looked: Option<Instant>,
    secure: Option<secure::Thread>,
    connections: HashMap<ConnectionId, Connection>,
    by_lead: HashMap<Lead, ConnectionId>,
    /// Connections that peers have made, by where these say that they can be reached.
    aliases: HashMap<Place, ConnectionId>,
    by_peer: HashMap<IpAddr, usize>,
    /// Peers whose handshake is under way, the oldest first.
    shaking: VecDeque<ConnectionId>,
    next: u64,
    events: mpsc::Sender<StreamEvent>,
    receiver: mpsc::Receiver<StreamEvent>,
}

impl Streams {
    /// No listeners yet.
    pub(crate) fn new(limits: Limits) -> Self {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        Self {
            limits,
            doors: BTreeMap::new(),
            waiting: Vec::new(),
            credentials: BTreeMap::new(),
            looked: None,
            secure: None,
            connections: HashMap::new(),
            by_lead: HashMap::new(),
            aliases: HashMap::new(),
            by_peer: HashMap::new(),
            shaking: VecDeque::new(),
            next: 1,
            events,
            receiver,
        }
    }

    /// Listens, but not on the interfaces that are closed; peers are let in once [`Streams::start`] was called. Must be
    /// called inside the runtime.
    pub(crate) fn bind(
        &mut self,
        (listener, protocol, realm): (ListenerId, Protocol, usize),
        address: SocketAddr,
        closed: &BTreeSet<String>,
    ) -> io::Result<()> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        doors::shut(&socket, closed)?;
        // A listener that was closed a moment ago must not keep the next one from starting.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let credentials = protocol.is_secure().then_some(realm);
        self.doors.insert(listener, Door { protocol, source: address.ip(), credentials });
        self.waiting.push((socket.listen(256)?.into_std()?, listener, protocol));
        Ok(())
    }

    /// Lets peers in, with the credentials of each realm that has some. Privilege has been given up.
    pub(crate) fn start(&mut self, credentials: BTreeMap<usize, Credentials>) -> io::Result<()> {
        self.credentials = credentials;
        if self.waiting.iter().any(|(_, _, protocol)| protocol.is_secure()) {
            self.secure = Some(secure::Thread::start()?);
        }
        for (listening, listener, protocol) in std::mem::take(&mut self.waiting) {
            self.spawn(protocol, accept(listening, listener, self.events.clone()));
        }
        Ok(())
    }

    /// Has a task run on the thread of its protocol.
    fn spawn(&self, protocol: Protocol, task: impl Future<Output = ()> + Send + 'static) {
        match &self.secure {
            Some(thread) if protocol.is_secure() => thread.spawn(task),
            Some(_) | None => drop(tokio::spawn(task)),
        }
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Option<StreamEvent> {
        self.receiver.recv().await
    }

    /// The next event, if there is one.
    pub(crate) fn try_event(&mut self) -> Option<StreamEvent> {
        self.receiver.try_recv().ok()
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// What is to be known of the certificates, a line for each.
    pub(crate) fn certificates(&self) -> Vec<String> {
        self.credentials.values().flat_map(Credentials::state).collect()
    }

    /// Where messages of a connection come from.
    pub(crate) fn hop(&self, id: ConnectionId) -> Option<Hop> {
        self.connections.get(&id).map(|connection| connection.hop)
    }

    /// Reads the files of TLS again if one has changed.
    pub(crate) fn refresh(&mut self) {
        self.looked = Some(Instant::now());
        self.credentials.values_mut().for_each(Credentials::refresh);
    }

    /// The same before a connection, unless that was a moment ago.
    fn refresh_in_time(&mut self) {
        if self.looked.is_none_or(|looked| looked.elapsed() >= LOOK_AGAIN) {
            self.refresh();
        }
    }

    /// Takes a connection that was accepted, unless there are too many; then it is closed.
    pub(crate) fn accepted(
        &mut self,
        listener: ListenerId,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> Result<(), String> {
        if self.connections.len() >= self.limits.connections {
            return Err("too many connections (`connections`)".into());
        }
        if self.by_peer.get(&remote.ip()).is_some_and(|count| *count >= self.limits.connections_per_peer) {
            return Err("too many connections from this address (`connections-per-peer`)".into());
        }
        let config = self.server_config(listener)?;
        let hop = self.hop_of(listener, remote, None).ok_or("no such listener")?;
        let (id, ends) = self.insert(hop, false);
        if config.is_some() || is_web(hop.protocol) {
            self.shake(id);
        }
        self.spawn(hop.protocol, welcome(stream, config, (ends, is_web(hop.protocol))));
        Ok(())
    }

    /// A peer begins its handshake. At the limit the oldest is given up: who is honest is done soon.
    fn shake(&mut self, id: ConnectionId) {
        if self.shaking.len() >= self.limits.handshakes
            && let Some(oldest) = self.shaking.pop_front()
        {
            self.close(oldest);
        }
        self.shaking.push_back(id);
    }

    /// A handshake is over, and the peer has proven these SIP domains.
    pub(crate) fn opened(&mut self, id: ConnectionId, domains: Vec<String>) {
        self.is_over(id);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.domains = domains;
        }
    }

    fn is_over(&mut self, id: ConnectionId) {
        self.shaking.retain(|shaking| *shaking != id);
    }

    /// What a listener shows; `None` where nothing is encrypted.
    fn server_config(&mut self, listener: ListenerId) -> Result<Option<Arc<ServerConfig>>, String> {
        let Some(realm) = self.doors.get(&listener).and_then(|door| door.credentials) else {
            return Ok(None);
        };
        self.refresh_in_time();
        let credentials = self.credentials.get(&realm).ok_or("no certificate")?;
        credentials.ends().map(|ends| Some(Arc::clone(&ends.server))).map_err(str::to_owned)
    }

    fn client_config(&mut self, listener: ListenerId) -> Option<Option<Arc<ClientConfig>>> {
        let Some(realm) = self.doors.get(&listener)?.credentials else { return Some(None) };
        self.refresh_in_time();
        let ends = self.credentials.get(&realm)?.ends().ok()?;
        Some(Some(Arc::clone(&ends.client)))
    }

    /// Queues a message, over the connection the hop names or one that leads there; a new one if there is none. `name` is
    /// the name that the other end of a new one must prove, if the hop has one. Gives the hop back if that is impossible.
    pub(crate) fn send(&mut self, hop: Hop, name: Option<&str>, bytes: Bytes) -> Result<(), Hop> {
        // A connection that is gone is replaced by another to the same address, if its owner listens there.
        let named = hop.connection.filter(|id| self.connections.contains_key(id));
        let known = named.or_else(|| self.by_lead.get(&(hop.listener, hop.remote, hop.name)).copied());
        let known = known.or_else(|| self.alias_of(hop, name));
        let id = match known {
            Some(id) => id,
            None => self.connect(hop, name).ok_or(hop)?,
        };
        let connection = self.connections.get(&id).ok_or(hop)?;
        match connection.sender.try_send(bytes) {
            Ok(()) => Ok(()),
            Err(_) => {
                // Too slow, or gone: dropping the sender ends its task.
                self.close(id);
                Err(hop)
            }
        }
    }

    /// Forgets a connection; what is queued is still written.
    pub(crate) fn close(&mut self, id: ConnectionId) -> Option<Ended> {
        let Connection { hop, ours, alias, .. } = self.connections.remove(&id)?;
        self.is_over(id);
        if let Some(alias) = alias {
            self.forget_alias(alias, id);
        }
        let lead = (hop.listener, hop.remote, hop.name);
        if self.by_lead.get(&lead) == Some(&id) {
            self.by_lead.remove(&lead);
        }
        if let Some(count) = self.by_peer.get_mut(&hop.remote.ip()) {
            *count -= 1;
            if *count == 0 {
                self.by_peer.remove(&hop.remote.ip());
            }
        }
        Some(Ended { hop, ours })
    }

    fn hop_of(&self, listener: ListenerId, remote: SocketAddr, name: Option<NameId>) -> Option<Hop> {
        let protocol = self.doors.get(&listener)?.protocol;
        Some(Hop { listener, protocol, remote, connection: None, name })
    }

    fn insert(&mut self, hop: Hop, ours: bool) -> (ConnectionId, Ends) {
        let id = ConnectionId(self.next);
        self.next += 1;
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let hop = Hop { connection: Some(id), ..hop };
        self.connections.insert(id, Connection { hop, sender, ours, domains: Vec::new(), alias: None });
        self.by_lead.insert((hop.listener, hop.remote, hop.name), id);
        *self.by_peer.entry(hop.remote.ip()).or_default() += 1;
        (id, Ends { id, receiver, events: self.events.clone(), limits: self.limits })
    }

    fn connect(&mut self, hop: Hop, name: Option<&str>) -> Option<ConnectionId> {
        let source = self.doors.get(&hop.listener)?.source;
        if self.connections.len() >= self.limits.connections || !hop.protocol.can_connect() {
            return None;
        }
        let config = self.client_config(hop.listener)?;
        let hop = self.hop_of(hop.listener, hop.remote, hop.name)?;
        let tls = match config {
            Some(config) => Some((config, expected(hop, name)?)),
            None => None,
        };
        let (id, ends) = self.insert(hop, true);
        self.spawn(hop.protocol, connect((source, hop.remote), tls, ends));
        Some(id)
    }
}

/// True if messages come in those of WebSocket.
fn is_web(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Ws | Protocol::Wss)
}

/// Whom a server must prove to be: the name that was looked for, or the address that was given instead.
//= RFC 5922 §7.3: the domain that the next hop's URI names, not what the name service made of it.
fn expected(hop: Hop, name: Option<&str>) -> Option<ServerName<'static>> {
    match name {
        Some(name) => ServerName::try_from(name.to_owned()).ok(),
        None => Some(ServerName::IpAddress(hop.remote.ip().into())),
    }
}

async fn accept(listening: std::net::TcpListener, id: ListenerId, events: mpsc::Sender<StreamEvent>) {
    // A descriptor that is known to be good is refused only if memory is short.
    let Ok(listener) = TcpListener::from_std(listening) else { return };
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                if events.send(StreamEvent::Accepted { listener: id, stream, remote }).await.is_err() {
                    return;
                }
            }
            // Out of descriptors, or the peer is gone already: the next attempt may do better.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Serves a peer that has connected.
async fn welcome(stream: TcpStream, config: Option<Arc<ServerConfig>>, (ends, is_web): (Ends, bool)) {
    let _ = stream.set_nodelay(true);
    let wire = match config.map(ServerConnection::new) {
        None => Wire::plain(stream),
        Some(Ok(tls)) => Wire::encrypted(stream, tls.into(), "the peer".into()),
        Some(Err(error)) => return ends.tell(error.to_string()).await,
    };
    let framing = if is_web { Framing::web() } else { Framing::stream() };
    serve(wire, framing, ends).await;
}

/// Connects, and serves what comes of it.
async fn connect(
    (source, remote): (IpAddr, SocketAddr),
    tls: Option<(Arc<ClientConfig>, ServerName<'static>)>,
    ends: Ends,
) {
    let stream = match tokio::time::timeout(CONNECT_MAX, dial(source, remote)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return ends.tell(format!("cannot connect: {error}")).await,
        Err(_) => return ends.tell("cannot connect: no answer".into()).await,
    };
    let _ = stream.set_nodelay(true);
    let wire = match tls {
        None => Wire::plain(stream),
        Some((config, name)) => {
            let peer = name.to_str().into_owned();
            match ClientConnection::new(config, name) {
                Ok(tls) => Wire::encrypted(stream, tls.into(), peer),
                Err(error) => return ends.tell(error.to_string()).await,
            }
        }
    };
    serve(wire, Framing::stream(), ends).await;
}

async fn dial(source: IpAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(remote).await
}
