//! One endpoint, one peer, messages as text.

mod client;
mod refusals;
mod server;

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::message::{Message, Method};
use crate::transaction::TimerValues;
use crate::transport::ConnectionId;

const PEER: &str = "192.0.2.9:5060";

fn hop(remote: &str) -> Hop {
    Hop {
        listener: ListenerId(0),
        protocol: Protocol::Udp,
        remote: remote.parse().unwrap(),
        connection: None,
        name: None,
    }
}

fn tcp(remote: &str) -> Hop {
    Hop { listener: ListenerId(1), protocol: Protocol::Tcp, connection: Some(ConnectionId(7)), ..hop(remote) }
}

struct Subject {
    now: Instant,
    endpoint: Endpoint,
    out: Outbox<Transmit>,
    tu: Outbox<Incoming>,
}

impl Subject {
    fn new() -> Self {
        Self::with_limit(1_000)
    }

    fn with_limit(transactions_max: usize) -> Self {
        let address: SocketAddr = "192.0.2.1:5060".parse().unwrap();
        let listener = |id, protocol| Listener {
            id: ListenerId(id),
            protocol,
            address,
            sent_by: "Us.example:5060".to_owned(),
            longer: (protocol == Protocol::Udp).then_some(ListenerId(1)),
        };
        let config = Config {
            timers: TimerValues::default(),
            listeners: vec![listener(0, Protocol::Udp), listener(1, Protocol::Tcp)],
            branch_prefix: "7".to_owned(),
            limits: Limits { transactions_max, retry_after_s: 5 },
        };
        Self {
            now: Instant::ZERO,
            endpoint: Endpoint::new(config, Rng::from_number(1)),
            out: Outbox::new(),
            tu: Outbox::new(),
        }
    }

    fn receive_from(&mut self, hop: Hop, text: &str) -> &mut Self {
        let bytes = Bytes::from(text.replace("\r\n", "\n").replace('\n', "\r\n"));
        self.endpoint.receive(self.now, hop, bytes, &mut self.out, &mut self.tu);
        self
    }

    fn receive(&mut self, text: &str) -> &mut Self {
        self.receive_from(hop(PEER), text)
    }

    fn wait(&mut self, time: Duration) -> &mut Self {
        let end = self.now + time;
        while let Some((at, _)) = self.endpoint.next_timeout().filter(|(at, _)| *at <= end) {
            self.now = at;
            self.endpoint.handle_timeout(at, &mut self.out, &mut self.tu);
        }
        self.now = end;
        self
    }

    fn respond(&mut self, key: ServerKey, request: &Message, status: u16) -> bool {
        let response = Builder::response_to(request, status, "X", Some("tt"));
        self.endpoint.respond(self.now, key, response, &mut self.out).is_some()
    }

    fn ask(&mut self, method: &Method) -> (ClientKey, Message) {
        self.ask_over(hop(PEER), method)
    }

    fn ask_over(&mut self, hop: Hop, method: &Method) -> (ClientKey, Message) {
        let request = Builder::request(method, "sip:b@peer.example")
            .header(Name::MaxForwards, "70")
            .header(Name::Route, "<sip:p1;lr>")
            .header(Name::From, "<sip:a@us.example>;tag=ft")
            .header(Name::To, "<sip:b@peer.example>")
            .header(Name::CallId, "out-1")
            .header(Name::CSeq, format!("5 {method}"))
            .header(Name::Require, "100rel");
        let key = self.endpoint.request(self.now, hop, request, &mut self.out);
        let sent = self.out.iter().last().unwrap().bytes.clone();
        (key, Message::parse(sent).unwrap())
    }

    /// The peer's answer to a request of ours.
    fn answer(&mut self, request: &Message, status: u16, tag: &str) -> &mut Self {
        let answer =
            Builder::response_to(request, status, "X", Some(tag).filter(|tag| !tag.is_empty())).finish();
        self.endpoint.receive(self.now, hop(PEER), answer, &mut self.out, &mut self.tu);
        self
    }

    /// What was sent since the last look: first lines without "SIP/2.0".
    fn sent(&mut self) -> Vec<String> {
        self.transmits().iter().map(|transmit| first_line(&transmit.bytes)).collect()
    }

    fn transmits(&mut self) -> Vec<Transmit> {
        self.out.drain().collect()
    }

    /// What the transaction user heard since the last look.
    fn heard(&mut self) -> Vec<Incoming> {
        self.tu.drain().collect()
    }

    fn request(&mut self) -> (ServerKey, Message) {
        match self.heard().pop() {
            Some(Incoming::Request { key, message, .. }) => (key, message),
            other => panic!("no request but {other:?}"),
        }
    }
}

fn first_line(bytes: &[u8]) -> String {
    let line = bytes.split(|&byte| byte == b'\r').next().unwrap();
    String::from_utf8_lossy(line).replace("SIP/2.0", "").trim().to_owned()
}

fn text(transmit: &Transmit) -> String {
    String::from_utf8_lossy(&transmit.bytes).replace("\r\n", "\n")
}

/// A request of the peer; `via` is what follows `SIP/2.0/UDP `.
fn asked(method: &str, via: &str, extra: &str) -> String {
    format!(
        "{method} sip:us@192.0.2.1 SIP/2.0\nVia: SIP/2.0/UDP {via}\nFrom: <sip:p@peer>;tag=pt\nTo: <sip:us@us>\n\
         Call-ID: in-1\nCSeq: 3 {method}\n{extra}\n"
    )
}

const VIA: &str = "192.0.2.9;branch=z9hG4bKa1";
