//! Runs seeds until one fails: `cargo run -p postern-sim -- --seed N --seeds K --calls M`.
#![allow(clippy::print_stdout, reason = "a program for people at a terminal")]

mod many;
mod wanted;

use std::panic::catch_unwind;
use std::process::ExitCode;

use sim::{Occasions, Outcome, Plan, Tally};

use many::{Part, Sum};
use wanted::{USAGE, Wanted};

fn main() -> ExitCode {
    let Some(wanted) = Wanted::read(std::env::args().skip(1)) else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    let sum = many::run(&wanted, |seed| one(&wanted, seed), |report| print!("{report}"));
    let Sum { tally, occasions, seeds, failed } = &sum;
    println!("{tally}\nwhat of docs/calls.md came about, and how often:\n{occasions}");
    match seeds {
        Some((first, last)) => println!("seeds {first} to {last}: {failed} failed"),
        None => println!("no seed was run"),
    }
    if *failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// One seed, and what is worth saying about it. One that panics has failed; the others go on.
fn one(wanted: &Wanted, seed: u64) -> Part {
    let plan = || Plan::new(seed, wanted.calls, &wanted.choice);
    let judged = catch_unwind(|| if wanted.log { sim::run(plan()) } else { sim::judge(plan()) });
    let Ok(outcome) = judged else {
        let (tally, occasions) = (Tally::default(), Occasions::default());
        return Part { tally, occasions, is_good: false, report: format!("seed {seed} panics\n") };
    };
    let is_good = outcome.is_good();
    let is_told = !is_good && !wanted.go_on && !wanted.log;
    let outcome = if is_told { sim::run(plan()) } else { outcome };
    let report = report(wanted, seed, &outcome);
    Part { tally: outcome.tally, occasions: outcome.occasions, is_good, report }
}

fn report(wanted: &Wanted, seed: u64, outcome: &Outcome) -> String {
    let lines = outcome.log.of(None).filter(|_| wanted.log).map(|line| format!("{line}\n"));
    let mut text: String = lines.collect();
    if outcome.is_good() {
        return text;
    }
    if !wanted.go_on {
        return text + &format!("{outcome}\n");
    }
    for violation in outcome.violations.iter().take(3) {
        text += &format!("seed {seed} at {} call {:?}: {}\n", violation.at, violation.call, violation.what);
    }
    text
}
