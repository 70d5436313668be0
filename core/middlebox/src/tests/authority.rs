use std::collections::BTreeMap;

use midcom::{Direction, Failure, IpVersionChoice, Lifetime, Protocol, Tuple};

use crate::{
    AgentId, AgentPolicy, Authority, Opening, Policy, Realm, Realms, ReversePath, Rights, Side, Source,
};

const AGENT: AgentId = AgentId(1);

fn realm(name: &str, side: Side, networks: &[&str]) -> Realm {
    Realm {
        name: name.into(),
        side,
        networks: networks.iter().map(|network| network.parse().unwrap()).collect(),
        ports: 16384..=32767,
        interfaces: Vec::new(),
        managed: true,
        reverse_path: ReversePath::Strict,
    }
}

fn authority(outside: &[&str], deny: &[&str]) -> Authority {
    authority_with(outside, deny, false)
}

fn authority_with(outside: &[&str], deny: &[&str], tcp: bool) -> Authority {
    let inside = realm("inside", Side::Inside, &["10.0.40.0/24", "10.0.50.0/24", "fd00:40::/64"]);
    let realms = Realms::new(vec![inside, realm("outside", Side::Outside, outside)]).unwrap();
    let agent = AgentPolicy {
        name: "postern".into(),
        internal: vec!["10.0.40.0/24".parse().unwrap(), "fd00:40::/64".parse().unwrap()],
        ports: 16384..=32767,
        rules_max: 10,
        lifetime_max: Lifetime(300),
        rights: Rights::default(),
    };
    let deny = deny.iter().map(|network| network.parse().unwrap()).collect();
    Authority::new(
        realms,
        Policy { agents: BTreeMap::from([(AGENT, agent)]), deny, ..Policy::default() },
        tcp,
    )
}

fn udp(network: &str, port: u16, range: u16) -> Tuple {
    Tuple { network: network.parse().unwrap(), protocol: Protocol::Udp, port, range }
}

fn inbound(internal: Tuple, external: Tuple) -> Opening {
    Opening { direction: Direction::Inbound, internal, external }
}

fn outbound(internal: Tuple, external: Tuple) -> Opening {
    Opening { direction: Direction::Outbound, internal, external }
}

fn keys(authority: &Authority, opening: &Opening) -> Result<Vec<String>, Failure> {
    let permits = authority.permit(AGENT, opening)?;
    Ok(permits.iter().map(|permit| permit.key().to_string()).collect())
}

const PHONE: &str = "10.0.40.7/32";
const FAR: &str = "198.51.100.9/32";

#[test]
fn an_aligned_pair_from_any_port_is_one_key() {
    let opening = inbound(udp(PHONE, 20000, 2), udp(FAR, 0, 2));
    assert_eq!(
        keys(&authority(&[], &[]), &opening).unwrap(),
        ["udp 198.51.100.9:* -> 10.0.40.7:20000-20001"]
    );
}

#[test]
fn an_unaligned_range_is_cut_at_even_ports() {
    let opening = inbound(udp(PHONE, 20001, 4), udp(FAR, 0, 4));
    let ports: Vec<_> = authority(&[], &[]).permit(AGENT, &opening).unwrap();
    let ports: Vec<_> = ports.iter().map(|permit| permit.key().ports().to_string()).collect();
    assert_eq!(ports, ["20001", "20002-20003", "20004"]);
}

//= test RFC 5189 §2.3.6: the i-th port of one tuple belongs to the i-th of the other.
#[test]
fn exact_ports_are_one_key_each() {
    let opening = outbound(udp(PHONE, 20000, 2), udp(FAR, 4000, 2));
    let expected = ["udp 10.0.40.7:20000 -> 198.51.100.9:4000", "udp 10.0.40.7:20001 -> 198.51.100.9:4001"];
    assert_eq!(keys(&authority(&[], &[]), &opening).unwrap(), expected);
}

#[test]
fn both_directions_of_an_exact_rule_are_keys_of_their_own() {
    let opening = Opening {
        direction: Direction::Bidirectional,
        ..inbound(udp("fd00:40::7/128", 20000, 1), udp("2001:db8::9/128", 4000, 1))
    };
    let expected =
        ["udp [2001:db8::9]:4000 -> [fd00:40::7]:20000", "udp [fd00:40::7]:20000 -> [2001:db8::9]:4000"];
    assert_eq!(keys(&authority(&[], &[]), &opening).unwrap(), expected);
}

#[test]
fn a_network_is_the_zones_it_is_made_of() {
    let authority = authority(&["198.51.100.0/24", "203.0.113.0/24"], &[]);
    let anywhere = inbound(udp(PHONE, 20000, 2), udp("0.0.0.0/0", 0, 2));
    let expected =
        ["udp 198.51.100.0/24:* -> 10.0.40.7:20000-20001", "udp 203.0.113.0/24:* -> 10.0.40.7:20000-20001"];
    assert_eq!(keys(&authority, &anywhere).unwrap(), expected);
    let one = inbound(udp(PHONE, 20000, 2), udp("203.0.113.0/24", 0, 2));
    assert_eq!(keys(&authority, &one).unwrap(), expected[1..]);
}

