//! Whose challenges are answered, and for how long.
//!
//! Who is called through a trunk can ask for credentials as well, in any realm and with any nonce, and the trunk passes the challenge on.
//! So a trunk has one realm, and a challenge counts only once the trunk has taken its answer.

use sip::digest::{Challenge, Session};
use sip::message::Method;

use super::config::Trunk;
use super::{Kind, Sent, Trunks};
use crate::limits::CHALLENGE_LEN_MAX;

impl Trunks {
    /// True if a challenge to a request may be answered.
    pub(super) fn answers(
        &self,
        trunk: &Trunk,
        sent: &Sent,
        method: &Method,
        challenge: &Challenge<'_>,
    ) -> bool {
        let len = challenge.nonce.len() + challenge.opaque.as_deref().map_or(0, str::len);
        let is_known = challenge.algorithm.is_some_and(|algorithm| trunk.secret.knows(algorithm.hash));
        let realm = match &trunk.digest_realm {
            Some(realm) => Some(realm.as_str()),
            // It goes no further than to the registrar.
            None if *method == Method::Register => None,
            None => self.realms.get(&sent.trunk).map(|realm| &**realm).or_else(|| sent.realm()),
        };
        len <= CHALLENGE_LEN_MAX && is_known && realm.is_none_or(|realm| *realm == *challenge.realm)
    }

    /// A challenge to a request is being answered: what the trunk took before, it takes no more.
    pub(super) fn asked_again(&mut self, sent: &Sent, kind: Kind, session: &Session, method: &Method) {
        let registers = *method == Method::Register;
        if registers {
            self.realms.insert(sent.trunk, session.realm().into());
        }
        self.drop_session(sent, kind, method);
    }

    /// Credentials are not used unasked any more.
    pub(super) fn drop_session(&mut self, sent: &Sent, kind: Kind, method: &Method) {
        if sent.credentials.iter().any(|own| own.kind == kind) {
            self.sessions.remove(&(sent.trunk, kind, *method == Method::Register));
        }
    }

    /// The trunk has taken the credentials of a request: they go into later ones unasked.
    pub(super) fn taken(&mut self, sent: &Sent, method: &Method) {
        for own in &sent.credentials {
            let Some(session) = &own.trying else { continue };
            self.realms.entry(sent.trunk).or_insert_with(|| session.realm().into());
            self.sessions.insert((sent.trunk, own.kind, *method == Method::Register), session.clone());
        }
    }
}

impl Sent {
    /// The realm that has asked for credentials in answer to this request.
    fn realm(&self) -> Option<&str> {
        self.credentials.iter().find_map(|own| own.trying.as_ref()).map(Session::realm)
    }
}
