//! Outside addresses that survive a restart: what was written down is taken again, the same ports or none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use machine::Rng;
use midcom::{
    Direction, Gid, IpVersionChoice, Lifetime, NatService, PortParity, Prid, Protocol, Reply, Request, Tuple,
};

use super::world::*;
use crate::{AgentId, Event, Input, Nat, RuleAction, StoredAction, StoredRule, limits};

const NEAR: &str = "10.0.40.7/32";
const FAR_HOST: &str = "198.51.100.9/32";

/// An address and a port.
type Place = (IpAddr, u16);

fn nat(ports: std::ops::RangeInclusive<u16>) -> Nat {
    Nat::new(vec!["203.0.113.1".parse().unwrap(), "203.0.113.2".parse().unwrap()], ports).unwrap()
}

fn world() -> World {
    let mut world = World::journaled_behind(nat(30000..=30015));
    world.open();
    world.run();
    world
}

fn reserve_ports(ports: u16, parity: PortParity) -> Request {
    Request::Reserve {
        service: NatService::Traditional,
        inside: IpVersionChoice::V4,
        outside: IpVersionChoice::V4,
        protocol: Protocol::Udp,
        ports,
        parity,
        lifetime: Lifetime(600),
        group: None,
    }
}

fn outbound(port: u16, range: u16, group: Option<Gid>) -> Request {
    let far = udp(FAR_HOST, 5000, range);
    enable(Direction::Outbound, udp(NEAR, port, range), far, 600, group)
}

/// A0 and A2 of every rule.
fn outsides(world: &World) -> BTreeMap<Prid, (Option<Tuple>, Option<Tuple>)> {
    let pair = |action| match action {
        RuleAction::Reserved { outside, .. } => (None, outside),
        RuleAction::Enabled { internal, outside, .. } => (Some(internal), outside),
        RuleAction::Disabled { .. } => (None, None),
    };
    world.middlebox.rules(world.now).map(|rule| (rule.prid, pair(rule.action))).collect()
}

#[test]
fn every_kind_of_lease_is_taken_again() {
    for engine_lost in [false, true] {
        let mut world = world();
        let Ok(Reply::Reserved { .. }) = world.ask(A1, reserve_ports(3, PortParity::Odd)) else { panic!() };
        let Ok(Reply::Reserved { prid, group, .. }) = world.ask(A1, reserve_ports(2, PortParity::Even))
        else {
            panic!()
        };
        world.ask(A1, enable_reserved(prid, 20000)).unwrap();
        world.ask(A1, outbound(20000, 2, Some(group))).unwrap();
        // Another group shares it, and outlives who made it; the same endpoint of another agent has its own.
        world.ask(A2, outbound(20001, 1, None)).unwrap();
        let (other, _) = world.enable(B1, inbound(20000));
        assert_eq!(world.ask(A1, lifetime(prid, 0)), Ok(Reply::Ended));
        let before = outsides(&world);
        assert_eq!(before.len(), 4);
        let mut world = world.restarted(engine_lost);
        world.run();
        assert_eq!(outsides(&world), before);
        let out = before[&other].1.unwrap();
        assert!(world.passes(FAR, &format!("{}:{}", out.address(), out.port)));
        // The phone that comes to it anew joins it, as before.
        let Ok(Reply::Enabled { outside, .. }) = world.ask(B1, inbound(20000)) else { panic!() };
        assert_eq!(outside, out);
        for prid in outsides(&world).into_keys() {
            let alices = before.contains_key(&prid) && prid != other;
            assert_eq!(world.ask(if alices { A1 } else { B1 }, lifetime(prid, 0)), Ok(Reply::Ended));
        }
        world.wait(limits::PORT_REST);
        // Every pair is there again, once.
        let free = std::iter::from_fn(|| world.ask(A1, reserve_ports(2, PortParity::Even)).ok());
        assert_eq!(free.count(), 16);
    }
}

#[test]
fn what_the_pool_does_not_have_any_more_is_left_out() {
    let mut before = world();
    let (gone, _) = before.enable(A1, inbound(20000));
    let (kept, _) = before.enable(A1, inbound(20002));
    let reserved = before.ask(A1, reserve_ports(2, PortParity::Even));
    let Ok(Reply::Reserved { prid: reserved, .. }) = reserved else { panic!() };
    let rules: Vec<_> = before.journal.values().copied().collect();
    // The first address is another one's by now.
    let addresses = vec!["203.0.113.2".parse().unwrap()];
    let mut world = World::journaled_behind(Nat::new(addresses, 30000..=30015).unwrap());
    world.input(Input::Restored { rules: rules.clone() });
    world.run();
    assert_eq!(outsides(&world).into_keys().collect::<Vec<_>>(), [kept]);
    assert!(world.has_event(&Event::RulesRestored { rules: 1, dropped: 2 }));
    assert!(!world.journal.contains_key(&gone) && !world.journal.contains_key(&reserved));
    // No translation at all any more: an address was told that nothing comes to.
    let mut world = World::journaled();
    world.input(Input::Restored { rules });
    world.run();
    assert_eq!(outsides(&world), BTreeMap::new());
    assert_eq!(world.keys(), []);
}

