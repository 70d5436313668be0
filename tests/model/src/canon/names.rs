//! Names of what somebody drew, given in the order in which it is met.

use hashbrown::HashMap;

/// Names given so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Names {
    names: HashMap<(Kind, u128), u32, foldhash::fast::FixedState>,
    /// In the order of their names.
    given: Vec<(Kind, u128)>,
}

/// What an identifier names; equal numbers of different kinds are different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// Drawn at random: equal wherever it stands.
    Random,
    Request,
    Rule,
    Group,
    Lookup,
    Timer,
    Transaction,
}

impl Names {
    pub(super) fn name(&mut self, kind: Kind, value: u128) -> u32 {
        let Self { names, given } = self;
        *names.entry((kind, value)).or_insert_with(|| {
            given.push((kind, value));
            given.len() as u32
        })
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.given.len()
    }

    /// Takes back all but the first so many names.
    pub(super) fn keep(&mut self, len: usize) {
        for name in self.given.drain(len..) {
            self.names.remove(&name);
        }
    }

    pub(super) fn clear(&mut self) {
        self.names.clear();
        self.given.clear();
    }
}
