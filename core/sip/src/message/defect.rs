//! What can be wrong with a message, and what to answer.

use thiserror::Error;

use super::{Message, Name};

/// What is wrong with a message or a header field. The text is fit to be the reason phrase of the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Error)]
#[allow(missing_docs, reason = "each variant is its text")]
pub enum Defect {
    /// Nothing but line ends: a keep-alive (RFC 5626 §3.5.1), to be ignored.
    #[error("Empty Message")]
    Empty,
    #[error("Incomplete Header Section")]
    Incomplete,
    #[error("Malformed Start Line")]
    StartLine,
    #[error("Version Not Supported")]
    Version,
    #[error("Malformed Request-URI")]
    RequestUri,
    #[error("Malformed URI")]
    Uri,
    #[error("Malformed Status Code")]
    StatusCode,
    #[error("Bare CR or LF in Header Section")]
    BareLineBreak,
    #[error("Malformed Header Line")]
    HeaderLine,
    #[error("Missing {0} Header")]
    Missing(Name),
    #[error("Duplicate {0} Header")]
    Duplicate(Name),
    #[error("Malformed {0} Header")]
    Malformed(Name),
    #[error("CSeq Method Differs from Request Method")]
    CSeqMethod,
    #[error("Body Shorter than Content-Length")]
    BodyTruncated,
    // Limits: see `limits`.
    #[error("Request-URI Too Long")]
    RequestUriTooLong,
    #[error("Header Line Too Long")]
    LineTooLong,
    #[error("Too Many Header Lines")]
    TooManyLines,
    #[error("Header Section Too Long")]
    HeadTooLong,
    #[error("Message Too Large")]
    MessageTooLong,
}

impl Defect {
    /// The status code of the answer to a request with this defect.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            //= RFC 3261 §21.4.12: a Request-URI longer than we are willing to read.
            Self::RequestUriTooLong => 414,
            //= RFC 3261 §21.5.6: a protocol version we do not speak.
            Self::Version => 505,
            //= RFC 3261 §21.5.7: longer than we can process.
            Self::LineTooLong | Self::TooManyLines | Self::HeadTooLong | Self::MessageTooLong => 513,
            //= RFC 3261 §21.4.1: the phrase says what was wrong.
            Self::Empty
            | Self::Incomplete
            | Self::StartLine
            | Self::RequestUri
            | Self::Uri
            | Self::StatusCode
            | Self::BareLineBreak
            | Self::HeaderLine
            | Self::Missing(_)
            | Self::Duplicate(_)
            | Self::Malformed(_)
            | Self::CSeqMethod
            | Self::BodyTruncated => 400,
        }
    }
}

/// Why bytes are no message we accept.
#[derive(Debug, Clone, Error)]
#[error("{what}")]
pub struct ParseError {
    /// What is wrong; its text is the reason phrase, [`Defect::status`] the status code.
    pub what: Defect,
    /// The request as far as it could be read, if it can be answered: it has a Via line, which may be what is broken
    /// (then the answer can only go to where the request came from). [`super::Builder::response_to`] copies of the
    /// other fields what there is. Never an ACK, never a response.
    pub partial: Option<Box<Message>>,
}

impl ParseError {
    /// The status code of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.what.status()
    }
}
