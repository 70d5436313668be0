//! So many plain calls through the B2BUA machine, and nothing else: for tools that count instructions, which no other load disturbs.
//!
//! ```sh
//! cargo build --release -p postern-bench --bin calls && valgrind --tool=callgrind target/release/calls 6000
//! ```
//!
//! What starting costs is gone in the difference between two numbers of calls.

use std::process::ExitCode;
use std::time::Duration;

use postern_bench::call::Border;

/// As many calls a second as in `benches/call.rs`.
const STEP: Duration = Duration::from_nanos(1_000_000_000 / 3_000);

fn main() -> ExitCode {
    let Some(calls) = std::env::args().nth(1).and_then(|text| text.parse::<u32>().ok()) else {
        return ExitCode::FAILURE;
    };
    let mut border = Border::new();
    for _ in 0..calls {
        border.call();
        border.pass(STEP);
    }
    ExitCode::SUCCESS
}
