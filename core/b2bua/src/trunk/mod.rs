//! Trunks: servers that ask who we are, and are told where we are. RFC 3261 §22, §10; `docs/trunks.md`.
//!
//! A leg whose peer is a trunk is *bound* to it: its challenges are answered here, and nobody else hears of them.
//! Credentials go where the trunk is, and nowhere else, whatever Contact or Record-Route name.

mod answer;
pub(crate) mod config;
mod legs;
mod realm;
mod register;
mod words;

use std::collections::BTreeMap;

use bytes::Bytes;
use machine::{Instant, Text};
use sip::digest::Session;
use sip::endpoint::{ClientKey, ServerKey};
use sip::message::{Builder, Method, Name};
use sip::transport::Hop;

use crate::context::{Context, Recipient};
use crate::event::CallId;
use crate::side::Side;

use config::TrunkId;
use legs::Bound;
use register::Registering;

/// Everything about trunks.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trunks {
    /// Legs whose peers are trunks.
    bound: BTreeMap<(CallId, Side), Bound>,
    /// Requests to trunks without a final response.
    sent: BTreeMap<ClientKey, Sent>,
    /// By trunk, kind of challenge and whether it was to a REGISTER: what the trunk has taken last.
    sessions: BTreeMap<(TrunkId, Kind, bool), Session>,
    /// The realms of trunks whose configuration names none.
    realms: BTreeMap<TrunkId, Box<str>>,
    registering: BTreeMap<TrunkId, Registering>,
}

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    /// A user agent or registrar, with 401.
    Agent,
    /// A proxy, with 407.
    Proxy,
}

impl Kind {
    fn of(status: u16) -> Option<Self> {
        match status {
            401 => Some(Self::Agent),
            407 => Some(Self::Proxy),
            _ => None,
        }
    }

    fn name(self) -> Name {
        match self {
            Self::Agent => Name::Authorization,
            Self::Proxy => Name::ProxyAuthorization,
        }
    }
}

/// A request to a trunk.
#[derive(Debug, Clone)]
struct Sent {
    trunk: TrunkId,
    hop: Hop,
    bytes: Text<Bytes>,
    /// The request that is passed on with it.
    cause: Option<ServerKey>,
    /// Whose it is, if it belongs to a call.
    to: Option<Recipient>,
    /// Credentials that we have written.
    credentials: Vec<Credential>,
}

/// Credentials of ours in a request.
#[derive(Debug, Clone)]
struct Credential {
    kind: Kind,
    value: Box<str>,
    /// What it is of, if the challenge came in answer to this request: nobody knows yet whether the trunk takes it.
    trying: Option<Session>,
    /// The nonce was the second, because the first was stale.
    stale: bool,
}

impl Trunks {
    /// When there is something to do.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.registering.values().filter_map(Registering::next_timeout).min()
    }

    /// True if no trunk has to be told anything any more.
    pub(crate) fn is_quiet(&self) -> bool {
        self.registering.values().all(Registering::is_quiet)
    }

    /// Nobody waits for what becomes of a request.
    pub(crate) fn abandon(&mut self, key: ClientKey) {
        self.sent.remove(&key);
    }
}

impl Context<'_> {
    /// Adds what a trunk has asked for before, so that it need not ask again (RFC 7616 §3.6).
    fn with_credentials(&mut self, trunk: TrunkId, mut builder: Builder) -> (Builder, Vec<Credential>) {
        let mut written = Vec::new();
        let Some(method) = builder.method().cloned() else { return (builder, written) };
        let uri = builder.request_uri().to_owned();
        for kind in [Kind::Agent, Kind::Proxy] {
            if let Some(value) = self.credential((trunk, kind, method == Method::Register), &method, &uri) {
                builder = builder.header(kind.name(), &value);
                written.push(Credential { kind, value: value.into(), trying: None, stale: false });
            }
        }
        (builder, written)
    }

    fn credential(&mut self, key: (TrunkId, Kind, bool), method: &Method, uri: &str) -> Option<String> {
        let trunk = self.config.trunk(key.0)?;
        let session = self.shared.trunks.sessions.get_mut(&key)?;
        session.answer(&trunk.auth_user, &trunk.secret, method.text(), uri)
    }

    /// Sends a request; one to a trunk is remembered until it is answered.
    pub(crate) fn send_request(
        &mut self,
        trunk: Option<TrunkId>,
        (cause, to): (Option<ServerKey>, Option<Recipient>),
        hop: Hop,
        builder: Builder,
    ) -> ClientKey {
        let Some(trunk) = trunk else { return self.start(cause, hop, builder).0 };
        let (builder, credentials) = self.with_credentials(trunk, builder);
        self.send_to_trunk(Sent { trunk, hop, bytes: Text::default(), cause, to, credentials }, builder)
    }

    fn send_to_trunk(&mut self, sent: Sent, builder: Builder) -> ClientKey {
        let (key, bytes) = self.start(sent.cause, sent.hop, builder);
        self.shared.trunks.sent.insert(key, Sent { bytes: Text(bytes), ..sent });
        key
    }
}
