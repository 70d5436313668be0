//! Which realms a middlebox lies between.

use std::ops::Range;

use super::key::{Absent, Key, Table};
use super::kind::{Chosen, Either, List, Place, Text};
use super::middlebox::Engine;
use super::problem::Problems;
use super::realm::Realm;
use super::route;

pub(super) static INSIDE: Key<OneOrMore> = Key {
    name: "inside",
    kind: ONE_OR_MORE,
    absent: Absent::Derived("the realm called `inside`; without one, the only realm that has `media`"),
    text: "The realms that the firewall protects.",
};
pub(super) static OUTSIDE: Key<OneOrMore> = Key {
    name: "outside",
    kind: ONE_OR_MORE,
    absent: Absent::Derived("every realm that is not `inside`"),
    text: "The realms on its other side. A call needs the firewall if one of its realms is inside and the other outside.",
};
/// The name of a realm, or several.
type OneOrMore = Either<Place<Text>, List<Place<Text>>>;
/// What was written, and where.
type Named = (String, Range<usize>);
const REALM_NAME: Place<Text> = Place(Text { what: "name of a realm" });
const ONE_OR_MORE: OneOrMore = Either(REALM_NAME, List { of: REALM_NAME, max: 16 });

/// The realms inside, and those outside where they are named. `None` for names that are nobody's.
pub(super) fn read(
    table: &Table<'_, '_>,
    engine: Engine,
    realms: &[Realm],
    span: Range<usize>,
    problems: &mut Problems,
) -> (Option<Vec<usize>>, Option<Option<Vec<usize>>>) {
    let inside = match table.given(&INSIDE, problems) {
        Some(names) => named(names, realms, problems),
        None => find_inside(engine, realms, span, problems),
    };
    let outside = table.given(&OUTSIDE, problems).map(|names| named(names, realms, problems));
    (inside, outside)
}

/// The realms of these names.
fn named(names: Chosen<Named, Vec<Named>>, realms: &[Realm], problems: &mut Problems) -> Option<Vec<usize>> {
    let names = match names {
        Chosen::One(name) => vec![name],
        Chosen::Other(names) => names,
    };
    let positions: Vec<Option<usize>> =
        names.iter().map(|name| route::realm(name, realms, problems)).collect();
    let mut positions: Vec<usize> = positions.into_iter().collect::<Option<_>>()?;
    positions.sort_unstable();
    positions.dedup();
    Some(positions)
}

/// Every realm is on one side at most, and each side has one.
pub(super) fn check(
    table: &Table<'_, '_>,
    (inside, outside): (&[usize], &[usize]),
    realms: &[Realm],
    problems: &mut Problems,
) {
    let both = inside.iter().find(|position| outside.contains(position)).and_then(|both| realms.get(*both));
    if let Some(realm) = both {
        problems.push(
            table.place(&OUTSIDE),
            format!("realm {} is on both sides of the firewall", realm.name),
            "named in `inside` too",
        );
    }
    if inside.is_empty() {
        problems.push(table.place(&INSIDE), "no realm is inside", "the firewall would protect nothing");
    }
    let given = table.is_given(&OUTSIDE);
    if outside.is_empty() && (given || !inside.is_empty()) && realms.len() > 1 {
        let place = if given { table.place(&OUTSIDE) } else { table.place(&INSIDE) };
        problems.push(place, "no realm is outside", "no call would need the firewall");
    }
}

/// An address belongs to one realm: only one of them can be "whoever is in no other".
pub(super) fn one_is_everybody_else<'a>(
    table: &Table<'_, '_>,
    sides: impl Iterator<Item = &'a usize>,
    realms: &[Realm],
    problems: &mut Problems,
) {
    let mut open = sides.filter_map(|position| realms.get(*position)).filter(|realm| realm.media.is_empty());
    // If something else is wrong already, the missing networks may only be misspelt.
    if let (Some(first), Some(second), true) = (open.next(), open.next(), problems.is_empty()) {
        problems.push_with_help(
            table.place(&OUTSIDE),
            format!("realms {} and {} have no `media`", first.name, second.name),
            "which of the two does an address belong to?",
            "give `media` to all but one of the realms of a firewall",
        );
    }
}

/// The realm that is inside when the file does not say so.
fn find_inside(
    engine: Engine,
    realms: &[Realm],
    span: Range<usize>,
    problems: &mut Problems,
) -> Option<Vec<usize>> {
    let named = realms.iter().position(|realm| realm.name == "inside");
    let mut with_media = realms.iter().enumerate().filter(|(_, realm)| !realm.media.is_empty());
    let only = match (with_media.next(), with_media.next()) {
        (Some((index, _)), None) => Some(index),
        (Some(_) | None, Some(_)) | (None, None) => None,
    };
    let found = named.or(only).or_else(|| (engine == Engine::None && !realms.is_empty()).then_some(0));
    if found.is_none() && !realms.is_empty() && problems.is_empty() {
        problems.push_with_help(
            span,
            "no realm is inside",
            "which realm does the firewall protect?",
            "call it [realm.inside], or write `inside = \"NAME\"` under [middlebox], and give it `media` networks",
        );
    }
    let unprotected = found.and_then(|index| realms.get(index)).filter(|realm| realm.media.is_empty());
    // If something else is wrong already, the missing networks may only be misspelt.
    if let Some(realm) = unprotected.filter(|_| engine != Engine::None && problems.is_empty()) {
        problems.push_with_help(
            realm.span.clone(),
            format!("realm {} has no `media`", realm.name),
            "the firewall would protect nothing",
            "name the networks of its phones: media = [\"10.0.40.0/24\"]",
        );
    }
    found.map(|position| vec![position])
}
