//! What the command line asks for.

use std::time::Duration;

use sim::Choice;

pub(crate) const USAGE: &str = "usage: postern-sim [--seed N] [--seeds K] [--budget SECONDS] [--calls M] [--threads T]
                   [--only 3,17] [--without kill-agent,links,all] [--log] [--go-on]

  --seed N     the first seed (1)
  --seeds K    how many seeds (1; with a budget as many as it allows)
  --budget S   no seed begins later than S seconds of wall clock
  --calls M    calls in each run (40)
  --threads T  so many seeds at the same time (1); a seed's run does not depend on it
  --only       only these calls of the plan
  --without    none of these faults: kill-agent stop-agent kill-gate stop-gate break stall slow sick full revoke kick
               flush deny forge; `links` makes all links perfect, `all` leaves out every fault
  --log        print everything that happens
  --go-on      do not stop at the first seed that fails";

/// What is to be run.
pub(crate) struct Wanted {
    pub(crate) seed: u64,
    pub(crate) seeds: u64,
    pub(crate) budget: Option<Duration>,
    pub(crate) calls: u32,
    pub(crate) threads: usize,
    pub(crate) choice: Choice,
    pub(crate) log: bool,
    pub(crate) go_on: bool,
}

impl Wanted {
    /// `None` if the arguments make no sense.
    pub(crate) fn read(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut wanted = Self {
            seed: 1,
            seeds: 0,
            budget: None,
            calls: 40,
            threads: 1,
            choice: Choice::default(),
            log: false,
            go_on: false,
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--seed" => wanted.seed = arguments.next()?.parse().ok()?,
                "--seeds" => wanted.seeds = arguments.next()?.parse().ok()?,
                "--budget" => {
                    wanted.budget = Some(Duration::from_secs(arguments.next()?.parse().ok()?));
                }
                "--calls" => wanted.calls = arguments.next()?.parse().ok()?,
                "--threads" => wanted.threads = arguments.next()?.parse().ok().filter(|count| *count > 0)?,
                "--only" => {
                    let numbers = arguments.next()?;
                    wanted.choice.only = numbers.split(',').map(str::parse).collect::<Result<_, _>>().ok()?;
                }
                "--without" => {
                    wanted.choice.without = arguments.next()?.split(',').map(str::to_owned).collect();
                }
                "--log" => wanted.log = true,
                "--go-on" => wanted.go_on = true,
                _ => return None,
            }
        }
        if wanted.seeds == 0 {
            wanted.seeds = if wanted.budget.is_some() { u64::MAX } else { 1 };
        }
        Some(wanted)
    }
}
