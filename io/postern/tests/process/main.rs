//! The real binary on a private host: what it serves, what it survives, how it ends, what it says when it cannot.

mod faults;
mod refusals;
mod serving;
mod subject;
mod tls;

use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    // Before any thread exists: root in a user namespace of its own, unless this process is root already.
    netns::become_root().expect("these tests need root or unprivileged user namespaces");
    let trials = [serving::TRIALS, faults::TRIALS, refusals::TRIALS, tls::TRIALS].concat();
    let trials = trials.into_iter().map(|(name, run)| Trial::test(name, run)).collect();
    libtest_mimic::run(&arguments, trials).exit();
}
