//! Outside ports: which are free, which are taken, and which rest after use. Nothing here knows rules.
//!
//! Ports are kept in aligned blocks of 2, 4, … 128 (a buddy system): taking and giving back costs the logarithm of
//! the pool, whatever has been taken before. A pair is the least, so that RTP finds its even port.

use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};

use machine::Instant;
use midcom::{Failure, PortParity};

use crate::limits;
use crate::nat::{Blocks, Nat};

/// Blocks have 2^1 to 2^7 ports: 64, and one more below an odd one.
const SMALLEST: u8 = 1;
const LARGEST: u8 = 7;

/// An aligned run of 2^`order` ports of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    shelf: usize,
    first: u16,
    order: u8,
}

impl Block {
    fn len(self) -> usize {
        1 << self.order
    }
}

/// The free blocks of one address.
#[derive(Debug, Clone)]
struct Shelf {
    address: IpAddr,
    /// By order; their first ports.
    free: [BTreeSet<u16>; LARGEST as usize + 1],
    /// Behind what was taken last: the next one is looked for from here on.
    cursor: u16,
}

/// All outside ports.
#[derive(Debug, Clone)]
pub(crate) struct Pool {
    shelves: Vec<Shelf>,
    /// The address whose turn it is.
    turn: usize,
    /// Given back, and not to be taken again before this.
    resting: VecDeque<(Instant, Block)>,
    /// How many ports are taken.
    taken: usize,
}

impl Pool {
    pub(crate) fn new(nat: &Nat) -> Self {
        let shelves = nat.addresses.iter().map(|address| Shelf::new(*address, nat.ports.clone())).collect();
        Self { shelves, turn: 0, resting: VecDeque::new(), taken: 0 }
    }

    /// How many ports are taken: those of whole blocks, of which a rule may use fewer.
    pub(crate) fn taken(&self) -> usize {
        self.taken
    }

    /// Takes `count` consecutive ports of one address; says the address and the lowest.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        v4: bool,
        count: u16,
        parity: PortParity,
    ) -> Result<(IpAddr, u16, Block), Failure> {
        self.wake(now);
        let above = u16::from(parity == PortParity::Odd);
        if count == 0 || count > limits::PORTS_PER_RULE_MAX {
            return Err(Failure::LackOfPorts);
        }
        let order = order_of(count + above);
        let mut failure = Failure::LackOfAddresses;
        for step in 0..self.shelves.len() {
            let position = (self.turn + step) % self.shelves.len();
            let shelf = &mut self.shelves[position];
            if shelf.address.is_ipv4() != v4 {
                continue;
            }
            failure = Failure::LackOfPorts;
            if let Some(first) = shelf.take(order) {
                self.turn = position + 1;
                let block = Block { shelf: position, first, order };
                self.taken += block.len();
                return Ok((shelf.address, first + above, block));
            }
        }
        Err(failure)
    }

    /// Takes the pair around one port, if it is free: what was found in use at start.
    pub(crate) fn take_at(&mut self, address: IpAddr, port: u16) -> Option<Block> {
        let shelf = self.shelves.iter().position(|shelf| shelf.address == address)?;
        let first = self.shelves[shelf].take_at(port)?;
        let block = Block { shelf, first, order: SMALLEST };
        self.taken += block.len();
        Some(block)
    }

    /// Takes the pairs around a run of ports, if they are all free: what a rule had before a restart.
    pub(crate) fn take_run(&mut self, at: SocketAddr, count: u16) -> Option<Blocks> {
        let last = u32::from(at.port()) + u32::from(count.checked_sub(1)?);
        let pairs = u32::from(at.port() & 0xfffe)..=last;
        let mut blocks = Blocks::new();
        for port in pairs.step_by(2) {
            match u16::try_from(port).ok().and_then(|port| self.take_at(at.ip(), port)) {
                Some(block) => blocks.push(block),
                None => {
                    // Nobody has sent to them since.
                    for block in blocks {
                        self.taken -= block.len();
                        self.free(block);
                    }
                    return None;
                }
            }
        }
        Some(blocks)
    }

    fn free(&mut self, block: Block) {
        self.shelves[block.shelf].free(block.first, block.order);
    }

    /// Gives a block back. Whoever still sends to it shall not reach its next user, so it rests.
    pub(crate) fn give_back(&mut self, now: Instant, block: Block) {
        self.taken -= block.len();
        self.resting.push_back((now + limits::PORT_REST, block));
    }

    fn wake(&mut self, now: Instant) {
        while let Some((_, block)) = self.resting.front().copied().filter(|(at, _)| *at <= now) {
            self.resting.pop_front();
            self.free(block);
        }
    }
}

/// The order of the smallest block with room for `count` ports.
fn order_of(count: u16) -> u8 {
    let order = u16::BITS - count.saturating_sub(1).leading_zeros();
    u8::try_from(order).unwrap_or(LARGEST).max(SMALLEST)
}

impl Shelf {
    fn new(address: IpAddr, ports: std::ops::RangeInclusive<u16>) -> Self {
        let mut shelf = Self { address, free: std::array::from_fn(|_| BTreeSet::new()), cursor: 0 };
        let end = u32::from(*ports.end()) + 1;
        let mut first = u32::from(*ports.start()).next_multiple_of(2);
        while let Some(order) =
            (SMALLEST..=LARGEST).rev().find(|order| first % (1 << order) == 0 && first + (1 << order) <= end)
        {
            // Below `end`, so below 65536.
            shelf.free[usize::from(order)].insert(u16::try_from(first).unwrap_or(u16::MAX));
            first += 1 << order;
        }
        shelf
    }

