//! Group commit, and what happens when the engine says no. `docs/pinholes.md` §4.

use midcom::{Direction, Failure, Reply, Request};

use super::world::*;
use crate::{Input, Output};

fn is_apply(output: &Output) -> bool {
    matches!(output, Output::Apply { .. })
}

fn batch_sizes(world: &World) -> Vec<usize> {
    let size = |output: &Output| match output {
        Output::Apply { operations, .. } => Some(operations.len()),
        _ => None,
    };
    world.log.iter().filter_map(size).collect()
}

#[test]
fn no_reply_leaves_before_the_engine_has_confirmed() {
    let mut world = World::new();
    world.hold = true;
    let tid = world.send(A1, inbound(20000));
    world.run();
    assert_eq!(world.answer(tid), None);
    assert_eq!(world.told(), []);
    world.release();
    assert!(matches!(world.answer(tid), Some(Ok(Reply::Enabled { .. }))));
}

#[test]
fn what_arrives_together_becomes_one_batch() {
    let mut world = World::new();
    let tids: Vec<_> = (0..100).map(|call| world.send(A1, inbound(20000 + 2 * call))).collect();
    world.run();
    assert_eq!(batch_sizes(&world), [100]);
    assert!(tids.iter().all(|tid| matches!(world.answer(*tid), Some(Ok(_)))));
}

#[test]
fn what_arrives_during_a_batch_becomes_the_next_one() {
    let mut world = World::new();
    world.hold = true;
    world.send(A1, inbound(20000));
    world.run();
    let later: Vec<_> = (1..10).map(|call| world.send(A1, inbound(20000 + 2 * call))).collect();
    world.run();
    assert_eq!(batch_sizes(&world), [1]);
    world.release();
    assert_eq!(batch_sizes(&world), [1, 9]);
    assert!(later.iter().all(|tid| matches!(world.answer(*tid), Some(Ok(_)))));
}

#[test]
fn a_refused_operation_fails_only_its_own_request() {
    let mut world = World::new();
    let probe = world.enable(A1, inbound(20002)).0;
    let key = world.keys()[0];
    world.ask(A1, lifetime(probe, 0)).unwrap();
    world.engine.refuse(key);
    let tids: Vec<_> = (0..3).map(|call| world.send(A1, inbound(20000 + 2 * call))).collect();
    world.run();
    let answers: Vec<_> = tids.iter().map(|tid| world.answer(*tid).unwrap().is_ok()).collect();
    assert_eq!(answers, [true, false, true]);
    assert_eq!(world.answer(tids[1]), Some(Err(Failure::ConfigurationFailed)));
    let Ok(Reply::List(rules)) = world.ask(A1, Request::List) else { panic!() };
    assert_eq!(rules.len(), 2, "the refused rule does not exist");
    assert_eq!(world.middlebox.status().groups, 2);
}

#[test]
fn a_half_opened_rule_is_closed_before_its_agent_hears_no() {
    let mut world = World::new();
    let wide = |port, range| {
        let far = udp("198.51.100.9/32", 0, range);
        enable(Direction::Inbound, udp("10.0.40.7/32", port, range), far, 300, None)
    };
    let probe = world.enable(A1, wide(20002, 2)).0;
    let key = world.keys()[0];
    world.ask(A1, lifetime(probe, 0)).unwrap();
    world.engine.refuse(key);
    world.log.clear();
    assert_eq!(world.ask(A1, wide(20000, 6)), Err(Failure::ConfigurationFailed));
    assert_eq!(world.keys(), []);
    let applies = world.positions(is_apply);
    let replies = world.positions(|output| matches!(output, Output::Reply { .. }));
    assert_eq!(applies.len(), 2);
    assert!(applies[1] < replies[0], "{:?}", world.log);
}

#[test]
fn a_failed_pea_leaves_the_reservation() {
    let mut world = World::new();
    let probe = world.enable(A1, inbound(20000)).0;
    let key = world.keys()[0];
    world.ask(A1, lifetime(probe, 0)).unwrap();
    let (prid, _) = world.reserve(A1);
    world.engine.refuse(key);
    assert_eq!(world.ask(A1, enable_reserved(prid, 20000)), Err(Failure::ConfigurationFailed));
    world.engine.relent();
    assert_eq!(world.enable(A1, enable_reserved(prid, 20000)).0, prid);
}

#[test]
fn a_failed_extension_leaves_the_lifetime() {
    let mut world = World::new();
    let (prid, _) = world.enable(A1, inbound(20000));
    let key = world.keys()[0];
    let ends = world.engine.ends(&key);
    world.engine.refuse(key);
    world.seconds(100);
    assert_eq!(world.ask(A1, lifetime(prid, 500)), Err(Failure::ConfigurationFailed));
    assert_eq!(world.engine.ends(&key), ends);
    world.engine.relent();
    world.told();
    world.seconds(197);
    assert_eq!(world.told(), []);
    world.seconds(1);
    assert_eq!(world.told(), [(A1, prid, 0), (A2, prid, 0)]);
}

#[test]
fn a_failed_close_is_said_and_can_be_repeated() {
    let mut world = World::new();
    let (prid, _) = world.enable(A1, inbound(20000));
    let key = world.keys()[0];
    world.engine.refuse(key);
    assert_eq!(world.ask(A1, lifetime(prid, 0)), Err(Failure::ConfigurationFailed));
    assert_eq!(world.ask(A1, Request::List), Ok(Reply::List(vec![prid])));
    world.engine.relent();
    assert_eq!(world.ask(A1, lifetime(prid, 0)), Ok(Reply::Ended));
    assert_eq!(world.keys(), []);
}

