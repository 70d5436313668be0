//! Which interface carries which of this host's addresses.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use nix::ifaddrs::getifaddrs;

use crate::config::Realm;

/// The kernel's loopback: what this host says to itself belongs to no realm.
pub(super) const LOOPBACK: &str = "lo";

/// The interface of each address of this host.
pub(super) fn of_addresses() -> io::Result<BTreeMap<IpAddr, String>> {
    let interfaces = getifaddrs()?.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
        let v6 = || address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip()));
        Some((v4.or_else(v6)?, interface.interface_name))
    });
    Ok(interfaces.collect())
}

/// Where a realm's media arrives: as configured, else, for a realm that is "everybody else", where its listeners are.
///
/// Without this, a host behind a third interface (a DMZ, guests, management) would count as outside.
pub(super) fn of_media(realm: &Realm, places: &BTreeMap<IpAddr, String>) -> Vec<String> {
    if !realm.interfaces.is_empty() || !realm.media.is_empty() {
        return realm.interfaces.clone();
    }
    let listeners = realm.listen.iter().filter_map(|(listen, _)| places.get(&listen.address.ip()));
    let mut names: Vec<String> = listeners.filter(|name| *name != LOOPBACK).cloned().collect();
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn everybody_else_is_who_comes_in_where_the_listeners_are() {
        let text = |outside: &str| {
            format!(
                "[realm.outside]\nlisten = [\"udp:192.0.2.1\", \"tcp:192.0.2.1\", \"udp:127.0.0.1\"]\n{outside}\n\
                 [realm.inside]\nlisten = [\"udp:10.0.0.1\"]\nmedia = [\"10.0.0.0/24\"]\n\
                 [[route]]\nto = \"inside\"\nnext-hop = \"sip:10.0.0.9\"\n"
            )
        };
        let place = |address: &str, name: &str| (address.parse().unwrap(), name.to_owned());
        let places = [place("192.0.2.1", "wan0"), place("10.0.0.1", "lan0"), place("127.0.0.1", "lo")].into();
        let of = |outside: &str, realm: usize, places| {
            of_media(&Config::parse("postern.toml", &text(outside)).unwrap().realms[realm], places)
        };
        let named = "interfaces = [\"wan1\"]";
        assert_eq!(of("", 0, &places), ["wan0"]);
        assert_eq!(of(named, 0, &places), ["wan1"]);
        assert!(of("media = [\"192.0.2.0/24\"]", 0, &places).is_empty());
        assert!(of("", 1, &places).is_empty());
        // The listeners of a remote firewall's agent are not on this host: then the reverse path decides.
        assert!(of("", 0, &BTreeMap::new()).is_empty());
    }
}
