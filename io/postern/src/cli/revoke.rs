//! `postern revoke PID`

use clap::Args;

use super::{Common, Outcome, print};
use crate::admin::client;
use crate::admin::protocol::{Request, middlebox_socket};

/// Close a pinhole at once; the call it belongs to ends, or goes on without the stream if it can
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postern revoke 4711

Exit codes: 0 it is being closed; 1 no such rule, or no running middlebox half answers.")]
pub(super) struct Revoke {
    /// Its identifier, see `postern pinholes`
    pid: u32,
}

impl Revoke {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let request = Request::Revoke { pid: self.pid };
        let pid: u32 = client::ask(&middlebox_socket(&common.sockets()?), &request)?;
        if common.json { print::json(&pid) } else { print::say(&format!("rule {pid} is being closed\n")) }
    }
}
