//! See the crate description; the first lines are written by its author.

pub mod ledger;
pub mod side;
