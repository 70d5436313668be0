//! Where one end of a call sends what, by the other end's description and what it can itself.

use std::net::SocketAddr;

use middlebox::Transport;
use phone::{Remote, Shape};

use crate::carry::Ends;
use crate::gate;
use crate::model::above;
use crate::wire;

/// A packet that must pass.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) transport: Transport,
    pub(crate) from: SocketAddr,
    pub(crate) to: SocketAddr,
    /// The sender is outside.
    pub(crate) outside: bool,
    /// The first packet of a TCP connection.
    pub(crate) opens: bool,
    /// From where to where it is behind the middleboxes.
    pub(crate) arrives: Ends,
}

/// The other end of a call, as one end knows it.
#[derive(Debug, Clone)]
pub(crate) struct Far {
    /// Where it receives the first stream over UDP, and by ICE besides.
    places: Vec<SocketAddr>,
    /// Where we receive by ICE besides.
    more: Option<SocketAddr>,
    /// RTCP has a port of its own: one above RTP.
    has_rtcp: bool,
    /// Where RTCP of the first place goes, as far as it is said to be elsewhere.
    rtcp: Option<SocketAddr>,
    /// Where it waits for the connection of a chat.
    chat: Option<SocketAddr>,
}

/// From where a connection is opened: any port.
const OPENER: u16 = 40_000;

impl Far {
    pub(crate) fn new(remote: &Remote, shape: &Shape) -> Self {
        let sdp = std::str::from_utf8(&remote.sdp).unwrap_or_default();
        // Whoever speaks it says so in each offer, and in each answer to one.
        let more = shape.ice.filter(|_| wire::candidates(sdp).next().is_some());
        let is_usable = |place: &SocketAddr| gate::PORTS.contains(&place.port());
        let candidates = wire::candidates(sdp)
            .filter(|(component, place)| *component == 1 && more.is_some() && is_usable(place));
        let streams = || sdp.lines().filter_map(|line| line.strip_prefix("m="));
        let in_use = |line: &&str| line.split(' ').nth(1) != Some("0");
        // A fax that is offered to who takes none is answered with port 0.
        let is_refused = !shape.fax && streams().any(|line| line.starts_with("image") && in_use(&line));
        // With ICE only its own places count.
        let default = remote.rtp.filter(|place| !is_refused && (more.is_none() || is_usable(place)));
        let mut places: Vec<SocketAddr> = default.into_iter().collect();
        for (_, place) in candidates {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        let is_rtp = streams().any(|line| line.contains("RTP/AVP") && in_use(&line));
        let is_mux = shape.bundle && sdp.contains("a=rtcp-mux\r\n");
        let rtcp = remote.rtcp.filter(|_| more.is_none());
        Self { places, more, has_rtcp: is_rtp && !is_mux, rtcp, chat: chat(sdp, remote, shape) }
    }

    /// The other end has offered what this one does not take, so that nothing is sent.
    pub(crate) fn is_refused(&self) -> bool {
        self.places.is_empty()
    }

    /// Where it receives RTP of the first stream, or RTCP if that has a port of its own.
    pub(crate) fn receives(&self, next: u16) -> Option<SocketAddr> {
        let first = *self.places.first()?;
        match next {
            0 => Some(first),
            _ => self.has_rtcp.then(|| self.rtcp.unwrap_or_else(|| above(first, next))),
        }
    }

    /// What must pass from an end that listens at a place.
    pub(crate) fn flows(&self, local: SocketAddr, outside: bool) -> Vec<Flow> {
        let arrives = (local, local);
        let udp = Flow { transport: Transport::Udp, from: local, to: local, outside, opens: false, arrives };
        let mut flows = Vec::new();
        let near = [local].into_iter().chain(self.more);
        for from in near.filter(|place| gate::PORTS.contains(&place.port())) {
            for to in &self.places {
                for next in 0..=u16::from(self.has_rtcp) {
                    let usual = self.receives(next).filter(|_| self.places.first() == Some(to));
                    let (from, to) = (above(from, next), usual.unwrap_or_else(|| above(*to, next)));
                    flows.push(Flow { from, to, arrives: (from, to), ..udp });
                }
            }
        }
        if let Some(waits) = self.chat {
            let opener = SocketAddr::new(local.ip(), OPENER);
            let (transport, arrives) = (Transport::Tcp, (opener, waits));
            let opens = Flow { transport, from: opener, to: waits, opens: true, arrives, ..udp };
            let arrives = (waits, opener);
            let back = Flow { from: waits, to: opener, outside: !outside, opens: false, arrives, ..opens };
            flows.extend([opens, back]);
        }
        flows
    }
}

/// Where the other end waits, if we are the one to connect: RFC 4145 §4.1.
fn chat(sdp: &str, remote: &Remote, shape: &Shape) -> Option<SocketAddr> {
    let ours = shape.chat?;
    let (_, section) = sdp.split_once("m=message ")?;
    let port: u16 = section.split(' ').next()?.parse().ok().filter(|port| *port != 0)?;
    let setup = section.lines().find_map(|line| line.strip_prefix("a=setup:"))?;
    let we_open = setup == "passive" || setup == "actpass" && ours.opens;
    let host = remote.rtp?.ip();
    we_open.then(|| SocketAddr::new(host, port))
}
