//! Preconditions: the `curr`, `des` and `conf` attributes of RFC 3312 §4, as updated by RFC 4032.
//!
//! ```text
//!   a=curr:TYPE STATUS DIRECTIONS              how far it is
//!   a=des:TYPE STRENGTH STATUS DIRECTIONS      how far it must be before anyone is alerted
//!   a=conf:TYPE STATUS DIRECTIONS              tell me when it is that far
//! ```
//!
//! The lines of one m-line and one type are a [`Table`]; what an answer does to it is in `table.rs`, how descriptions
//! are written with other lines is in `patch.rs`.

mod patch;
mod table;

use std::fmt;

use crate::Session;
use crate::line::{Line, words};

pub use table::{Place, Row, Table};

/// What must be there before the callee is alerted (RFC 3312 §4, precondition-type).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type<'a> {
    /// `fw`: every firewall on the path lets the stream through (draft-kiesel-mmusic-firewall-sip-00 §5.2).
    Fw,
    /// `qos`: network resources are reserved (RFC 3312).
    Qos,
    /// Any other token, as it stands there.
    Other(&'a [u8]),
}

/// Whose part of the path (RFC 3312 §4, status-type), seen by the writer of the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StatusType {
    /// `e2e`: the whole path.
    E2e,
    /// `local`: the writer's access network.
    Local,
    /// `remote`: the reader's access network.
    Remote,
}

/// How much a precondition is wanted (RFC 3312 §5.1).
///
/// Ordered as §5.2 orders them; the last two stand only in refusals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Strength {
    /// `none`: supported, not asked for.
    None,
    /// `optional`: to be tried; the call goes on without.
    Optional,
    /// `mandatory`: no call without.
    Mandatory,
    /// `failure`: this one could not be met (§8).
    Failure,
    /// `unknown`: a type nobody here knows (§9).
    Unknown,
}

/// Which ways media may travel (RFC 3312 §4, direction-tag), seen by the writer of the description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Directions {
    /// From the writer.
    pub send: bool,
    /// To the writer.
    pub recv: bool,
}

/// One line, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Which of the three.
    pub kind: Kind,
    /// The precondition-type.
    pub of: Type<'a>,
    /// The status-type.
    pub status: StatusType,
    /// The direction-tag.
    pub directions: Directions,
}

/// Which of the three attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `a=curr`
    Current,
    /// `a=des`
    Desired(Strength),
    /// `a=conf`
    Confirm,
}

impl<'a> Type<'a> {
    fn from_word(word: &'a [u8]) -> Self {
        match word {
            word if word.eq_ignore_ascii_case(b"fw") => Self::Fw,
            word if word.eq_ignore_ascii_case(b"qos") => Self::Qos,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for Type<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fw => f.write_str("fw"),
            Self::Qos => f.write_str("qos"),
            Self::Other(word) => f.write_str(&String::from_utf8_lossy(word)),
        }
    }
}

impl StatusType {
    fn from_word(word: &[u8]) -> Option<Self> {
        let all = [Self::E2e, Self::Local, Self::Remote];
        all.into_iter().find(|status| word.eq_ignore_ascii_case(status.text().as_bytes()))
    }

    fn text(self) -> &'static str {
        match self {
            Self::E2e => "e2e",
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

impl Strength {
    fn from_word(word: &[u8]) -> Option<Self> {
        let all = [Self::None, Self::Optional, Self::Mandatory, Self::Failure, Self::Unknown];
        all.into_iter().find(|strength| word.eq_ignore_ascii_case(strength.text().as_bytes()))
    }

    fn text(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optional => "optional",
            Self::Mandatory => "mandatory",
            Self::Failure => "failure",
            Self::Unknown => "unknown",
        }
    }
}

impl Directions {
    /// Neither.
    pub const NONE: Self = Self { send: false, recv: false };
    /// From the writer.
    pub const SEND: Self = Self { send: true, recv: false };
    /// To the writer.
    pub const RECV: Self = Self { send: false, recv: true };
    /// Both.
    pub const SENDRECV: Self = Self { send: true, recv: true };

    fn from_word(word: &[u8]) -> Option<Self> {
        let all = [Self::NONE, Self::SEND, Self::RECV, Self::SENDRECV];
        all.into_iter().find(|directions| word.eq_ignore_ascii_case(directions.text().as_bytes()))
    }

    fn text(self) -> &'static str {
        match (self.send, self.recv) {
            (false, false) => "none",
            (true, false) => "send",
            (false, true) => "recv",
            (true, true) => "sendrecv",
        }
    }
}

impl<'a> Attribute<'a> {
    /// Reads a line; `None` for any other line, and for one that says none of the words of RFC 3312 §4.
    #[must_use]
    pub fn parse(line: Line<'a>) -> Option<Self> {
        let named = ["curr", "des", "conf"].into_iter().find_map(|name| Some((name, line.attribute(name)?)));
        let (name, value) = named?;
        let mut words = words(value);
        let of = Type::from_word(words.next()?);
        let kind = match name {
            "curr" => Kind::Current,
            "des" => Kind::Desired(Strength::from_word(words.next()?)?),
            _ => Kind::Confirm,
        };
        let status = StatusType::from_word(words.next()?)?;
        let directions = Directions::from_word(words.next()?)?;
        words.next().is_none().then_some(Self { kind, of, status, directions })
    }
}

/// `curr:fw e2e none`: the attribute as it stands behind `a=`.
impl fmt::Display for Attribute<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (status, directions) = (self.status.text(), self.directions.text());
        match self.kind {
            Kind::Current => write!(f, "curr:{} {status} {directions}", self.of),
            Kind::Desired(strength) => {
                write!(f, "des:{} {} {status} {directions}", self.of, strength.text())
            }
            Kind::Confirm => write!(f, "conf:{} {status} {directions}", self.of),
        }
    }
}

/// The attributes of one m-line in order; none for a stream that is turned off or does not exist.
pub fn attributes<'s>(session: &'s Session<'_>, stream: u16) -> impl Iterator<Item = Attribute<'s>> {
    //= RFC 3312 §8.1: the preconditions of a stream with port 0 do not count.
    let lines = session.is_in_use(stream).then(|| session.stream_lines(stream));
    lines.into_iter().flatten().filter_map(Attribute::parse)
}

/// False if a description surely has no precondition: a look at its bytes, for those who have not read it.
#[must_use]
pub fn may_be_used(description: &[u8]) -> bool {
    [&b"a=curr:"[..], b"a=des:"].iter().any(|name| memchr::memmem::find(description, name).is_some())
}

/// True if any m-line in use has a precondition.
#[must_use]
pub fn is_used(session: &Session<'_>) -> bool {
    (0..session.streams()).any(|stream| attributes(session, stream).next().is_some())
}
