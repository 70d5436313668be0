//! Group commit: what waits becomes one batch, and answers leave when the engine has confirmed it.
//! `docs/pinholes.md` §4, "one writer".

use std::collections::BTreeSet;

use machine::{Instant, Outbox};
use midcom::{Failure, Lifetime, Prid, Protocol, Reply};

use crate::authority::{Opening, Permit};
use crate::entry::{EngineFailure, Key, Operation};
use crate::event::{EndCause, Event};
use crate::limits;
use crate::middlebox::{BatchId, Middlebox, Origin, Output, Timer, Work};
use crate::requests::Progress;
use crate::rule::{Action, Phase, Rule};

/// What a reservation was before it was to be enabled.
#[derive(Debug)]
pub(crate) struct Before {
    pub(crate) protocol: Protocol,
    pub(crate) ports: u16,
    pub(crate) deadline: Instant,
}

/// What waits for the engine.
#[derive(Debug)]
pub(crate) enum Job {
    /// PER.
    Enable { origin: Origin, prid: Prid, granted: Lifetime, opening: Opening },
    /// PEA.
    EnableReserved { origin: Origin, prid: Prid, granted: Lifetime, opening: Opening, before: Before },
    /// PDR; `ended` are the enable rules that it ends, and `keys` what closes with them.
    Disable { origin: Origin, prid: Prid, granted: Lifetime, ended: Vec<Prid>, keys: Vec<Key> },
    /// PLC above zero; `before` is the deadline until then.
    Lifetime { origin: Origin, prid: Prid, granted: Lifetime, before: Instant },
    /// PLC zero, or an end nobody asked for on a session.
    End { origin: Option<Origin>, prid: Prid, cause: EndCause },
}

/// What the engine has been asked and not yet answered.
#[derive(Debug)]
pub(crate) enum Flight {
    /// Nothing. Leads to either of the others.
    Idle,
    /// A batch. Leads back with `Applied`.
    Batch {
        id: BatchId,
        /// For each operation: its key, and when the entry then ends.
        targets: Vec<(Key, Option<Instant>)>,
        jobs: Vec<Job>,
    },
    /// A comparison. Leads back with `Verified`.
    Verify,
}

impl Flight {
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }
}

impl Middlebox {
    /// Makes one batch of what waits. If the engine has nothing to do for it, the answers leave at once.
    pub(crate) fn commit(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let mut said = Outbox::new();
        let jobs = self.gather(now, &mut said);
        // Before the engine is asked and before anybody is told.
        self.write_down(out);
        out.extend(said);
        let Self { table, elements, .. } = self;
        let permit = |prid: Prid, key: Key| -> Option<Permit> {
            table.rule(prid)?.permits().iter().find(|permit| permit.key() == key).cloned()
        };
        // What somebody waits for is done in one batch; the rest, after a start or at the end of a grace, leaves room for others.
        let most = if jobs.is_empty() { limits::BATCH_OPERATIONS_MAX } else { usize::MAX };
        let steps = elements.plan(now, most, permit);
        if steps.is_empty() {
            let mut said = Outbox::new();
            let late = self.conclude(now, jobs, &BTreeSet::new(), &mut said);
            self.write_down(out);
            out.extend(said);
            out.extend(late);
            return;
        }
        self.batches += 1;
        let batch = BatchId(self.batches);
        let targets = steps.iter().map(|step| (step.operation.key(), step.target)).collect();
        let operations: Vec<Operation> = steps.into_iter().map(|step| step.operation).collect();
        self.flight = Flight::Batch { id: batch, targets, jobs };
        out.push(Output::Apply { batch, operations });
    }

    /// Processes what waits, in order, until the batch is full or something must come after it.
    fn gather(&mut self, now: Instant, out: &mut Outbox<Output>) -> Vec<Job> {
        let mut jobs = Vec::new();
        while self.elements.touched() < limits::BATCH_OPERATIONS_MAX {
            let Some(work) = self.queue.pop_front() else { break };
            match self.process(now, work, out) {
                Progress::Answered => {}
                Progress::Job(job) => jobs.push(job),
                Progress::Blocked(work) => {
                    debug_assert!(!jobs.is_empty(), "a rule is busy only while a job is about it");
                    self.queue.push_front(work);
                    break;
                }
            }
        }
        jobs
    }

