//! A description as the other side of a NAT sees it: other addresses and ports, and no ICE.
//! RFC 8866 §5.7 and §5.14, RFC 3605; `docs/calls.md` §4, "NAT".

use std::net::{IpAddr, SocketAddr};

use crate::flows::connection_address;
use crate::line::Line;
use crate::patch::Patch;
use crate::{Flows, MediaFlow, Protocol, Session, flows};

/// The attributes by which a description speaks of ICE (RFC 8839 §5, RFC 8840 §8).
const ICE: [&str; 8] = [
    "candidate",
    "remote-candidates",
    "end-of-candidates",
    "ice-ufrag",
    "ice-pwd",
    "ice-options",
    "ice-lite",
    "ice-pacing",
];

/// The text without ICE; `None` if there is none in it.
///
/// Candidates name addresses that mean nothing on the other side, and a check that succeeds past the translation would be
/// media that nobody opened. Without them both sides use `c=` and `m=` (RFC 8839 §4.2.5).
#[must_use]
pub fn without_ice(session: &Session<'_>) -> Option<Vec<u8>> {
    let speaks_of_ice = |line: Line<'_>| ICE.iter().any(|name| line.attribute(name).is_some());
    let mut positions = session.lines().enumerate().filter(|(_, line)| speaks_of_ice(*line)).peekable();
    positions.peek()?;
    Some(positions.fold(session.patch(), |patch, (position, _)| patch.remove(position)).finish())
}

/// The text with the places at which its writer receives as the other side sees them. `seen` says what stands for a place;
/// `usual` stands for every other address, so that none of them is shown.
///
/// What cannot be read stays as it is: it is refused before it travels.
#[must_use]
pub fn translated(
    session: &Session<'_>,
    usual: IpAddr,
    seen: impl Fn(IpAddr, u16) -> Option<SocketAddr>,
) -> Vec<u8> {
    let found = flows(session).unwrap_or_default();
    let mut patch = addresses(session, session.patch(), None, usual);
    let said = session.session_lines().any(|line| line.kind == b'c').then_some(usual);
    for stream in 0..session.streams() {
        patch = match place(&found, stream, &seen) {
            Some(place) => moved(session, patch, stream, place, said),
            None => addresses(session, patch, Some(stream), usual),
        };
    }
    patch.finish()
}

/// Where a stream is seen to receive: RTP, and RTCP if it has a port of its own.
struct Seen {
    rtp: SocketAddr,
    rtcp: Option<SocketAddr>,
}

fn place(found: &Flows, stream: u16, seen: &impl Fn(IpAddr, u16) -> Option<SocketAddr>) -> Option<Seen> {
    let counts = |flow: &&MediaFlow| {
        flow.stream == stream && flow.protocol == Protocol::Udp && !flow.ice.is_candidate()
    };
    let flow = found.iter().find(counts)?;
    let rtp = seen(flow.address, flow.rtp)?;
    Some(Seen { rtp, rtcp: flow.rtcp.and_then(|rtcp| seen(rtcp.address, rtcp.port)) })
}

/// Writes the new place of a stream; with a `c=` of its own where it is not what is `said` for all.
fn moved<'s, 'a>(
    session: &'s Session<'a>,
    mut patch: Patch<'s, 'a>,
    stream: u16,
    Seen { rtp, rtcp }: Seen,
    said: Option<IpAddr>,
) -> Patch<'s, 'a> {
    let Some(begin) = session.stream_position(stream) else { return patch };
    patch = patch.first_port(stream, rtp.port());
    let has_own = session.stream_lines(stream).any(|line| line.kind == b'c');
    patch = match has_own {
        true => patch.address(Some(stream), rtp.ip()),
        false if said == Some(rtp.ip()) => patch,
        false => {
            //= RFC 8866 §5: i= comes before c=.
            let title = session.stream_lines(stream).nth(1).is_some_and(|line| line.kind == b'i');
            let family = if rtp.is_ipv4() { "IP4" } else { "IP6" };
            patch.insert(begin + 1 + usize::from(title), &format!("c=IN {family} {}", rtp.ip()))
        }
    };
    let mut says_rtcp = false;
    for (offset, line) in session.stream_lines(stream).enumerate() {
        if line.attribute("rtcp").is_some() {
            says_rtcp = true;
            patch = match rtcp {
                Some(rtcp) => patch.replace(begin + offset, rtcp_line(rtcp).into_bytes()),
                // With one port for both it says no more than m= does.
                None => patch.remove(begin + offset),
            };
        }
    }
    let adjacent = SocketAddr::new(rtp.ip(), rtp.port().wrapping_add(1));
    match rtcp.filter(|rtcp| !says_rtcp && *rtcp != adjacent) {
        //= RFC 3605 §2.1: RTCP that is not on the next port is named.
        Some(rtcp) => {
            let end = begin + session.stream_lines(stream).count();
            patch.insert(end, &rtcp_line(rtcp))
        }
        None => patch,
    }
}

fn rtcp_line(rtcp: SocketAddr) -> String {
    let family = if rtcp.is_ipv4() { "IP4" } else { "IP6" };
    format!("a=rtcp:{} IN {family} {}", rtcp.port(), rtcp.ip())
}

