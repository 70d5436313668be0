//! The endpoint: parser, transaction table (RFC 3261 §17, RFC 6026), transport rules (§18, RFC 3581) and those checks
//! of §8.2 that need no transaction user. Bytes go in, events for the transaction user and bytes for the network
//! come out; it has no socket and no clock.
//!
//! ```text
//!            bytes in                                          bytes out
//!   network ---------> receive ---> checks ---> server ------+----------> network
//!                        |   (400 414 416 481 482 483 503 505 513)  ^
//!                        +--------> client <---+             |
//!                                     |        |             |
//!                          Incoming   V        | request, forward, cancel, send_ack
//!                                  transaction user -- respond --+
//! ```
//!
//! Not done on purpose:
//!
//! - `maddr` in a Via is not followed: it would let a stranger send our responses to anyone.
//! - An ACK to a 2xx is sent over the transport of its [`Hop`], however long it is: nobody would say that it did not arrive.

mod branch;
mod build;
mod client;
mod config;
mod event;
mod receive;
mod server;
mod show;
mod slots;
mod streamless;

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;
use machine::map::{Map, Seeded};
use machine::{Instant, Outbox, Rng, Timers};

use crate::message::{Builder, Name};
use crate::transaction::Timer;
use crate::transport::{Hop, ListenerId, Protocol};
use branch::{Branches, Fingerprint};
use client::Client;
use server::Server;
use slots::{Key, Slots};
use streamless::Streamless;

pub use config::{Config, Limits, Listener};
pub use event::{ClientFailure, Counters, Incoming, ServerEnd, Transmit};
pub use slots::{ClientKey, ServerKey};

/// See the module.
#[derive(Debug, Clone)]
pub struct Endpoint {
    config: Config,
    rng: Rng,
    branches: Branches,
    clients: Slots<Client>,
    /// By the random part of the branch, and whether it is the CANCEL that shares it.
    by_branch: Map<(u64, bool), ClientKey>,
    /// Clients that a transport error ends.
    by_remote: BTreeSet<(Protocol, SocketAddr, ClientKey)>,
    servers: Slots<Server>,
    by_request: Map<Fingerprint, ServerKey>,
    /// RFC 3261 §8.2.2.2: the first of the requests that may come by several paths.
    by_origin: Map<Fingerprint, ServerKey>,
    /// Servers over connections, by where their responses go when the connection is closed.
    by_return: BTreeSet<(SocketAddr, ServerKey)>,
    /// Peers that long requests are sent to in datagrams.
    streamless: Streamless,
    timers: Timers<Due>,
    counters: Counters,
}

/// Whose timer it is, and which.
#[derive(Debug, Clone, Copy)]
struct Due {
    owner: Owner,
    timer: Timer,
}

#[derive(Debug, Clone, Copy)]
enum Owner {
    Client(ClientKey),
    Server(ServerKey),
}

impl Endpoint {
    /// An endpoint without transactions.
    #[must_use]
    pub fn new(config: Config, mut rng: Rng) -> Self {
        Self {
            branches: Branches::new(&config.branch_prefix, &mut rng),
            clients: Slots::new(),
            by_branch: Map::with_hasher(Seeded::new(&mut rng)),
            by_remote: BTreeSet::new(),
            servers: Slots::new(),
            by_request: Map::with_hasher(Seeded::new(&mut rng)),
            by_origin: Map::with_hasher(Seeded::new(&mut rng)),
            by_return: BTreeSet::new(),
            streamless: Streamless::default(),
            timers: Timers::new(),
            counters: Counters::default(),
            config,
            rng,
        }
    }

    /// Takes one message: a datagram, or what a framer cut from a stream.
    pub fn receive(
        &mut self,
        now: Instant,
        hop: Hop,
        bytes: Bytes,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        self.on_bytes(now, hop, bytes, out, tu);
    }

