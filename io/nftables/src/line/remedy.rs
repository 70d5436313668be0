//! The exact text that puts the line where it belongs, in the words of whoever keeps those rules.

use std::fmt::Write as _;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use super::{BaseChain, Place, Surroundings, iptables_line, nftables_line};
use crate::config::Mark;

/// Who keeps a chain's rules, and so where the line must be written to last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeper {
    /// nft, or a program that is not known here.
    Nftables,
    /// iptables, on nftables.
    Iptables,
    /// ufw: `/etc/ufw/before.rules` and `before6.rules`.
    Ufw,
    /// firewalld, which cannot match a mark.
    Firewalld,
    /// OpenWrt's fw4.
    Fw4,
    /// Docker, which leaves one chain to the administrator.
    Docker,
}

impl Keeper {
    /// `drops` is the chain that drops what the gate let in.
    pub(super) fn of(chain: &Place, drops: Option<&Place>, exists: impl Fn(&str) -> bool) -> Self {
        let by_iptables = chain.table == "filter"
            && ["ip", "ip6"].contains(&chain.family)
            && ["INPUT", "FORWARD", "OUTPUT"].contains(&&*chain.chain);
        let docker = exists("DOCKER-USER") && chain.chain == "FORWARD";
        let ufw = exists(ufw_chain(chain.family, "forward").as_str());
        let by_docker = drops.is_some_and(|place| place.chain.starts_with("DOCKER"));
        match (chain.family, &*chain.table) {
            ("inet", "firewalld") => Self::Firewalld,
            ("inet", "fw4") => Self::Fw4,
            _ if !by_iptables => Self::Nftables,
            _ if docker && (by_docker || !ufw) => Self::Docker,
            _ if ufw => Self::Ufw,
            _ => Self::Iptables,
        }
    }
}

fn ufw_chain(family: &str, hook: &str) -> String {
    let six = if family == "ip6" { "6" } else { "" };
    format!("ufw{six}-before-{hook}")
}

/// What the gate manages: UDP to and from these networks on these ports.
pub type Managed = (IpNet, RangeInclusive<u16>);

impl Surroundings {
    /// The commands that let through what the gate let in, for one chain that drops it.
    #[must_use]
    pub fn remedy(&self, chain: &BaseChain, mark: Mark, managed: &[Managed]) -> String {
        let BaseChain { place: Place { family, table, chain: name }, hook, .. } = chain;
        let tool = if *family == "ip6" { "ip6tables" } else { "iptables" };
        let line = iptables_line(mark);
        match chain.keeper {
            Keeper::Nftables => format!(
                "nft 'insert rule {family} {table} {name} {}'\n# and in the file it is loaded from, often /etc/nftables.conf: the same line, near the top of that chain",
                nftables_line(mark)
            ),
            Keeper::Iptables => format!(
                "{tool} -I {name} {line}\n# and where the rules are kept, with Debian's iptables-persistent: netfilter-persistent save"
            ),
            Keeper::Docker => format!(
                "{tool} -I DOCKER-USER {line}\n# Docker keeps what is in that chain; at boot it must be made again"
            ),
            Keeper::Ufw => {
                let (file, own) = match *family {
                    "ip6" => ("/etc/ufw/before6.rules", ufw_chain("ip6", hook)),
                    _ => ("/etc/ufw/before.rules", ufw_chain("ip", hook)),
                };
                format!("# in {file}, behind \"# End required lines\":\n-A {own} {line}\n# then: ufw reload")
            }
            Keeper::Fw4 => format!(
                "echo '{}' > /etc/postern.nft\nuci add firewall include\nuci set firewall.@include[-1].type='nftables'\nuci set firewall.@include[-1].path='/etc/postern.nft'\nuci set firewall.@include[-1].position='chain-pre'\nuci set firewall.@include[-1].chain='{name}'\nuci commit firewall\nfw4 reload",
                nftables_line(mark)
            ),
            Keeper::Firewalld => firewalld(hook, managed),
        }
    }
}

/// A policy that accepts what our gate decides about: firewalld cannot look at a mark. Without our table it would let
/// in everything there, so it asks for a kernel that protects the table.
fn firewalld(hook: &str, managed: &[Managed]) -> String {
    let command = "firewall-cmd --permanent";
    let (from, to) = match hook {
        "input" => ("ANY", "HOST"),
        "output" => ("HOST", "ANY"),
        _ => ("ANY", "ANY"),
    };
    let policy = if hook == "forward" { "postern".to_owned() } else { format!("postern-{hook}") };
    let mut text = format!(
        "{command} --new-policy {policy}\n{command} --policy {policy} --add-ingress-zone {from}\n{command} --policy {policy} --add-egress-zone {to}\n"
    );
    for (network, ports) in managed {
        let family = if network.addr().is_ipv4() { "ipv4" } else { "ipv6" };
        for (end, port) in [("destination", "port"), ("source", "source-port")] {
            let _ = writeln!(
                text,
                "{command} --policy {policy} --add-rich-rule 'rule family=\"{family}\" {end} address=\"{network}\" {port} port=\"{}-{}\" protocol=\"udp\" accept'",
                ports.start(),
                ports.end()
            );
        }
    }
    text.push_str("firewall-cmd --reload");
    text
}
