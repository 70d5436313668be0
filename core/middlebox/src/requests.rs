//! What each request does, check by check: RFC 4540 §8.2 to §8.7, the order of checks as written there.
//! Before changing this file read RFC 4540 §8 whole.
//!
//! Requests are processed one after the other (RFC 5189 §2.1.4). One that needs the engine becomes a [`Job`] whose
//! answer waits for it; everything else is answered at once.

use machine::{Instant, Outbox};
use midcom::{Direction, Failure, Gid, IpVersionChoice, IpVersions, Lifetime, Parity, PortParity, Prid};
use midcom::{Protocol, Reply, Request, RuleStatus, Tuple};

use crate::authority::{AgentId, AgentPolicy, Opening, Permit};
use crate::batch::{Before, Job};
use crate::entry::Key;
use crate::event::{EndCause, Event};
use crate::limits;
use crate::middlebox::{Middlebox, Origin, Output, Timer, Work};
use crate::realm::Side;
use crate::rule::{Action, Barrier, Phase, Rule, seconds};
use crate::translated::fits_reservation;

/// What came of a piece of work.
pub(crate) enum Progress {
    /// It has been answered.
    Answered,
    /// Its answer waits for the engine.
    Job(Job),
    /// A rule it names has a change in flight: it must come again after this batch.
    Blocked(Work),
}

/// A request for a reservation.
pub(crate) struct Reserve {
    pub(crate) inside: IpVersionChoice,
    pub(crate) outside: IpVersionChoice,
    pub(crate) protocol: Protocol,
    pub(crate) ports: u16,
    pub(crate) parity: PortParity,
    lifetime: Lifetime,
    group: Option<Gid>,
}

/// A request to let packets pass.
pub(crate) struct Enable {
    pub(crate) parity: Parity,
    pub(crate) opening: Opening,
    lifetime: Lifetime,
}

impl Enable {
    fn new(
        parity: Parity,
        direction: Direction,
        internal: Tuple,
        external: Tuple,
        lifetime: Lifetime,
    ) -> Self {
        Self { parity, opening: Opening { direction, internal, external }, lifetime }
    }
}

impl Middlebox {
    /// Processes one piece of work.
    pub(crate) fn process(&mut self, now: Instant, work: Work, out: &mut Outbox<Output>) -> Progress {
        if self.is_blocked(&work) {
            return Progress::Blocked(work);
        }
        match work {
            Work::Request(origin, request) => self.request(now, origin, request, out),
            Work::End(prid, cause) => self.end_unasked(now, prid, cause),
            Work::Reconsider => {
                self.reconsider();
                Progress::Answered
            }
            Work::Policy(policy) => {
                self.replace_policy(*policy, out);
                Progress::Answered
            }
        }
    }

    /// True if the rule it is about has a change in flight. A rule that is new is in flight as well, but agents cannot
    /// name what they have not been told.
    fn is_blocked(&self, work: &Work) -> bool {
        let phase = |prid: Prid| self.table.rule(prid).map(|rule| rule.phase);
        match work {
            // It ends rules, and cannot end what has a change in flight.
            Work::Request(_, Request::Disable { internal, external, .. }) => {
                self.is_unsettled(&Barrier { internal: *internal, external: *external })
            }
            Work::Request(_, request) => names(request).and_then(phase) == Some(Phase::Busy),
            Work::End(prid, _) => matches!(phase(*prid), Some(Phase::Busy | Phase::New)),
            Work::Policy(_) | Work::Reconsider => false,
        }
    }

