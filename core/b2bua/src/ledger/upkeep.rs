//! What goes on beside the exchanges: lifetimes, repeated closes, rule events, lost and regained sessions.

use std::time::Duration;

use machine::Instant;
use midcom::{Failure, Lifetime, MiddleboxId, Prid};

use super::rule::{Rule, State};
use super::{EventEffect, Ledger, Loss, Out, RequestIds, after};

/// How often PLC(0) is sent for one rule to a middlebox that is silent or will not. After that its lifetime ends it.
const CLOSE_ATTEMPTS_MAX: u8 = 8;
/// The pause before PLC(0) is sent again: always the same if the middlebox could not, else doubled each time.
const CLOSE_PAUSE: Duration = Duration::from_secs(2);
/// The shortest pause before an extension is asked for again.
const EXTEND_PAUSE_MIN: Duration = Duration::from_secs(1);

/// How long to wait for the reply to a PLC(0) that follows `attempts` others.
pub(super) fn close_pause(attempts: u8) -> Duration {
    CLOSE_PAUSE * (1 << attempts.min(5))
}

impl Rule {
    /// The middlebox has granted a lifetime, counted from now.
    pub(super) fn live_for(&mut self, now: Instant, lifetime: Lifetime) {
        self.deadline = after(now, lifetime);
        self.latest = self.deadline;
        self.wake = now + Duration::from_secs(u64::from(lifetime.0)) / 2;
    }

    /// When something is due, and what.
    fn due(&self, up: bool) -> Option<(Instant, &'static str)> {
        match self.state {
            State::Reserved(_) | State::Enabled(_) if up => {
                Some((self.wake.min(self.deadline), "extend rule"))
            }
            State::Closing { attempts, .. } if up && attempts < CLOSE_ATTEMPTS_MAX => {
                Some((self.wake.min(self.deadline), "close rule again"))
            }
            State::Reserved(_) | State::Enabled(_) | State::Closing { .. } | State::Unanswered => {
                Some((self.deadline, "rule ends"))
            }
            State::Absent if up => Some((self.wake, "make rule")),
            State::Absent => Some((self.deadline, "rule still absent")),
            State::Asked(_) | State::Reserving(_) | State::Enabling(..) | State::Doomed(..) => None,
        }
    }
}

impl Ledger {
    fn due(&self, rule: &Rule) -> Option<(Instant, &'static str)> {
        rule.due(self.sites[usize::from(rule.crossing)].up)
    }

    pub(super) fn first_due(&self) -> Option<(Instant, &'static str)> {
        self.rules.iter().filter_map(|rule| self.due(rule)).min()
    }

    pub(super) fn on_timeout(&mut self, now: Instant, ids: &mut RequestIds, out: Out<'_>) -> Option<Loss> {
        let is_due = |ledger: &Self, rule: &Rule| ledger.due(rule).is_some_and(|(at, _)| at <= now);
        while let Some(index) = self.rules.iter().position(|rule| is_due(self, rule)) {
            if self.goes_absent(now, index, ids, out) {
                continue;
            }
            let rule = &mut self.rules[index];
            if rule.state == State::Absent {
                self.on_absent_due(now, index, ids, out);
                continue;
            }
            if rule.deadline <= now {
                let Rule { pinhole, crossing, state, marks, .. } = *rule;
                match state {
                    // An extension was perhaps granted and only its answer lost: the hole must not stay open.
                    State::Enabled(prid) | State::Reserved(prid)
                        if rule.latest > now || rule.extending.is_some() =>
                    {
                        self.end(now, index, prid, 0, ids, out);
                    }
                    State::Enabled(_)
                    | State::Reserved(_)
                    | State::Asked(_)
                    | State::Reserving(_)
                    | State::Enabling(..)
                    | State::Doomed(..)
                    | State::Closing { .. }
                    | State::Unanswered
                    | State::Absent => drop(self.rules.remove(index)),
                }
                if matches!(state, State::Enabled(_) | State::Reserved(_)) {
                    if marks.held {
                        self.fail_step(now, ids, out);
                    }
                    let why = match self.sites[usize::from(crossing)].up {
                        true => Failure::LifetimeNotExtended,
                        false => Failure::NoSession,
                    };
                    return Some(self.lose(now, (crossing, pinhole, marks), Some(why), ids, out));
                }
                continue;
            }
            match rule.state {
                State::Enabled(prid) | State::Reserved(prid) => {
                    // If this stays without an answer, half of the rest is left for another.
                    rule.wake = now + (rule.deadline.since(now) / 2).max(EXTEND_PAUSE_MIN);
                    self.extend(now, index, prid, ids, out);
                }
                State::Closing { prid, attempts, .. } => self.end(now, index, prid, attempts, ids, out),
                // Nothing of theirs is due before the deadline.
                State::Asked(_)
                | State::Reserving(_)
                | State::Enabling(..)
                | State::Doomed(..)
                | State::Unanswered
                | State::Absent => break,
            }
        }
        None
    }

    /// Closes the rules that `which` picks; those still being made as soon as they are confirmed.
    pub(super) fn close_where(
        &mut self,
        now: Instant,
        which: impl Fn(&Rule) -> bool,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) {
        // Nobody has these: there is nothing to close.
        self.rules.retain(|rule| rule.state != State::Absent || !which(rule));
        for index in 0..self.rules.len() {
            if which(&self.rules[index]) {
                self.close_at(now, index, ids, out);
            }
        }
    }

