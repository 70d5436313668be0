//! Runs seeds until one fails: `cargo run -p postern-sim -- --seed N --seeds K --calls M`.
#![allow(clippy::print_stdout, reason = "a program for people at a terminal")]

mod many;
mod wanted;

use std::process::ExitCode;

use sim::{Outcome, Plan};

use many::Sum;
use wanted::{USAGE, Wanted};

fn main() -> ExitCode {
    let Some(wanted) = Wanted::read(std::env::args().skip(1)) else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    let sum = many::run(&wanted, |seed, outcome| report(&wanted, seed, outcome));
    let Sum { tally, seeds, failed } = &sum;
    println!("{tally}");
    match seeds {
        Some((first, last)) => println!("seeds {first} to {last}: {failed} failed"),
        None => println!("no seed was run"),
    }
    if *failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Says what one run was like, as far as it is worth saying.
fn report(wanted: &Wanted, seed: u64, outcome: &Outcome) {
    if wanted.log {
        outcome.log.of(None).for_each(|line| println!("{line}"));
    }
    if outcome.is_good() {
        return;
    }
    if !wanted.go_on {
        return println!("{outcome}");
    }
    for violation in outcome.violations.iter().take(3) {
        println!("seed {seed} at {} call {:?}: {}", violation.at, violation.call, violation.what);
    }
}

/// One seed.
fn one(wanted: &Wanted, seed: u64) -> Outcome {
    sim::run(Plan::new(seed, wanted.calls, &wanted.choice))
}
