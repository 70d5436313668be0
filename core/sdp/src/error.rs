//! What can be wrong with a description: text that is not SDP, and SDP that names media no pinhole may lead to.

use std::fmt;
use std::net::IpAddr;

use thiserror::Error;

use crate::Media;

/// The bytes are not a description (RFC 8866 §9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("SDP line {line}: {what}")]
pub struct Error {
    /// The line, counted from 1.
    pub line: u32,
    /// What is wrong with it.
    pub what: What,
}

/// What is wrong with a line. Each variant is its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each variant is its message")]
pub enum What {
    #[error("the description is too long")]
    TooLong,
    #[error("too many lines")]
    TooManyLines,
    #[error("too many m-lines")]
    TooManyStreams,
    #[error("the description is empty")]
    Empty,
    #[error("not of the form type=value")]
    NotALine,
    #[error("unknown type letter")]
    UnknownType,
    #[error("NUL or a carriage return inside the line")]
    ControlCharacter,
    #[error("the description must begin with v=0")]
    NoVersion,
    #[error("exactly one o= line must follow v=")]
    Origin,
    #[error("malformed o= line")]
    MalformedOrigin,
    #[error("malformed m= line")]
    MalformedMedia,
}

/// Media that must not be let through, or of which we cannot tell where it would go. The text is read by users.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// Position of the m-line, from 0; `None` where the description as a whole is meant.
    pub stream: Option<(u16, Media)>,
    /// The reason.
    pub why: Why,
}

/// Why media is refused. Each variant is its message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[allow(missing_docs, reason = "each variant is its message")]
pub enum Why {
    // It cannot be read as a flow.
    #[error("no connection address")]
    NoConnection,
    #[error("malformed connection address")]
    MalformedConnection,
    #[error("more than one connection address")]
    SeveralConnections,
    #[error("the connection address is a name, which is not resolved")]
    NameAsAddress,
    #[error("malformed or repeated rtcp attribute")]
    MalformedRtcp,
    #[error("the ports of the m-line do not exist")]
    ImpossiblePorts,
    #[error("too many port pairs in one m-line")]
    TooManyPortPairs,
    #[error("unknown transport protocol")]
    UnknownProtocol,
    #[error("too many ICE candidates")]
    TooManyCandidates,
    // It may not be opened.
    #[error("{0} is outside the media networks")]
    OutsideNetworks(IpAddr),
    #[error("{0} is an address of this host")]
    OwnAddress(IpAddr),
    #[error("{0} is a loopback address")]
    Loopback(IpAddr),
    #[error("{0} is a multicast address")]
    Multicast(IpAddr),
    #[error("{0} is a broadcast address")]
    Broadcast(IpAddr),
    #[error("{0} is a link-local address")]
    LinkLocal(IpAddr),
    #[error("{0} is no unicast address")]
    NotUnicast(IpAddr),
    #[error("port {0} is below 1024")]
    PrivilegedPort(u16),
    #[error("port {0} is outside the media ports")]
    OutsidePorts(u16),
    #[error("{0} is behind a NAT of the phone's own, which no pinhole leads through")]
    BehindNat(IpAddr),
    #[error("too many media streams")]
    TooManyStreams,
    #[error("no media network of the other side has this IP version")]
    NoPeerNetwork,
    #[error("the two sides use different IP versions")]
    DifferentVersions,
    #[error("the answer has not as many streams as the offer")]
    DifferentStreams,
}

/// `stream 2 (video): 10.0.0.9 is outside the media networks`. Streams are counted from 1, as people count.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stream {
            Some((stream, media)) => write!(f, "stream {} ({media}): {}", u32::from(stream) + 1, self.why),
            None => write!(f, "{}", self.why),
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    /// A refusal of one m-line.
    pub(crate) fn of(stream: u16, media: Media, why: Why) -> Self {
        Self { stream: Some((stream, media)), why }
    }
}
