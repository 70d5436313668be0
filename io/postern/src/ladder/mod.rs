//! A call as a ladder: SIP on the left and right, the middlebox between, drawn as in the figures of the draft
//! "Firewall control for SIP": `--->` SIP, `+++>` MIDCOM, `===>` media, `=-=-` early media.
//!
//! [`history`] remembers what happened in a few bytes per fact, [`story`] makes rows of it, [`draw`] prints rows, all
//! at once or one by one as they happen, and [`svg`] makes a picture of them.

pub(crate) mod draw;
pub(crate) mod history;
pub(crate) mod story;
pub(crate) mod svg;

use serde::{Deserialize, Serialize};

/// A vertical line of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Lane {
    /// The phone that called.
    Caller,
    /// Our agent half.
    Agent,
    /// The middlebox.
    Middlebox,
    /// The phone that was called.
    Callee,
}

/// What an arrow stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Style {
    /// SIP control traffic.
    Sip,
    /// MIDCOM control traffic.
    Midcom,
    /// Media before the answer.
    EarlyMedia,
    /// Media.
    Media,
}

/// One line of a ladder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Row {
    /// Milliseconds since the call began.
    pub at_ms: u64,
    /// The arrow; a row without one is a remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arrow: Option<Arrow>,
    /// What stands on the arrow; empty for a remark.
    pub text: String,
    /// What stands beside it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// From where to where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Arrow {
    /// Where it begins.
    pub from: Lane,
    /// Where its head is.
    pub to: Lane,
    /// A head at both ends.
    #[serde(default)]
    pub both: bool,
    /// What it stands for.
    pub style: Style,
}

impl Arrow {
    /// An arrow with one head.
    pub(crate) fn new(from: Lane, to: Lane, style: Style) -> Self {
        Self { from, to, both: false, style }
    }
}
