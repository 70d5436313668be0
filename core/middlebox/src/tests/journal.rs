//! What survives a restart of the middlebox, and of the machine.

use midcom::{Failure, Lifetime, Reply, Request, RuleStatus};

use super::world::*;
use crate::{Change, Event, Input, Output, Policy, RuleAction, StoredAction, limits};

fn world() -> World {
    let mut world = World::journaled();
    world.open();
    world.run();
    world
}

//= test RFC 5189 §2.1.6: rules survive a restart only where that is announced.
#[test]
fn it_is_announced_where_rules_are_written_down() {
    assert!(world().middlebox.capabilities(ALICE).unwrap().persistent);
    assert!(!World::new().middlebox.capabilities(ALICE).unwrap().persistent);
    let mut world = World::new();
    world.enable(A1, inbound(20000));
    assert_eq!(world.positions(|output| matches!(output, Output::Journal(_))), []);
}

#[test]
fn rules_keep_identifier_group_owner_and_deadline() {
    for engine_lost in [false, true] {
        let mut world = world();
        let (prid, group) = world.enable(A1, inbound(20000));
        let (reserved, _) = world.reserve(A1);
        let (bobs, _) = world.enable(B1, inbound(20002));
        let denial = disable(udp("10.0.40.8/32", 0, 1), udp("0.0.0.0/0", 0, 1), 60);
        let Ok(Reply::Disabled { prid: denied, .. }) = world.ask(G1, denial) else { panic!() };
        world.seconds(20);
        let mut world = world.restarted(engine_lost);
        world.run();
        assert!(world.passes(FAR, "10.0.40.7:20000") && world.passes(FAR, "10.0.40.7:20002"));
        let mut mine = vec![prid, reserved];
        mine.sort_unstable();
        assert_eq!(world.ask(A1, Request::List), Ok(Reply::List(mine)));
        let Ok(Reply::Status(RuleStatus::Enabled { group: same, lifetime, .. })) =
            world.ask(A2, Request::Status { prid })
        else {
            panic!()
        };
        assert_eq!((same, lifetime), (group, Lifetime(280)));
        assert_eq!(world.ask(A1, lifetime_zero(bobs)), Err(Failure::NotAuthorizedForRule));
        world.ask(A1, enable_reserved(reserved, 20004)).unwrap();
        let RuleAction::Disabled { .. } = world.middlebox.rule(world.now, denied).unwrap().action else {
            panic!()
        };
        let shut = enable(
            midcom::Direction::Inbound,
            udp("10.0.40.8/32", 20000, 2),
            udp("198.51.100.9/32", 0, 2),
            60,
            None,
        );
        assert_eq!(world.ask(A1, shut), Err(Failure::Conflict));
        // A new rule gets an identifier of its own, and its group can be joined.
        let (other, _) = world.enable(A1, with(inbound(20006), 60, Some(group)));
        assert!(![prid, reserved, bobs, denied].contains(&other));
        world.seconds(300);
        assert_eq!((world.keys(), world.journal.len()), (vec![], 0));
    }
}

fn lifetime_zero(prid: midcom::Prid) -> Request {
    lifetime(prid, 0)
}

#[test]
fn it_is_written_down_before_the_engine_is_asked_and_before_anybody_is_told() {
    let mut world = world();
    world.log.clear();
    let (prid, _) = world.enable(A1, inbound(20000));
    world.ask(A1, lifetime(prid, 100)).unwrap();
    world.ask(A1, lifetime(prid, 0)).unwrap();
    world.reserve(A1);
    let kinds = world.log.iter().filter_map(|output| match output {
        Output::Journal(changes) => {
            Some(if matches!(changes[..], [Change::Put(_)]) { "put" } else { "forget" })
        }
        Output::Apply { .. } => Some("apply"),
        Output::Reply { .. } => Some("reply"),
        _ => None,
    });
    let expected = "put apply reply put apply reply forget apply reply put reply";
    assert_eq!(kinds.collect::<Vec<_>>().join(" "), expected);
}

#[test]
fn what_the_engine_refuses_is_taken_back() {
    let mut world = world();
    world.enable(A1, inbound(20000));
    let key = world.keys()[0];
    world.engine.refuse(key);
    let denied = world.ask(A1, with(inbound(20000), 500, None));
    assert_eq!(denied, Err(Failure::ConfigurationFailed));
    assert_eq!(world.journal.len(), 1);
    // An end that fails leaves the rule as it was, on paper too.
    let prid = *world.journal.keys().next().unwrap();
    assert_eq!(world.ask(A1, lifetime(prid, 0)), Err(Failure::ConfigurationFailed));
    assert!(world.journal.contains_key(&prid));
    world.engine.relent();
    world.ask(A1, lifetime(prid, 0)).unwrap();
    assert_eq!(world.journal.len(), 0);
}

