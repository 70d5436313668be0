//! Many seeds, on as many threads as asked for. Each run is alone in its thread and knows nothing of the others.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use sim::{Outcome, Tally};

use crate::wanted::Wanted;

/// What many runs came to.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) tally: Tally,
    /// The first and the last that were run; all between were.
    pub(crate) seeds: Option<(u64, u64)>,
    pub(crate) failed: u64,
}

impl Sum {
    fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.tally.add(&outcome.tally);
        let (first, last) = self.seeds.unwrap_or((seed, seed));
        self.seeds = Some((first.min(seed), last.max(seed)));
        self.failed += u64::from(!outcome.is_good());
    }
}

/// Runs the seeds one asked for; `report` sees each outcome, one at a time.
pub(crate) fn run(wanted: &Wanted, report: impl Fn(u64, &Outcome) + Sync) -> Sum {
    let begun = Instant::now();
    let (next, stopped) = (AtomicU64::new(0), AtomicBool::new(false));
    let sum = Mutex::new(Sum::default());
    let work = || {
        loop {
            let is_late = wanted.budget.is_some_and(|budget| begun.elapsed() >= budget);
            if is_late || stopped.load(Ordering::Relaxed) {
                return;
            }
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= wanted.seeds {
                return;
            }
            let seed = wanted.seed.wrapping_add(number);
            let outcome = crate::one(wanted, seed);
            // A thread that panicked has told its own story; the sum of the others is still worth having.
            let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            report(seed, &outcome);
            sum.add(seed, &outcome);
            if !outcome.is_good() && !wanted.go_on {
                stopped.store(true, Ordering::Relaxed);
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..wanted.threads {
            scope.spawn(work);
        }
    });
    sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)
}
