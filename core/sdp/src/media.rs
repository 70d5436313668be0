//! A media flow: where one side wants to receive what.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// What an m-line carries (RFC 8866 §8.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Media {
    /// `audio`
    Audio,
    /// `video`
    Video,
    /// `text`
    Text,
    /// `application`
    Application,
    /// `message`
    Message,
    /// `image`, as T.38 fax has it.
    Image,
    /// Any other word.
    Other,
}

impl Media {
    /// The kind an m-line's first word names.
    #[must_use]
    pub fn from_word(word: &[u8]) -> Self {
        match word {
            b"audio" => Self::Audio,
            b"video" => Self::Video,
            b"text" => Self::Text,
            b"application" => Self::Application,
            b"message" => Self::Message,
            b"image" => Self::Image,
            _ => Self::Other,
        }
    }
}

impl fmt::Display for Media {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Audio => "audio",
            Self::Video => "video",
            Self::Text => "text",
            Self::Application => "application",
            Self::Message => "message",
            Self::Image => "image",
            Self::Other => "other media",
        })
    }
}

/// What carries the media.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// UDP: RTP and its profiles, UDPTL, DTLS/SCTP.
    Udp,
    /// TCP.
    Tcp,
}

/// Who may send, seen from the one who wrote the description (RFC 8866 §6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Both.
    SendRecv,
    /// The writer only sends.
    SendOnly,
    /// The writer only receives.
    RecvOnly,
    /// Nobody.
    Inactive,
}

impl Direction {
    /// The direction an attribute line's value names, if it is a direction attribute.
    pub(crate) fn from_attribute(value: &[u8]) -> Option<Self> {
        match value {
            b"sendrecv" => Some(Self::SendRecv),
            b"sendonly" => Some(Self::SendOnly),
            b"recvonly" => Some(Self::RecvOnly),
            b"inactive" => Some(Self::Inactive),
            _ => None,
        }
    }
}

impl Direction {
    /// True if the writer may send.
    #[must_use]
    pub fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// True if the writer wants to receive.
    #[must_use]
    pub fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        })
    }
}

/// Where RTCP is received when it has a port of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Rtcp {
    /// The address; that of the stream unless `a=rtcp` names another (RFC 3605 §2.1).
    pub address: IpAddr,
    /// The port.
    pub port: u16,
}

/// Who opens the connection of media over TCP, seen from the one who wrote the description (RFC 4145 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    /// No attribute, or media that are not over TCP.
    Unsaid,
    /// The writer opens it.
    Active,
    /// The other side opens it.
    Passive,
    /// Either: the other side chooses.
    Actpass,
    /// Nobody for the time being.
    Holdconn,
}

impl Setup {
    /// The value of a `setup` attribute.
    pub(crate) fn from_word(word: &[u8]) -> Option<Self> {
        match word {
            b"active" => Some(Self::Active),
            b"passive" => Some(Self::Passive),
            b"actpass" => Some(Self::Actpass),
            b"holdconn" => Some(Self::Holdconn),
            _ => None,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Unsaid => "",
            Self::Active => " active",
            Self::Passive => " passive",
            Self::Actpass => " actpass",
            Self::Holdconn => " holdconn",
        }
    }
}

/// What a flow is to ICE (RFC 8839).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Ice {
    /// The stream has no candidates.
    None,
    /// What `c=` and `m=` say of a stream with candidates: used only where the other side has none.
    Default,
    /// A candidate for RTP, or for whatever the m-line carries.
    Rtp,
    /// A candidate for RTCP.
    Rtcp,
}

impl Ice {
    /// True for a candidate.
    #[must_use]
    pub fn is_candidate(self) -> bool {
        matches!(self, Self::Rtp | Self::Rtcp)
    }

    fn text(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Default => " default",
            Self::Rtp => " candidate",
            Self::Rtcp => " candidate rtcp",
        }
    }
}

/// One m-line in use, one port pair or one ICE candidate of it: where the writer of the description receives.
///
/// An m-line with port 0 is not in use and has none. One whose address is unspecified (`0.0.0.0`, `::`) is *held*:
/// it has a flow, so that one can tell it from a stream that was turned off, but nothing is opened for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct MediaFlow {
    /// Position of the m-line, from 0.
    pub stream: u16,
    /// The m-line whose transport it uses: itself, or the tagged one of its group (RFC 8843).
    pub transport: u16,
    /// What it carries.
    pub media: Media,
    /// UDP or TCP.
    pub protocol: Protocol,
    /// Who may send.
    pub direction: Direction,
    /// Where media is received.
    pub address: IpAddr,
    /// The port for RTP, or for whatever the m-line carries.
    pub rtp: u16,
    /// Where RTCP is received; `None` where it shares the port or there is none.
    pub rtcp: Option<Rtcp>,
    /// `a=rtcp-mux` is present: the port of RTCP falls away if the other side says it too (RFC 5761 §5.1.1).
    pub rtcp_mux: bool,
    /// Who opens the connection, over TCP.
    pub setup: Setup,
    /// Over TCP: `a=connection:existing`, the writer wants to go on with the connection there is (RFC 4145 §5).
    pub existing: bool,
    /// What it is to ICE.
    pub ice: Ice,
}

impl MediaFlow {
    /// True for a stream put on hold the old way, by an unspecified address (RFC 3264 §8.4, RFC 6337 §5.3).
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.address.is_unspecified()
    }

    /// Where media is received.
    #[must_use]
    pub fn destination(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.rtp)
    }

    /// The stream without the port for media: RTCP alone. `None` where RTCP has no port of its own.
    #[must_use]
    pub fn rtcp_alone(&self) -> Option<Self> {
        self.rtcp.map(|Rtcp { address, port }| Self { address, rtp: port, rtcp: None, ..*self })
    }

    /// True if RTP and RTCP are an even port and the next, so that one rule of range 2 covers both.
    #[must_use]
    pub fn is_pair(&self) -> bool {
        let next = Some(Rtcp { address: self.address, port: self.rtp.saturating_add(1) });
        self.rtp.is_multiple_of(2) && self.rtcp == next
    }
}

/// `stream 1 audio 10.0.0.7:4000 rtcp 4001 sendrecv`, as `call ID` prints it.
impl fmt::Display for MediaFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stream {} {} ", u32::from(self.stream) + 1, self.media)?;
        if self.protocol == Protocol::Tcp {
            f.write_str("tcp ")?;
        }
        match self.is_held() {
            true => f.write_str("held")?,
            false => write!(f, "{}", self.destination())?,
        }
        match self.rtcp {
            Some(rtcp) if rtcp.address == self.address => write!(f, " rtcp {}", rtcp.port)?,
            Some(rtcp) => write!(f, " rtcp {}", SocketAddr::new(rtcp.address, rtcp.port))?,
            None => {}
        }
        write!(f, "{} {}", if self.rtcp_mux { " mux" } else { "" }, self.direction)?;
        f.write_str(self.setup.text())?;
        f.write_str(if self.existing { " existing" } else { "" })?;
        f.write_str(self.ice.text())?;
        if self.transport != self.stream {
            write!(f, " within stream {}", u32::from(self.transport) + 1)?;
        }
        Ok(())
    }
}