/// The middlebox dies after it has written down, before or after the engine has heard.
#[test]
fn a_crash_in_between_opens_nothing_for_longer_and_closes_nothing_that_was_confirmed() {
    for heard in [false, true] {
        let mut world = world();
        let (confirmed, _) = world.enable(A1, inbound(20000));
        let (ending, _) = world.enable(A1, inbound(20002));
        world.hold = true;
        world.send(A1, lifetime(ending, 0));
        world.send(A1, inbound(20004));
        world.run();
        let (_, operations) = world.held.take().unwrap();
        if heard {
            crate::Engine::apply(&mut world.engine, &operations);
        }
        let mut world = world.restarted(false);
        world.run();
        assert!(world.passes(FAR, "10.0.40.7:20000"));
        assert!(!world.passes(FAR, "10.0.40.7:20002"), "nobody owns it any more");
        // The owner was not told of the third; it finds it in its list and may end it.
        let Ok(Reply::List(prids)) = world.ask(A1, Request::List) else { panic!() };
        assert_eq!(prids.len(), 2);
        assert!(prids.contains(&confirmed) && !prids.contains(&ending));
    }
}

#[test]
fn what_is_not_allowed_any_more_does_not_come_back() {
    let mut world = world();
    world.enable(A1, inbound(20000));
    world.enable(B1, inbound(20002));
    let rules: Vec<_> = world.journal.values().copied().collect();
    let mut fresh = World::journaled();
    fresh.journal.clone_from(&world.journal);
    let mut policy = policy();
    policy.agents.remove(&BOB);
    fresh.input(Input::Policy(Box::new(Policy { deny: vec![], ..policy })));
    fresh.run();
    fresh.input(Input::Restored { rules });
    fresh.run();
    assert!(fresh.has_event(&Event::RulesRestored { rules: 1, dropped: 1 }));
    assert_eq!(fresh.journal.len(), 1, "the file forgets it too");
    assert!(fresh.passes(FAR, "10.0.40.7:20000") && !fresh.passes(FAR, "10.0.40.7:20002"));
}

#[test]
fn while_nothing_can_be_written_nothing_is_made_and_everything_can_end() {
    let mut world = world();
    let (prid, _) = world.enable(A1, inbound(20000));
    world.input(Input::Writable(false));
    assert_eq!(world.ask(A1, inbound(20002)), Err(Failure::NoResources));
    assert_eq!(world.ask(A1, reserve(None)), Err(Failure::NoResources));
    assert_eq!(world.ask(A1, lifetime(prid, 0)), Ok(Reply::Ended));
    world.input(Input::Writable(true));
    world.enable(A1, inbound(20002));
}

/// A disable rule ends others; a crash has cut off that it did, or the file was mended by hand.
#[test]
fn a_disable_rule_that_is_written_down_is_obeyed_by_what_is_beside_it() {
    let mut world = world();
    let (met, _) = world.enable(A1, inbound(20000));
    let (other, _) = world.enable(A1, inbound(20002));
    let before: Vec<_> = world.journal.values().copied().collect();
    let denial = disable(udp("10.0.40.7/32", 20000, 2), udp("0.0.0.0/0", 0, 2), 60);
    let Ok(Reply::Disabled { prid: denied, .. }) = world.ask(G1, denial) else { panic!() };
    let denial = world.journal[&denied];
    for rules in [[before.as_slice(), &[denial]].concat(), [&[denial], before.as_slice()].concat()] {
        let mut fresh = World::journaled();
        fresh.input(Input::Restored { rules });
        fresh.run();
        assert!(!fresh.passes(FAR, "10.0.40.7:20000"), "it is forbidden");
        assert!(fresh.passes(FAR, "10.0.40.7:20002"));
        let there: Vec<_> = fresh.middlebox.rules(fresh.now).map(|rule| rule.prid).collect();
        assert!(there.contains(&denied) && there.contains(&other) && !there.contains(&met), "{there:?}");
        assert!(!fresh.journal.contains_key(&met), "the file forgets it too");
    }
}

/// What a start puts into force leaves room for others in between, and what is on disk already is not written again.
#[test]
fn many_rules_are_put_into_force_piece_by_piece() {
    const RULES: u16 = 9_000;
    let mut world = world();
    let (prid, _) = world.enable(A1, inbound(20000));
    let mut stored = world.journal[&prid];
    let StoredAction::Enable { parity, direction, external, outside, .. } = stored.action else { panic!() };
    for number in 1..RULES {
        let internal = udp("10.0.40.8/32", 16_384 + number, 1);
        stored.action = StoredAction::Enable { parity, direction, internal, external, outside };
        stored.prid = midcom::Prid(prid.0.wrapping_add(u32::from(number)));
        world.journal.insert(stored.prid, stored);
    }
    let mut world = world.restarted(true);
    world.run();
    let sizes: Vec<usize> = world
        .log
        .iter()
        .filter_map(|output| match output {
            Output::Apply { operations, .. } => Some(operations.len()),
            _ => None,
        })
        .collect();
    assert_eq!(sizes.iter().sum::<usize>(), usize::from(RULES));
    assert!(sizes.len() == 3 && sizes.iter().all(|size| *size <= limits::BATCH_OPERATIONS_MAX), "{sizes:?}");
    assert_eq!(world.positions(|output| matches!(output, Output::Journal(_))), []);
    assert_eq!(world.keys().len(), usize::from(RULES));
    assert!(world.passes(FAR, "10.0.40.8:25000"));
}
