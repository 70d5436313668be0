//! Two phones talk to each other directly: every behaviour in microseconds.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

mod change;
mod odd;
mod plain;
mod precondition;
mod refer;
mod reliable;
mod session;
mod shapes;
mod world;
