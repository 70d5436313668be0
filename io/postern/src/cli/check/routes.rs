//! Routes that no call can take, and next hops that are ourselves.

use std::net::SocketAddr;

use super::{Finding, Grade};
use crate::config::{Config, Host, Route, Then, Transport};
use b2bua::config::When;

pub(super) fn look(config: &Config, findings: &mut Vec<Finding>) {
    for (position, route) in config.routes.iter().enumerate() {
        let before = &config.routes[..position];
        if let Some(first) = before.iter().position(|earlier| takes_all(earlier, route, config.realms.len()))
        {
            let text = format!(
                "no call can take route {}: route {} stands before it and takes all of its calls",
                position + 1,
                first + 1
            );
            let advice = "put the narrower route first: a call takes the first one that fits";
            findings.push(Finding::new(Grade::Warning, text).advise(advice));
        }
        ourselves(config, position, route, findings);
    }
}

/// True if every call that fits a route fits one before it. If in doubt, false.
fn takes_all(earlier: &Route, route: &Route, realms: usize) -> bool {
    let comes_from = (0..realms).filter(|realm| is_from(route, *realm));
    comes_from.into_iter().all(|realm| is_from(earlier, realm)) && asks_less(&earlier.when, &route.when)
}

fn is_from(route: &Route, realm: usize) -> bool {
    match (route.from, &route.then) {
        (Some(from), _) => from == realm,
        (None, Then::Call { to, .. }) => *to != realm,
        (None, Then::Refuse { .. } | Then::Registered { .. }) => true,
    }
}

fn asks_less(earlier: &When, later: &When) -> bool {
    each(&earlier.users, &later.users, |one, other| one.covers(other))
        && each(&earlier.callers, &later.callers, |one, other| one.covers(other))
        && each(&earlier.hosts, &later.hosts, |one, other| one.eq_ignore_ascii_case(other))
        && each(&earlier.sources, &later.sources, |one, other| one.contains(other))
}

/// True if each entry of a later list is also meant by the earlier list; an empty list means everything.
fn each<T>(earlier: &[T], later: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
    let is_meant = |entry: &T| earlier.iter().any(|one| covers(one, entry));
    earlier.is_empty() || (!later.is_empty() && later.iter().all(is_meant))
}

fn ourselves(config: &Config, position: usize, route: &Route, findings: &mut Vec<Finding>) {
    let Then::Call { next_hops, .. } = &route.then else { return };
    let listeners = || config.realms.iter().flat_map(|realm| &realm.listen).map(|(listen, _)| listen.address);
    for next_hop in next_hops {
        let Host::Address(ip) = next_hop.host else { continue };
        let usual = if next_hop.secure { Transport::Tls } else { Transport::Udp };
        let port = next_hop.transport.unwrap_or(usual).protocol().port();
        let to = SocketAddr::new(ip, next_hop.port.unwrap_or(port));
        if listeners().any(|ours| ours == to) {
            let (number, text) = (position + 1, &next_hop.text);
            findings.push(
                Finding::new(Grade::Problem, format!("route {number} leads back to us: {text} is a listener of ours"))
                    .advise("such calls are answered 482 (Loop Detected); name the server that the realm's phones use"),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(routes: &str) -> Vec<String> {
        let realms = "[realm.outside]\nlisten = [\"udp:198.51.100.1\"]\nmedia = [\"0.0.0.0/0\"]\n\
                      [realm.inside]\nlisten = [\"udp:10.0.0.1:5070\"]\nmedia = [\"10.0.0.0/16\"]\n";
        let config =
            Config::parse("x", &format!("{realms}{routes}")).map_err(|refused| refused.text).unwrap();
        let mut findings = Vec::new();
        look(&config, &mut findings);
        findings.into_iter().map(|finding| finding.text).collect()
    }

    fn route(of_it: &str) -> String {
        format!("[[route]]\nto = \"inside\"\nnext-hop = \"sip:10.0.0.5\"\n{of_it}\n")
    }

    #[test]
    fn a_route_behind_one_that_takes_all() {
        let shadowed = |first: &str, second: &str| !said(&(route(first) + &route(second))).is_empty();
        assert!(shadowed("", "users = [\"+49*\"]"));
        assert!(shadowed("users = [\"+4*\"]", "users = [\"+49*\", \"+44123\"]"));
        assert!(shadowed("sources = [\"192.0.2.0/24\"]", "users = [\"a\"]\nsources = [\"192.0.2.7\"]"));
        assert!(shadowed("", ""));
        assert!(!shadowed("users = [\"+49*\"]", ""));
        assert!(!shadowed("users = [\"+49*\"]", "users = [\"+4*\"]"));
        assert!(!shadowed("hosts = [\"a.example\"]", "users = [\"+49*\"]"));
        let back = "[[route]]\nto = \"outside\"\nnext-hop = \"sip:192.0.2.1\"\n";
        assert!(said(&(route("") + back)).is_empty(), "its calls come from elsewhere");
        let refuse = "[[route]]\nfrom = \"outside\"\nrefuse = 403\n";
        assert_eq!(said(&(refuse.to_owned() + &route(""))).len(), 1);
        assert!(said(&(route("users = [\"1\"]") + refuse)).is_empty());
    }

    #[test]
    fn a_next_hop_that_is_a_listener() {
        let to_us = |hop: &str| said(&format!("[[route]]\nto = \"inside\"\nnext-hop = \"{hop}\"\n")).len();
        assert_eq!((to_us("sip:10.0.0.1:5070"), to_us("sip:198.51.100.1"), to_us("sip:10.0.0.1")), (1, 1, 0));
    }
}
