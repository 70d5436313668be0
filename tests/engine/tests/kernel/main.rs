//! The contract and the kernel's own promises, on a real kernel, in network namespaces of our own.

mod around;
mod beside;
mod cap;
mod errors;
mod firewall;
mod held;
mod local;
mod media;
mod nat;
mod network;
mod promises;

use engine_contract::{CASES, HELD_CASES, NAT_CASES, unmanaged};
use firewall::Kernel;
use libtest_mimic::{Arguments, Failed, Trial};
use nftables::{Features, GateConfig};

fn main() {
    let mut arguments = Arguments::from_args();
    // One at a time: they are about packets per processor, and the output says what was done in order.
    arguments.test_threads = Some(1);
    // Before any thread exists: this process becomes root in a user namespace of its own where it is not root already.
    netns::become_root().expect("these tests need root or unprivileged user namespaces");
    let mut trials = contract("", Features::ALL);
    trials.extend(contract(" (old kernel)", Features { extend: false, destroy: false, owner: false }));
    trials.extend(nat::promises());
    trials.extend(promises());
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
    let translated = |case: &'static engine_contract::Case| {
        Trial::test(format!("{}{suffix}", case.name), move || -> Result<(), Failed> {
            case.run(&mut Kernel::with(nat::config(), limit)?);
            Ok(())
        })
    };
    let held = |case: &'static engine_contract::Case| {
        Trial::test(format!("{}{suffix}", case.name), move || -> Result<(), Failed> {
            case.run(&mut Kernel::with(GateConfig::new(unmanaged()), limit)?);
            Ok(())
        })
    };
    let all = CASES.iter().map(trial).chain(NAT_CASES.iter().map(translated));
    all.chain(HELD_CASES.iter().map(held)).collect()
}

fn promises() -> Vec<Trial> {
    vec![
        Trial::test("a call under way is opened whole and closed at once", promises::close_a_call),
        Trial::test("fragments of large datagrams pass through an entry", promises::fragments),
        Trial::test("marks of other software open nothing", promises::foreign_marks),
        Trial::test("a flush of everything leaves an owned table", promises::flush_with_owner),
        Trial::test("a flush of an unprotected table is repaired", promises::flush_without_owner),
        Trial::test("one entry of many that is gone is found", promises::many_entries),
        Trial::test("lost events are drift", promises::lost_events),
        Trial::test("a middlebox that dies is succeeded", promises::adoption),
        Trial::test("a middlebox that dies again and again costs no packet", beside::restarts),
        Trial::test("what is written beside takes the place of what was there", beside::beside),
        Trial::test("a full set refuses one and harms no other", promises::full_set),
        Trial::test("what observes changes nothing and counts", promises::observes),
        Trial::test("a phone behind a bridge", promises::behind_a_bridge),
        Trial::test("phones on the firewall itself", local::local_media),
        Trial::test("a call under way where nothing is managed is closed at once", held::close_a_call),
        Trial::test("what is held is held by the next middlebox too", held::adoption),
        Trial::test("a flood through one entry is cut down to its cap", cap::flood),
        Trial::test("a changed cap counts for what is open", cap::changed),
        Trial::test("what passes gets the DSCP that is wanted", promises::dscp),
        Trial::test("a closed port is told to who sends through an entry", errors::closed_port),
        Trial::test("errors about a packet of an entry reach its sender, and no others", errors::no_others),
        Trial::test("one middlebox per network namespace", promises::one_per_namespace),
        Trial::test("removing leaves nothing", promises::removal),
        Trial::test("nft makes the same table from our text", promises::text_is_truth),
        Trial::test("a sender's interface counts as configured", promises::reverse_path),
        Trial::test("the line is found where it is and missed where it is not", around::finds_the_line),
        Trial::test(
            "what stands before the line, and a line where it does nothing, is found",
            around::judges_the_line,
        ),
        Trial::test("the text is in the words of whoever keeps the rules", around::names_the_keeper),
        Trial::test("who else uses our mark is found", around::finds_mark_users),
        Trial::test("what bypasses the rules is noted", around::finds_other_things),
        Trial::test("a packet proves the line, or its absence", around::proves_the_line),
        Trial::test("no privilege is needed in a user namespace", promises::without_root),
    ]
}
