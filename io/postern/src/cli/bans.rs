//! `postern bans`, `postern ban`, `postern unban`

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use clap::Args;
use ipnet::IpNet;

use super::{Common, Outcome, deny, print};
use crate::admin::client;
use crate::admin::protocol::{Ban as Asked, BanLine, Bans as List, Request, agent_socket, middlebox_socket};

/// List the sources whose SIP is not heard
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postern bans
  postern bans -j

PACKETS is what the kernel has dropped; `-` where the agent half alone keeps a source out, or the middlebox half cannot be asked.

Exit codes: 0 listed; 1 no running Postern answers.")]
pub(super) struct Bans {}

/// Hear nothing from an address for a while
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  postern ban 203.0.113.9              for an hour
  postern ban 203.0.113.9 --for 7d
  postern ban 2001:db8:0:7::1          its /64

Only SIP is meant: what comes to our listeners. `postern deny` is for media.

Exit codes: 0 it is banned; 1 it is never banned (`never-ban`, next hops), or no running Postern answers.")]
pub(super) struct Ban {
    /// An IP address; of an IPv6 address its /64 is meant
    #[arg(value_name = "ADDRESS")]
    address: IpAddr,
    /// For how long: a number and s, m, h or d
    #[arg(long = "for", value_name = "TIME", default_value = "1h", value_parser = deny::time)]
    time: Duration,
}

/// Hear an address again
#[derive(Debug, Args)]
#[command(after_help = "Example:
  postern unban 203.0.113.9

Exit codes: 0 it is heard again; 1 it was not banned, or no running Postern answers.")]
pub(super) struct Unban {
    /// An IP address; of an IPv6 address its /64 is meant
    #[arg(value_name = "ADDRESS")]
    address: IpAddr,
}

impl Bans {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let sockets = common.sockets()?;
        let mut list: List = client::ask(&agent_socket(&sockets), &Request::Bans)?;
        // Who may not ask the other half sees the rest.
        let kernel: List = client::ask(&middlebox_socket(&sockets), &Request::Bans).unwrap_or_default();
        let packets: BTreeMap<IpNet, Option<u64>> =
            kernel.bans.iter().map(|ban| (ban.source, ban.packets)).collect();
        for ban in &mut list.bans {
            ban.packets = packets.get(&ban.source).copied().flatten();
        }
        if common.json {
            return print::json(&list);
        }
        if list.bans.is_empty() {
            return print::say("nobody is banned\n");
        }
        let rows: Vec<[String; 4]> = list.bans.into_iter().map(row).collect();
        print::say(&print::table(["SOURCE", "LEFT", "WHY", "PACKETS"], &rows))
    }
}

impl Ban {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let asked = Asked { source: self.address.into(), lasts_s: self.time.as_secs() };
        let banned: BanLine = client::ask(&agent_socket(&common.sockets()?), &Request::Ban(asked))?;
        match common.json {
            true => print::json(&banned),
            false => {
                let BanLine { source, remaining_s, .. } = banned;
                print::say(&format!("banned for {}: {}\n", print::age(remaining_s), shown(source)))
            }
        }
    }
}

impl Unban {
    pub(super) fn run(self, common: &Common) -> Outcome {
        let request = Request::Unban { source: self.address.into() };
        let source: IpNet = client::ask(&agent_socket(&common.sockets()?), &request)?;
        match common.json {
            true => print::json(&source),
            false => print::say(&format!("heard again: {}\n", shown(source))),
        }
    }
}

fn row(line: BanLine) -> [String; 4] {
    let packets = line.packets.map_or_else(|| "-".into(), |packets| packets.to_string());
    [shown(line.source), print::age(line.remaining_s), line.why, packets]
}

/// An address of its own without its prefix.
fn shown(source: IpNet) -> String {
    match source.prefix_len() == source.max_prefix_len() {
        true => source.addr().to_string(),
        false => source.to_string(),
    }
}
