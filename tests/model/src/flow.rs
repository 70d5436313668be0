//! A way through the model as a flow: to be read, and to be kept as a test.

use crate::scenario::Scenario;
use crate::world::{Move, Trace, World};

/// The way as a flow file, with what leaves the B2BUA.
///
/// # Errors
/// The way cannot be walked, or not be played as a flow; with what can be said of it.
pub fn print(scenario: &Scenario, path: &[Move], comment: &str) -> Result<String, String> {
    let mut world = World::new(scenario)?;
    let mut trace = Trace::default();
    let mut text = format!("# {comment}\n");
    for (name, value) in &scenario.settings {
        text += &format!("{name} = {value}\n");
    }
    for step in path {
        if let Err(why) = world.apply(scenario, *step, &mut trace) {
            trace.lines.push(format!("# {why}"));
            break;
        }
    }
    let lines = joined(&trace.lines);
    text += &lines.join("\n");
    text.push('\n');
    flows::rewrite(&text).map_err(|error| format!("{error}\n{text}"))
}

/// Times that follow one another are one; what phones of flows need not be told is left out.
fn joined(lines: &[String]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let time = |line: &str| line.strip_prefix('+')?.strip_suffix("ms")?.parse::<u64>().ok();
    for line in lines {
        match (out.last().and_then(|last| time(last)), time(line)) {
            (Some(before), Some(more)) => {
                out.pop();
                out.push(format!("+{}ms", before + more));
            }
            _ => out.push(line.clone()),
        }
    }
    out
}
