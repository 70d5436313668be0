//! How often agents may ask.

use std::collections::BTreeMap;
use std::time::Duration;

use machine::Instant;

use crate::authority::AgentId;

/// What may come at once after a quiet second: as much as in a second.
const BURST: Duration = Duration::from_secs(1);

/// What each agent has used of its rate. One entry for each agent that has one.
#[derive(Debug, Default)]
pub(crate) struct Rates {
    /// When what has been asked would have been asked by, at exactly the rate.
    used: BTreeMap<AgentId, Instant>,
}

impl Rates {
    /// True if the agent may ask once more; then it has.
    pub(crate) fn take(&mut self, now: Instant, agent: AgentId, per_second: u32) -> bool {
        let used = self.used.entry(agent).or_insert(now);
        let next = (*used).max(now) + Duration::from_secs(1) / per_second.max(1);
        let fits = next.since(now) <= BURST;
        if fits {
            *used = next;
        }
        fits
    }

    /// Forgets agents that have no rate any more.
    pub(crate) fn keep(&mut self, has_rate: impl Fn(AgentId) -> bool) {
        self.used.retain(|agent, _| has_rate(*agent));
    }
}
