//! The journal of the half: what the machine wants written down, and what is done when it cannot be.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use journal::{Found, Journal, Wall};
use machine::Instant;
use middlebox::{Change, Engine, EngineFailure, Input, Middlebox, Operation, StoredRule};

use crate::log;

/// A clock that differs by more than this from what it should show has been set.
const CLOCK_SET: Duration = Duration::from_secs(2);

/// Lies in the run directory while a file that is no longer true could not be taken away.
const STALE: &str = "journal-is-stale";

/// The file, if the configuration names one.
pub(super) struct Disk {
    journal: Option<Journal>,
    wall: Wall,
    /// The last attempt to write failed; there is no file then, rather than a wrong one.
    stuck: Option<Stuck>,
    /// Where it is marked that the file must not be read.
    stale: PathBuf,
}

/// What has become of a file that cannot be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stuck {
    /// It is gone.
    Gone,
    /// It is still there, and not true any more.
    Stale,
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
    pub(super) fn open(path: Option<&Path>, run_dir: &Path, now: Instant) -> Result<(Self, Past), String> {
        let wall = Wall::read(now);
        let stale = run_dir.join(STALE);
        let Some(path) = path else {
            return Ok((Self { journal: None, wall, stuck: None, stale }, Past::Unknown));
        };
        let shown = path.display();
        let explain = |error| format!("{shown}: {error} (key `journal`; its directory must exist)");
        put_aside_if_stale(path, &stale, &wall).map_err(explain)?;
        let (journal, found) = Journal::open(path, &wall).map_err(explain)?;
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
        Ok((Self { journal: Some(journal), wall, stuck: None, stale }, past))
    }

    /// Writes down; false if it cannot be done. Then there is no file any more: one that still has a rule of which
    /// somebody was told that it is gone would open it again.
    pub(super) fn write(&mut self, now: Instant, changes: &[Change], machine: &Middlebox) -> bool {
        let Some(journal) = self.journal.as_mut() else { return true };
        // Each second it is tried again, and the machine told when it can be done.
        if self.stuck.is_some() {
            return false;
        }
        let Err(error) = journal.append(changes, &self.wall) else { return true };
        // A shorter file may still fit.
        if let Some(Ok(())) = self.rewrite(now, machine) {
            return true;
        }
        log::error(format_args!("the journal cannot be written: {error}; no rule is made until it can"));
        self.discard();
        false
    }

    /// Each second: tries again what failed, writes the file anew when it is long or when somebody has set the clock.
    pub(super) fn look(&mut self, now: Instant, machine: &Middlebox) -> Option<Input> {
        let journal = self.journal.as_ref()?;
        let set = Wall::read(now).differs_by(&self.wall) > CLOCK_SET;
        if self.stuck.is_none() && !set && !journal.is_long() {
            return None;
        }
        if set {
            log::info(format_args!("the clock was set; the journal's deadlines are written anew"));
        }
        match self.rewrite(now, machine)? {
            Ok(()) => self.stuck.take().map(|_| {
                log::info(format_args!("the journal can be written again"));
                Input::Writable(true)
            }),
            Err(error) if self.stuck.is_none() => {
                log::warn(format_args!("the journal cannot be written anew: {error}"));
                None
            }
            Err(_) => {
                if self.stuck == Some(Stuck::Stale) {
                    self.discard();
                }
                None
            }
        }
    }

    /// The file says what is so; `None` if there is to be none.
    fn rewrite(&mut self, now: Instant, machine: &Middlebox) -> Option<io::Result<()>> {
        let wall = Wall::read(now);
        let written = self.journal.as_mut()?.rewrite(machine.stored(), &wall);
        if written.is_ok() {
            self.wall = wall;
            self.unmark();
        }
        Some(written)
    }

    fn discard(&mut self) {
        let Some(Err(error)) = self.journal.as_ref().map(Journal::discard) else {
            self.unmark();
            self.stuck = Some(Stuck::Gone);
            return;
        };
        if self.stuck == Some(Stuck::Stale) {
            return;
        }
        self.stuck = Some(Stuck::Stale);
        let marked = std::fs::write(&self.stale, b"");
        let then = match marked {
            Ok(()) => "the next start does not read it, unless the machine is restarted".to_owned(),
            Err(error) => format!("nor be marked ({error}): remove it before the next start"),
        };
        log::error(format_args!(
            "the journal cannot be taken away either: {error}; what it says is no longer so: {then}"
        ));
    }

    fn unmark(&self) {
        if self.stuck == Some(Stuck::Stale) {
            let _ = std::fs::remove_file(&self.stale);
        }
    }
}

/// A file of which is known that it is not true any more is not read.
fn put_aside_if_stale(path: &Path, stale: &Path, wall: &Wall) -> io::Result<()> {
    if !stale.exists() {
        return Ok(());
    }
    if let Some(aside) = Journal::put_aside(path, wall)? {
        log::error(format_args!(
            "{}: could not be written when the middlebox ran last, and is not true any more; it is kept as {}, and \
             agents are waited for as without it",
            path.display(),
            aside.display()
        ));
    }
    std::fs::remove_file(stale)
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
