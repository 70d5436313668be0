//! `cargo bench -p postern-bench --bench simco`
//!
//! A PER and its reply: the bytes alone, and through both sessions with a hundred requests in one piece.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use machine::{Instant, Outbox};
use midcom::{
    Capabilities, Direction, Gid, IpVersions, Lifetime, Network, Parity, Prid, Protocol, Reply, Request,
    RequestId, Tuple,
};
use simco::wire::{AgentMessage, Header, MiddleboxMessage};
use simco::{agent, middlebox};

const NOW: Instant = Instant::ZERO;

fn tuple(address: [u8; 4], port: u16) -> Tuple {
    let network = Network::from(std::net::IpAddr::from(address));
    Tuple { network, protocol: Protocol::Udp, port, range: 2 }
}

fn enable() -> Request {
    Request::Enable {
        parity: Parity::Any,
        direction: Direction::Inbound,
        internal: tuple([10, 1, 8, 3], 20_000),
        external: tuple([192, 0, 2, 100], 0),
        lifetime: Lifetime(300),
        group: Some(Gid(7)),
    }
}

fn enabled() -> Reply {
    Reply::Enabled {
        prid: Prid(17),
        group: Gid(7),
        lifetime: Lifetime(300),
        outside: tuple([10, 1, 8, 3], 20_000),
        inside: Some(tuple([192, 0, 2, 100], 0)),
    }
}

fn wire(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("simco_wire");
    let (request, reply) = (AgentMessage::Rule(enable()), MiddleboxMessage::Positive(enabled()));
    let mut bytes = Vec::with_capacity(256);
    group.bench_function("per_and_reply", |bencher| {
        bencher.iter(|| {
            bytes.clear();
            black_box(&request).encode(2, &mut bytes);
            let (header, payload) = Header::split(black_box(&bytes)).expect("a whole message");
            let asked = black_box(AgentMessage::decode(header, payload).expect("a PER").request_type());
            bytes.clear();
            black_box(&reply).encode(2, &mut bytes);
            let (header, payload) = Header::split(black_box(&bytes)).expect("a whole message");
            black_box(MiddleboxMessage::decode(header, payload).expect("a PER reply"));
            asked
        });
    });
    group.finish();
}

/// An agent and a middlebox that share a pair of byte streams.
struct Pair {
    agent: agent::Session,
    middlebox: middlebox::Session,
    to_agent: Outbox<agent::Output>,
    to_middlebox: Outbox<middlebox::Output>,
    requests: Vec<u32>,
}

impl Pair {
    fn open() -> Self {
        let capabilities = Capabilities {
            firewall: true,
            nat: false,
            port_translation: false,
            protocol_translation: false,
            twice_nat: false,
            disable_rules: false,
            internal_wildcards: true,
            external_wildcards: true,
            port_wildcards: true,
            persistent: true,
            inside: IpVersions::Both,
            outside: IpVersions::Both,
            lifetime_max: Lifetime(3600),
        };
        let config = middlebox::Config::new(capabilities, middlebox::Admission::Admitted);
        let mut pair = Self {
            agent: agent::Session::new(agent::Config::default()),
            middlebox: middlebox::Session::new(NOW, config),
            to_agent: Outbox::new(),
            to_middlebox: Outbox::new(),
            requests: Vec::new(),
        };
        pair.agent.connected(NOW, &mut pair.to_agent);
        pair.carry();
        pair
    }

    /// Carries requests to the middlebox and replies back.
    fn carry(&mut self) {
        for output in self.to_agent.drain() {
            if let agent::Output::Send(bytes) = output {
                self.middlebox.receive(NOW, &bytes, &mut self.to_middlebox);
            }
        }
        self.answer();
        for output in self.to_middlebox.drain() {
            if let middlebox::Output::Send(bytes) = output {
                self.agent.receive(NOW, &bytes, &mut self.to_agent);
            }
        }
        black_box(self.to_agent.drain().count());
    }

    fn answer(&mut self) {
        self.requests.extend(self.to_middlebox.iter().filter_map(|output| match output {
            middlebox::Output::Request { tid, .. } => Some(*tid),
            middlebox::Output::Send(_)
            | middlebox::Output::Opened
            | middlebox::Output::Closed
            | middlebox::Output::Close => None,
        }));
        for tid in self.requests.drain(..) {
            self.middlebox.reply(NOW, tid, Ok(enabled()), &mut self.to_middlebox);
        }
    }
}

fn sessions(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("simco_sessions");
    for count in [1_u64, 100] {
        let mut pair = Pair::open();
        group.throughput(criterion::Throughput::Elements(count));
        group.bench_function(format!("{count}_requests"), |bencher| {
            bencher.iter(|| {
                for id in 0..count {
                    pair.agent.request(NOW, RequestId(id), enable(), &mut pair.to_agent);
                }
                pair.carry();
            });
        });
    }
    group.finish();
}

criterion_group!(benches, wire, sessions);
criterion_main!(benches);
