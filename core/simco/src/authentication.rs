//! Challenge and token (RFC 4540 §7.2, §7.3): how each end shows that it has the secret both were given.
//!
//! The RFC says when challenges and tokens are sent and leaves open what stands in them. Ours, also in `docs/simco.md`:
//!
//! ```text
//! secret     32 to 1,024 octets
//! key id     the first 8 octets of HMAC-SHA-256(secret, "SIMCO 3.0 HMAC-SHA-256 key id")
//! challenge  of the agent: key id, 32 random octets; of the middlebox: 32 random octets
//! token      HMAC-SHA-256(secret, "SIMCO 3.0 HMAC-SHA-256 token" role length(2) challenge length(2) challenge)
//!            role: "A" in the agent's token, "M" in the middlebox's
//!            challenges: the agent's, then the middlebox's; one that was not sent has length 0
//! ```
//!
//! Each token is over both challenges, so it is of no use in any other session; and over the role of its sender, so that
//! no end can be made to compute the other's.

use std::fmt;

use aws_lc_rs::hmac::{Context, HMAC_SHA256, Key, sign, verify};

/// Octets of a random part of a challenge.
pub const NONCE_LEN: usize = 32;
/// Octets of a key id.
pub const KEY_ID_LEN: usize = 8;
/// Octets of a token.
pub const TOKEN_LEN: usize = 32;

/// Random octets that are used once.
pub type Nonce = [u8; NONCE_LEN];

/// What an agent and a middlebox have been given, and nobody else.
#[derive(Clone)]
pub struct Secret {
    key: Key,
    /// The whole hash of which the key id is the beginning.
    fingerprint: [u8; TOKEN_LEN],
}

/// Whose a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The agent's, in SA.
    Agent,
    /// The middlebox's, in its reply to SE.
    Middlebox,
}

impl Role {
    const fn octet(self) -> u8 {
        match self {
            Self::Agent => b'A',
            Self::Middlebox => b'M',
        }
    }
}

/// The two challenges of a session; empty where none was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Challenges<'a> {
    /// The agent's, in SE.
    pub agent: &'a [u8],
    /// The middlebox's, in its reply to SE.
    pub middlebox: &'a [u8],
}

impl Secret {
    /// Fewest octets: as many as the hash has.
    pub const LEN_MIN: usize = 32;
    /// Most octets.
    pub const LEN_MAX: usize = 1_024;

    /// A secret of 32 to 1,024 octets; `None` for any other length.
    #[must_use]
    pub fn new(octets: &[u8]) -> Option<Self> {
        if !(Self::LEN_MIN..=Self::LEN_MAX).contains(&octets.len()) {
            return None;
        }
        let key = Key::new(HMAC_SHA256, octets);
        let mut fingerprint = [0; TOKEN_LEN];
        fingerprint.copy_from_slice(sign(&key, b"SIMCO 3.0 HMAC-SHA-256 key id").as_ref());
        Some(Self { key, fingerprint })
    }

    /// By which a middlebox with several secrets finds the one that is meant. It tells nothing of the secret.
    #[must_use]
    pub fn id(&self) -> [u8; KEY_ID_LEN] {
        let mut id = [0; KEY_ID_LEN];
        id.copy_from_slice(&self.fingerprint[..KEY_ID_LEN]);
        id
    }

    /// The challenge of an agent that has this secret.
    #[must_use]
    pub fn challenge(&self, nonce: &Nonce) -> [u8; KEY_ID_LEN + NONCE_LEN] {
        let mut octets = [0; KEY_ID_LEN + NONCE_LEN];
        let (id, random) = octets.split_at_mut(KEY_ID_LEN);
        id.copy_from_slice(&self.id());
        random.copy_from_slice(nonce);
        octets
    }

    /// The token of `role`.
    #[must_use]
    pub fn token(&self, role: Role, challenges: Challenges<'_>) -> [u8; TOKEN_LEN] {
        let mut context = Context::with_key(&self.key);
        context.update(&signed(role, challenges));
        let mut token = [0; TOKEN_LEN];
        token.copy_from_slice(context.sign().as_ref());
        token
    }

    /// True if `token` is that of `role`; in a time that does not tell how much of it is right.
    #[must_use]
    pub fn is_token(&self, role: Role, challenges: Challenges<'_>, token: &[u8]) -> bool {
        verify(&self.key, &signed(role, challenges), token).is_ok()
    }
}

impl PartialEq for Secret {
    /// Two secrets of one hash are one secret; nothing is let in by this.
    fn eq(&self, other: &Self) -> bool {
        self.fingerprint == other.fingerprint
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What a token is computed over. The lengths keep apart where one challenge ends and the next begins.
fn signed(role: Role, challenges: Challenges<'_>) -> Vec<u8> {
    let mut octets = b"SIMCO 3.0 HMAC-SHA-256 token".to_vec();
    octets.push(role.octet());
    for challenge in [challenges.agent, challenges.middlebox] {
        let length = u16::try_from(challenge.len()).unwrap_or(u16::MAX);
        octets.extend(length.to_be_bytes());
        octets.extend(challenge);
    }
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(octet: u8) -> Secret {
        Secret::new(&[octet; 32]).unwrap()
    }

    const BOTH: Challenges<'_> = Challenges { agent: b"from the agent", middlebox: b"from the middlebox" };

    #[test]
    fn a_secret_has_a_length() {
        assert!(Secret::new(&[1; 31]).is_none() && Secret::new(&[1; 1025]).is_none());
        assert!(Secret::new(&[1; 32]).is_some() && Secret::new(&[1; 1024]).is_some());
    }

    #[test]
    fn a_token_is_of_one_secret_one_role_and_both_challenges() {
        let token = secret(1).token(Role::Agent, BOTH);
        assert!(secret(1).is_token(Role::Agent, BOTH, &token));
        assert!(!secret(2).is_token(Role::Agent, BOTH, &token));
        assert!(!secret(1).is_token(Role::Middlebox, BOTH, &token));
        for other in [
            Challenges { agent: b"another", ..BOTH },
            Challenges { middlebox: b"", ..BOTH },
            // The same octets, cut at another place.
            Challenges { agent: b"from the agentf", middlebox: b"rom the middlebox" },
        ] {
            assert!(!secret(1).is_token(Role::Agent, other, &token), "{other:?}");
        }
        for wrong in [&token[..31], &[][..], &[0; 32][..], &[&token[..], &[0]].concat()] {
            assert!(!secret(1).is_token(Role::Agent, BOTH, wrong));
        }
    }

    #[test]
    fn octets_are_those_of_another_implementation() {
        // Computed with Python's hmac.
        assert_eq!(secret(1).id(), [0x04, 0x99, 0x37, 0xd8, 0x2a, 0x66, 0xba, 0xfe]);
        let token = secret(1).token(Role::Agent, BOTH);
        let hex: String = token.iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(hex, "95dceb06b31b5bf7e902a9e8a324dbe31d60258adfed79f2264fb94c6919c62d");
    }

    #[test]
    fn nothing_of_a_secret_is_printed() {
        assert_eq!(format!("{:?}", secret(65)), "Secret(..)");
    }
}
