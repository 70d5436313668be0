//! Trunks: what the configuration and the files of passwords say of them, and what commands are told.

use b2bua::config as to;
use b2bua::{TrunkInfo, TrunkState};
use machine::Instant;

use super::{Agent, Failure, settings};
use crate::admin::protocol::{TrunkLine, Trunks};
use crate::config::{Config, Trunk};
use crate::secret;

/// All of them, each with its password; `reader` is the user that the half becomes.
pub(super) fn read(config: &Config, reader: u32) -> Result<Vec<to::Trunk>, Failure> {
    config.trunks.iter().map(|from| trunk(from, reader).map_err(Failure::Start)).collect()
}

fn trunk(from: &Trunk, reader: u32) -> Result<to::Trunk, String> {
    Ok(to::Trunk {
        name: from.name.clone(),
        realm: settings::id(from.realm),
        next_hop: settings::next_hop(&from.next_hop),
        addresses: from.addresses.clone(),
        domain: from.domain.clone(),
        user: from.user.clone(),
        auth_user: from.auth_user.clone(),
        secret: secret::password(&from.password_file, reader)?,
        digest_realm: from.digest_realm.clone(),
        register: from.register.as_ref().map(|(expires, contact_user)| to::Register {
            expires: *expires,
            contact_user: contact_user.clone(),
        }),
    })
}

impl Agent {
    /// What `postern trunks` shows.
    pub(super) fn trunks(&self, now: Instant) -> Trunks {
        let line = |info: TrunkInfo| {
            let (state, at, seconds) = match info.state {
                TrunkState::Unregistered => ("unregistered", None, None),
                TrunkState::Registering => ("registering", None, None),
                TrunkState::Registered { hop, until } => {
                    ("registered", Some(hop.to_string()), Some(until.since(now).as_secs()))
                }
                TrunkState::Failed { again } => ("failed", None, Some(again.since(now).as_secs())),
            };
            TrunkLine {
                name: info.name,
                realm: self.chronicle.realm(info.realm).into(),
                user: format!("{}@{}", info.user, info.domain),
                state: state.into(),
                at,
                seconds,
                why: Some(info.why).filter(|why| !why.is_empty()),
            }
        };
        Trunks { trunks: self.machine.trunks().map(line).collect() }
    }
}
