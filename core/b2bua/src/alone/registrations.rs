//! Who has registered through us, and where a phone is reached: RFC 3261 §10, RFC 3327 (Path).
//!
//! The registrar knows a name of ours for each contact of a phone, and nothing of the phone's address. What is sent to that
//! name goes to the place that the REGISTER came from, whatever its Contact says: a phone behind a NAT is reached by no
//! other, and nobody can have somebody else called.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use machine::Instant;
use machine::onlooker::Onlooker;

use super::registrar::Kept;
use crate::config::RealmId;
use crate::info::RegistrationInfo;
use crate::named::Target;
use crate::tag::Tag;

/// How the user part of our Contact begins that stands for a phone: no telephone number does, and no tag of a dialog.
const NAME: &str = "p-";

/// A name as it is written.
pub(crate) fn text_of(name: Tag) -> String {
    format!("{NAME}{name}")
}

/// Reads a name as we write them.
pub(crate) fn name_of(user: &str) -> Option<Tag> {
    Tag::parse(user.strip_prefix(NAME)?)
}

/// Whose contact.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Whose {
    /// The realm of the phone.
    pub(crate) realm: RealmId,
    /// Its address-of-record, as To has it.
    pub(crate) aor: Box<str>,
    /// Its instance (RFC 5626 §4.1) with reg-id, or else its Contact's URI.
    pub(crate) phone: Box<str>,
}

/// A contact that the registrar knows.
#[derive(Debug, Clone)]
pub(crate) struct Binding {
    pub(crate) whose: Whose,
    /// The realm of the registrar, from which alone it is called.
    pub(crate) registrar: RealmId,
    pub(crate) reach: Target,
    pub(crate) expires: Instant,
    /// How long the registrar wanted to keep it, when it was asked last.
    pub(crate) granted: Duration,
    /// What the phone said beside its URI, but for how long; empty after a restart.
    pub(crate) said: Box<[u8]>,
    /// Service-Route (RFC 3608), topmost first; empty after a restart.
    pub(crate) service_route: Vec<Box<[u8]>>,
    /// Of one that is registered with us.
    pub(crate) kept: Option<Kept>,
}

impl Binding {
    pub(crate) fn info(&self, name: Tag) -> RegistrationInfo {
        let Self { whose, registrar, reach, expires, .. } = self;
        RegistrationInfo {
            name: text_of(name),
            realm: whose.realm,
            registrar: *registrar,
            aor: whose.aor.to_string(),
            contact: reach.uri.to_string(),
            phone: whose.phone.to_string(),
            hop: reach.hop,
            path: reach.path.iter().map(|value| value.to_vec()).collect(),
            expires: *expires,
        }
    }
}

/// All of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registrations {
    bindings: BTreeMap<Tag, Binding>,
    names: BTreeMap<Whose, Tag>,
    due: BTreeSet<(Instant, Tag)>,
}

impl Registrations {
    pub(crate) fn len(&self) -> usize {
        self.bindings.len()
    }

    /// The name that a contact has.
    pub(crate) fn name_of(&self, whose: &Whose) -> Option<Tag> {
        self.names.get(whose).copied()
    }

    pub(crate) fn get(&self, name: Tag) -> Option<&Binding> {
        self.bindings.get(&name)
    }

    /// Sorted by whose they are.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Tag, &Binding)> {
        self.names.values().filter_map(|name| Some((*name, self.bindings.get(name)?)))
    }

    /// Names of everything that somebody has registered.
    pub(crate) fn names_of(&self, realm: RealmId, aor: &str) -> Vec<Tag> {
        let from = Whose { realm, aor: aor.into(), phone: "".into() };
        let of_one =
            self.names.range(from..).take_while(|(whose, _)| whose.realm == realm && &*whose.aor == aor);
        of_one.map(|(_, name)| *name).collect()
    }

    /// Takes over what an earlier process had.
    pub(crate) fn restore(&mut self, now: Instant, known: Vec<RegistrationInfo>, limit: usize) {
        for RegistrationInfo { name, realm, registrar, aor, contact, phone, hop, path, expires } in known {
            let Some(name) = name_of(&name).filter(|_| expires > now && self.len() < limit) else {
                continue;
            };
            let whose = Whose { realm, aor: aor.into(), phone: phone.into() };
            let path = path.into_iter().map(Into::into).collect();
            let reach = Target { realm, uri: contact.into(), hop, path };
            if !self.names.contains_key(&whose) && !self.bindings.contains_key(&name) {
                let granted = expires - now;
                let (said, service_route) = (Box::default(), Vec::new());
                self.put(
                    name,
                    Binding { whose, registrar, reach, expires, granted, said, service_route, kept: None },
                );
            }
        }
    }

    /// The registrar has it. True if it was not there. What the phone was called before must have been removed.
    pub(crate) fn put(&mut self, name: Tag, binding: Binding) -> bool {
        self.due.insert((binding.expires, name));
        self.names.insert(binding.whose.clone(), name);
        let before = self.bindings.insert(name, binding);
        if let Some(before) = &before
            && self.bindings.get(&name).is_some_and(|now| now.expires != before.expires)
        {
            self.due.remove(&(before.expires, name));
        }
        before.is_none()
    }

    pub(crate) fn remove(&mut self, name: Tag) -> Option<Binding> {
        let binding = self.bindings.remove(&name)?;
        if self.names.get(&binding.whose) == Some(&name) {
            self.names.remove(&binding.whose);
        }
        self.due.remove(&(binding.expires, name));
        Some(binding)
    }

    /// One whose time is over.
    pub(crate) fn pop_expired(&mut self, now: Instant) -> Option<(Tag, Binding)> {
        let (at, name) = *self.due.first()?;
        if at > now {
            return None;
        }
        Some((name, self.remove(name)?))
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.due.first().map(|(at, _)| *at)
    }

    pub(crate) fn show(&self, onlooker: &mut dyn Onlooker) {
        let Self { bindings, names: _, due: _ } = self;
        onlooker.see(bindings);
    }
}
