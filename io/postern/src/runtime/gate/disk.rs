//! The journal of the half: what the machine wants written down, and what is done when it cannot be.

use std::path::Path;
use std::time::Duration;

use journal::{Found, Journal, Wall};
use machine::Instant;
use middlebox::{Change, Engine, EngineFailure, Input, Middlebox, Operation, StoredRule};

use crate::log;

/// A clock that differs by more than this from what it should show has been set.
const CLOCK_SET: Duration = Duration::from_secs(2);

/// The file, if the configuration names one.
pub(super) struct Disk {
    journal: Option<Journal>,
    wall: Wall,
    /// The last attempt to write failed; there is no file then, rather than a wrong one.
    stuck: bool,
}

/// What a start has found.
pub(super) enum Past {
    /// Rules that were written down: they say everything that should be open.
    Rules(Vec<StoredRule>),
    /// Nothing is known: what the kernel holds waits for its agents.
    Unknown,
}

impl Disk {
    /// Opens the file. Without one nothing is written down.
    pub(super) fn open(path: Option<&Path>, now: Instant) -> Result<(Self, Past), String> {
        let wall = Wall::read(now);
        let Some(path) = path else { return Ok((Self { journal: None, wall, stuck: false }, Past::Unknown)) };
        let shown = path.display();
        let (journal, found) = Journal::open(path, &wall)
            .map_err(|error| format!("{shown}: {error} (key `journal`; its directory must exist)"))?;
        let past = match found {
            Found::Nothing => Past::Unknown,
            Found::Rules(rules) => Past::Rules(rules),
            Found::Unreadable { aside, why } => {
                log::error(format_args!(
                    "{shown}: cannot be read ({why}); it is kept as {}, and agents are waited for as without it",
                    aside.display()
                ));
                Past::Unknown
            }
        };
        Ok((Self { journal: Some(journal), wall, stuck: false }, past))
    }

    /// Writes down; false if it cannot be done. Then there is no file any more: one that still has a rule of which
    /// somebody was told that it is gone would open it again.
    pub(super) fn write(&mut self, now: Instant, changes: &[Change], machine: &Middlebox) -> bool {
        let Some(journal) = self.journal.as_mut() else { return true };
        let wall = Wall::read(now);
        if !self.stuck {
            let Err(error) = journal.append(changes, &self.wall) else { return true };
            log::error(format_args!("the journal cannot be written: {error}; no rule is made until it can"));
        }
        // A shorter file may still fit.
        match journal.rewrite(machine.stored(), &wall) {
            Ok(()) => {
                self.wall = wall;
                return !std::mem::take(&mut self.stuck);
            }
            Err(_) => journal.discard(),
        }
        self.stuck = true;
        false
    }

    /// Each second: tries again what failed, writes the file anew when it is long or when somebody has set the clock.
    pub(super) fn look(&mut self, now: Instant, machine: &Middlebox) -> Option<Input> {
        let journal = self.journal.as_mut()?;
        let wall = Wall::read(now);
        let set = wall.differs_by(&self.wall) > CLOCK_SET;
        if !self.stuck && !set && !journal.is_long() {
            return None;
        }
        if set {
            log::info(format_args!("the clock was set; the journal's deadlines are written anew"));
        }
        match journal.rewrite(machine.stored(), &wall) {
            Ok(()) => {
                self.wall = wall;
                let was_stuck = std::mem::take(&mut self.stuck);
                was_stuck.then(|| {
                    log::info(format_args!("the journal can be written again"));
                    Input::Writable(true)
                })
            }
            Err(error) if !self.stuck => {
                log::warn(format_args!("the journal cannot be written anew: {error}"));
                None
            }
            Err(_) => None,
        }
    }
}

/// A batch that could not be written down closes what it closes, and opens nothing.
pub(super) fn without_journal(
    engine: &mut impl Engine,
    operations: &[Operation],
) -> Vec<Result<(), EngineFailure>> {
    let closes = |operation: &Operation| matches!(operation, Operation::Remove { .. });
    let closing: Vec<Operation> = operations.iter().filter(|operation| closes(operation)).cloned().collect();
    let mut closed = engine.apply(&closing).into_iter();
    let failed = Err(EngineFailure::Unavailable);
    operations
        .iter()
        .map(|operation| if closes(operation) { closed.next().unwrap_or(failed) } else { failed })
        .collect()
}
