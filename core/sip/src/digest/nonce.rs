//! A server's nonces: RFC 7616 §3.3, §5.4. Nothing is kept of those that were handed out.
//!
//! ```text
//!  nonce = time(16) random(16) mac(32), in hexadecimal digits; mac = the first half of HMAC-SHA-256(key, time random scope)
//! ```

use std::fmt;
use std::time::Duration;

use hmac::{Hmac, Mac as _};
use machine::{Instant, Rng};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use super::algorithm::hex;

/// Makes nonces and knows its own again.
#[derive(Clone)]
pub struct Nonces {
    key: [u8; 32],
    lifetime: Duration,
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

/// When a nonce was made and what tells it from others of that moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NonceId(pub(super) Instant, pub(super) u64);

/// What a nonce is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// It may be used.
    Fresh(NonceId),
    /// It is too old, or of an earlier life of ours: whoever has made something right of it gets another.
    Stale,
}

impl Nonces {
    /// With a key of its own; each may be used for `lifetime`.
    #[must_use]
    pub fn new(rng: &mut Rng, lifetime: Duration) -> Self {
        let mut key = [0; 32];
        for part in key.chunks_exact_mut(8) {
            part.copy_from_slice(&rng.bits().to_be_bytes());
        }
        Self { key, lifetime }
    }

    /// How long one may be used.
    #[must_use]
    pub fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// A nonce for a scope: a realm, and whatever else it is to be tied to (RFC 7616 §5.4: the client's address).
    #[must_use]
    pub fn mint(&self, now: Instant, rng: &mut Rng, scope: &str) -> String {
        let id = NonceId(now, rng.bits());
        let (time, random) = (id.0.as_nanos(), id.1);
        format!("{time:016x}{random:016x}{}", self.mac(scope, id))
    }

    /// What a nonce is worth that somebody sends.
    #[must_use]
    pub fn check(&self, now: Instant, nonce: &str, scope: &str) -> Validity {
        let Some(id) = id_of(nonce) else { return Validity::Stale };
        let is_ours: bool = nonce.as_bytes()[32..].ct_eq(self.mac(scope, id).as_bytes()).into();
        let is_young = id.0 <= now && now.since(id.0) < self.lifetime;
        if is_ours && is_young { Validity::Fresh(id) } else { Validity::Stale }
    }

    fn mac(&self, scope: &str, NonceId(time, random): NonceId) -> String {
        // A key may have any length.
        let Ok(mut mac) = <Hmac<Sha256> as hmac::Mac>::new_from_slice(&self.key) else {
            unreachable!("HMAC takes keys of any length")
        };
        mac.update(&time.as_nanos().to_be_bytes());
        mac.update(&random.to_be_bytes());
        mac.update(scope.as_bytes());
        hex(&mac.finalize().into_bytes()[..16])
    }
}

/// What a nonce of ours would say; `None` if it is written in another way.
fn id_of(nonce: &str) -> Option<NonceId> {
    let is_hex = nonce.len() == 64 && nonce.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    if !is_hex {
        return None;
    }
    let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
    Some(NonceId(Instant::from_nanos(number(&nonce[..16])?), number(&nonce[16..32])?))
}
