//! Which refusal wins when several would fit: RFC 4540 §8, in the order of its text.

use midcom::{Direction, Failure, Gid, IpVersionChoice, Lifetime, Parity, Prid, Protocol, Request, Tuple};

use super::world::*;

/// A PER with everything wrong that `repair` does not put right: its group, its tuples, its agent's rights.
fn all_wrong(group: Option<Gid>, internal: Tuple, external: Tuple) -> Request {
    enable(Direction::Inbound, internal, external, 0, group)
}

//= test RFC 4540 §8.3.1: order of checks of PER.
#[test]
fn per() {
    let mut world = World::new();
    let (_, foreign) = world.enable(B1, inbound(30000));
    let nowhere = Gid(foreign.0 ^ 1);
    let tcp = |tuple| Tuple { protocol: Protocol::Tcp, ..tuple };
    let (any, denied) = (udp("0.0.0.0/0", 4000, 1), udp("10.0.41.7/32", 5060, 2));
    let steps = [
        (all_wrong(Some(nowhere), denied, tcp(any)), Failure::NoSuchGroup),
        (all_wrong(Some(foreign), denied, tcp(any)), Failure::NotAuthorizedForGroup),
        (all_wrong(None, denied, tcp(any)), Failure::Inconsistent),
        (all_wrong(None, denied, any), Failure::Inconsistent),
        (all_wrong(None, denied, udp("0.0.0.0/0", 4000, 2)), Failure::WildcardNotSupported),
        (all_wrong(None, denied, udp("0.0.0.0/0", 0, 2)), Failure::NotAuthorizedForTransaction),
        (all_wrong(None, udp("10.0.40.7/32", 20000, 2), any_port()), Failure::ConfigurationFailed),
    ];
    for (request, failure) in steps {
        assert_eq!(world.ask(A1, request.clone()), Err(failure), "{request:?}");
    }
}

fn any_port() -> Tuple {
    udp("198.51.100.9/32", 0, 2)
}

//= test RFC 4540 §8.3.1: what is wrong with the group is said before what is wrong with the tuples.
#[test]
fn per_bidirectional_with_wildcard_is_inconsistent_after_its_group_is_right() {
    let mut world = World::new();
    let wild =
        |group| enable(Direction::Bidirectional, udp("10.0.40.7/32", 20000, 2), any_port(), 300, group);
    assert_eq!(world.ask(A1, wild(Some(Gid(1)))), Err(Failure::NoSuchGroup));
    assert_eq!(world.ask(A1, wild(None)), Err(Failure::Inconsistent));
}

//= test RFC 4540 §8.2.1: order of checks of PRR.
#[test]
fn prr() {
    let mut world = World::new();
    let (_, foreign) = world.enable(B1, inbound(30000));
    let nowhere = Gid(foreign.0 ^ 1);
    let ask = |group, inside, protocol, ports, lifetime| Request::Reserve {
        service: midcom::NatService::Traditional,
        inside,
        outside: IpVersionChoice::Any,
        protocol,
        ports,
        parity: midcom::PortParity::Any,
        lifetime: Lifetime(lifetime),
        group,
    };
    let (v6, any, other) = (IpVersionChoice::V6, IpVersionChoice::Any, Protocol::Other(132));
    let steps = [
        (ask(Some(nowhere), v6, other, 0, 0), Failure::NoSuchGroup),
        (ask(Some(foreign), v6, other, 0, 0), Failure::NotAuthorizedForGroup),
        (ask(None, v6, other, 0, 0), Failure::IpVersionMismatch),
        (ask(None, any, other, 0, 0), Failure::ProtocolNotSupported),
        (ask(None, any, Protocol::Udp, 0, 0), Failure::IllegalPortCount),
        (ask(None, any, Protocol::Udp, 2, 0), Failure::ConfigurationFailed),
    ];
    for (request, failure) in steps {
        assert_eq!(world.ask(A1, request.clone()), Err(failure), "{request:?}");
    }
}

//= test RFC 4540 §8.4.1: order of checks of PEA.
#[test]
fn pea() {
    let mut world = World::new();
    let (foreign, _) = world.reserve(B1);
    let (foreign_enabled, _) = world.enable(B1, inbound(30000));
    let (mine, _) = world.reserve(A1);
    let ask = |prid, internal, external, lifetime| Request::EnableReserved {
        prid,
        parity: Parity::Same,
        direction: Direction::Inbound,
        internal,
        external,
        lifetime: Lifetime(lifetime),
    };
    let (good, bad) = (udp("10.0.40.7/32", 20000, 2), udp("10.0.41.7/32", 20000, 2));
    let tcp = Tuple { protocol: Protocol::Tcp, ..any_port() };
    let nobody = Prid(mine.0 ^ 0x8000_0000);
    let steps = [
        (ask(nobody, bad, tcp, 0), Failure::NoSuchRule),
        (ask(foreign_enabled, bad, tcp, 0), Failure::Inconsistent),
        (ask(foreign, bad, tcp, 0), Failure::NotAuthorizedForRule),
        (ask(mine, bad, tcp, 0), Failure::Inconsistent),
        (ask(mine, bad, any_port(), 0), Failure::NotAuthorizedForTransaction),
        (ask(mine, udp("10.0.40.7/32", 20000, 4), udp("198.51.100.9/32", 0, 4), 0), Failure::Inconsistent),
        (ask(mine, good, any_port(), 0), Failure::ConfigurationFailed),
    ];
    for (request, failure) in steps {
        assert_eq!(world.ask(A1, request.clone()), Err(failure), "{request:?}");
    }
    assert_eq!(world.enable(A1, enable_reserved(mine, 20000)).0, mine, "refusals left the reservation alone");
}

//= test RFC 4540 §8.5, §8.6: a rule must exist before it is asked whose it is.
#[test]
fn plc_and_prs() {
    let mut world = World::new();
    let (foreign, _) = world.enable(B1, inbound(30000));
    let nobody = Prid(foreign.0 ^ 0x8000_0000);
    for request in [lifetime(nobody, 0), lifetime(nobody, 60), Request::Status { prid: nobody }] {
        assert_eq!(world.ask(A1, request), Err(Failure::NoSuchRule));
    }
    for request in [lifetime(foreign, 0), lifetime(foreign, 60), Request::Status { prid: foreign }] {
        assert_eq!(world.ask(A1, request), Err(Failure::NotAuthorizedForRule));
    }
    assert!(world.passes(FAR, "10.0.40.7:30000"));
}

//= test RFC 4540 §8: an agent that may do nothing hears that first.
#[test]
fn an_agent_that_lost_its_rights_hears_that_first() {
    let mut world = World::new();
    let mut policy = policy();
    policy.agents.remove(&ALICE);
    // The request is there before the session ends.
    world.input(crate::Input::Policy(Box::new(policy)));
    let tid = world.send(A1, all_wrong(Some(Gid(1)), udp("10.0.41.7/32", 0, 1), any_port()));
    world.run();
    assert_eq!(world.answer(tid), None, "the session was terminated first");
    assert!(world.log.contains(&crate::Output::Terminate { session: A1 }));
    assert!(world.has_event(&crate::Event::RequestRefused {
        agent: ALICE,
        request: crate::RequestKind::Enable,
        failure: Failure::NotAuthorizedForTransaction
    }));
}
