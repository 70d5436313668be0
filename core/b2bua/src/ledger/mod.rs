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
//! Where there are several early dialogs each has such a course of its own.
//!
//! Groups: requests never wait for one another. Those sent before a middlebox's first reply carry no group, so each
//! makes its own; all later ones join the group of that first reply. If that group has ended meanwhile, the
//! request is sent once more without.

mod agree;
mod ask;
mod exchange;
mod forks;
mod losers;
mod nat;
mod pinhole;
mod plan;
mod progress;
mod replies;
mod reserve;
mod rule;
mod standby;
mod terms;
#[cfg(test)]
mod tests;
mod upkeep;
mod view;

use std::time::Duration;

use machine::{Instant, Outbox};
use midcom::{Failure, Gid, Lifetime, MiddleboxId, Prid, Reply, RequestId};
use sdp::{Flows, Media, MediaFlow, Refusal, Session};
use smallvec::SmallVec;

use self::exchange::Exchange;
use self::forks::Forks;
use self::rule::{Rule, State};
use crate::side::{Side, Sides};

pub use nat::{Disguise, Disguised};
pub use progress::{EventEffect, Loss, Progress, Step};
pub use rule::Dialogs;
pub use terms::{
    Crossing, Crucial, LedgerRequest, MediaPath, MediaTypes, Realm, RequestIds, SourcePolicy, Terms,
};
pub use view::{RuleInfo, RuleState};

/// Where requests go.
type Out<'o> = &'o mut Outbox<LedgerRequest>;

/// The rules of one call.
#[derive(Debug, Clone)]
pub struct Ledger {
    terms: Terms,
    /// Beside each middlebox of the path.
    sites: SmallVec<[Site; 1]>,
    /// The descriptions of the exchange that was completed last.
    agreed: Sides<Flows>,
    exchange: Option<Box<Exchange>>,
    /// Only while there are several early dialogs.
    forks: Option<Box<Forks>>,
    rules: Vec<Rule>,
    /// What places behind a NAT were seen as when they were described last: also when no rule says so any more. At most as
    /// many as a call may have rules.
    promised: Vec<(Side, Disguised)>,
    /// True until the reservations for the first answer have been asked for, if any are wanted.
    unreserved: bool,
    over: bool,
    /// No rule is extended beyond this.
    limit: Option<Instant>,
}

/// What is known of one middlebox on the path.
#[derive(Debug, Clone, Copy)]
struct Site {
    /// The group of the call's rules there.
    group: Option<Gid>,
    /// False while the session is gone.
    up: bool,
}

impl Ledger {
    /// A ledger without rules.
    #[must_use]
    pub fn new(terms: Terms) -> Self {
        let sites = terms.path.iter().map(|crossing| Site { group: None, up: crossing.up }).collect();
        let hides = |crossing: &Crossing| crossing.hides(Side::A) || crossing.hides(Side::B);
        let unreserved = terms.reserve || terms.path.iter().any(hides);
        let agreed = Sides::default();
        let (exchange, forks, rules, promised) = (None, None, Vec::new(), Vec::new());
        Self { terms, sites, agreed, exchange, forks, rules, promised, unreserved, over: false, limit: None }
    }

    /// `by` sends a request without an offer. Reserves for the callee's offer, if it is the call's first INVITE and
    /// reservations are wanted.
    ///
    /// # Errors
    /// More rules than a call may have.
    pub fn offerless(
        &mut self,
        now: Instant,
        by: Side,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Result<Step, Refusal> {
        match self.over {
            true => Ok(Step::Wait),
            false => self.on_no_offer(now, by, ids, out),
        }
    }

    /// `by` offers. Opens what lets media travel to `by`, from anywhere in the other realm, since the peer's address
    /// is not known yet; with the call's first offer reserves what the answer will need, if that is wanted. Call it
    /// before the offer travels on. On a closed ledger it waits for ever.
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
        match self.over {
            true => Ok(Step::Wait),
            false => self.on_offer(now, by, offer, ids, out),
        }
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
        match self.over {
            true => Ok(Step::Wait),
            false => self.on_answer(now, by, answer, Dialogs::default(), ids, out),
        }
    }

    /// `by` shows in an unreliable 18x what it will probably answer. As [`Ledger::answered`], but the exchange stays
    /// open, and what it opens stays until the next exchange even if the answer differs. `dialog` numbers the early dialog.
    ///
    /// # Errors
    /// As [`Ledger::offered`].
    pub fn preview(
        &mut self,
        now: Instant,
        (by, dialog): (Side, usize),
        answer: &Session<'_>,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Result<Step, Refusal> {
        match self.over {
            true => Ok(Step::Wait),
            false => self.on_answer(now, by, answer, Dialogs::one(dialog), ids, out),
        }
    }

    /// What this early dialog has shown is of no use any more: it shows something else, and what only that needed goes with
    /// the exchange.
    pub fn shows_other(&mut self, dialog: usize) {
        for rule in &mut self.rules {
            rule.marks.preview = rule.marks.preview.without(Dialogs::one(dialog));
        }
    }

    /// Whether media passes in this early dialog as far as its descriptions go, or what it needs is still being made.
    pub fn passes(&mut self, dialog: usize) -> Step {
        match self.over {
            true => Step::Wait,
            false => self.await_what_is_made(Dialogs::one(dialog)),
        }
    }

    /// True if there is a middlebox on the path.
    #[must_use]
    pub fn has_path(&self) -> bool {
        !self.sites.is_empty()
    }

