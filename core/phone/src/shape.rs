//! What a phone's descriptions look like beyond plain audio and video, and the m-lines written so.

use std::fmt::{self, Write};
use std::net::{IpAddr, SocketAddr};

use sdp::{Direction, Session};

/// What a phone speaks beyond plain audio and video. By default nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shape {
    /// ICE for audio (RFC 8839): where it wants RTP too, besides [`crate::Config::media`]. It checks nothing and chooses
    /// nothing: whoever carries its media tries the pairs.
    pub ice: Option<SocketAddr>,
    /// BUNDLE of audio and video (RFC 9143), and with it RTCP on RTP's port (RFC 5761).
    pub bundle: bool,
    /// A chat over TCP beside audio (RFC 4975).
    pub chat: Option<Chat>,
    /// Takes fax (T.38) instead of audio when that is offered, at the port of audio.
    pub fax: bool,
    /// Keys for SRTP beside each stream over RTP, taken by who can (RFC 4568, RFC 5763): lines that say no place.
    pub srtp: bool,
    /// Names a host instead of an address in `c=` (RFC 8866 §5.7): [`HOST`].
    pub names_host: bool,
    /// Wrong: its answers name a port where the offer has port 0 (RFC 3264 §6), for video and fax: [`TURNED_ON`]. It hears nothing there.
    pub turns_on: bool,
}

/// The host that a phone names in `c=`.
pub const HOST: &str = "phone.example";
/// The port of a stream that an answer turns on; [`MARK`] stands below it.
pub const TURNED_ON: u16 = 20_150;
/// Marks a stream that an answer turns on.
pub const MARK: &str = "a=x-turned-on";

/// What a user's keys look like in SDP.
#[must_use]
pub fn keys(user: &str) -> String {
    // 30 octets of key and salt in base64, as RFC 4568 §6.2 wants them.
    format!(
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:{user:A<40}\r\na=fingerprint:sha-256 {user:0<8}:4A:AD:B9\r\n"
    )
}

/// How a chat over TCP is set up: RFC 4145.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chat {
    /// Where it waits, if it waits.
    pub port: u16,
    /// As offerer.
    pub offers: Setup,
    /// Opens the connection when an offer leaves that to it.
    pub opens: bool,
}

/// Who opens the connection, in the words of RFC 4145 §4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setup {
    /// The writer.
    Active,
    /// The reader.
    Passive,
    /// Whoever the reader says.
    ActPass,
}

/// Where nothing is received: the port of who opens a connection (RFC 4145 §4.1).
const DISCARD: u16 = 9;

impl Setup {
    fn word(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
        }
    }

    /// The port of an m-line that says this.
    fn port(self, port: u16) -> u16 {
        if self == Self::Active { DISCARD } else { port }
    }
}

/// An m-line.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    pub(crate) media: String,
    pub(crate) port: u16,
    /// Transport and formats.
    pub(crate) rest: String,
    pub(crate) direction: Direction,
    /// Its name in a group.
    pub(crate) mid: Option<String>,
    pub(crate) mux: bool,
    /// The other place of ICE, and whether RTCP has candidates: until mux is agreed on.
    pub(crate) ice: Option<(SocketAddr, bool)>,
    pub(crate) setup: Option<Setup>,
    /// An answer turns on what the offer had turned off.
    pub(crate) turned_on: bool,
}

impl Stream {
    pub(crate) fn new(media: &str, port: u16, rest: &str, direction: Direction) -> Self {
        let (media, rest) = (media.to_owned(), rest.to_owned());
        Self { media, port, rest, direction, mid: None, mux: false, ice: None, setup: None, turned_on: false }
    }

    pub(crate) fn audio(port: u16, direction: Direction) -> Self {
        Self::new("audio", port, "RTP/AVP 0 8", direction)
    }

    pub(crate) fn video(port: u16, direction: Direction) -> Self {
        Self::new("video", port, "RTP/AVP 31", direction)
    }

    pub(crate) fn fax(port: u16) -> Self {
        Self::new("image", port, "udptl t38", Direction::SendRecv)
    }

    pub(crate) fn chat(chat: Chat, setup: Setup) -> Self {
        let stream = Self::new("message", setup.port(chat.port), "TCP/MSRP *", Direction::SendRecv);
        Self { setup: Some(setup), ..stream }
    }

    /// As a phone of this shape offers it.
    pub(crate) fn offered(self, shape: &Shape) -> Self {
        let mid = shape.bundle.then(|| self.media.clone());
        let ice = shape.ice.filter(|_| self.media == "audio").map(|place| (place, true));
        Self { mid, mux: shape.bundle, ice, ..self }
    }

    /// As a phone of this shape answers the m-line that is `offered`.
    pub(crate) fn answering(self, shape: &Shape, offered: &Offered) -> Self {
        let mid = offered.mid.clone().filter(|_| shape.bundle);
        let mux = shape.bundle && offered.mux;
        let ice = shape.ice.filter(|_| self.media == "audio" && offered.has_ice).map(|place| (place, !mux));
        Self { mid, mux, ice, ..self }
    }