    /// The engine has answered.
    pub(crate) fn applied(
        &mut self,
        now: Instant,
        batch: BatchId,
        results: &[Result<(), EngineFailure>],
        out: &mut Outbox<Output>,
    ) {
        let (targets, jobs) = match std::mem::replace(&mut self.flight, Flight::Idle) {
            Flight::Batch { id, targets, jobs } if id == batch => (targets, jobs),
            // An answer nobody waits for changes nothing.
            other @ (Flight::Idle | Flight::Batch { .. } | Flight::Verify) => {
                self.flight = other;
                return;
            }
        };
        let mut failed = BTreeSet::new();
        for (position, (key, target)) in targets.iter().enumerate() {
            // A result that is missing is a failure: nothing is confirmed that the engine has not confirmed.
            match results.get(position) {
                Some(Ok(())) => self.elements.done(*key, *target),
                Some(Err(_)) | None => {
                    failed.insert(*key);
                }
            }
        }
        self.tally.batches += 1;
        self.tally.operations += targets.len() as u64;
        self.tally.operations_failed += failed.len() as u64;
        out.push(Output::Event(Event::BatchApplied { operations: targets.len(), failed: failed.len() }));
        let mut said = Outbox::new();
        let late = self.conclude(now, jobs, &failed, &mut said);
        self.write_down(out);
        out.extend(said);
        self.follow_up(now, &failed, out);
        // Half-opened rules are cleaned up before their agents hear that they do not exist.
        if self.elements.touched() > 0 {
            self.work(now, out);
        }
        out.extend(late);
    }

    /// Ends every job; what must be said only after cleaning up is returned.
    fn conclude(
        &mut self,
        now: Instant,
        jobs: Vec<Job>,
        failed: &BTreeSet<Key>,
        out: &mut Outbox<Output>,
    ) -> Outbox<Output> {
        let mut late = Outbox::new();
        for job in jobs {
            match job {
                Job::Enable { origin, prid, granted, opening } => match self.hit(prid, failed) {
                    false => self.enabled(origin, prid, granted, opening, out),
                    true => {
                        self.forget(now, prid);
                        self.refuse(origin, Failure::ConfigurationFailed, &mut late);
                    }
                },
                Job::EnableReserved { origin, prid, granted, opening, before } => {
                    match self.hit(prid, failed) {
                        false => self.enabled(origin, prid, granted, opening, out),
                        true => {
                            self.restore_reservation(prid, before);
                            self.refuse(origin, Failure::ConfigurationFailed, &mut late);
                        }
                    }
                }
                Job::Lifetime { origin, prid, granted, before } => match self.hit(prid, failed) {
                    false => self.changed(origin, prid, granted, out),
                    true => {
                        self.revert(prid, before);
                        self.refuse(origin, Failure::ConfigurationFailed, &mut late);
                    }
                },
                Job::Disable { origin, prid, granted, ended, keys } => {
                    for prid in &ended {
                        self.conclude_end(now, None, *prid, EndCause::Disabled, failed, out);
                    }
                    let open = keys.iter().any(|key| failed.contains(key) && self.still_open(key, now));
                    match open {
                        false => self.disabled(origin, prid, granted, ended.len(), out),
                        true => {
                            self.forget(now, prid);
                            self.refuse(origin, Failure::ConfigurationFailed, &mut late);
                        }
                    }
                }
                Job::End { origin, prid, cause } => self.conclude_end(now, origin, prid, cause, failed, out),
            }
        }
        late
    }

    /// True if an operation for one of the rule's entries failed.
    fn hit(&self, prid: Prid, failed: &BTreeSet<Key>) -> bool {
        !failed.is_empty()
            && self.table.rule(prid).is_some_and(|rule| {
                rule.keys().any(|key| self.with_hairpins(key).any(|key| failed.contains(&key)))
            })
    }

    /// A key of a rule, and what it makes together with those of others.
    pub(crate) fn with_hairpins(&self, key: Key) -> impl Iterator<Item = Key> + use<> {
        std::iter::once(key).chain(self.elements.hairpins_of(&key))
    }

    fn enabled(
        &mut self,
        origin: Origin,
        prid: Prid,
        lifetime: Lifetime,
        opening: Opening,
        out: &mut Outbox<Output>,
    ) {
        self.start_timer(prid, lifetime);
        let Some(rule) = self.table.rule_mut(prid) else { return };
        rule.phase = Phase::Live;
        let (group, owner) = (rule.group, rule.owner);
        //= RFC 4540 §8.3.2: a pure firewall reports A0 as A2 and A3 as A1.
        let a2 = rule.action.outside().map(|outside| outside.tuple);
        let (outside, inside) = (a2.unwrap_or(opening.internal), Some(opening.external));
        self.reply(origin, Reply::Enabled { prid, group, lifetime, outside, inside }, out);
        self.notify(owner, Some(origin.session), prid, lifetime, out);
        out.push(Output::Event(Event::RuleEnabled { prid, agent: owner, opening, lifetime }));
    }

    fn changed(&mut self, origin: Origin, prid: Prid, lifetime: Lifetime, out: &mut Outbox<Output>) {
        self.start_timer(prid, lifetime);
        let Some(rule) = self.table.rule_mut(prid) else { return };
        rule.phase = Phase::Live;
        let owner = rule.owner;
        self.reply(origin, Reply::Lifetime(lifetime), out);
        self.notify(owner, Some(origin.session), prid, lifetime, out);
        out.push(Output::Event(Event::LifetimeChanged { prid, lifetime }));
    }