    fn request(
        &mut self,
        now: Instant,
        origin: Origin,
        request: Request,
        out: &mut Outbox<Output>,
    ) -> Progress {
        let done = match request {
            //= exception RFC 4540 §8.2.3: "twice" is not refused with 0x034E, because an agent that has no wish says so
            // (RFC 5189 §2.3.8); it gets A2 and no A1.
            Request::Reserve { service: _, inside, outside, protocol, ports, parity, lifetime, group } => {
                let asked = Reserve { inside, outside, protocol, ports, parity, lifetime, group };
                self.reserve(now, origin, &asked, out)
            }
            Request::Enable { parity, direction, internal, external, lifetime, group } => {
                self.enable(now, origin, Enable::new(parity, direction, internal, external, lifetime), group)
            }
            Request::EnableReserved { prid, parity, direction, internal, external, lifetime } => {
                let enable = Enable::new(parity, direction, internal, external, lifetime);
                self.enable_reserved(now, origin, prid, enable)
            }
            Request::Disable { internal, external, lifetime } => {
                self.disable(now, origin, Barrier { internal, external }, lifetime)
            }
            Request::Lifetime { prid, lifetime: Lifetime::END } => self.end(origin, prid),
            Request::Lifetime { prid, lifetime } => self.change(now, origin, prid, lifetime),
            Request::Status { prid } => self.status_of(now, origin.agent, prid).map(|status| {
                self.reply(origin, Reply::Status(status), out);
                Progress::Answered
            }),
            Request::List => self.list(origin.agent).map(|prids| {
                self.reply(origin, Reply::List(prids), out);
                Progress::Answered
            }),
            Request::Count { prids } => self.count(origin, &prids).map(|count| {
                out.push(count);
                Progress::Answered
            }),
        };
        done.unwrap_or_else(|failure| {
            self.refuse(origin, failure, out);
            Progress::Answered
        })
    }

    /// The policy of an agent; without one it may do nothing.
    pub(crate) fn policy(&self, agent: AgentId) -> Result<&AgentPolicy, Failure> {
        //= RFC 4540 §8: the first check of every rule request is whether the agent may make it at all.
        self.authority.agent(agent).ok_or(Failure::NotAuthorizedForTransaction)
    }

    /// The lifetime an agent gets for a new rule.
    pub(crate) fn grant(&self, agent: AgentId, asked: Lifetime) -> Result<Lifetime, Failure> {
        //= RFC 5189 §2.3.9: granted is at most what was asked for and at most the maximum.
        let granted = asked.min(self.policy(agent)?.lifetime_max);
        //= RFC 4540 §8.3.1: a rule with lifetime zero cannot be made.
        if granted == Lifetime::END { Err(Failure::ConfigurationFailed) } else { Ok(granted) }
    }

    //= RFC 4540 §8.2.1, §8.2.2, §8.2.3: order of checks of PRR; on a pure firewall nothing is configured.
    fn reserve(
        &mut self,
        now: Instant,
        origin: Origin,
        asked: &Reserve,
        out: &mut Outbox<Output>,
    ) -> Result<Progress, Failure> {
        let rules_max = self.policy(origin.agent)?.rules_max;
        self.table.joinable(origin.agent, asked.group)?;
        let realms = self.authority.realms();
        version_fits(realms.versions(Side::Inside), asked.inside)?;
        version_fits(realms.versions(Side::Outside), asked.outside)?;
        self.authority.allows_reservation(origin.agent, asked.protocol, asked.outside)?;
        if asked.ports == 0 {
            return Err(Failure::IllegalPortCount);
        }
        self.table.room(origin.agent, rules_max)?;
        let lifetime = self.grant(origin.agent, asked.lifetime)?;
        let outside = self.reserve_outside(now, asked)?;
        let a2 = outside.as_ref().map(|outside| outside.tuple);
        let group = self.table.group_or_new(asked.group);
        let action = Action::Reserve { protocol: asked.protocol, ports: asked.ports, outside };
        let deadline = now + seconds(lifetime);
        let owner = origin.agent;
        let rule = Rule {
            group,
            owner,
            action,
            since: now,
            deadline,
            phase: Phase::Live,
            timer: None,
            ending: false,
        };
        let prid = self.table.insert(rule);
        self.journal.mark(prid);
        self.start_timer(prid, lifetime);
        self.reply(origin, Reply::Reserved { prid, group, lifetime, outside: a2, inside: None }, out);
        self.notify(owner, Some(origin.session), prid, lifetime, out);
        out.push(Output::Event(Event::RuleReserved { prid, agent: owner, lifetime }));
        Ok(Progress::Answered)
    }

