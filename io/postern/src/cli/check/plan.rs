//! What can be said from the file alone: calls without a route, ranges that take in other traffic.

use super::{Finding, Grade};
use crate::config::{Config, Realm};

/// The first port that Linux hosts use for their own requests, unless told otherwise.
const EPHEMERAL_FIRST: u16 = 32_768;

pub(super) fn look(config: &Config, findings: &mut Vec<Finding>) {
    for (position, realm) in config.realms.iter().enumerate() {
        let leads_away = |route: &crate::config::Route| {
            route.to != position && route.from.is_none_or(|from| from == position)
        };
        if !config.routes.iter().any(leads_away) {
            let text = format!("calls from realm {} lead nowhere: they are answered 404", realm.name);
            let advice = "[[route]]\nto = \"REALM\"\nnext-hop = \"sip:HOST\"";
            findings.push(Finding::new(Grade::Warning, text).advise(advice));
        }
        ranges(realm, findings);
    }
    let lifetime = config.timers.rule_lifetime;
    if config.middlebox.lifetime_max < lifetime {
        findings.push(Finding::new(
            Grade::Warning,
            "`max-lifetime` is shorter than `rule-lifetime`: rules are granted less than is asked for",
        ));
    }
}

fn ranges(realm: &Realm, findings: &mut Vec<Finding>) {
    let managed = !realm.media.is_empty();
    if managed && *realm.media_ports.end() >= EPHEMERAL_FIRST {
        let text = format!(
            "`media-ports` of realm {} reach {}: DNS, QUIC and NTP of every host in `media` use ports from {EPHEMERAL_FIRST} on and would be cut off",
            realm.name,
            realm.media_ports.end()
        );
        findings.push(Finding::new(Grade::Warning, text).advise("media-ports = \"16384-32767\""));
    }
    for (listen, _) in &realm.listen {
        if managed && realm.media_ports.contains(&listen.address.port()) {
            let text = format!("{listen} lies inside `media-ports`: the gate would drop its UDP");
            findings.push(Finding::new(Grade::Problem, text).advise("listen on another port"));
        }
    }
}
