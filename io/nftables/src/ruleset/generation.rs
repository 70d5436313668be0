//! Two sets of names for the sets of entries, so that new ones can be filled beside those in force.

use std::collections::BTreeSet;

use super::gate::{SetId, gate};
use super::statement::Statement;
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
    pub(crate) fn name(self, set: SetId) -> String {
        self.of(set.name())
    }

    fn of(self, first: String) -> String {
        match self {
            Self::First => first,
            Self::Second => format!("{first}_2"),
        }
    }

    /// The gate with sets of entries that have these names.
    pub(crate) fn gate(self, config: &GateConfig, name: &str) -> Table {
        let mut table = gate(config, name);
        if self == Self::First {
            return table;
        }
        let mut names = BTreeSet::new();
        for set in table.sets.iter_mut().filter(|set| matches!(set.kind, SetKind::Entries(_))) {
            let second = self.of(set.name.clone());
            names.insert(std::mem::replace(&mut set.name, second));
        }
        let rename = |set: &mut String| {
            if names.contains(set) {
                *set = self.of(std::mem::take(set));
            }
        };
        for statement in table.chains.iter_mut().flat_map(|chain| &mut chain.rules).flatten() {
            if let Statement::In(_, set) = statement {
                rename(set);
            } else if let Statement::Rewrite(rewrite) = statement {
                rename(&mut rewrite.addresses);
                rename(&mut rewrite.ports);
            }
        }
        table.chains.push(Chain::inner(SECOND, Vec::new()));
        table
    }
}
