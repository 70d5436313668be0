//! Flows: text files that say who sends what and what leaves, played against the real B2BUA machine.
//!
//! ```text
//! # RFC 3261 §15: a comment
//! call = inside                     # a setting, before the first step
//! A > INVITE c=10.0.40.7 m=audio 20000     A sends; `<`: A receives, exactly this, in exactly this order
//! M < PER udp 10.0.40.7:20000-20001 <- 0.0.0.0/0:*
//! M > ok                            the middlebox answers its oldest open request
//! +2s                               time passes
//! R > kick 1                        the runtime says or (`<`) is told something
//! = calls 0                         what must be true now
//! ```
//!
//! Several steps may share a line, separated by two or more spaces. What phones send and how it is written is in
//! [`phone`], settings are in `settings.rs`, how outputs are written in [`render`]. `UPDATE_FLOWS=1` rewrites what is
//! received and leaves the rest of the file as it is. A flow at whose end no call is left must come to rest: a timer that is
//! still running ten minutes later has been forgotten, and fails it.

mod admission;
pub mod figures;
mod firewall;
pub mod index;
pub mod kernel;
pub mod phone;
pub mod proof;
pub mod render;
mod script;
pub mod settings;
pub mod unanswered;
pub mod world;

use std::fmt::Write;

pub use firewall::failure;
pub use script::{Line, Script, Step};
use world::World;

/// Plays a flow twice.
///
/// # Errors
/// The first step at which what left is not what stands there, with both; or a difference between the two runs.
pub fn play(text: &str) -> Result<(), String> {
    let script = Script::parse(text)?;
    let first = run(&script, &mut |line, expected, actual| match expected == actual {
        true => Ok(()),
        false => Err(difference(line, expected, actual)),
    })?;
    let second = run(&script, &mut |_, _, _| Ok(()))?;
    if first == second { Ok(()) } else { Err("two runs of the same flow differ".into()) }
}

/// The flow with what is received as it really is.
///
/// # Errors
/// The flow cannot be played at all.
pub fn rewrite(text: &str) -> Result<String, String> {
    let script = Script::parse(text)?;
    let mut received: Vec<(usize, Vec<String>)> = Vec::new();
    run(&script, &mut |line, _, actual| {
        received.push((line, actual.to_vec()));
        Ok(())
    })?;
    Ok(script.rewritten(&received))
}

/// Called before each input with the line of that input, what should have left since the last, and what has.
type Compare<'c> = dyn FnMut(usize, &[String], &[String]) -> Result<(), String> + 'c;

fn run(script: &Script, compare: &mut Compare<'_>) -> Result<Vec<String>, String> {
    let mut world = World::new(&script.settings)?;
    let (mut all, mut expected) = (Vec::new(), Vec::new());
    for Line { number, steps } in &script.lines {
        for step in steps {
            if let Step::Received(text) = step {
                expected.push(text.clone());
                continue;
            }
            let actual = world.take_outputs();
            compare(*number, &expected, &actual).map_err(|error| format!("line {number}: {error}"))?;
            all.extend(actual);
            expected.clear();
            world.apply(step).map_err(|error| format!("line {number}: {error}"))?;
        }
    }
    let actual = world.take_outputs();
    let end = script.lines.last().map_or(1, |line| line.number + 1);
    compare(end, &expected, &actual).map_err(|error| format!("at the end: {error}"))?;
    all.extend(actual);
    world.come_to_rest()?;
    Ok(all)
}

fn difference(line: usize, expected: &[String], actual: &[String]) -> String {
    let mut text = format!("what left before line {line} is not what stands there\n");
    for position in 0..expected.len().max(actual.len()) {
        let (wanted, got) = (expected.get(position), actual.get(position));
        let none = &String::from("(nothing)");
        let mark = if wanted == got { ' ' } else { '!' };
        // Writing into a String cannot fail.
        let _written = writeln!(text, "{mark} wanted  {}", wanted.unwrap_or(none));
        if wanted != got {
            let _written = writeln!(text, "{mark} got     {}", got.unwrap_or(none));
        }
    }
    text
}
