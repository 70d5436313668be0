//! Restarts and strangers. `docs/pinholes.md` §4 and §5, promises 4 and 5.

use std::time::Duration;

use super::world::*;
use crate::entry::EngineFailure;
use crate::{Drift, EndCause, Engine, Event, Input, Output};

/// A world whose engine still holds the entries of `inbound(20000)` and `inbound(20002)` from before a restart.
fn restarted() -> World {
    let mut before = World::new();
    before.enable(A1, inbound(20000));
    before.enable(A1, inbound(20002));
    let mut world = World::empty();
    world.engine = before.engine;
    let entries = world.engine.entries().unwrap();
    world.input(Input::Adopted { entries });
    world.input(Input::Opened { session: A1, agent: ALICE });
    world.run();
    world.log.clear();
    world
}

#[test]
fn adopted_entries_let_media_pass_during_their_grace() {
    let mut world = restarted();
    assert_eq!(world.middlebox.status().orphans, 2);
    world.wait(Duration::from_millis(29_999));
    assert!(world.passes(FAR, "10.0.40.7:20000"));
    world.wait(Duration::from_millis(1));
    assert_eq!(world.keys(), []);
    assert!(world.has_event(&Event::OrphansRemoved { entries: 2 }));
    assert_eq!(world.middlebox.status().tally.orphans_removed, 2);
}

#[test]
fn an_agent_that_comes_back_takes_its_entry_over_without_a_gap() {
    let mut world = restarted();
    world.seconds(10);
    world.enable(A1, inbound(20000));
    let operations = world.log.iter().find_map(|output| match output {
        Output::Apply { operations, .. } => Some(operations.clone()),
        _ => None,
    });
    assert!(matches!(operations.unwrap()[..], [crate::Operation::Extend { .. }]));
    assert_eq!(world.middlebox.status().tally.orphans_taken, 1);
    world.seconds(60);
    assert!(world.passes(FAR, "10.0.40.7:20000"));
    assert!(!world.passes(FAR, "10.0.40.7:20002"));
    assert_eq!(world.middlebox.status().entries, 1);
}

#[test]
fn an_adopted_entry_that_ran_out_is_added_afresh() {
    let mut world = World::empty();
    let mut before = World::new();
    before.enable(A1, with(inbound(20000), 5, None));
    world.engine = before.engine;
    let entries = world.engine.entries().unwrap();
    let key = entries[0].key;
    world.input(Input::Adopted { entries });
    world.input(Input::Opened { session: A1, agent: ALICE });
    assert!(!world.middlebox.has_run_out(world.now, &key));
    world.seconds(6);
    assert!(world.middlebox.has_run_out(world.now, &key));
    assert_eq!(world.keys(), []);
    world.enable(A1, inbound(20000));
    assert!(world.passes(FAR, "10.0.40.7:20000"));
    world.seconds(60);
    assert!(world.passes(FAR, "10.0.40.7:20000"));
}

#[test]
fn what_a_stranger_flushed_is_put_back() {
    let mut world = World::new();
    for call in 0..10 {
        world.enable(A1, inbound(20000 + 2 * call));
    }
    let keys = world.keys();
    let ends = world.engine.ends(&keys[0]);
    world.seconds(50);
    world.engine.flush();
    world.told();
    world.input(Input::Disturbed);
    world.run();
    assert_eq!(world.keys(), keys);
    assert_eq!(world.engine.ends(&keys[0]), ends, "with the lifetime it had");
    assert!(world.has_event(&Event::DriftFound { missing: 10, foreign: 0 }));
    assert_eq!(world.told(), []);
}

#[test]
fn what_cannot_be_put_back_is_no_rule_any_more() {
    let mut world = World::new();
    let (lost, _) = world.enable(A1, inbound(20000));
    let key = world.keys()[0];
    let (kept, _) = world.enable(A1, inbound(20002));
    world.engine.flush();
    world.engine.refuse(key);
    world.told();
    world.input(Input::Disturbed);
    world.run();
    assert!(world.has_event(&Event::RuleEnded { prid: lost, agent: ALICE, cause: EndCause::Lost }));
    assert_eq!(world.told(), [(A1, lost, 0), (A2, lost, 0)]);
    assert!(world.middlebox.rule(world.now, kept).is_some());
    assert!(world.passes(FAR, "10.0.40.7:20002"));
}

#[test]
fn what_a_stranger_opened_is_closed() {
    let mut world = World::new();
    let (mine, _) = world.enable(A1, inbound(20000));
    let mut other = World::new();
    other.enable(A1, inbound(30000));
    world.engine.apply(&adds(&other));
    world.input(Input::Disturbed);
    world.run();
    assert_eq!(world.keys().len(), 1);
    assert!(world.has_event(&Event::DriftFound { missing: 0, foreign: 1 }));
    world.input(Input::Verified { drift: Ok(Drift { missing: world.keys(), foreign: Vec::new() }) });
    world.run();
    assert_eq!(world.middlebox.status().tally.drift_missing, 0, "an answer nobody asked for is nobody's");
    assert!(world.middlebox.rule(world.now, mine).is_some());
}

/// The additions another world's engine was asked for.
fn adds(world: &World) -> Vec<crate::Operation> {
    let adds = |output: &Output| match output {
        Output::Apply { operations, .. } => Some(operations.clone()),
        _ => None,
    };
    world.log.iter().filter_map(adds).flatten().collect()
}

#[test]
fn a_comparison_that_fails_is_repeated() {
    let mut world = World::new();
    world.enable(A1, inbound(20000));
    world.engine.set_available(false);
    world.input(Input::Disturbed);
    world.run();
    assert!(world.has_event(&Event::VerificationFailed));
    world.engine.set_available(true);
    world.engine.flush();
    world.seconds(1);
    assert_eq!(world.keys().len(), 1);
}

#[test]
fn a_comparison_waits_for_the_batch_in_flight() {
    let mut world = World::new();
    world.hold = true;
    let tid = world.send(A1, inbound(20000));
    world.run();
    world.input(Input::Disturbed);
    world.run();
    assert!(world.positions(|output| matches!(output, Output::Verify { .. })).is_empty());
    world.release();
    assert!(world.answer(tid).unwrap().is_ok());
    assert_eq!(world.positions(|output| matches!(output, Output::Verify { .. })).len(), 1);
    assert_eq!(world.middlebox.status().tally.drift_missing, 0);
}

#[test]
fn an_engine_that_is_gone_refuses_everything_and_harms_nothing() {
    let mut world = World::new();
    let (prid, _) = world.enable(A1, inbound(20000));
    world.engine.set_available(false);
    assert!(world.ask(A1, inbound(20002)).is_err());
    assert!(world.ask(A1, lifetime(prid, 0)).is_err());
    assert_eq!(world.engine.verify(&[]), Err(EngineFailure::Unavailable));
    world.engine.set_available(true);
    assert!(world.ask(A1, lifetime(prid, 0)).is_ok());
    assert_eq!(world.middlebox.status().rules, 0);
}
