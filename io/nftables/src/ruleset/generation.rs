//! Two sets of names for the sets of entries, so that new ones can be filled beside those in force.

use super::gate::{SetId, gate};
use super::names::second;
use super::table::{Chain, SetKind, Table};
use crate::config::GateConfig;

/// A chain without rules that is there while the second names are in force: what a successor finds must tell it.
pub(crate) const SECOND: &str = "second_sets";

/// Which names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Generation {
    #[default]
    First,
    Second,
}

impl Generation {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::First => Self::Second,
            Self::Second => Self::First,
        }
    }

    /// A set's name.
    pub(super) fn name(self, set: SetId) -> String {
        match self {
            Self::First => set.name(),
            Self::Second => second(&set.name()),
        }
    }

    /// The gate with sets of entries that have these names.
    pub(crate) fn gate(self, config: &GateConfig, name: &str) -> Table {
        let mut table = gate(config, name);
        if self == Self::First {
            return table;
        }
        table.rename(|kind| matches!(kind, SetKind::Entries(_)));
        table.chains.push(Chain::inner(SECOND, Vec::new()));
        table
    }
}
