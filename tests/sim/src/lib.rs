//! A world in one thread: phones, lossy links, both halves of Postern, engines, faults, and an observer who knows what
//! may pass. Everything comes from one seed: the same seed gives the same run, to the last bit. `docs/simulation.md`.

mod agent;
mod books;
mod carry;
mod directory;
mod elsewhere;
mod facts;
mod far;
mod faults;
mod finals;
mod gate;
mod ghosts;
mod halves;
mod ladder;
mod log;
mod manners;
mod mishaps;
mod model;
mod observe;
mod occasions;
mod outside;
mod phones;
mod plan;
mod queue;
mod quirks;
mod referral;
mod sabotage;
mod sessions;
mod silence;
mod switch;
mod tally;
mod told;
mod transfers;
mod translated;
mod wire;
mod world;

use std::fmt;

pub use log::{Lane, Line, Log, Way};
pub use mishaps::Fault;
pub use occasions::{NAMES, Occasions};
pub use plan::{Choice, End, House, Link, Offer, Party, Plan, Script, place};
pub use sabotage::Sabotage;
pub use tally::Tally;
pub use transfers::{Third, Transfer};
pub use world::Violation;

/// How a run ended.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was run.
    pub plan: Plan,
    /// What happened.
    pub log: Log,
    /// What should not have.
    pub violations: Vec<Violation>,
    /// What was seen.
    pub tally: Tally,
    /// What came about.
    pub occasions: Occasions,
}

/// Runs a plan to its end.
#[must_use]
pub fn run(plan: Plan) -> Outcome {
    carry_out(plan, true)
}

/// Runs a plan to its end and writes nothing down, which takes half of the time: the same run with an empty log.
#[must_use]
pub fn judge(plan: Plan) -> Outcome {
    carry_out(plan, false)
}

fn carry_out(plan: Plan, is_logged: bool) -> Outcome {
    let mut world = world::World::new(plan, is_logged);
    world.run();
    world.finish()
}

impl Outcome {
    /// True if every promise was kept.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.violations.is_empty()
    }
}

/// Everything one needs to find the cause: the plan, the script and the ladder of the first call concerned, what is
/// wrong, and how to run it again.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.plan)?;
        let call = self.violations.first().and_then(|violation| violation.call);
        if let Some(script) = self.plan.calls.iter().find(|script| Some(script.number) == call) {
            writeln!(f, "{script:?}")?;
        }
        write!(f, "{}", ladder::Ladder { log: &self.log, call })?;
        for violation in &self.violations {
            writeln!(f, "at {} in call {:?}: {}", violation.at, violation.call, violation.what)?;
        }
        let (seed, calls) =
            (self.plan.seed, self.plan.calls.iter().map(|script| script.number % transfers::REFERRED).max());
        let calls = calls.unwrap_or(0);
        writeln!(f, "again: cargo run -p postern-sim -- --seed {seed} --calls {calls}")?;
        write!(f, "smaller: add --only with the call's number, --without with kinds of faults")
    }
}