    fn take(&mut self, order: u8) -> Option<u16> {
        let cursor = self.cursor;
        let next = |free: &BTreeSet<u16>| free.range(cursor..).next().or_else(|| free.first()).copied();
        let (found, first) =
            (order..=LARGEST).find_map(|order| Some((order, next(&self.free[usize::from(order)])?)))?;
        self.split(first, found, first, order);
        self.cursor = first.wrapping_add(1 << order);
        Some(first)
    }

    fn take_at(&mut self, port: u16) -> Option<u16> {
        let start = |order: u8| port & !((1 << order) - 1);
        let found =
            (SMALLEST..=LARGEST).find(|order| self.free[usize::from(*order)].contains(&start(*order)))?;
        self.split(start(found), found, start(SMALLEST), SMALLEST);
        Some(start(SMALLEST))
    }

    /// Takes the block of `order` at `wanted` out of a free one; what is left stays free.
    fn split(&mut self, mut first: u16, found: u8, wanted: u16, order: u8) {
        self.free[usize::from(found)].remove(&first);
        for half in (order..found).rev() {
            let upper = first + (1 << half);
            let (kept, left) = if wanted >= upper { (upper, first) } else { (first, upper) };
            self.free[usize::from(half)].insert(left);
            first = kept;
        }
    }

    fn free(&mut self, mut first: u16, mut order: u8) {
        while order < LARGEST && self.free[usize::from(order)].remove(&(first ^ (1 << order))) {
            first &= !(1 << order);
            order += 1;
        }
        self.free[usize::from(order)].insert(first);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(ports: std::ops::RangeInclusive<u16>) -> Pool {
        let addresses = vec!["203.0.113.1".parse().unwrap(), "203.0.113.2".parse().unwrap()];
        Pool::new(&Nat { addresses, ports })
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_nanos(seconds * 1_000_000_000)
    }

    fn take(pool: &mut Pool, now: u64, count: u16, parity: PortParity) -> Result<(u8, u16, Block), Failure> {
        let (address, port, block) = pool.take(at(now), true, count, parity)?;
        let IpAddr::V4(address) = address else { panic!("an IPv4 address was asked for") };
        Ok((address.octets()[3], port, block))
    }

    #[test]
    fn addresses_take_turns_and_every_port_is_used_once() {
        let mut pool = pool(4001..=4009);
        let mut all = Vec::new();
        while let Ok((host, port, _)) = take(&mut pool, 0, 2, PortParity::Even) {
            all.push((host, port));
        }
        let pairs = [(1, 4002), (2, 4002), (1, 4004), (2, 4004), (1, 4006), (2, 4006), (1, 4008), (2, 4008)];
        all.sort_unstable_by_key(|(host, port)| (*port, *host));
        assert_eq!(all, pairs);
        assert_eq!(take(&mut pool, 0, 1, PortParity::Any).unwrap_err(), Failure::LackOfPorts);
        assert_eq!(
            pool.take(at(0), false, 1, PortParity::Any).unwrap_err(),
            Failure::LackOfAddresses,
            "there is no IPv6 address"
        );
    }

    #[test]
    fn parity_and_range_are_kept() {
        let mut pool = pool(4000..=4999);
        for count in [1, 2, 3, 5, 64] {
            for (parity, odd) in [(PortParity::Even, 0), (PortParity::Odd, 1)] {
                let (_, port, _) = take(&mut pool, 0, count, parity).unwrap();
                assert_eq!(port % 2, odd, "{count} {parity:?}");
                assert!(port >= 4000 && port + count <= 5000);
            }
        }
        assert_eq!(take(&mut pool, 0, 65, PortParity::Any).unwrap_err(), Failure::LackOfPorts);
    }

    #[test]
    fn what_is_given_back_rests_and_then_becomes_whole_again() {
        let mut pool = pool(4096..=4223);
        let mut blocks = Vec::new();
        while let Ok((_, _, block)) = take(&mut pool, 0, 2, PortParity::Even) {
            blocks.push(block);
        }
        assert_eq!(blocks.len(), 128);
        for block in blocks {
            pool.give_back(at(10), block);
        }
        let rest = limits::PORT_REST.as_secs();
        assert_eq!(take(&mut pool, 9 + rest, 2, PortParity::Even).unwrap_err(), Failure::LackOfPorts);
        assert_eq!(take(&mut pool, 10 + rest, 64, PortParity::Odd).unwrap().1, 4097);
    }

    #[test]
    fn what_is_found_in_use_is_nobody_elses() {
        let mut pool = pool(4000..=4003);
        let found = pool.take_at("203.0.113.1".parse().unwrap(), 4003).unwrap();
        assert_eq!(pool.take_at("203.0.113.1".parse().unwrap(), 4002), None);
        assert_eq!(pool.take_at("203.0.113.9".parse().unwrap(), 4002), None);
        let others: Vec<_> = std::iter::from_fn(|| take(&mut pool, 0, 2, PortParity::Even).ok())
            .map(|(h, p, _)| (h, p))
            .collect();
        assert_eq!(others, [(1, 4000), (2, 4000), (2, 4002)]);
        pool.give_back(at(0), found);
        assert_eq!(take(&mut pool, 99, 2, PortParity::Any).unwrap().1, 4002);
    }
}
