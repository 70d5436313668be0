//! Runs seeds until one fails: `cargo run -p postern-sim -- --seed N --seeds K --calls M`.
#![allow(clippy::print_stdout, reason = "a program for people at a terminal")]

use std::process::ExitCode;

use sim::{Choice, Plan, Tally};

const USAGE: &str = "usage: postern-sim [--seed N] [--seeds K] [--calls M] [--only 3,17] [--without kill-agent,links,all] [--log]

  --seed N     the first seed (1)
  --seeds K    how many seeds, one after the other (1)
  --calls M    calls in each run (40)
  --only       only these calls of the plan
  --without    none of these faults: kill-agent stop-agent kill-gate stop-gate break stall slow sick full revoke kick
               flush deny forge; `links` makes all links perfect, `all` leaves out every fault
  --log        print everything that happens
  --go-on      do not stop at the first seed that fails";

struct Wanted {
    seed: u64,
    seeds: u64,
    calls: u32,
    choice: Choice,
    log: bool,
    go_on: bool,
}

fn wanted() -> Option<Wanted> {
    let mut wanted =
        Wanted { seed: 1, seeds: 1, calls: 40, choice: Choice::default(), log: false, go_on: false };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--seed" => wanted.seed = arguments.next()?.parse().ok()?,
            "--seeds" => wanted.seeds = arguments.next()?.parse().ok()?,
            "--calls" => wanted.calls = arguments.next()?.parse().ok()?,
            "--only" => {
                let numbers = arguments.next()?;
                wanted.choice.only = numbers.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
            }
            "--without" => wanted.choice.without = arguments.next()?.split(',').map(str::to_owned).collect(),
            "--log" => wanted.log = true,
            "--go-on" => wanted.go_on = true,
            _ => return None,
        }
    }
    Some(wanted)
}

fn main() -> ExitCode {
    let Some(wanted) = wanted() else {
        println!("{USAGE}");
        return ExitCode::from(2);
    };
    let mut tally = Tally::default();
    let mut failed = 0;
    for seed in wanted.seed..wanted.seed.saturating_add(wanted.seeds) {
        let outcome = sim::run(Plan::new(seed, wanted.calls, &wanted.choice));
        tally.add(&outcome.tally);
        if wanted.log {
            outcome.log.of(None).for_each(|line| println!("{line}"));
        }
        if outcome.is_good() {
            continue;
        }
        failed += 1;
        if wanted.go_on {
            for violation in outcome.violations.iter().take(3) {
                println!("seed {seed} at {} call {:?}: {}", violation.at, violation.call, violation.what);
            }
        } else {
            println!("{outcome}");
            return ExitCode::FAILURE;
        }
    }
    println!("{tally}\n{failed} of {} seeds failed", wanted.seeds);
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
