//! Tests that need more than one file.

mod random;
mod round_trip;
mod sessions;
