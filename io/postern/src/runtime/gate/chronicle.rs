//! What is done with the middlebox's events: log lines and counters.

use std::collections::BTreeMap;

use middlebox::{AgentId, EndCause, Event, Policy};
use nftables::Disturbance;

use crate::log;

/// The reader of the event stream.
#[derive(Debug, Default)]
pub(super) struct Chronicle {
    /// How often somebody else changed our table.
    pub drifts: u64,
    /// Of agents that the policy knows.
    names: BTreeMap<AgentId, String>,
}

impl Chronicle {
    /// Learns what agents are called.
    pub(super) fn learn(&mut self, policy: &Policy) {
        self.names = policy.agents.iter().map(|(agent, policy)| (*agent, policy.name.clone())).collect();
    }

    /// Somebody else may have changed our table.
    pub(super) fn disturbed(&mut self, what: &Disturbance) {
        log::debug(format_args!("the kernel's tables were touched: {what:?}"));
    }

    /// Takes note of an event.
    pub(super) fn observe(&mut self, event: &Event) {
        let name = |agent: AgentId| self.names.get(&agent).map_or("an unknown agent", String::as_str);
        match event {
            // The operator's is there from the start; nobody has come.
            Event::SessionOpened { agent: AgentId::OPERATOR, .. } => {}
            Event::SessionOpened { session, agent } => {
                log::info(format_args!("session {}: {} is here", session.0, name(*agent)));
            }
            Event::SessionRefused { session, .. } => {
                log::warn(format_args!("session {}: refused", session.0))
            }
            Event::SessionClosed { session } => {
                log::info(format_args!(
                    "session {}: closed; its rules live on until their lifetime ends",
                    session.0
                ));
            }
            Event::RuleReserved { prid, lifetime, .. } => {
                log::debug(format_args!("rule {}: reserved for {} s", prid.0, lifetime.0));
            }
            Event::RuleEnabled { prid, opening, lifetime, .. } => log::debug(format_args!(
                "rule {}: {:?} {} - {} for {} s",
                prid.0, opening.direction, opening.internal, opening.external, lifetime.0
            )),
            Event::RuleDisabled { prid, agent, internal, external, lifetime, ended } => {
                log::info(format_args!(
                    "rule {}: {} denies {internal} - {external} for {} s; {ended} rules ended",
                    prid.0,
                    name(*agent),
                    lifetime.0
                ));
            }
            Event::LifetimeChanged { prid, lifetime } => {
                log::debug(format_args!("rule {}: {} s from now", prid.0, lifetime.0));
            }
            Event::RuleEnded { prid, cause, .. } => ended(prid.0, *cause),
            Event::RequestRefused { agent, request, failure } => {
                log::info(format_args!("{}: {request:?} refused: {failure}", name(*agent)));
            }
            Event::BatchApplied { operations, failed: 0 } => {
                log::debug(format_args!("{operations} changes committed"));
            }
            Event::BatchApplied { operations, failed } => {
                log::warn(format_args!("{failed} of {operations} changes failed"));
            }
            Event::EntriesAdopted { entries } => log::info(format_args!("{entries} entries found and kept")),
            Event::RulesRestored { rules, dropped } => {
                log::info(format_args!("{rules} rules read back from the journal, {dropped} left out"));
            }
            Event::OrphansRemoved { entries } => {
                log::info(format_args!("{entries} entries removed that nobody claimed"));
            }
            Event::DriftFound { missing, foreign } => {
                self.drifts += 1;
                log::warn(format_args!(
                    "somebody changed our table: {missing} entries were gone, {foreign} were not ours; repairing"
                ));
            }
            Event::VerificationFailed => log::error(format_args!("the kernel's table cannot be read")),
            Event::RemovalFailed { key } => {
                log::error(format_args!("{key}: cannot be removed yet; it ends by its lifetime in any case"));
            }
        }
    }
}

fn ended(rule: u32, cause: EndCause) {
    match cause {
        EndCause::Requested => log::debug(format_args!("rule {rule}: closed")),
        EndCause::Expired => log::info(format_args!("rule {rule}: its lifetime is over")),
        EndCause::Revoked => log::info(format_args!("rule {rule}: revoked")),
        EndCause::Withdrawn => log::info(format_args!("rule {rule}: no longer allowed, closed")),
        EndCause::Disabled => log::info(format_args!("rule {rule}: denied by a disable rule, closed")),
        EndCause::Lost => {
            log::error(format_args!("rule {rule}: lost from the kernel, could not be made again"))
        }
    }
}
