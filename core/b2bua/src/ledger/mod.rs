//! The pinhole ledger of one call: the only place that knows which rules belong to which call, offer and m-line.
//!
//! Normative: `docs/calls.md` (§1 the rules above all rules, §2 tuples and directions) and `docs/pinholes.md`.
//! It is fed with descriptions as they pass and with what middleboxes answer, and says what to ask them and when a
//! held message may go on. It knows no SIP.
//!
//! ```text
//! offered ──Wait──► replied → Ready     the offer goes on
//! preview ──Wait──► replied → Ready     an unreliable 18x with SDP goes on
//! answered ─Wait──► replied → Ready     the answer goes on
//! completed          the answer has left: what is no longer needed closes, wide rules are narrowed
//! abandoned          the exchange failed: its new rules close, the old stay
//! close              the call is over
//! ```
//!
//! Groups: requests never wait for one another. Those sent before a middlebox's first reply carry no group, so each
//! makes its own; all later ones join the group of that first reply. If that group has ended meanwhile, the
//! request is sent once more without.

mod terms;

use machine::{Instant, Outbox};
use midcom::{Failure, Lifetime, MiddleboxId, Prid, Reply, RequestId};
use sdp::{Refusal, Session};

use crate::side::Side;

pub use terms::{Crossing, LedgerRequest, MediaPath, Realm, RequestIds, SourcePolicy, Terms};

/// Where requests go.
type Out<'o> = &'o mut Outbox<LedgerRequest>;

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
    /// The step failed for this m-line. Its new rules are being closed; call [`Ledger::abandoned`] or [`Ledger::close`].
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
    /// True if the call ends with it: the first audio m-line; any m-line where there is no audio.
    pub crucial: bool,
    /// Why it could not be had again; `None` if the middlebox ended it (ARE).
    pub failure: Option<Failure>,
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

/// The rules of one call.
#[derive(Debug)]
pub struct Ledger {
    terms: Terms,
}

#[allow(
    clippy::unused_self,
    unused_variables,
    clippy::missing_const_for_fn,
    reason = "filled in by the next commits"
)]
impl Ledger {
    /// A ledger without rules.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        Self { terms }
    }

    /// `by` offers. Opens what lets media travel to `by`, from anywhere in the other realm, since the peer's address
    /// is not known yet. Call it before the offer travels on.
    ///
    /// # Errors
    /// The description names media that must not be let through: answer 488; nothing has been asked.
    pub fn offered(
        &mut self,
        now: Instant,
        by: Side,
        offer: &Session<'_>,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Result<Step, Refusal> {
        Ok(Step::Ready)
    }

    /// `by` answers the open offer. Opens what lets media travel to `by`, and whatever the offerer still lacks.
    ///
    /// # Errors
    /// As [`Ledger::offered`].
    pub fn answered(
        &mut self,
        now: Instant,
        by: Side,
        answer: &Session<'_>,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Result<Step, Refusal> {
        Ok(Step::Ready)
    }

    /// `by` shows in an unreliable 18x what it will probably answer. As [`Ledger::answered`], but the exchange stays
    /// open, and what it opens stays until the next exchange even if the answer differs.
    ///
    /// # Errors
    /// As [`Ledger::offered`].
    pub fn preview(
        &mut self,
        now: Instant,
        by: Side,
        answer: &Session<'_>,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Result<Step, Refusal> {
        Ok(Step::Ready)
    }

    /// The answer has been sent on: its rules are the call's now, others are closed, wide ones narrowed.
    pub fn completed(&mut self, now: Instant, ids: &mut RequestIds, out: Out<'_>) {}

    /// The exchange came to nothing: its new rules are closed, those of the exchange before stay.
    pub fn abandoned(&mut self, now: Instant, ids: &mut RequestIds, out: Out<'_>) {}

    /// The call is over: every rule is closed, and those still being made will be as soon as they are confirmed.
    pub fn close(&mut self, now: Instant, ids: &mut RequestIds, out: Out<'_>) {}

    /// A middlebox answered, or will not.
    pub fn replied(
        &mut self,
        now: Instant,
        id: RequestId,
        result: Result<Reply, Failure>,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Progress {
        Progress::Pending
    }

    /// A middlebox says that a rule's lifetime changed (ARE).
    pub fn rule_event(
        &mut self,
        now: Instant,
        middlebox: MiddleboxId,
        prid: Prid,
        lifetime: Lifetime,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> EventEffect {
        EventEffect::Ignored
    }

    /// The session with a middlebox is gone. Rules live on.
    pub fn session_down(&mut self, now: Instant, middlebox: MiddleboxId) {}

    /// The session is back, and the middlebox has listed its rules: `known`, ascending. What is missing is made
    /// again; how that ends comes through [`Ledger::replied`].
    pub fn session_up(
        &mut self,
        now: Instant,
        middlebox: MiddleboxId,
        known: &[Prid],
        ids: &mut RequestIds,
        out: Out<'_>,
    ) {
    }

    /// Extends rules, repeats closes. Call it again as long as it tells of a loss.
    pub fn handle_timeout(&mut self, now: Instant, ids: &mut RequestIds, out: Out<'_>) -> Option<Loss> {
        None
    }

    /// When [`Ledger::handle_timeout`] is next worth calling, and why.
    #[must_use]
    pub fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }

    /// True when the call is over and no rule of it can be alive.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.terms.path.is_empty()
    }

    /// How many rules are or may be alive.
    #[must_use]
    pub fn open_rules(&self) -> usize {
        0
    }
}
