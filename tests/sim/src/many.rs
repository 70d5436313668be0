//! Many seeds, on as many threads as asked for. Each run is alone in its thread and knows nothing of the others; what
//! they came to is said in the order of the seeds, so that it does not depend on the number of threads.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use sim::{Occasions, Tally};

use crate::wanted::Wanted;

/// What many runs came to.
#[derive(Debug, Default)]
pub(crate) struct Sum {
    pub(crate) tally: Tally,
    pub(crate) occasions: Occasions,
    /// The first and the last that were run; all between were.
    pub(crate) seeds: Option<(u64, u64)>,
    pub(crate) failed: u64,
}

/// What one run came to.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) tally: Tally,
    pub(crate) occasions: Occasions,
    pub(crate) is_good: bool,
    /// What is worth saying about it.
    pub(crate) report: String,
}

/// Results that wait for those of earlier seeds.
#[derive(Debug, Default)]
struct Line {
    next: u64,
    waiting: BTreeMap<u64, Part>,
    sum: Sum,
}

impl Line {
    /// Takes a result, and says what can be said now. Behind the first failure nothing counts, unless one goes on.
    fn take(&mut self, wanted: &Wanted, number: u64, part: Part, say: &impl Fn(&str)) {
        self.waiting.insert(number, part);
        while let Some(part) = self.waiting.remove(&self.next) {
            if self.sum.failed > 0 && !wanted.go_on {
                return;
            }
            let seed = wanted.seed.wrapping_add(self.next);
            let first = self.sum.seeds.map_or(seed, |(first, _)| first);
            self.sum.seeds = Some((first, seed));
            self.sum.tally.add(&part.tally);
            self.sum.occasions.add(&part.occasions);
            self.sum.failed += u64::from(!part.is_good);
            say(&part.report);
            self.next += 1;
        }
    }
}

/// Runs the seeds one asked for; `one` runs a seed, `say` is told what it came to, seed after seed.
pub(crate) fn run(wanted: &Wanted, one: impl Fn(u64) -> Part + Sync, say: impl Fn(&str) + Sync) -> Sum {
    let begun = Instant::now();
    let (next, stopped) = (AtomicU64::new(0), AtomicBool::new(false));
    let line = Mutex::new(Line::default());
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
            let part = one(wanted.seed.wrapping_add(number));
            if !part.is_good && !wanted.go_on {
                stopped.store(true, Ordering::Relaxed);
            }
            // A thread that panicked has told its own story; the sum of the others is still worth having.
            let mut line = line.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            line.take(wanted, number, part, &say);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..wanted.threads {
            scope.spawn(work);
        }
    });
    line.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner).sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(threads: &str, go_on: bool) -> (String, Option<(u64, u64)>, u64) {
        let arguments = ["--seed", "5", "--seeds", "40", "--threads", threads];
        let mut wanted =
            Wanted::read(arguments.map(str::to_owned).into_iter()).expect("the arguments are right");
        wanted.go_on = go_on;
        let one = |seed: u64| Part {
            tally: Tally { runs: 1, ..Tally::default() },
            occasions: Occasions::default(),
            is_good: !seed.is_multiple_of(10),
            report: format!("{seed} "),
        };
        let all = Mutex::new(String::new());
        let sum = run(&wanted, one, |text| all.lock().expect("nobody panics").push_str(text));
        (all.into_inner().expect("nobody panics"), sum.seeds, sum.failed)
    }

    #[test]
    fn what_is_said_does_not_depend_on_the_number_of_threads() {
        for go_on in [false, true] {
            let alone = said("1", go_on);
            for threads in ["2", "3", "8"] {
                assert_eq!(said(threads, go_on), alone);
            }
        }
        assert_eq!(said("4", false), ("5 6 7 8 9 10 ".to_owned(), Some((5, 10)), 1));
    }
}
