//! Randomness from the operating system, once per start.

use std::fs::File;
use std::io::{self, Read as _};

use machine::Rng;

/// A generator that nobody else can know.
pub(crate) fn rng() -> io::Result<Rng> {
    let mut seed = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut seed)?;
    Ok(Rng::from_seed(seed))
}
