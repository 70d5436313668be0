//! `postern trunks`

use clap::Args;

use super::{Common, Outcome, print};
use crate::admin::client;
use crate::admin::protocol::{Request, TrunkLine, Trunks as List, agent_socket};

/// List the trunks, and whether each knows where we are
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postern trunks
  postern trunks -j | jq '.trunks[] | select(.state == \"failed\")'

Exit codes: 0 listed; 1 no running Postern answers.")]
pub(super) struct Trunks {}

impl Trunks {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let list: List = client::ask(&agent_socket(&common.sockets()?), &Request::Trunks)?;
        if common.json {
            return print::json(&list);
        }
        if list.trunks.is_empty() {
            return print::say("there is no trunk in the configuration\n");
        }
        let heads = ["TRUNK", "REALM", "AS", "STATE", "AT", "FOR", "WHY"];
        let rows: Vec<[String; 7]> = list.trunks.into_iter().map(row).collect();
        print::say(&print::table(heads, &rows))
    }
}

fn row(line: TrunkLine) -> [String; 7] {
    [
        line.name,
        line.realm,
        line.user,
        line.state,
        line.at.unwrap_or_default(),
        line.seconds.map(print::age).unwrap_or_default(),
        line.why.unwrap_or_default(),
    ]
}
