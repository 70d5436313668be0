//! A clock that the lab moves: the agent of a flow has no other.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::world::text;

const SOURCE: &str = include_str!("clock.c");

/// See the module.
#[derive(Debug)]
pub(crate) struct Clock {
    file: fs::File,
    name: PathBuf,
    library: PathBuf,
    now: Duration,
}

impl Clock {
    /// A clock in this folder. It goes by itself until it is set for the first time.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        let (name, source, library) = (folder.join("clock"), folder.join("clock.c"), folder.join("clock.so"));
        fs::write(&source, SOURCE)?;
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source);
        text(compile.output().map_err(|error| io::Error::other(format!("cc: {error}")))?)?;
        fs::write(&name, [0; 16])?;
        let file = fs::File::options().write(true).open(&name)?;
        Ok(Self { file, name, library, now: Duration::ZERO })
    }

    /// Lets a program have this clock.
    pub(crate) fn give_to(&self, command: &mut Command) {
        command.env("LD_PRELOAD", &self.library).env("LAB_CLOCK", &self.name);
    }

    /// Lets it go by itself again, for a program that is started.
    pub(crate) fn release(&mut self) -> io::Result<()> {
        self.file.write_all_at(&0_i64.to_ne_bytes(), 0)
    }

    /// Stops it where the kernel's own is now.
    pub(crate) fn stop(&mut self) -> io::Result<()> {
        let uptime = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)?;
        // A little ahead of what the program has read before.
        self.now = Duration::from(uptime) + Duration::from_millis(1);
        self.write()
    }

    /// Moves it on.
    pub(crate) fn advance(&mut self, by: Duration) -> io::Result<()> {
        self.now += by;
        self.write()
    }

    /// Sets the clock on the wall ahead, or back.
    pub(crate) fn set_wall(&self, seconds: i64) -> io::Result<()> {
        self.file.write_all_at(&(seconds * 1_000_000_000).to_ne_bytes(), 8)
    }

    fn write(&self) -> io::Result<()> {
        let nanos = i64::try_from(self.now.as_nanos()).map_err(io::Error::other)?;
        self.file.write_all_at(&nanos.to_ne_bytes(), 0)
    }
}
