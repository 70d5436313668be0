//! See the crate description; the first lines are written by its author.
