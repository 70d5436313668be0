//! `postern run`

use std::path::PathBuf;

use clap::Args;

use super::{Common, Outcome};
use crate::supervise;

/// Serve calls: starts both halves as separate processes and keeps them running
#[derive(Debug, Args)]
#[command(
    after_help = "The middlebox half keeps CAP_NET_ADMIN and nothing else; the agent half keeps no privilege and becomes \
            another user where it can. They speak SIMCO over a Unix socket. Either may die: it is started again, finds \
            its rules and repairs them. SIGTERM ends all calls (BYE with Reason), closes their pinholes and leaves within \
            5 s; the firewall stays shut unless --remove is given.

Examples:
  postern run
  postern run --config ./postern.toml --run-dir /tmp/postern

Check first: `postern check` proves that the firewall lets through what Postern marks.

Exit codes: 0 told to stop; 1 could not start, or a half could not be kept running; 2 configuration is wrong."
)]
pub(super) struct Run {
    /// The configuration file; instead of --config
    file: Option<PathBuf>,
    /// Delete our nftables table at the end, which opens what it kept shut
    #[arg(long)]
    remove: bool,
}

impl Run {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let common = common.with(self.file);
        let config = common.load()?;
        supervise::run(&config, &common.config, common.run_dir.as_deref(), self.remove)
    }
}
