//! The phone's own SDP: audio as PCM, now and then video, written as text.

use std::fmt::Write;
use std::net::SocketAddr;

use sdp::precondition::{Table, Type};
use sdp::{Direction, Session};

use crate::shape::{HOST, Offered, Shape, Stream, TURNED_ON, group, keys};
use crate::{Extensions, Offer};

/// What we want to receive.
#[derive(Debug, Clone)]
pub(crate) struct Local {
    user: String,
    pub(crate) media: SocketAddr,
    direction: Direction,
    /// Of the `o=` line; counts up with each description that differs from the last.
    version: u64,
    /// Where video is taken.
    video: Option<u16>,
    shape: Shape,
    /// Fax is wanted instead of audio.
    is_fax: bool,
    /// The streams that the next description puts into one group, by name.
    group: Vec<String>,
    /// The m-lines of the last exchange, or of our offer.
    streams: Vec<Stream>,
    /// The last description that was sent, to be sent unchanged.
    last: String,
    /// The precondition of each stream in use, as the next description says it.
    pub(crate) condition: Option<(Type<'static>, Table)>,
    is_odd: bool,
}

impl Local {
    pub(crate) fn new(user: &str, media: SocketAddr, extensions: &Extensions, is_odd: bool) -> Self {
        Self {
            user: user.to_owned(),
            media,
            direction: Direction::SendRecv,
            version: 0,
            video: extensions.video,
            shape: extensions.shape,
            is_fax: false,
            group: Vec::new(),
            streams: Vec::new(),
            last: String::new(),
            condition: None,
            is_odd,
        }
    }

    /// Takes what the user wants; [`Local::offer`] then says it.
    pub(crate) fn set(&mut self, offer: &Offer) {
        (self.media, self.direction, self.video) = (offer.media, offer.direction, offer.video);
        self.is_fax = offer.fax;
    }

    /// Audio will be received at another port; the m-lines stay.
    pub(crate) fn move_to(&mut self, media: SocketAddr) {
        let before = std::mem::replace(&mut self.media, media).port();
        for stream in self.streams.iter_mut().filter(|stream| stream.port == before) {
            stream.port = media.port();
        }
    }

    //= RFC 3264 §8: m-lines stay where they are; what is removed has port 0, what is new stands last.
    pub(crate) fn offer(&mut self) -> String {
        let (port, direction, video, shape) = (self.media.port(), self.direction, self.video, self.shape);
        let (audio, fax) = if self.is_fax { (None, Some(port)) } else { (Some(port), None) };
        self.place("audio", audio, |port| Stream::audio(port, direction).offered(&shape));
        // Video is added by the user's wish only, not because it could be taken.
        if self.version > 0 {
            self.place("video", video, |port| Stream::video(port, direction).offered(&shape));
        }
        self.place("image", fax, Stream::fax);
        if let Some(chat) = shape.chat {
            self.place("message", Some(chat.port), |_| Stream::chat(chat, chat.offers));
        }
        let in_use = self.streams.iter().filter(|stream| stream.port != 0);
        self.group = in_use.filter_map(|stream| stream.mid.clone()).collect();
        self.text()
    }

    fn place(&mut self, media: &str, port: Option<u16>, new: impl Fn(u16) -> Stream) {
        let found = self.streams.iter_mut().find(|stream| stream.media == media);
        match (found, port) {
            (Some(stream), Some(port)) => *stream = new(port),
            (Some(stream), None) => stream.port = 0,
            (None, Some(port)) => self.streams.push(new(port)),
            (None, None) => {}
        }
    }

    //= RFC 3264 §6: one m-line for each of the offer; those we do not want have port 0.
    pub(crate) fn answer(&mut self, offer: &[u8]) -> String {
        let Ok(session) = Session::parse(offer) else { return self.offer() };
        let direction = answering(direction(&session));
        let (shape, port) = (self.shape, self.media.port());
        let (mut audio, mut video, mut chat) = (Some(port), self.video, shape.chat);
        let group = if shape.bundle { group(&session) } else { Vec::new() };
        let mut fax = Some(port).filter(|_| shape.fax);
        self.streams.clear();
        self.group.clear();
        for stream in 0..session.streams() {
            let Some(offered) = Offered::read(&session, stream) else { continue };
            let is_grouped = offered.mid.as_ref().is_some_and(|mid| group.contains(mid));
            let Offered { media, rest, .. } = &offered;
            let ours = match (media.as_str(), offered.port) {
                ("video" | "image", 0) if shape.turns_on => Some(Stream {
                    turned_on: true,
                    ..Stream::new(media, TURNED_ON, rest, Direction::SendRecv)
                }),
                (_, 0) => None,
                ("audio", _) => audio.take().map(|port| Stream::audio(port, direction)),
                //= RFC 9143 §7.3: what is grouped uses the ports of the first.
                ("video", _) => {
                    let first = Some(port).filter(|_| is_grouped && !self.group.is_empty());
                    video.take().map(|own| Stream::new(media, first.unwrap_or(own), rest, direction))
                }
                ("image", _) => fax.take().map(Stream::fax),
                ("message", _) => chat.take().map(|chat| Stream::chat(chat, offered.setup_of_answer(chat))),
                (_, _) => None,
            };
            let ours = ours.map(|stream| match stream.turned_on {
                true => stream,
                false => stream.answering(&shape, &offered),
            });
            if is_grouped && ours.is_some() {
                self.group.extend(offered.mid.clone());
            }
            self.streams.push(ours.unwrap_or_else(|| Stream::new(media, 0, rest, direction)));
        }
        let answer = self.text();
        self.turn_off();
        answer
    }

