//! Two firewalls side by side that stand by for one another: every rule is at both, and neither is needed while the other is
//! there.

use std::io;

use serde_json::Value;

use crate::row::{AGENT_AT_CORE, AGENT_AT_EDGE, CORE, EDGE, Half, Row, Talk, try_to_call};
use crate::witness::expect;
use crate::world::{Named, Outcome, signal};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("pair::calls_go_on_and_begin_while_one_is_dead", dead),
        ("pair::a_call_begins_while_one_stands_still", silent),
    ]
}

struct Halves<'r> {
    left: Half<'r>,
    right: Half<'r>,
    agent: Half<'r>,
}

const LEFT: &str = EDGE;
const RIGHT: &str = CORE;

fn left(row: &Row) -> io::Result<Half<'_>> {
    row.edge(&format!("listen = [\"{LEFT}:7626\"]\npeers = [\"{AGENT_AT_EDGE}\"]\n"))
}

fn start(row: &Row) -> io::Result<Halves<'_>> {
    let left = left(row)?;
    let right = row.core(&format!("listen = [\"{RIGHT}:7626\"]\npeers = [\"{AGENT_AT_CORE}\"]\n"))?;
    let agent = row.agent(&format!(
        "[[middlebox]]\nname = \"left\"\nconnect = \"{LEFT}\"\n\n\
         [[middlebox]]\nname = \"right\"\nconnect = \"{RIGHT}\"\nstandby-for = \"left\"\n"
    ))?;
    agent.wait_up(&["left", "right"])?;
    Ok(Halves { left, right, agent })
}

fn dead() -> Outcome {
    let row = Row::beside()?;
    let Halves { left: first, right, agent } = start(&row)?;
    let talk = Talk::start(&row)?;
    talk.goes_on(&agent)?;
    for half in [&first, &right] {
        half.wait_rules(2)?;
    }
    shown(&first, &agent)?;
    // The routers change their mind, and change it back, while both are well.
    row.cross(RIGHT)?;
    talk.goes_on(&agent)?;
    row.cross(LEFT)?;
    talk.goes_on(&agent)?;
    // It is the left one that media crosses.
    signal(first.program.id(), "KILL")?;
    row.cross(RIGHT)?;
    drop(first);
    agent.wait_up(&["right"])?;
    talk.goes_on(&agent)?;
    talk.hang_up()?;
    right.wait_rules(0)?;
    expect(talk.media.tally().lost, Vec::new(), "packets lost by the call that was there")?;
    drop(talk);
    // A call that begins while it is away is not refused, and is told to the left one as soon as that is back.
    let talk = Talk::start(&row)?;
    talk.goes_on(&agent)?;
    right.wait_rules(2)?;
    expect(states_at(&agent, "left", 2)?, "absent absent".into(), "rules at the one that is away")?;
    let again = left(&row)?;
    agent.wait_up(&["left", "right"])?;
    again.wait_rules(2)?;
    expect(states_at(&agent, "left", 2)?, "open open".into(), "rules at the one that is back")?;
    row.cross(LEFT)?;
    talk.goes_on(&agent)?;
    // Now the other one is not needed.
    signal(right.program.id(), "KILL")?;
    drop(right);
    agent.wait_up(&["left"])?;
    talk.goes_on(&agent)?;
    talk.hang_up()?;
    again.wait_rules(0)?;
    expect(talk.media.tally().lost, Vec::new(), "packets lost by the call that began meanwhile")?;
    // With neither of them there is no call.
    signal(again.program.id(), "KILL")?;
    drop(again);
    agent.wait_up(&[])?;
    expect(try_to_call(&row)?.0, 504, "a call without any")?;
    Ok(())
}

/// What the rules of a call at one of the two are said to be.
fn states_at(agent: &Half<'_>, name: &str, call: u32) -> io::Result<String> {
    let report = agent.json(&["call", &call.to_string()])?;
    let rules = report["rules"].as_array().cloned().unwrap_or_default();
    let here = rules.iter().filter(|rule| rule["middlebox"] == name);
    Ok(here.filter_map(|rule| rule["state"].as_str()).collect::<Vec<_>>().join(" "))
}

/// What an administrator is told of the pair.
fn shown(left: &Half<'_>, agent: &Half<'_>) -> io::Result<()> {
    let status = agent.json(&["status"])?;
    let partners = [0, 1].map(|at| status["middleboxes"][at]["partner"].clone());
    expect(partners, [Value::from("right"), Value::from("left")], "partners")?;
    let check = agent.json(&["check"])?.to_string();
    expect(check.contains("calls between outside and inside need one of left and right"), true, &check)?;
    expect(
        left.json(&["status", "--middlebox"])?["rules"].clone(),
        Value::from(2),
        "rules for a health check",
    )
}

fn silent() -> Outcome {
    let row = Row::beside()?;
    let Halves { left, right, agent } = start(&row)?;
    signal(left.program.id(), "STOP")?;
    row.cross(RIGHT)?;
    let talk = Talk::start(&row)?;
    talk.goes_on(&agent)?;
    right.wait_rules(2)?;
    signal(left.program.id(), "CONT")?;
    // What it was asked too late is ended; it is asked again.
    left.wait_rules(2)?;
    agent.wait_up(&["left", "right"])?;
    row.cross(LEFT)?;
    talk.goes_on(&agent)?;
    talk.hang_up()?;
    left.wait_rules(0)?;
    right.wait_rules(0)?;
    expect(talk.media.tally().lost, Vec::new(), "packets lost")?;
    Ok(())
}
