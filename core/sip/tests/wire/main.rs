//! Two endpoints on a bad wire: thousands of calls, each with its seed; time jumps from event to event.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on shall stop")]

mod callee;
mod caller;
mod link;

use std::net::SocketAddr;
use std::time::Duration;

use callee::Callee;
use caller::{Caller, Outcome};
use link::{Link, Quality};
use machine::{Instant, Outbox, Rng};
use postern_sip::endpoint::{Config, Endpoint, Incoming, Limits, Listener, Transmit};
use postern_sip::transaction::TimerValues;
use postern_sip::transport::{ConnectionId, Hop, ListenerId, Protocol};

fn endpoint(protocol: Protocol, host: usize, rng: &mut Rng) -> Endpoint {
    let listener = Listener {
        id: ListenerId(0),
        protocol,
        address: address(host),
        sent_by: address(host).to_string(),
        longer: None,
    };
    let config = Config {
        timers: TimerValues::default(),
        listeners: vec![listener],
        branch_prefix: host.to_string(),
        limits: Limits::default(),
    };
    Endpoint::new(config, rng.fork())
}

fn address(host: usize) -> SocketAddr {
    SocketAddr::from(([192, 0, 2, host as u8 + 1], 5060))
}

fn hop_to(protocol: Protocol, host: usize) -> Hop {
    let connection = protocol.is_reliable().then_some(ConnectionId(1));
    Hop { listener: ListenerId(0), protocol, remote: address(host), connection, name: None }
}

/// Caller is host 0, callee host 1.
struct World {
    now: Instant,
    protocol: Protocol,
    link: Link,
    endpoints: [Endpoint; 2],
    caller: Caller,
    callee: Callee,
}

struct Plan {
    protocol: Protocol,
    quality: Quality,
    status: u16,
    after: Duration,
    cancel: Option<Duration>,
}

impl World {
    fn run(seed: u64, plan: &Plan) -> Self {
        let mut rng = Rng::from_number(seed);
        let mut world = Self {
            now: Instant::ZERO,
            protocol: plan.protocol,
            link: Link::new(plan.quality, rng.fork()),
            endpoints: [0, 1].map(|host| endpoint(plan.protocol, host, &mut rng)),
            caller: Caller::new(hop_to(plan.protocol, 1), &format!("call-{seed}")),
            callee: Callee::new(plan.status, plan.after),
        };
        let mut out = Outbox::new();
        world.caller.call(world.now, &mut world.endpoints[0], plan.cancel, &mut out);
        world.send(0, out);
        while world.step() {}
        world
    }

    fn step(&mut self) -> bool {
        let timeouts = [
            self.link.next(),
            self.endpoints[0].next_timeout().map(|next| next.0),
            self.endpoints[1].next_timeout().map(|next| next.0),
            self.caller.next_timeout(),
            self.callee.next_timeout(),
        ];
        let Some(next) = timeouts.into_iter().flatten().min() else { return false };
        assert!(next < Instant::ZERO + Duration::from_secs(600), "it never ends");
        self.now = self.now.max(next);
        while let Some((host, bytes)) = self.link.receive(self.now) {
            let (mut out, mut tu) = (Outbox::new(), Outbox::new());
            let from = hop_to(self.protocol, 1 - host);
            self.endpoints[host].receive(self.now, from, bytes, &mut out, &mut tu);
            self.deliver(host, out, tu);
        }
        for host in [0, 1] {
            let (mut out, mut tu) = (Outbox::new(), Outbox::new());
            self.endpoints[host].handle_timeout(self.now, &mut out, &mut tu);
            match host {
                0 => self.caller.handle_timeout(self.now, &mut self.endpoints[0], &mut out),
                _ => self.callee.handle_timeout(self.now, &mut self.endpoints[1], &mut out),
            }
            self.deliver(host, out, tu);
        }
        true
    }

    fn deliver(&mut self, host: usize, mut out: Outbox<Transmit>, tu: Outbox<Incoming>) {
        for event in tu {
            let endpoint = &mut self.endpoints[host];
            match host {
                0 => self.caller.incoming(self.now, endpoint, event, &mut out),
                _ => self.callee.incoming(self.now, endpoint, event, &mut out),
            }
        }
        self.send(host, out);
    }

    fn send(&mut self, host: usize, out: Outbox<Transmit>) {
        for transmit in out {
            assert_eq!(transmit.hop.remote, address(1 - host));
            self.link.send(self.now, 1 - host, &transmit.bytes);
        }
    }

    fn assert_over(&self, seed: u64) {
        assert_eq!(self.caller.outcomes.len(), 1, "seed {seed}: one outcome, got {:?}", self.caller.outcomes);
        assert!(self.callee.seen.invites <= 1, "seed {seed}: an INVITE came twice");
        assert!(self.callee.seen.byes <= 1, "seed {seed}: a BYE came twice");
        for endpoint in &self.endpoints {
            assert!(endpoint.is_empty(), "seed {seed}: {:?} left over", endpoint.len());
        }
    }
}

fn bad(rng: &mut Rng, loss_percent: u8) -> Quality {
    Quality {
        loss_percent,
        duplicate_percent: rng.below(30) as u8,
        jitter: Duration::from_millis(rng.below(400)),
    }
}