    /// Nobody speaks of it any more: a refresh that repeated it would be an offer of it.
    fn turn_off(&mut self) {
        for stream in self.streams.iter_mut().filter(|stream| stream.turned_on) {
            (stream.port, stream.turned_on) = (0, false);
        }
        self.text();
    }

    /// What was sent last, unchanged: for a refresh (RFC 4028 §7.4).
    pub(crate) fn repeat(&self) -> String {
        self.last.clone()
    }

    //= RFC 3264 §8: the version counts up with each change, and only then.
    fn text(&mut self) -> String {
        if self.version > 0 && self.last == self.write() {
            return self.last.clone();
        }
        self.version += 1;
        self.last = self.write();
        self.last.clone()
    }

    fn write(&self) -> String {
        let (ip, user, version) = (self.media.ip(), &self.user, self.version);
        let family = if ip.is_ipv4() { "IP4" } else { "IP6" };
        let mut text = format!("v=0\r\no={user} 1 {version} IN {family} {ip}\r\ns=-\r\nc=IN {family} ");
        let _written = match self.shape.names_host {
            true => write!(text, "{HOST}\r\nt=0 0\r\n"),
            false => write!(text, "{ip}\r\nt=0 0\r\n"),
        };
        if !self.group.is_empty() {
            let _written = write!(text, "a=group:BUNDLE {}\r\n", self.group.join(" "));
        }
        if self.is_odd {
            text.push_str("a=x-session:\u{1F4DE} what nobody knows\r\n");
        }
        for stream in &self.streams {
            // Writing into a String does not fail.
            let _written = stream.write(ip, &mut text);
            let is_rtp = stream.rest.starts_with("RTP");
            if stream.port != 0 && is_rtp {
                for line in self.condition.iter().flat_map(|(of, table)| table.lines(*of)) {
                    let _written = write!(text, "a={line}\r\n");
                }
            }
            if stream.port != 0 && is_rtp && self.shape.srtp {
                text.push_str(&keys(user));
            }
            if self.is_odd {
                text.push_str("a=ptime:20\r\na=x-what:ever\r\na=fmtp:0 \t odd = 1;;\r\n");
            }
        }
        text
    }

    /// Back to what was before an offer of ours was refused; its version is not used again.
    pub(crate) fn restore(&mut self, before: Self) {
        let version = self.version;
        *self = before;
        self.version = version;
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
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;
    use crate::By;

    const MEDIA: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 4000);

    fn local(video: Option<u16>) -> Local {
        shaped(video, Shape::default())
    }

    fn shaped(video: Option<u16>, shape: Shape) -> Local {
        Local::new("anna", MEDIA, &Extensions { video, shape, ..Extensions::default() }, false)
    }

    #[test]
    fn an_offer_is_read_back_as_it_was_meant() {
        for is_odd in [false, true] {
            let offer = Local::new("anna", MEDIA, &Extensions::default(), is_odd).offer();
            let session = Session::parse(offer.as_bytes()).unwrap();
            let flow = sdp::flows(&session).unwrap()[0];
            assert_eq!((flow.destination(), flow.is_pair()), (MEDIA, true));
        }
    }

    const OFFER: &str = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\nm=video 9000 RTP/AVP 96\r\n\
         a=sendonly\r\nm=audio 5000 RTP/AVP 0\r\n";

    #[test]
    fn an_answer_has_every_stream_of_the_offer_and_takes_the_first_audio() {
        let answer = local(None).answer(OFFER.as_bytes());
        let streams = "m=video 0 RTP/AVP 96\r\nm=audio 4000 RTP/AVP 0 8\r\na=recvonly\r\n";
        assert!(answer.ends_with(streams), "{answer}");
    }

    #[test]
    fn video_is_taken_by_who_can() {
        let answer = local(Some(4010)).answer(OFFER.as_bytes());
        assert!(answer.contains("m=video 4010 RTP/AVP 96\r\n"), "{answer}");
    }

    #[test]
    fn a_stream_is_added_at_the_end_and_removed_in_place() {
        let mut local = local(None);
        let ports = |text: &str| -> Vec<String> {
            text.lines()
                .filter(|line| line.starts_with("m=") || line.starts_with("o="))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(ports(&local.offer()), ["o=anna 1 1 IN IP4 192.0.2.7", "m=audio 4000 RTP/AVP 0 8"]);
        let mut wish = Offer {
            by: By::Invite,
            media: MEDIA,
            direction: Direction::SendRecv,
            video: Some(4010),
            fax: false,
        };
        local.set(&wish);
        let with = local.offer();
        assert_eq!(ports(&with)[1..], ["m=audio 4000 RTP/AVP 0 8", "m=video 4010 RTP/AVP 31"]);
        assert_eq!(local.repeat(), with);
        assert_eq!(local.offer(), with, "the version of an unchanged description must stay");
        wish.video = None;
        local.set(&wish);
        assert_eq!(
            ports(&local.offer()),
            ["o=anna 1 3 IN IP4 192.0.2.7", "m=audio 4000 RTP/AVP 0 8", "m=video 0 RTP/AVP 31"]
        );
    }
}
