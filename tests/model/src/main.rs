#![allow(clippy::print_stdout, reason = "it is a command")]
//! The long explorations, by hand: see `docs/model.md`.

use std::process::ExitCode;

use model::explore::{Report, explore};
use model::flow;
use model::order::Order;
use model::scenario::{Scenario, Upset};

const USAGE: &str = "postern-model [losses=N] [copies=N] [upsets=N] [kinds=cancel,die,…] [each] [depth=N] [states=N] \
                     [seconds=N] [previews] [reliable] [delayed] [forks] [asks] [SETTING=VALUE …]";

fn main() -> ExitCode {
    let Order { scenario, bounds, is_each } = match Order::read(std::env::args().skip(1)) {
        Ok(order) => order,
        Err(error) => {
            println!("{error}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    let name = |kinds: &[Upset]| kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(",");
    let parts: Vec<Vec<Upset>> = match is_each {
        true => scenario.kinds.iter().map(|kind| vec![*kind]).collect(),
        false => vec![scenario.kinds.clone()],
    };
    for kinds in parts {
        let name = if scenario.upsets == 0 { "none".into() } else { name(&kinds) };
        let scenario = Scenario { kinds, ..scenario.clone() };
        match explore(&scenario, bounds) {
            Ok(report) => println!("{name}: {}", line(&report)),
            Err(failure) => {
                println!("{name}: {} after {} moves", failure.why, failure.path.len());
                match flow::print(&scenario, &failure.path, &failure.why) {
                    Ok(flow) => println!("{flow}"),
                    Err(error) => println!("{error}\n{:?}", failure.path),
                }
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn line(report: &Report) -> String {
    let Report { states, moves, ends, depth, time, is_complete } = report;
    let seconds = time.as_secs();
    let end = if *is_complete { "complete" } else { "no failure, not complete" };
    format!("{states} states, {moves} moves, longest way {depth}, {ends} ends, {seconds} s, {end}")
}