    //= RFC 4540 §8.3.1, §8.3.2, §8.3.3: order of checks of PER; the reply waits for the device.
    fn enable(
        &mut self,
        now: Instant,
        origin: Origin,
        asked: Enable,
        group: Option<Gid>,
    ) -> Result<Progress, Failure> {
        let rules_max = self.policy(origin.agent)?.rules_max;
        self.table.joinable(origin.agent, group)?;
        let (owner, opening) = (origin.agent, asked.opening);
        self.authority.allows(owner, &opening)?;
        let translated = self.is_translated(&opening)?;
        self.table.unbarred(&opening)?;
        self.table.room(owner, rules_max)?;
        let granted = self.grant(owner, asked.lifetime)?;
        let group = self.table.group_or_new(group);
        let outside = match translated {
            true => Some(self.translator.bind(now, owner, group, &opening.internal, asked.parity)?),
            false => None,
        };
        let permits = match self.permits(owner, &opening, outside.as_ref()) {
            Ok(permits) => permits,
            Err(failure) => {
                outside.into_iter().for_each(|outside| self.translator.release(now, outside));
                return Err(failure);
            }
        };
        let deadline = now + seconds(granted);
        let action = Action::Enable { parity: asked.parity, opening, outside, permits };
        let rule = Rule {
            group,
            owner,
            action,
            since: now,
            deadline,
            phase: Phase::New,
            timer: None,
            ending: false,
        };
        let prid = self.table.insert(rule);
        self.journal.mark(prid);
        self.need(prid);
        Ok(Progress::Job(Job::Enable { origin, prid, granted, opening }))
    }

    //= RFC 4540 §8.4.1: order of checks of PEA: the rule exists, is RESERVED, is the agent's own, then as PER.
    fn enable_reserved(
        &mut self,
        now: Instant,
        origin: Origin,
        prid: Prid,
        asked: Enable,
    ) -> Result<Progress, Failure> {
        self.policy(origin.agent)?;
        let rule = self.known(prid)?;
        let Action::Reserve { protocol, ports, outside } = &rule.action else {
            return Err(Failure::Inconsistent);
        };
        let (protocol, ports, group, owner) = (*protocol, *ports, rule.group, rule.owner);
        self.accessible(rule, origin.agent)?;
        // It stays its owner's rule, whoever enables it.
        self.authority.allows(owner, &asked.opening)?;
        let translated = self.is_translated(&asked.opening)?;
        self.table.unbarred(&asked.opening)?;
        fits_reservation(outside.as_ref(), translated, &asked)?;
        if asked.opening.internal.protocol != protocol {
            return Err(Failure::ProtocolMismatch);
        }
        // Fewer ports than reserved are fine (RTP and RTCP on one port); more were never promised.
        if asked.opening.internal.range > ports {
            return Err(Failure::Inconsistent);
        }
        let granted = self.grant(origin.agent, asked.lifetime)?;
        let opening = asked.opening;
        let permits = self.permits(owner, &opening, outside.as_ref())?;
        let outside = outside.clone();
        let outside =
            outside.map(|reserved| self.translator.enable(owner, group, &opening.internal, reserved));
        let action = Action::Enable { parity: asked.parity, opening, outside, permits };
        let before = self.busy(prid, |rule| {
            let deadline = std::mem::replace(&mut rule.deadline, now + seconds(granted));
            //= RFC 4540 §8.4.2: the rule keeps its identifier and its group.
            rule.action = action;
            Before { protocol, ports, deadline }
        })?;
        self.need(prid);
        Ok(Progress::Job(Job::EnableReserved { origin, prid, granted, opening: asked.opening, before }))
    }

