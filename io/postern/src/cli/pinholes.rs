//! `postern pinholes`

use std::collections::HashMap;

use clap::Args;

use super::{Common, OK, Outcome, PROBLEM, print};
use crate::admin::client;
use crate::admin::protocol::{
    Owners, PinholeLine, Pinholes as Report, Request, agent_socket, middlebox_socket,
};

/// Show what is open in the firewall
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postern pinholes
  postern pinholes --kernel      with packets counted by the kernel, and what differs from it

Exit codes: 0 shown (and with --kernel: nothing differs); 1 something differs, or no middlebox half answers.")]
pub(super) struct Pinholes {
    /// Compare with what the kernel holds
    #[arg(long)]
    kernel: bool,
}

impl Pinholes {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let request = Request::Pinholes { kernel: self.kernel };
        let sockets = common.sockets()?;
        let mut report: Report = client::ask(&middlebox_socket(&sockets), &request)?;
        // The agent half may be on another machine: then nobody here knows of calls.
        if let Ok(owners) = client::ask::<Owners>(&agent_socket(&sockets), &Request::Owners) {
            let calls: HashMap<u32, u64> = owners.rules.iter().map(|owner| (owner.pid, owner.call)).collect();
            report.rules.iter_mut().for_each(|line| line.call = calls.get(&line.pid).copied());
        }
        let said = if common.json { print::json(&report) } else { print::say(&text(&report, self.kernel)) }?;
        let differs = !report.missing.is_empty() || !report.foreign.is_empty();
        Ok(if said == OK && differs { PROBLEM } else { said })
    }
}

fn text(report: &Report, kernel: bool) -> String {
    let mut text = if report.rules.is_empty() {
        "nothing is open\n".to_owned()
    } else {
        let heads = ["PID", "CALL", "OWNER", "STATE", "DIRECTION", "INSIDE", "OUTSIDE", "LEFT", "PACKETS"];
        let rows: Vec<[String; 9]> = report.rules.iter().map(row).collect();
        print::table(heads, &rows)
    };
    if let Some(entries) = report.kernel.as_ref().filter(|_| kernel) {
        for entry in entries {
            text.push_str(&format!(
                "kernel: {}, {} packets, {} s left\n",
                entry.entry, entry.packets, entry.remaining_s
            ));
        }
        text.push_str(&format!("the kernel holds {} entries", entries.len()));
        let same = report.missing.is_empty() && report.foreign.is_empty();
        text.push_str(if same { ", exactly those of these rules\n" } else { "\n" });
    }
    for key in &report.missing {
        text.push_str(&format!("missing in the kernel: {key}\n"));
    }
    for key in &report.foreign {
        text.push_str(&format!("in the kernel without a rule: {key}\n"));
    }
    text
}

fn row(line: &PinholeLine) -> [String; 9] {
    [
        line.pid.to_string(),
        line.call.map_or_else(|| "-".into(), |call| call.to_string()),
        line.owner.clone(),
        line.state.clone(),
        line.direction.clone(),
        line.inside.clone(),
        line.outside.clone(),
        print::age(line.remaining_s),
        line.packets.map_or_else(|| "-".into(), |packets| packets.to_string()),
    ]
}
