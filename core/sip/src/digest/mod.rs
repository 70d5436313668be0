//! Digest access authentication: RFC 3261 §22, RFC 7616, RFC 8760; RFC 2617 for peers that know no `qop`.
//! Before changing this file read RFC 8760 whole; it is short.
//!
//! Both ends. A client: [`Challenge::choose`] finds what it can answer in a 401 or 407, a [`Session`] answers, and goes on answering
//! for as long as the nonce is taken. A server: [`Nonces`] makes and checks nonces without a table, [`Credentials`] are what came,
//! [`Secret::verifies`] compares, [`Counts`] finds repetitions.
//!
//! There is no clock and no randomness here, and no quality of protection but `auth`: a border has to change bodies.

mod algorithm;
mod challenge;
mod counts;
mod credentials;
pub mod limits;
mod nonce;
mod parameters;
mod secret;
mod session;

#[cfg(test)]
mod tests;

pub use algorithm::{Algorithm, Hash};
pub use challenge::{Challenge, Offered, Qop};
pub use counts::Counts;
pub use credentials::{Counted, Credentials};
pub use nonce::{NonceId, Nonces, Validity};
pub use parameters::Flaw;
pub use secret::{Ha1, Secret};
pub use session::Session;

use crate::message::Name;

/// The header field with challenges and the one with their answers, for a status code; `None` for any but 401 and 407.
//= RFC 3261 §22.2, §22.3: 401 is answered in Authorization, 407 in Proxy-Authorization.
#[must_use]
pub fn names(status: u16) -> Option<(Name, Name)> {
    match status {
        401 => Some((Name::WwwAuthenticate, Name::Authorization)),
        407 => Some((Name::ProxyAuthenticate, Name::ProxyAuthorization)),
        _ => None,
    }
}