    /// A rule that could not be enabled has never existed.
    fn forget(&mut self, now: Instant, prid: Prid) {
        self.journal.mark(prid);
        let Some(rule) = self.table.remove(prid) else { return };
        for key in rule.keys() {
            self.elements.release(key, prid);
        }
        self.leave_behind(now, rule);
    }

    /// What a rule that is gone has held: its timer, and its outside ports.
    fn leave_behind(&mut self, now: Instant, rule: Rule) {
        if let Some(timer) = rule.timer {
            self.timers.stop(timer);
        }
        if let Some(outside) = rule.action.into_outside() {
            self.translator.release(now, outside);
        }
    }

    //= RFC 5189 §2.3.9: a failed PER leaves the reservation as it was.
    fn restore_reservation(&mut self, prid: Prid, before: Before) {
        self.journal.mark(prid);
        let Some(rule) = self.table.rule_mut(prid) else { return };
        rule.phase = Phase::Live;
        rule.deadline = before.deadline;
        let (protocol, ports) = (before.protocol, before.ports);
        let reserve = Action::Reserve { protocol, ports, outside: None };
        let Action::Enable { permits, outside, .. } = std::mem::replace(&mut rule.action, reserve) else {
            return;
        };
        for permit in permits {
            self.elements.release(permit.key(), prid);
        }
        let outside = outside.map(|outside| self.translator.back_to_reservation(outside, ports));
        rule.action = Action::Reserve { protocol, ports, outside };
    }

    //= RFC 5189 §2.3.10: a failed lifetime change leaves the rule as it was.
    fn revert(&mut self, prid: Prid, deadline: Instant) {
        self.journal.mark(prid);
        let Some(rule) = self.table.rule_mut(prid) else { return };
        rule.phase = Phase::Live;
        rule.ending = false;
        rule.deadline = deadline;
        self.need(prid);
    }

    fn conclude_end(
        &mut self,
        now: Instant,
        origin: Option<Origin>,
        prid: Prid,
        cause: EndCause,
        failed: &BTreeSet<Key>,
        out: &mut Outbox<Output>,
    ) {
        let Some(rule) = self.table.rule(prid) else { return };
        let keys = rule.keys().flat_map(|key| self.with_hairpins(key));
        let open = keys.into_iter().any(|key| failed.contains(&key) && self.still_open(&key, now));
        if let (true, Some(origin)) = (open, origin) {
            // The agent is told the truth and can try again; until then the rule is there, as the hole is.
            let deadline = rule.deadline;
            self.revert(prid, deadline);
            self.refuse(origin, Failure::ConfigurationFailed, out);
            return;
        }
        let Some(rule) = self.table.remove(prid) else { return };
        let owner = rule.owner;
        self.leave_behind(now, rule);
        self.tally.ended += 1;
        if let Some(origin) = origin {
            self.reply(origin, Reply::Ended, out);
        }
        //= RFC 5189 §2.3.13: an end nobody asked for is told to all, the owner included.
        self.notify(owner, origin.map(|origin| origin.session), prid, Lifetime::END, out);
        out.push(Output::Event(Event::RuleEnded { prid, agent: owner, cause }));
    }

    /// True if nobody needs the entry and it is there all the same.
    fn still_open(&self, key: &Key, now: Instant) -> bool {
        self.elements.users(key).next().is_none()
            && self.elements.installed_until(key).is_some_and(|until| until + limits::EXPIRY_LEAD > now)
    }

    /// What becomes of entries whose operation failed, once their jobs are over.
    fn follow_up(&mut self, now: Instant, failed: &BTreeSet<Key>, out: &mut Outbox<Output>) {
        for key in failed {
            let users: Vec<_> = self.elements.users(key).collect();
            match (users.is_empty(), self.elements.installed_until(key)) {
                (true, None) => {}
                // The kernel has ended it by itself, even if it began to count late.
                (true, Some(until)) if until + limits::EXPIRY_LEAD <= now => self.elements.done(*key, None),
                (true, Some(_)) => {
                    out.push(Output::Event(Event::RemovalFailed { key: *key }));
                    self.try_again(now, *key);
                }
                // Rules that were confirmed and whose hole is gone: better no rule than a lie.
                (false, None) => {
                    self.queue.extend(users.into_iter().map(|prid| Work::End(prid, EndCause::Lost)));
                }
                (false, Some(_)) => self.try_again(now, *key),
            }
        }
    }

    fn try_again(&mut self, now: Instant, key: Key) {
        if self.retry.is_empty() {
            self.timers.set(now + limits::RETRY_INTERVAL, Timer::Retry);
        }
        self.retry.insert(key);
    }
}