    /// The m-line and what belongs to it, if it is in use, but for what the whole description says of all.
    pub(crate) fn write(&self, ip: IpAddr, text: &mut String) -> fmt::Result {
        let Self { media, port, rest, direction, mid, mux, ice, setup, turned_on } = self;
        write!(text, "m={media} {port} {rest}\r\n")?;
        if *port == 0 {
            return Ok(());
        }
        write!(text, "a={direction}\r\n")?;
        if let Some(mid) = mid {
            write!(text, "a=mid:{mid}\r\n")?;
        }
        if *turned_on {
            write!(text, "{MARK}\r\n")?;
        }
        if *mux {
            text.push_str("a=rtcp-mux\r\n");
        }
        if let Some(setup) = setup {
            write!(text, "a=setup:{}\r\na=connection:new\r\n", setup.word())?;
            write!(text, "a=accept-types:text/plain\r\na=path:msrp://{ip}:{port}/chat;tcp\r\n")?;
        }
        match ice {
            Some((more, rtcp)) => write_candidates([SocketAddr::new(ip, *port), *more], *rtcp, text),
            None => Ok(()),
        }
    }
}

//= RFC 8839 §5.1: component 1 is RTP, 2 is RTCP; what cannot be used by a reader is skipped by him.
fn write_candidates(places: [SocketAddr; 2], rtcp: bool, text: &mut String) -> fmt::Result {
    text.push_str("a=ice-ufrag:8hhY\r\na=ice-pwd:asd88fgpdd777uzjYhagZg\r\n");
    for (at, place) in places.into_iter().enumerate() {
        for component in 1..=if rtcp { 2 } else { 1 } {
            let (ip, port) = (place.ip(), place.port() + component - 1);
            let (foundation, priority) = (at + 1, 2_130_706_431 - 1_000 * at - usize::from(component));
            write!(text, "a=candidate:{foundation} {component} UDP {priority} {ip} {port} typ host\r\n")?;
        }
    }
    let ip = places[0].ip();
    text.push_str("a=candidate:8 1 UDP 1000 9b36eaac-bb2e-49bb-bb78-21c41c499900.local 50000 typ host\r\n");
    write!(text, "a=candidate:9 1 TCP 900 {ip} {DISCARD} typ host tcptype active\r\n")
}

/// What an offer says of one m-line that matters to the answer.
#[derive(Debug, Clone)]
pub(crate) struct Offered {
    pub(crate) media: String,
    pub(crate) port: u16,
    pub(crate) rest: String,
    pub(crate) mid: Option<String>,
    pub(crate) mux: bool,
    pub(crate) has_ice: bool,
    pub(crate) setup: Option<Setup>,
}

impl Offered {
    pub(crate) fn read(session: &Session<'_>, stream: u16) -> Option<Self> {
        let mut lines = session.stream_lines(stream);
        let value = String::from_utf8_lossy(lines.next()?.value).into_owned();
        let mut words = value.splitn(3, ' ');
        let (media, port) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let mut offered = Self {
            media: media.to_owned(),
            port: port.parse().unwrap_or(0),
            rest: words.next().unwrap_or("RTP/AVP 0").to_owned(),
            mid: None,
            mux: false,
            has_ice: false,
            setup: None,
        };
        for line in lines.filter(|line| line.kind == b'a') {
            let value = String::from_utf8_lossy(line.value);
            match value.split_once(':').unwrap_or((&value, "")) {
                ("mid", mid) => offered.mid = Some(mid.to_owned()),
                ("rtcp-mux", _) => offered.mux = true,
                ("candidate", _) => offered.has_ice = true,
                ("setup", "active") => offered.setup = Some(Setup::Active),
                ("setup", "passive") => offered.setup = Some(Setup::Passive),
                ("setup", _) => offered.setup = Some(Setup::ActPass),
                (_, _) => {}
            }
        }
        Some(offered)
    }

    //= RFC 4145 §4.1: the answer takes the other role; `actpass` leaves the choice to it.
    pub(crate) fn setup_of_answer(&self, chat: Chat) -> Setup {
        match self.setup {
            Some(Setup::Passive) => Setup::Active,
            Some(Setup::ActPass) if chat.opens => Setup::Active,
            Some(Setup::Active | Setup::ActPass) | None => Setup::Passive,
        }
    }
}

/// The streams that an offer groups: RFC 9143 §7.
pub(crate) fn group(session: &Session<'_>) -> Vec<String> {
    let mut lines = session.session_lines().filter(|line| line.kind == b'a');
    let group = lines.find_map(|line| line.value.strip_prefix(b"group:BUNDLE "));
    let group = String::from_utf8_lossy(group.unwrap_or_default()).into_owned();
    group.split(' ').filter(|mid| !mid.is_empty()).map(str::to_owned).collect()
}