/// A crash may cut the end of what one batch has made of the rules off: then both are there.
#[test]
fn two_rules_that_contradict_each_other_do_not_both_come_back() {
    let mut world = world();
    world.ask(A1, outbound(20000, 1, None)).unwrap();
    let rule = *world.journal.values().next().unwrap();
    let again = world.ask(B1, outbound(20000, 1, None));
    assert_eq!(again, Err(midcom::Failure::Conflict));
    let StoredAction::Enable { parity, direction, internal, external, outside: Some(mut outside) } =
        rule.action
    else {
        panic!()
    };
    outside.at.set_port(30008);
    let other = StoredRule {
        prid: Prid(rule.prid.0.wrapping_add(1)),
        group: Gid(rule.group.0.wrapping_add(1)),
        owner: BOB,
        action: StoredAction::Enable { parity, direction, internal, external, outside: Some(outside) },
        ..rule
    };
    let mut world = World::journaled_behind(nat(30000..=30015));
    world.input(Input::Restored { rules: vec![rule, other] });
    world.run();
    assert_eq!(outsides(&world).into_keys().collect::<Vec<_>>(), [rule.prid]);
    assert!(world.has_event(&Event::RulesRestored { rules: 1, dropped: 1 }));
}

struct Driver {
    world: World,
    rng: Rng,
}

impl Driver {
    fn step(&mut self) {
        let (session, agent) = [(A1, ALICE), (A2, ALICE), (B1, BOB)][self.rng.below(3) as usize];
        let mine = self.mine(agent);
        let (rule, at) = (mine.len() as u64, self.rng.below(64) as usize);
        let group = if rule > 0 && self.rng.percent(40) { Some(mine[at % mine.len()].1) } else { None };
        let prid = (rule > 0).then(|| mine[at % mine.len()].0);
        let port = 20000 + self.rng.below(5) as u16;
        let range = 1 + self.rng.below(3) as u16;
        let request = match (self.rng.below(7), prid) {
            (0, _) => reserve_ports(range, PortParity::Odd),
            (1, Some(prid)) => enable_reserved(prid, port),
            (2 | 3, Some(prid)) => lifetime(prid, 0),
            (4, _) => outbound(port, range, group),
            _ => with(inbound(port), 600, group),
        };
        let _ = self.world.ask(session, request);
    }

    fn mine(&self, agent: AgentId) -> Vec<(Prid, Gid)> {
        let rules = self.world.middlebox.rules(self.world.now);
        rules.filter(|rule| rule.owner == agent).map(|rule| (rule.prid, rule.group)).collect()
    }

    /// No outside port is that of two endpoints, nor of two reservations.
    fn check(&self) {
        let mut taken: BTreeMap<Place, (AgentId, Option<Place>)> = BTreeMap::new();
        for rule in self.world.middlebox.rules(self.world.now) {
            let (internal, outside) = match rule.action {
                RuleAction::Reserved { outside, .. } => (None, outside.unwrap()),
                RuleAction::Enabled { internal, outside, .. } => (Some(internal), outside.unwrap()),
                RuleAction::Disabled { .. } => panic!(),
            };
            for offset in 0..outside.range {
                let inside = internal.map(|tuple| (tuple.address(), tuple.port + offset));
                let before = taken.insert((outside.address(), outside.port + offset), (rule.owner, inside));
                let same = before.is_none_or(|before| inside.is_some() && before == (rule.owner, inside));
                assert!(same, "{outside} is used twice");
            }
        }
    }

    fn restart(self) -> Self {
        let Self { world, mut rng } = self;
        let (before, keys) = (outsides(&world), world.keys());
        let mut world = world.restarted(rng.percent(50));
        world.run();
        assert_eq!((outsides(&world), world.keys()), (before, keys));
        Self { world, rng }
    }
}

#[test]
fn whatever_has_happened_every_rule_has_its_outside_ports_again() {
    let mut restored = BTreeSet::new();
    for seed in 0..150 {
        let mut driver = Driver { world: world(), rng: Rng::from_number(seed) };
        for step in 0..60 {
            driver.step();
            driver.check();
            if step % 15 == 14 {
                driver = driver.restart();
                restored.insert(outsides(&driver.world).len());
            }
        }
        for (session, agent) in [(A1, ALICE), (B1, BOB)] {
            for (prid, _) in driver.mine(agent) {
                assert_eq!(driver.world.ask(session, lifetime(prid, 0)), Ok(Reply::Ended));
            }
        }
        driver.world.wait(limits::PORT_REST);
        let free = std::iter::from_fn(|| driver.world.ask(A1, reserve_ports(2, PortParity::Even)).ok());
        assert_eq!(free.count(), 16, "seed {seed}");
    }
    assert!(restored.len() > 5, "{restored:?}");
}
