//! A path with two firewalls: both agree, or nobody's phone rings; one that is away is noticed and comes back.

use std::io;
use std::time::Duration;

use crate::callee::Callee;
use crate::media::RTP_INSIDE;
use crate::row::{AGENT_AT_CORE, AGENT_AT_EDGE, CORE, EDGE, Row, Talk, try_to_call};
use crate::tls::Site;
use crate::witness::expect;
use crate::world::{Named, Outcome, signal};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("two_firewalls::both_open_and_both_close", || both(plain)),
        ("two_firewalls::one_refuses_and_the_other_forgets", || one_refuses(plain)),
        ("two_firewalls::one_is_killed_and_its_rules_come_back", || one_killed(plain)),
        ("two_firewalls::one_stands_still_and_goes_on", || one_stopped(plain)),
        ("two_firewalls::over_tls_both_open_and_both_close", || both(tls)),
        ("two_firewalls::over_tls_one_refuses_and_the_other_forgets", || one_refuses(tls)),
        ("two_firewalls::over_tls_one_is_killed_and_its_rules_come_back", || one_killed(tls)),
        ("two_firewalls::over_tls_one_stands_still_and_goes_on", || one_stopped(tls)),
    ]
}

/// How the hosts of a row speak to each other.
struct Ways {
    edge: String,
    core: String,
    agent: String,
}

type Make = fn(&Row) -> io::Result<Ways>;

fn plain(_: &Row) -> io::Result<Ways> {
    let middlebox =
        |address: &str, peer: &str| format!("listen = [\"{address}:7626\"]\npeers = [\"{peer}\"]\n");
    let section = |name: &str, to: &str| format!("[[middlebox]]\nname = \"{name}\"\nconnect = \"{to}\"\n\n");
    Ok(Ways {
        edge: middlebox(EDGE, AGENT_AT_EDGE),
        core: middlebox(CORE, AGENT_AT_CORE),
        agent: section("edge", EDGE) + &section("core", &format!("tcp:{CORE}:7626")),
    })
}

fn tls(row: &Row) -> io::Result<Ways> {
    let site = Site::new(row)?;
    Ok(Ways { edge: site.middlebox("edge", EDGE), core: site.middlebox("core", CORE), agent: site.agent() })
}

fn both(make: Make) -> Outcome {
    let row = Row::new()?;
    let ways = make(&row)?;
    let (edge, core) = (row.edge(&ways.edge)?, row.core(&ways.core)?);
    let agent = row.agent(&ways.agent)?;
    agent.wait_up(&["edge", "core"])?;
    let talk = Talk::start(&row)?;
    talk.goes_on(&agent)?;
    edge.wait_rules(2)?;
    core.wait_rules(2)?;
    let pinholes = agent.json(&["pinholes"])?;
    for name in ["edge", "core"] {
        let rules = pinholes["rules"]
            .as_array()
            .map(|rules| rules.iter().filter(|rule| rule["middlebox"] == name && rule["call"] == 1).count());
        expect(rules, Some(2), &format!("rules at {name} in {pinholes}"))?;
    }
    let ladder = agent.json(&["call", "1"])?["ladder"].to_string();
    expect(ladder.contains("\"note\":\"core\""), true, &ladder)?;
    talk.hang_up()?;
    edge.wait_rules(0)?;
    core.wait_rules(0)?;
    expect(talk.media.tally().lost, Vec::new(), "packets lost")?;
    Ok(())
}

fn one_refuses(make: Make) -> Outcome {
    let row = Row::new()?;
    let ways = make(&row)?;
    let edge = row.edge(&ways.edge)?;
    let _core = row.core(&format!("deny = [\"10.0.40.20\"]\n{}", ways.core))?;
    let agent = row.agent(&ways.agent)?;
    agent.wait_up(&["edge", "core"])?;
    let callee = Callee::start(&row.world, RTP_INSIDE)?;
    // What the first PER opens is wide on the side that is not known yet: whether the core refuses before or after the
    // callee's answer, the caller is told and the edge keeps nothing.
    let (status, _) = try_to_call(&row)?;
    expect(status, 403, "status of the call")?;
    edge.wait_rules(0)?;
    agent.wait_rules(0)?;
    drop(callee);
    Ok(())
}

fn one_killed(make: Make) -> Outcome {
    let row = Row::new()?;
    let ways = make(&row)?;
    let (edge, core) = (row.edge(&ways.edge)?, row.core(&ways.core)?);
    let agent = row.agent(&ways.agent)?;
    agent.wait_up(&["edge", "core"])?;
    let talk = Talk::start(&row)?;
    core.wait_rules(2)?;
    signal(core.program.id(), "KILL")?;
    drop(core);
    agent.wait_up(&["edge"])?;
    let (status, took) = try_to_call(&row)?;
    expect(status, 504, "a call while the core is away")?;
    expect(took < Duration::from_millis(1_500), true, &format!("refused after {took:?}"))?;
    edge.wait_rules(2)?;
    let core = row.core(&ways.core)?;
    agent.wait_up(&["edge", "core"])?;
    core.wait_rules(2)?;
    talk.goes_on(&agent)?;
    expect(talk.media.tally().lost, Vec::new(), "packets lost")?;
    talk.hang_up()?;
    edge.wait_rules(0)?;
    core.wait_rules(0)?;
    Ok(())
}

fn one_stopped(make: Make) -> Outcome {
    let row = Row::new()?;
    let ways = make(&row)?;
    let (edge, core) = (row.edge(&ways.edge)?, row.core(&ways.core)?);
    let agent = row.agent(&ways.agent)?;
    agent.wait_up(&["edge", "core"])?;
    signal(core.program.id(), "STOP")?;
    let (status, _) = try_to_call(&row)?;
    expect(status, 504, "a call while the core says nothing")?;
    edge.wait_rules(0)?;
    signal(core.program.id(), "CONT")?;
    // What it was asked too late is ended, and the next call comes through.
    core.wait_rules(0)?;
    agent.wait_up(&["edge", "core"])?;
    let talk = Talk::start(&row)?;
    talk.goes_on(&agent)?;
    talk.hang_up()?;
    edge.wait_rules(0)?;
    core.wait_rules(0)?;
    Ok(())
}
