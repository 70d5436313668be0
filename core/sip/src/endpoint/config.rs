//! What an endpoint is told at its start.

use std::net::SocketAddr;

use crate::message::Host;
use crate::transaction::TimerValues;
use crate::transport::{ListenerId, Protocol};

/// What an endpoint is told at its start.
#[derive(Debug, Clone)]
pub struct Config {
    /// The values of all timers.
    pub timers: TimerValues,
    /// Our addresses.
    pub listeners: Vec<Listener>,
    /// Put into every branch behind the cookie: letters and digits that tell this shard's branches from others'.
    pub branch_prefix: String,
    /// How much of everything.
    pub limits: Limits,
}

/// One of our addresses.
#[derive(Debug, Clone)]
pub struct Listener {
    /// Its number.
    pub id: ListenerId,
    /// What it speaks.
    pub protocol: Protocol,
    /// Where it is bound.
    pub address: SocketAddr,
    /// What stands in our Via and Contact: `host` or `host:port`.
    pub sent_by: String,
    /// Over UDP: the listener from which requests leave that are too long for a datagram; `None`: they leave all the same.
    pub longer: Option<ListenerId>,
}

/// A request that is longer than this, in bytes, goes over a stream.
//= RFC 3261 §18.1.1: where the path's MTU is not known.
pub(super) const DATAGRAM_LEN_MAX: usize = 1_300;

impl Listener {
    /// True if this `host` and `port` of a Via are the ones we write here.
    pub(super) fn is_sent_by(&self, host: Host<'_>, port: Option<u16>) -> bool {
        let (own_host, own_port) = Host::split_port(&self.sent_by);
        let default = self.protocol.port();
        let own_port = own_port.and_then(|port| port.parse().ok()).unwrap_or(default);
        Host::parse(own_host).is_some_and(|own| own.is_equivalent(&host))
            && port.unwrap_or(default) == own_port
    }
}

/// How much of everything an endpoint holds, and what happens beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Transactions of both kinds together, those that only absorb repetitions included. At this number a request
    /// that would need another one is answered 503 with Retry-After, without state; BYE is let in up to an eighth
    /// above it, because it ends something.
    pub transactions_max: usize,
    /// The Retry-After of that 503, in seconds.
    pub retry_after_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self { transactions_max: 1_000_000, retry_after_s: 5 }
    }
}
