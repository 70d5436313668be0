//! Who may say who, and what is asked of whom.

use std::collections::BTreeMap;

use sip::digest::{Hash, Secret};
use sip::message::Method;

use crate::user::UserPattern;

/// What a realm asks of its peers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authentication {
    /// The realm of our challenges.
    pub realm: String,
    /// Methods of requests outside calls that need an answer to one.
    pub methods: Vec<Method>,
}

/// Everybody who has a password with us.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Users(BTreeMap<Box<str>, User>);

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The password, or what stands for it.
    pub secret: Secret,
    /// Whom else it may call itself in From.
    pub callers: Vec<UserPattern>,
}

impl User {
    /// True if it may call itself so.
    pub(crate) fn is(&self, name: &str, called: &str) -> bool {
        let own = UserPattern::parse(name).is_some_and(|own| own.matches(called));
        own || self.callers.iter().any(|pattern| pattern.matches(called))
    }
}

impl Users {
    /// These; of two with one name the later counts.
    #[must_use]
    pub fn new(users: impl IntoIterator<Item = (Box<str>, User)>) -> Self {
        Self(users.into_iter().collect())
    }

    /// One of them.
    pub(crate) fn get(&self, name: &str) -> Option<&User> {
        self.0.get(name)
    }

    /// True if somebody is called so, however the name is spelt.
    pub(crate) fn has(&self, user: &str) -> bool {
        self.0.contains_key(user)
            || self.0.keys().any(|name| UserPattern::parse(name).is_some_and(|own| own.matches(user)))
    }

    /// True if there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// True if there is a hash that everybody can answer with.
    #[must_use]
    pub fn has_common_hash(&self) -> bool {
        self.hashes().next().is_some()
    }

    /// With what everybody can answer, the best first.
    pub(crate) fn hashes(&self) -> impl Iterator<Item = Hash> + '_ {
        Hash::ALL.into_iter().filter(|hash| self.0.values().all(|user| user.secret.knows(*hash)))
    }
}
