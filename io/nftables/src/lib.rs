//! The Linux engine: one nftables table of our own, spoken over nfnetlink without any installed tool.
//!
//! `docs/pinholes.md` §3 and §4 say what it must do. [`Nft`] implements [`middlebox::Engine`].

mod config;
mod engine;
mod error;
mod firewall;
mod netlink;
mod os;
mod ruleset;

pub use config::{GateConfig, Mark};
pub use engine::{Disturbance, Features, Nft, ruleset};
pub use error::Error;
pub use firewall::Firewall;
