//! The contract and the kernel's own promises, on a real kernel, in network namespaces of our own.

mod firewall;
mod network;

use engine_contract::CASES;
use firewall::Kernel;
use libtest_mimic::{Arguments, Failed, Trial};
use nftables::Features;

fn main() {
    let mut arguments = Arguments::from_args();
    // One at a time: they are about packets per processor, and the output says what was done in order.
    arguments.test_threads = Some(1);
    // Before any thread exists: this process becomes root in a user namespace of its own where it is not root already.
    netns::become_root().expect("these tests need root or unprivileged user namespaces");
    let mut trials = contract("", Features::ALL);
    trials.extend(contract(" (old kernel)", Features { extend: false, destroy: false, owner: false }));
    libtest_mimic::run(&arguments, trials).exit();
}

/// Every case of the contract, each with a network of its own.
fn contract(suffix: &str, limit: Features) -> Vec<Trial> {
    let trial = |case: &'static engine_contract::Case| {
        Trial::test(format!("{}{suffix}", case.name), move || -> Result<(), Failed> {
            case.run(&mut Kernel::new(limit)?);
            Ok(())
        })
    };
    CASES.iter().map(trial).collect()
}
