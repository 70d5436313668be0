//! A client's side: one nonce, used for as long as the server takes it. RFC 7616 §3.4, §3.6.

use std::fmt::Write;

use super::secret::Over;
use super::{Algorithm, Challenge, Qop, Secret};
use crate::message::Quoted;

/// A challenge that is being answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    realm: Box<str>,
    nonce: Box<str>,
    opaque: Option<Box<str>>,
    algorithm: Algorithm,
    /// `None` without `qop`.
    cnonce: Option<Box<str>>,
    count: u32,
}

impl Session {
    /// Begins with a challenge; `None` if it cannot be answered. `random` becomes the client's nonce.
    #[must_use]
    pub fn begin(challenge: &Challenge<'_>, random: u64) -> Option<Self> {
        let algorithm = challenge.algorithm.filter(|_| challenge.is_answerable())?;
        // A key of the session is made with it even where nothing is counted.
        let has_cnonce = challenge.qop == Qop::Auth || algorithm.session;
        Some(Self {
            realm: (*challenge.realm).into(),
            nonce: (*challenge.nonce).into(),
            opaque: challenge.opaque.as_deref().map(Into::into),
            algorithm,
            cnonce: has_cnonce.then(|| format!("{random:016x}").into()),
            count: 0,
        })
    }

    /// True if the nonce is that of a challenge.
    #[must_use]
    pub fn is_of(&self, challenge: &Challenge<'_>) -> bool {
        *self.nonce == *challenge.nonce && *self.realm == *challenge.realm
    }

    /// Whose users are meant.
    #[must_use]
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// The value of Authorization or Proxy-Authorization for a request; `None` if the secret cannot answer it.
    #[must_use]
    pub fn answer(&mut self, user: &str, secret: &Secret, method: &str, uri: &str) -> Option<String> {
        let Self { realm, nonce, opaque, algorithm, cnonce, count } = self;
        *count = count.saturating_add(1);
        let text = format!("{count:08x}");
        let counted = cnonce.as_deref().map(|cnonce| (text.as_str(), cnonce));
        let over = Over { algorithm: *algorithm, user, realm, nonce, counted, method, uri };
        let response = secret.digest(&over)?;
        //= RFC 7616 §3.4: algorithm, qop and nc go without quotes, all others with them.
        let mut value = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\", algorithm={algorithm}",
            Quoted(user),
            Quoted(realm),
            Quoted(nonce),
            Quoted(uri)
        );
        // Writing into a String cannot fail.
        if let Some((nc, cnonce)) = counted {
            let _written = write!(value, ", cnonce=\"{cnonce}\", qop=auth, nc={nc}");
        }
        if let Some(opaque) = opaque {
            let _written = write!(value, ", opaque={}", Quoted(opaque));
        }
        Some(value)
    }
}
