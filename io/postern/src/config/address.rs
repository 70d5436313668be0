//! Listeners and next hops as they are written: `udp:192.0.2.1:5060`, `sip:trunk.example.net;transport=tcp`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use sip::transport::Protocol;
use toml::Spanned;
use toml::de::DeValue;

use super::kind::{Kind, complain};
use super::problem::{Problems, did_you_mean};

/// A transport of this release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Transport {
    Udp,
    Tcp,
    Tls,
    Ws,
    Wss,
}

impl Transport {
    /// With their words.
    const ALL: [(&'static str, Self); 5] =
        [("udp", Self::Udp), ("tcp", Self::Tcp), ("tls", Self::Tls), ("ws", Self::Ws), ("wss", Self::Wss)];

    /// The same in the core's terms.
    pub(crate) fn protocol(self) -> Protocol {
        match self {
            Self::Udp => Protocol::Udp,
            Self::Tcp => Protocol::Tcp,
            Self::Tls => Protocol::Tls,
            Self::Ws => Protocol::Ws,
            Self::Wss => Protocol::Wss,
        }
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = Self::ALL.iter().find(|(_, transport)| transport == self).map(|(word, _)| *word);
        f.write_str(word.unwrap_or_default())
    }
}

/// Where a realm is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listen {
    pub transport: Transport,
    pub address: SocketAddr,
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.transport, self.address)
    }
}

/// The kind of a `listen` entry.
#[derive(Debug)]
pub(crate) struct ListenKind;

impl Kind for ListenKind {
    type Value = (Listen, std::ops::Range<usize>);
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Self::Value> {
        let text = value.get_ref().as_str().unwrap_or_default();
        let Some((word, rest)) = text.split_once(':') else { return complain(self, value, problems) };
        let transport = transport(word, value, problems)?;
        let address = rest.parse().ok().or_else(|| {
            let bare = rest.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(rest);
            bare.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, transport.protocol().port()))
        });
        let Some(address) = address else { return complain(self, value, problems) };
        if address.ip().is_unspecified() || address.ip().is_multicast() {
            problems.push_with_help(
                value.span(),
                format!("{} is not an address that a phone can call", address.ip()),
                "listens to no particular address",
                "name the address of the interface: it is written into Via and Contact",
            );
            return None;
        }
        if address.port() == 0 {
            return complain(self, value, problems);
        }
        Some((Listen { transport, address }, value.span()))
    }
    fn describe(&self) -> String {
        "\"TRANSPORT:ADDRESS:PORT\", where TRANSPORT is udp, tcp, tls, ws or wss (port 5060 if left out, for tls 5061, for \
         ws 80, for wss 443; IPv6 addresses in brackets)"
            .into()
    }
}

/// The transport of a word, or the complaint that it is later's or nobody's.
fn transport(word: &str, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<Transport> {
    let word = word.to_ascii_lowercase();
    if let Some((_, transport)) = Transport::ALL.iter().find(|(known, _)| *known == word) {
        return Some(*transport);
    }
    match word.as_str() {
        "sctp" => {
            problems.push_with_help(
                value.span(),
                "SCTP is not in this release",
                "`sctp` cannot be served yet",
                "this release speaks udp, tcp, tls, ws and wss; remove this entry",
            );
            None
        }
        other => {
            let known = Transport::ALL.map(|(word, _)| word);
            let help = did_you_mean(other, known).map_or_else(
                || format!("known: {}", known.join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            problems.push_with_help(
                value.span(),
                format!("unknown transport `{other}`"),
                "not a transport",
                help,
            );
            None
        }
    }
}

/// A host of a next hop.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Host {
    Address(IpAddr),
    Name(String),
}

/// Where calls of a route go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NextHop {
    pub host: Host,
    /// The port, where given; a number of 0 is refused.
    pub port: Option<u16>,
    /// The transport, where given.
    pub transport: Option<Transport>,
    /// True for a SIPS URI.
    pub secure: bool,
    /// The URI as written.
    pub text: String,
    /// The trunk that it is, by position.
    pub trunk: Option<usize>,
}

/// The kind of `next-hop`.
#[derive(Debug)]
pub(crate) struct NextHopKind;

impl Kind for NextHopKind {
    type Value = NextHop;
    fn read(&self, value: &Spanned<DeValue<'_>>, problems: &mut Problems) -> Option<NextHop> {
        let text = value.get_ref().as_str().unwrap_or_default();
        let secure = text.strip_prefix("sips:");
        let Some(rest) = secure.or_else(|| text.strip_prefix("sip:")) else {
            return complain(self, value, problems);
        };
        let secure = secure.is_some();
        let mut parts = rest.split(';');
        let Some((host, port)) = parts.next().and_then(host_and_port) else {
            return complain(self, value, problems);
        };
        let mut used = None;
        for parameter in parts {
            match parameter.split_once('=') {
                Some(("transport", word)) => {
                    used = Some(secured(transport(word, value, problems)?, secure, value, problems)?);
                }
                Some(_) | None => {
                    problems.push_with_help(
                        value.span(),
                        format!("unknown parameter `{parameter}`"),
                        "not a parameter of a next hop",
                        "known: transport=udp, transport=tcp, transport=tls",
                    );
                    return None;
                }
            }
        }
        Some(NextHop { host, port, transport: used, secure, text: text.to_owned(), trunk: None })
    }
    fn describe(&self) -> String {
        "SIP URI \"sip:HOST[:PORT][;transport=udp|tcp|tls]\" or \"sips:HOST[:PORT]\"".into()
    }
}

/// The transport that a URI with this parameter asks for.
//= RFC 3261 §26.2.2: `transport=tcp` in a SIPS URI is TLS over TCP; UDP it cannot be.
fn secured(
    named: Transport,
    secure: bool,
    value: &Spanned<DeValue<'_>>,
    problems: &mut Problems,
) -> Option<Transport> {
    match (named, secure) {
        //= RFC 7118 §1: browsers are clients; nobody connects to one.
        (Transport::Ws | Transport::Wss, _) => {
            problems.push(
                value.span(),
                "a next hop is not reached over WebSocket",
                "only phones connect over it, to us",
            );
            None
        }
        (Transport::Udp, true) => {
            problems.push(value.span(), "a SIPS URI is not reached over UDP", "TLS needs a stream");
            None
        }
        (Transport::Tcp, true) => Some(Transport::Tls),
        (named, _) => Some(named),
    }
}

/// `HOST[:PORT]`, an IPv6 address in brackets.
pub(super) fn host_and_port(text: &str) -> Option<(Host, Option<u16>)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        let port = Some(address.port()).filter(|port| *port != 0)?;
        return Some((Host::Address(address.ip()), Some(port)));
    }
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<Ipv6Addr>() {
        return Some((Host::Address(address.into()), None));
    }
    let (name, port) = match text.split_once(':') {
        Some((name, port)) => (name, Some(port.parse().ok().filter(|port| *port != 0)?)),
        None => (text, None),
    };
    if let Ok(address) = name.parse::<IpAddr>() {
        return Some((Host::Address(address), port));
    }
    let fits = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let plausible = name.len() <= 253 && name.trim_end_matches('.').split('.').all(fits);
    // A last label of digits is an address that someone mistyped.
    let numeric = name.rsplit('.').next().is_some_and(|label| label.bytes().all(|b| b.is_ascii_digit()));
    (plausible && !numeric).then(|| (Host::Name(name.to_owned()), port))
}
