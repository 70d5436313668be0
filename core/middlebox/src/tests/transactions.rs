//! What each transaction does when all is well: RFC 5189 §2.3, RFC 4540 §8.

use machine::Machine;
use midcom::{Failure, Lifetime, Passed, Prid, Reply, Request, RuleStatus};

use super::world::*;
use crate::{Input, Output, SessionId};

//= test RFC 4540 §8.3.2: on a pure firewall A2 is A0 and A1 is A3.
#[test]
fn per_opens_and_reports_the_tuples_it_was_given() {
    let mut world = World::new();
    assert!(!world.passes(FAR, "10.0.40.7:20001"));
    let reply = world.ask(A1, inbound(20000)).unwrap();
    let Reply::Enabled { lifetime, outside, inside, .. } = reply else { panic!("{reply:?}") };
    assert_eq!(lifetime, Lifetime(300));
    assert_eq!(outside, udp("10.0.40.7/32", 20000, 2));
    assert_eq!(inside, Some(udp("198.51.100.9/32", 0, 2)));
    assert!(world.passes(FAR, "10.0.40.7:20001"));
}

//= test RFC 4540 §8.5: a lifetime of zero ends the rule and is answered by PRD.
#[test]
fn plc_zero_closes() {
    let mut world = World::new();
    let (prid, _) = world.enable(A1, inbound(20000));
    assert_eq!(world.ask(A1, lifetime(prid, 0)), Ok(Reply::Ended));
    assert!(!world.passes(FAR, "10.0.40.7:20000"));
    assert_eq!(world.keys(), []);
    assert_eq!(world.ask(A1, lifetime(prid, 0)), Err(Failure::NoSuchRule));
    assert_eq!(world.middlebox.next_timeout(), None, "no timer outlives its rule");
}

//= test RFC 5189 §2.3.9: granted is at most what was asked for and at most the maximum.
#[test]
fn lifetimes_are_granted_up_to_the_maximum() {
    let mut world = World::new();
    for (asked, granted) in [(1, 1), (600, 600), (601, 600), (u32::MAX, 600)] {
        match world.ask(A1, with(inbound(20000), asked, None)) {
            Ok(Reply::Enabled { prid, lifetime: got, .. }) => {
                assert_eq!(got, Lifetime(granted));
                assert_eq!(world.ask(A1, lifetime(prid, asked)), Ok(Reply::Lifetime(Lifetime(granted))));
            }
            other => panic!("{other:?}"),
        }
    }
}

//= test RFC 4540 §8.2.2: a reservation on a pure firewall configures nothing and has no address.
#[test]
fn prr_reserves_without_touching_the_engine() {
    let mut world = World::new();
    let reply = world.ask(A1, reserve(None)).unwrap();
    assert!(matches!(reply, Reply::Reserved { outside: None, inside: None, lifetime: Lifetime(60), .. }));
    assert!(world.positions(|output| matches!(output, Output::Apply { .. })).is_empty());
}

//= test RFC 4540 §8.4.2: the rule keeps identifier and group when a reservation is enabled.
#[test]
fn pea_turns_the_reservation_into_an_enable_rule() {
    let mut world = World::new();
    let (prid, group) = world.reserve(A1);
    assert_eq!(world.enable(A1, enable_reserved(prid, 20000)), (prid, group));
    assert!(world.passes(FAR, "10.0.40.7:20000"));
    assert_eq!(world.ask(A1, enable_reserved(prid, 20000)), Err(Failure::Inconsistent));
    world.seconds(100);
    assert!(world.passes(FAR, "10.0.40.7:20000"), "the reservation's lifetime no longer counts");
}

//= test RFC 4540 §8.6: PRS tells what was asked for, what was granted and what remains.
#[test]
fn prs_tells_reservations_and_enable_rules() {
    let mut world = World::new();
    let (reserved, group) = world.reserve(A1);
    let (enabled, _) = world.enable(A1, with(inbound(20000), 300, Some(group)));
    world.seconds(10);
    let Ok(Reply::Status(status)) = world.ask(A2, Request::Status { prid: reserved }) else { panic!() };
    let RuleStatus::Reserved { group: told, lifetime, owner, .. } = status else { panic!("{status:?}") };
    assert_eq!((told, lifetime, owner.as_str()), (group, Lifetime(50), "alice"));
    let Ok(Reply::Status(status)) = world.ask(A2, Request::Status { prid: enabled }) else { panic!() };
    let RuleStatus::Enabled { internal, inside, outside, external, lifetime, .. } = status else { panic!() };
    assert_eq!((internal, external), (udp("10.0.40.7/32", 20000, 2), udp("198.51.100.9/32", 0, 2)));
    assert_eq!((outside, inside, lifetime), (internal, external, Lifetime(290)));
}

//= test RFC 4540 §8.7: PRL lists the rules the agent may access, whichever session made them.
#[test]
fn prl_lists_the_agents_rules_only() {
    let mut world = World::new();
    let (first, _) = world.enable(A1, inbound(20000));
    let (second, _) = world.reserve(A2);
    let (other, _) = world.enable(B1, inbound(20002));
    let mut mine = vec![first, second];
    mine.sort();
    assert_eq!(world.ask(A1, Request::List), Ok(Reply::List(mine)));
    assert_eq!(world.ask(B1, Request::List), Ok(Reply::List(vec![other])));
}

