//! What writing down costs here: `cargo run --release -p postern-journal --bin journal-cost FILE`. `docs/performance.md`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use midcom::{Direction, Gid, Parity, Prid, Protocol, Tuple};
use middlebox::{AgentId, Change, StoredAction, StoredRule};
use postern_journal::{Journal, Wall};

fn change(number: u32) -> Change {
    let port = 16_384 + (number % 8_000) as u16 * 2;
    let host = |last: u32| std::net::IpAddr::from([10, 0, (last >> 8) as u8, last as u8]);
    let tuple = |address: u32, port| Tuple::host((host(address), port).into(), Protocol::Udp, 2);
    Change::Put(StoredRule {
        prid: Prid(number),
        group: Gid(number / 2),
        owner: AgentId(0),
        action: StoredAction::Enable {
            parity: Parity::Any,
            direction: Direction::Inbound,
            internal: tuple(number / 8_000, port),
            external: tuple(1, 0),
            outside: None,
        },
        deadline: machine::Instant::ZERO + Duration::from_secs(600),
    })
}

fn main() -> ExitCode {
    let Some(path) = std::env::args_os().nth(1).map(PathBuf::from) else {
        eprintln!("usage: journal-cost FILE");
        return ExitCode::from(2);
    };
    match measure(&path) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn measure(path: &std::path::Path) -> std::io::Result<()> {
    let wall = Wall::read(machine::Instant::ZERO);
    let mut next = 0;
    for batch in [1_u32, 10, 100, 1_000] {
        let (mut journal, _) = Journal::open(path, &wall)?;
        let mut times: Vec<Duration> = Vec::new();
        for _ in 0..200 {
            let changes: Vec<Change> = (next..next + batch).map(change).collect();
            next += batch;
            let begun = Instant::now();
            journal.append(&changes, &wall)?;
            times.push(begun.elapsed());
        }
        times.sort_unstable();
        let (middle, late) = (times[times.len() / 2], times[times.len() * 99 / 100]);
        eprintln!("{batch} changes at a time: p50 {middle:?}, p99 {late:?}");
    }
    let begun = Instant::now();
    let (_, found) = Journal::open(path, &wall)?;
    eprintln!("read back and written anew: {:?}, {} bytes", begun.elapsed(), std::fs::metadata(path)?.len());
    drop(found);
    std::fs::remove_file(path)
}
