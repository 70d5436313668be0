//! What happened in a run, line by line, and a number that is equal for equal runs.

use std::fmt;

use machine::Instant;

/// A column of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Who calls.
    Caller,
    /// The agent half.
    Agent,
    /// All middlebox halves.
    Gate,
    /// Who is called: all phones of that side.
    Callee,
}

/// From whom to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// The sender.
    pub from: Lane,
    /// The receiver.
    pub to: Lane,
    /// It does not get there.
    pub is_lost: bool,
}

/// One thing that happened.
#[derive(Debug, Clone)]
pub struct Line {
    /// When.
    pub at: Instant,
    /// In which call of the plan; `None` for what concerns all.
    pub call: Option<u32>,
    /// For what is sent, as the agent sees it or as it gets lost.
    pub way: Option<Way>,
    /// What.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.call {
            Some(call) => write!(f, "{:>9} [{call}] {}", self.at.to_string(), self.text),
            None => write!(f, "{:>9} {}", self.at.to_string(), self.text),
        }
    }
}

/// The event log.
#[derive(Debug, Clone)]
pub struct Log {
    lines: Vec<Line>,
    hash: u64,
    /// False: nobody will read it, and nothing is written.
    is_kept: bool,
}

/// FNV-1a, 64 bits: small, and the same everywhere.
const BASIS: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// A number for these octets.
pub(crate) fn digest(octets: &[u8]) -> u64 {
    octets.iter().fold(BASIS, |hash, octet| (hash ^ u64::from(*octet)).wrapping_mul(PRIME))
}

impl Log {
    /// An empty log, which is kept, or which forgets everything at once.
    pub(crate) fn new(is_kept: bool) -> Self {
        Self { lines: Vec::new(), hash: BASIS, is_kept }
    }

    /// Adds a line.
    pub(crate) fn line(
        &mut self,
        at: Instant,
        call: Option<u32>,
        way: Option<Way>,
        text: fmt::Arguments<'_>,
    ) {
        if !self.is_kept {
            return;
        }
        let text = text.to_string();
        self.mix(&at.as_nanos().to_be_bytes());
        self.mix(text.as_bytes());
        self.lines.push(Line { at, call, way, text });
    }

    /// Adds octets that are not worth a line to the number.
    pub(crate) fn mix(&mut self, octets: &[u8]) {
        if !self.is_kept {
            return;
        }
        for octet in octets {
            self.hash = (self.hash ^ u64::from(*octet)).wrapping_mul(PRIME);
        }
    }

    /// The number: two runs that differ in anything have different ones.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// Everything that concerns a call, and what concerns all.
    pub fn of(&self, call: Option<u32>) -> impl Iterator<Item = &Line> {
        self.lines.iter().filter(move |line| call.is_none() || line.call.is_none() || line.call == call)
    }

    /// How many lines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.len()
    }

    /// True if nothing happened.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }
}
