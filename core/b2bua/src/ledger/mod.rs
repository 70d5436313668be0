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
mod pinhole;
mod plan;
mod replies;
mod reserve;
mod rule;
mod terms;
#[cfg(test)]
mod tests;
mod upkeep;

use std::time::Duration;

use machine::{Instant, Outbox};
use midcom::{Direction, Failure, Gid, Lifetime, MiddleboxId, Prid, Reply, RequestId, Tuple};
use sdp::{Flows, Media, MediaFlow, Protocol, Refusal, Session};
use smallvec::SmallVec;

use self::exchange::Exchange;
use self::forks::Forks;
use self::rule::{Rule, State};
use crate::side::{Side, Sides};

pub use rule::Dialogs;
pub use terms::{
    Crossing, Crucial, LedgerRequest, MediaPath, MediaTypes, Realm, RequestIds, SourcePolicy, Terms,
};

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
    /// True if the call ends with it ([`Terms::crucial`]).
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

/// What a rule is doing, for people who look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleState {
    /// Asked for, not yet confirmed.
    Asked,
    /// Reserved: lets nothing pass.
    Reserved,
    /// Lets packets pass.
    Enabled,
    /// Being closed, or not known to exist.
    Closing,
}

/// One rule, as `call ID` and `pinholes` show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleInfo {
    /// The middlebox that has it.
    pub middlebox: MiddleboxId,
    /// Its identifier, once confirmed.
    pub prid: Option<Prid>,
    /// The m-line it serves.
    pub stream: u16,
    /// The side that receives.
    pub toward: Side,
    /// What it is doing.
    pub state: RuleState,
    /// Which way packets go.
    pub direction: Direction,
    /// A0.
    pub internal: Tuple,
    /// A3.
    pub external: Tuple,
    /// When the middlebox ends it unless it is extended.
    pub deadline: Instant,
}

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
        let sites = terms.path.iter().map(|_| Site { group: None, up: true }).collect();
        let (agreed, unreserved) = (Sides::default(), terms.reserve);
        let (exchange, forks, rules) = (None, None, Vec::new());
        Self { terms, sites, agreed, exchange, forks, rules, unreserved, over: false, limit: None }
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

    /// The streams that both sides have agreed on and that have lost a rule they need, ascending: what must be offered
    /// again with port 0. Empty as soon as an exchange has been completed without them.
    #[must_use]
    pub fn lost_streams(&self) -> SmallVec<[u16; 4]> {
        let needed = self.all_desired(&self.agreed);
        let missing = needed.iter().filter(|(crossing, pinhole)| self.is_missing(*crossing, pinhole));
        let both = || self.agreed.a.iter().chain(&self.agreed.b);
        let with = |stream: u16| both().filter(move |flow| uses(flow, stream)).map(|flow| flow.stream);
        let mut lost: SmallVec<_> = missing.flat_map(|(_, pinhole)| with(pinhole.stream)).collect();
        lost.sort_unstable();
        lost.dedup();
        lost
    }

    /// The first middlebox of the path that `can` say what passes, and the rules that let packets pass there. Every packet of
    /// the call crosses it. `None` while there is no such middlebox or no such rule.
    #[must_use]
    pub fn countable(&self, can: impl Fn(MiddleboxId) -> bool) -> Option<(MiddleboxId, Vec<Prid>)> {
        let path = self.sites.iter().zip(&self.terms.path);
        let (at, crossing) = path
            .enumerate()
            .find(|(_, (site, crossing))| site.up && can(crossing.middlebox))
            .map(|(at, (_, crossing))| (at, crossing))?;
        let open = |rule: &Rule| match rule.state {
            State::Enabled(prid) if usize::from(rule.crossing) == at => Some(prid),
            State::Enabled(_)
            | State::Asked(_)
            | State::Reserving(_)
            | State::Reserved(_)
            | State::Enabling(..)
            | State::Doomed(..)
            | State::Closing { .. }
            | State::Unanswered => None,
        };
        let prids: Vec<Prid> = self.rules.iter().filter_map(open).collect();
        (!prids.is_empty()).then_some((crossing.middlebox, prids))
    }

    /// True if both sides have agreed to send on some stream over UDP: if nothing passes then, something is wrong. A stream on
    /// hold may be silent, and one over TCP.
    #[must_use]
    pub fn expects_media(&self) -> bool {
        let talks = |flow: &&MediaFlow| {
            flow.protocol == Protocol::Udp && flow.direction == sdp::Direction::SendRecv && !flow.is_held()
        };
        let peer =
            |flow: &MediaFlow| self.agreed.b.iter().filter(talks).any(|peer| peer.stream == flow.stream);
        self.agreed.a.iter().filter(talks).any(peer)
    }

    /// How many rules are or may be alive, reservations and those being closed included.
    #[must_use]
    pub fn open_rules(&self) -> usize {
        self.rules.len()
    }

    /// The rules, in the order in which they were asked for.
    pub fn rules(&self) -> impl Iterator<Item = RuleInfo> {
        self.rules.iter().map(|rule| self.info(rule))
    }

    fn info(&self, rule: &Rule) -> RuleInfo {
        let Crossing { middlebox, inside, .. } = *self.crossing(rule.crossing);
        let (direction, internal, external) = rule.pinhole.tuples(inside);
        let state = match rule.state {
            State::Asked(_) | State::Reserving(_) | State::Enabling(..) => RuleState::Asked,
            State::Reserved(_) => RuleState::Reserved,
            State::Enabled(_) => RuleState::Enabled,
            State::Doomed(..) | State::Closing { .. } | State::Unanswered => RuleState::Closing,
        };
        let (stream, toward) = (rule.pinhole.stream, rule.pinhole.toward);
        let (prid, deadline) = (rule.state.prid(), rule.deadline);
        RuleInfo { middlebox, prid, stream, toward, state, direction, internal, external, deadline }
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
