//! The call that is asked about, from the words of the command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use b2bua::config::RealmId;
use b2bua::explain::Hypothesis;
use bytes::Bytes;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use machine::week::MinuteOfWeek;
use sip::message::Uri;
use sip::transport::{Hop, ListenerId};

use super::Explain;
use crate::cli::Complaint;
use crate::config::Config;
use crate::runtime::agent::settings;
use crate::runtime::wall;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// A longer one is no offer.
const SDP_BYTES_MAX: usize = 60_000;

/// What is asked.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) realm: RealmId,
    /// In words.
    pub(super) at: String,
    minute: Option<MinuteOfWeek>,
    hop: Hop,
    sdp: Option<Vec<u8>>,
}

impl Question {
    pub(super) fn of(asked: &Explain, config: &Config) -> Result<Self, Complaint> {
        let host = |text: &str| Uri::parse(text).ok().and_then(|uri| uri.host()?.address());
        let source = asked.source.or_else(|| host(&asked.from));
        let realm = realm(config, asked.realm.as_deref(), source)?;
        let source = source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let listeners: Vec<_> = (0..).zip(settings::listeners(config)).collect();
        let own = listeners.iter().find(|(_, (position, _))| *position == realm);
        let (number, (_, listen)) = own.ok_or_else(|| Complaint::usage("this realm listens nowhere"))?;
        let (at, minute) = when(asked.at.as_deref(), config)?;
        let sdp = match &asked.sdp {
            None => None,
            Some(path) => Some(read(path)?),
        };
        Ok(Self {
            from: uri(&asked.from, listen.address)?,
            to: uri(&asked.to, listen.address)?,
            realm: RealmId(u16::try_from(realm).unwrap_or(u16::MAX)),
            at,
            minute,
            hop: Hop {
                listener: ListenerId(*number),
                protocol: listen.transport.protocol(),
                remote: SocketAddr::new(source, 5060),
                connection: None,
                name: None,
            },
            sdp,
        })
    }

    pub(super) fn source(&self) -> IpAddr {
        self.hop.remote.ip()
    }

    pub(super) fn hypothesis(&self) -> Hypothesis {
        let Self { from, to, hop, sdp, .. } = self;
        let (remote, protocol) = (hop.remote, hop.protocol.to_string().to_uppercase());
        let body = sdp.as_deref().unwrap_or_default();
        let label = if sdp.is_some() { "Content-Type: application/sdp\r\n" } else { "" };
        let head = format!(
            "INVITE {to} SIP/2.0\r\nVia: SIP/2.0/{protocol} {remote};branch=z9hG4bKexplain\r\nMax-Forwards: 70\r\n\
             From: <{from}>;tag=explain\r\nTo: <{to}>\r\nCall-ID: explain\r\nCSeq: 1 INVITE\r\n\
             Contact: <sip:{remote}>\r\nSupported: 100rel\r\n{label}Content-Length: {}\r\n\r\n",
            body.len()
        );
        let invite = Bytes::from([head.as_bytes(), body].concat());
        Hypothesis { hop: *hop, invite, minute: self.minute }
    }
}

fn read(path: &std::path::Path) -> Result<Vec<u8>, Complaint> {
    let shown = path.display();
    let text = std::fs::read(path).map_err(|error| Complaint::usage(format!("{shown}: {error}")))?;
    if text.len() > SDP_BYTES_MAX {
        return Err(Complaint::usage(format!(
            "{shown} has {} bytes: more than an INVITE carries",
            text.len()
        )));
    }
    // An editor's line ends are not SDP's; a file is meant as it is read.
    let text = String::from_utf8_lossy(&text).replace("\r\n", "\n").replace('\n', "\r\n");
    Ok(text.into_bytes())
}

