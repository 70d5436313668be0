//! Translated addresses: RFC 4540 §8.2.3, §8.3.3, §8.4.3; `docs/pinholes.md` §2.

use machine::Machine;
use midcom::{
    Direction, Failure, Gid, IpVersionChoice, Lifetime, NatService, Parity, PortParity, Prid, Protocol,
    Reply, Request, RuleStatus, Tuple,
};

use super::world::*;
use crate::memory::{Packet, Verdict};
use crate::{Engine, Input, Nat, NatError, Output, SessionId, Transport, limits};

const OUTSIDE: &str = "203.0.113.1/32";
/// The phone inside and the one outside.
const NEAR: &str = "10.0.40.7/32";
const FAR_HOST: &str = "198.51.100.9/32";

fn nat() -> Nat {
    Nat::new(vec!["203.0.113.1".parse().unwrap()], 30000..=30007).unwrap()
}

fn world() -> World {
    World::behind(nat())
}

fn reserve_ports(ports: u16, parity: PortParity) -> Request {
    Request::Reserve {
        service: NatService::Twice,
        inside: IpVersionChoice::V4,
        outside: IpVersionChoice::V4,
        protocol: Protocol::Udp,
        ports,
        parity,
        lifetime: Lifetime(60),
        group: None,
    }
}

fn reserved(world: &mut World, ports: u16, parity: PortParity) -> (Prid, Gid, Tuple) {
    match world.ask(A1, reserve_ports(ports, parity)) {
        Ok(Reply::Reserved { prid, group, outside: Some(outside), inside: None, .. }) => {
            (prid, group, outside)
        }
        other => panic!("{other:?}"),
    }
}

fn outside(reply: Result<Reply, Failure>) -> Tuple {
    match reply {
        Ok(Reply::Enabled { outside, .. }) => outside,
        other => panic!("{other:?}"),
    }
}

/// Where a packet arrives, and from whom it then says it is; `None` if it does not.
fn arrives(world: &mut World, source: &str, destination: &str) -> Option<(String, String)> {
    let interface = if source.starts_with("10.") { "in" } else { "out" };
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    let packet = Packet { transport: Transport::Udp, source, destination, interface, opens: false };
    match world.engine.take(&packet, 200) {
        Verdict::Accepted(key) => {
            let (source, destination) = key.rewrite(source, destination);
            Some((source.to_string(), destination.to_string()))
        }
        Verdict::Spoofed(_) | Verdict::Held | Verdict::Managed | Verdict::Untouched => None,
    }
}

fn both(source: &str, destination: &str) -> Option<(String, String)> {
    Some((source.into(), destination.into()))
}

fn outbound(port: u16, far_port: u16, range: u16, group: Option<Gid>) -> Request {
    enable(Direction::Outbound, udp(NEAR, port, range), udp(FAR_HOST, far_port, range), 300, group)
}

//= test RFC 4540 §8.2.3: a NAT reserves an outside address and ports with the parity asked for.
#[test]
fn prr_takes_an_outside_address_and_ports() {
    let mut world = world();
    let (_, _, even) = reserved(&mut world, 2, PortParity::Even);
    let (_, _, odd) = reserved(&mut world, 1, PortParity::Odd);
    assert_eq!((even, odd), (udp(OUTSIDE, 30000, 2), udp(OUTSIDE, 30003, 1)));
    assert!(world.positions(|output| matches!(output, Output::Apply { .. })).is_empty());
    assert_eq!(arrives(&mut world, FAR, "203.0.113.1:30000"), None, "reserving opens nothing");
}

