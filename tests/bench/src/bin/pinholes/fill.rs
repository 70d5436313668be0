//! From nothing to a million: what one more costs, and what the memory does.

use std::time::Instant;

use midcom::Prid;

use crate::Outcome;
use crate::client::{Client, Phones};
use crate::stage::Stage;

const HELD: [usize; 5] = [0, 10_000, 100_000, 500_000, 1_000_000];
/// Opened and closed beside what is held, so many at a time and so often; the middle one counts.
const SAMPLE: usize = 10_000;
const SAMPLES: usize = 9;
const WINDOW: usize = 2000;

/// Opens up to a million rules and says what opening and closing costs on the way. `old` is closing rules that have been
/// there since long before, scattered over all that are held.
pub(crate) fn fill() -> Outcome {
    let stage = Stage::new()?;
    let mut client = Client::unix(&stage)?;
    let (mut phones, mut extra) = (Phones::new(0), Phones::new(1 << 24));
    let (mut held, idle) = (Vec::new(), stage.memory_kb()?);
    println!(
        "{:>9} {:>10} {:>10} {:>10} {:>14} {:>14}",
        "held", "open, us", "close, us", "old, us", "middlebox, MB", "kernel, MB"
    );
    for wanted in HELD {
        let (rules, _) = client.enable(&mut phones, wanted - held.len(), WINDOW)?;
        held.extend(rules);
        let now = stage.memory_kb()?;
        let [mut open, mut close, mut old] = [const { Vec::new() }; 3];
        for _ in 0..SAMPLES {
            let begin = Instant::now();
            let (rules, _) = client.enable(&mut extra, SAMPLE, WINDOW)?;
            open.push(begin.elapsed());
            let begin = Instant::now();
            client.end(&rules, WINDOW)?;
            close.push(begin.elapsed());
            let scattered = scattered(&mut held);
            let begin = Instant::now();
            client.end(&scattered, WINDOW)?;
            old.push(begin.elapsed());
            held.extend(client.enable(&mut phones, scattered.len(), WINDOW)?.0);
        }
        let middle = [open, close, old].map(|mut times| {
            times.sort_unstable();
            times[SAMPLES / 2].as_secs_f64() * 1e6 / SAMPLE as f64
        });
        let grown = |now: u64, idle: u64| now.saturating_sub(idle) as f64 / 1024.0;
        println!(
            "{wanted:>9} {:>10.2} {:>10.2} {:>10.2} {:>14.1} {:>14.1}",
            middle[0],
            middle[1],
            middle[2],
            grown(now.0, idle.0),
            grown(now.1, idle.1)
        );
    }
    Ok(())
}

/// Takes a sample out of what is held, from everywhere in it.
fn scattered(held: &mut Vec<Prid>) -> Vec<Prid> {
    let step = (held.len() / SAMPLE).max(1);
    let count = SAMPLE.min(held.len());
    // An odd stride visits places far from one another, as calls end.
    let mut taken = Vec::with_capacity(count);
    for turn in 0..count {
        let place = (turn.wrapping_mul(7_919) * step) % held.len();
        taken.push(held.swap_remove(place));
    }
    taken
}
