//! What this host says: users, interfaces, sockets, names.

use std::net::{TcpListener, UdpSocket};
use std::path::Path;

use super::{Finding, Grade};
use crate::admin::client;
use crate::admin::protocol::{AgentStatus, Request, agent_socket};
use crate::config::{Config, Host, Listen, NextHop, Then, Transport};
use crate::runtime::agent::{cannot_listen, find_servers};
use crate::sandbox::Identity;

pub(super) fn look(config: &Config, findings: &mut Vec<Finding>) {
    user(config, findings);
    interfaces(config, findings);
    sockets(config, findings);
    names(config, findings);
}

fn user(config: &Config, findings: &mut Vec<Finding>) {
    match Identity::find(config.user.as_deref()) {
        Ok(identity) => {
            findings
                .push(Finding::new(Grade::Ok, format!("the agent half will run as user {}", identity.name)));
        }
        Err(why) => findings.push(Finding::new(Grade::Problem, why)),
    }
    for name in config.middlebox.users.iter().filter(|name| Identity::of(name).is_none()) {
        findings.push(Finding::new(Grade::Problem, format!("there is no user `{name}` (key `users`)")));
    }
}

fn interfaces(config: &Config, findings: &mut Vec<Finding>) {
    for realm in &config.realms {
        for interface in &realm.interfaces {
            if !Path::new("/sys/class/net").join(interface).exists() {
                let text = format!("realm {}: this host has no interface {interface}", realm.name);
                findings.push(Finding::new(Grade::Problem, text).advise("`ip link` lists them"));
            }
        }
    }
}

/// Tries to listen everywhere, unless a running Postern does.
fn sockets(config: &Config, findings: &mut Vec<Finding>) {
    let running: Option<AgentStatus> = client::ask(&agent_socket(&config.run_dir), &Request::Status).ok();
    let serves_others = !config.middlebox.listen.is_empty();
    for (listen, _) in config.realms.iter().flat_map(|realm| &realm.listen) {
        let served = running.as_ref().filter(|agent| agent.listeners.contains(&listen.to_string()));
        findings.push(match (served, try_listen(*listen)) {
            (Some(agent), _) => Finding::new(
                Grade::Ok,
                format!("{listen} is served by the running Postern (process {})", agent.pid),
            ),
            (None, Ok(())) => Finding::new(Grade::Ok, format!("{listen} can be served")),
            (None, Err(error)) if serves_others => {
                Finding::new(Grade::Warning, cannot_listen(listen, &error)).advise(
                    "needed only where the agent half runs; this host may serve the middlebox half alone",
                )
            }
            (None, Err(error)) => Finding::new(Grade::Problem, cannot_listen(listen, &error)),
        });
    }
}

fn try_listen(listen: Listen) -> std::io::Result<()> {
    match listen.transport {
        Transport::Udp => UdpSocket::bind(listen.address).map(drop),
        Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
            TcpListener::bind(listen.address).map(drop)
        }
    }
}

fn names(config: &Config, findings: &mut Vec<Finding>) {
    for route in &config.routes {
        let Then::Call { to, next_hops } = &route.then else { continue };
        for next_hop in next_hops {
            if let Host::Name(name) = &next_hop.host {
                findings.push(served(config, *to, next_hop, name));
            }
        }
    }
}

/// Where calls to a name would go now.
fn served(config: &Config, to: usize, next_hop: &NextHop, name: &str) -> Finding {
    let realm = config.realms.get(to).map_or("", |realm| realm.name.as_str());
    match find_servers(config, to, next_hop) {
        Ok(places) if places.is_empty() => {
            let text = format!("{}: nobody serves SIP there that realm {realm} can send to", next_hop.text);
            Finding::new(Grade::Warning, text)
                .advise("calls on this route fail until the name has addresses; `dig` shows what it has")
        }
        Ok(places) => {
            let list: Vec<String> =
                places.iter().map(|place| format!("{} {}", place.protocol, place.address)).collect();
            Finding::new(Grade::Ok, format!("{name} is served at {}", list.join(", ")))
        }
        Err(why) => Finding::new(Grade::Warning, format!("{}: {why}", next_hop.text))
            .advise("calls on this route fail until the name can be looked up"),
    }
}
