//! Challenges: RFC 7616 §3.3, RFC 3261 §20.44.

use std::borrow::Cow;
use std::fmt;

use super::parameters::Parameters;
use super::{Algorithm, Flaw, Hash, names};
use crate::message::{Message, Quoted};

/// What a server asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge<'a> {
    /// Whose users are meant.
    pub realm: Cow<'a, str>,
    /// What the answer is over.
    pub nonce: Cow<'a, str>,
    /// To be sent back.
    pub opaque: Option<Cow<'a, str>>,
    /// The answer was right, but the nonce was too old.
    pub stale: bool,
    /// `None`: one that we do not know.
    pub algorithm: Option<Algorithm>,
    /// What it offers to protect.
    pub qop: Qop,
}

/// What a challenge offers to protect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Qop {
    /// It says nothing: a peer that knows RFC 2069 or RFC 3261 only.
    Absent,
    /// `auth`, perhaps among others.
    Auth,
    /// Only what we cannot do: `auth-int`, or a word we have not heard of.
    Other,
}

impl<'a> Challenge<'a> {
    /// Reads one value of WWW-Authenticate or Proxy-Authenticate.
    ///
    /// # Errors
    /// [`Flaw`]. An unknown algorithm and an unknown `qop` are none: the challenge just cannot be answered.
    pub fn parse(value: &'a [u8]) -> Result<Self, Flaw> {
        let mut parameters = Parameters::parse(value)?;
        //= RFC 7616 §3.3: MD5 if nothing is said.
        let algorithm = match parameters.take("algorithm") {
            Some(token) => Algorithm::parse(&token),
            None => Some(Hash::Md5.into()),
        };
        let qop = match parameters.take("qop") {
            None => Qop::Absent,
            Some(list) if list.split(',').any(|one| one.trim().eq_ignore_ascii_case("auth")) => Qop::Auth,
            Some(_) => Qop::Other,
        };
        Ok(Self {
            realm: parameters.must("realm")?,
            nonce: parameters.must("nonce")?,
            opaque: parameters.take("opaque"),
            stale: parameters.take("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
            algorithm,
            qop,
        })
    }

    /// True if it can be answered at all.
    #[must_use]
    pub fn is_answerable(&self) -> bool {
        self.algorithm.is_some() && self.qop != Qop::Other
    }

    /// The challenge of a 401 or 407 that is to be answered: the topmost that can be, of those that `knows` has credentials for.
    //= RFC 8760 §2.4: the topmost that is supported; what is not understood is ignored.
    pub fn choose(response: &'a Message, knows: impl Fn(&Self) -> bool) -> Option<Self> {
        let (challenges, _) = names(response.status())?;
        let readable = response.values(challenges).filter_map(|value| Self::parse(value).ok());
        readable.filter(Self::is_answerable).find(|challenge| knows(challenge))
    }
}

/// A challenge of our own, as a header value.
#[derive(Debug, Clone, Copy)]
pub struct Offered<'a> {
    /// Whose users are meant.
    pub realm: &'a str,
    /// See [`super::Nonces`].
    pub nonce: &'a str,
    /// With what the answer is to be made.
    pub hash: Hash,
    /// The last answer was right, but for its nonce.
    pub stale: bool,
}

impl fmt::Display for Offered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { realm, nonce, hash, stale } = *self;
        //= RFC 7616 §3.3: which are quoted and which are not. RFC 8760 §2.6 item 8: `qop` always.
        write!(f, "Digest realm={}, nonce={}, ", Quoted(realm), Quoted(nonce))?;
        write!(f, "algorithm={}, qop=\"auth\"", hash.token())?;
        f.write_str(if stale { ", stale=true" } else { "" })
    }
}
