//! The hold: `docs/pinholes.md` §3, "held". Where media has no ports of its own nothing can be dropped by range. What an
//! entry lets pass is remembered as it passes, and kept out once there is no entry for it, as long as somebody goes on
//! sending it.

use super::gate::{families_of, media_name};
use super::statement::{End, Family, Field, Statement, Verdict};
use super::table::{Set, SetKind};
use crate::config::{GateConfig, Mode};

const UDP: u8 = 17;

/// Who sends to whom, and to which port: the sender's own port would let it start again from another one.
pub(super) fn fields(family: Family) -> Vec<Field> {
    vec![
        Field::Address(family, End::Source),
        Field::Address(family, End::Destination),
        Field::Port(End::Destination),
    ]
}

fn name(family: Family) -> String {
    format!("held{}", family.digit())
}

/// The IP versions in which something is held.
fn families(config: &GateConfig) -> impl Iterator<Item = Family> + '_ {
    let unmanaged = |family: &Family| {
        let mut realms = config.realms.realms().iter().filter(|realm| !realm.managed);
        realms.any(|realm| families_of(realm).contains(family))
    };
    Family::BOTH.into_iter().filter(move |family| config.mode == Mode::Enforce && unmanaged(family))
}

/// Their sets.
pub(super) fn sets(config: &GateConfig) -> Vec<Set> {
    families(config).map(|family| Set { name: name(family), kind: SetKind::Held(family) }).collect()
}

/// What passes is remembered. If there is no room it passes all the same.
pub(super) fn remember(config: &GateConfig) -> Vec<Vec<Statement>> {
    let unmanaged = config.realms.realms().iter().enumerate().filter(|(_, realm)| !realm.managed);
    let mut rules = Vec::new();
    for (position, realm) in unmanaged.filter(|_| config.mode == Mode::Enforce) {
        for family in families_of(realm) {
            rules.extend([End::Source, End::Destination].map(|end| {
                vec![
                    Statement::Protocol(UDP),
                    Statement::AddressIn(family, end, media_name(position, family)),
                    Statement::Remember(fields(family), name(family)),
                ]
            }));
        }
    }
    rules
}

/// What is remembered and found no entry is dropped, and remembered anew.
pub(super) fn kept_out(config: &GateConfig) -> Vec<Vec<Statement>> {
    let rule = |family| {
        vec![
            Statement::Family(family),
            Statement::In(fields(family), name(family)),
            Statement::Remember(fields(family), name(family)),
            Statement::Counter,
            Statement::Then(Verdict::Drop),
        ]
    };
    families(config).map(rule).collect()
}
