//! The standing policy: lines, windows, rates and protected networks. `docs/pinholes.md` §2.

use std::time::Duration;

use machine::Rng;
use midcom::{Direction, Failure, Network, Protocol, Request, Tuple};

use super::world::*;
use crate::standing::{allows, denies_all};
use crate::{EndCause, Event, Input, Line, MinuteOfWeek, Opening, Policy, Verdict, Window};

fn networks(texts: &[&str]) -> Vec<Network> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

fn line(verdict: Verdict, inside: &[&str], outside: &[&str]) -> Line {
    let (inside, outside) = (networks(inside), networks(outside));
    Line { verdict, agents: Vec::new(), inside, outside, ports: None, protocol: None, when: Vec::new() }
}

fn deny(outside: &[&str]) -> Line {
    line(Verdict::Deny, &[], outside)
}

fn with_lines(lines: Vec<Line>) -> Policy {
    Policy { lines, ..policy() }
}

fn minute(day: u8, hour: u8, minute: u8) -> MinuteOfWeek {
    MinuteOfWeek::new(day, hour, minute).unwrap()
}

fn decide(lines: &[Line], opening: &Opening) -> Result<(), Failure> {
    allows(lines, None, &realms(), ALICE, opening)
}

fn opening(external: &str) -> Opening {
    Opening {
        direction: Direction::Inbound,
        internal: udp("10.0.40.7/32", 20000, 2),
        external: udp(external, 0, 2),
    }
}

const NO: Result<(), Failure> = Err(Failure::NotAuthorizedForTransaction);

#[test]
fn the_first_line_that_speaks_of_it_decides() {
    let friend = line(Verdict::Allow, &[], &["198.51.100.9/32"]);
    let lines = [friend, deny(&["198.51.100.0/24"])];
    assert_eq!(decide(&lines, &opening("198.51.100.9/32")), Ok(()));
    assert_eq!(decide(&lines, &opening("198.51.100.10/32")), NO);
    assert_eq!(decide(&lines, &opening("203.0.113.5/32")), Ok(()));
    // The rest of a wildcard is for the lines behind.
    assert_eq!(decide(&lines, &opening("0.0.0.0/0")), Err(Failure::WildcardNotSupported));
    assert_eq!(decide(&[line(Verdict::Allow, &[], &[]), deny(&[])], &opening("0.0.0.0/0")), Ok(()));
    assert_eq!(decide(&[deny(&[])], &opening("0.0.0.0/0")), NO);
}

#[test]
fn agents_ports_and_protocols_are_conditions() {
    let opening = opening("198.51.100.9/32");
    assert_eq!(decide(&[Line { agents: vec![BOB], ..deny(&[]) }], &opening), Ok(()));
    assert_eq!(decide(&[Line { agents: vec![BOB, ALICE], ..deny(&[]) }], &opening), NO);
    assert_eq!(decide(&[Line { protocol: Some(Protocol::Tcp), ..deny(&[]) }], &opening), Ok(()));
    assert_eq!(decide(&[Line { protocol: Some(Protocol::Udp), ..deny(&[]) }], &opening), NO);
    for (ports, result) in
        [(20002..=20010, Ok(())), (20001..=20010, NO), (16384..=20000, NO), (1..=19999, Ok(()))]
    {
        assert_eq!(decide(&[Line { ports: Some(ports), ..deny(&[]) }], &opening), result);
    }
    // What goes out is known by the port outside.
    let out = Opening {
        direction: Direction::Outbound,
        internal: udp("10.0.40.7/32", 0, 1),
        external: udp("198.51.100.9/32", 5004, 1),
    };
    assert_eq!(decide(&[Line { ports: Some(5004..=5004), ..deny(&[]) }], &out), NO);
}

#[test]
fn a_window_may_reach_over_midnight_and_over_the_end_of_the_week() {
    let window = Window::new(minute(6, 22, 0), 8 * 60).unwrap();
    for (at, inside) in [
        (minute(6, 21, 59), false),
        (minute(6, 22, 0), true),
        (minute(0, 5, 59), true),
        (minute(0, 6, 0), false),
        (minute(3, 23, 0), false),
    ] {
        assert_eq!(window.contains(at), inside, "{at:?}");
    }
    assert!(Window::new(minute(3, 0, 0), 7 * 24 * 60).unwrap().contains(minute(2, 23, 59)));
    assert_eq!(Window::new(minute(0, 0, 0), 0), None);
    assert_eq!(MinuteOfWeek::new(7, 0, 0), None);
}

