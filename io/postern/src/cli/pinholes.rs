//! `postern pinholes`

use std::collections::HashMap;

use clap::Args;

use super::{Common, OK, Outcome, PROBLEM, print};
use crate::admin::client;
use crate::admin::protocol::{
    Owner, Owners, PinholeLine, Pinholes as Report, Request, agent_socket, middlebox_socket,
};

/// Show what is open in the firewall of this host, and at other middleboxes for the calls of this host
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postern pinholes
  postern pinholes --group 12    those of one group
  postern pinholes --kernel      with packets counted by the kernel, and what differs from it

At a middlebox on another machine only what is open for calls of this host is known here, and no packets are counted.

Exit codes: 0 shown (and with --kernel: nothing differs); 1 something differs, or no middlebox half answers.")]
pub(super) struct Pinholes {
    /// Compare with what the kernel holds
    #[arg(long)]
    kernel: bool,
    /// Only rules of this group; an agent makes one for each call, or as it likes
    #[arg(long, value_name = "GID", conflicts_with = "kernel")]
    group: Option<u32>,
}

impl Pinholes {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let request = Request::Pinholes { kernel: self.kernel };
        let sockets = common.sockets()?;
        let gate: Result<Report, String> = client::ask(&middlebox_socket(&sockets), &request);
        // The agent half may be on another machine: then nobody here knows of calls.
        let owners = client::ask::<Owners>(&agent_socket(&sockets), &Request::Owners);
        let mut report = joined(gate, owners.ok().map(|owners| owners.rules))?;
        if self.group.is_some() {
            report.rules.retain(|line| line.group == self.group);
        }
        let said = if common.json { print::json(&report) } else { print::say(&text(&report, self.kernel)) }?;
        let differs = !report.missing.is_empty() || !report.foreign.is_empty();
        Ok(if said == OK && differs { PROBLEM } else { said })
    }
}

/// What the middlebox half of this machine holds, with the calls that the agent half knows, and what is open for them at
/// other middleboxes.
fn joined(gate: Result<Report, String>, owners: Option<Vec<Owner>>) -> Result<Report, String> {
    let (here, elsewhere): (Vec<Owner>, Vec<Owner>) =
        owners.unwrap_or_default().into_iter().partition(|owner| owner.rule.here);
    let mut report = match gate {
        Ok(report) => report,
        Err(why) if elsewhere.is_empty() => return Err(why),
        Err(_) => Report::default(),
    };
    let here: HashMap<Option<u32>, Owner> = here.into_iter().map(|owner| (owner.rule.pid, owner)).collect();
    for line in &mut report.rules {
        let owner = here.get(&Some(line.pid));
        line.call = owner.map(|owner| owner.call);
        line.middlebox = owner.map(|owner| owner.rule.middlebox.clone());
    }
    report.rules.extend(elsewhere.into_iter().filter_map(remote));
    Ok(report)
}

fn remote(Owner { call, rule }: Owner) -> Option<PinholeLine> {
    Some(PinholeLine {
        middlebox: Some(rule.middlebox),
        pid: rule.pid?,
        group: None,
        owner: String::new(),
        call: Some(call),
        state: rule.state,
        direction: rule.direction,
        inside: rule.inside,
        seen_as: rule.seen_as,
        outside: rule.outside,
        remaining_s: rule.remaining_s,
        packets: None,
        bytes: None,
    })
}

fn text(report: &Report, kernel: bool) -> String {
    let mut text = if report.rules.is_empty() {
        "nothing is open\n".to_owned()
    } else {
        let heads = [
            "MIDDLEBOX",
            "PID",
            "GROUP",
            "CALL",
            "OWNER",
            "STATE",
            "DIRECTION",
            "INSIDE",
            "OUTSIDE",
            "LEFT",
            "PACKETS",
        ];
        let rows: Vec<[String; 11]> = report.rules.iter().map(row).collect();
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

fn row(line: &PinholeLine) -> [String; 11] {
    let known = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    [
        known(line.middlebox.as_deref().unwrap_or_default()),
        line.pid.to_string(),
        line.group.map_or_else(|| "-".into(), |group| group.to_string()),
        line.call.map_or_else(|| "-".into(), |call| call.to_string()),
        known(&line.owner),
        line.state.clone(),
        line.direction.clone(),
        inside(line),
        line.outside.clone(),
        print::age(line.remaining_s),
        line.packets.map_or_else(|| "-".into(), |packets| packets.to_string()),
    ]
}

/// `udp 10.0.40.7:4000-4001`; where it is translated `udp 10.0.40.7:4000-4001 as 203.0.113.1:30000-30001`.
fn inside(line: &PinholeLine) -> String {
    let Some(seen_as) = &line.seen_as else { return line.inside.clone() };
    let address = seen_as.split_once(' ').map_or(seen_as.as_str(), |(_, address)| address);
    format!("{} as {address}", line.inside)
}
