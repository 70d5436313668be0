//! `postern registrations`

use clap::Args;

use super::{Common, Outcome, print};
use crate::admin::client;
use crate::admin::protocol::{RegistrationLine, Registrations as List, Request, agent_socket};

/// List the phones that have registered through Postern
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postern registrations
  postern registrations -j       as JSON, with the name that the registrar has for each

Exit codes: 0 listed; 1 no running Postern answers.")]
pub(super) struct Registrations {}

impl Registrations {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let list: List = client::ask(&agent_socket(&common.sockets()?), &Request::Registrations)?;
        if common.json {
            return print::json(&list);
        }
        if list.registrations.is_empty() {
            return print::say("nobody has registered\n");
        }
        let heads = ["WHO", "CONTACT", "AT", "REALM", "REGISTRAR", "EXPIRES"];
        let rows: Vec<[String; 6]> = list.registrations.into_iter().map(row).collect();
        print::say(&print::table(heads, &rows))
    }
}

fn row(line: RegistrationLine) -> [String; 6] {
    [
        line.aor,
        line.contact,
        format!("{}:{}", line.transport, line.address),
        line.realm,
        line.registrar,
        print::age(line.expires_s),
    ]
}
