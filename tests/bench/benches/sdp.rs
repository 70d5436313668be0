//! `cargo bench -p postern-bench --bench sdp`
//!
//! What a call costs in descriptions: reading one, finding and checking its flows, writing it with our origin.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sdp::{MediaPolicy, Origin, Session};

const OFFER: &[u8] = b"v=0\r\n\
o=alice 2890844526 2890844526 IN IP4 10.0.0.7\r\n\
s=-\r\n\
c=IN IP4 10.0.0.7\r\n\
t=0 0\r\n\
m=audio 20000 RTP/AVP 96 0 8 101\r\n\
a=rtpmap:96 opus/48000/2\r\n\
a=fmtp:96 useinbandfec=1\r\n\
a=rtpmap:0 PCMU/8000\r\n\
a=rtpmap:8 PCMA/8000\r\n\
a=rtpmap:101 telephone-event/8000\r\n\
a=fmtp:101 0-16\r\n\
a=ptime:20\r\n\
a=rtcp:20001\r\n\
a=sendrecv\r\n";

fn policy() -> MediaPolicy {
    MediaPolicy {
        networks: vec!["10.0.0.0/24".parse().expect("a network")],
        ports: 16384..=32767,
        own_addresses: vec![[10, 0, 0, 1].into()],
        outside_places: Vec::new(),
        flows_max: 16,
    }
}

fn relayed(session: &Session<'_>) -> Vec<u8> {
    let origin = Origin { username: "-", session_id: 7, version: 1, address: [192, 0, 2, 1].into() };
    session.patch().origin(origin).finish()
}

fn descriptions(criterion: &mut Criterion) {
    let policy = policy();
    let parsed = Session::parse(OFFER).expect("well formed");
    let flows = sdp::flows(&parsed).expect("plain flows");
    let mut group = criterion.benchmark_group("sdp");
    group.throughput(Throughput::Bytes(OFFER.len() as u64));
    group.bench_function("parse", |bencher| bencher.iter(|| Session::parse(black_box(OFFER))));
    group.bench_function("flows", |bencher| bencher.iter(|| sdp::flows(black_box(&parsed))));
    group.bench_function("check", |bencher| bencher.iter(|| sdp::check(black_box(&flows), &policy)));
    group.bench_function("relay", |bencher| bencher.iter(|| relayed(black_box(&parsed))));
    let streams = "v=0\no=- 1 1 IN IP4 10.0.0.7\ns=-\n".to_owned() + &"m=a 9 b c\n".repeat(5000);
    group.bench_function("refuse_5000_streams", |bencher| {
        bencher.iter(|| Session::parse(black_box(streams.as_bytes())).is_err());
    });
    group.finish();
}

criterion_group!(benches, descriptions);
criterion_main!(benches);
