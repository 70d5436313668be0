//! How the agent half reaches a middlebox.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use toml::Spanned;
use toml::de::DeValue;

use super::address::{Host, host_and_port};
use super::kind::{Kind, complain};
use super::problem::Problems;

/// The port of SIMCO.
const SIMCO_PORT: u16 = 7626;

/// How the agent half reaches a middlebox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Connect {
    Unix(PathBuf),
    Tcp(Peer),
    Tls(Peer),
}

/// A middlebox on another machine. Its name is looked up at each attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub host: Host,
    pub port: u16,
}

impl Peer {
    /// The host without its port.
    pub(crate) fn host(&self) -> String {
        match &self.host {
            Host::Address(address) => address.to_string(),
            Host::Name(name) => name.clone(),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Address(std::net::IpAddr::V6(address)) => write!(f, "[{address}]:{}", self.port),
            Host::Address(_) | Host::Name(_) => write!(f, "{}:{}", self.host(), self.port),
        }
    }
}

impl fmt::Display for Connect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "{}", path.display()),
            Self::Tcp(peer) => write!(f, "tcp:{peer}"),
            Self::Tls(peer) => write!(f, "tls:{peer}"),
        }
    }
}

/// The kind of `connect`.
#[derive(Debug)]
pub(crate) struct ConnectKind;

impl Kind for ConnectKind {
    type Value = Connect;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Connect> {
        let text = value.get_ref().as_str().unwrap_or_default();
        let (tls, rest) = transport(text);
        let peer = |(host, port): (Host, Option<u16>)| Peer { host, port: port.unwrap_or(SIMCO_PORT) };
        match host_and_port(rest).map(peer) {
            Some(peer) if tls => Some(Connect::Tls(peer)),
            Some(peer) => Some(Connect::Tcp(peer)),
            None => complain(self, value, problems),
        }
    }
    fn describe(&self) -> String {
        "\"tls:HOST[:PORT]\" or \"tcp:HOST[:PORT]\", a name or an address, port 7626 if left out; IPv6 addresses in brackets"
            .into()
    }
}

/// Whether it is TLS, and the rest. Without a word it is plain TCP.
fn transport(text: &str) -> (bool, &str) {
    match text.strip_prefix("tls:") {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix("tcp:").unwrap_or(text)),
    }
}

/// Where the middlebox half serves SIMCO to agents on other machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Serve {
    pub tls: bool,
    pub address: SocketAddr,
}

impl fmt::Display for Serve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", if self.tls { "tls" } else { "tcp" }, self.address)
    }
}

/// The kind of an entry of `listen`.
#[derive(Debug)]
pub(crate) struct ServeKind;

impl Kind for ServeKind {
    type Value = Serve;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Serve> {
        let (tls, rest) = transport(value.get_ref().as_str().unwrap_or_default());
        match host_and_port(rest) {
            Some((Host::Address(address), port)) => {
                Some(Serve { tls, address: SocketAddr::new(address, port.unwrap_or(SIMCO_PORT)) })
            }
            Some((Host::Name(_), _)) | None => complain(self, value, problems),
        }
    }
    fn describe(&self) -> String {
        "\"tls:ADDRESS[:PORT]\" or \"tcp:ADDRESS[:PORT]\", port 7626 if left out; IPv6 addresses in brackets"
            .into()
    }
}
