//! Disable rules (PDR): RFC 4540 §8.8.

use midcom::{Failure, Lifetime, Protocol, Reply, Request, RuleStatus, Tuple};

use super::world::*;
use crate::{EndCause, Event, Input, Output, RuleAction};

fn any(port: u16) -> Tuple {
    udp("0.0.0.0/0", port, 1)
}

/// Forbids the phone outside everything.
fn shut_out() -> Request {
    disable(any(0), udp("198.51.100.9/32", 0, 1), 60)
}

fn shut(world: &mut World, request: Request) -> midcom::Prid {
    match world.ask(G1, request) {
        Ok(Reply::Disabled { prid, .. }) => prid,
        other => panic!("{other:?}"),
    }
}

//= test RFC 4540 §8.8.1: a disable rule ends every enable rule it overlaps, whoever owns it, and their owners hear.
#[test]
fn it_ends_what_it_overlaps_before_its_reply_leaves() {
    let mut world = World::new();
    let (alices, _) = world.enable(A1, inbound(20000));
    let (bobs, _) = world.enable(B1, inbound(20002));
    let elsewhere = enable(
        midcom::Direction::Inbound,
        udp("10.0.40.7/32", 20004, 2),
        udp("198.51.100.10/32", 0, 2),
        300,
        None,
    );
    let (other, _) = world.enable(A1, elsewhere);
    world.log.clear();
    let prid = shut(&mut world, shut_out());
    assert!(!world.passes(FAR, "10.0.40.7:20000") && !world.passes(FAR, "10.0.40.7:20002"));
    assert!(world.passes("198.51.100.10:9", "10.0.40.7:20004"));
    for ended in [alices, bobs] {
        let agent = if ended == alices { ALICE } else { BOB };
        assert!(world.has_event(&Event::RuleEnded { prid: ended, agent, cause: EndCause::Disabled }));
    }
    let applied = world.positions(|output| matches!(output, Output::Apply { .. }));
    let replied = world.positions(|output| matches!(output, Output::Reply { .. }));
    assert!(applied[0] < replied[0]);
    assert_eq!(world.told(), [(A1, alices, 0), (A2, alices, 0), (B1, bobs, 0)]);
    assert_eq!(world.ask(A1, lifetime(alices, 60)), Err(Failure::NoSuchRule));
    assert!(world.middlebox.rule(world.now, other).is_some());
    let RuleAction::Disabled { .. } = world.middlebox.rule(world.now, prid).unwrap().action else { panic!() };
}

//= test RFC 4540 §8.8.2: while it lives, what conflicts with it is refused with 0x0350; reservations are not.
#[test]
fn it_refuses_what_it_overlaps_while_it_lives() {
    let mut world = World::new();
    let (reserved, _) = world.reserve(A1);
    let prid = shut(&mut world, shut_out());
    assert_eq!(world.ask(A1, inbound(20000)), Err(Failure::Conflict));
    assert_eq!(world.ask(A1, enable_reserved(reserved, 20000)), Err(Failure::Conflict));
    // A wildcard that the host belongs to conflicts too: at least one packet is of both.
    let wide =
        enable(midcom::Direction::Inbound, udp("10.0.40.7/32", 20000, 2), udp("0.0.0.0/0", 0, 2), 300, None);
    assert_eq!(world.ask(B1, wide), Err(Failure::Conflict));
    world.reserve(A1);
    assert_eq!(world.ask(G1, lifetime(prid, 0)), Ok(Reply::Ended));
    world.enable(A1, inbound(20000));
    world.ask(A1, enable_reserved(reserved, 20000)).unwrap();
}

#[test]
fn it_ends_with_its_lifetime() {
    let mut world = World::new();
    let prid = shut(&mut world, shut_out());
    world.told();
    world.seconds(59);
    assert_eq!(world.ask(A1, inbound(20000)), Err(Failure::Conflict));
    assert_eq!(world.ask(G1, lifetime(prid, 30)), Ok(Reply::Lifetime(Lifetime(30))));
    world.seconds(30);
    assert_eq!(world.told(), [(G1, prid, 0)]);
    world.enable(A1, inbound(20000));
}

