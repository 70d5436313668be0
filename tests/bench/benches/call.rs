//! `cargo bench -p postern-bench --bench call`
//!
//! One iteration is all that the B2BUA machine does for one call: six SIP messages in, seven out, four questions to a
//! middlebox and their answers. Time moves on by what a rate of 3,000 calls/s leaves for each, so that about 100,000
//! finished calls still absorb repetitions. What the peers do is not counted.

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use postern_bench::call::Border;

const RATE: u64 = 3_000;

fn call(criterion: &mut Criterion) {
    let mut border = Border::new();
    let step = Duration::from_nanos(1_000_000_000 / RATE);
    criterion.bench_function("call", |bencher| {
        bencher.iter_custom(|rounds| {
            border.spent = Duration::ZERO;
            for _ in 0..rounds {
                border.call();
                border.pass(step);
            }
            border.spent
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(8));
    targets = call
}
criterion_main!(benches);
