//! Would the explorer find it? A machine that is broken on purpose, once for each thing that it checks.

use model::explore::{Bounds, explore};
use model::flow;
use model::scenario::{Scenario, Upset};
use model::subject::Fault;

/// Explores a broken machine: what is found must say this.
fn found(fault: Fault, scenario: Scenario, why: &str) {
    let scenario = Scenario { fault: Some(fault), ..scenario };
    match explore(&scenario, Bounds::default()) {
        Ok(report) => panic!("{fault:?} was not found: {report:?}"),
        Err(failure) => {
            assert!(failure.why.contains(why), "{fault:?}: {} is not: {why}", failure.why);
            let printed = flow::print(&scenario, &failure.path, &failure.why);
            let printed = printed.unwrap_or_else(|unplayed| unplayed);
            assert!(printed.contains(why) && printed.contains("A > INVITE"), "{fault:?}: {printed}");
        }
    }
}

fn upset(kind: Upset) -> Scenario {
    Scenario { upsets: 1, kinds: vec![kind], ..Scenario::plain() }
}

#[test]
fn a_description_travels_before_its_rules_are_there() {
    found(Fault::OpensNothing, Scenario::plain(), "before middlebox 1 has confirmed it");
}

#[test]
fn rules_are_left_behind() {
    found(Fault::ClosesNothing, Scenario::plain(), "no call is left, but a rule");
}

#[test]
fn an_invite_never_gets_its_final_response() {
    found(Fault::Swallows("SIP/2.0 486"), Scenario::plain(), "never got a final response");
}

#[test]
fn an_invite_gets_two_final_responses() {
    let lossy = Scenario { losses: 1, ..Scenario::plain() };
    found(Fault::Says("SIP/2.0 200", "SIP/2.0 202"), lossy, "to one INVITE");
}

#[test]
fn nobody_is_told_why() {
    found(Fault::GivesNoReason, upset(Upset::Refuse), "is not told why");
    found(Fault::GivesNoReason, upset(Upset::Revoke), "is not told why");
}

#[test]
fn a_call_is_ended_on_one_side_only() {
    // Who lives hangs up some day.
    found(Fault::Swallows("BYE"), upset(Upset::Die), "never got BYE");
}

#[test]
fn an_answer_is_not_acknowledged() {
    found(Fault::Swallows("ACK"), Scenario::plain(), "was never acknowledged");
}

#[test]
fn a_phone_rings_on() {
    // Who lives answers some day.
    let kinds = vec![Upset::Cancel, Upset::Die];
    found(Fault::Swallows("CANCEL"), Scenario { upsets: 2, kinds, ..Scenario::plain() }, "still rings");
}

#[test]
fn transactions_and_timers_are_held_for_ever() {
    found(Fault::NeverWakes, Scenario::plain(), "something is still held");
}

#[test]
fn it_never_comes_to_rest() {
    found(Fault::WakesInVain, Scenario::plain(), "it never comes to rest");
}
