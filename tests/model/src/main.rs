#![allow(clippy::print_stdout, reason = "it is a command")]
//! The long explorations, by hand: see `docs/model.md`.

use std::process::ExitCode;
use std::time::Duration;

use model::explore::{Bounds, Report, explore};
use model::flow;
use model::scenario::{Scenario, Upset};

const USAGE: &str = "postern-model [losses=N] [copies=N] [upsets=N] [kinds=cancel,die,…] [each] [depth=N] [states=N] \
                     [seconds=N] [previews] [reliable] [delayed] [forks] [asks] [SETTING=VALUE …]";

/// What the command line asks for.
struct Order {
    scenario: Scenario,
    bounds: Bounds,
    /// One exploration for each kind of upset, not one for all.
    is_each: bool,
}

fn main() -> ExitCode {
    let Order { scenario, bounds, is_each } = match arguments() {
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

fn arguments() -> Result<Order, String> {
    let (mut scenario, mut bounds, mut is_each) = (Scenario::plain(), Bounds::default(), false);
    for argument in std::env::args().skip(1) {
        let (name, value) = argument.split_once('=').unwrap_or((&argument, ""));
        let number = || value.parse::<u32>().map_err(|_| format!("{name}: no number: {value}"));
        match name {
            "losses" => scenario.losses = number()? as u8,
            "copies" => scenario.copies = number()? as u8,
            "upsets" => scenario.upsets = number()? as u8,
            "depth" => bounds.depth = Some(number()?),
            "states" => bounds.states = Some(number()? as usize),
            "seconds" => bounds.time = Some(Duration::from_secs(u64::from(number()?))),
            "reliable" => scenario.is_reliable = true,
            "previews" => scenario.previews = true,
            "delayed" => scenario.is_delayed = true,
            "forks" => scenario.forks = true,
            "asks" => scenario.asks = true,
            "kinds" => scenario.kinds = kinds(value)?,
            "each" => is_each = true,
            _ => scenario.settings.push((name.to_owned(), value.to_owned())),
        }
    }
    Ok(Order { scenario, bounds, is_each })
}

fn kinds(value: &str) -> Result<Vec<Upset>, String> {
    let kind = |name| Upset::ALL.into_iter().find(|upset| upset.name() == name);
    value.split(',').map(|name| kind(name).ok_or_else(|| format!("no such upset: {name}"))).collect()
}
