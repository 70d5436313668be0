//! `cargo bench -p postern-bench --bench transaction`
//!
//! One iteration is all that an endpoint does for one call of a B2BUA: twelve messages in or out on two legs, six
//! transactions. Time moves on by what a rate of 3,000 calls/s leaves for each, so that about 100,000 finished calls
//! still absorb repetitions, as they would in operation.

use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use machine::{Instant, Outbox, Rng};
use sip::endpoint::{Config, Endpoint, Incoming, Limits, Listener, ServerKey, Transmit};
use sip::message::{Builder, Message, Method, Name};
use sip::transaction::TimerValues;
use sip::transport::{Hop, ListenerId, Protocol};

const SDP: &str = "v=0\r\no=a 1 1 IN IP4 192.0.2.9\r\ns=-\r\nc=IN IP4 192.0.2.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0 8 101\r\n\
                   a=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";
const RATE: u64 = 3_000;

struct Relay {
    now: Instant,
    endpoint: Endpoint,
    out: Outbox<Transmit>,
    tu: Outbox<Incoming>,
    calls: u64,
}

fn hop(host: u8) -> Hop {
    let remote = ([192, 0, 2, host], 5060).into();
    Hop { listener: ListenerId(0), protocol: Protocol::Udp, remote, connection: None, name: None }
}

impl Relay {
    fn new() -> Self {
        let listener = Listener {
            id: ListenerId(0),
            protocol: Protocol::Udp,
            address: ([192, 0, 2, 1], 5060).into(),
            sent_by: "192.0.2.1:5060".to_owned(),
            longer: None,
        };
        let config = Config {
            timers: TimerValues::default(),
            listeners: vec![listener],
            branch_prefix: "0".to_owned(),
            limits: Limits::default(),
        };
        Self {
            now: Instant::ZERO,
            endpoint: Endpoint::new(config, Rng::from_number(1)),
            out: Outbox::new(),
            tu: Outbox::new(),
            calls: 0,
        }
    }

    fn receive(&mut self, from: u8, bytes: Bytes) {
        self.endpoint.receive(self.now, hop(from), bytes, &mut self.out, &mut self.tu);
    }

    fn asked(&mut self, method: &str, body: &str) -> (ServerKey, Message) {
        let (call, len) = (self.calls, body.len());
        self.receive(
            9,
            Bytes::from(format!(
                "{method} sip:b@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bK{method}{call}\r\n\
                 Max-Forwards: 70\r\nFrom: \"A\" <sip:a@192.0.2.9>;tag=f{call}\r\nTo: <sip:b@192.0.2.1>\r\n\
                 Call-ID: {call}@192.0.2.9\r\nCSeq: 1 {method}\r\nContact: <sip:a@192.0.2.9>\r\nUser-Agent: bench\r\n\
                 Content-Type: application/sdp\r\nContent-Length: {len}\r\n\r\n{body}"
            )),
        );
        match self.tu.drain().next_back() {
            Some(Incoming::Request { key, message, .. }) => (key, message),
            other => unreachable!("a request is heard, not {other:?}"),
        }
    }

    fn respond(&mut self, (key, request): &(ServerKey, Message), status: u16, body: &str) {
        let response = Builder::response_to(request, status, "OK", Some("tt"))
            .header(Name::Contact, "<sip:b@192.0.2.1>")
            .body("application/sdp", body);
        self.endpoint.respond(self.now, *key, response, &mut self.out);
    }

    fn ask(&mut self, method: &Method, body: &str) -> Message {
        let call = self.calls;
        let request = Builder::request(method, "sip:b@192.0.2.8")
            .header(Name::MaxForwards, "69")
            .header(Name::From, format!("<sip:a@192.0.2.1>;tag=o{call}"))
            .header(Name::To, "<sip:b@192.0.2.8>")
            .header(Name::CallId, format!("o{call}@192.0.2.1"))
            .header_fmt(Name::CSeq, format_args!("1 {method}"))
            .header(Name::Contact, "<sip:a@192.0.2.1>")
            .body("application/sdp", body);
        if *method == Method::Ack {
            self.endpoint.send_ack(hop(8), request, &mut self.out);
        } else {
            self.endpoint.request(self.now, hop(8), request, &mut self.out);
        }
        let sent = self.out.drain().next_back().map(|transmit| transmit.bytes).unwrap_or_default();
        Message::parse(sent).unwrap_or_else(|error| unreachable!("what we write can be read: {error}"))
    }

    fn answered(&mut self, request: &Message, status: u16, body: &str) {
        let response = Builder::response_to(request, status, "OK", Some("bt")).body("application/sdp", body);
        self.receive(8, response.finish());
        self.tu.drain();
    }

    fn call(&mut self) {
        self.calls += 1;
        let a = self.asked("INVITE", SDP);
        let b = self.ask(&Method::Invite, SDP);
        self.answered(&b, 180, "");
        self.respond(&a, 180, "");
        self.answered(&b, 200, SDP);
        self.ask(&Method::Ack, "");
        self.respond(&a, 200, SDP);
        let bye = self.asked("BYE", "");
        let bye_b = self.ask(&Method::Bye, "");
        self.answered(&bye_b, 200, "");
        self.respond(&bye, 200, "");
        self.out.drain();
        self.now += Duration::from_secs(1) / RATE as u32;
        self.endpoint.handle_timeout(self.now, &mut self.out, &mut self.tu);
        self.out.drain();
        self.tu.drain();
    }
}

fn transactions(criterion: &mut Criterion) {
    let mut relay = Relay::new();
    for _ in 0..RATE * 33 {
        relay.call();
    }
    eprintln!("held at {RATE} calls/s (clients, servers): {:?}; {}", relay.endpoint.len(), resident());
    criterion.bench_function("transaction/call_on_two_legs", |bencher| bencher.iter(|| relay.call()));
    let mut empty = Relay::new();
    criterion.bench_function("transaction/invite_server_alone", |bencher| {
        bencher.iter(|| {
            empty.calls += 1;
            let asked = empty.asked("INVITE", SDP);
            empty.respond(&asked, 200, SDP);
            empty.out.drain();
            empty.now += Duration::from_millis(10);
            empty.endpoint.handle_timeout(empty.now, &mut empty.out, &mut empty.tu);
        });
    });
}

/// What the kernel says about this process's memory; empty where there is no such file.
fn resident() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().find(|line| line.starts_with("VmRSS")).unwrap_or_default().to_owned()
}

criterion_group!(benches, transactions);
criterion_main!(benches);
