//! What `postern deny` asks and is told.

use std::fmt;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// One end of what is denied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct End {
    pub network: IpNet,
    /// The first port; 0 for any.
    #[serde(default)]
    pub port: u16,
    /// How many ports from it on.
    #[serde(default = "one")]
    pub range: u16,
}

fn one() -> u16 {
    1
}

/// What is to be denied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Deny {
    pub end: End,
    /// The end on the other side; everybody there if it is missing.
    #[serde(default)]
    pub other: Option<End>,
    /// Its number; 0 for any.
    #[serde(default)]
    pub protocol: u8,
    pub lifetime_s: u32,
}

/// Which disable rules are to end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lift {
    /// This one.
    Pid(u32),
    /// All that forbid exactly this.
    Same(Deny),
}

/// A disable rule has been made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Denied {
    pub pid: u32,
    pub inside: String,
    pub outside: String,
    pub lifetime_s: u64,
}

/// `postern deny --list`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Denials {
    pub denials: Vec<DenialLine>,
}

/// A line of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct DenialLine {
    pub pid: u32,
    pub owner: String,
    pub inside: String,
    pub outside: String,
    pub remaining_s: u64,
}

/// As it is written on the command line.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = self.network.prefix_len() == self.network.max_prefix_len();
        let address = if whole { self.network.addr().to_string() } else { self.network.to_string() };
        let last = self.port.saturating_add(self.range.saturating_sub(1));
        match (self.port, self.network.addr().is_ipv6()) {
            (0, _) => return f.write_str(&address),
            (port, true) => write!(f, "[{address}]:{port}")?,
            (port, false) => write!(f, "{address}:{port}")?,
        }
        if last == self.port { Ok(()) } else { write!(f, "-{last}") }
    }
}

impl fmt::Display for Deny {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.other {
            None => write!(f, "{}", self.end),
            Some(other) => write!(f, "{} {other}", self.end),
        }
    }
}

impl fmt::Display for Lift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pid(pid) => write!(f, "rule {pid}"),
            Self::Same(deny) => write!(f, "{deny}"),
        }
    }
}
