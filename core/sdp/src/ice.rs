//! ICE candidates: RFC 8839 §5.1. What is unusable is left out, as an agent leaves it out of its pairs.

use std::net::{IpAddr, Ipv4Addr};

use crate::limits::CANDIDATES_MAX;
use crate::line::{Lines, number, port, words};
use crate::media::{Ice, MediaFlow, Protocol, Rtcp};
use crate::{Flows, Why};

/// The discard port: where nothing is received (RFC 8839 §4.2.5).
const DISCARD: u16 = 9;

/// Adds one flow for each usable candidate of a stream with the given default.
pub(crate) fn candidates(lines: Lines<'_>, default: MediaFlow, found: &mut Flows) -> Result<(), Why> {
    let mut seen = 0;
    for value in lines.filter_map(|line| line.attribute("candidate")) {
        seen += 1;
        if seen > CANDIDATES_MAX {
            return Err(Why::TooManyCandidates);
        }
        let Some((ice, address, rtp)) = candidate(value) else { continue };
        let flow = MediaFlow { address, rtp, rtcp: None, ice, ..default };
        if !found.contains(&flow) {
            found.push(flow);
        }
    }
    Ok(())
}

/// Reads `foundation component transport priority address port …` of a candidate that pinholes can be opened for.
//= RFC 8839 §5.1: component 1 is RTP, 2 is RTCP; candidates with a name instead of an address are ignored.
fn candidate(value: &[u8]) -> Option<(Ice, IpAddr, u16)> {
    let mut fields = words(value).skip(1);
    let ice = match number(fields.next()?)? {
        1 => Ice::Rtp,
        2 => Ice::Rtcp,
        _ => return None,
    };
    let is_udp = fields.next()?.eq_ignore_ascii_case(b"UDP");
    let address: IpAddr = std::str::from_utf8(fields.nth(1)?).ok()?.parse().ok()?;
    let port = port(fields.next()?)?;
    let usable = is_udp && !address.is_unspecified() && port != 0 && port != DISCARD;
    usable.then_some((ice, address, port))
}

/// What `c=` and `m=` say of a stream with candidates: where they cannot be read it is as if on hold.
//= RFC 8839 §4.2.5: 0.0.0.0, port 9 and names in them are no failure of ICE.
pub(crate) fn default(
    stream: MediaFlow,
    address: Result<IpAddr, Why>,
    rtcp: Result<Option<Rtcp>, Why>,
) -> MediaFlow {
    let address = address.ok().filter(|_| stream.rtp != DISCARD);
    let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
    MediaFlow { address, rtcp: rtcp.unwrap_or(None), ice: Ice::Default, ..stream }
}

/// True if candidates of the stream are looked at: media over TCP have a way of their own (`a=setup`).
pub(crate) fn is_for(protocol: Protocol, mut lines: Lines<'_>) -> bool {
    protocol == Protocol::Udp && lines.any(|line| line.attribute("candidate").is_some())
}
