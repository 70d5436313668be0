//! Who lives where.

use std::net::IpAddr;

use midcom::{IpVersions, Network};

use crate::{Realm, RealmError, Realms, ReversePath, Side};

fn realm(name: &str, side: Side, networks: &[&str]) -> Realm {
    Realm {
        name: name.into(),
        side,
        networks: networks.iter().map(|network| net(network)).collect(),
        ports: 16384..=32767,
        interfaces: Vec::new(),
        managed: true,
        reverse_path: ReversePath::Strict,
    }
}

fn net(network: &str) -> Network {
    network.parse().unwrap()
}

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

/// Outside has a network inside a network, and inside lives in the middle of it.
fn nested() -> Realms {
    Realms::new(vec![
        realm("inside", Side::Inside, &["10.2.0.0/16"]),
        realm("outside", Side::Outside, &["10.0.0.0/8", "10.1.0.0/16", "10.2.3.0/24"]),
    ])
    .unwrap()
}

#[test]
fn an_address_lives_in_the_longest_network() {
    let realms = nested();
    let zone = |address| realms.zone_of(ip(address)).map(|zone| zone.network.to_string());
    assert_eq!(zone("10.9.0.1").as_deref(), Some("10.0.0.0/8"));
    assert_eq!(zone("10.1.0.1").as_deref(), Some("10.1.0.0/16"));
    assert_eq!(zone("10.2.0.1").as_deref(), Some("10.2.0.0/16"));
    assert_eq!(zone("10.2.3.1").as_deref(), Some("10.2.3.0/24"));
    assert_eq!(zone("192.0.2.1"), None);
    assert_eq!(realms.side_of(ip("10.2.0.1")), Some(Side::Inside));
}

#[test]
fn a_network_is_whole_zones_of_its_side_or_nothing() {
    let realms = nested();
    let outside = |network| realms.zones_within(Side::Outside, net(network));
    let all = vec![net("10.2.3.0/24"), net("10.1.0.0/16"), net("10.0.0.0/8")];
    assert_eq!(outside("10.0.0.0/8"), all);
    assert_eq!(outside("0.0.0.0/0"), all);
    assert_eq!(outside("10.1.0.0/16"), [net("10.1.0.0/16")]);
    assert_eq!(outside("10.2.0.0/16"), [net("10.2.3.0/24")], "the rest of it is inside");
    assert_eq!(outside("10.0.0.0/15"), [], "it has 10.1.0.0/16 whole but only a part of 10.0.0.0/8");
    assert_eq!(outside("10.1.0.0/17"), []);
    assert_eq!(outside("192.0.2.0/24"), []);
    assert_eq!(realms.zones_within(Side::Inside, net("10.0.0.0/8")), [net("10.2.0.0/16")]);
}

#[test]
fn a_realm_without_networks_is_everybody_else() {
    let inside = realm("inside", Side::Inside, &["10.0.40.0/24"]);
    let realms = Realms::new(vec![inside, realm("outside", Side::Outside, &[])]).unwrap();
    assert_eq!(realms.side_of(ip("10.0.40.7")), Some(Side::Inside));
    assert_eq!(realms.side_of(ip("10.0.41.7")), Some(Side::Outside));
    assert_eq!(realms.side_of(ip("2001:db8::1")), Some(Side::Outside));
    assert_eq!(realms.versions(Side::Inside), IpVersions::V4);
    assert_eq!(realms.versions(Side::Outside), IpVersions::Both);
}

#[test]
fn managed_is_a_media_port_of_a_media_network_at_either_end() {
    let inside = realm("inside", Side::Inside, &["10.0.40.0/24"]);
    let realms = Realms::new(vec![inside, realm("outside", Side::Outside, &[])]).unwrap();
    let phone = |port| (ip("10.0.40.7"), port);
    let far = |port| (ip("198.51.100.9"), port);
    assert!(realms.manages(far(53), phone(16384)));
    assert!(realms.manages(phone(32767), far(53)));
    assert!(!realms.manages(phone(5353), far(20000)), "everybody else has no managed ports");
    assert!(!realms.manages(far(53), phone(32768)));
}

#[test]
fn realms_that_cannot_be_told_apart_are_refused() {
    let twice = [realm("a", Side::Inside, &["10.0.40.7/24"]), realm("b", Side::Outside, &["10.0.40.0/24"])];
    let shared = RealmError::SharedNetwork("a".into(), "b".into(), net("10.0.40.0/24"));
    assert_eq!(Realms::new(twice.to_vec()), Err(shared));
    let alone = vec![realm("a", Side::Inside, &["10.0.40.0/24"])];
    assert_eq!(Realms::new(alone), Err(RealmError::EmptySide(Side::Outside)));
    let everybody = vec![realm("a", Side::Inside, &[]), realm("b", Side::Outside, &[])];
    assert!(matches!(Realms::new(everybody), Err(RealmError::SharedNetwork(..))));
}
