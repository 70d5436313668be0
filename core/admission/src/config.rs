//! What admission is told: plain values, checked at the edge.

use std::time::Duration;

use ipnet::IpNet;

/// So many a second of each kind; 0 for any number. Bursts of two seconds' worth pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rates {
    /// Requests of every kind, but for those inside calls that we know.
    pub requests: u64,
    /// INVITEs outside calls.
    pub calls: u64,
    /// REGISTERs.
    pub registrations: u64,
}

/// When a source is banned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WhenToBan {
    /// After so many offences.
    pub offences: u16,
    /// Within this time.
    pub within: Duration,
    /// For this long.
    pub lasts: Duration,
}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Of each source.
    pub source: Rates,
    /// Calls of one source at a time; 0 for any number.
    pub calls_at_once: u32,
    /// Of all sources of a realm together, by the realm's position.
    pub realms: Vec<Rates>,
    /// Networks whose hosts are never banned, and have no rates of their own; those of the realm hold for them too.
    pub never_ban: Vec<IpNet>,
    /// `None`: nobody is banned but by the operator.
    pub ban: Option<WhenToBan>,
    /// A request whose User-Agent has one of these in it is dropped, whatever the case of its letters.
    pub scanners: Vec<String>,
    /// Users of Request-URIs whose calls no rate and no overload refuses, beside `urn:service:sos`.
    pub emergency: Vec<String>,
    /// How long a new call may wait for its turn; one that arrives while another has waited that long is answered 503.
    pub wait: Duration,
}