//= test RFC 4540 §8.4.3: PEA makes the reservation's outside address that of the enable rule.
#[test]
fn pea_keeps_identifier_and_outside_address() {
    let mut world = world();
    let (prid, group, a2) = reserved(&mut world, 2, PortParity::Even);
    assert_eq!(outside(world.ask(A1, enable_reserved(prid, 20000))), a2);
    for (port, near) in [(30000, 20000), (30001, 20001)] {
        let arrived = arrives(&mut world, FAR, &format!("203.0.113.1:{port}"));
        assert_eq!(arrived, both(FAR, &format!("10.0.40.7:{near}")));
    }
    assert_eq!(arrives(&mut world, FAR, "203.0.113.1:30002"), None);
    assert_eq!(arrives(&mut world, "198.51.100.8:5000", "203.0.113.1:30000"), None);
    assert_eq!(arrives(&mut world, FAR, "10.0.40.7:20000"), None, "only the outside address is open");
    // The way back, in the same group: the phone's packets come from where it receives.
    assert_eq!(outside(world.ask(A1, outbound(20000, 5000, 2, Some(group)))), a2);
    let out = arrives(&mut world, "10.0.40.7:20001", "198.51.100.9:5001");
    assert_eq!(out, both("203.0.113.1:30001", "198.51.100.9:5001"));
    assert_eq!(arrives(&mut world, "10.0.40.7:20002", "198.51.100.9:5000"), None);
    let Ok(Reply::Status(RuleStatus::Enabled { outside, .. })) = world.ask(A1, Request::Status { prid })
    else {
        panic!()
    };
    assert_eq!(outside, a2);
    assert_eq!(world.ask(A1, lifetime(prid, 0)), Ok(Reply::Ended));
    assert_eq!(arrives(&mut world, FAR, "203.0.113.1:30000"), None);
}

//= test RFC 4540 §8.3.3: without a reservation PER makes the outside address itself.
#[test]
fn per_takes_what_it_needs_and_the_same_endpoint_keeps_it() {
    let mut world = world();
    let (prid, group) = world.enable(A1, inbound(20000));
    let arrived = arrives(&mut world, FAR, "203.0.113.1:30000");
    assert_eq!(arrived, both(FAR, "10.0.40.7:20000"));
    // One port of the two, from another group of the same agent, and for another peer.
    let shared = outside(world.ask(A2, outbound(20001, 5001, 1, None)));
    assert_eq!(shared, udp(OUTSIDE, 30001, 1));
    let other = outside(world.ask(A1, with(inbound(20000), 300, Some(group))));
    assert_eq!(other, udp(OUTSIDE, 30000, 2));
    // Somebody else's rules have addresses of their own.
    assert_eq!(outside(world.ask(B1, inbound(20000))), udp(OUTSIDE, 30002, 2));
    world.ask(A1, lifetime(prid, 0)).unwrap();
    let out = arrives(&mut world, "10.0.40.7:20001", "198.51.100.9:5001");
    assert_eq!(out, both("203.0.113.1:30001", "198.51.100.9:5001"));
}

//= test RFC 5189 §2.3.9: with parity "same" the outside port is even where the inside port is.
#[test]
fn parity_is_kept_or_refused() {
    let mut world = world();
    let same = |request| match request {
        Request::Enable { direction, internal, external, lifetime, group, .. } => {
            Request::Enable { parity: Parity::Same, direction, internal, external, lifetime, group }
        }
        Request::EnableReserved { prid, direction, internal, external, lifetime, .. } => {
            Request::EnableReserved { prid, parity: Parity::Same, direction, internal, external, lifetime }
        }
        other => other,
    };
    assert_eq!(outside(world.ask(A1, same(inbound(20001)))).port % 2, 1);
    let (prid, ..) = reserved(&mut world, 2, PortParity::Even);
    assert_eq!(world.ask(A1, same(enable_reserved(prid, 20001))), Err(Failure::ParityMismatch));
    assert_eq!(outside(world.ask(A1, same(enable_reserved(prid, 20004)))).port % 2, 0);
}

