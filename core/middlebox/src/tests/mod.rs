//! The machine with the reference engine.

mod authority;
mod batches;
mod disable;
mod entry;
mod hairpin;
mod journal;
mod kept;
mod lifetimes;
mod limited;
mod nat;
mod order;
mod random;
mod realm;
mod repair;
mod standing;
mod transactions;
mod world;
