//! What is remembered of sources, within a bound: two halves, of which the older is forgotten when the younger is full.

use machine::Rng;
use machine::map::{Map, Seeded};

use crate::source::Source;

/// Values by source. Whoever is asked for moves into the younger half, so that those who are silent go first.
#[derive(Debug)]
pub(crate) struct Table<V> {
    young: Map<Source, V>,
    old: Map<Source, V>,
    half: usize,
}

impl<V: Default> Table<V> {
    /// Room for `half` sources in each half.
    pub(crate) fn new(half: usize, rng: &mut Rng) -> Self {
        let map = |rng: &mut Rng| Map::with_hasher(Seeded::new(rng));
        Self { young: map(rng), old: map(rng), half }
    }

    /// What is remembered of a source, which is then remembered.
    pub(crate) fn of(&mut self, source: Source) -> &mut V {
        if !self.young.contains_key(&source) {
            let known = self.old.remove(&source).unwrap_or_default();
            if self.young.len() >= self.half {
                std::mem::swap(&mut self.young, &mut self.old);
                self.young.clear();
            }
            self.young.insert(source, known);
        }
        self.young.entry(source).or_default()
    }

    /// The same, if anything is.
    pub(crate) fn known(&mut self, source: Source) -> Option<&mut V> {
        match self.young.get_mut(&source) {
            Some(value) => Some(value),
            None => self.old.get_mut(&source),
        }
    }

    /// How many sources are remembered.
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(number: u32) -> Source {
        Source::of(std::net::Ipv4Addr::from_bits(number).into())
    }

    #[test]
    fn strangers_push_out_the_silent_and_not_the_busy() {
        let mut table: Table<u32> = Table::new(100, &mut Rng::from_number(1));
        *table.of(source(1)) = 7;
        *table.of(source(2)) = 8;
        for number in 1_000..11_000 {
            *table.of(source(number)) = 1;
            assert_eq!(*table.of(source(1)), 7);
            assert!(table.len() <= 200);
        }
        assert_eq!(table.known(source(2)), None);
        assert_eq!(*table.of(source(2)), 0);
    }
}
