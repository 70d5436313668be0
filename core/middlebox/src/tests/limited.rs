//! The answers at the limits.

use midcom::{Failure, Reply, Request};

use super::world::*;
use crate::{Input, Output, SessionId, limits};

#[test]
fn one_session_too_many_is_terminated() {
    let mut world = World::new();
    for number in 0..limits::SESSIONS_MAX as u64 {
        world.input(Input::Opened { session: SessionId(100 + number), agent: BOB });
    }
    let open = world.middlebox.status().sessions;
    assert_eq!(open, limits::SESSIONS_MAX);
    let last = SessionId(100 + limits::SESSIONS_MAX as u64 - 1);
    assert!(world.log.contains(&Output::Terminate { session: last }));
    assert!(world.ask(A1, inbound(20000)).is_ok(), "the others go on");
}

#[test]
fn one_waiting_request_too_many_is_refused_at_once() {
    let mut world = World::new();
    world.hold = true;
    world.send(A1, inbound(20000));
    world.run();
    for _ in 0..limits::QUEUE_MAX {
        world.send(A1, Request::List);
    }
    assert_eq!(world.middlebox.status().queued, limits::QUEUE_MAX);
    let tid = world.send(A1, Request::List);
    assert_eq!(world.answer(tid), Some(Err(Failure::NoResources)));
    world.hold = false;
    world.log.clear();
    world.release();
    assert_eq!(world.middlebox.status().queued, 0);
}

//= test RFC 4540 §8.7: a list that does not fit is refused.
#[test]
fn a_list_that_does_not_fit_is_refused() {
    let mut world = World::new();
    let mut policy = policy();
    policy.agents.get_mut(&ALICE).unwrap().rules_max = u32::MAX;
    world.input(Input::Policy(Box::new(policy)));
    let tids: Vec<_> = (0..limits::LIST_MAX).map(|_| world.send(A1, reserve(None))).collect();
    world.run();
    assert!(world.answer(tids[0]).unwrap().is_ok());
    world.log.clear();
    let Ok(Reply::List(prids)) = world.ask(A1, Request::List) else { panic!("it fits") };
    assert_eq!(prids.len(), limits::LIST_MAX);
    world.reserve(A1);
    assert_eq!(world.ask(A1, Request::List), Err(Failure::ReplyTooBig));
}

#[test]
fn a_batch_that_would_be_too_big_becomes_several() {
    let mut world = World::new();
    let mut policy = policy();
    policy.agents.get_mut(&ALICE).unwrap().rules_max = u32::MAX;
    world.input(Input::Policy(Box::new(policy)));
    for number in 0..limits::BATCH_OPERATIONS_MAX + 1 {
        world.send(A1, inbound(16384 + 2 * (number as u16)));
    }
    world.run();
    let size = |output: &Output| match output {
        Output::Apply { operations, .. } => Some(operations.len()),
        _ => None,
    };
    let sizes: Vec<_> = world.log.iter().filter_map(size).collect();
    assert_eq!(sizes, [limits::BATCH_OPERATIONS_MAX, 1]);
}
