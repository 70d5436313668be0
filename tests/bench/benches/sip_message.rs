//! `cargo bench -p postern-bench --bench sip_message`

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use postern_bench::sip_message::{invite, read, relay};
use sip::message::stream::Framer;
use sip::message::{Builder, Message};

fn messages(criterion: &mut Criterion) {
    let bytes = invite();
    let parsed = Message::parse(bytes.clone()).expect("well formed");
    let mut group = criterion.benchmark_group("sip_message");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("parse", |bencher| bencher.iter(|| Message::parse(black_box(&bytes).clone())));
    group.bench_function("read", |bencher| bencher.iter(|| read(black_box(&parsed))));
    group.bench_function("relay", |bencher| bencher.iter(|| relay(black_box(&parsed))));
    group.bench_function("parse_read_relay", |bencher| {
        bencher.iter(|| {
            let message = Message::parse(black_box(&bytes).clone()).expect("well formed");
            (read(&message), relay(&message))
        });
    });
    group.bench_function("response", |bencher| {
        bencher.iter(|| Builder::response_to(black_box(&parsed), 180, "Ringing", Some("p1-1")).finish());
    });
    group.bench_function("frame", |bencher| {
        let mut framer = Framer::new();
        bencher.iter(|| {
            framer.push(black_box(&bytes));
            framer.next()
        });
    });
    group.finish();
}

criterion_group!(benches, messages);
criterion_main!(benches);
