//! What the other side's SDP says.

use std::net::SocketAddr;

use bytes::Bytes;
use sdp::{Direction, Protocol, Session};
use sip::message::Message;

/// What the other side's SDP says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// All of it.
    pub sdp: Bytes,
    /// Where it wants RTP of the first stream over UDP in use; `None` if there is none or it cannot be read.
    pub rtp: Option<SocketAddr>,
    /// Where it wants RTCP, if that has a port of its own.
    pub rtcp: Option<SocketAddr>,
    /// Who may send, seen from the other side.
    pub direction: Direction,
}

impl Remote {
    /// The SDP in a message, if its body is not empty.
    pub(crate) fn of(message: &Message) -> Option<Self> {
        let body = message.body();
        if body.is_empty() {
            return None;
        }
        let flows = Session::parse(body).ok().and_then(|session| sdp::flows(&session).ok());
        let flow = flows.and_then(|flows| flows.iter().find(|flow| flow.protocol == Protocol::Udp).copied());
        Some(Self {
            sdp: Bytes::copy_from_slice(body),
            rtp: flow.map(|flow| flow.destination()),
            rtcp: flow.and_then(|flow| flow.rtcp).map(|rtcp| SocketAddr::new(rtcp.address, rtcp.port)),
            direction: flow.map_or(Direction::Inactive, |flow| flow.direction),
        })
    }
}