#[test]
fn a_thousand_calls_over_a_bad_wire_end() {
    let mut ended = 0;
    for seed in 0..1_000 {
        let mut rng = Rng::from_number(seed ^ 0x5eed);
        let loss_percent = rng.below(30) as u8;
        let plan = Plan {
            protocol: Protocol::Udp,
            quality: bad(&mut rng, loss_percent),
            status: 200,
            after: Duration::from_millis(rng.below(3_000)),
            cancel: None,
        };
        let world = World::run(seed, &plan);
        world.assert_over(seed);
        ended += usize::from(world.caller.outcomes == [Outcome::Ended(200)]);
    }
    assert!(ended >= 990, "only {ended} of 1000 calls were answered and ended with BYE and 200");
}

#[test]
fn cancel_races_end_on_both_sides() {
    //= test RFC 3261 §9: whoever wins, there is one outcome: 487, or a call that BYE ends.
    let (mut cancelled, mut answered) = (0, 0);
    for seed in 0..1_000 {
        let mut rng = Rng::from_number(seed ^ 0xca11);
        let loss_percent = rng.below(20) as u8;
        let plan = Plan {
            protocol: Protocol::Udp,
            quality: bad(&mut rng, loss_percent),
            status: 200,
            after: Duration::from_millis(rng.below(600)),
            cancel: Some(Duration::from_millis(rng.below(900))),
        };
        let world = World::run(seed, &plan);
        world.assert_over(seed);
        match world.caller.outcomes[0] {
            Outcome::Failed(487) => cancelled += 1,
            Outcome::Ended(_) => answered += 1,
            Outcome::Failed(_) => {}
        }
    }
    assert!(cancelled > 100 && answered > 100, "{cancelled} {answered}: both must happen");
}

#[test]
fn refusals_are_acknowledged_over_a_bad_wire() {
    for seed in 0..300 {
        let mut rng = Rng::from_number(seed ^ 0xbad);
        let loss_percent = rng.below(30) as u8;
        let plan = Plan {
            protocol: Protocol::Udp,
            quality: bad(&mut rng, loss_percent),
            status: 486,
            after: Duration::from_millis(rng.below(300)),
            cancel: None,
        };
        let world = World::run(seed, &plan);
        world.assert_over(seed);
        assert_eq!(world.callee.seen.acks, 0, "seed {seed}: the ACK to a failure is the transaction's");
    }
}

#[test]
fn a_good_wire_carries_no_message_twice() {
    for protocol in [Protocol::Udp, Protocol::Tcp] {
        let plan = Plan {
            protocol,
            quality: Quality::default(),
            status: 200,
            after: Duration::from_millis(100),
            cancel: None,
        };
        let world = World::run(1, &plan);
        world.assert_over(1);
        let lines: Vec<&str> = world.link.log.iter().map(|(_, line)| line.as_str()).collect();
        assert_eq!(
            lines,
            [
                "INVITE sip:b@192.0.2.2 SIP/2.0",
                "SIP/2.0 100 Trying",
                "SIP/2.0 180 Ringing",
                "SIP/2.0 200 X",
                "ACK sip:b@192.0.2.2 SIP/2.0",
                "BYE sip:b@192.0.2.2 SIP/2.0",
                "SIP/2.0 200 X",
            ]
        );
    }
}

#[test]
fn a_slow_wire_makes_udp_repeat_and_tcp_wait() {
    //= test RFC 3261 §17.1.1.2: no repetition over a reliable transport; §13.3.1.4: except of the 2xx by the user.
    let slow = Quality { jitter: Duration::from_secs(3), ..Quality::default() };
    for (protocol, repeats) in [(Protocol::Udp, true), (Protocol::Tcp, false)] {
        let plan = Plan { protocol, quality: slow, status: 486, after: Duration::ZERO, cancel: None };
        let invites: usize = (0..50).map(|seed| World::run(seed, &plan).link.count(1, "INVITE")).sum();
        assert_eq!(invites > 50, repeats, "{protocol}: {invites}");
    }
}

#[test]
fn a_dead_wire_times_out_after_seven_invites() {
    //= test RFC 3261 §17.1.1.2: timer B after 64*T1, seven requests.
    let plan = Plan {
        protocol: Protocol::Udp,
        quality: Quality { loss_percent: 100, ..Quality::default() },
        status: 200,
        after: Duration::ZERO,
        cancel: None,
    };
    let world = World::run(1, &plan);
    world.assert_over(1);
    assert_eq!(world.caller.outcomes, [Outcome::Failed(408)]);
    assert_eq!(world.link.count(1, "INVITE"), 7);
    assert_eq!(world.now, Instant::ZERO + Duration::from_secs(32));
}

#[test]
fn the_same_seed_gives_the_same_messages() {
    let plan = Plan {
        protocol: Protocol::Udp,
        quality: Quality { loss_percent: 20, duplicate_percent: 20, jitter: Duration::from_millis(700) },
        status: 200,
        after: Duration::from_millis(400),
        cancel: Some(Duration::from_millis(500)),
    };
    for seed in 0..20 {
        assert_eq!(World::run(seed, &plan).link.log, World::run(seed, &plan).link.log);
    }
}
