//! Fuzz targets as plain functions: bytes in, no panic, bounded memory, and what must hold of the outcome asserted.
//!
//! `cargo test -p postern-fuzz-targets` replays the corpora and some thousand seeded mutations of them; that is what
//! CI runs and needs nothing but the compiler. Discovery is libFuzzer's, see `libfuzzer/README.md`. An input that broke
//! something goes into `corpus/<target>/` with a name that says what it broke.
//!
//! A new target is a module with a `run`, a line in [`TARGETS`], and a file in `libfuzzer/fuzz_targets/`.

use std::fs;
use std::path::{Path, PathBuf};

use machine::Rng;

mod mutate;
pub mod sip_message;

pub use mutate::mutate;

/// One thing that is fed with bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As the module, the corpus folder and the libFuzzer target are called.
    pub name: &'static str,
    /// Panics if something is wrong.
    pub run: fn(&[u8]),
    /// Folders with inputs, from `tests/`.
    pub corpora: &'static [&'static str],
    /// Pieces of the language, for mutations that mean something.
    pub words: &'static [&'static [u8]],
}

/// All of them.
pub const TARGETS: &[Target] = &[sip_message::TARGET];

/// Runs a target over its corpora, then over `count` mutations drawn from `seed`.
///
/// # Panics
/// If the target does, after printing what is needed to repeat it; or if the corpora are missing.
pub fn replay(target: &Target, seed: u64, count: usize) {
    let inputs = corpus(target);
    assert!(!inputs.is_empty(), "{} has no corpus", target.name);
    for (path, input) in &inputs {
        let _told = Told(format!("{} broke on {}", target.name, path.display()));
        (target.run)(input);
    }
    let mut rng = Rng::from_number(seed);
    for round in 0..count {
        let input = mutate(&inputs, target.words, &mut rng);
        let _told =
            Told(format!("{} broke in round {round} of seed {seed}: {}", target.name, input.escape_ascii()));
        (target.run)(&input);
    }
}

/// Says its text if it is dropped by a panic.
struct Told(String);

impl Drop for Told {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.0);
        }
    }
}

/// Every input of a target's corpora, in the order of their names.
fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut paths: Vec<PathBuf> = Vec::new();
    for folder in target.corpora {
        let entries = fs::read_dir(tests.join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
        paths.extend(entries.filter_map(Result::ok).map(|entry| entry.path()));
    }
    paths.sort();
    paths.into_iter().filter_map(|path| fs::read(&path).ok().map(|input| (path, input))).collect()
}
