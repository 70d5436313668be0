//! Disable rules: PDR, RFC 4540 §8.8. Before changing this file read that section whole.
//!
//! A disable rule outranks every enable rule, whoever owns them: those it overlaps end with it, and none that overlaps
//! it is made while it lives. It has no entry in the engine: what nothing has opened, the gate does not let pass.

use machine::{Instant, Outbox};
use midcom::{Failure, Lifetime, Network, Prid, Protocol, Reply, Tuple};

use crate::authority::{AgentId, Opening};
use crate::batch::Job;
use crate::entry::{End, Key, Source, Translation};
use crate::event::{EndCause, Event};
use crate::limits;
use crate::middlebox::{Middlebox, Origin, Output};
use crate::requests::Progress;
use crate::rule::{Action, Barrier, Phase, Rule, seconds};
use crate::tuples;

impl Barrier {
    /// True if some packet belongs to both, on the inside and on the outside. Each end is compared by itself, as the
    /// RFC has it: of two ranges of ports any may meet.
    pub(crate) fn bars(&self, opening: &Opening) -> bool {
        self.internal.overlaps(&opening.internal) && self.external.overlaps(&opening.external)
    }

    /// True if the engine's entry may admit a packet that is forbidden.
    fn bars_key(&self, key: &Key) -> bool {
        let protocol = key.transport().protocol();
        let (source, destination) = ends(key, protocol);
        let crosses =
            |inner: &Tuple, outer: &Tuple| self.internal.overlaps(inner) && self.external.overlaps(outer);
        crosses(&source, &destination) || crosses(&destination, &source)
    }
}

/// Who sends and who receives, as tuples.
fn ends(key: &Key, protocol: Protocol) -> (Tuple, Tuple) {
    let source = match key.source() {
        Source::Exact { address, port } => Tuple::host((address, port).into(), protocol, 1),
        Source::Host(address) => Tuple::network(Network::from(address), protocol, 1),
        Source::Network(network) => Tuple::network(network, protocol, 1),
    };
    let range = if key.ports().is_pair() { 2 } else { 1 };
    // The outside address is only the gate's: what is forbidden is said of who is behind it.
    let receiver = match key.translation() {
        Some(Translation { end: End::Destination, address, port }) => (address, port),
        Some(Translation { end: End::Source, .. }) | None => (key.destination(), key.ports().first()),
    };
    (source, Tuple::host(receiver.into(), protocol, range))
}

impl Middlebox {
    /// Whether an agent may make disable rules.
    ///
    /// # Errors
    /// [`Failure::NotAuthorizedForTransaction`].
    pub(crate) fn may_disable(&self, agent: AgentId) -> Result<(), Failure> {
        //= RFC 4540 §8.8.2: the agent's right to disable communication is looked at first.
        let may = self.policy(agent)?.rights.disable;
        if may { Ok(()) } else { Err(Failure::NotAuthorizedForTransaction) }
    }

    /// True if a rule that would end by this has a change in flight.
    pub(crate) fn is_unsettled(&self, barrier: &Barrier) -> bool {
        self.barred(barrier).any(|(_, rule)| rule.phase != Phase::Live)
    }

    /// The enable rules that overlap a disable rule.
    fn barred<'a>(&'a self, barrier: &'a Barrier) -> impl Iterator<Item = (Prid, &'a Rule)> + 'a {
        self.table.iter().filter(|(_, rule)| match &rule.action {
            Action::Enable { opening, .. } => barrier.bars(opening),
            //= RFC 4540 §8.8.1: a disable rule conflicts with enable rules only.
            Action::Reserve { .. } | Action::Disable(_) => false,
        })
    }

    //= RFC 4540 §8.8.2, §8.8.3: order of checks of PDR; the reply waits until what it ends is closed.
    //= exception RFC 4540 §8.8.3: what the administrator's own rules let pass is not blocked; our table is the
    //= pinholes, and a pinhole is what it closes.
    pub(crate) fn disable(
        &mut self,
        now: Instant,
        origin: Origin,
        barrier: Barrier,
        lifetime: Lifetime,
    ) -> Result<Progress, Failure> {
        self.may_disable(origin.agent)?;
        tuples::check_barrier(&barrier)?;
        self.authority.allows_barrier(&barrier)?;
        let rules_max = self.policy(origin.agent)?.rules_max;
        self.table.room(origin.agent, rules_max)?;
        if self.table.barriers() >= limits::DISABLE_RULES_MAX {
            return Err(Failure::NoResources);
        }
        let granted = self.grant(origin.agent, lifetime)?;
        let ended: Vec<Prid> = self.barred(&barrier).map(|(prid, _)| prid).collect();
        let mut keys: Vec<Key> = Vec::new();
        for prid in &ended {
            let ended = self.table.rule(*prid).into_iter().flat_map(Rule::keys);
            keys.extend(ended.flat_map(|key| self.with_hairpins(key)));
            self.begin_end(*prid, None, EndCause::Disabled);
        }
        // Nobody owns the rest of what is there, so nobody is told.
        keys.extend(self.elements.close_unneeded(&self.retry, |key| barrier.bars_key(key)));
        // RFC 5189 §2.3.3: every rule is in a group; SIMCO has no place to say in which one this is.
        let group = self.table.group_or_new(None);
        let (owner, action) = (origin.agent, Action::Disable(barrier));
        let deadline = now + seconds(granted);
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
        Ok(Progress::Job(Job::Disable { origin, prid, granted, ended, keys }))
    }

    /// Everything that a disable rule forbids is closed.
    pub(crate) fn disabled(
        &mut self,
        origin: Origin,
        prid: Prid,
        lifetime: Lifetime,
        ended: usize,
        out: &mut Outbox<Output>,
    ) {
        self.start_timer(prid, lifetime);
        let Some(rule) = self.table.rule_mut(prid) else { return };
        rule.phase = Phase::Live;
        let Action::Disable(Barrier { internal, external }) = rule.action else { return };
        self.reply(origin, Reply::Disabled { prid, lifetime }, out);
        //= RFC 4540 §8.8.2: other sessions that may access the rule are told its lifetime.
        self.notify(origin.agent, Some(origin.session), prid, lifetime, out);
        let agent = origin.agent;
        out.push(Output::Event(Event::RuleDisabled { prid, agent, internal, external, lifetime, ended }));
    }
}
