//! The contract, kept by the reference engine.

use std::time::Duration;

use engine_contract::{Bench, CASES, HELD_CASES, NAT_CASES, Place, Shot, nat, realms, unmanaged};
use machine::Instant;
use middlebox::memory::{Memory, Packet, Route, Verdict};
use middlebox::{Engine, Key, Realms};

/// The reference gate, and around it the administrator's firewall in one line.
struct Reference {
    gate: Memory,
    now: Instant,
}

fn interface(place: Place) -> &'static str {
    match place {
        Place::Inside => "inside0",
        Place::Outside => "outside0",
        Place::Third => "third0",
    }
}

impl Reference {
    fn new(realms: Realms) -> Self {
        let route = |network: &str, place| Route {
            network: network.parse().expect("a network"),
            interface: interface(place).into(),
        };
        let routes = vec![
            route("10.0.40.0/24", Place::Inside),
            route("fd00:40::/64", Place::Inside),
            route("198.51.100.0/24", Place::Outside),
            route("2001:db8:51::/64", Place::Outside),
            route("192.0.2.0/24", Place::Third),
            route("2001:db8:33::/64", Place::Third),
        ];
        Self { gate: Memory::new(realms, routes), now: Instant::ZERO }
    }
}

impl Bench for Reference {
    fn engine(&mut self) -> &mut dyn Engine {
        &mut self.gate
    }

    fn send(&mut self, shot: Shot, count: u32) -> u32 {
        let packet = Packet {
            transport: shot.transport,
            source: shot.source,
            destination: shot.destination,
            interface: interface(shot.from),
            opens: shot.opens,
        };
        let arrives = |gate: &mut Memory| match gate.take(&packet, 200) {
            Verdict::Accepted(key) => {
                assert_eq!(key.rewrite(shot.source, shot.destination), shot.arrives);
                true
            }
            Verdict::Spoofed(_) | Verdict::Held | Verdict::Managed => false,
            Verdict::Untouched => shot.from == Place::Inside,
        };
        (0..count).map(|_| u32::from(arrives(&mut self.gate))).sum()
    }

    fn wait(&mut self, time: Duration) {
        self.now += time;
        self.gate.advance(self.now);
    }

    fn sabotage(&mut self, key: &Key) -> bool {
        self.gate.lose(key);
        true
    }

    fn tcp(&self) -> bool {
        true
    }
}

#[test]
fn the_reference_engine_keeps_the_contract() {
    let mut bench = Reference::new(realms());
    for case in CASES {
        println!("{}", case.name);
        case.run(&mut bench);
    }
    bench.gate = bench.gate.with_nat(nat());
    for case in NAT_CASES {
        println!("{}", case.name);
        case.run(&mut bench);
    }
    let mut bench = Reference::new(unmanaged());
    for case in HELD_CASES {
        println!("{}", case.name);
        case.run(&mut bench);
    }
}