/// On weekdays from eight to six.
fn office() -> Vec<Window> {
    (0..5).map(|day| Window::new(minute(day, 8, 0), 600).unwrap()).collect()
}

#[test]
fn a_rule_ends_with_the_window_that_allowed_it() {
    let mut world = World::new();
    let lines = vec![Line { when: office(), ..line(Verdict::Allow, &[], &[]) }, deny(&[])];
    world.input(Input::Policy(Box::new(with_lines(lines))));
    world.run();
    // Nothing is allowed for the sake of a time that nobody knows.
    assert_eq!(world.ask(A1, inbound(20000)), Err(Failure::NotAuthorizedForTransaction));
    world.input(Input::Clock(minute(4, 17, 59)));
    let (prid, _) = world.enable(A1, inbound(20000));
    world.told();
    world.input(Input::Clock(minute(4, 18, 0)));
    world.run();
    assert!(world.has_event(&Event::RuleEnded { prid, agent: ALICE, cause: EndCause::Withdrawn }));
    assert_eq!(world.told(), [(A1, prid, 0), (A2, prid, 0)]);
    assert_eq!(world.keys(), []);
    assert_eq!(world.ask(A1, inbound(20000)), Err(Failure::NotAuthorizedForTransaction));
    //= test RFC 4540 §8.2.1: nothing is reserved where nothing can be enabled.
    assert_eq!(world.ask(A1, reserve(None)), Err(Failure::AddressSpaceNotAvailable));
    world.input(Input::Clock(minute(0, 8, 0)));
    world.enable(A1, inbound(20000));
    world.reserve(A1);
}

#[test]
fn a_clock_that_changes_nothing_makes_no_work() {
    let mut world = World::new();
    world.input(Input::Policy(Box::new(with_lines(vec![Line {
        when: office(),
        ..deny(&["203.0.113.0/24"])
    }]))));
    world.input(Input::Clock(minute(0, 7, 0)));
    world.run();
    world.enable(A1, inbound(20000));
    world.input(Input::Clock(minute(0, 7, 1)));
    assert!(world.middlebox.is_quiet());
    world.input(Input::Clock(minute(0, 8, 0)));
    assert!(!world.middlebox.is_quiet());
}

#[test]
fn an_agent_may_ask_so_often_and_end_as_often_as_it_likes() {
    let mut world = World::new();
    let mut policy = policy();
    policy.agents.get_mut(&ALICE).unwrap().rights.requests_per_second = Some(10);
    world.input(Input::Policy(Box::new(policy)));
    world.run();
    let prids: Vec<_> = (0..10).map(|number| world.enable(A1, inbound(20000 + 2 * number)).0).collect();
    assert_eq!(world.ask(A2, inbound(20100)), Err(Failure::NoResources));
    assert_eq!(world.ask(A1, reserve(None)), Err(Failure::NoResources));
    world.enable(B1, inbound(20200));
    for prid in prids {
        world.ask(A1, lifetime(prid, 100)).unwrap();
        world.ask(A1, lifetime(prid, 0)).unwrap();
        world.ask(A1, Request::List).unwrap();
    }
    world.wait(Duration::from_millis(99));
    assert_eq!(world.ask(A1, inbound(20100)), Err(Failure::NoResources));
    world.wait(Duration::from_millis(1));
    world.enable(A1, inbound(20100));
    assert_eq!(world.ask(A1, inbound(20102)), Err(Failure::NoResources));
}

#[test]
fn an_agent_has_its_protocols() {
    let mut world = World::new();
    let mut policy = policy();
    policy.agents.get_mut(&ALICE).unwrap().rights.protocols = vec![Protocol::Tcp];
    world.input(Input::Policy(Box::new(policy)));
    assert_eq!(world.ask(A1, inbound(20000)), Err(Failure::NotAuthorizedForTransaction));
    assert_eq!(world.ask(A1, reserve(None)), Err(Failure::NotAuthorizedForTransaction));
    world.enable(B1, inbound(20000));
}