#[test]
fn ports_end_are_given_back_and_rest() {
    let mut world = world();
    let rules: Vec<_> = (0..4).map(|_| reserved(&mut world, 2, PortParity::Even).0).collect();
    assert_eq!(world.ask(A1, reserve_ports(1, PortParity::Any)), Err(Failure::LackOfPorts));
    assert_eq!(world.ask(A1, inbound(20000)), Err(Failure::LackOfPorts));
    assert_eq!(world.ask(A1, lifetime(rules[1], 0)), Ok(Reply::Ended));
    assert_eq!(world.ask(A1, inbound(20000)), Err(Failure::LackOfPorts), "not at once");
    world.wait(limits::PORT_REST);
    assert_eq!(outside(world.ask(A1, inbound(20000))), udp(OUTSIDE, 30002, 2));
    world.seconds(60);
    world.wait(limits::PORT_REST);
    // The other reservations have run out.
    assert_eq!(world.middlebox.status().rules, 1);
    for _ in 0..3 {
        reserved(&mut world, 2, PortParity::Even);
    }
}

#[test]
fn what_cannot_be_translated_is_refused_and_takes_no_port() {
    let mut world = world();
    let network = udp("10.0.40.0/24", 0, 1);
    let far = udp(FAR_HOST, 5000, 1);
    let any_port = enable(Direction::Outbound, udp(NEAR, 0, 1), far, 300, None);
    let wide = enable(Direction::Outbound, network, far, 300, None);
    for request in [any_port, wide] {
        assert_eq!(world.ask(A1, request), Err(Failure::WildcardNotSupported));
    }
    let hairpin = enable(Direction::Outbound, udp(NEAR, 20000, 1), udp(OUTSIDE, 30000, 1), 300, None);
    assert_eq!(world.ask(A1, hairpin), Err(Failure::IllegalAddress));
    let mixed = match reserve_ports(2, PortParity::Even) {
        Request::Reserve { service, inside, protocol, ports, parity, lifetime, group, .. } => {
            let outside = IpVersionChoice::V6;
            Request::Reserve { service, inside, outside, protocol, ports, parity, lifetime, group }
        }
        other => other,
    };
    assert!(world.ask(A1, mixed).is_err());
    assert_eq!(world.ask(A1, reserve_ports(u16::MAX, PortParity::Any)), Err(Failure::LackOfPorts));
    let (prid, ..) = reserved(&mut world, 2, PortParity::Even);
    assert_eq!(world.ask(A1, enable_reserved(prid, 9)), Err(Failure::NotAuthorizedForTransaction));
    for _ in 0..3 {
        reserved(&mut world, 2, PortParity::Even);
    }
}

/// Two groups may translate the same packets in one way only.
#[test]
fn one_flow_has_one_translation() {
    let mut world = world();
    let (first, ..) = reserved(&mut world, 1, PortParity::Even);
    let (second, ..) = reserved(&mut world, 1, PortParity::Even);
    let pea = |prid| Request::EnableReserved {
        prid,
        parity: Parity::Same,
        direction: Direction::Outbound,
        internal: udp(NEAR, 20000, 1),
        external: udp(FAR_HOST, 5000, 1),
        lifetime: Lifetime(300),
    };
    assert_eq!(outside(world.ask(A1, pea(first))).port, 30000);
    assert_eq!(world.ask(A1, pea(second)), Err(Failure::Conflict));
    assert_eq!(world.ask(A1, lifetime(first, 0)), Ok(Reply::Ended));
    assert_eq!(outside(world.ask(A1, pea(second))).port, 30002);
}

//= test RFC 5189 §2.3.9: a failed PER leaves the reservation as it was, its outside address included.
#[test]
fn a_pea_that_the_engine_refuses_leaves_the_reservation() {
    let mut world = world();
    let (prid, _, a2) = reserved(&mut world, 2, PortParity::Even);
    world.engine.set_available(false);
    assert_eq!(world.ask(A1, enable_reserved(prid, 20000)), Err(Failure::ConfigurationFailed));
    assert_eq!(world.ask(A1, inbound(20000)), Err(Failure::ConfigurationFailed));
    world.engine.set_available(true);
    let Ok(Reply::Status(RuleStatus::Reserved { outside: told, .. })) =
        world.ask(A1, Request::Status { prid })
    else {
        panic!()
    };
    assert_eq!(told, Some(a2));
    assert_eq!(outside(world.ask(A1, enable_reserved(prid, 20000))), a2);
    assert_eq!(world.engine.verify(&world.middlebox.expected_keys()).map(|d| d.missing), Ok(vec![]));
}

