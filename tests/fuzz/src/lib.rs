//! Fuzz targets as plain functions: bytes in, no panic, bounded memory, and what must hold of the outcome asserted.
//!
//! `cargo test -p postern-fuzz-targets` replays the corpora and some thousand seeded mutations of them; that is what
//! CI runs and needs nothing but the compiler. Discovery is libFuzzer's, see `libfuzzer/README.md`. An input that broke
//! something goes into `corpus/<target>/` with a name that says what it broke.
//!
//! `README.md` says what each target holds the code to. A new target is a module with a `run`, a line in [`TARGETS`], and
//! a file in `libfuzzer/fuzz_targets/`.

use std::any::Any;
use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use machine::Rng;

pub mod b2bua;
pub mod digest;
pub mod middlebox;
mod mutate;
mod reader;
pub mod sdp;
pub mod simco;
pub mod sip_message;

pub use mutate::mutate;

/// One thing that is fed with bytes.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// As the module, the corpus folder and the libFuzzer target are called.
    pub name: &'static str,
    /// Panics if something is wrong.
    pub run: fn(&[u8]),
    /// How many mutations a replay makes unless told otherwise: a few seconds' worth.
    pub mutations: u64,
    /// Where its inputs come from.
    pub corpora: &'static [Corpus],
    /// Pieces of the language, for mutations that mean something.
    pub words: &'static [&'static [u8]],
}

/// Where inputs come from. Folders are named from `tests/`.
#[derive(Debug, Clone, Copy)]
pub enum Corpus {
    /// Every file is an input.
    Inputs(&'static str),
    /// Every file with this extension is a text case of another test, from which inputs are made.
    Cases(&'static str, &'static str, fn(&str) -> Vec<Vec<u8>>),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    sip_message::TARGET,
    digest::TARGET,
    sdp::TARGET,
    simco::middlebox::TARGET,
    simco::agent::TARGET,
    middlebox::TARGET,
    b2bua::TARGET,
];

/// Runs a target over its corpora, then over `count` mutations drawn from `seed`.
///
/// # Panics
/// If the target does, after printing what is needed to repeat it; or if the corpora are missing.
pub fn replay(target: &Target, seed: u64, count: usize) {
    let inputs = corpus(target);
    assert!(!inputs.is_empty(), "{} has no corpus", target.name);
    for (path, input) in &inputs {
        try_out(target, input, || path.display().to_string());
    }
    let mut rng = Rng::from_number(seed);
    for round in 0..count {
        let input = mutate(&inputs, target.words, &mut rng);
        try_out(target, &input, || format!("round {round} of seed {seed}"));
    }
}

/// Runs a target over one input; where it panics, says with which input, and with which part of it that is enough.
fn try_out(target: &Target, input: &[u8], from: impl Fn() -> String) {
    let Some(panic) = panic_of(target, input) else { return };
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let less = shrink(input.to_vec(), |input| panic_of(target, input).is_some());
    panic::set_hook(hook);
    eprintln!("{} broke on {}: {}", target.name, from(), input.escape_ascii());
    eprintln!("and so it does on: {}", less.escape_ascii());
    let _again = panic_of(target, &less);
    panic::resume_unwind(panic);
}

fn panic_of(target: &Target, input: &[u8]) -> Option<Box<dyn Any + Send>> {
    panic::catch_unwind(|| (target.run)(input)).err()
}

/// Leaves out what can be left out.
fn shrink(mut input: Vec<u8>, is_enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    for size in [1024, 256, 64, 16, 5, 4, 3, 2, 1] {
        let mut at = 0;
        while at < input.len() {
            let mut less = input.clone();
            less.drain(at..(at + size).min(input.len()));
            if is_enough(&less) { input = less } else { at += size.min(4) }
        }
    }
    input
}

/// Every input of a target's corpora, in the order of their names, each with where it comes from.
///
/// # Panics
/// If a folder is missing.
#[must_use]
pub fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    target.corpora.iter().flat_map(inputs).collect()
}

fn inputs(corpus: &Corpus) -> Vec<(PathBuf, Vec<u8>)> {
    match corpus {
        Corpus::Inputs(folder) => files(folder).collect(),
        Corpus::Cases(folder, extension, made) => files(folder)
            .filter(|(path, _)| path.extension().is_some_and(|found| found == *extension))
            .flat_map(|(path, text)| {
                let inputs = made(&String::from_utf8_lossy(&text)).into_iter();
                inputs.enumerate().map(move |(number, input)| (path.join(number.to_string()), input))
            })
            .collect(),
    }
}

fn files(folder: &str) -> impl Iterator<Item = (PathBuf, Vec<u8>)> + use<> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.filter_map(Result::ok).map(|entry| entry.path()).collect();
    paths.sort();
    paths.into_iter().filter_map(|path| fs::read(&path).ok().map(|input| (path, input)))
}