//= test RFC 5189 §2.4.1: a group ends with its last rule.
#[test]
fn a_group_lives_as_long_as_a_member() {
    let mut world = World::new();
    let (first, group) = world.enable(A1, inbound(20000));
    let (second, same) = world.enable(A1, with(inbound(20002), 300, Some(group)));
    assert_eq!(same, group);
    let (_, other) = world.enable(A1, inbound(20004));
    assert_ne!(other, group);
    world.ask(A1, lifetime(first, 0)).unwrap();
    world.enable(A1, with(inbound(20006), 300, Some(group)));
    world.ask(A1, lifetime(second, 0)).unwrap();
    assert_eq!(world.middlebox.status().groups, 2);
}

//= test RFC 4540 §8.9: every other session of the owner hears of a change, the requester does not.
#[test]
fn the_agents_other_sessions_hear_of_every_change() {
    let mut world = World::new();
    let (prid, _) = world.enable(A1, inbound(20000));
    assert_eq!(world.told(), [(A2, prid, 300)]);
    world.ask(A2, lifetime(prid, 100)).unwrap();
    assert_eq!(world.told(), [(A1, prid, 100)]);
    world.ask(A1, lifetime(prid, 0)).unwrap();
    assert_eq!(world.told(), [(A2, prid, 0)]);
    let (prid, _) = world.reserve(A2);
    assert_eq!(world.told(), [(A1, prid, 60)]);
    world.enable(A2, enable_reserved(prid, 20000));
    assert_eq!(world.told(), [(A1, prid, 300)]);
}

#[test]
fn a_refused_request_is_heard_by_nobody_else() {
    let mut world = World::new();
    assert!(world.ask(A1, inbound(5060)).is_err());
    assert_eq!(world.told(), []);
}

//= test RFC 5189 §2.2.4: rules outlive the session that made them.
#[test]
fn rules_outlive_their_session() {
    let mut world = World::new();
    let (prid, _) = world.enable(A1, inbound(20000));
    for session in [A1, A2] {
        world.input(Input::Closed { session });
    }
    assert!(world.passes(FAR, "10.0.40.7:20000"));
    let again = SessionId(9);
    world.input(Input::Opened { session: again, agent: ALICE });
    assert_eq!(world.ask(again, Request::List), Ok(Reply::List(vec![prid])));
    assert_eq!(world.ask(again, lifetime(prid, 0)), Ok(Reply::Ended));
}

#[test]
fn a_stranger_gets_no_session() {
    let mut world = World::new();
    let session = SessionId(9);
    world.input(Input::Opened { session, agent: crate::AgentId(99) });
    assert!(world.log.contains(&Output::Terminate { session }));
    let tid = world.send(session, Request::List);
    world.run();
    assert_eq!(world.answer(tid), None);
}

#[test]
fn the_number_of_rules_is_limited() {
    let mut world = World::new();
    for _ in 0..RULES_MAX {
        world.enable(A1, inbound(20000));
    }
    assert_eq!(world.ask(A2, inbound(20000)), Err(Failure::NoResources));
    assert_eq!(world.ask(A2, reserve(None)), Err(Failure::NoResources));
    world.enable(B1, inbound(20000));
}

#[test]
fn identifiers_are_not_used_twice_at_a_time() {
    let mut world = World::new();
    let mut prids: Vec<Prid> = (0..50).map(|_| world.enable(A1, inbound(20000)).0).collect();
    prids.sort();
    prids.dedup();
    assert_eq!(prids.len(), 50);
}

#[test]
fn what_has_passed_is_told_of_ones_own_rules_that_are_there() {
    let mut world = World::new();
    let (first, _) = world.enable(A1, inbound(20000));
    let (second, _) = world.enable(A1, inbound(20002));
    let (reserved, _) = world.reserve(A1);
    let (other, _) = world.enable(B1, inbound(20004));
    for destination in ["10.0.40.7:20000", "10.0.40.7:20001", "10.0.40.7:20004"] {
        world.comes(FAR, destination);
    }
    let prids = vec![second, first, other, reserved, Prid(7)];
    let passed = |prid, packets| Passed { prid, packets };
    let told = vec![passed(second, 0), passed(first, 2), passed(reserved, 0)];
    assert_eq!(world.ask(A2, Request::Count { prids: prids.clone() }), Ok(Reply::Counted(told)));
    // An entry that is not there tells nothing: its rule is left out.
    let key = world.keys()[0];
    world.engine.lose(&key);
    let Ok(Reply::Counted(told)) = world.ask(A1, Request::Count { prids }) else { panic!() };
    assert_eq!(told.iter().map(|one| one.prid).collect::<Vec<_>>(), [second, reserved]);
}

#[test]
fn rules_that_share_an_entry_count_the_same_packets() {
    let mut world = World::new();
    let (first, _) = world.enable(A1, inbound(20000));
    let (second, _) = world.enable(A1, inbound(20000));
    world.comes(FAR, "10.0.40.7:20000");
    let told = [first, second].map(|prid| Passed { prid, packets: 1 }).to_vec();
    let asked = Request::Count { prids: vec![first, second] };
    assert_eq!(world.ask(A1, asked), Ok(Reply::Counted(told)));
}
