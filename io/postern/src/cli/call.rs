//! `postern call ID`

use clap::Args;

use super::{Common, Complaint, OK, Outcome, print};
use crate::admin::client;
use crate::admin::protocol::{
    CallReport, Pinholes, Request, RuleLine, Watched, agent_socket, middlebox_socket,
};
use crate::ladder::draw;

/// Show a call: what is open for it, and a ladder with SIP left and right and the firewall in the middle
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postern call 17                call 17, live or ended lately
  postern call --watch           every ladder as it happens, until Ctrl-C
  postern call 17 -j             as JSON

Exit codes: 0 shown; 1 no such call, or no running Postern answers; 2 the command line is wrong.")]
pub(super) struct Call {
    /// Its number, see `postern calls`
    #[arg(required_unless_present = "watch", value_parser = number)]
    id: Option<u64>,
    /// Show all calls as they happen
    #[arg(long, conflicts_with = "id")]
    watch: bool,
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "a call has a number; `postern calls` lists them".to_owned())
}

impl Call {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let socket = agent_socket(&common.sockets()?);
        let Some(id) = self.id else { return watch(common, &socket) };
        let mut report: CallReport = client::ask(&socket, &Request::Call { id })?;
        count(common, &mut report)?;
        if common.json { print::json(&report) } else { print::say(&text(&report)) }
    }
}

/// What the middlebox half of this machine knows of the rules: more than the agent half does. Without it, what there is.
fn count(common: &Common, report: &mut CallReport) -> Result<(), Complaint> {
    let here = |rule: &RuleLine| rule.here;
    if !report.rules.iter().any(here) {
        return Ok(());
    }
    let socket = middlebox_socket(&common.sockets()?);
    let Ok(known) = client::ask::<Pinholes>(&socket, &Request::Pinholes { kernel: true }) else {
        return Ok(());
    };
    for rule in report.rules.iter_mut().filter(|rule| here(rule)) {
        if let Some(line) = known.rules.iter().find(|line| Some(line.pid) == rule.pid) {
            rule.remaining_s = line.remaining_s;
            (rule.packets, rule.bytes) = (line.packets, line.bytes);
        }
    }
    Ok(())
}

fn rules(rules: &[RuleLine]) -> String {
    let heads =
        ["MIDDLEBOX", "PID", "STREAM", "TO", "STATE", "DIRECTION", "INSIDE", "OUTSIDE", "LEFT", "PACKETS"];
    let number = |number: Option<u64>| number.map_or_else(|| "-".into(), |number| number.to_string());
    let row = |rule: &RuleLine| {
        [
            rule.middlebox.clone(),
            number(rule.pid.map(u64::from)),
            rule.stream.to_string(),
            rule.toward.clone(),
            rule.state.clone(),
            rule.direction.clone(),
            rule.seen_as
                .as_ref()
                .map_or_else(|| rule.inside.clone(), |seen| format!("{} as {seen}", rule.inside)),
            rule.outside.clone(),
            print::age(rule.remaining_s),
            number(rule.packets),
        ]
    };
    if rules.is_empty() {
        return String::new();
    }
    format!("\n{}", print::table(heads, &rules.iter().map(row).collect::<Vec<_>>()))
}

fn text(report: &CallReport) -> String {
    let call = &report.call;
    let mut text = format!("call {}: {} > {}, {}", call.id, call.from_realm, call.to_realm, call.state);
    text.push_str(&format!("\n{} calls {}", call.from, call.to));
    if let Some(cause) = &call.cause {
        text.push_str(&format!("\n{cause}"));
    }
    if let Some(at) = call.started {
        text.push_str(&format!("\nfrom {}", print::time(at)));
    }
    if let Some(at) = call.ended {
        text.push_str(&format!(" to {}", print::time(at)));
    }
    for leg in &report.legs {
        text.push_str(&format!("\nleg {}: {}", leg.side, leg.peer));
        if !leg.call_id.is_empty() {
            text.push_str(&format!(", Call-ID {}", leg.call_id));
        }
    }
    let rules = rules(&report.rules);
    format!("{text}\n{rules}\n{}\n{}\n", draw::ladder(&report.ladder), draw::legend())
}

fn watch(common: &Common, socket: &std::path::Path) -> Outcome {
    let mut outcome = if common.json { Ok(OK) } else { print::say(&format!("{}\n", draw::header())) };
    client::watch(socket, &Request::Watch, |watched: Watched| {
        outcome = if common.json {
            serde_json::to_string(&watched)
                .map_err(|error| Complaint::from(error.to_string()))
                .and_then(|line| print::say(&format!("{line}\n")))
        } else {
            print::say(&format!("{}  #{}\n", draw::row(&watched.row), watched.call))
        };
        matches!(outcome, Ok(OK))
    })?;
    outcome
}
