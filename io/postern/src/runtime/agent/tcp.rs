//! TCP: one task per connection, a queue in each direction, limits on everything.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use sip::message::stream::{Broken, Frame, Framer, PONG};
use sip::transport::{ConnectionId, Hop, ListenerId, Protocol};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::doors;

/// Messages that may wait for a peer; one more and the peer is too slow.
const QUEUE_MAX: usize = 256;
/// Bytes taken from the queue before the peer has read those before.
const PENDING_BYTES_MAX: usize = 256 << 10;
/// Events on their way to the loop; connections wait when it is full.
const EVENTS_MAX: usize = 1_024;
/// How long a connection may take to come about.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Read at once.
const READ_BYTES: usize = 16 << 10;

/// Limits of the configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub connections: usize,
    pub connections_per_peer: usize,
    /// Silence after which a connection is closed.
    pub idle: Duration,
    /// How long a message may take to arrive or to be taken.
    pub message: Duration,
}

/// What connections tell the loop.
#[derive(Debug)]
pub(crate) enum TcpEvent {
    Accepted { listener: ListenerId, stream: TcpStream, remote: SocketAddr },
    Message { id: ConnectionId, bytes: Bytes },
    Closed { id: ConnectionId, why: String },
}

struct Connection {
    hop: Hop,
    sender: mpsc::Sender<Bytes>,
}

/// All TCP listeners and connections.
pub(crate) struct Tcp {
    limits: Limits,
    /// Where connections that we make come from.
    sources: BTreeMap<ListenerId, IpAddr>,
    connections: HashMap<ConnectionId, Connection>,
    by_remote: HashMap<(ListenerId, SocketAddr), ConnectionId>,
    by_peer: HashMap<IpAddr, usize>,
    next: u64,
    events: mpsc::Sender<TcpEvent>,
    receiver: mpsc::Receiver<TcpEvent>,
}

impl Tcp {
    /// No listeners yet.
    pub(crate) fn new(limits: Limits) -> Self {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        Self {
            limits,
            sources: BTreeMap::new(),
            connections: HashMap::new(),
            by_remote: HashMap::new(),
            by_peer: HashMap::new(),
            next: 1,
            events,
            receiver,
        }
    }

