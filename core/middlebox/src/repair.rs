//! What was there before us, what others did to it, and what a new policy makes of it. `docs/pinholes.md` §4, "drift".

use std::collections::BTreeSet;

use machine::{Instant, Outbox};

use crate::authority::Policy;
use crate::batch::Flight;
use crate::engine::Drift;
use crate::entry::{EngineFailure, Entry, Key};
use crate::event::{EndCause, Event};
use crate::limits;
use crate::middlebox::{Middlebox, Output, Timer, Work};
use crate::rule::Action;

impl Middlebox {
    /// What the engine held at start is kept for a while: media flows on, and agents that come back enable it again.
    pub(crate) fn adopt(&mut self, now: Instant, entries: &[Entry], out: &mut Outbox<Output>) {
        if entries.is_empty() {
            return;
        }
        for entry in entries {
            self.elements.adopt(entry.key, now + entry.remaining);
            self.translator.adopt(&entry.key);
        }
        self.tally.adopted += entries.len() as u64;
        self.timers.set(now + self.orphan_grace, Timer::OrphansEnd);
        out.push(Output::Event(Event::EntriesAdopted { entries: entries.len() }));
    }

    /// Whoever wanted an adopted entry has had the time to say so.
    pub(crate) fn drop_orphans(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let entries = self.elements.drop_orphans();
        self.translator.forget_found(now);
        if entries > 0 {
            self.tally.orphans_removed += entries as u64;
            out.push(Output::Event(Event::OrphansRemoved { entries }));
        }
    }

    /// Asks the engine to compare.
    pub(crate) fn verify(&mut self, out: &mut Outbox<Output>) {
        self.disturbed = false;
        self.flight = Flight::Verify;
        out.push(Output::Verify { keys: self.elements.expected() });
    }

    /// The engine has compared.
    pub(crate) fn verified(
        &mut self,
        now: Instant,
        drift: Result<Drift, EngineFailure>,
        out: &mut Outbox<Output>,
    ) {
        match &self.flight {
            Flight::Verify => self.flight = Flight::Idle,
            // An answer nobody waits for changes nothing.
            Flight::Idle | Flight::Batch { .. } => return,
        }
        match drift {
            Ok(drift) => self.repair(now, &drift, out),
            Err(_) => {
                out.push(Output::Event(Event::VerificationFailed));
                self.timers.set(now + limits::RETRY_INTERVAL, Timer::Verify);
            }
        }
        self.pump(now, out);
    }

    fn repair(&mut self, now: Instant, drift: &Drift, out: &mut Outbox<Output>) {
        // What has run out by itself was not taken by anybody.
        let expired = |key: &Key| self.elements.installed_until(key).is_none_or(|until| until <= now);
        let gone: BTreeSet<_> = drift.missing.iter().filter(|key| expired(key)).copied().collect();
        let missing = drift.missing.len() - gone.len();
        for key in &drift.missing {
            self.elements.lost(*key);
        }
        // Its lifetime is unknown; it is removed at once, and the longest one bounds how long that is tried.
        for key in &drift.foreign {
            self.elements.reject(*key, now + limits::FOREIGN_LIFETIME);
        }
        if missing == 0 && drift.foreign.is_empty() {
            return;
        }
        self.tally.drift_missing += missing as u64;
        self.tally.drift_foreign += drift.foreign.len() as u64;
        out.push(Output::Event(Event::DriftFound { missing, foreign: drift.foreign.len() }));
    }

    /// Puts a new policy into force: what it no longer allows ends, sessions of agents it does not know too.
    pub(crate) fn replace_policy(&mut self, policy: Policy, out: &mut Outbox<Output>) {
        self.authority.adopt(policy);
        self.rates.keep(|agent| self.authority.requests_per_second(agent).is_some());
        self.reconsider();
        let strangers = self.sessions.iter().filter(|(_, agent)| self.authority.agent(**agent).is_none());
        let strangers: Vec<_> = strangers.map(|(session, _)| *session).collect();
        for session in strangers {
            self.sessions.remove(&session);
            out.push(Output::Terminate { session });
        }
    }

    /// Ends what the policy of now does not allow.
    pub(crate) fn reconsider(&mut self) {
        let refused = self.table.iter().filter(|(_, rule)| match &rule.action {
            Action::Reserve { .. } => self.authority.agent(rule.owner).is_none(),
            Action::Disable(barrier) => {
                self.may_disable(rule.owner).is_err() || self.authority.allows_barrier(barrier).is_err()
            }
            Action::Enable { opening, .. } => self.authority.allows(rule.owner, opening).is_err(),
        });
        let ends: Vec<_> = refused.map(|(prid, _)| Work::End(prid, EndCause::Withdrawn)).collect();
        // Before anything that arrived later.
        for end in ends.into_iter().rev() {
            self.queue.push_front(end);
        }
    }
}