#[test]
fn a_shared_entry_lives_until_its_last_rule_and_latest_deadline() {
    let mut world = World::new();
    let (short, _) = world.enable(A1, with(inbound(20000), 100, None));
    let (long, _) = world.enable(B1, with(inbound(20000), 200, None));
    assert_eq!(world.keys().len(), 1);
    let key = world.keys()[0];
    assert_eq!(world.engine.ends(&key).unwrap().as_nanos(), 200_000_000_000);
    world.ask(B1, lifetime(long, 0)).unwrap();
    assert!(world.passes(FAR, "10.0.40.7:20000"));
    assert_eq!(world.engine.ends(&key).unwrap().as_nanos(), 100_000_000_000, "nobody needs it for longer");
    world.ask(A1, lifetime(short, 0)).unwrap();
    assert!(!world.passes(FAR, "10.0.40.7:20000"));
}

#[test]
fn closing_and_opening_the_same_hole_in_one_batch_leaves_no_gap() {
    let mut world = World::new();
    let (prid, _) = world.enable(A1, inbound(20000));
    world.seconds(10);
    world.log.clear();
    let closed = world.send(A1, lifetime(prid, 0));
    let opened = world.send(A1, inbound(20000));
    world.run();
    assert_eq!(world.answer(closed), Some(Ok(Reply::Ended)));
    assert!(matches!(world.answer(opened), Some(Ok(Reply::Enabled { .. }))));
    assert_eq!(batch_sizes(&world), [1]);
    assert!(world.passes(FAR, "10.0.40.7:20000"));
}

#[test]
fn requests_about_a_rule_in_flight_wait_for_it() {
    let mut world = World::new();
    let (prid, _) = world.reserve(A1);
    let enabled = world.send(A1, enable_reserved(prid, 20000));
    let closed = world.send(A1, lifetime(prid, 0));
    let listed = world.send(A1, Request::List);
    world.run();
    assert!(matches!(world.answer(enabled), Some(Ok(Reply::Enabled { .. }))));
    assert_eq!(world.answer(closed), Some(Ok(Reply::Ended)));
    assert_eq!(
        world.answer(listed),
        Some(Ok(Reply::List(vec![prid]))),
        "it saw the rule before it was closed"
    );
    assert_eq!(world.keys(), []);
}

#[test]
fn what_a_lost_session_had_asked_for_opens_nothing_but_still_closes() {
    let mut world = World::new();
    let (prid, _) = world.enable(A1, inbound(20000));
    world.hold = true;
    world.send(B1, inbound(30000));
    world.run();
    world.send(A1, inbound(20002));
    world.send(A1, lifetime(prid, 0));
    world.input(Input::Closed { session: A1 });
    world.release();
    assert!(!world.passes(FAR, "10.0.40.7:20000"));
    assert!(!world.passes(FAR, "10.0.40.7:20002"));
    assert!(world.passes(FAR, "10.0.40.7:30000"));
}

#[test]
fn missing_results_confirm_nothing() {
    let mut world = World::new();
    world.hold = true;
    let tid = world.send(A1, inbound(20000));
    world.run();
    let (batch, _) = world.held.take().unwrap();
    world.hold = false;
    world.input(Input::Applied { batch, results: Vec::new() });
    world.run();
    assert_eq!(world.answer(tid), Some(Err(Failure::ConfigurationFailed)));
    world.input(Input::Applied { batch, results: vec![Ok(())] });
    assert_eq!(world.middlebox.status().rules, 0, "a late answer changes nothing");
}

#[test]
fn a_full_engine_refuses_and_recovers() {
    let mut world = World::new();
    world.engine.limit(2);
    let (first, _) = world.enable(A1, inbound(20000));
    world.enable(A1, inbound(20002));
    assert_eq!(world.ask(A1, inbound(20004)), Err(Failure::ConfigurationFailed));
    world.ask(A1, lifetime(first, 0)).unwrap();
    world.enable(A1, inbound(20004));
}

#[test]
fn a_shutdown_answers_what_had_arrived_and_keeps_media_flowing() {
    let mut world = World::new();
    let (prid, _) = world.enable(A1, inbound(20000));
    let (kept, _) = world.enable(A1, inbound(20002));
    world.hold = true;
    let closing = world.send(A1, lifetime(prid, 0));
    world.input(Input::Shutdown);
    let late = world.send(A1, inbound(20004));
    world.run();
    assert!(!world.log.contains(&Output::ShutdownComplete));
    world.release();
    assert_eq!(world.answer(closing), Some(Ok(Reply::Ended)));
    assert_eq!(world.answer(late), None);
    assert!(world.log.contains(&Output::Terminate { session: B1 }));
    assert_eq!(world.log.last(), Some(&Output::ShutdownComplete));
    assert!(world.middlebox.rule(world.now, kept).is_some());
    assert!(world.passes(FAR, "10.0.40.7:20002"));
}

#[test]
fn a_shutdown_ends_sessions_only_after_a_refusal_has_left() {
    let mut world = World::new();
    world.engine.limit(0);
    world.hold = true;
    let refused = world.send(A1, inbound(20000));
    world.run();
    world.input(Input::Shutdown);
    world.release();
    assert_eq!(world.answer(refused), Some(Err(Failure::ConfigurationFailed)));
    let replies = world.positions(|output| matches!(output, Output::Reply { .. }));
    let ends = world.positions(|output| matches!(output, Output::Terminate { .. }));
    assert!(replies[0] < ends[0], "{replies:?} {ends:?}");
    assert_eq!(world.log.last(), Some(&Output::ShutdownComplete));
}
