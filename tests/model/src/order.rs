//! What the command line asks for.

use std::time::Duration;

use flows::world::World;

use crate::explore::Bounds;
use crate::scenario::{Scenario, Upset};

/// An exploration, or several.
#[derive(Debug)]
pub struct Order {
    /// What is explored.
    pub scenario: Scenario,
    /// How far.
    pub bounds: Bounds,
    /// One exploration for each kind of upset, not one for all.
    pub is_each: bool,
}

impl Order {
    /// Reads the arguments.
    ///
    /// # Errors
    /// The argument that is none, and why.
    pub fn read(arguments: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut scenario, mut bounds, mut is_each) = (Scenario::plain(), Bounds::default(), false);
        for argument in arguments {
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
        // What is none of ours is a setting of a flow, or nothing.
        World::new(&scenario.settings)?;
        Ok(Self { scenario, bounds, is_each })
    }
}

fn kinds(value: &str) -> Result<Vec<Upset>, String> {
    let kind = |name| Upset::ALL.into_iter().find(|upset| upset.name() == name);
    value.split(',').map(|name| kind(name).ok_or_else(|| format!("no such upset: {name}"))).collect()
}