    //= RFC 4540 §8.5: order of checks of PLC.
    fn change(
        &mut self,
        now: Instant,
        origin: Origin,
        prid: Prid,
        lifetime: Lifetime,
    ) -> Result<Progress, Failure> {
        let lifetime_max = self.policy(origin.agent)?.lifetime_max;
        self.accessible(self.known(prid)?, origin.agent)?;
        let granted = lifetime.min(lifetime_max);
        //= exception RFC 4540 §8.5: a lifetime above zero never ends a rule, even if the policy grants none.
        if granted == Lifetime::END {
            return Err(Failure::LifetimeNotExtended);
        }
        let before = self.busy(prid, |rule| std::mem::replace(&mut rule.deadline, now + seconds(granted)))?;
        self.need(prid);
        Ok(Progress::Job(Job::Lifetime { origin, prid, granted, before }))
    }

    fn end(&mut self, origin: Origin, prid: Prid) -> Result<Progress, Failure> {
        self.policy(origin.agent)?;
        self.accessible(self.known(prid)?, origin.agent)?;
        Ok(self.begin_end(prid, Some(origin), EndCause::Requested))
    }

    /// A rule ends by itself or by the operator, unless it lives on by now.
    fn end_unasked(&mut self, now: Instant, prid: Prid, cause: EndCause) -> Progress {
        let Some(rule) = self.table.rule(prid) else { return Progress::Answered };
        // An extension may have been granted between the timer and now: then a later timer runs.
        let due = rule.timer.is_none_or(|timer| timer.at() <= now);
        match cause {
            EndCause::Expired if !due => Progress::Answered,
            EndCause::Expired
            | EndCause::Requested
            | EndCause::Revoked
            | EndCause::Withdrawn
            | EndCause::Disabled
            | EndCause::Lost => self.begin_end(prid, None, cause),
        }
    }

    pub(crate) fn begin_end(&mut self, prid: Prid, origin: Option<Origin>, cause: EndCause) -> Progress {
        let keys: Vec<_> = match self.table.rule_mut(prid) {
            Some(rule) => {
                rule.phase = Phase::Busy;
                rule.ending = true;
                self.journal.mark(prid);
                rule.keys().collect()
            }
            None => Vec::new(),
        };
        for key in keys {
            self.elements.release(key, prid);
        }
        Progress::Job(Job::End { origin, prid, cause })
    }

    //= RFC 4540 §8.6: order of checks of PRS.
    fn status_of(&self, now: Instant, agent: AgentId, prid: Prid) -> Result<RuleStatus, Failure> {
        self.policy(agent)?;
        let rule = self.known(prid)?;
        self.accessible(rule, agent)?;
        let owner = self.authority.agent(rule.owner).map_or_else(String::new, |owner| owner.name.clone());
        let (group, lifetime) = (rule.group, rule.remaining(now));
        Ok(match &rule.action {
            Action::Reserve { protocol, outside, .. } => {
                let (protocol, outside) = (*protocol, outside.as_ref().map(|outside| outside.tuple));
                RuleStatus::Reserved { prid, group, lifetime, outside, protocol, inside: None, owner }
            }
            Action::Enable { parity, opening, outside, .. } => RuleStatus::Enabled {
                prid,
                group,
                parity: *parity,
                direction: opening.direction,
                internal: opening.internal,
                //= RFC 4540 §8.3.2: on a pure firewall A1 is A3 and A2 is A0.
                inside: opening.external,
                outside: outside.as_ref().map_or(opening.internal, |outside| outside.tuple),
                external: opening.external,
                lifetime,
                owner,
            },
            Action::Disable(Barrier { internal, external }) => {
                let (internal, external) = (*internal, *external);
                RuleStatus::Disabled { prid, internal, external, lifetime, owner }
            }
        })
    }