/// After a restart the agent gets the addresses that the far ends still send to.
#[test]
fn an_agent_that_comes_back_gets_its_outside_address_again() {
    let mut before = world();
    before.enable(A1, inbound(20002));
    let (prid, group) = before.enable(A1, inbound(20000));
    before.ask(A1, outbound(20000, 5000, 2, Some(group))).unwrap();
    before.ask(A1, lifetime(prid, 0)).unwrap();
    before.enable(A1, inbound(20000));
    let mut world = World::empty_behind(nat());
    world.engine = before.engine;
    let entries = world.engine.entries().unwrap();
    assert_eq!(entries.len(), 6);
    world.input(Input::Adopted { entries });
    world.input(Input::Opened { session: A1, agent: ALICE });
    world.run();
    // Somebody new is quicker, and gets none of them.
    let (.., new) = reserved(&mut world, 2, PortParity::Even);
    assert_eq!(new, udp(OUTSIDE, 30004, 2));
    assert_eq!(outside(world.ask(A1, outbound(20000, 5000, 2, None))), udp(OUTSIDE, 30002, 2));
    assert_eq!(outside(world.ask(A1, inbound(20000))), udp(OUTSIDE, 30002, 2));
    assert_eq!(arrives(&mut world, FAR, "203.0.113.1:30003"), both(FAR, "10.0.40.7:20001"));
    world.seconds(31);
    assert_eq!(world.middlebox.status().orphans, 0);
    assert_eq!(arrives(&mut world, FAR, "203.0.113.1:30000"), None, "nobody came back for it");
    world.wait(limits::PORT_REST);
    let mut ports = [0; 2].map(|_| reserved(&mut world, 2, PortParity::Even).2.port);
    ports.sort_unstable();
    assert_eq!(ports, [30000, 30006]);
}

#[test]
fn capabilities_say_so() {
    let of =
        |world: &World| world.middlebox.capabilities(ALICE).map(|c| (c.nat, c.port_translation, c.twice_nat));
    assert_eq!(of(&world()), Some((true, true, false)));
    assert_eq!(of(&World::new()), Some((false, false, false)));
}

#[test]
fn no_timer_outlives_a_translated_rule() {
    let mut world = world();
    let (prid, _) = world.enable(A1, inbound(20000));
    world.input(Input::Closed { session: SessionId(1) });
    world.run();
    assert_eq!(world.ask(A2, lifetime(prid, 0)), Ok(Reply::Ended));
    assert_eq!((world.middlebox.next_timeout(), world.keys()), (None, vec![]));
}

#[test]
fn addresses_that_can_be_nobodys_are_refused() {
    let of = |addresses: &[&str], ports| {
        Nat::new(addresses.iter().map(|address| address.parse().unwrap()).collect(), ports)
    };
    assert!(of(&["203.0.113.1", "2001:db8::1"], 30000..=30001).is_ok());
    assert_eq!(of(&["203.0.113.1"; 2], 1..=9), Err(NatError::Twice("203.0.113.1".parse().unwrap())));
    assert_eq!(of(&["127.0.0.1"], 1..=9), Err(NatError::Address("127.0.0.1".parse().unwrap())));
    assert_eq!(of(&["203.0.113.1"], 30001..=30002), Err(NatError::NoPair));
    assert_eq!(of(&["203.0.113.1"; 65], 1..=9), Err(NatError::TooManyAddresses));
}
