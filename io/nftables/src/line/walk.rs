//! Where a packet that the gate let in would end, chain by chain.

use std::collections::{BTreeMap, BTreeSet};

use super::expressions::{Fate, Match, Reading};
use super::rules::{Chain, Chains, leads_to};
use super::{Place, Spot};

/// The kernel refuses deeper jumps.
const DEPTH_MAX: u32 = 16;

/// How a chain ends for the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    Accepts,
    Drops(Spot),
    /// It comes back to where it came from, or meets the policy.
    Returns,
}

/// What a chain does with the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ruling {
    end: End,
    /// A rule that drops some such packets before.
    may_drop: Option<Spot>,
    /// Some rule accepts some of them before.
    may_accept: bool,
}

/// What a base chain does with what the gate let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// It lets it pass; the rule named may drop some of it before.
    Open(Option<Spot>),
    /// It drops it, there. True if other rules may accept some of it before.
    Shut(Spot, bool),
}

/// Follows the packet through chains of one family (0: IPv4, 1: IPv6).
pub(super) struct Walk<'c> {
    chains: &'c Chains,
    family: usize,
    known: BTreeMap<&'c Place, Ruling>,
}

impl<'c> Walk<'c> {
    pub(super) fn new(chains: &'c Chains, family: usize) -> Self {
        Self { chains, family, known: BTreeMap::new() }
    }

    /// What a base chain does.
    pub(super) fn passage(&mut self, place: &'c Place, chain: &'c Chain) -> Passage {
        let Ruling { end, may_drop, may_accept } = self.ruling(place, chain, 0);
        match end {
            End::Accepts => Passage::Open(may_drop),
            End::Drops(spot) => Passage::Shut(spot, may_accept),
            End::Returns if chain.base.is_some_and(|base| base.drops) => {
                Passage::Shut(Spot { place: place.clone(), rule: None }, may_accept)
            }
            End::Returns => Passage::Open(may_drop),
        }
    }

    fn ruling(&mut self, place: &'c Place, chain: &'c Chain, depth: u32) -> Ruling {
        if let Some(known) = self.known.get(place) {
            return known.clone();
        }
        let mut ruling = Ruling { end: End::Returns, may_drop: None, may_accept: false };
        // False once the packet may have left this chain already.
        let mut sure = true;
        for (handle, reading) in &chain.rules {
            let spot = Spot { place: place.clone(), rule: Some(*handle) };
            let (end, surely) = self.rule(place, spot, reading, depth, &mut ruling);
            match (end, surely && sure) {
                (None, _) => {}
                (Some(end), true) => {
                    ruling.end = end;
                    break;
                }
                (Some(End::Accepts), false) => ruling.may_accept = true,
                (Some(End::Drops(spot)), false) => ruling.may_drop = ruling.may_drop.or(Some(spot)),
                (Some(End::Returns), false) => sure = false,
            }
        }
        self.known.insert(place, ruling.clone());
        ruling
    }

    /// How a rule ends the chain, if it may, and whether it surely does.
    fn rule(
        &mut self,
        place: &'c Place,
        spot: Spot,
        reading: &'c Reading,
        depth: u32,
        ruling: &mut Ruling,
    ) -> (Option<End>, bool) {
        let matches = reading.matches.get(self.family).copied().unwrap_or(Match::Perhaps);
        let surely = matches == Match::Yes && reading.fates.len() == 1;
        let mut found = None;
        for fate in reading.fates.iter().filter(|_| matches != Match::No) {
            let end = match fate {
                Fate::Accept => Some(End::Accepts),
                Fate::Drop => Some(End::Drops(spot.clone())),
                Fate::Return => Some(End::Returns),
                Fate::Queue => {
                    ruling.may_drop.get_or_insert_with(|| spot.clone());
                    None
                }
                Fate::Jump(name) => self.led(place, name, depth, ruling).filter(|end| *end != End::Returns),
                Fate::Goto(name) => self.led(place, name, depth, ruling),
            };
            // Of several fates one applies; what any of them may do counts.
            match (surely, end) {
                (false, Some(End::Accepts)) => ruling.may_accept = true,
                (false, Some(End::Drops(spot))) => ruling.may_drop = ruling.may_drop.take().or(Some(spot)),
                (_, end) => found = end,
            }
        }
        (found, surely)
    }

    /// How a chain that a rule leads to ends.
    fn led(&mut self, from: &Place, name: &str, depth: u32, ruling: &mut Ruling) -> Option<End> {
        let to = Place { family: from.family, table: from.table.clone(), chain: name.to_owned() };
        let (place, chain) = self.chains.get_key_value(&to).filter(|_| depth < DEPTH_MAX)?;
        let led = self.ruling(place, chain, depth + 1);
        ruling.may_drop = ruling.may_drop.take().or(led.may_drop);
        ruling.may_accept |= led.may_accept;
        Some(led.end)
    }
}

/// All chains to which a chain leads, itself among them.
pub(super) fn reach<'c>(chains: &'c Chains, from: &'c Place) -> BTreeSet<&'c Place> {
    let mut reached = BTreeSet::from([from]);
    let mut open = vec![from];
    while let Some(place) = open.pop() {
        let rules = chains.get(place).into_iter().flat_map(|chain| &chain.rules);
        for name in rules.flat_map(|(_, reading)| leads_to(reading)) {
            let to = Place { family: place.family, table: place.table.clone(), chain: name.to_owned() };
            if let Some((to, _)) = chains.get_key_value(&to)
                && reached.insert(to)
            {
                open.push(to);
            }
        }
    }
    reached
}
