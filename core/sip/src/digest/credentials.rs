//! Answers to challenges: RFC 7616 §3.4, RFC 3261 §20.7.

use std::borrow::Cow;

use super::parameters::Parameters;
use super::{Algorithm, Flaw, Hash};

/// What came in Authorization or Proxy-Authorization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials<'a> {
    /// Who says it.
    pub username: Cow<'a, str>,
    /// Whose user that is.
    pub realm: Cow<'a, str>,
    /// Of the challenge.
    pub nonce: Cow<'a, str>,
    /// The Request-URI when they were made.
    pub uri: Cow<'a, str>,
    /// The digest.
    pub response: Cow<'a, str>,
    /// With what it was made.
    pub algorithm: Algorithm,
    /// Count and nonce of the client; `None` from one that knows RFC 2069 only.
    pub counted: Option<Counted<'a>>,
    /// True if the body is protected too (`auth-int`), which nobody can check who has to change it.
    pub covers_body: bool,
}

/// What belongs to `qop`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Counted<'a> {
    /// The client's own nonce.
    pub cnonce: Cow<'a, str>,
    /// `nc`.
    pub count: u32,
    /// `nc` as it came: it is hashed.
    pub text: Cow<'a, str>,
}

impl<'a> Credentials<'a> {
    /// Reads one value.
    ///
    /// # Errors
    /// [`Flaw`].
    pub fn parse(value: &'a [u8]) -> Result<Self, Flaw> {
        let mut parameters = Parameters::parse(value)?;
        let algorithm = match parameters.take("algorithm") {
            Some(token) => Algorithm::parse(&token).ok_or(Flaw::Value("algorithm"))?,
            None => Hash::Md5.into(),
        };
        //= RFC 7616 §3.4: a user's name in both ways is an error; we offer neither of the ways that need the other one.
        if parameters.take("username*").is_some() {
            return Err(Flaw::Value("username*"));
        }
        if parameters.take("userhash").is_some_and(|hashed| hashed.eq_ignore_ascii_case("true")) {
            return Err(Flaw::Value("userhash"));
        }
        let qop = parameters.take("qop");
        let covers_body = qop.as_deref().is_some_and(|qop| qop.eq_ignore_ascii_case("auth-int"));
        if !covers_body && qop.as_deref().is_some_and(|qop| !qop.eq_ignore_ascii_case("auth")) {
            return Err(Flaw::Value("qop"));
        }
        let counted = match qop {
            None => None,
            Some(_) => {
                let text = parameters.must("nc")?;
                let is_count = text.len() == 8 && text.bytes().all(|digit| digit.is_ascii_hexdigit());
                let count = u32::from_str_radix(&text, 16).ok().filter(|_| is_count);
                let count = count.ok_or(Flaw::Value("nc"))?;
                Some(Counted { cnonce: parameters.must("cnonce")?, count, text })
            }
        };
        Ok(Self {
            username: parameters.must("username")?,
            realm: parameters.must("realm")?,
            nonce: parameters.must("nonce")?,
            uri: parameters.must("uri")?,
            response: parameters.must("response")?,
            algorithm,
            counted,
            covers_body,
        })
    }
}
