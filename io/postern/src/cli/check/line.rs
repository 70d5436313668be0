//! The one line in the administrator's firewall.

use super::{Finding, Grade};
use crate::admin::client;
use crate::admin::protocol::{GateStatus, Request, middlebox_socket};
use crate::config::{Config, Connect};
use crate::sandbox;

pub(super) fn look(config: &Config, findings: &mut Vec<Finding>) {
    if let Connect::Tcp(address) = &config.middlebox.connect {
        remote(*address, findings);
        return;
    }
    let running: Option<GateStatus> = client::ask(&middlebox_socket(&config.run_dir), &Request::Status).ok();
    match &running {
        Some(gate) => findings.push(Finding::new(
            Grade::Ok,
            format!("the middlebox half runs (process {}), engine {}", gate.pid, gate.engine),
        )),
        None if sandbox::has_net_admin() => {
            findings.push(Finding::new(Grade::Ok, "CAP_NET_ADMIN is here: the middlebox half can start"));
        }
        None => findings
            .push(Finding::new(Grade::Problem, "the middlebox needs CAP_NET_ADMIN").advise("run as root")),
    }
    findings.push(
        Finding::new(
            Grade::NotProven,
            "the firewall must accept what the gate marks, in every chain at hook forward",
        )
        .advise(lines(config.middlebox.mark)),
    );
}

fn remote(address: std::net::SocketAddr, findings: &mut Vec<Finding>) {
    let patience = std::time::Duration::from_secs(3);
    findings.push(match std::net::TcpStream::connect_timeout(&address, patience) {
        Ok(_) => Finding::new(Grade::Ok, format!("a middlebox listens at {address}"))
            .advise("its firewall line is checked there: `postern check` on that machine"),
        Err(error) => Finding::new(Grade::Problem, format!("no middlebox at {address}: {error}")).advise(
            "is `postern middlebox` running there, with `listen`, and this machine among its `peers`?",
        ),
    });
}

/// The exact text for the usual firewalls.
fn lines(mark: u32) -> String {
    let bit = format!("{mark:#x}");
    format!(
        "nftables:  nft insert rule inet filter forward ct state untracked meta mark and {bit} == {bit} accept\n\
         iptables:  iptables -I FORWARD -m conntrack --ctstate UNTRACKED -m mark --mark {bit}/{bit} -j ACCEPT\n\
         ip6tables: ip6tables -I FORWARD -m conntrack --ctstate UNTRACKED -m mark --mark {bit}/{bit} -j ACCEPT"
    )
}
