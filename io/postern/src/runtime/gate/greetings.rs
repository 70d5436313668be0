//! Agents that have connected over TLS and have not yet shown who they are.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use machine::Instant;
use rustls::{ServerConfig, ServerConnection};
use tokio::net::TcpStream;

use crate::log;
use crate::runtime::channel::Channel;
use crate::tls::{Certificate, Credentials};

/// How long a handshake may take.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Handshakes at a time. One more takes the place of the oldest, which has had its time: a handshake takes milliseconds.
const GREETINGS_MAX: usize = 64;

struct Greeting {
    channel: Channel,
    remote: SocketAddr,
    /// `None` until the first turn.
    until: Option<Instant>,
}

/// All handshakes.
pub(super) struct Greetings {
    credentials: Option<Credentials<Arc<ServerConfig>>>,
    list: Vec<Greeting>,
    warnings: log::Rarely,
}

/// An agent with its certificate.
pub(super) struct Known {
    pub channel: Channel,
    pub remote: SocketAddr,
    pub certificate: Certificate,
}

impl Greetings {
    pub(super) fn new(credentials: Option<Credentials<Arc<ServerConfig>>>) -> Self {
        Self { credentials, list: Vec::new(), warnings: log::Rarely::default() }
    }

    /// Looks whether a file of ours has changed.
    pub(super) fn refresh(&mut self) {
        if let Some(credentials) = &mut self.credentials {
            credentials.refresh();
        }
    }

    /// What is to be known of our certificate.
    pub(super) fn certificate(&self) -> Option<String> {
        self.credentials.as_ref().map(Credentials::state)
    }

    /// Begins a handshake.
    pub(super) fn begin(&mut self, stream: TcpStream, remote: SocketAddr) {
        self.refresh();
        let config = self.credentials.as_ref().map_or_else(|| Err("no certificate".into()), Credentials::get);
        let connection = config.and_then(|config| ServerConnection::new(config).map_err(|e| e.to_string()));
        let channel = connection
            .and_then(|connection| Channel::tls(stream, connection.into()).map_err(|e| e.to_string()));
        match channel {
            Ok(channel) => {
                if self.list.len() >= GREETINGS_MAX {
                    self.list.remove(0);
                }
                self.list.push(Greeting { channel, remote, until: None });
            }
            Err(why) => self.warnings.warn(format_args!("{remote}: {why}")),
        }
    }

    /// Goes on with all of them; gives those that have come to a good end.
    pub(super) fn turn(&mut self, now: Instant) -> Vec<Known> {
        let mut known = Vec::new();
        for mut greeting in std::mem::take(&mut self.list) {
            let remote = greeting.remote;
            let until = *greeting.until.get_or_insert(now + HANDSHAKE_MAX);
            match greeting.channel.shake_hands() {
                Ok(false) if now < until => self.list.push(greeting),
                Ok(false) => {
                    self.warnings.warn(format_args!("{remote}: no TLS handshake in {HANDSHAKE_MAX:?}"))
                }
                Err(why) => self.warnings.warn(format_args!("{remote}: {why}")),
                Ok(true) => match greeting.channel.peer_certificate().and_then(Certificate::read) {
                    Some(certificate) => {
                        known.push(Known { channel: greeting.channel, remote, certificate });
                    }
                    None => self.warnings.warn(format_args!("{remote}: a certificate that cannot be read")),
                },
            }
        }
        known
    }

    /// Ready when one of them has something to say.
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ready = Poll::Pending;
        for greeting in &mut self.list {
            // One without a deadline has just arrived and may have spoken already.
            if greeting.channel.poll_ready(cx).is_ready() || greeting.until.is_none() {
                ready = Poll::Ready(());
            }
        }
        ready
    }

    /// When [`Greetings::turn`] is next due.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.list.iter().filter_map(|greeting| greeting.until).min()
    }
}
