//! Showing a machine's whole state to someone who must tell whether two states are the same one: the explorer of
//! `tests/model`.

use std::fmt::Debug;

use crate::map::Map;

/// Someone to whom a machine shows its whole state.
///
/// It reads the `Debug` form, so a new field is seen without anybody thinking of it. What a machine leaves out must not
/// decide anything: constants, statistics, and the sources of new identifiers.
pub trait Onlooker {
    /// A part, whatever it contains in a fixed order.
    fn see(&mut self, part: &dyn Debug);

    /// Parts whose order means nothing.
    fn see_unordered(&mut self, parts: &[&dyn Debug]);
}

/// Shows a map, whose order means nothing.
pub fn see_map<K: Debug, V: Debug>(map: &Map<K, V>, onlooker: &mut dyn Onlooker) {
    let entries: Vec<(&K, &V)> = map.iter().collect();
    let parts: Vec<&dyn Debug> = entries.iter().map(|entry| entry as &dyn Debug).collect();
    onlooker.see_unordered(&parts);
}
