//! The NAT of a house: the outside addresses and ports of its middlebox. Drawn by a generator of its own, so that the plan
//! of a seed is the same with it and without.

use machine::Rng;
use middlebox::Nat;

use crate::plan::{House, pick, place};

/// Makes the generator another one than that of the seed.
const OWN: u64 = 0x006e_6174;
/// The first outside address is this host outside; no phone has its address.
const FIRST_HOST: u8 = 200;
/// Pairs of ports: what some calls at a time use up, and what no run does. What was given back rests for 32 s.
const PAIRS: [u16; 5] = [6, 12, 30, 1_000, 2_000];
/// Up to so many pairs may all be in use.
const FEW: u16 = 30;

/// One house of four has a NAT, if one middlebox is all it has: `docs/calls.md` §4 allows no other beside it.
pub(crate) fn draw(seed: u64, house: &House) -> Option<Nat> {
    let mut rng = Rng::from_number(seed ^ OWN);
    if !rng.percent(25) || house.gates > 1 {
        return None;
    }
    let pairs = pick(&mut rng, &PAIRS);
    // Where phones have ports too, or where they have none; an odd one at the beginning is of no use to a pair.
    let first = pick(&mut rng, &[20_000, 20_001, 26_000]);
    let hosts = if rng.percent(30) { 2 } else { 1 };
    let addresses = (0..hosts).map(|more| place::host(house.v6, true, FIRST_HOST + more)).collect();
    // Hosts of a network and even runs of ports below 32768: never refused.
    Nat::new(addresses, first..=first.div_ceil(2) * 2 + 2 * pairs - 1).ok()
}

impl House {
    /// True if a call may find no outside port left.
    pub(crate) fn may_run_out(&self) -> bool {
        self.nat.as_ref().is_some_and(|nat| nat.ports.len() <= usize::from(2 * FEW + 1))
    }
}