#[test]
fn part_of_a_zone_is_never_widened_to_the_zone() {
    let opening = inbound(udp(PHONE, 20000, 2), udp("198.51.100.0/25", 0, 2));
    for outside in [&["198.51.100.0/24"][..], &[]] {
        assert_eq!(keys(&authority(outside, &[]), &opening), Err(Failure::WildcardNotSupported));
    }
}

#[test]
fn everybody_outside_does_not_include_the_inside() {
    let authority = authority(&[], &[]);
    let opening = inbound(udp(PHONE, 20000, 2), udp("0.0.0.0/0", 0, 2));
    let permits = authority.permit(AGENT, &opening).unwrap();
    let Source::Network(_) = permits[0].key().source() else { panic!("{permits:?}") };
    let admits = |host: &str| permits[0].key().source().admits(authority.realms(), host.parse().unwrap(), 9);
    assert!(admits("198.51.100.9"));
    assert!(!admits("10.0.50.3"));
}

#[test]
fn wildcards_without_a_key_class_are_refused() {
    let authority = authority(&[], &[]);
    for opening in [
        inbound(udp("10.0.40.0/24", 20000, 2), udp(FAR, 0, 2)),
        inbound(udp(PHONE, 0, 2), udp(FAR, 0, 2)),
        inbound(udp(PHONE, 20000, 2), udp("0.0.0.0/0", 4000, 2)),
        outbound(udp(PHONE, 20000, 2), udp(FAR, 0, 2)),
        outbound(udp("10.0.40.0/24", 0, 2), udp("198.51.100.0/24", 4000, 2)),
    ] {
        assert_eq!(keys(&authority, &opening), Err(Failure::WildcardNotSupported), "{opening:?}");
    }
}

//= test RFC 4540 §8.3.1: bi-directional with any wildcard but the protocol is inconsistent.
#[test]
fn bidirectional_never_with_a_wildcard() {
    for external in [udp(FAR, 0, 2), udp("0.0.0.0/0", 4000, 2)] {
        let opening =
            Opening { direction: Direction::Bidirectional, ..inbound(udp(PHONE, 20000, 2), external) };
        assert_eq!(keys(&authority(&[], &[]), &opening), Err(Failure::Inconsistent));
    }
}

//= test RFC 4540 §8.3.1: protocols and ranges of both tuples agree; a range beside a wild port means nothing.
#[test]
fn tuples_that_disagree_are_inconsistent() {
    let authority = authority(&[], &[]);
    let tcp = Tuple { protocol: Protocol::Tcp, ..udp(FAR, 0, 2) };
    assert_eq!(keys(&authority, &inbound(udp(PHONE, 20000, 2), tcp)), Err(Failure::Inconsistent));
    let opening = inbound(udp(PHONE, 20000, 2), udp(FAR, 4000, 1));
    assert_eq!(keys(&authority, &opening), Err(Failure::Inconsistent));
    assert!(keys(&authority, &inbound(udp(PHONE, 20000, 2), udp(FAR, 0, 1))).is_ok());
}

#[test]
fn illegal_values_have_their_own_codes() {
    let authority = authority(&[], &[]);
    let refused = |internal, external| keys(&authority, &inbound(internal, external)).unwrap_err();
    assert_eq!(refused(udp(PHONE, 20000, 0), udp(FAR, 0, 0)), Failure::IllegalPortCount);
    assert_eq!(refused(udp(PHONE, 65535, 2), udp(FAR, 0, 2)), Failure::IllegalPortCount);
    assert_eq!(refused(udp(PHONE, 20000, 65), udp(FAR, 0, 65)), Failure::IllegalPortCount);
    assert_eq!(refused(udp(PHONE, 20000, 2), udp("224.0.0.9/32", 0, 2)), Failure::IllegalAddress);
    assert_eq!(refused(udp(PHONE, 20000, 2), udp("0.0.0.0/32", 0, 2)), Failure::IllegalAddress);
    assert_eq!(refused(udp(PHONE, 20000, 2), udp("2001:db8::9/128", 0, 2)), Failure::IpVersionMismatch);
    let mapped = inbound(udp("fd00:40::7/128", 20000, 2), udp("::ffff:198.51.100.9/128", 0, 2));
    assert_eq!(keys(&authority, &mapped), Err(Failure::IllegalAddress));
}

