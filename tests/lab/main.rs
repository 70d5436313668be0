//! Real phones, a real firewall: the `postern` binary between SIPp and baresip, in network namespaces of this test.
//!
//! Needs root or unprivileged user namespaces, and the packages that README names.

mod agents;
mod baresip;
mod bridge;
mod browser;
mod callee;
mod clock;
mod conditions;
mod crashes;
mod datagrams;
mod demo;
mod deny;
mod dismissed;
mod door;
mod faults;
mod flows;
mod gatekeeper;
mod hairpin;
mod hostile_host;
mod hostile_sdp;
mod hostile_simco;
mod hostile_sip;
mod journal;
mod line;
mod linphone;
mod local;
mod meddlers;
mod media;
mod nat;
mod natted;
mod neighbours;
mod observer;
mod pair;
mod phone;
mod phones;
mod play;
mod policy;
mod protection;
mod raw;
mod real;
mod registrations;
mod row;
mod script;
mod scripted;
mod seat;
mod secure;
mod servers;
mod sessions;
mod simco_peer;
mod simco_subject;
mod sip_tls;
mod sipp;
mod sites;
mod slow_tls;
mod soak;
mod stage;
mod strangers;
mod streams;
mod talks;
mod tls;
mod transfers;
mod trunks;
mod two_firewalls;
mod vrrp;
mod web;
mod witness;
mod world;

use libtest_mimic::{Arguments, Trial};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};

fn main() {
    let mut arguments = Arguments::from_args();
    if arguments.test_threads.is_none() {
        // Most of a trial is waiting for others, and one waits for more than a minute.
        arguments.test_threads = std::thread::available_parallelism().ok().map(|cores| cores.get() + 1);
    }
    // Before any thread exists: root in a user namespace of its own, unless this process is root already.
    netns::become_root().expect("the lab needs root or unprivileged user namespaces");
    own_mounts().expect("the lab needs a mount namespace");
    let mut trials = Vec::new();
    // The longest first: it only waits.
    trials.extend(sessions::trials());
    trials.extend(simco_peer::trials());
    trials.extend(sipp::trials());
    trials.extend(servers::trials());
    trials.extend(flows::trials());
    trials.extend(streams::trials());
    trials.extend(conditions::trials());
    trials.extend(transfers::trials());
    trials.extend(registrations::trials());
    trials.extend(trunks::trials());
    trials.extend(sites::trials());
    trials.extend(phones::trials());
    trials.extend(talks::trials());
    trials.extend(scripted::trials());
    trials.extend(faults::trials());
    trials.extend(deny::trials());
    trials.extend(policy::trials());
    trials.extend(journal::trials());
    trials.extend(hostile_sip::trials());
    trials.extend(hostile_sdp::trials());
    trials.extend(protection::trials());
    trials.extend(strangers::trials());
    trials.extend(hostile_simco::trials());
    trials.extend(agents::trials());
    trials.extend(two_firewalls::trials());
    trials.extend(pair::trials());
    trials.extend(vrrp::trials());
    trials.extend(tls::trials());
    trials.extend(dismissed::trials());
    trials.extend(sip_tls::trials());
    trials.extend(slow_tls::trials());
    trials.extend(datagrams::trials());
    trials.extend(web::trials());
    trials.extend(browser::trials());
    trials.extend(meddlers::trials());
    trials.extend(neighbours::trials());
    trials.extend(crashes::trials());
    trials.extend(local::trials());
    trials.extend(bridge::trials());
    trials.extend(nat::trials());
    trials.extend(hairpin::trials());
    trials.extend(hostile_host::trials());
    trials.extend(demo::trials());
    let mut trials: Vec<Trial> = trials.into_iter().map(|(name, run)| Trial::test(name, run)).collect();
    // For somebody to start by hand: it takes as long as it is told.
    trials.push(Trial::test("soak::mixed_traffic_with_faults", soak::soak).with_ignored_flag(true));
    libtest_mimic::run(&arguments, trials).exit();
}

/// What a trial mounts is seen by the lab and its programs only, and is gone with them.
fn own_mounts() -> Result<(), nix::errno::Errno> {
    unshare(CloneFlags::CLONE_NEWNS)?;
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_PRIVATE | MsFlags::MS_REC, None::<&str>)
}
