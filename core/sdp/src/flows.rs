//! From m-lines to flows: RFC 8866 §5.7 and §5.14, RFC 3264 §5 to §8, RFC 3605, RFC 5761.

use std::net::{IpAddr, Ipv4Addr};

use smallvec::SmallVec;

use crate::limits::PORT_PAIRS_MAX;
use crate::line::{Line, Lines, number, port, words};
use crate::media::{Direction, Ice, Media, MediaFlow, Protocol, Rtcp, Setup};
use crate::{Refusal, Session, Why, bundle, ice, rtcp};

/// The flows of a description, by position of their m-lines.
pub type Flows = SmallVec<[MediaFlow; 1]>;

/// Where the writer of a description wants to receive.
///
/// A stream with ICE has one flow for what its `c=` and `m=` lines say ([`Ice::Default`]) and one for each candidate.
/// Streams that are bundled name in [`MediaFlow::transport`] the one whose ports they use.
///
/// # Errors
/// The first m-line in use of which nobody could say where its media would go.
pub fn flows(session: &Session<'_>) -> Result<Flows, Refusal> {
    let mut found = Flows::new();
    let direction = session.session_lines().find_map(direction).unwrap_or(Direction::SendRecv);
    let transports = bundle::transports(session);
    for stream in 0..session.streams() {
        let transport = transports.get(usize::from(stream)).copied().unwrap_or(stream);
        let mut lines = session.stream_lines(stream);
        let Some(line) = lines.next() else { continue };
        let mut fields = words(line.value);
        let media = Media::from_word(fields.next().unwrap_or_default());
        let head = Head { stream, transport, media, direction };
        read(session, head, fields, lines, &mut found).map_err(|why| Refusal::of(stream, media, why))?;
    }
    if !transports.is_empty() {
        bundle::settle(&mut found);
    }
    Ok(found)
}

/// What is known of a stream before its lines are read.
#[derive(Clone, Copy)]
struct Head {
    stream: u16,
    transport: u16,
    media: Media,
    /// That of the session.
    direction: Direction,
}

/// Reads one stream: `fields` are those of its m-line behind the first, `lines` those that follow it.
fn read<'l>(
    session: &Session<'_>,
    Head { stream, transport, media, direction }: Head,
    mut fields: impl Iterator<Item = &'l [u8]>,
    lines: Lines<'_>,
    found: &mut Flows,
) -> Result<(), Why> {
    let ports = Ports::parse(fields.next().unwrap_or_default())?;
    //= RFC 8843 §6: port 0 with bundle-only means that the stream has no transport of its own.
    let bundled = ports.first == 0
        && transport != stream
        && lines.clone().any(|line| line.attribute("bundle-only").is_some());
    //= RFC 3264 §6, §8.2: port 0 means that the stream is not in use; what else its lines say means nothing.
    if ports.first == 0 && !bundled {
        return Ok(());
    }
    let carrier = Carrier::parse(fields.next().unwrap_or_default()).ok_or(Why::UnknownProtocol)?;
    let rtcp = rtcp::Attributes::parse(lines.clone())?;
    let mut template = MediaFlow {
        stream,
        transport,
        media,
        protocol: carrier.protocol,
        direction: lines.clone().find_map(self::direction).unwrap_or(direction),
        address: Ipv4Addr::UNSPECIFIED.into(),
        rtp: ports.first,
        rtcp: None,
        rtcp_mux: carrier.rtp && rtcp.mux,
        setup: Setup::Unsaid,
        existing: false,
        ice: Ice::None,
    };
    if bundled {
        found.push(template);
        return Ok(());
    }
    let address = address(session, lines.clone());
    if ice::is_for(carrier.protocol, lines.clone()) {
        let port = address.as_ref().map_or(Ok(None), |address| carrier.rtcp(&rtcp, *address, ports.first));
        let default = ice::default(template, address, port);
        found.push(default);
        return ice::candidates(lines, default, found);
    }
    template.address = address?;
    if carrier.protocol == Protocol::Tcp {
        let setup = |line: Line<'_>| line.attribute("setup").and_then(Setup::from_word);
        template.setup = said(session, &lines, setup).unwrap_or(Setup::Unsaid);
        //= RFC 4145 §5: unsaid is new.
        let existing = |line: Line<'_>| line.attribute("connection").map(|word| word == b"existing");
        template.existing = said(session, &lines, existing).unwrap_or(false);
    }
    unfold(template, ports, carrier, &rtcp, found)
}