#[test]
fn protocols_the_engine_cannot_do_are_refused() {
    //= test RFC 4540 §8.3.1: any protocol is a wildcard, of ports as well.
    let unsupported = [
        (Protocol::Any, Failure::WildcardNotSupported),
        (Protocol::Tcp, Failure::ProtocolNotSupported),
        (Protocol::Other(132), Failure::ProtocolNotSupported),
    ];
    for (protocol, failure) in unsupported {
        let tuple = |tuple| Tuple { protocol, ..tuple };
        let opening = inbound(tuple(udp(PHONE, 20000, 2)), tuple(udp(FAR, 0, 2)));
        assert_eq!(keys(&authority(&[], &[]), &opening), Err(failure));
    }
}

#[test]
fn a_tcp_rule_is_an_entry_of_its_own_where_the_engine_can() {
    let authority = authority_with(&[], &[], true);
    let tcp = |tuple| Tuple { protocol: Protocol::Tcp, ..tuple };
    let both = [inbound(udp(PHONE, 20000, 1), udp(FAR, 0, 1)), outbound(udp(PHONE, 0, 1), udp(FAR, 4000, 1))];
    for opening in both {
        let over_udp = keys(&authority, &opening).unwrap();
        let opening = Opening { internal: tcp(opening.internal), external: tcp(opening.external), ..opening };
        let over_tcp = keys(&authority, &opening).unwrap();
        assert_eq!((over_udp.len(), over_tcp.len()), (1, 1));
        assert_ne!(over_udp, over_tcp);
    }
    let elsewhere = inbound(tcp(udp(PHONE, 5060, 1)), tcp(udp(FAR, 0, 1)));
    assert_eq!(keys(&authority, &elsewhere), Err(Failure::NotAuthorizedForTransaction));
}

#[test]
fn an_agent_opens_only_its_own_networks_and_ports() {
    let authority = authority(&[], &[]);
    let no = Err(Failure::NotAuthorizedForTransaction);
    assert_eq!(keys(&authority, &inbound(udp("10.0.50.7/32", 20000, 2), udp(FAR, 0, 2))), no);
    assert_eq!(keys(&authority, &inbound(udp(PHONE, 5060, 1), udp(FAR, 0, 1))), no);
    assert_eq!(keys(&authority, &inbound(udp(PHONE, 32767, 2), udp(FAR, 0, 2))), no);
    assert_eq!(keys(&authority, &outbound(udp("10.0.50.0/24", 0, 2), udp(FAR, 4000, 2))), no);
    let wide = outbound(udp("10.0.0.0/16", 0, 2), udp(FAR, 4000, 2));
    assert_eq!(keys(&authority, &wide), Err(Failure::WildcardNotSupported));
    assert_eq!(authority.permit(AgentId(9), &wide), Err(Failure::NotAuthorizedForTransaction));
}

#[test]
fn an_outside_that_lives_inside_or_nowhere_is_refused() {
    let no = Err(Failure::NotAuthorizedForTransaction);
    let hairpin = inbound(udp(PHONE, 20000, 2), udp("10.0.50.9/32", 0, 2));
    assert_eq!(keys(&authority(&[], &[]), &hairpin), no);
    let stranger = inbound(udp(PHONE, 20000, 2), udp("192.0.2.1/32", 0, 2));
    assert_eq!(keys(&authority(&["198.51.100.0/24"], &[]), &stranger), no);
}

#[test]
fn a_denied_host_is_refused_and_makes_wildcards_around_it_unsupported() {
    let authority = authority(&[], &["198.51.100.9/32"]);
    let exact = inbound(udp(PHONE, 20000, 2), udp(FAR, 0, 2));
    assert_eq!(keys(&authority, &exact), Err(Failure::NotAuthorizedForTransaction));
    let anywhere = inbound(udp(PHONE, 20000, 2), udp("0.0.0.0/0", 0, 2));
    assert_eq!(keys(&authority, &anywhere), Err(Failure::WildcardNotSupported));
    let neighbour = inbound(udp(PHONE, 20000, 2), udp("198.51.100.10/32", 0, 2));
    assert!(keys(&authority, &neighbour).is_ok());
}

#[test]
fn a_denied_inside_host_does_not_touch_everybody_outside() {
    let authority = authority(&[], &["10.0.40.66/32"]);
    let anywhere = inbound(udp(PHONE, 20000, 2), udp("0.0.0.0/0", 0, 2));
    assert!(keys(&authority, &anywhere).is_ok());
    let inside = outbound(udp("10.0.40.0/24", 0, 2), udp(FAR, 4000, 2));
    assert_eq!(keys(&authority, &inside), Err(Failure::WildcardNotSupported));
}

#[test]
fn a_wholly_denied_network_is_not_authorised() {
    let authority = authority(&["198.51.100.0/24"], &["198.51.0.0/16"]);
    let opening = inbound(udp(PHONE, 20000, 2), udp("198.51.100.0/24", 0, 2));
    assert_eq!(keys(&authority, &opening), Err(Failure::NotAuthorizedForTransaction));
    let reserve = authority.allows_reservation(AGENT, Protocol::Udp, IpVersionChoice::V4);
    assert_eq!(reserve, Err(Failure::AddressSpaceNotAvailable));
}
