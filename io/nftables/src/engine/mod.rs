//! The engine on a real kernel: one table, one writer, one listener for what others do.

mod ban;
mod element;
mod install;
mod lock;
mod probe;
mod read;
mod watch;
mod write;

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use middlebox::{Counter, Drift, Engine, EngineFailure, Entry, Key, Operation};

use crate::Error;
use crate::config::GateConfig;
use crate::netlink::Socket;
use crate::ruleset::{Generation, Names, gate};

pub use ban::Ban;
pub(crate) use install::TABLE;
pub use probe::Features;
pub use read::Traffic;
pub use watch::Disturbance;

use lock::Lock;
use watch::Watch;
use write::Kernel;

/// Up to so many expected entries, verifying reads everything and so finds foreign entries too; dumps take time that
/// grows with the square of their length.
pub const DUMP_MAX: usize = 10_000;

/// The gate of this network namespace. Dropping it leaves the table where it is, with the gate shut for everything
/// but the entries that still live.
#[derive(Debug)]
pub struct Nft {
    config: GateConfig,
    features: Features,
    socket: Socket,
    watch: Watch,
    /// The sets that are written and read.
    generation: Generation,
    names: Names,
    /// The sets are being filled, and those with the other names are in force.
    beside: bool,
    commits_counted: u32,
    disturbed: bool,
    _lock: Lock,
}

impl Nft {
    /// Takes the lock of this thread's network namespace, finds out what its kernel can do, and makes the table, or
    /// takes over the one that an earlier middlebox left, entries included.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open(config: GateConfig) -> Result<Self, Error> {
        Self::open_limited(config, Features::ALL)
    }

    /// As [`Nft::open`], but behaves as on a kernel that has no more than `limit`: for tests of the fall-backs.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn open_limited(config: GateConfig, limit: Features) -> Result<Self, Error> {
        let lock = Lock::take()?;
        let mut socket = Socket::netfilter(0).map_err(Error::kernel("cannot speak to nftables"))?;
        let features = probe::probe(&mut socket)
            .map_err(Error::kernel("cannot find out what nftables can do here"))?
            .and(limit);
        let generation = install::generation(&mut socket)?;
        install::install(&mut socket, &config, features, generation)?;
        let watch = Watch::open(&mut socket).map_err(Error::kernel("cannot listen to nftables"))?;
        let names = Names::new(&config, generation);
        let commits_counted = socket.commits();
        Ok(Self {
            config,
            features,
            socket,
            watch,
            generation,
            names,
            beside: false,
            commits_counted,
            disturbed: false,
            _lock: lock,
        })
    }

    /// Deletes the table that a middlebox left in this thread's network namespace, so that the gate is gone.
    ///
    /// # Errors
    /// [`Error::Held`] while a middlebox works here.
    pub fn remove() -> Result<(), Error> {
        let _lock = Lock::take()?;
        let mut socket = Socket::netfilter(0).map_err(Error::kernel("cannot speak to nftables"))?;
        install::remove(&mut socket)
    }

    /// What this kernel can do.
    #[must_use]
    pub fn features(&self) -> Features {
        self.features
    }

    /// What the gate was made for.
    #[must_use]
    pub fn config(&self) -> &GateConfig {
        &self.config
    }

    /// Says whether anybody else may have changed our table since the last call. To be called when
    /// [`Nft::as_fd`] becomes readable, and each second anyway; then [`Engine::verify`].
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn take_drift(&mut self) -> Result<Option<Disturbance>, Error> {
        let commits = self.socket.commits().wrapping_sub(self.commits_counted);
        self.commits_counted = self.socket.commits();
        let found = self
            .watch
            .take(&mut self.socket, commits)
            .map_err(Error::kernel("cannot hear what others do with nftables"))?;
        let unavailable = std::mem::take(&mut self.disturbed).then_some(Disturbance::Unavailable);
        Ok(found.or(unavailable))
    }

    /// What the gate let in and dropped since its chains were made last.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn traffic(&mut self) -> Result<Traffic, Error> {
        read::traffic(&mut self.socket).map_err(Error::kernel("cannot read the nftables table"))
    }

    /// From now on entries are written into new sets beside those in force, which stay as they are: for so many entries
    /// that reading what is there takes longer than to write it again. [`Nft::take_over`] puts them into force.
    ///
    /// # Errors
    /// If the kernel refuses; then nothing has changed.
    pub fn begin_beside(&mut self) -> Result<(), Error> {
        install::begin_beside(&mut self.socket, &self.config, self.generation.other())?;
        self.generation = self.generation.other();
        self.names = Names::new(&self.config, self.generation);
        self.beside = true;
        Ok(())
    }

    /// Puts into force what was written beside, in one commit with the end of the old sets and whatever was in them.
    /// Counters begin anew. Does nothing if nothing was begun.
    ///
    /// # Errors
    /// If the kernel refuses; then the old sets stay in force.
    pub fn take_over(&mut self) -> Result<(), Error> {
        if self.beside {
            install::take_over(&mut self.socket, &self.config, self.generation)?;
            self.beside = false;
        }
        Ok(())
    }

    fn write(&mut self, operations: &[Operation]) -> (Vec<Result<(), EngineFailure>>, bool) {
        let kernel = Kernel { features: self.features, names: &self.names, cap: self.config.cap };
        write::apply(&mut self.socket, kernel, operations)
    }

    fn install(&mut self) -> Result<(), Error> {
        install::install(&mut self.socket, &self.config, self.features, self.generation)?;
        self.beside = false;
        Ok(())
    }

    /// The writer, for a chain of our own beside the gate.
    pub(crate) fn socket(&mut self) -> &mut Socket {
        &mut self.socket
    }
}

