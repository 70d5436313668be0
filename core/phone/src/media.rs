//! The phone's SDP: one audio stream, PCM, written as text.

use std::fmt::Write;
use std::net::SocketAddr;

use bytes::Bytes;
use sdp::{Direction, Session};
use sip::message::Message;

/// What the other side's SDP says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// All of it.
    pub sdp: Bytes,
    /// Where it wants RTP of the first stream in use; `None` if there is none or it cannot be read.
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
        let flow = flows.and_then(|flows| flows.first().copied());
        Some(Self {
            sdp: Bytes::copy_from_slice(body),
            rtp: flow.map(|flow| flow.destination()),
            rtcp: flow.and_then(|flow| flow.rtcp).map(|rtcp| SocketAddr::new(rtcp.address, rtcp.port)),
            direction: flow.map_or(Direction::Inactive, |flow| flow.direction),
        })
    }
}

/// What we want to receive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Local {
    pub(crate) media: SocketAddr,
    pub(crate) direction: Direction,
    /// Of the `o=` line; counts up with each description.
    pub(crate) version: u64,
}

impl Local {
    pub(crate) fn offer(&self, user: &str) -> String {
        let mut text = self.head(user);
        self.stream(&mut text, self.direction);
        text
    }

    //= RFC 3264 §6: one m-line for each of the offer; those we do not want have port 0.
    pub(crate) fn answer(&self, user: &str, offer: &[u8]) -> String {
        let mut text = self.head(user);
        let Ok(session) = Session::parse(offer) else { return self.offer(user) };
        let mut has_audio = false;
        for stream in 0..session.streams() {
            let Some(line) = session.stream_lines(stream).next() else { continue };
            let value = String::from_utf8_lossy(line.value);
            let mut words = value.splitn(3, ' ');
            let (media, port) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            if media == "audio" && port != "0" && !has_audio {
                has_audio = true;
                self.stream(&mut text, answering(direction(&session)));
            } else {
                let rest = words.next().unwrap_or("RTP/AVP 0");
                // Writing into a String does not fail.
                let _written = write!(text, "m={media} 0 {rest}\r\n");
            }
        }
        text
    }

    fn head(&self, user: &str) -> String {
        let ip = self.media.ip();
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let version = self.version;
        format!("v=0\r\no={user} 1 {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} {ip}\r\nt=0 0\r\n")
    }

    fn stream(&self, text: &mut String, direction: Direction) {
        let port = self.media.port();
        // Writing into a String does not fail.
        let _written = write!(text, "m=audio {port} RTP/AVP 0 8\r\na={direction}\r\n");
    }
}

fn direction(offer: &Session<'_>) -> Direction {
    let flows = sdp::flows(offer).ok();
    flows.and_then(|flows| flows.first().map(|flow| flow.direction)).unwrap_or(Direction::SendRecv)
}

//= RFC 3264 §6.1: sendonly is answered with recvonly and the other way round.
fn answering(offered: Direction) -> Direction {
    match offered {
        Direction::SendRecv => Direction::SendRecv,
        Direction::SendOnly => Direction::RecvOnly,
        Direction::RecvOnly => Direction::SendOnly,
        Direction::Inactive => Direction::Inactive,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: Local = Local {
        media: SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 7)), 4000),
        direction: Direction::SendRecv,
        version: 3,
    };

    #[test]
    fn an_offer_is_read_back_as_it_was_meant() {
        let offer = LOCAL.offer("anna");
        let session = Session::parse(offer.as_bytes()).unwrap();
        let flow = sdp::flows(&session).unwrap()[0];
        assert_eq!((flow.destination(), flow.is_pair()), (LOCAL.media, true));
    }

    #[test]
    fn an_answer_has_every_stream_of_the_offer_and_takes_the_first_audio() {
        let offer = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=video 9000 RTP/AVP 96\r\n\
                     a=sendonly\r\nm=audio 5000 RTP/AVP 0\r\n";
        let answer = LOCAL.answer("anna", offer.as_bytes());
        assert!(
            answer.ends_with("m=video 0 RTP/AVP 96\r\nm=audio 4000 RTP/AVP 0 8\r\na=recvonly\r\n"),
            "{answer}"
        );
    }
}
