//! `postern middlebox`

use std::path::PathBuf;

use clap::Args;

use super::{Common, OK, Outcome, print};
use crate::log;
use crate::runtime::{self, Failure};
use crate::supervise::Parent;

/// Serve the firewall half alone: takes SIMCO requests, holds our nftables table
#[derive(Debug, Args)]
#[command(
    after_help = "Needs CAP_NET_ADMIN. When it ends, our table stays: what it let through ends by its lifetime, nothing else opens.

Examples:
  postern middlebox              serve agents on this machine, and those of `[middlebox] listen` and `peers`
  postern middlebox --dry-run    print what would be given to the kernel
  postern middlebox --remove     delete our table, which opens what it kept shut

Exit codes: 0 told to stop, or done; 1 could not start; 2 configuration is wrong."
)]
pub(super) struct Middlebox {
    /// The configuration file; instead of --config
    file: Option<PathBuf>,
    /// Delete our table and leave
    #[arg(long, conflicts_with = "dry_run")]
    remove: bool,
    /// Print the ruleset and leave; needs no privilege
    #[arg(long)]
    dry_run: bool,
    /// Started by `postern run`
    #[arg(long, hide = true)]
    supervised: bool,
}

impl Middlebox {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let parent = self.supervised.then(Parent::find);
        let common = common.with(self.file);
        let config = common.load()?;
        log::start("middlebox", config.log);
        if self.dry_run {
            return print::say(&runtime::gate::dry_run(&config)?);
        }
        if self.remove {
            runtime::gate::remove(&config)?;
            return if common.json { Ok(OK) } else { print::say("no table of ours is left\n") };
        }
        match runtime::gate::run(&config, parent) {
            Ok(()) => Ok(OK),
            Err(Failure::Start(text)) => Err(text.into()),
        }
    }
}