/// Shows the usual address in `c=` lines that show another; "nowhere" stays. RTCP of a stream that receives nothing, or of
/// the whole session (RFC 3605 §2.1 knows it of streams only), goes to no place that the other side could reach.
fn addresses<'s, 'a>(
    session: &'s Session<'a>,
    patch: Patch<'s, 'a>,
    stream: Option<u16>,
    usual: IpAddr,
) -> Patch<'s, 'a> {
    let lines = match stream {
        Some(stream) => session.stream_lines(stream),
        None => session.session_lines(),
    };
    let shows = |line: Line<'_>| {
        let address = connection_address(line.value);
        line.kind == b'c'
            && address
                .map_or(true, |address| !address.is_unspecified() && address.is_ipv4() == usual.is_ipv4())
    };
    let begin = stream.map_or(Some(0), |stream| session.stream_position(stream)).unwrap_or(0);
    let rtcp = lines.clone().enumerate().filter(|(_, line)| line.attribute("rtcp").is_some());
    let patch = rtcp.fold(patch, |patch, (offset, _)| patch.remove(begin + offset));
    if lines.clone().any(shows) { patch.address(stream, usual) } else { patch }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INSIDE: &str = "v=0\r\no=- 1 1 IN IP4 10.0.40.7\r\ns=-\r\nc=IN IP4 10.0.40.7\r\nt=0 0\r\n";

    fn text(media: &str) -> String {
        let text = format!("{INSIDE}{media}");
        let session = Session::parse(text.as_bytes()).unwrap();
        let bare = without_ice(&session);
        let session = bare.as_deref().map_or(session, |bare| Session::parse(bare).unwrap());
        let seen = |address: IpAddr, port: u16| {
            let known = address == IpAddr::from([10, 0, 40, 7]) && (4000..4010).contains(&port);
            known.then(|| SocketAddr::from(([203, 0, 113, 1], port + 26_000)))
        };
        let out = translated(&session, [203, 0, 113, 1].into(), seen);
        let out = String::from_utf8(out).unwrap();
        assert!(flows(&Session::parse(out.as_bytes()).unwrap()).is_ok());
        out.strip_prefix("v=0\r\no=- 1 1 IN IP4 10.0.40.7\r\ns=-\r\n").unwrap().to_owned()
    }

    const HEAD: &str = "c=IN IP4 203.0.113.1\r\nt=0 0\r\n";
    const OWN: &str = "c=IN IP4 203.0.113.1\r\n";

    #[test]
    fn a_stream_is_seen_at_its_outside_place() {
        assert_eq!(text("m=audio 4000 RTP/AVP 0\r\n"), format!("{HEAD}m=audio 30000 RTP/AVP 0\r\n"));
        let own = "m=audio 4000 RTP/AVP 0\r\ni=x\r\nc=IN IP4 10.0.40.7\r\na=rtcp:4003 IN IP4 10.0.40.7\r\n";
        let seen = format!("m=audio 30000 RTP/AVP 0\r\ni=x\r\n{OWN}a=rtcp:30003 IN IP4 203.0.113.1\r\n");
        assert_eq!(text(own), format!("{HEAD}{seen}"));
        let mux = "m=audio 4000 RTP/AVP 0\r\na=rtcp:4000\r\na=rtcp-mux\r\n";
        assert!(!text(mux).contains("rtcp:4000"), "{}", text(mux));
    }

    #[test]
    fn what_has_no_outside_place_shows_no_inside_address() {
        let off = "m=audio 4000 RTP/AVP 0\r\nm=video 0 RTP/AVP 31\r\nc=IN IP4 10.0.40.9\r\n";
        assert!(!text(off).contains("10.0.40"), "{}", text(off));
        let held = "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n";
        assert!(text(held).ends_with("m=audio 4000 RTP/AVP 0\r\nc=IN IP4 0.0.0.0\r\n"), "{}", text(held));
        let rtcp = "a=rtcp:4001 IN IP4 10.0.40.9\r\n";
        let named = format!(
            "{rtcp}m=audio 0 RTP/AVP 0\r\n{rtcp}a=sendrecv\r\nm=video 4000 RTP/AVP 31\r\nc=IN IP4 0.0.0.0\r\n{rtcp}"
        );
        let hold = "m=audio 0 RTP/AVP 0\r\na=sendrecv\r\nm=video 4000 RTP/AVP 31\r\nc=IN IP4 0.0.0.0\r\n";
        assert_eq!(text(&named), format!("{HEAD}{hold}"));
    }

    #[test]
    fn ice_is_left_out() {
        let ice = "a=ice-lite\r\nm=audio 4000 RTP/AVP 0\r\na=ice-ufrag:x\r\na=ice-pwd:yyyyyyyyyyyyyyyyyyyyyyyy\r\n\
                   a=candidate:1 1 UDP 1 10.0.40.7 4000 typ host\r\na=candidate:1 2 UDP 1 10.0.40.7 4001 typ host\r\n";
        assert_eq!(text(ice), format!("{HEAD}m=audio 30000 RTP/AVP 0\r\n"));
    }
}
