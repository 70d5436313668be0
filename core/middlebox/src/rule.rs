//! One policy rule. RFC 5189 §2.3.2, states of RFC 4540 §8.1.

use std::time::Duration;

use machine::{Instant, TimerId};
use midcom::{Gid, Lifetime, Parity, Protocol, Tuple};

use crate::authority::{AgentId, Opening, Permit};
use crate::entry::Key;
use crate::limits;
use crate::nat::Outside;

/// What a rule does.
#[derive(Debug, Clone)]
pub(crate) enum Action {
    /// RESERVED: it holds an identifier and a group and, where addresses are translated, outside ports.
    Reserve {
        /// The protocol it was made for.
        protocol: Protocol,
        /// How many ports; `u16::MAX` means all.
        ports: u16,
        /// A2, where addresses are translated.
        outside: Option<Outside>,
    },
    /// ENABLED: packets pass.
    Enable {
        /// Parity asked for; a pure firewall has no use for it but tells it again.
        parity: Parity,
        /// What may pass.
        opening: Opening,
        /// A2, where addresses are translated.
        outside: Option<Outside>,
        /// The entries it needs.
        permits: Box<[Permit]>,
    },
    /// ENABLED, as PDR has it: nothing may pass.
    Disable(Barrier),
}

/// What a disable rule forbids: every packet between the two, in either direction (RFC 4540 §8.8.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Barrier {
    /// A0.
    pub(crate) internal: Tuple,
    /// A3.
    pub(crate) external: Tuple,
}

/// How firmly a rule stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Made, but the engine has not confirmed it: nobody knows it. Becomes `Live`, or is forgotten.
    New,
    /// Confirmed.
    Live,
    /// Confirmed, and a change of it waits for the engine: requests that name it wait too. Becomes `Live`, or ends.
    Busy,
}

/// A policy rule.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// Its group, for life.
    pub(crate) group: Gid,
    /// Its owner, for life.
    pub(crate) owner: AgentId,
    /// What it does.
    pub(crate) action: Action,
    /// When it was made.
    pub(crate) since: Instant,
    /// When its lifetime ends.
    pub(crate) deadline: Instant,
    /// How firmly it stands.
    pub(crate) phase: Phase,
    /// The timer that ends it.
    pub(crate) timer: Option<TimerId>,
    /// It is to end, and the engine has not yet agreed.
    pub(crate) ending: bool,
}

impl Action {
    /// A2, where addresses are translated.
    pub(crate) fn outside(&self) -> Option<&Outside> {
        match self {
            Self::Reserve { outside, .. } | Self::Enable { outside, .. } => outside.as_ref(),
            Self::Disable(_) => None,
        }
    }

    /// The same, when the rule is gone.
    pub(crate) fn into_outside(self) -> Option<Outside> {
        match self {
            Self::Reserve { outside, .. } | Self::Enable { outside, .. } => outside,
            Self::Disable(_) => None,
        }
    }
}

impl Rule {
    /// The permits of its entries; only an enable rule has any.
    pub(crate) fn permits(&self) -> &[Permit] {
        match &self.action {
            Action::Reserve { .. } | Action::Disable(_) => &[],
            Action::Enable { permits, .. } => permits,
        }
    }

    /// The keys of its entries.
    pub(crate) fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        self.permits().iter().map(Permit::key)
    }

    /// What is left of its lifetime, in started seconds.
    pub(crate) fn remaining(&self, now: Instant) -> Lifetime {
        let nanos = self.deadline.since(now).as_nanos();
        Lifetime(u32::try_from(nanos.div_ceil(1_000_000_000)).unwrap_or(u32::MAX))
    }

    /// When the machine ends it: before the kernel would, so that the end is heard and nothing is deleted twice.
    pub(crate) fn ends_at(&self, granted: Lifetime) -> Instant {
        let lead = match self.action {
            Action::Reserve { .. } | Action::Disable(_) => Duration::ZERO,
            Action::Enable { .. } => limits::EXPIRY_LEAD.min(seconds(granted) / 2),
        };
        Instant::from_nanos(self.deadline.as_nanos() - nanos(lead).min(self.deadline.as_nanos()))
    }
}

/// A lifetime as a duration.
pub(crate) fn seconds(lifetime: Lifetime) -> Duration {
    Duration::from_secs(u64::from(lifetime.0))
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
