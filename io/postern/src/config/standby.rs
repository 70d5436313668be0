//! Pairs of middleboxes of which packets cross one (`standby-for`): what two must have in common.

use super::middlebox::{Engine, Middlebox};
use super::problem::Problems;

/// Whoever stands by for another is its only partner, and lies where it lies.
pub(super) fn pairs(middleboxes: &[Middlebox], problems: &mut Problems) {
    let mut paired: Vec<&str> = Vec::new();
    for middlebox in middleboxes {
        let Some((name, place)) = &middlebox.standby_for else { continue };
        let mut complain = |title: String, label: &str| problems.push(place.clone(), title, label);
        let Some(other) = middleboxes.iter().find(|other| other.name == *name) else {
            complain(format!("there is no middlebox `{name}`"), "a name of another [[middlebox]]");
            continue;
        };
        if other.name == middlebox.name {
            complain(format!("`{name}` cannot stand by for itself"), "a name of another [[middlebox]]");
            continue;
        }
        if let Some(twice) =
            [&other.name, &middlebox.name].into_iter().find(|one| paired.contains(&one.as_str()))
        {
            complain(format!("`{twice}` has another partner already"), "two make a pair, and no third");
        }
        paired.extend([other.name.as_str(), middlebox.name.as_str()]);
        if (&middlebox.inside, &middlebox.outside) != (&other.inside, &other.outside) {
            complain(
                format!("`{name}` does not lie between the same realms"),
                "a call needs both of a pair or none: give both the same `inside` and `outside`",
            );
        }
        if [middlebox, other].iter().any(|one| one.engine == Engine::None) {
            complain("one of the pair is no firewall".into(), "`engine = \"none\"` asks nobody");
        }
        if [middlebox, other].iter().any(|one| !one.nat.is_empty()) {
            complain(
                "one of the pair translates addresses".into(),
                "the outside would have to be told two addresses at once",
            );
        }
    }
}
