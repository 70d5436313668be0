//! `postern check`
use std::path::PathBuf;

use clap::Args;

use super::{Common, OK, Outcome};

/// Say what is wrong with a configuration and with this host, and print the firewall line
#[derive(Debug, Args)]
pub(super) struct Check {
    /// The file; instead of --config
    file: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let mut common = common.clone();
        common.config = self.file.unwrap_or(common.config);
        common.load()?;
        Ok(OK)
    }
}
