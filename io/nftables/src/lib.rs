//! The Linux engine: one nftables table of our own, spoken over nfnetlink without any installed tool.
//!
//! `docs/pinholes.md` §3 and §4 say what it must do. [`Nft`] implements [`middlebox::Engine`]; [`mod@line`] and [`proof`]
//! help the administrator to let through what the gate let in.

mod config;
mod engine;
mod error;
mod firewall;
pub mod line;
mod netlink;
mod os;
pub mod proof;
mod ruleset;

pub use config::{GateConfig, Mark, Mode};
pub use engine::{
    Ban, DUMP_MAX, Disturbance, Features, Nft, Traffic, features, is_installed, kernel_entries, ruleset,
};
pub use error::Error;
pub use firewall::Firewall;