    /// Listens, but not on the interfaces that are closed. Must be called inside the runtime.
    pub(crate) fn bind(
        &mut self,
        listener: ListenerId,
        address: SocketAddr,
        closed: &BTreeSet<String>,
    ) -> io::Result<()> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        doors::shut(&socket, closed)?;
        // A listener that was closed a moment ago must not keep the next one from starting.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        let accepting = socket.listen(256)?;
        self.sources.insert(listener, address.ip());
        tokio::spawn(accept(accepting, listener, self.events.clone()));
        Ok(())
    }

    /// The next event.
    pub(crate) async fn event(&mut self) -> Option<TcpEvent> {
        self.receiver.recv().await
    }

    /// The next event, if there is one.
    pub(crate) fn try_event(&mut self) -> Option<TcpEvent> {
        self.receiver.try_recv().ok()
    }

    /// How many connections there are.
    pub(crate) fn len(&self) -> usize {
        self.connections.len()
    }

    /// Where messages of a connection come from.
    pub(crate) fn hop(&self, id: ConnectionId) -> Option<Hop> {
        self.connections.get(&id).map(|connection| connection.hop)
    }

    /// Takes a connection that was accepted, unless there are too many; then it is closed.
    pub(crate) fn accepted(
        &mut self,
        listener: ListenerId,
        stream: TcpStream,
        remote: SocketAddr,
    ) -> Result<(), &'static str> {
        if self.connections.len() >= self.limits.connections {
            return Err("too many connections (`connections`)");
        }
        if self.by_peer.get(&remote.ip()).is_some_and(|count| *count >= self.limits.connections_per_peer) {
            return Err("too many connections from this address (`connections-per-peer`)");
        }
        let (id, receiver) = self.insert(listener, remote);
        tokio::spawn(serve(stream, id, receiver, self.events.clone(), self.limits));
        Ok(())
    }

    /// Queues a message, over the connection the hop names or one to its address; a new one if there is none.
    /// Gives the hop back if that is impossible.
    pub(crate) fn send(&mut self, hop: Hop, bytes: Bytes) -> Result<(), Hop> {
        // A connection that is gone is replaced by another to the same address, if its owner listens there.
        let named = hop.connection.filter(|id| self.connections.contains_key(id));
        let known = named.or_else(|| self.by_remote.get(&(hop.listener, hop.remote)).copied());
        let id = match known {
            Some(id) => id,
            None => self.connect(hop).ok_or(hop)?,
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
    pub(crate) fn close(&mut self, id: ConnectionId) -> Option<Hop> {
        let connection = self.connections.remove(&id)?;
        let hop = connection.hop;
        let key = (hop.listener, hop.remote);
        if self.by_remote.get(&key) == Some(&id) {
            self.by_remote.remove(&key);
        }
        if let Some(count) = self.by_peer.get_mut(&hop.remote.ip()) {
            *count -= 1;
            if *count == 0 {
                self.by_peer.remove(&hop.remote.ip());
            }
        }
        Some(hop)
    }

    fn insert(&mut self, listener: ListenerId, remote: SocketAddr) -> (ConnectionId, mpsc::Receiver<Bytes>) {
        let id = ConnectionId(self.next);
        self.next += 1;
        let (sender, receiver) = mpsc::channel(QUEUE_MAX);
        let hop = Hop { listener, protocol: Protocol::Tcp, remote, connection: Some(id) };
        self.connections.insert(id, Connection { hop, sender });
        self.by_remote.insert((listener, remote), id);
        *self.by_peer.entry(remote.ip()).or_default() += 1;
        (id, receiver)
    }

    fn connect(&mut self, hop: Hop) -> Option<ConnectionId> {
        let source = *self.sources.get(&hop.listener)?;
        if self.connections.len() >= self.limits.connections {
            return None;
        }
        let (id, receiver) = self.insert(hop.listener, hop.remote);
        let (events, limits) = (self.events.clone(), self.limits);
        tokio::spawn(async move {
            match tokio::time::timeout(CONNECT_MAX, dial(source, hop.remote)).await {
                Ok(Ok(stream)) => serve(stream, id, receiver, events, limits).await,
                Ok(Err(error)) => tell(&events, id, format!("cannot connect: {error}")).await,
                Err(_) => tell(&events, id, "cannot connect: no answer".into()).await,
            }
        });
        Some(id)
    }
}

async fn accept(listener: TcpListener, id: ListenerId, events: mpsc::Sender<TcpEvent>) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                if events.send(TcpEvent::Accepted { listener: id, stream, remote }).await.is_err() {
                    return;
                }
            }
            // Out of descriptors, or the peer is gone already: the next attempt may do better.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn dial(source: IpAddr, remote: SocketAddr) -> io::Result<TcpStream> {
    let socket = if remote.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(SocketAddr::new(source, 0))?;
    socket.connect(remote).await
}

async fn tell(events: &mpsc::Sender<TcpEvent>, id: ConnectionId, why: String) {
    let _ = events.send(TcpEvent::Closed { id, why }).await;
}

/// Carries one connection until it ends.
async fn serve(
    stream: TcpStream,
    id: ConnectionId,
    receiver: mpsc::Receiver<Bytes>,
    events: mpsc::Sender<TcpEvent>,
    limits: Limits,
) {
    let _ = stream.set_nodelay(true);
    let now = Instant::now();
    let mut task = Task {
        stream,
        id,
        receiver,
        events,
        limits,
        framer: Framer::new(),
        pending: Vec::new(),
        heard: now,
        begun: None,
        blocked: None,
        draining: false,
    };
    let why = task.run().await;
    tell(&task.events, id, why).await;
}

struct Task {
    stream: TcpStream,
    id: ConnectionId,
    receiver: mpsc::Receiver<Bytes>,
    events: mpsc::Sender<TcpEvent>,
    limits: Limits,
    framer: Framer,
    pending: Vec<u8>,
    /// When something last went either way.
    heard: Instant,
    /// Since when a message is unfinished.
    begun: Option<Instant>,
    /// Since when the peer has not taken what it is sent.
    blocked: Option<Instant>,
    /// The loop has let go of the connection, or its stream cannot be read on: what waits is written, then it closes.
    draining: bool,
}

