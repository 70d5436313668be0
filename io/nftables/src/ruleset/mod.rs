//! A table as a value: what it holds, how that is written for the kernel and for people.

mod encode;
mod gate;
mod intervals;
mod nat;
mod statement;
mod table;

pub(crate) use gate::{OPEN, OWN_UDP_PACKETS, SetId, UDP_PACKETS, by_name, gate};
pub(crate) use nat::{Part, Translated};
pub(crate) use statement::{End, Family, Statement, Verdict};
pub(crate) use table::{Chain, ElementSet, Hook, Set, SetKind, Table, family_name, hook_name};
