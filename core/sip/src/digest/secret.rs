//! What both ends know, and what is made of it: RFC 7616 §3.4.1 to §3.4.3.

use std::fmt;

use subtle::ConstantTimeEq as _;

use super::limits::SECRET_LEN_MAX;
use super::{Algorithm, Credentials, Hash};

/// The hash of user, realm and password: whoever has it needs no password.
#[derive(Clone, PartialEq, Eq)]
pub struct Ha1 {
    hash: Hash,
    text: Box<str>,
}

impl Ha1 {
    /// Reads 32 or 64 hexadecimal digits; `None` for anything else.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let hash = Hash::ALL.into_iter().find(|hash| hash.hex_len() == text.len())?;
        let is_hex = text.bytes().all(|digit| digit.is_ascii_hexdigit());
        is_hex.then(|| Self { hash, text: text.to_ascii_lowercase().into() })
    }

    /// Of which hash it is.
    #[must_use]
    pub fn hash(&self) -> Hash {
        self.hash
    }
}

impl fmt::Debug for Ha1 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ha1({}, ...)", self.hash.token())
    }
}

/// A user's password, or what stands for it. Nobody gets to see it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// The password itself.
    Password(Box<str>),
    /// Hashes of it, for one name in one realm.
    Ha1(Vec<Ha1>),
}

impl Secret {
    /// A password of 1 to [`SECRET_LEN_MAX`] octets without control characters; `None` for any other.
    #[must_use]
    pub fn password(password: &str) -> Option<Self> {
        let is_fine =
            (1..=SECRET_LEN_MAX).contains(&password.len()) && !password.chars().any(char::is_control);
        is_fine.then(|| Self::Password(password.into()))
    }

    /// True if a challenge with this hash can be answered.
    #[must_use]
    pub fn knows(&self, hash: Hash) -> bool {
        match self {
            Self::Password(_) => true,
            Self::Ha1(hashes) => hashes.iter().any(|ha1| ha1.hash == hash),
        }
    }

    fn ha1(&self, hash: Hash, user: &str, realm: &str) -> Option<String> {
        match self {
            //= RFC 7616 §3.4.2: user, realm and password.
            Self::Password(password) => {
                Some(hash.of(&[user.as_bytes(), realm.as_bytes(), password.as_bytes()]))
            }
            Self::Ha1(hashes) => hashes.iter().find(|ha1| ha1.hash == hash).map(|ha1| ha1.text.to_string()),
        }
    }

    /// The digest; `None` if it cannot be made from what is known.
    pub(super) fn digest(&self, over: &Over<'_>) -> Option<String> {
        let Over { algorithm: Algorithm { hash, session }, user, realm, nonce, counted, method, uri } = *over;
        let mut ha1 = self.ha1(hash, user, realm)?;
        if session {
            //= RFC 7616 §3.4.2: a key of the session, from the client's nonce too.
            let (_, cnonce) = counted?;
            ha1 = hash.of(&[ha1.as_bytes(), nonce.as_bytes(), cnonce.as_bytes()]);
        }
        //= RFC 7616 §3.4.3: method and Request-URI.
        let ha2 = hash.of(&[method.as_bytes(), uri.as_bytes()]);
        let (ha1, ha2, nonce) = (ha1.as_bytes(), ha2.as_bytes(), nonce.as_bytes());
        Some(match counted {
            //= RFC 7616 §3.4.1.
            Some((count, cnonce)) => {
                hash.of(&[ha1, nonce, count.as_bytes(), cnonce.as_bytes(), b"auth", ha2])
            }
            //= RFC 2617 §3.2.2.1: without `qop`, as RFC 2069 had it.
            None => hash.of(&[ha1, nonce, ha2]),
        })
    }

    /// True if credentials were made by somebody who knows it, for a request with this method. How long that takes does not tell
    /// how much of them is right. A hash is one of a name and a realm: that the credentials name these, the Request-URI and
    /// a nonce of ours, is for who asks to look at.
    #[must_use]
    pub fn verifies(&self, credentials: &Credentials<'_>, method: &str) -> bool {
        let counted = credentials.counted.as_ref().map(|counted| (&*counted.text, &*counted.cnonce));
        let over = Over {
            algorithm: credentials.algorithm,
            user: &credentials.username,
            realm: &credentials.realm,
            nonce: &credentials.nonce,
            counted,
            method,
            uri: &credentials.uri,
        };
        let Some(digest) = self.digest(&over).filter(|_| !credentials.covers_body) else { return false };
        let came = credentials.response.to_ascii_lowercase();
        digest.as_bytes().ct_eq(came.as_bytes()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(...)")
    }
}

/// What a digest is over.
pub(super) struct Over<'a> {
    pub(super) algorithm: Algorithm,
    pub(super) user: &'a str,
    pub(super) realm: &'a str,
    pub(super) nonce: &'a str,
    /// `nc` and `cnonce`.
    pub(super) counted: Option<(&'a str, &'a str)>,
    pub(super) method: &'a str,
    pub(super) uri: &'a str,
}
