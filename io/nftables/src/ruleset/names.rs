//! Names of sets, and other names for some of a table, so that new ones can be there beside those in force.

use std::collections::{BTreeMap, BTreeSet};

use super::gate::SetId;
use super::generation::Generation;
use super::statement::Statement;
use super::table::{SetKind, Table};
use crate::config::GateConfig;

/// The sets of entries that a gate has, by the names that they have in one generation.
#[derive(Debug, Clone)]
pub(crate) struct Names(BTreeMap<SetId, String>);

impl Names {
    pub(crate) fn new(config: &GateConfig, generation: Generation) -> Self {
        Self(SetId::all(config).into_iter().map(|set| (set, generation.name(set))).collect())
    }

    /// The name of a set; `None` if the gate has no such set.
    pub(crate) fn get(&self, set: SetId) -> Option<&str> {
        self.0.get(&set).map(String::as_str)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (SetId, &str)> {
        self.0.iter().map(|(set, name)| (*set, name.as_str()))
    }
}

impl Table {
    /// Gives the sets of these kinds their second names, in the table and where its rules look into them.
    pub(super) fn rename(&mut self, these: impl Fn(&SetKind) -> bool) {
        let mut renamed = BTreeSet::new();
        for set in self.sets.iter_mut().filter(|set| these(&set.kind)) {
            let second = second(&set.name);
            renamed.insert(std::mem::replace(&mut set.name, second));
        }
        let statements = self.chains.iter_mut().flat_map(|chain| &mut chain.rules).flatten();
        for set in statements.flat_map(Statement::sets).flatten().filter(|set| renamed.contains(*set)) {
            *set = second(set);
        }
    }

    /// The same with second names for the sets that never change.
    pub(crate) fn with_second_names(mut self) -> Self {
        self.rename(SetKind::is_fixed);
        self
    }
}

/// The second name of a set.
pub(super) fn second(first: &str) -> String {
    format!("{first}_2")
}

impl Statement {
    /// The names of the sets that it looks into.
    fn sets(&mut self) -> [Option<&mut String>; 2] {
        match self {
            Self::InputInterfaceNotIn(set)
            | Self::AddressVerdict(_, _, set)
            | Self::AddressIn(_, _, set)
            | Self::In(_, set)
            | Self::Remember(_, set) => [Some(set), None],
            Self::Rewrite(rewrite) => [Some(&mut rewrite.addresses), Some(&mut rewrite.ports)],
            Self::ClearMark(_)
            | Self::SetMark(_)
            | Self::Marked(_)
            | Self::Family(_)
            | Self::Protocol(_)
            | Self::InputInterface(_)
            | Self::OutputInterface(_)
            | Self::NoRouteBack { .. }
            | Self::Address(..)
            | Self::Ports(..)
            | Self::Dscp(..)
            | Self::RawIs(..)
            | Self::IcmpType(..)
            | Self::Limit(_)
            | Self::NoChecksum
            | Self::TcpOpening
            | Self::TrackedAs(_)
            | Self::Trace
            | Self::Counter
            | Self::NoTrack
            | Self::Then(_) => [None, None],
        }
    }
}
