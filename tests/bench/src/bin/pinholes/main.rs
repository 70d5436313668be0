//! What pinholes cost, through the real middlebox half on a real kernel, in network namespaces of this run:
//!
//! ```sh
//! cargo build --release -p postern -p postern-bench && target/release/pinholes [--tls] [round-trip] [rate] [fill] [restart] [close] [others]
//! ```
//!
//! Without a word: everything but `fill` and `restart`, which take a minute each. `--tls`: the round trip alone, over TLS with
//! certificates on both sides, and over TCP beside it. Needs root; `others` needs nft, and miniupnpd for PCP.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

mod client;
mod close;
mod fill;
mod others;
mod restart;
mod stage;

use std::error::Error;
use std::time::{Duration, Instant};

use client::{Client, Phones};
use stage::Stage;

type Outcome = Result<(), Box<dyn Error>>;
/// What can be measured, by name.
type Part = (&'static str, fn() -> Outcome);

fn main() -> Outcome {
    netns::become_root()?;
    let wanted: Vec<String> = std::env::args().skip(1).collect();
    if wanted.iter().any(|word| word == "--tls") {
        return over_the_network();
    }
    let all: [Part; 6] = [
        ("round-trip", round_trip),
        ("rate", rate),
        ("close", close::close),
        ("others", others::others),
        ("fill", fill::fill),
        ("restart", restart::restart),
    ];
    for (name, run) in all {
        let by_default = wanted.is_empty() && !["fill", "restart"].contains(&name);
        if by_default || wanted.iter().any(|word| word == name) {
            println!("== {name}");
            run()?;
        }
    }
    Ok(())
}

/// Sorted times as a line.
pub(crate) fn show(what: &str, times: &mut [Duration]) {
    times.sort_unstable();
    let at = |share: usize| {
        times.get(times.len() * share / 1000).or_else(|| times.last()).copied().unwrap_or_default()
    };
    let [p50, p90, p99] = [500, 900, 990].map(|share| at(share).as_secs_f64() * 1e6);
    println!("{what:<44} p50 {p50:>9.1} us  p90 {p90:>9.1} us  p99 {p99:>9.1} us  ({} times)", times.len());
}

/// One PER and its confirmation over the Unix socket, with so many on the way at a time.
fn round_trip() -> Outcome {
    let stage = Stage::new()?;
    round_trips(&stage, Client::unix)
}

/// The same over TLS, and over TCP for comparison.
fn over_the_network() -> Outcome {
    let stage = Stage::new()?;
    println!("== round-trip over TLS");
    round_trips(&stage, Client::tls)?;
    println!("== round-trip over TCP");
    round_trips(&stage, |stage| Client::tcp(stage, 0))
}

fn round_trips(stage: &Stage, connect: impl Fn(&Stage) -> std::io::Result<Client>) -> Outcome {
    for (window, count) in [(1, 20_000), (100, 100_000), (10_000, 200_000)] {
        let before = stage.batches()?;
        let mut client = connect(stage)?;
        let mut phones = Phones::new(0);
        let (rules, mut times) = client.enable(&mut phones, count, window)?;
        let after = stage.batches()?;
        show(&format!("PER, {window} in flight"), &mut times);
        println!(
            "{:<44} {:.1} operations a commit",
            "",
            (after.1 - before.1) as f64 / (after.0 - before.0).max(1) as f64
        );
        let mut times = client.end(&rules, window)?;
        show(&format!("PLC 0, {window} in flight"), &mut times);
    }
    Ok(())
}

/// Rules a second through SIMCO, by one agent and by two.
fn rate() -> Outcome {
    let stage = Stage::new()?;
    for agents in [1_u8, 2] {
        let count = 300_000 / usize::from(agents);
        let mut clients =
            (0..agents).map(|number| Client::tcp(&stage, number)).collect::<Result<Vec<_>, _>>()?;
        let before = stage.batches()?;
        let begin = Instant::now();
        let rules = std::thread::scope(|scope| {
            let one = |(number, client): (usize, &mut Client)| {
                let mut phones = Phones::new(u32::try_from(number).unwrap_or(0) << 22);
                Ok::<_, std::io::Error>(client.enable(&mut phones, count, 4000)?.0)
            };
            let threads: Vec<_> =
                clients.iter_mut().enumerate().map(|pair| scope.spawn(move || one(pair))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Result<Vec<_>, _>>()
        })?;
        let added = begin.elapsed();
        let after = stage.batches()?;
        let begin = Instant::now();
        std::thread::scope(|scope| {
            let pairs = clients.iter_mut().zip(&rules);
            let threads: Vec<_> =
                pairs.map(|(client, rules)| scope.spawn(|| client.end(rules, 4000))).collect();
            threads.into_iter().try_for_each(|thread| thread.join().expect("no panic").map(drop))
        })?;
        let closed = begin.elapsed();
        let total = (count * usize::from(agents)) as f64;
        println!(
            "{agents} agents over TCP: {:.0} rules/s opened, {:.0} rules/s closed, {:.0} operations a commit",
            total / added.as_secs_f64(),
            total / closed.as_secs_f64(),
            (after.1 - before.1) as f64 / (after.0 - before.0).max(1) as f64
        );
    }
    Ok(())
}
