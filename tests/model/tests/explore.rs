//! The explorations that are short enough for every run; the long ones are a command (`docs/model.md`).

use model::explore::{Bounds, explore};
use model::flow;
use model::scenario::{Scenario, Upset};

/// Explores everything; a failure is printed as a flow.
fn complete(scenario: &Scenario) {
    explored(scenario, Bounds::default());
}

/// Explores as far as the bounds go.
fn explored(scenario: &Scenario, bounds: Bounds) {
    let is_bound = bounds.depth.is_some();
    match explore(scenario, bounds) {
        Ok(report) => {
            assert!((report.is_complete || is_bound) && report.ends > 0, "{}: {report:?}", scenario.name);
        }
        Err(failure) => {
            let flow = flow::print(scenario, &failure.path, &failure.why);
            panic!("{}\n{}", failure.why, flow.unwrap_or_else(|error| error));
        }
    }
}

#[test]
fn a_plain_call() {
    complete(&Scenario::plain());
}

#[test]
fn a_message_is_lost() {
    complete(&Scenario { losses: 1, ..Scenario::plain() });
}

#[test]
fn a_message_arrives_twice() {
    complete(&Scenario { copies: 1, ..Scenario::plain() });
}

#[test]
fn somebody_moves_with_update() {
    let (upsets, kinds) = (1, vec![Upset::Update]);
    complete(&Scenario { upsets, kinds, is_reliable: true, ..Scenario::plain() });
}

#[test]
fn the_answer_comes_reliably_and_early() {
    let (upsets, kinds) = (1, vec![Upset::Cancel, Upset::Refuse]);
    complete(&Scenario { upsets, kinds, is_reliable: true, ..Scenario::plain() });
}

#[test]
fn the_middlebox_reserves_first() {
    let (upsets, kinds) = (1, vec![Upset::Cancel, Upset::Refuse, Upset::Revoke]);
    let settings = vec![("reserve".to_owned(), "yes".to_owned())];
    complete(&Scenario { upsets, kinds, settings, ..Scenario::plain() });
}

/// A call that has one of a pair lives on, so this has no end.
#[test]
fn anything_happens_once_to_a_pair() {
    let settings = [("middleboxes", "2"), ("standby", "yes")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    let bounds = Bounds { depth: Some(12), ..Bounds::default() };
    explored(&Scenario { upsets: 1, settings, ..Scenario::plain() }, bounds);
}

#[test]
fn anything_happens_once() {
    complete(&Scenario { upsets: 1, ..Scenario::plain() });
}

#[test]
fn the_caller_is_inside() {
    let settings = [("call", "inside"), ("source", "address")];
    let settings = settings.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
    complete(&Scenario { upsets: 1, settings, ..Scenario::plain() });
}

#[test]
fn something_happens_and_a_message_is_lost() {
    for kind in [Upset::Cancel, Upset::Refuse, Upset::Revoke, Upset::Update] {
        complete(&Scenario { losses: 1, upsets: 1, kinds: vec![kind], ..Scenario::plain() });
    }
}
