//! Two phones inside that know each other by their outside places: `docs/pinholes.md` §4, "Hairpin".

use midcom::{Direction, Failure, Gid, Lifetime, NatService, Parity, PortParity, Protocol, Tuple};
use midcom::{IpVersionChoice, Passed, Prid, Reply, Request};

use super::world::*;
use crate::memory::{Packet, Verdict};
use crate::{Engine, Nat, Transport};

const ADA: &str = "10.0.40.7/32";
const BEN: &str = "10.0.40.8/32";

fn world() -> World {
    World::behind(Nat::new(vec!["203.0.113.1".parse().unwrap()], 30000..=30015).unwrap())
}

fn reserved(world: &mut World) -> (Prid, Gid, Tuple) {
    let request = Request::Reserve {
        service: NatService::Traditional,
        inside: IpVersionChoice::V4,
        outside: IpVersionChoice::V4,
        protocol: Protocol::Udp,
        ports: 2,
        parity: PortParity::Even,
        lifetime: Lifetime(60),
        group: None,
    };
    match world.ask(A1, request) {
        Ok(Reply::Reserved { prid, group, outside: Some(outside), .. }) => (prid, group, outside),
        other => panic!("{other:?}"),
    }
}

fn pea(prid: Prid, internal: Tuple, from: &Tuple) -> Request {
    Request::EnableReserved {
        prid,
        parity: Parity::Any,
        direction: Direction::Inbound,
        internal,
        external: Tuple { port: 0, ..*from },
        lifetime: Lifetime(300),
    }
}

fn per(group: Gid, internal: Tuple, to: &Tuple, lifetime: u32) -> Request {
    enable(Direction::Outbound, internal, *to, lifetime, Some(group))
}

fn arrives(world: &mut World, source: &str, destination: &str) -> Option<(String, String)> {
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    let packet = Packet { transport: Transport::Udp, source, destination, interface: "in", opens: false };
    match world.engine.take(&packet, 200) {
        Verdict::Accepted(key) => {
            let (source, destination) = key.rewrite(source, destination);
            Some((source.to_string(), destination.to_string()))
        }
        Verdict::Spoofed(_) | Verdict::Held | Verdict::Managed | Verdict::Untouched => None,
    }
}

fn both(source: &str, destination: &str) -> Option<(String, String)> {
    Some((source.into(), destination.into()))
}

/// Two calls, each with one phone inside, that somebody outside has joined. Ada's places, and Ben's rules.
struct Joined {
    world: World,
    ada: (Prid, Prid),
    ben: (Prid, Prid),
}

fn enabled(reply: Result<Reply, Failure>) -> Prid {
    match reply {
        Ok(Reply::Enabled { prid, .. }) => prid,
        other => panic!("{other:?}"),
    }
}

/// In the order of the calls: Ada's offer travels out and comes back for Ben, whose answer goes the same way.
fn joined(lifetime: u32) -> Joined {
    let mut world = world();
    let (ada, ada_group, ada_out) = reserved(&mut world);
    let (ben, ben_group, ben_out) = reserved(&mut world);
    let (ada_in, ben_in) = (udp(ADA, 20000, 2), udp(BEN, 22000, 2));
    enabled(world.ask(A1, pea(ben, ben_in, &ada_out)));
    let ben_to = enabled(world.ask(A1, per(ben_group, ben_in, &ada_out, lifetime)));
    assert_eq!(arrives(&mut world, "10.0.40.8:22000", "203.0.113.1:30000"), None, "Ada is not there yet");
    enabled(world.ask(A1, pea(ada, ada_in, &ben_out)));
    let ada_to = enabled(world.ask(A1, per(ada_group, ada_in, &ben_out, lifetime)));
    Joined { world, ada: (ada, ada_to), ben: (ben, ben_to) }
}

/// Whether Ben reaches Ada, and Ada Ben; on both ports, and by their outside places only.
fn reach(world: &mut World) -> (bool, bool) {
    let mut found = Vec::new();
    for port in 0..2 {
        let at = |base: u16| base + port;
        let to_ada =
            arrives(world, &format!("10.0.40.8:{}", at(22000)), &format!("203.0.113.1:{}", at(30000)));
        let to_ben =
            arrives(world, &format!("10.0.40.7:{}", at(20000)), &format!("203.0.113.1:{}", at(30002)));
        for arrived in [&to_ada, &to_ben].into_iter().flatten() {
            assert!(
                [
                    both(&format!("203.0.113.1:{}", at(30002)), &format!("10.0.40.7:{}", at(20000))),
                    both(&format!("203.0.113.1:{}", at(30000)), &format!("10.0.40.8:{}", at(22000))),
                ]
                .contains(&Some(arrived.clone()))
            );
        }
        found.push((to_ada.is_some(), to_ben.is_some()));
    }
    assert_eq!(found[0], found[1]);
    found[0]
}

