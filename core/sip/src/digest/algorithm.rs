//! What a digest is made with: RFC 7616 §3.3, RFC 8760 §2.1.

use std::fmt;

use md5::Md5;
use sha2::Sha256;

/// A hash function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hash {
    /// RFC 1321: what every phone knows.
    Md5,
    /// FIPS 180-4.
    Sha256,
}

impl Hash {
    /// All, the best first.
    pub const ALL: [Self; 2] = [Self::Sha256, Self::Md5];

    /// As `algorithm` names it.
    #[must_use]
    pub const fn token(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    /// How many hexadecimal digits it has.
    #[must_use]
    pub const fn hex_len(self) -> usize {
        match self {
            Self::Md5 => 32,
            Self::Sha256 => 64,
        }
    }

    /// The hash of some texts with a colon between any two.
    pub(super) fn of(self, parts: &[&[u8]]) -> String {
        match self {
            Self::Md5 => joined::<Md5>(parts),
            Self::Sha256 => joined::<Sha256>(parts),
        }
    }
}

fn joined<H: sha2::Digest>(parts: &[&[u8]]) -> String {
    let mut hash = H::new();
    for (position, part) in parts.iter().enumerate() {
        if position > 0 {
            hash.update(b":");
        }
        hash.update(part);
    }
    hex(&hash.finalize())
}

//= RFC 8760 §2.2: lower case, the most significant bits first.
pub(super) fn hex(octets: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = octets.iter().flat_map(|octet| [octet >> 4, octet & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// A hash, and whether its keys are made anew for each session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithm {
    /// The hash.
    pub hash: Hash,
    /// True for `-sess`.
    pub session: bool,
}

impl Algorithm {
    /// Reads the value of `algorithm`; `None` if it is one that we do not know.
    #[must_use]
    pub fn parse(token: &str) -> Option<Self> {
        let is = |hash: Hash| token.eq_ignore_ascii_case(hash.token());
        if let Some(hash) = Hash::ALL.into_iter().find(|hash| is(*hash)) {
            return Some(Self { hash, session: false });
        }
        let (name, session) = token.rsplit_once('-')?;
        let hash = Hash::ALL.into_iter().find(|hash| name.eq_ignore_ascii_case(hash.token()))?;
        session.eq_ignore_ascii_case("sess").then_some(Self { hash, session: true })
    }
}

impl From<Hash> for Algorithm {
    fn from(hash: Hash) -> Self {
        Self { hash, session: false }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.hash.token())?;
        f.write_str(if self.session { "-sess" } else { "" })
    }
}