/// As [`Nft::as_fd`].
impl AsRawFd for Nft {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

/// Readable when somebody else changed some table; [`Nft::take_drift`] reads all there is.
impl AsFd for Nft {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}

impl Engine for Nft {
    fn apply(&mut self, operations: &[Operation]) -> Vec<Result<(), EngineFailure>> {
        let (results, disturbed) = self.write(operations);
        self.disturbed |= disturbed;
        let lost = results.contains(&Err(EngineFailure::Unavailable));
        // Somebody took the table away: new calls need not wait until the old ones are repaired.
        if lost && self.install().is_ok() {
            return self.write(operations).0;
        }
        results
    }

    fn verify(&mut self, expected: &[Key]) -> Result<Drift, EngineFailure> {
        // Whatever is noticed from here on is noticed again by the next call of `take_drift`. Chains are made anew only
        // where somebody may have changed them: a packet between the old chain and the new one finds neither.
        if !install::is_ours(&mut self.socket).unwrap_or(false) {
            self.install().map_err(|_| EngineFailure::Unavailable)?;
        }
        if expected.len() > DUMP_MAX {
            let there = read::are_there(&mut self.socket, &self.names, expected)
                .map_err(|_| EngineFailure::Unavailable)?;
            let missing = expected.iter().zip(there).filter(|(_, there)| !there);
            return Ok(Drift { missing: missing.map(|(key, _)| *key).collect(), foreign: Vec::new() });
        }
        let found: BTreeSet<Key> = self.entries()?.into_iter().map(|entry| entry.key).collect();
        let quoted = read::quoted(&mut self.socket, &self.names).map_err(|_| EngineFailure::Unavailable)?;
        let expected: BTreeSet<Key> = expected.iter().copied().collect();
        let whole = |key: &Key| found.contains(key) && (key.translation().is_some() || quoted.contains(key));
        Ok(Drift {
            missing: expected.iter().filter(|key| !whole(key)).copied().collect(),
            foreign: found.union(&quoted).filter(|key| !expected.contains(key)).copied().collect(),
        })
    }

    fn counters(&mut self, keys: &[Key]) -> Vec<Option<Counter>> {
        let none = || vec![None; keys.len()];
        read::counters(&mut self.socket, &self.names, keys).unwrap_or_else(|_| none())
    }

    fn entries(&mut self) -> Result<Vec<Entry>, EngineFailure> {
        read::entries(&mut self.socket, &self.names).map_err(|_| EngineFailure::Unavailable)
    }
}

/// The table in nft's language, without entries: what `--dry-run` prints.
#[must_use]
pub fn ruleset(config: &GateConfig) -> String {
    gate(config, TABLE).to_string()
}

/// What the kernel of this thread's network namespace can do.
///
/// # Errors
/// If it cannot be asked.
pub fn features() -> Result<Features, Error> {
    let mut socket = Socket::netfilter(0).map_err(Error::kernel("cannot speak to nftables"))?;
    probe::probe(&mut socket).map_err(Error::kernel("cannot find out what nftables can do here"))
}

/// True if there is a table of ours in this thread's network namespace, whether a middlebox works there or not.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn is_installed() -> Result<bool, Error> {
    let mut socket = Socket::netfilter(0).map_err(Error::kernel("cannot speak to nftables"))?;
    install::exists(&mut socket)
}

/// What the kernel holds in this thread's network namespace, whoever works there: a look from outside, without lock
/// and without changing anything. No table, no entries.
///
/// # Errors
/// If the kernel cannot be asked.
pub fn kernel_entries(config: &GateConfig) -> Result<Vec<Entry>, Error> {
    let mut socket = Socket::netfilter(0).map_err(Error::kernel("cannot speak to nftables"))?;
    if !install::exists(&mut socket)? {
        return Ok(Vec::new());
    }
    let names = Names::new(config, install::generation(&mut socket)?);
    read::entries(&mut socket, &names).map_err(Error::kernel("cannot read the nftables table"))
}
