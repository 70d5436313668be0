//! How the agent half reaches a middlebox.

use std::fmt;
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
        let rest = text.strip_prefix("tcp:").unwrap_or(text);
        match host_and_port(rest) {
            Some((host, port)) => Some(Connect::Tcp(Peer { host, port: port.unwrap_or(SIMCO_PORT) })),
            None => complain(self, value, problems),
        }
    }
    fn describe(&self) -> String {
        "\"HOST[:PORT]\", a name or an address, port 7626 if left out; IPv6 addresses in brackets".into()
    }
}
