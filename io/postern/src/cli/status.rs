//! `postern status`

use clap::Args;
use serde::Serialize;

use super::{Common, OK, Outcome, PROBLEM, print};
use crate::admin::client;
use crate::admin::protocol::{
    AgentStatus, GateStatus, MiddleboxState, Request, agent_socket, middlebox_socket,
};

/// Show how both halves are
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postern status
  postern status -j | jq .middleboxes
  postern status --middlebox     what a health check of a firewall's host asks

Exit codes: 0 the agent half runs and its middlebox is up; 1 something is down. With --middlebox: 0 the middlebox half answers; 1 it does not.")]
pub(super) struct Status {
    /// Only the middlebox half of this machine
    #[arg(long)]
    middlebox: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    agent: Option<AgentStatus>,
    /// The agent half's sessions.
    middleboxes: Vec<MiddleboxState>,
    /// The middlebox half on this machine.
    middlebox: Option<GateStatus>,
}

impl Status {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let sockets = common.sockets()?;
        if self.middlebox {
            let gate: GateStatus = client::ask(&middlebox_socket(&sockets), &Request::Status)?;
            return match common.json {
                true => print::json(&gate),
                false => print::say(&gate_text(&gate)),
            };
        }
        let agent: Result<AgentStatus, String> = client::ask(&agent_socket(&sockets), &Request::Status);
        let gate: Result<GateStatus, String> = client::ask(&middlebox_socket(&sockets), &Request::Status);
        let well = agent.as_ref().is_ok_and(|agent| agent.middleboxes.iter().all(|middlebox| middlebox.up));
        let said = if common.json {
            let mut agent = agent.ok();
            let middleboxes =
                agent.as_mut().map(|agent| std::mem::take(&mut agent.middleboxes)).unwrap_or_default();
            print::json(&Report { agent, middleboxes, middlebox: gate.ok() })
        } else {
            let agent = agent.map_or_else(|why| format!("agent: {why}\n"), |agent| agent_text(&agent));
            let gate = gate.map_or_else(|why| format!("middlebox: {why}\n"), |gate| gate_text(&gate));
            print::say(&format!("{agent}{gate}"))
        }?;
        Ok(if said == OK && !well { PROBLEM } else { said })
    }
}

fn agent_text(agent: &AgentStatus) -> String {
    let mut text = format!(
        "agent: up {}, version {}, process {}, {}\n  listening: {}\n  calls: {} now, {} begun, {} established, {} cut by us\n  ghost rings: {}, {} prevented\n",
        print::age(agent.uptime_s),
        agent.version,
        agent.pid,
        agent.sandbox,
        agent.listeners.join(", "),
        agent.calls,
        agent.calls_begun,
        agent.calls_established,
        agent.calls_cut,
        agent.ghost_rings,
        agent.ghost_rings_prevented,
    );
    text.push_str(&format!("  connections: {}; datagrams dropped: {}\n", agent.connections, agent.dropped));
    for certificate in &agent.certificates {
        text.push_str(&format!("  certificate {certificate}\n"));
    }
    for next_hop in &agent.next_hops_down {
        text.push_str(&format!("  next hop {next_hop} does not answer OPTIONS\n"));
    }
    for middlebox in &agent.middleboxes {
        let state = match (&middlebox.trouble, middlebox.up) {
            (_, true) => "up".to_owned(),
            (Some(trouble), false) => format!("down: {trouble}"),
            (None, false) => "down".to_owned(),
        };
        let pair =
            middlebox.partner.as_ref().map_or_else(String::new, |other| format!(", a pair with {other}"));
        text.push_str(&format!("  session with {} ({}){pair}: {state}\n", middlebox.name, middlebox.address));
        if let Some(certificate) = &middlebox.certificate {
            text.push_str(&format!("    certificate {certificate}\n"));
        }
    }
    text
}

fn gate_text(gate: &GateStatus) -> String {
    let mut text = format!(
        "middlebox: up {}, version {}, process {}, {}\n  engine: {}; sessions: {}; rules: {}; repairs: {}; commits: {}, {} operations\n",
        print::age(gate.uptime_s),
        gate.version,
        gate.pid,
        gate.sandbox,
        gate.engine,
        gate.sessions,
        gate.rules,
        gate.drifts,
        gate.commits,
        gate.operations,
    );
    if let Some(certificate) = &gate.certificate {
        text.push_str(&format!("  certificate {certificate}\n"));
    }
    if let (Some(passed), Some(dropped)) = (gate.passed, gate.dropped) {
        text.push_str(&match gate.observes {
            true => {
                format!("  observes: {passed} packets of pinholes, {dropped} packets it would have dropped\n")
            }
            false => format!("  packets: {passed} through pinholes, {dropped} dropped\n"),
        });
    }
    text
}
