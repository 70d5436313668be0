//! Measures what one entry costs: `cargo run --release -p postern-nftables --example commits`.
//!
//! Runs in a network namespace of its own. Prints microseconds per entry, commit and acknowledgement included.
#![allow(clippy::print_stdout, reason = "its output is its purpose")]

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use midcom::{Direction, Lifetime, Protocol, Tuple};
use middlebox::{
    AgentId, AgentPolicy, Authority, Engine, Opening, Operation, Permit, Policy, Realm, Realms, ReversePath,
    Rights, Side,
};
use postern_nftables::{GateConfig, Nft};

const AGENT: AgentId = AgentId(1);
const HOUR: Duration = Duration::from_secs(3600);
const ROUNDS: usize = 2000;

fn main() -> Result<(), Box<dyn Error>> {
    netns::become_root()?;
    let host = netns::Host::new("measured")?;
    let realms = realms()?;
    let engine = || Nft::open(GateConfig::new(realms.clone())).map_err(io::Error::other);
    let mut engine = host.run(engine)?;
    let features = engine.features();
    let permits = permits(&realms)?;
    println!("{features}\n{:>22} {:>10} {:>10} {:>10}", "", "add", "extend", "close");
    for size in [1, 4, 100, 1000] {
        for filled in [0, 10_000] {
            let (before, rest) = permits.split_at(filled);
            run(&mut engine, before, 1000, add)?;
            let some = rest.get(..(ROUNDS * size).min(rest.len())).unwrap_or(rest);
            let times = [
                run(&mut engine, some, size, add)?,
                run(&mut engine, some, size, extend)?,
                run(&mut engine, some, size, remove)?,
            ];
            let [add, extend, close] = times.map(|t| t.as_secs_f64() * 1e6 / some.len() as f64);
            println!("batch {size:>4}, held {filled:>5} {add:>10.2} {extend:>10.2} {close:>10.2}");
            if size == 100 && filled > 0 {
                read(&mut engine, before);
            }
            run(&mut engine, before, 1000, remove)?;
        }
    }
    Ok(())
}

fn add(permit: &Permit) -> Operation {
    Operation::Add { permit: permit.clone(), lifetime: HOUR }
}

fn extend(permit: &Permit) -> Operation {
    Operation::Extend { permit: permit.clone(), lifetime: HOUR }
}

fn remove(permit: &Permit) -> Operation {
    Operation::Remove { key: permit.key() }
}

fn run(
    engine: &mut Nft,
    permits: &[Permit],
    size: usize,
    operation: fn(&Permit) -> Operation,
) -> Result<Duration, Box<dyn Error>> {
    let batches: Vec<Vec<Operation>> =
        permits.chunks(size).map(|some| some.iter().map(operation).collect()).collect();
    let begin = Instant::now();
    for batch in &batches {
        for result in engine.apply(batch) {
            result?;
        }
    }
    Ok(begin.elapsed())
}

fn read(engine: &mut Nft, permits: &[Permit]) {
    let keys: Vec<_> = permits.iter().map(Permit::key).collect();
    let begin = Instant::now();
    let found = engine.counters(&keys).iter().flatten().count();
    println!("  {found} counters by key: {:.2} us each", begin.elapsed().as_secs_f64() * 1e6 / found as f64);
    let begin = Instant::now();
    let found = engine.entries().map_or(0, |entries| entries.len());
    println!("  {found} entries dumped: {:.1} ms", begin.elapsed().as_secs_f64() * 1e3);
}

fn realms() -> Result<Realms, Box<dyn Error>> {
    let realm = |name: &str, side, networks| Realm {
        name: name.into(),
        side,
        networks,
        ports: 16384..=32767,
        interfaces: Vec::new(),
        managed: true,
        reverse_path: ReversePath::Strict,
    };
    let inside = realm("inside", Side::Inside, vec!["10.0.0.0/8".parse()?]);
    Ok(Realms::new(vec![inside, realm("outside", Side::Outside, Vec::new())])?)
}

/// Pairs of ports of many phones, from one host each.
fn permits(realms: &Realms) -> Result<Vec<Permit>, Box<dyn Error>> {
    let agent = AgentPolicy {
        name: "bench".into(),
        internal: vec!["10.0.0.0/8".parse()?],
        ports: 1..=65535,
        rules_max: u32::MAX,
        lifetime_max: Lifetime(u32::MAX),
        rights: Rights::default(),
    };
    let policy = Policy { agents: BTreeMap::from([(AGENT, agent)]), ..Policy::default() };
    let authority = Authority::new(realms.clone(), policy, true);
    let mut permits = Vec::new();
    for phone in 0..15u8 {
        for port in (16384..32768).step_by(2) {
            let internal = SocketAddr::from(([10, 0, 0, phone], port));
            let external = SocketAddr::from(([198, 51, 100, phone], 0));
            let opening = Opening {
                direction: Direction::Inbound,
                internal: Tuple::host(internal, Protocol::Udp, 2),
                external: Tuple::host(external, Protocol::Udp, 2),
            };
            permits.extend(authority.permit(AGENT, &opening)?);
        }
    }
    Ok(permits)
}
