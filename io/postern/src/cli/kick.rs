//! `postern kick ID`

use clap::Args;

use super::{Common, Outcome, print};
use crate::admin::client;
use crate::admin::protocol::{Request, agent_socket};

/// End a call: BYE to both sides, its pinholes are closed
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postern kick 17

Exit codes: 0 it is being ended; 1 no such call, or no running Postern answers.")]
pub(super) struct Kick {
    /// Its number, see `postern calls`
    id: u64,
}

impl Kick {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let id: u64 = client::ask(&agent_socket(&common.sockets()?), &Request::Kick { id: self.id })?;
        if common.json { print::json(&id) } else { print::say(&format!("call {id} is being ended\n")) }
    }
}