    /// Does whatever is due.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox<Transmit>, tu: &mut Outbox<Incoming>) {
        while let Some(due) = self.timers.pop(now) {
            match due.owner {
                Owner::Client(key) => self.client_timer(now, key, due.timer, out, tu),
                Owner::Server(key) => self.server_timer(now, key, due.timer, out, tu),
            }
        }
    }

    /// When [`Endpoint::handle_timeout`] is next worth calling, and why.
    #[must_use]
    pub fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        self.timers.next().map(|(at, due)| (at, due.timer.meaning()))
    }

    /// Says that `hop` could not be reached: ICMP unreachable, no connection, a connection reset. To be called with
    /// the hop of the [`Transmit`] that failed, or with that of the connection that broke.
    ///
    //= RFC 3261 §17.1.4, §18.4: the client transactions that wait for an answer from there fail.
    pub fn transport_failed(
        &mut self,
        now: Instant,
        hop: Hop,
        out: &mut Outbox<Transmit>,
        tu: &mut Outbox<Incoming>,
    ) {
        self.clients_failed(now, hop, out, tu);
        self.servers_failed(now, hop, tu);
    }

    /// Starts a client transaction with a request of our own; the Via is put on top here. Not for ACK and CANCEL.
    pub fn request(
        &mut self,
        now: Instant,
        hop: Hop,
        builder: Builder,
        out: &mut Outbox<Transmit>,
    ) -> ClientKey {
        self.start_client(now, hop, builder, None, out)
    }

    /// As [`Endpoint::request`], for a request that is sent on because of `cause`: its branch carries the mark by
    /// which a loop is found.
    pub fn forward(
        &mut self,
        now: Instant,
        cause: ServerKey,
        hop: Hop,
        builder: Builder,
        out: &mut Outbox<Transmit>,
    ) -> ClientKey {
        let mark = self.servers.at(cause.0).map(|server| server.mark);
        self.start_client(now, hop, builder, mark, out)
    }

    /// Gives a response to a server transaction: any number of 1xx, one final one; repetitions of a 2xx to INVITE
    /// for 64*T1 (RFC 6026 §7.1). What was sent comes back, so that a 2xx can be kept and repeated; `None` if the
    /// transaction is gone or has its final response, and then nothing was sent.
    pub fn respond(
        &mut self,
        now: Instant,
        key: ServerKey,
        builder: Builder,
        out: &mut Outbox<Transmit>,
    ) -> Option<Bytes> {
        let bytes = builder.finish();
        self.respond_bytes(now, key, bytes.clone(), out).then_some(bytes)
    }

    /// Sends a 2xx that [`Endpoint::respond`] gave back, or an ACK that [`Endpoint::send_ack`] gave back, once more.
    /// Over UDP and TCP alike (RFC 3261 §13.3.1.4).
    pub fn repeat(&mut self, hop: Hop, bytes: Bytes, out: &mut Outbox<Transmit>) {
        out.push(Transmit { hop, bytes });
    }

    /// Where the responses of a server transaction go: RFC 3261 §18.2.2.
    #[must_use]
    pub fn response_hop(&self, key: ServerKey) -> Option<Hop> {
        self.servers.at(key.0).map(|server| server.hop)
    }

    /// Sends an ACK to a 2xx, with a branch of its own and without a transaction. What was sent comes back, to be
    /// repeated for each repetition of the 2xx.
    pub fn send_ack(&mut self, hop: Hop, builder: Builder, out: &mut Outbox<Transmit>) -> Bytes {
        let (_, bytes) = self.stamped(hop, builder, None);
        out.push(Transmit { hop, bytes: bytes.clone() });
        bytes
    }

    /// Sends a CANCEL for an INVITE of ours, with `extra` header fields (Reason) and a body that these label, empty for
    /// none, as a transaction of its own. `None` if no provisional response came yet or a final one did: then nothing is sent.
    pub fn cancel(
        &mut self,
        now: Instant,
        key: ClientKey,
        extra: &[(Name, &[u8])],
        body: &[u8],
        out: &mut Outbox<Transmit>,
    ) -> Option<ClientKey> {
        self.start_cancel(now, key, extra, body, out)
    }

    /// Forgets a client transaction: RFC 3261 §9.1, 64*T1 after CANCEL without a final response. A 2xx that comes
    /// later is [`Incoming::Stray2xx`].
    pub fn abandon(&mut self, key: ClientKey) {
        self.remove_client(key);
    }

    /// The values of the timers, for the transaction user's own (repetition of 2xx, wait for ACK, timer C).
    #[must_use]
    pub fn timer_values(&self) -> crate::transaction::TimerValues {
        self.config.timers
    }

    /// One of our addresses.
    #[must_use]
    pub fn listener(&self, id: ListenerId) -> Option<&Listener> {
        self.config.listeners.iter().find(|listener| listener.id == id)
    }

    /// How many client and server transactions there are.
    #[must_use]
    pub fn len(&self) -> (usize, usize) {
        (self.clients.len(), self.servers.len())
    }

    /// True if nothing is held: no transaction, no index entry, no timer.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == (0, 0)
            && self.by_branch.is_empty()
            && self.by_remote.is_empty()
            && self.by_request.is_empty()
            && self.by_origin.is_empty()
            && self.by_return.is_empty()
            && self.timers.is_empty()
    }

    /// What was thrown away or answered without a transaction.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }
}

impl ClientKey {
    const MIN: Self = Self(Key::MIN);
    const MAX: Self = Self(Key::MAX);
}

impl ServerKey {
    const MIN: Self = Self(Key::MIN);
    const MAX: Self = Self(Key::MAX);
}

#[cfg(test)]
mod tests;
