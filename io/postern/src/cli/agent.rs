//! `postern agent`

use std::path::PathBuf;

use clap::Args;

use super::{Common, OK, Outcome};
use crate::log;
use crate::runtime::{self, Failure};
use crate::supervise::Parent;

/// Serve the SIP half alone, with the middlebox elsewhere
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postern agent                  a middlebox half runs beside it, as a service of its own
  postern agent -c remote.toml   `[middlebox] connect = \"10.0.0.1:7626\"`: the firewall is another machine

Exit codes: 0 told to stop; 1 could not start; 2 configuration is wrong.")]
pub(super) struct Agent {
    /// The configuration file; instead of --config
    file: Option<PathBuf>,
    /// Started by `postern run`
    #[arg(long, hide = true)]
    supervised: bool,
}

impl Agent {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let parent = self.supervised.then(Parent::find);
        let common = common.with(self.file);
        let config = common.load()?;
        log::start("agent", config.log);
        match runtime::agent::run(&config, parent) {
            Ok(()) => Ok(OK),
            Err(Failure::Start(text)) => Err(text.into()),
        }
    }
}
