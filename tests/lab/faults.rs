//! What must hold when processes die and strangers meddle, with a real call running.

use std::io;
use std::time::Duration;

use crate::phones::{CONVERSATION, Conversation, rtp};
use crate::world::{CONFIG, Named, Outcome, Postern, World, signal};

pub(crate) fn trials() -> Vec<Named> {
    vec![
        ("faults::media_goes_on_while_the_middlebox_is_killed_and_back", middlebox_killed),
        ("faults::a_restarted_agent_closes_what_it_does_not_know", agent_killed),
        ("faults::rules_end_by_lifetime_when_everything_of_ours_is_dead", everything_killed),
        ("faults::a_foreign_flush_leaves_our_table_and_the_call", foreign_flush),
        ("faults::sigterm_says_goodbye_to_both_phones", sigterm),
        ("faults::a_kicked_call_ends_on_both_phones", kicked),
        ("faults::a_revoked_pinhole_ends_the_call", revoked),
    ]
}

/// Waits until both phones have heard another second of sound from now on.
fn more_sound(world: &World, postern: &Postern<'_>) -> io::Result<()> {
    let (outside, inside) = (rtp(world, &world.outside)?.1, rtp(world, &world.inside)?.1);
    postern.wait_for("both phones have heard another second of sound", || {
        Ok(rtp(world, &world.outside)?.1 >= outside + CONVERSATION
            && rtp(world, &world.inside)?.1 >= inside + CONVERSATION)
    })
}

/// Waits until neither phone hears anything: two looks, half a second of sound apart, show the same counts.
fn silence(world: &World, postern: &Postern<'_>) -> io::Result<()> {
    let mut last = None;
    postern.wait_for("neither phone hears the other any more", || {
        let heard = (rtp(world, &world.outside)?.1, rtp(world, &world.inside)?.1);
        std::thread::sleep(Duration::from_millis(500));
        Ok(last.replace(heard) == Some(heard))
    })
}

fn middlebox_killed() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let mut call = Conversation::start(&world, &postern)?;
    let before = postern.pinholes()?;
    signal(postern.half("middlebox")?, "KILL")?;
    more_sound(&world, &postern)?;
    postern.wait_for("the middlebox is back and has its rules again", || {
        Ok(postern.is_up()? && postern.pinholes()? == before)
    })?;
    more_sound(&world, &postern)?;
    call.hang_up()?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    Ok(())
}

fn agent_killed() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let _call = Conversation::start(&world, &postern)?;
    signal(postern.half("agent")?, "KILL")?;
    postern.wait_for("the new agent has closed the rules of the call it does not know", || {
        Ok(postern.is_up()? && postern.pinholes()? == (0, 0))
    })?;
    // Both phones still talk, and nothing passes.
    silence(&world, &postern)?;
    Ok(())
}

fn everything_killed() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(&format!("{CONFIG}\n[timers]\nrule-lifetime = \"10s\"\n"))?;
    let _call = Conversation::start(&world, &postern)?;
    let all = [postern.child.id(), postern.half("agent")?, postern.half("middlebox")?];
    // Frozen first: a half that sees its parent die would say goodbye to the phones before its own turn comes.
    for (name, process) in ["STOP", "KILL"].iter().flat_map(|name| all.map(|process| (name, process))) {
        signal(process, name)?;
    }
    more_sound(&world, &postern)?;
    silence(&world, &postern)?;
    Ok(())
}

fn foreign_flush() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let mut call = Conversation::start(&world, &postern)?;
    // The administrator reloads their firewall the usual way: flush everything, then the same rules again.
    world.nft(&format!("flush ruleset\n{}", crate::world::FIREWALL))?;
    more_sound(&world, &postern)?;
    call.hang_up()?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    Ok(())
}

fn sigterm() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let mut call = Conversation::start(&world, &postern)?;
    let (took, status) = postern.terminate()?;
    assert_eq!(status, Some(0), "exit status of postern run");
    assert!(took < Duration::from_secs(5), "SIGTERM took {took:?}");
    call.both_end()?;
    Ok(())
}

fn kicked() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let mut call = Conversation::start(&world, &postern)?;
    let calls = postern.json(&["calls"])?;
    postern.text(&["kick", &calls["calls"][0]["id"].to_string()])?;
    call.both_end()?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    Ok(())
}

fn revoked() -> Outcome {
    let world = World::new()?;
    let postern = world.postern(CONFIG)?;
    let mut call = Conversation::start(&world, &postern)?;
    let pinholes = postern.json(&["pinholes"])?;
    postern.text(&["revoke", &pinholes["rules"][0]["pid"].to_string()])?;
    call.both_end()?;
    postern.wait_for("no pinhole is left", || Ok(postern.pinholes()? == (0, 0)))?;
    Ok(())
}
