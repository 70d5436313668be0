//! `postern calls`

use clap::Args;

use super::{Common, Outcome, print};
use crate::admin::client;
use crate::admin::protocol::{CallLine, Calls as List, Request, agent_socket};

/// List the current calls
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postern calls
  postern calls --ended          those that ended lately too, with why
  postern calls -j               as JSON

Exit codes: 0 listed; 1 no running Postern answers.")]
pub(super) struct Calls {
    /// Those that ended lately too
    #[arg(long)]
    ended: bool,
}

impl Calls {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let request = Request::Calls { ended: self.ended };
        let list: List = client::ask(&agent_socket(&common.sockets()?), &request)?;
        if common.json {
            return print::json(&list);
        }
        let lines = list.calls;
        if lines.is_empty() {
            return print::say("no calls\n");
        }
        let heads = ["ID", "STATE", "WAY", "FROM", "TO", "SINCE", "AGE", "RULES", "CAUSE"];
        let rows: Vec<[String; 9]> = lines.into_iter().map(row).collect();
        print::say(&print::table(heads, &rows))
    }
}

fn row(line: CallLine) -> [String; 9] {
    [
        line.id.to_string(),
        line.state,
        format!("{} > {}", line.from_realm, line.to_realm),
        line.from,
        line.to,
        line.started.map(print::time).unwrap_or_default(),
        print::age(line.age_s),
        line.rules.to_string(),
        line.cause.unwrap_or_default(),
    ]
}
