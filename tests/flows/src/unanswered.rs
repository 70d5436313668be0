//! Requests that get no answer, on a kernel. In a flow the agent's session says at once what has become of one; there it
//! says so when it has found out. So the steps of such a flow are played in another order, and a flow test holds that they
//! come to the same for the phones:
//!
//! | in the flow | with a real session |
//! |---|---|
//! | `refuse lost` | the session ends with the request open, comes back, and lists its rules |
//! | `refuse no-session` | the session has ended before the request; afterwards it comes back |
//! | `refuse timeout` | 4 s pass; then the refusal comes, too late for anybody |

use std::time::Duration;

use crate::script::{Script, Step};
use crate::world::World;

/// How long the agent's session waits for a reply.
const REPLY_TIMEOUT: Duration = Duration::from_secs(4);

/// The steps with the number of their line, as a kernel plays them.
///
/// # Errors
/// What keeps the machine from playing the flow at all.
pub fn steps(script: &Script) -> Result<Vec<(usize, Step)>, String> {
    let steps: Vec<(usize, &Step)> =
        script.lines.iter().flat_map(|line| line.steps.iter().map(|step| (line.number, step))).collect();
    let mut played: Vec<Vec<(usize, Step)>> = Vec::new();
    let mut world = World::new(&script.settings)?;
    // Where the questions that are open were asked.
    let mut asked: Vec<usize> = Vec::new();
    for (at, (number, step)) in steps.iter().copied().enumerate() {
        let by_middlebox = |words: &str| (number, Step::Sent { who: 'M', words: words.to_owned() });
        let words = match step {
            Step::Sent { who: 'M', words } => words.split(' ').collect(),
            Step::Sent { .. } | Step::Received(_) | Step::Passes(_) | Step::Holds(_) => Vec::new(),
        };
        played.push(vec![(number, step.clone())]);
        let position =
            |text: Option<&&str>| text.and_then(|text| text.parse().ok()).map_or(0, |at: usize| at - 1);
        match words.as_slice() {
            ["ok", "all"] | ["down"] => asked.clear(),
            ["ok" | "refuse", rest @ ..] if !asked.is_empty() => {
                let place = position(rest.iter().find(|word| word.parse::<usize>().is_ok()));
                let asked_at = if place < asked.len() { asked.remove(place) } else { at };
                match words.as_slice() {
                    ["refuse", "lost", ..] => {
                        asked.clear();
                        played[at] = ["down", "up", "ok"].map(by_middlebox).into();
                    }
                    ["refuse", "no-session", ..] => {
                        played[asked_at].insert(0, by_middlebox("down"));
                        played[at] = ["up", "ok"].map(by_middlebox).into();
                    }
                    ["refuse", "timeout", ..] => {
                        let late = std::mem::take(&mut played[at]);
                        // The time that has passed since the question was asked, if any, comes to more than is needed.
                        let passed =
                            played[asked_at + 1..at].iter_mut().flatten().find_map(|(_, step)| match step {
                                Step::Passes(time) => Some(time),
                                Step::Sent { .. } | Step::Received(_) | Step::Holds(_) => None,
                            });
                        let rest = passed.map_or(Duration::ZERO, |passed| {
                            std::mem::replace(passed, REPLY_TIMEOUT).saturating_sub(REPLY_TIMEOUT)
                        });
                        let waits = if rest.is_zero() { REPLY_TIMEOUT } else { Duration::ZERO };
                        played[at].push((number, Step::Passes(waits)));
                        played[at].extend(late);
                        played[at].push((number, Step::Passes(rest)));
                    }
                    _ => {}
                }
            }
            _ => {}
        }
        world.apply(step)?;
        let outputs = world.take_outputs();
        asked.extend(outputs.iter().filter(|output| output.starts_with("M < ")).map(|_| at));
    }
    let as_written = steps.iter().map(|(number, step)| (*number, (*step).clone()));
    let played: Vec<(usize, Step)> = played.into_iter().flatten().collect();
    if as_written.clone().eq(played.iter().cloned()) {
        return Ok(played);
    }
    // A session that has come back lists its rules, so that other calls are remembered in the middle. What must be true at the end
    // the lab looks at in any case.
    Ok(played.into_iter().filter(|(_, step)| !matches!(step, Step::Holds(_))).collect())
}

/// What the phones are told when these steps are played against the machine alone.
///
/// # Errors
/// The step that cannot be played.
pub fn told(script: &Script, steps: &[(usize, Step)]) -> Result<Vec<String>, String> {
    let mut world = World::new(&script.settings)?;
    let mut all = Vec::new();
    for (number, step) in steps {
        world.apply(step).map_err(|error| format!("line {number}: {error}"))?;
        all.extend(world.take_outputs().into_iter().filter(|output| !output.starts_with("M < ")));
    }
    Ok(all)
}