/// What the lines of a stream say, or else those of the session.
fn said<T>(session: &Session<'_>, lines: &Lines<'_>, of: impl Fn(Line<'_>) -> Option<T>) -> Option<T> {
    lines.clone().find_map(&of).or_else(|| session.session_lines().find_map(&of))
}

/// The streams that a description turns off.
//= RFC 3264 §6, §8.2: port 0; RFC 8843 §6: but not with `bundle-only`.
pub fn turned_off(session: &Session<'_>) -> impl Iterator<Item = u16> {
    (0..session.streams()).filter(|stream| {
        let mut lines = session.stream_lines(*stream);
        let is_zero = |line: Line<'_>| words(line.value).nth(1).and_then(port) == Some(0);
        lines.next().is_some_and(is_zero) && !lines.any(|line| line.attribute("bundle-only").is_some())
    })
}

/// Adds one flow per port pair of an m-line.
fn unfold(
    template: MediaFlow,
    ports: Ports,
    carrier: Carrier,
    rtcp: &rtcp::Attributes,
    found: &mut Flows,
) -> Result<(), Why> {
    if ports.count > 1 && rtcp.explicit.is_some() {
        return Err(Why::MalformedRtcp);
    }
    let step = if carrier.rtp { 2 } else { 1 };
    for index in 0..ports.count {
        //= RFC 8866 §5.14: with a number of ports each RTP port is followed by its RTCP port.
        let rtp = ports.first.checked_add(index * step).ok_or(Why::ImpossiblePorts)?;
        let rtcp = carrier.rtcp(rtcp, template.address, rtp)?;
        found.push(MediaFlow { rtp, rtcp, ..template });
    }
    Ok(())
}

/// `port ["/" integer]`.
#[derive(Clone, Copy)]
struct Ports {
    first: u16,
    count: u16,
}

impl Ports {
    fn parse(word: &[u8]) -> Result<Self, Why> {
        let mut parts = word.splitn(2, |byte| *byte == b'/');
        let first = parts.next().and_then(port).ok_or(Why::ImpossiblePorts)?;
        let count = match parts.next() {
            None => 1,
            Some(count) => number(count).filter(|count| *count > 0).ok_or(Why::ImpossiblePorts)?,
        };
        let count = u16::try_from(count).ok().filter(|count| *count <= PORT_PAIRS_MAX);
        Ok(Self { first, count: count.ok_or(Why::TooManyPortPairs)? })
    }
}

/// What an m-line's protocol means for ports.
#[derive(Clone, Copy)]
struct Carrier {
    protocol: Protocol,
    /// RTP, so that RTCP comes with it.
    rtp: bool,
}

impl Carrier {
    /// Where RTCP is received, for RTP there.
    fn rtcp(self, rtcp: &rtcp::Attributes, address: IpAddr, rtp: u16) -> Result<Option<Rtcp>, Why> {
        if self.rtp { rtcp.place(address, rtp) } else { Ok(None) }
    }

    /// RFC 8866 §8.2.3; RFC 5764 §8 and RFC 8841 §4 for what runs over DTLS.
    fn parse(word: &[u8]) -> Option<Self> {
        let word = word.to_ascii_uppercase();
        let (protocol, rtp) = match word.as_slice() {
            b"TCP" => (Protocol::Tcp, false),
            b"UDP" | b"UDPTL" | b"DTLS/SCTP" => (Protocol::Udp, false),
            word if word.starts_with(b"TCP/") => (Protocol::Tcp, false),
            word if word.starts_with(b"RTP/") => (Protocol::Udp, true),
            word if word.starts_with(b"UDP/TLS/RTP/") => (Protocol::Udp, true),
            word if word.starts_with(b"UDP/") => (Protocol::Udp, false),
            _ => return None,
        };
        Some(Self { protocol, rtp })
    }
}

/// The address of a stream: its own `c=` line, or else that of the session.
//= RFC 8866 §5.7: a c= line at media level overrides the one at session level.
fn address(session: &Session<'_>, stream: Lines<'_>) -> Result<IpAddr, Why> {
    match connection(stream)? {
        Some(address) => Ok(address),
        None => connection(session.session_lines())?.ok_or(Why::NoConnection),
    }
}

fn connection(lines: Lines<'_>) -> Result<Option<IpAddr>, Why> {
    let mut connections = lines.filter(|line| line.kind == b'c');
    let Some(first) = connections.next() else {
        return Ok(None);
    };
    //= RFC 8866 §5.7: several c= lines are for layered multicast, which is nothing for a call.
    match connections.next() {
        Some(_) => Err(Why::SeveralConnections),
        None => connection_address(first.value).map(Some),
    }
}

/// `nettype SP addrtype SP connection-address`.
pub(crate) fn connection_address(value: &[u8]) -> Result<IpAddr, Why> {
    let mut fields = words(value);
    let (network, family, address, rest) = (fields.next(), fields.next(), fields.next(), fields.next());
    let (Some(b"IN"), Some(family), Some(address), None) = (network, family, address, rest) else {
        return Err(Why::MalformedConnection);
    };
    let text = std::str::from_utf8(address).map_err(|_| Why::MalformedConnection)?;
    let (text, suffix) = text.split_once('/').map_or((text, None), |(text, suffix)| (text, Some(suffix)));
    let parsed = match family {
        b"IP4" => text.parse().map(IpAddr::V4),
        b"IP6" => text.parse().map(IpAddr::V6),
        _ => return Err(Why::MalformedConnection),
    };
    match (parsed, suffix) {
        (Ok(address), None) => Ok(address),
        //= RFC 8866 §5.7: a slash (TTL, number of addresses) belongs to multicast only.
        (Ok(address), Some(_)) if address.is_multicast() => Err(Why::Multicast(address)),
        (Ok(_), Some(_)) => Err(Why::MalformedConnection),
        (Err(_), _) if is_name(text) => Err(Why::NameAsAddress),
        (Err(_), _) => Err(Why::MalformedConnection),
    }
}

/// True for what could be a host name and is not a mistyped address.
fn is_name(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        && text
            .rsplit('.')
            .find(|label| !label.is_empty())
            .is_some_and(|label| !label.as_bytes()[0].is_ascii_digit())
}

fn direction(line: Line<'_>) -> Option<Direction> {
    (line.kind == b'a').then(|| Direction::from_attribute(line.value)).flatten()
}
