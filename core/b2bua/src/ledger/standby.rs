//! Two middleboxes of which packets cross one: each rule is made at both, and a call can do without one of them while it
//! is away. `docs/decisions/0026-standby.md`.
//!
//! A rule that an absent one should have is kept as [`State::Absent`]: it counts as being there, nobody waits for it, and
//! it is asked for when the session is back. What packets need is at the partner, or nothing goes on.

use std::time::Duration;

use machine::Instant;
use midcom::{Failure, FailureClass};

use super::pinhole::Pinhole;
use super::rule::{Marks, Rule, State};
use super::{Ledger, Out, Progress, RequestIds, Step};

/// The pause before a rule is asked for again at a middlebox whose session lasts although it did not answer, or could not.
const AGAIN: Duration = Duration::from_secs(10);

impl Ledger {
    /// True if a middlebox is away and its partner is not: nothing need be asked of it now.
    pub(super) fn is_stood_in_at(&self, crossing: u8) -> bool {
        let partner = self.crossing(crossing).partner;
        let up = |position: u8| self.sites.get(usize::from(position)).is_some_and(|site| site.up);
        !up(crossing) && partner.is_some_and(up)
    }

    /// True if the partner has what a rule is for, or is being asked for it. A step needs all of it there; of what has
    /// been there the partner may have the narrower part already.
    fn is_stood_in_for(&self, rule: &Rule) -> bool {
        self.at_partner(rule).any(|other| other.is_wanted() && other.state != State::Absent)
    }

    /// What is at the partner, or may be, for what a rule is for.
    fn at_partner(&self, rule: &Rule) -> impl Iterator<Item = &Rule> {
        let partner = self.crossing(rule.crossing).partner;
        let (pinhole, held, reserves) = (rule.pinhole, rule.marks.held, rule.is_reservation());
        self.rules.iter().filter(move |other| {
            Some(other.crossing) == partner
                && other.is_reservation() == reserves
                && match held {
                    true => other.pinhole.covers(&pinhole),
                    false => other.pinhole.overlaps(&pinhole),
                }
        })
    }

    /// The hold is over (`docs/calls.md` §1.1). Ready if the partner has confirmed all that one of a pair has not answered:
    /// nobody waits for those replies any more.
    pub(super) fn go_on_without_the_silent(&mut self) -> Step {
        let confirmed = |rule: &Rule| self.at_partner(rule).any(Rule::is_confirmed);
        let mut awaited = self.rules.iter().filter(|rule| rule.is_awaited()).peekable();
        if awaited.peek().is_none() || !awaited.all(confirmed) {
            return Step::Wait;
        }
        for rule in &mut self.rules {
            rule.marks.held = false;
        }
        Step::Ready
    }

    /// True if a call goes on without a rule that was not to be had. A middlebox that answers and says no is there, and
    /// packets may cross it: that a step goes on without it is out of the question. What is made again after it was
    /// away is another matter: the call has had a way until now.
    pub(super) fn can_do_without(&self, index: usize, failure: Failure) -> bool {
        let rule = &self.rules[index];
        // Where the wide rule is there it stays.
        if rule.marks.narrow && self.sites[usize::from(rule.crossing)].up {
            return false;
        }
        let away = match failure.class() {
            FailureClass::Unreachable => true,
            FailureClass::Technical => !rule.marks.held,
            FailureClass::TemporaryPolicy | FailureClass::StaticPolicy => false,
        };
        away && self.is_stood_in_for(rule)
    }

    /// A rule was not to be had, and its partner's will do.
    pub(super) fn do_without(&mut self, now: Instant, index: usize) -> Progress {
        let reserves = self.rules[index].is_reservation();
        // Perhaps it was made, and the reply lost: a late one is answered by its end, and so is what the next list shows.
        let Rule { pinhole, marks, crossing, .. } = self.rules.remove(index);
        if !reserves {
            self.add_absent(now, crossing, pinhole, marks);
        }
        self.progress_of(marks)
    }

    /// Keeps a rule for when the middlebox is back.
    pub(super) fn add_absent(&mut self, now: Instant, crossing: u8, pinhole: Pinhole, marks: Marks) {
        let index = self.push(now, crossing, pinhole, Marks { held: false, ..marks });
        self.rules[index].state = State::Absent;
        if self.sites[usize::from(crossing)].up {
            self.rules[index].wake = now + AGAIN;
        }
    }

    /// An absent rule is asked for again where there is a session; elsewhere no point in time of it may grow old.
    pub(super) fn on_absent_due(&mut self, now: Instant, index: usize, ids: &mut RequestIds, out: Out<'_>) {
        match self.sites[usize::from(self.rules[index].crossing)].up {
            true => self.enable_again(index, ids, out),
            false => self.rules[index].live_for(now, self.terms.rule_lifetime),
        }
    }

    /// A rule has come to its end because its middlebox is away or silent; true if the partner's will do.
    pub(super) fn goes_absent(
        &mut self,
        now: Instant,
        index: usize,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> bool {
        let rule = &self.rules[index];
        let (State::Enabled(prid) | State::Reserved(prid)) = rule.state else { return false };
        if rule.deadline > now || !self.is_stood_in_for(rule) {
            return false;
        }
        let reserves = rule.is_reservation();
        let Rule { pinhole, marks, crossing, .. } = *rule;
        // An extension was perhaps granted and only its answer lost.
        match rule.latest > now || rule.extending.is_some() {
            true => self.end(now, index, prid, 0, ids, out),
            false => drop(self.rules.remove(index)),
        }
        let narrower = |rule: &Rule| {
            rule.crossing == crossing && rule.state == State::Absent && pinhole.covers(&rule.pinhole)
        };
        if !reserves && !self.rules.iter().any(narrower) {
            self.add_absent(now, crossing, pinhole, marks);
        }
        true
    }
}