impl Task {
    /// Until the end; why it ended.
    async fn run(&mut self) -> String {
        let mut buffer = vec![0; READ_BYTES];
        loop {
            if self.draining && self.pending.is_empty() {
                return "closed".into();
            }
            let deadline = self.deadline();
            tokio::select! {
                ready = self.stream.readable(), if !self.draining => {
                    let step = match ready {
                        Ok(()) => self.read(&mut buffer).await,
                        Err(error) => Err(error.to_string()),
                    };
                    if let Err(why) = step { return why; }
                }
                ready = self.stream.writable(), if !self.pending.is_empty() => {
                    let step = ready.map_err(|error| error.to_string()).and_then(|()| self.write());
                    if let Err(why) = step { return why; }
                }
                message = self.receiver.recv(), if self.wants_more() => match message {
                    Some(bytes) => {
                        self.pending.extend_from_slice(&bytes);
                        if let Err(why) = self.write() { return why; }
                    }
                    None => self.draining = true,
                },
                () = tokio::time::sleep_until(deadline) => return self.overdue().into(),
            }
        }
    }

    fn wants_more(&self) -> bool {
        !self.draining && self.pending.len() < PENDING_BYTES_MAX
    }

    async fn read(&mut self, buffer: &mut [u8]) -> Result<(), String> {
        match self.stream.try_read(buffer) {
            Ok(0) => return Err("the peer closed the connection".into()),
            Ok(count) => self.framer.push(buffer.get(..count).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // It is still readable.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            Err(error) => return Err(error.to_string()),
        }
        self.heard = Instant::now();
        let mut whole = false;
        loop {
            match self.framer.next() {
                Ok(Some(Frame::Message(bytes))) => {
                    whole = true;
                    self.deliver(bytes).await?;
                }
                //= RFC 5626 §3.5.1: a double CRLF is answered by a single one.
                Ok(Some(Frame::Ping)) => self.pending.extend_from_slice(PONG),
                Ok(Some(Frame::Pong)) => {}
                Ok(None) => break,
                Err(broken) => return self.broken(broken).await,
            }
        }
        // Bytes that trickle in do not prolong the time a message may take.
        let unfinished = self.framer.buffered() > 0;
        self.begun = unfinished.then(|| self.begun.filter(|_| !whole).unwrap_or(self.heard));
        self.write()
    }

    async fn deliver(&self, bytes: Bytes) -> Result<(), String> {
        let event = TcpEvent::Message { id: self.id, bytes };
        self.events.send(event).await.map_err(|_| "shutting down".to_owned())
    }

    /// Nobody knows where the next message begins. If there was enough to be answered, the answer still goes out.
    async fn broken(&mut self, broken: Broken) -> Result<(), String> {
        let Some(head) = broken.head else { return Err(format!("unreadable: {:?}", broken.what)) };
        self.deliver(head).await?;
        let answer = tokio::time::timeout(Duration::from_secs(1), self.receiver.recv()).await;
        if let Ok(Some(bytes)) = answer {
            self.pending.extend_from_slice(&bytes);
        }
        self.draining = true;
        self.write()
    }

    fn write(&mut self) -> Result<(), String> {
        let mut written = 0;
        let result = loop {
            let rest = self.pending.get(written..).unwrap_or_default();
            if rest.is_empty() {
                break Ok(());
            }
            match self.stream.try_write(rest) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error.to_string()),
            }
        };
        self.pending.drain(..written);
        if written > 0 {
            self.heard = Instant::now();
        }
        self.blocked = (!self.pending.is_empty())
            .then(|| self.blocked.filter(|_| written == 0).unwrap_or_else(Instant::now));
        result
    }

    fn deadline(&self) -> Instant {
        let stuck =
            [self.begun, self.blocked].into_iter().flatten().min().map(|since| since + self.limits.message);
        let idle = self.heard + self.limits.idle;
        stuck.map_or(idle, |stuck| stuck.min(idle))
    }

    fn overdue(&self) -> &'static str {
        match (self.blocked, self.begun) {
            (Some(_), _) => "the peer does not read",
            (None, Some(_)) => "a message was never finished",
            (None, None) => "idle",
        }
    }
}