    //= RFC 4540 §8.7: PRL lists what the agent may access, as long as it fits.
    fn list(&self, agent: AgentId) -> Result<Vec<Prid>, Failure> {
        let prids: Vec<_> = match self.policy(agent)?.rights.administer {
            true => self.table.all_confirmed().collect(),
            false => self.table.confirmed(agent).collect(),
        };
        if prids.len() > limits::LIST_MAX { Err(Failure::ReplyTooBig) } else { Ok(prids) }
    }

    /// PRC: the engine is asked about those rules that the agent may access, the others are left out.
    fn count(&self, Origin { session, agent, tid, .. }: Origin, prids: &[Prid]) -> Result<Output, Failure> {
        self.policy(agent)?;
        let keys = |prid: &Prid| -> Option<(Prid, Vec<Key>)> {
            let rule = self.known(*prid).ok().filter(|rule| self.accesses(agent, rule.owner))?;
            Some((*prid, rule.keys().flat_map(|key| self.with_hairpins(key)).collect()))
        };
        let rules = prids.iter().filter_map(keys).collect();
        Ok(Output::Count { session, tid, rules })
    }

    /// A rule that agents can know of.
    fn known(&self, prid: Prid) -> Result<&Rule, Failure> {
        self.table.rule(prid).filter(|rule| rule.phase != Phase::New).ok_or(Failure::NoSuchRule)
    }

    //= RFC 5189 §2.1.5: a rule is accessed by its owner, on whichever session, and by who may access all rules.
    fn accessible(&self, rule: &Rule, agent: AgentId) -> Result<(), Failure> {
        if self.accesses(agent, rule.owner) { Ok(()) } else { Err(Failure::NotAuthorizedForRule) }
    }

    /// True if an agent may look at, change and end the rules of `owner`.
    pub(crate) fn accesses(&self, agent: AgentId, owner: AgentId) -> bool {
        agent == owner || self.authority.agent(agent).is_some_and(|policy| policy.rights.administer)
    }

    /// Changes a confirmed rule; until the engine has agreed, requests for it wait.
    fn busy<T>(&mut self, prid: Prid, change: impl FnOnce(&mut Rule) -> T) -> Result<T, Failure> {
        let rule = self.table.rule_mut(prid).ok_or(Failure::NoSuchRule)?;
        rule.phase = Phase::Busy;
        self.journal.mark(prid);
        Ok(change(rule))
    }

    /// Says to the elements what a rule needs, and until when.
    pub(crate) fn need(&mut self, prid: Prid) {
        let Some(rule) = self.table.rule(prid) else { return };
        for key in rule.permits().iter().map(Permit::key) {
            if self.elements.need(key, prid, rule.deadline) {
                self.tally.orphans_taken += 1;
            }
        }
    }

    /// Starts the timer of a rule anew.
    pub(crate) fn start_timer(&mut self, prid: Prid, granted: Lifetime) {
        let Some(rule) = self.table.rule_mut(prid) else { return };
        if let Some(timer) = rule.timer.take() {
            self.timers.stop(timer);
        }
        rule.timer = Some(self.timers.set(rule.ends_at(granted), Timer::RuleEnds(prid)));
    }
}

/// The rule a request names.
fn names(request: &Request) -> Option<Prid> {
    match request {
        Request::EnableReserved { prid, .. } | Request::Lifetime { prid, .. } | Request::Status { prid } => {
            Some(*prid)
        }
        Request::Reserve { .. }
        | Request::Enable { .. }
        | Request::Disable { .. }
        | Request::List
        | Request::Count { .. } => None,
    }
}

fn version_fits(has: IpVersions, asked: IpVersionChoice) -> Result<(), Failure> {
    match (has, asked) {
        (_, IpVersionChoice::Any)
        | (IpVersions::Both, IpVersionChoice::V4 | IpVersionChoice::V6)
        | (IpVersions::V4, IpVersionChoice::V4)
        | (IpVersions::V6, IpVersionChoice::V6) => Ok(()),
        (IpVersions::V4, IpVersionChoice::V6) | (IpVersions::V6, IpVersionChoice::V4) => {
            Err(Failure::IpVersionMismatch)
        }
    }
}
