//! The machine with the reference engine.

mod authority;
mod batches;
mod lifetimes;
mod order;
mod random;
mod repair;
mod transactions;
mod world;