#[test]
fn two_phones_behind_the_nat_reach_each_other_by_their_outside_places() {
    let Joined { mut world, ada, ben } = joined(300);
    assert_eq!(reach(&mut world), (true, true));
    for (source, destination) in [
        ("10.0.40.8:22002", "203.0.113.1:30000"),
        ("10.0.40.8:22000", "203.0.113.1:30001"),
        ("10.0.40.9:22000", "203.0.113.1:30000"),
        ("10.0.40.8:22000", "203.0.113.1:30004"),
        ("10.0.40.8:22000", "10.0.40.7:20000"),
    ] {
        assert_eq!(arrives(&mut world, source, destination), None, "{source} {destination}");
    }
    // What turns round counts for the rule by which it leaves and for the one by which it comes in.
    let counted = world.ask(A1, Request::Count { prids: vec![ada.0, ben.1] });
    let Ok(Reply::Counted(passed)) = counted else { panic!("{counted:?}") };
    assert_eq!(passed.iter().map(|Passed { packets, .. }| *packets).collect::<Vec<_>>(), [2, 2]);
    assert_eq!(world.engine.verify(&world.middlebox.expected_keys()), Ok(crate::Drift::default()));
}

/// Each of the four rules ends first once; the other direction goes on.
#[test]
fn a_direction_ends_with_either_of_its_rules() {
    for (end, left) in [(0, (false, true)), (1, (true, false)), (2, (true, false)), (3, (false, true))] {
        let Joined { mut world, ada, ben } = joined(300);
        let rules = [ada.0, ada.1, ben.0, ben.1];
        world.ask(A1, lifetime(rules[end], 0)).unwrap();
        assert_eq!(reach(&mut world), left, "{end}");
        for rule in rules.into_iter().filter(|rule| *rule != rules[end]) {
            world.ask(A1, lifetime(rule, 0)).unwrap();
        }
        assert_eq!(world.keys(), []);
        assert_eq!(world.middlebox.status().entries, 0);
    }
}

#[test]
fn it_lives_no_longer_than_either_and_is_extended_with_both() {
    let Joined { mut world, ada, ben } = joined(20);
    world.seconds(10);
    world.ask(A1, lifetime(ben.1, 300)).unwrap();
    assert_eq!(reach(&mut world), (true, true));
    world.seconds(9);
    // Ada's way out has run out; her place, and Ben's way to it, have not.
    assert_eq!(reach(&mut world), (true, false));
    world.ask(A1, lifetime(ada.0, 5)).unwrap();
    world.seconds(6);
    assert_eq!(reach(&mut world), (false, false));
    world.seconds(600);
    assert_eq!((world.keys(), world.middlebox.status().rules), (vec![], 0));
}

/// The middlebox is killed: what turned round goes on, and belongs to the rules that come back.
#[test]
fn it_survives_a_restart() {
    for lost in [false, true] {
        let mut before =
            World::journaled_behind(Nat::new(vec!["203.0.113.1".parse().unwrap()], 30000..=30015).unwrap());
        before.open();
        before.run();
        let Joined { world: shape, .. } = joined(300);
        let wanted = shape.keys();
        let (ada, ada_group, ada_out) = reserved(&mut before);
        let (ben, ben_group, ben_out) = reserved(&mut before);
        let (ada_in, ben_in) = (udp(ADA, 20000, 2), udp(BEN, 22000, 2));
        enabled(before.ask(A1, pea(ada, ada_in, &ben_out)));
        enabled(before.ask(A1, pea(ben, ben_in, &ada_out)));
        enabled(before.ask(A1, per(ben_group, ben_in, &ada_out, 300)));
        enabled(before.ask(A1, per(ada_group, ada_in, &ben_out, 300)));
        assert_eq!(before.keys(), wanted, "in whatever order they come");
        let mut world = before.restarted(lost);
        world.run();
        assert_eq!(world.keys(), wanted);
        assert_eq!(reach(&mut world), (true, true));
        world.ask(A1, lifetime(ada, 0)).unwrap();
        assert_eq!(reach(&mut world), (false, true));
    }
}

#[test]
fn what_the_engine_refuses_of_it_refuses_the_rule() {
    let Joined { world, ada, .. } = joined(300);
    let turned: Vec<_> = world.keys().into_iter().filter(|key| key.turned_source().is_some()).collect();
    assert_eq!(turned.len(), 4);
    let mut world = world;
    world.ask(A1, lifetime(ada.1, 0)).unwrap();
    turned.iter().for_each(|key| world.engine.refuse(*key));
    let Ok(Reply::Status(status)) = world.ask(A1, Request::Status { prid: ada.0 }) else { panic!() };
    let midcom::RuleStatus::Enabled { group, .. } = status else { panic!() };
    let again = per(group, udp(ADA, 20000, 2), &udp("203.0.113.1/32", 30002, 2), 300);
    assert_eq!(world.ask(A1, again), Err(Failure::ConfigurationFailed));
    world.engine.relent();
    enabled(world.ask(A1, again_of(group)));
    assert_eq!(reach(&mut world), (true, true));
}

fn again_of(group: Gid) -> Request {
    per(group, udp(ADA, 20000, 2), &udp("203.0.113.1/32", 30002, 2), 300)
}
