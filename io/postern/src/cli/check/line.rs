//! The one line in the administrator's firewall: where it is missing, and the proof by packet that it works.

use std::net::{TcpStream, ToSocketAddrs as _};

use nftables::Mark;
use nftables::line;

use super::{Finding, Grade, around};
use crate::admin::client;
use crate::admin::protocol::{GateStatus, ProofOutcome, ProofReport, Request, middlebox_socket};
use crate::config::{Config, Connect, Mode, Peer};
use crate::runtime::gate::{self, prove};
use crate::sandbox;

pub(super) fn look(config: &Config, findings: &mut Vec<Finding>) {
    for middlebox in &config.middleboxes {
        if let Connect::Tcp(peer) | Connect::Tls(peer) = &middlebox.connect {
            remote(config, &middlebox.name, peer, findings);
        }
    }
    if !config.middlebox.is_local() {
        return;
    }
    let socket = middlebox_socket(&config.run_dir);
    let running: Option<GateStatus> = client::ask(&socket, &Request::Status).ok();
    if let Some(gate) = &running {
        let text = format!("the middlebox half runs (process {}), engine {}", gate.pid, gate.engine);
        findings.push(Finding::new(Grade::Ok, text));
    } else if !sandbox::has_net_admin() {
        findings
            .push(Finding::new(Grade::Problem, "the middlebox needs CAP_NET_ADMIN").advise("run as root"));
    }
    forwarding(config, findings);
    let mark = Mark::bit(config.middlebox.mark);
    if config.middlebox.mode == Mode::Observe {
        let text =
            "the gate only observes (`mode = \"observe\"`): nothing is opened or dropped, no packet is tried";
        findings.push(Finding::new(Grade::Warning, text));
        if sandbox::has_net_admin() {
            around::look(config, mark, false, findings);
        }
        return;
    }
    let reports = match running {
        Some(_) => prove::questions(config)
            .into_iter()
            .map(|question| {
                client::ask(&socket, &Request::Prove { inward: question.inward, v4: question.v4 })
            })
            .collect(),
        None => gate::prove_alone(config),
    };
    let mut told = false;
    if sandbox::has_net_admin() {
        let all = |reports: &Vec<ProofReport>| {
            !reports.is_empty() && reports.iter().all(|report| report.outcome == ProofOutcome::Proven)
        };
        told = around::look(config, mark, reports.as_ref().is_ok_and(all), findings);
    }
    match reports {
        Ok(reports) => {
            for report in &reports {
                let finding = proof(report, mark);
                findings.push(if finding.advice.is_some() && told {
                    finding.advise("add the line above")
                } else {
                    told |= finding.advice.is_some();
                    finding
                });
            }
        }
        Err(why) => findings.push(not_proven(&why, mark)),
    }
}

/// Without forwarding no media passes, whatever the rules say. Said only where media of that family is expected.
fn forwarding(config: &Config, findings: &mut Vec<Finding>) {
    for question in prove::questions(config).into_iter().filter(|question| question.inward) {
        let key = if question.v4 { "net/ipv4/ip_forward" } else { "net/ipv6/conf/all/forwarding" };
        let off = std::fs::read_to_string(format!("/proc/sys/{key}")).is_ok_and(|value| value.trim() == "0");
        if off {
            let family = if question.v4 { "IPv4" } else { "IPv6" };
            let finding = Finding::new(Grade::Problem, format!("this host does not forward {family}"));
            findings.push(finding.advise(format!("sysctl -w {}=1", key.replace('/', "."))));
        }
    }
}

fn proof(report: &ProofReport, mark: Mark) -> Finding {
    let way = match (report.inward, report.v4) {
        (true, true) => "IPv4 media to the inside",
        (true, false) => "IPv6 media to the inside",
        (false, true) => "IPv4 media to the outside",
        (false, false) => "IPv6 media to the outside",
    };
    match report.outcome {
        ProofOutcome::Proven => {
            Finding::new(Grade::Ok, format!("{way}: a marked packet passed the firewall ({})", report.text))
        }
        ProofOutcome::Blocked => Finding::new(
            Grade::Problem,
            format!("{way}: the firewall stopped a marked packet ({})", report.text),
        )
        .advise(lines(mark)),
        ProofOutcome::NotProven => not_proven(&format!("{way}: {}", report.text), mark),
    }
}

fn not_proven(why: &str, mark: Mark) -> Finding {
    Finding::new(Grade::NotProven, format!("the firewall line could not be tried: {why}")).advise(lines(mark))
}

fn remote(config: &Config, name: &str, peer: &Peer, findings: &mut Vec<Finding>) {
    findings.push(match reach(peer) {
        Ok(()) => Finding::new(Grade::Ok, format!("{name} listens at {peer}")).advise(remote_advice(config)),
        Err(error) => Finding::new(Grade::Problem, format!("{name}: no middlebox at {peer}: {error}"))
            .advise(
                "is `postern middlebox` running there, with `listen`, and this machine among its `peers`?",
            ),
    });
}

/// Connects to the first address that takes it.
fn reach(peer: &Peer) -> std::io::Result<()> {
    let patience = std::time::Duration::from_secs(3);
    let mut result = Err(std::io::Error::other("the name has no address"));
    for address in (peer.host(), peer.port).to_socket_addrs()? {
        result = TcpStream::connect_timeout(&address, patience).map(drop);
        if result.is_ok() {
            break;
        }
    }
    result
}

fn remote_advice(config: &Config) -> &'static str {
    match config.calls.media_timeout {
        None => "its firewall line is checked there: `postern check` on that machine",
        Some(_) => {
            "its firewall line is checked there: `postern check` on that machine\n\
             `media-timeout` has an effect only if it is Postern's own; the agent half says so in its log if it is not"
        }
    }
}

/// The exact text for the usual firewalls.
pub(super) fn lines(mark: Mark) -> String {
    let rule = line::iptables_line(mark);
    format!(
        "nftables:  nft 'insert rule inet filter forward {}'\niptables:  iptables -I FORWARD {rule}\nip6tables: ip6tables -I FORWARD {rule}",
        line::nftables_line(mark)
    )
}
