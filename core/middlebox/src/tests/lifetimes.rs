//! How rules end by themselves. `docs/pinholes.md` §4, "lifetime"; RFC 5189 §2.3.13.

use std::time::Duration;

use midcom::{Failure, Reply};

use super::world::*;
use crate::{EndCause, Event, Input, Output};

//= test RFC 5189 §2.3.13: everybody who may access the rule hears that it is over, its owner included.
#[test]
fn a_rule_ends_two_seconds_before_the_kernel_would_end_it() {
    let mut world = World::new();
    let (prid, _) = world.enable(A1, inbound(20000));
    world.told();
    world.wait(Duration::from_millis(297_999));
    assert!(world.passes(FAR, "10.0.40.7:20000"));
    assert_eq!(world.told(), []);
    world.wait(Duration::from_millis(1));
    assert!(world.has_event(&Event::RuleEnded { prid, agent: ALICE, cause: EndCause::Expired }));
    assert_eq!(world.told(), [(A1, prid, 0), (A2, prid, 0)]);
    assert_eq!(world.keys(), []);
    assert_eq!(world.ask(A1, lifetime(prid, 60)), Err(Failure::NoSuchRule));
}

#[test]
fn a_short_lifetime_still_has_half_of_itself() {
    let mut world = World::new();
    let (prid, _) = world.enable(A1, with(inbound(20000), 2, None));
    world.told();
    world.wait(Duration::from_millis(999));
    assert!(world.passes(FAR, "10.0.40.7:20000"));
    world.wait(Duration::from_millis(1));
    assert_eq!(world.told(), [(A1, prid, 0), (A2, prid, 0)]);
}

#[test]
fn a_reservation_ends_at_its_deadline() {
    let mut world = World::new();
    let (prid, _) = world.reserve(A1);
    world.told();
    world.wait(Duration::from_millis(59_999));
    assert_eq!(world.told(), []);
    world.wait(Duration::from_millis(1));
    assert_eq!(world.told(), [(A1, prid, 0), (A2, prid, 0)]);
}

#[test]
fn an_extension_moves_the_end_without_a_gap() {
    let mut world = World::new();
    let (prid, _) = world.enable(A1, inbound(20000));
    for _ in 0..5 {
        world.seconds(150);
        assert_eq!(world.ask(A1, lifetime(prid, 300)), Ok(Reply::Lifetime(midcom::Lifetime(300))));
        assert!(world.passes(FAR, "10.0.40.7:20000"));
    }
    world.told();
    world.seconds(297);
    assert!(world.passes(FAR, "10.0.40.7:20000"));
    world.seconds(1);
    assert_eq!(world.told().len(), 2);
}

#[test]
fn a_shortened_rule_ends_sooner_in_the_engine_too() {
    let mut world = World::new();
    let (prid, _) = world.enable(A1, inbound(20000));
    world.ask(A1, lifetime(prid, 10)).unwrap();
    let ends = world.engine.ends(&world.keys()[0]).unwrap();
    assert_eq!(ends.as_nanos(), 10_000_000_000);
    world.seconds(8);
    assert_eq!(world.keys(), []);
}

#[test]
fn a_rule_extended_in_the_last_moment_lives_on() {
    let mut world = World::new();
    let (prid, _) = world.enable(A1, inbound(20000));
    world.seconds(297);
    world.hold = true;
    let tid = world.send(A1, lifetime(prid, 300));
    world.run();
    world.seconds(2);
    world.told();
    world.release();
    assert!(matches!(world.answer(tid), Some(Ok(Reply::Lifetime(_)))));
    assert_eq!(world.told(), [(A2, prid, 300)], "the timer of the old lifetime no longer counts");
    assert!(world.middlebox.rule(world.now, prid).is_some());
}

#[test]
fn the_operator_revokes_a_rule_and_its_owner_hears_it() {
    let mut world = World::new();
    let (prid, _) = world.enable(A1, inbound(20000));
    world.told();
    world.input(Input::Revoke { prid });
    world.input(Input::Revoke { prid });
    world.run();
    assert!(!world.passes(FAR, "10.0.40.7:20000"));
    assert!(world.has_event(&Event::RuleEnded { prid, agent: ALICE, cause: EndCause::Revoked }));
    assert_eq!(world.told(), [(A1, prid, 0), (A2, prid, 0)]);
}

#[test]
fn a_rule_that_a_new_policy_forbids_ends_and_the_others_stay() {
    let mut world = World::new();
    let (denied, _) = world.enable(A1, inbound(20000));
    let (kept, _) = world.enable(B1, with(inbound_from_elsewhere(), 300, None));
    world.told();
    let mut policy = policy();
    policy.deny.push("198.51.100.9/32".parse().unwrap());
    world.input(Input::Policy(Box::new(policy)));
    let refused = world.send(A1, inbound(20000));
    world.run();
    assert_eq!(world.answer(refused), Some(Err(Failure::NotAuthorizedForTransaction)));
    assert_eq!(world.told(), [(A1, denied, 0), (A2, denied, 0)]);
    assert!(world.middlebox.rule(world.now, kept).is_some());
    assert!(!world.passes(FAR, "10.0.40.7:20000"));
}

#[test]
fn a_rule_forbidden_while_it_is_being_made_is_confirmed_and_then_ended() {
    let mut world = World::new();
    let opened = world.send(A1, inbound(20000));
    let mut policy = policy();
    policy.deny.push("198.51.100.9/32".parse().unwrap());
    world.input(Input::Policy(Box::new(policy)));
    world.run();
    let Some(Ok(Reply::Enabled { prid, .. })) = world.answer(opened) else { panic!("{:?}", world.log) };
    let applies = world.positions(|output| matches!(output, Output::Apply { .. }));
    assert_eq!(applies.len(), 2, "it was open when its agent was told so");
    assert_eq!(world.told(), [(A2, prid, 300), (A1, prid, 0), (A2, prid, 0)]);
    assert_eq!(world.keys(), []);
    assert_eq!(world.middlebox.status().rules, 0);
}

fn inbound_from_elsewhere() -> midcom::Request {
    let far = udp("198.51.100.10/32", 0, 2);
    enable(midcom::Direction::Inbound, udp("10.0.40.7/32", 20000, 2), far, 300, None)
}

#[test]
fn an_end_that_the_engine_refuses_is_tried_again() {
    let mut world = World::new();
    world.enable(A1, inbound(20000));
    let key = world.keys()[0];
    world.engine.refuse(key);
    world.seconds(298);
    assert!(world.has_event(&Event::RemovalFailed { key }));
    assert_eq!(world.middlebox.status().rules, 0);
    world.engine.relent();
    world.log.clear();
    world.seconds(1);
    assert_eq!(world.keys(), []);
    assert_eq!(world.positions(|output| matches!(output, Output::Apply { .. })).len(), 1);
    world.seconds(10);
    assert_eq!(world.positions(|output| matches!(output, Output::Apply { .. })).len(), 1, "and not again");
}