/// A SIP URI as it is, or a user at our address.
fn uri(text: &str, own: SocketAddr) -> Result<String, Complaint> {
    let lower = text.to_ascii_lowercase();
    let whole =
        ["sip:", "sips:", "tel:"].iter().any(|scheme| lower.starts_with(scheme)) || text.starts_with("urn:");
    let full = if whole || text.contains('@') { text.to_owned() } else { format!("{text}@{own}") };
    let full = if whole { full } else { format!("sip:{full}") };
    let clean = full.bytes().all(|octet| octet.is_ascii_graphic() && !matches!(octet, b'<' | b'>' | b'"'));
    match clean && Uri::parse(&full).is_ok() {
        true => Ok(full),
        false => Err(Complaint::usage(format!(
            "`{text}` is no SIP URI\nwrite sip:USER@HOST, or a user or number alone"
        ))),
    }
}

/// The realm by name, or the one whose media networks are closest around an address.
fn realm(config: &Config, name: Option<&str>, source: Option<IpAddr>) -> Result<usize, Complaint> {
    let names = || config.realms.iter().map(|realm| realm.name.as_str()).collect::<Vec<_>>().join(", ");
    if let Some(name) = name {
        let found = config.realms.iter().position(|realm| realm.name == name);
        return found
            .ok_or_else(|| Complaint::usage(format!("there is no realm `{name}`\nrealms: {}", names())));
    }
    let Some(source) = source else {
        let advice = format!("name its realm (--realm: {}) or its address (--source)", names());
        return Err(Complaint::usage(format!("where does the call come from?\n{advice}")));
    };
    let around = |networks: &[ipnet::IpNet]| match networks {
        // Everybody else.
        [] => Some(0),
        networks => {
            let around = networks.iter().filter(|network| network.contains(&source));
            around.map(|network| u16::from(network.prefix_len()) + 1).max()
        }
    };
    let closest = config
        .realms
        .iter()
        .enumerate()
        .filter_map(|(position, realm)| Some((around(&realm.media)?, position)));
    let mut closest: Vec<_> = closest.collect();
    closest.sort_by_key(|(length, _)| std::cmp::Reverse(*length));
    match closest.as_slice() {
        [] => Err(Complaint::usage(format!(
            "{source} is in no realm's `media`\nname the realm with --realm: {}",
            names()
        ))),
        [(first, _), (second, _), ..] if first == second => Err(Complaint::usage(format!(
            "{source} may be in several realms\nname the realm with --realm: {}",
            names()
        ))),
        [(_, position), ..] => Ok(*position),
    }
}

/// In words, and as policies know it.
fn when(at: Option<&str>, config: &Config) -> Result<(String, Option<MinuteOfWeek>), Complaint> {
    let zone = config.middlebox.time_zone.clone().unwrap_or_else(TimeZone::system);
    let words = |time: &Zoned| time.strftime("%a %Y-%m-%d %H:%M %Z").to_string();
    let Some(text) = at else {
        let now = Timestamp::now();
        return Ok((words(&now.to_zoned(zone.clone())), wall::minute(&zone, now)));
    };
    let wrong = || Complaint::usage(format!("`{text}` is no time\nwrite \"Mon 18:30\" or 2026-12-24T18:30"));
    if let Some((day, time)) = text.split_once(' ')
        && let Some(day) = DAYS.iter().position(|known| known.eq_ignore_ascii_case(day))
    {
        let (hour, minute) = time.split_once(':').ok_or_else(wrong)?;
        let number = |text: &str| text.parse::<u8>().map_err(|_| wrong());
        let day = u8::try_from(day).map_err(|_| wrong())?;
        let minute = MinuteOfWeek::new(day, number(hour)?, number(minute)?).ok_or_else(wrong)?;
        return Ok((text.to_owned(), Some(minute)));
    }
    let time: DateTime = text.replace(' ', "T").parse().map_err(|_| wrong())?;
    let time = time.to_zoned(zone.clone()).map_err(|_| wrong())?;
    Ok((words(&time), wall::minute(&zone, time.timestamp())))
}