//= test RFC 4540 §8.8.2: the agent must be authorised to disable.
#[test]
fn most_agents_may_not() {
    let mut world = World::new();
    assert_eq!(world.ask(A1, shut_out()), Err(Failure::NotAuthorizedForTransaction));
    assert!(world.middlebox.capabilities(ALICE).unwrap().disable_rules);
    let (prid, _) = world.enable(A1, inbound(20000));
    assert_eq!(world.ask(G1, lifetime(prid, 0)), Err(Failure::NotAuthorizedForRule));
}

//= test RFC 4540 §8.6: the status of a disable rule repeats its tuples.
#[test]
fn its_status_repeats_what_was_asked() {
    let mut world = World::new();
    let prid = shut(&mut world, shut_out());
    let (internal, external) = (any(0), udp("198.51.100.9/32", 0, 1));
    let (lifetime, owner) = (Lifetime(60), "guard".to_owned());
    let status = RuleStatus::Disabled { prid, internal, external, lifetime, owner };
    assert_eq!(world.ask(G1, Request::Status { prid }), Ok(Reply::Status(status)));
    assert_eq!(world.ask(G1, Request::List), Ok(Reply::List(vec![prid])));
    assert_eq!(world.ask(A1, Request::List), Ok(Reply::List(vec![])));
    assert_eq!(world.ask(A1, Request::Status { prid }), Err(Failure::NotAuthorizedForRule));
    assert_eq!(world.ask(G1, enable_reserved(prid, 20000)), Err(Failure::Inconsistent));
}

//= test RFC 4540 §8.8.2: order of the checks of the tuples.
#[test]
fn tuples_that_make_no_sense_are_refused() {
    let mut world = World::new();
    let mut refused =
        |internal, external, lifetime| world.ask(G1, disable(internal, external, lifetime)).unwrap_err();
    let tcp = Tuple { protocol: Protocol::Tcp, ..any(0) };
    assert_eq!(refused(any(0), tcp, 60), Failure::Inconsistent);
    assert_eq!(
        refused(udp("10.0.40.7/32", 20000, 2), udp("198.51.100.9/32", 5000, 3), 60),
        Failure::Inconsistent
    );
    assert_eq!(refused(any(0), udp("2001:db8::/32", 0, 1), 60), Failure::IpVersionMismatch);
    assert_eq!(refused(udp("10.0.40.7/32", 65535, 2), any(0), 60), Failure::IllegalPortCount);
    assert_eq!(refused(any(0), any(0), 0), Failure::ConfigurationFailed);
}

#[test]
fn another_port_protocol_or_host_is_no_conflict() {
    let mut world = World::new();
    for request in [
        disable(udp("10.0.40.7/32", 20002, 1), any(0), 60),
        disable(udp("10.0.40.8/32", 0, 1), any(0), 60),
        disable(any(0), udp("198.51.100.10/31", 0, 1), 60),
        disable(Tuple { protocol: Protocol::Tcp, ..any(0) }, Tuple { protocol: Protocol::Tcp, ..any(0) }, 60),
    ] {
        shut(&mut world, request);
    }
    world.enable(A1, inbound(20000));
    // The last port of a range is enough, and so is any protocol.
    shut(&mut world, disable(udp("10.0.40.7/32", 20001, 1), any(0), 60));
    assert_eq!(world.ask(A1, inbound(20000)), Err(Failure::Conflict));
    let all = Tuple { protocol: Protocol::Any, ..any(0) };
    world.enable(A1, inbound(20010));
    shut(&mut world, disable(all, all, 60));
    assert_eq!(world.keys(), []);
}

#[test]
fn what_is_on_its_way_is_ended_when_it_has_arrived() {
    let mut world = World::new();
    world.hold = true;
    let enabled = world.send(A1, inbound(20000));
    world.run();
    let disabled = world.send(G1, shut_out());
    let refused = world.send(A1, inbound(20002));
    world.run();
    assert_eq!(world.answer(disabled), None);
    world.release();
    let Some(Ok(Reply::Enabled { prid, .. })) = world.answer(enabled) else { panic!() };
    assert!(matches!(world.answer(disabled), Some(Ok(Reply::Disabled { .. }))));
    assert_eq!(world.answer(refused), Some(Err(Failure::Conflict)));
    assert!(world.has_event(&Event::RuleEnded { prid, agent: ALICE, cause: EndCause::Disabled }));
    assert_eq!(world.keys(), []);
}

