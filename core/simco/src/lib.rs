//! SIMCO 3.0, RFC 4540: the bytes, and the session machines of the agent and of the middlebox.
//!
//! [`wire`] translates between the values of the `midcom` crate and octets, in both directions and for every message
//! of RFC 4540. [`agent::Session`] and [`middlebox::Session`] are the two ends of one connection: bytes and requests
//! go in, bytes and events come out. Neither knows a socket or a clock. What the RFC leaves open is decided in
//! `docs/simco.md` of the repository, row by row.

pub mod agent;
pub mod authentication;
pub mod middlebox;
mod state;
mod stream;
#[cfg(test)]
mod tests;
pub mod wire;

pub use state::{Exchange, State};
