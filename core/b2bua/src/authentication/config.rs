//! Who may say who, and what is asked of whom.

use std::collections::{BTreeMap, BTreeSet};

use sip::digest::{Hash, Secret};
use sip::message::Method;

use crate::user::{UserPattern, canonical};

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
pub struct Users {
    named: BTreeMap<Box<str>, User>,
    /// The names as they are compared.
    canonical: BTreeSet<Box<str>>,
    /// With what everybody can answer, the best first.
    hashes: Vec<Hash>,
}

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
    pub(crate) fn may_say(&self, name: &str, called: &str) -> bool {
        is_name(name, called) || self.callers.iter().any(|pattern| pattern.matches(called))
    }
}

/// True if a user part is a user's name, however it is spelt.
pub(crate) fn is_name(name: &str, called: &str) -> bool {
    canonical(name) == canonical(called)
}

impl Users {
    /// These; of two with one name the later counts.
    #[must_use]
    pub fn new(users: impl IntoIterator<Item = (Box<str>, User)>) -> Self {
        let named: BTreeMap<Box<str>, User> = users.into_iter().collect();
        let canonical = named.keys().map(|name| canonical(name).into()).collect();
        let all_know = |hash: &Hash| named.values().all(|user| user.secret.knows(*hash));
        let hashes = Hash::ALL.into_iter().filter(all_know).collect();
        Self { named, canonical, hashes }
    }

    /// One of them.
    pub(crate) fn get(&self, name: &str) -> Option<&User> {
        self.named.get(name)
    }

    /// True if somebody is called so, however the name is spelt.
    pub(crate) fn has(&self, user: &str) -> bool {
        self.canonical.contains(&*canonical(user))
    }

    /// True if there is nobody.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.named.is_empty()
    }

    /// True if there is a hash that everybody can answer with.
    #[must_use]
    pub fn has_common_hash(&self) -> bool {
        !self.hashes.is_empty()
    }

    /// With what everybody can answer, the best first.
    pub(crate) fn hashes(&self) -> &[Hash] {
        &self.hashes
    }
}