//= test RFC 4540 §8.8.3: if it cannot be carried out, the reply is 0x034A and there is no disable rule.
#[test]
fn a_hole_that_stays_open_is_not_called_closed() {
    let mut world = World::new();
    world.enable(A1, inbound(20000));
    let key = world.keys()[0];
    world.engine.refuse(key);
    assert_eq!(world.ask(G1, shut_out()), Err(Failure::ConfigurationFailed));
    // Asked again while the removal still fails: nobody needs the entry, and it is there all the same.
    assert_eq!(world.ask(G1, shut_out()), Err(Failure::ConfigurationFailed));
    world.engine.relent();
    shut(&mut world, shut_out());
    assert_eq!(world.keys(), []);
}

#[test]
fn what_was_found_at_start_is_closed_too() {
    let mut world = World::new();
    world.enable(A1, inbound(20000));
    let mut fresh = World::empty();
    std::mem::swap(&mut fresh.engine, &mut world.engine);
    let entries = crate::Engine::entries(&mut fresh.engine).unwrap();
    fresh.input(Input::Adopted { entries });
    fresh.input(Input::Opened { session: G1, agent: GUARD });
    assert!(fresh.passes(FAR, "10.0.40.7:20000"));
    shut(&mut fresh, shut_out());
    assert!(!fresh.passes(FAR, "10.0.40.7:20000"));
}

#[test]
fn a_policy_that_takes_the_right_away_takes_the_rules_too() {
    let mut world = World::new();
    let prid = shut(&mut world, shut_out());
    let mut policy = policy();
    policy.agents.get_mut(&GUARD).unwrap().rights.disable = false;
    world.told();
    world.input(Input::Policy(Box::new(policy)));
    world.run();
    assert_eq!(world.told(), [(G1, prid, 0)]);
    world.enable(A1, inbound(20000));
}

//= test RFC 5189 §2.1.5: an administrator may be configured, who may access everybody's rules.
#[test]
fn an_administrator_hears_of_lists_and_ends_the_rules_of_all() {
    let mut world = World::new();
    world.input(Input::Opened { session: C1, agent: CHIEF });
    world.log.clear();
    let (prid, _) = world.enable(A1, inbound(20000));
    let (bobs, group) = world.enable(B1, inbound(20002));
    assert_eq!(world.told(), [(A2, prid, 300), (C1, prid, 300), (C1, bobs, 300)]);
    assert_eq!(world.ask(C1, Request::List), Ok(Reply::List(vec![prid, bobs])));
    let Ok(Reply::Status(RuleStatus::Enabled { owner, .. })) = world.ask(C1, Request::Status { prid }) else {
        panic!()
    };
    assert_eq!(owner, "alice");
    // Its owner hears of what somebody else did.
    assert_eq!(world.ask(C1, lifetime(prid, 100)), Ok(Reply::Lifetime(Lifetime(100))));
    assert_eq!(world.told(), [(A1, prid, 100), (A2, prid, 100)]);
    assert_eq!(world.ask(C1, lifetime(prid, 0)), Ok(Reply::Ended));
    assert_eq!(world.told(), [(A1, prid, 0), (A2, prid, 0)]);
    //= test RFC 5189 §2.1.5: all rules of a group have one owner.
    assert_eq!(world.ask(C1, with(inbound(20004), 300, Some(group))), Err(Failure::NotAuthorizedForGroup));
}

#[test]
fn there_is_room_for_so_many() {
    let mut world = World::new();
    let mut policy = policy();
    policy.agents.get_mut(&GUARD).unwrap().rules_max = u32::MAX;
    world.input(Input::Policy(Box::new(policy)));
    for host in 0..crate::limits::DISABLE_RULES_MAX {
        let host = format!("203.0.{}.{}/32", host / 256, host % 256);
        shut(&mut world, disable(any(0), udp(&host, 0, 1), 60));
    }
    assert_eq!(world.ask(G1, shut_out()), Err(Failure::NoResources));
}
