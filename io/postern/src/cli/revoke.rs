//! `postern revoke PID`

use clap::Args;

use super::{Common, Outcome, print};
use crate::admin::client;
use crate::admin::protocol::{Request, middlebox_socket};

/// Close a pinhole at once; the call it belongs to ends, or goes on without the stream if it can
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postern revoke 4711
  postern revoke --group 12      every pinhole of a group: an agent makes one for each call

Exit codes: 0 it is being closed; 1 no such rule, or no running middlebox half answers.")]
pub(super) struct Revoke {
    /// Its identifier, see `postern pinholes`
    #[arg(required_unless_present = "group")]
    pid: Option<u32>,
    /// All pinholes of this group instead
    #[arg(long, value_name = "GID", conflicts_with = "pid")]
    group: Option<u32>,
}

impl Revoke {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let socket = middlebox_socket(&common.sockets()?);
        if let Some(group) = self.group {
            let pids: Vec<u32> = client::ask(&socket, &Request::RevokeGroup { group })?;
            let said = format!("{} rules of group {group} are being closed\n", pids.len());
            return if common.json { print::json(&pids) } else { print::say(&said) };
        }
        let pid: u32 = client::ask(&socket, &Request::Revoke { pid: self.pid.unwrap_or_default() })?;
        if common.json { print::json(&pid) } else { print::say(&format!("rule {pid} is being closed\n")) }
    }
}
