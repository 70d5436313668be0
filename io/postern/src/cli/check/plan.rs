//! What can be said from the file alone: calls without a route, ranges that take in other traffic.

use b2bua::config::RealmId;
use midcom::MiddleboxId;

use super::{Finding, Grade};
use crate::config::{Config, Realm, Then};
use crate::runtime::agent::settings;

/// The first port that Linux hosts use for their own requests, unless told otherwise.
const EPHEMERAL_FIRST: u16 = 32_768;

pub(super) fn look(config: &Config, findings: &mut Vec<Finding>) {
    for (position, realm) in config.realms.iter().enumerate() {
        let leads_away = |route: &crate::config::Route| {
            let leads_back = match route.then {
                Then::Call { to, .. } | Then::Registered { to } => to == position,
                Then::Refuse { .. } => true,
            };
            !leads_back && route.from.is_none_or(|from| from == position)
        };
        if !config.routes.iter().any(leads_away) {
            let text = format!("calls from realm {} lead nowhere: they are answered 404", realm.name);
            let advice = "[[route]]\nto = \"REALM\"\nnext-hop = \"sip:HOST\"";
            findings.push(Finding::new(Grade::Warning, text).advise(advice));
        }
        ranges(realm, findings);
    }
    paths(config, findings);
    let lifetime = config.timers.rule_lifetime;
    if config.middlebox.lifetime_max < lifetime {
        findings.push(Finding::new(
            Grade::Warning,
            "`max-lifetime` is shorter than `rule-lifetime`: rules are granted less than is asked for",
        ));
    }
}

/// Which firewalls calls between which realms need; said where that is a question.
fn paths(config: &Config, findings: &mut Vec<Finding>) {
    if config.middleboxes.len() < 2 && config.realms.len() < 3 {
        return;
    }
    let settings = settings::b2bua(config);
    let realms: Vec<_> = (0..).map(RealmId).zip(&config.realms).collect();
    for (position, (a, from)) in realms.iter().enumerate() {
        for (b, to) in realms.iter().skip(position + 1) {
            let name =
                |id: MiddleboxId| settings.middleboxes.get(usize::from(id.0)).map(|one| one.name.clone());
            let path: Vec<MiddleboxId> = settings.path(*a, *b).map(|(id, _)| id).collect();
            let first_of_pair = |id: &MiddleboxId| settings.partner(*id).is_none_or(|other| *id < other);
            let with_partner = |id: MiddleboxId| match settings.partner(id).and_then(name) {
                Some(other) => name(id).map(|one| format!("one of {one} and {other}")),
                None => name(id),
            };
            let names: Vec<String> =
                path.into_iter().filter(first_of_pair).filter_map(with_partner).collect();
            let between = format!("calls between {} and {}", from.name, to.name);
            findings.push(match names.is_empty() {
                false => Finding::new(Grade::Ok, format!("{between} need {}", names.join(" and "))),
                true => Finding::new(Grade::Ok, format!("{between} need no firewall")),
            });
        }
    }
}

fn ranges(realm: &Realm, findings: &mut Vec<Finding>) {
    let managed = realm.managed && !realm.media.is_empty();
    if managed && *realm.media_ports.end() >= EPHEMERAL_FIRST {
        let text = format!(
            "`media-ports` of realm {} reach {}: DNS, QUIC and NTP of every host in `media` use ports from {EPHEMERAL_FIRST} on and would be cut off",
            realm.name,
            realm.media_ports.end()
        );
        findings.push(
            Finding::new(Grade::Warning, text)
                .advise("media-ports = \"16384-32767\", or managed = false where phones take any port"),
        );
    }
    for (listen, _) in &realm.listen {
        if managed && realm.media_ports.contains(&listen.address.port()) {
            let text = format!("{listen} lies inside `media-ports`: the gate would drop its UDP");
            findings.push(Finding::new(Grade::Problem, text).advise("listen on another port"));
        }
    }
}