    pub(super) fn close_at(&mut self, now: Instant, index: usize, ids: &mut RequestIds, out: Out<'_>) {
        let rule = &mut self.rules[index];
        match rule.state {
            State::Asked(id) | State::Reserving(id) => rule.state = State::Doomed(None, id),
            State::Enabling(prid, id) => rule.state = State::Doomed(Some(prid), id),
            State::Reserved(prid) | State::Enabled(prid) => self.end(now, index, prid, 0, ids, out),
            // Nobody has it: forgotten with the next look.
            State::Absent => (rule.state, rule.deadline) = (State::Unanswered, now),
            State::Doomed(..) | State::Closing { .. } | State::Unanswered => {}
        }
    }

    pub(super) fn on_rule_event(
        &mut self,
        now: Instant,
        middlebox: MiddleboxId,
        prid: Prid,
        lifetime: Lifetime,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> EventEffect {
        let is_it = |rule: &Rule| {
            rule.state.prid() == Some(prid) && self.crossing(rule.crossing).middlebox == middlebox
        };
        let Some(index) = self.rules.iter().position(is_it) else {
            return EventEffect::Ignored;
        };
        let rule = &mut self.rules[index];
        match (rule.state, lifetime) {
            (State::Reserved(_), Lifetime::END) => {
                rule.extending = None;
                self.reserve(index, ids, out);
                EventEffect::Ignored
            }
            (State::Enabled(_), Lifetime::END) => self.on_ended_by_middlebox(now, index, ids, out),
            (State::Reserved(_) | State::Enabled(_), _) => {
                rule.live_for(now, lifetime);
                self.extend(now, index, prid, ids, out);
                EventEffect::Extended
            }
            // It lives longer than we thought, and so does our trying to close it.
            (State::Closing { .. }, lifetime) if lifetime != Lifetime::END => {
                rule.deadline = after(now, lifetime);
                EventEffect::Ignored
            }
            // PEA will be answered by its own failure; the others are closing.
            (State::Enabling(..) | State::Doomed(..) | State::Closing { .. }, _) => EventEffect::Ignored,
            // These have no identifier.
            (State::Asked(_) | State::Reserving(_) | State::Unanswered | State::Absent, _) => {
                EventEffect::Ignored
            }
        }
    }

    fn on_ended_by_middlebox(
        &mut self,
        now: Instant,
        index: usize,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> EventEffect {
        let Rule { pinhole, crossing, marks, .. } = self.rules.remove(index);
        // While the rule that takes its place is being asked for, that reply decides.
        let replaced = |rule: &Rule| {
            rule.crossing == crossing
                && rule.marks.narrow
                && rule.is_wanted()
                && pinhole.covers(&rule.pinhole)
        };
        if self.rules.iter().any(replaced) {
            return EventEffect::Ignored;
        }
        if marks.held {
            self.fail_step(now, ids, out);
        }
        EventEffect::Lost(self.lose(now, (crossing, pinhole, marks), None, ids, out))
    }

    pub(super) fn on_session_up(
        &mut self,
        now: Instant,
        middlebox: MiddleboxId,
        known: &[Prid],
        ids: &mut RequestIds,
        out: Out<'_>,
    ) {
        for at in 0..self.terms.path.len() {
            if self.terms.path[at].middlebox != middlebox {
                continue;
            }
            self.sites[at].up = true;
            let here = |rule: &Rule| usize::from(rule.crossing) == at;
            let is_known =
                |rule: &Rule| rule.state.prid().is_some_and(|prid| known.binary_search(&prid).is_ok());
            self.rules.retain(|rule| {
                // What never got an identifier is in nobody's ledger, and whoever lists the rules closes it. The list
                // says nothing of what was asked for after it.
                let over = match rule.state {
                    State::Closing { .. } => !is_known(rule),
                    State::Unanswered => rule.marks.listed,
                    State::Asked(_)
                    | State::Reserving(_)
                    | State::Reserved(_)
                    | State::Enabling(..)
                    | State::Enabled(_)
                    | State::Doomed(..)
                    | State::Absent => false,
                };
                !here(rule) || !over
            });
            // A group is there as long as one of its rules: otherwise those made again make their own.
            if !self.rules.iter().any(|rule| here(rule) && is_known(rule)) {
                self.sites[at].group = None;
            }
            self.rules
                .iter_mut()
                .filter(|rule| here(rule) && !is_known(rule))
                .for_each(|rule| rule.group = None);
            for index in 0..self.rules.len() {
                let rule = &mut self.rules[index];
                if !here(rule) {
                    continue;
                }
                rule.marks.regrouped = false;
                match (rule.state, is_known(rule)) {
                    (State::Enabled(_), false) | (State::Absent, _) => self.enable_again(index, ids, out),
                    (State::Reserved(_), false) => self.reserve(index, ids, out),
                    (State::Closing { prid, .. }, _) => self.end(now, index, prid, 0, ids, out),
                    (State::Enabled(_) | State::Reserved(_), true) => {}
                    // Asked on the new session: the reply will come.
                    (State::Asked(_) | State::Reserving(_) | State::Enabling(..) | State::Doomed(..), _) => {}
                    (State::Unanswered, _) => {}
                }
            }
        }
    }

    pub(super) fn enable_again(&mut self, index: usize, ids: &mut RequestIds, out: Out<'_>) {
        let rule = &mut self.rules[index];
        rule.extending = None;
        // No step waits for one that its partner stands in for.
        rule.marks.held &= rule.state != State::Absent;
        self.enable(index, ids, out);
    }
}
