//! A table as a value: what it holds, how that is written for the kernel and for people.

mod banned;
mod encode;
mod gate;
mod generation;
mod held;
mod intervals;
mod names;
mod nat;
mod print;
mod quoted;
mod statement;
mod table;

pub(crate) use banned::set_name as banned_name;
pub(crate) use encode::capped;
pub(crate) use gate::{OPEN, OWN_UDP_PACKETS, SetId, UDP_PACKETS, gate};
pub(crate) use generation::{Generation, SECOND};
pub(crate) use names::Names;
pub(crate) use nat::{Part, Translated};
pub(crate) use print::{family_name, hook_name};
pub(crate) use quoted::Quoted;
pub(crate) use statement::{End, Family, Statement, Verdict};
pub(crate) use table::{Chain, ElementSet, HELD_MAX, Hook, Set, SetKind, Table};
