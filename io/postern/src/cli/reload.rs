//! `postern reload`

use clap::Args;

use super::{Common, Complaint, Outcome, print};
use crate::admin::reload::{Trouble, halves};

/// Let the running Postern take the configuration file as it is now
#[derive(Debug, Args)]
#[command(
    after_help = "All of it or nothing: a file with a mistake, or one that changes a key that takes effect only at a start, is \
                  refused with line and cause, and what runs stays as it is. What the new policy no longer allows ends at once. \
                  docs/configuration.md says which keys change by reload. SIGHUP to `postern run` does the same and says it in the log.

Example:
  postern reload

Exit codes: 0 taken; 1 a half refused it, or none runs here; 2 the file is wrong."
)]
pub(super) struct Reload {}

impl Reload {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let changed = halves(&common.config, &common.sockets()?).map_err(|trouble| match trouble {
            Trouble::File(text) => Complaint::usage(text),
            Trouble::Half(text) => Complaint::from(text),
        })?;
        if common.json {
            return print::json(&changed);
        }
        match changed.is_empty() {
            true => print::say("nothing has changed\n"),
            false => print::say(&format!("reloaded: {}\n", changed.join(", "))),
        }
    }
}
