//! The firewalls around the gate: which of their chains drop what the gate lets in, why, and the text that changes it.

use nftables::line::{self, BaseChain, Expected, Keeper, Managed, MarkUse, Passage, Surroundings};
use nftables::{Features, Mark};

use super::{Finding, Grade};
use crate::config::Config;

/// `proven`: packets of every direction and version have passed. True if the text of the line was given.
pub(super) fn look(config: &Config, mark: Mark, proven: bool, findings: &mut Vec<Finding>) -> bool {
    let around = match line::survey(&expected(config, mark)) {
        Ok(around) => around,
        Err(error) => {
            findings.push(Finding::new(Grade::NotProven, error.to_string()));
            return false;
        }
    };
    let managed = managed(config);
    let before = findings.len();
    let local = config.realms.iter().any(|realm| realm.local_media);
    for chain in &around.chains {
        match chain.hook {
            "forward" => findings.extend(judge(&around, chain, mark, &managed, proven)),
            // No packet is tried there.
            _ if local => findings.extend(judge(&around, chain, mark, &managed, false)),
            _ => {}
        }
    }
    let told = findings.iter().skip(before).any(|finding| finding.grade == Grade::Problem);
    for place in &around.stray_lines {
        let text = format!("{place} has the line, but no packet that is forwarded comes there");
        findings.push(Finding::new(Grade::Warning, text));
    }
    for user in &around.mark_uses {
        let grade = match user {
            MarkUse::Writes(_) => Grade::Problem,
            MarkUse::Reads(_) | MarkUse::Connection(_) | MarkUse::RoutingRule(_) => Grade::Warning,
        };
        let text = format!("somebody else uses bit {:#x}: {user}", mark.mask);
        findings.push(Finding::new(grade, text).advise("choose another bit: `[middlebox] mark`"));
    }
    if !around.legacy.is_empty() {
        let text = format!("tables of old iptables, which cannot be read here: {}", around.legacy.join(", "));
        findings.push(Finding::new(Grade::Warning, text).advise(super::line::lines(mark)));
    }
    findings.extend(around.notes.iter().map(|note| Finding::new(Grade::Warning, note.to_string())));
    told
}

/// What the gate will let in.
fn expected(config: &Config, mark: Mark) -> Expected {
    let has = |v4| {
        let mut networks = config.realms.iter().flat_map(|realm| &realm.media);
        networks.any(|network| network.addr().is_ipv4() == v4)
    };
    let first = config.realms.iter().map(|realm| *realm.media_ports.start()).min();
    let last = config.realms.iter().map(|realm| *realm.media_ports.end()).max();
    Expected { mark, ports: first.unwrap_or(0)..=last.unwrap_or(u16::MAX), v4: has(true), v6: has(false) }
}

fn managed(config: &Config) -> Vec<Managed> {
    let of_realm = |realm: &crate::config::Realm| {
        let ports = realm.media_ports.clone();
        realm.media.iter().map(move |network| (*network, ports.clone())).collect::<Vec<_>>()
    };
    // Where nothing is managed an accept by range would open it.
    config.realms.iter().filter(|realm| realm.managed).flat_map(of_realm).collect()
}

fn judge(
    around: &Surroundings,
    chain: &BaseChain,
    mark: Mark,
    managed: &[Managed],
    proven: bool,
) -> Vec<Finding> {
    let place = &chain.place;
    let remedy = || around.remedy(chain, mark, managed);
    let mut findings = vec![match (&chain.passage, chain.has_line) {
        (Passage::Open(None), true) => Finding::new(Grade::Ok, format!("{place} has the line")),
        (Passage::Open(Some(spot)), true) => {
            let text = format!("{place} has the line, but {spot} may drop some of it before");
            Finding::new(Grade::Warning, text).advise("look at that rule, or move the line before it")
        }
        // Nothing there drops it.
        (Passage::Open(_), false) => return Vec::new(),
        // Other rules let it pass, as the packets have shown.
        (Passage::Shut(_, true), _) if proven => {
            Finding::new(Grade::Ok, format!("{place} lets through what the gate lets in"))
        }
        (Passage::Shut(spot, _), true) => {
            let text = format!("{place} has the line too late: {spot} drops before it what the gate lets in");
            Finding::new(Grade::Problem, text).advise(remedy())
        }
        (Passage::Shut(spot, _), false) => {
            let text = format!("{place} drops what the gate lets in: the line is missing ({spot})");
            Finding::new(Grade::Problem, text).advise(remedy())
        }
    }];
    if chain.keeper == Keeper::Firewalld {
        findings.extend(unprotected());
    }
    findings
}

/// firewalld lets in whatever the gate would decide about, once the gate is gone.
fn unprotected() -> Option<Finding> {
    let text = match nftables::features() {
        Ok(Features { owner: true, .. }) => return None,
        Ok(_) => "firewalld cannot look at the mark: if our table is deleted here, it lets in all UDP to the media \
                  ports, and this kernel cannot protect the table (it takes Linux 6.9)"
            .to_owned(),
        Err(error) => error.to_string(),
    };
    Some(Finding::new(Grade::Problem, text))
}
