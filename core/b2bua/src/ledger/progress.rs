//! What a step, a reply or an event means for the call.

use midcom::Failure;

use super::rule::Dialogs;

/// Whether a message with a description may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// At once: every rule it needs is confirmed.
    Ready,
    /// Only after [`Progress::Ready`].
    Wait,
}

/// What a reply meant for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum Progress {
    /// Nothing the call waits for: more replies are missing, or it was work in the background.
    Pending,
    /// The last rule of the step is confirmed: the held message may go on.
    Ready,
    /// The step failed for this m-line. Its new rules are being closed; call [`super::Ledger::abandoned`] or [`super::Ledger::close`].
    Failed(Failure, u16),
    /// The reply to a request whose hold had ended; a rule it made is being closed.
    Stale,
    /// A wide rule could not be narrowed for a technical reason and stays: worth counting, nothing else.
    StaysWide(Failure, u16),
    /// A rule the call needs is gone or forbidden.
    Lost(Loss),
    /// The last rule of a closed ledger is gone.
    Closed,
}

/// A rule that a call needs and no longer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// The m-line.
    pub stream: u16,
    /// True if the call ends with it ([`super::Terms::crucial`]).
    pub crucial: bool,
    /// Why it could not be had again; `None` if the middlebox ended it (ARE).
    pub failure: Option<Failure>,
    /// The early dialogs that needed it, where that is not the whole call.
    pub dialogs: Option<Dialogs>,
}

/// What a rule event (ARE) meant for the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub enum EventEffect {
    /// Not a rule of this call, or one that is closing, or one that can be had again.
    Ignored,
    /// A new deadline; the rule is being extended.
    Extended,
    /// The rule is gone. If it is not crucial, the m-line's other rules are being closed.
    Lost(Loss),
}