    /// Of several early dialogs this one answers: what only the others have shown goes with the exchange.
    pub fn won(&mut self, dialog: usize) {
        self.keep_preview_of(dialog);
    }

    /// The answer has been sent on, in an early dialog or in the call: its rules are the call's now, those that no other
    /// early dialog needs are closed, wide ones narrowed.
    pub fn completed(&mut self, now: Instant, dialog: Option<usize>, ids: &mut RequestIds, out: Out<'_>) {
        match dialog.filter(|_| self.is_aside(dialog)) {
            Some(dialog) => self.complete_aside(dialog),
            None => self.on_completed(now, ids, out),
        }
    }

    /// The exchange came to nothing, in an early dialog or in the call: its new rules are closed, those of the exchange
    /// before stay.
    pub fn abandoned(&mut self, now: Instant, dialog: Option<usize>, ids: &mut RequestIds, out: Out<'_>) {
        if let Some(dialog) = dialog.filter(|_| self.is_aside(dialog)) {
            return self.abandon_aside(now, dialog, ids, out);
        }
        self.exchange = None;
        self.close_unneeded(now, ids, out);
        for rule in &mut self.rules {
            rule.marks.held = false;
        }
        // Wide rules that the exchange counted on have stayed until now.
        for (crossing, pinhole) in self.all_desired(&self.agreed) {
            self.settle(now, crossing, &pinhole, ids, out);
        }
    }

    /// The call is over: every rule is closed, and those still being made will be as soon as they are confirmed.
    pub fn close(&mut self, now: Instant, ids: &mut RequestIds, out: Out<'_>) {
        self.over = true;
        self.exchange = None;
        self.forks = None;
        self.close_where(now, |_| true, ids, out);
    }

    /// From now on no rule is extended beyond `limit`; `None`: as long as the call lasts.
    pub fn live_until(&mut self, limit: Option<Instant>) {
        self.limit = limit;
    }

    /// A middlebox answered, or will not.
    pub fn replied(
        &mut self,
        now: Instant,
        id: RequestId,
        result: Result<Reply, Failure>,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Progress {
        self.on_reply(now, id, result, ids, out)
    }

    /// A step has waited as long as it may. Ready: the held message goes on nevertheless, since what one of a pair of
    /// middleboxes has not answered the other has confirmed.
    pub fn hold_over(&mut self) -> Step {
        self.go_on_without_the_silent()
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
        self.on_rule_event(now, middlebox, prid, lifetime, ids, out)
    }

    /// The session with a middlebox is gone. Rules live on.
    pub fn session_down(&mut self, middlebox: MiddleboxId) {
        for (site, crossing) in self.sites.iter_mut().zip(&self.terms.path) {
            site.up &= crossing.middlebox != middlebox;
        }
        let path = &self.terms.path;
        let here = |rule: &&mut Rule| path[usize::from(rule.crossing)].middlebox == middlebox;
        for rule in self.rules.iter_mut().filter(here) {
            rule.marks.listed = matches!(rule.state, State::Unanswered);
        }
    }

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
        self.on_session_up(now, middlebox, known, ids, out);
    }

    /// Extends rules, repeats closes. Call it again as long as it tells of a loss.
    pub fn handle_timeout(&mut self, now: Instant, ids: &mut RequestIds, out: Out<'_>) -> Option<Loss> {
        self.on_timeout(now, ids, out)
    }

    /// When [`Ledger::handle_timeout`] is next worth calling, and why.
    #[must_use]
    pub fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        self.first_due()
    }

    /// True when the call is over and no rule of it can be alive: each one that was ever confirmed has been
    /// confirmed gone, or its lifetime has run out.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.over && self.rules.is_empty()
    }

    /// True when the call is over and nothing is left but rules that were asked for and never answered: nobody can end
    /// them but their lifetime, or whoever closes what the middlebox lists and no call owns.
    #[must_use]
    pub fn is_unknown(&self) -> bool {
        self.over && !self.rules.is_empty() && self.rules.iter().all(|rule| rule.state == State::Unanswered)
    }

    /// True if what the answer needs is reserved before the first INVITE goes on.
    #[must_use]
    pub fn reserves(&self) -> bool {
        self.terms.reserve
    }

    fn crossing(&self, position: u8) -> &Crossing {
        &self.terms.path[usize::from(position)]
    }

    /// True if the call ends with this stream.
    fn is_crucial(&self, stream: u16) -> bool {
        let offer = self.exchange.iter().flat_map(|exchange| &exchange.offer);
        let mut flows = offer.chain(&self.agreed.a).chain(&self.agreed.b);
        match self.terms.crucial {
            Crucial::FirstAudio => {
                let audio = flows.find(|flow| flow.media == Media::Audio);
                audio.is_none_or(|flow| uses(flow, stream))
            }
            Crucial::Media(types) => {
                let mut listed = flows.filter(|flow| types.contains(flow.media)).peekable();
                listed.peek().is_none() || listed.any(|flow| uses(flow, stream))
            }
            Crucial::All => true,
        }
    }
}

/// True if a flow is lost with the rules of a stream: its own, or the one it is bundled into.
fn uses(flow: &MediaFlow, stream: u16) -> bool {
    flow.stream == stream || flow.transport == stream
}

/// When a lifetime that begins now ends.
fn after(now: Instant, lifetime: Lifetime) -> Instant {
    now + Duration::from_secs(u64::from(lifetime.0))
}