//= test RFC 4540 §8.8.3: a disable rule that would conflict with the policy above it is refused with 0x034A.
#[test]
fn what_is_protected_is_not_denied() {
    let mut world = World::new();
    let any = udp("0.0.0.0/0", 0, 1);
    let trunk = networks(&["198.51.100.9/32", "10.0.40.5/32"]);
    let mut guard = |internal: Tuple, external: Tuple| world.ask(G1, disable(internal, external, 60));
    guard(any, udp("198.51.100.0/24", 0, 1)).unwrap();
    world.input(Input::Policy(Box::new(Policy { protected: trunk, ..policy() })));
    world.run();
    // The rule from before has ended too.
    world.enable(A1, inbound(20000));
    let mut guard = |internal: Tuple, external: Tuple| world.ask(G1, disable(internal, external, 60));
    for (internal, external) in
        [("0.0.0.0/0", "198.51.100.0/24"), ("10.0.40.0/24", "203.0.113.5/32"), ("0.0.0.0/0", "0.0.0.0/0")]
    {
        let refused = guard(udp(internal, 0, 1), udp(external, 0, 1));
        assert_eq!(refused, Err(Failure::ConfigurationFailed), "{internal} {external}");
    }
    guard(any, udp("198.51.100.10/32", 0, 1)).unwrap();
    guard(udp("10.0.40.7/32", 0, 1), any).unwrap();
}

/// Packets of which the lines of the drawn policies speak, each decided by the first line that speaks of it.
fn one_by_one(lines: &[Line], inner: &str, port: u16, outer: &str) -> bool {
    let (inner, outer) = (inner.parse().unwrap(), outer.parse().unwrap());
    let within = |networks: &[Network], host| {
        networks.is_empty() || networks.iter().any(|net| net.contains::<&std::net::IpAddr>(host))
    };
    let speaks = |line: &&Line| {
        let port = line.ports.as_ref().is_none_or(|ports| ports.contains(&port));
        port && within(&line.inside, &inner) && within(&line.outside, &outer)
    };
    lines.iter().find(speaks).is_none_or(|line| line.verdict == Verdict::Allow)
}

const INSIDE: [&str; 3] = ["10.0.40.6", "10.0.40.7", "10.0.40.200"];
const OUTSIDE: [&str; 4] = ["198.51.100.9", "198.51.100.10", "198.51.100.200", "203.0.113.5"];

fn draw(rng: &mut Rng) -> Line {
    let mut some = |from: &[&'static str]| -> Vec<Network> {
        let chosen = from.iter().filter(|_| rng.percent(40)).copied().collect::<Vec<_>>();
        networks(&chosen)
    };
    let inside = some(&["10.0.40.6/31", "10.0.40.7/32", "10.0.40.0/24"]);
    let outside = some(&["198.51.100.8/31", "198.51.100.0/24", "203.0.113.5/32", "0.0.0.0/0"]);
    let verdict = if rng.percent(50) { Verdict::Allow } else { Verdict::Deny };
    let first = 20000 + rng.below(4) as u16;
    let ports = rng.percent(40).then(|| first..=first + rng.below(3) as u16);
    Line { verdict, agents: Vec::new(), inside, outside, ports, protocol: None, when: Vec::new() }
}

/// Nothing is opened of which a single packet is denied; and what is one host, one port is decided as its packets are.
#[test]
fn lines_decide_as_if_every_packet_had_been_asked_for_by_itself() {
    for seed in 0..3_000 {
        let mut rng = Rng::from_number(seed);
        let lines: Vec<Line> = (0..rng.below(5)).map(|_| draw(&mut rng)).collect();
        let port = 20000 + rng.below(5) as u16;
        let range = 1 + rng.below(3) as u16;
        let inner = INSIDE[rng.below(3) as usize];
        let outer =
            ["0.0.0.0/0", "198.51.100.9/32", "198.51.100.10/32", "198.51.100.200/32", "203.0.113.5/32"]
                [rng.below(5) as usize];
        let opening = Opening {
            direction: Direction::Inbound,
            internal: udp(&format!("{inner}/32"), port, range),
            external: udp(outer, 0, range),
        };
        let network: Network = outer.parse().unwrap();
        let hosts: Vec<_> = OUTSIDE
            .iter()
            .filter(|host| network.contains(&host.parse::<std::net::IpAddr>().unwrap()))
            .collect();
        let each = (port..port + range).flat_map(|port| hosts.iter().map(move |host| (port, **host)));
        let all = each.into_iter().all(|(port, host)| one_by_one(&lines, inner, port, host));
        let decided = decide(&lines, &opening);
        assert!(decided.is_err() || all, "seed {seed}: {opening:?} {lines:?}");
        if range == 1 && network.prefix_len() == 32 {
            assert_eq!(decided.is_ok(), all, "seed {seed}: {opening:?} {lines:?}");
        }
        if denies_all(&lines, None, ALICE, Protocol::Udp) {
            assert!(decided.is_err(), "seed {seed}: {opening:?} {lines:?}");
        }
    }
}
