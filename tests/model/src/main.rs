#![allow(clippy::print_stdout, reason = "it is a command")]
//! The long explorations, by hand: see `docs/model.md`.

use std::process::ExitCode;
use std::time::Duration;

use model::explore::{Bounds, explore};
use model::flow;
use model::scenario::{Scenario, Upset};

const USAGE: &str = "postern-model [losses=N] [copies=N] [upsets=N] [kinds=cancel,die,…] [depth=N] [states=N] \
                     [seconds=N] [previews] [reliable] [SETTING=VALUE …]";

fn main() -> ExitCode {
    let (scenario, bounds) = match arguments() {
        Ok(arguments) => arguments,
        Err(error) => {
            println!("{error}\n{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match explore(&scenario, bounds) {
        Ok(report) => {
            println!("{report:?}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            println!("{} after {} moves", failure.why, failure.path.len());
            match flow::print(&scenario, &failure.path, &failure.why) {
                Ok(flow) => println!("{flow}"),
                Err(error) => println!("{error}\n{:?}", failure.path),
            }
            ExitCode::FAILURE
        }
    }
}

fn arguments() -> Result<(Scenario, Bounds), String> {
    let (mut scenario, mut bounds) = (Scenario::plain(), Bounds::default());
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
            "kinds" => scenario.kinds = kinds(value)?,
            _ => scenario.settings.push((name.to_owned(), value.to_owned())),
        }
    }
    Ok((scenario, bounds))
}

fn kinds(value: &str) -> Result<Vec<Upset>, String> {
    let kind = |name| Upset::ALL.into_iter().find(|upset| upset.name() == name);
    value.split(',').map(|name| kind(name).ok_or_else(|| format!("no such upset: {name}"))).collect()
}
