//! Whole calls through the B2BUA machine: two peers that say the least a call needs, a middlebox that says yes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant as Clock};

use b2bua::config::{
    CallPolicy, Codes, Config, Host, Limits, Listener, Middlebox, NextHop, Realm, RealmId, RealmPolicy,
    Route, Timers,
};
use b2bua::{B2bua, Input, Output, ledger};
use bytes::Bytes;
use machine::{Instant, Machine, Outbox, Rng};
use midcom::{
    AgentEvent, Capabilities, Gid, IpVersions, Lifetime, MiddleboxId, Prid, Reply, Request, RequestId,
};
use sip::message::{Builder, Message, Name};
use sip::transport::{Hop, ListenerId, Protocol};

const A: &str = "192.0.2.10:5060";
const B: &str = "10.0.0.5:5060";

/// A B2BUA between two peers, and how long its `handle` took.
#[derive(Debug)]
pub struct Border {
    now: Instant,
    b2bua: B2bua,
    prids: u32,
    /// Time inside the machine, its users' part left out.
    pub spent: Duration,
    to_a: Option<Bytes>,
    to_b: Option<Bytes>,
    calls: u64,
}

/// A call that was answered.
#[derive(Debug)]
pub struct Established {
    number: u64,
    /// To with our tag.
    to: String,
}

impl Border {
    /// A B2BUA with the middlebox up. `source = "realm"`: two rules for a call.
    #[must_use]
    pub fn new() -> Self {
        Self::limited(Limits::default().calls)
    }

    /// The same, with room for so many calls.
    #[must_use]
    pub fn limited(calls: usize) -> Self {
        let limits = Limits { calls, ..Limits::default() };
        let mut border = Self {
            now: Instant::ZERO,
            b2bua: B2bua::new(Config { limits, ..config() }, Rng::from_number(1)),
            prids: 0,
            spent: Duration::ZERO,
            to_a: None,
            to_b: None,
            calls: 0,
        };
        border.midcom(AgentEvent::Up(capabilities()));
        border
    }

    /// A whole call, INVITE to BYE.
    pub fn call(&mut self) {
        let established = self.establish();
        self.hang_up(&established);
    }

    /// INVITE, and then nothing.
    pub fn dial(&mut self) -> u64 {
        self.calls += 1;
        let number = self.calls;
        self.a_says(
            format!("INVITE sip:b@203.0.113.1 SIP/2.0\r\n{}", self.lines(number, 1, "INVITE", "")),
            SDP_A,
        );
        number
    }

    /// What the caller was told last.
    #[must_use]
    pub fn told(&self) -> u16 {
        let last = self.to_a.clone().and_then(|bytes| Message::parse(bytes).ok());
        last.map_or(0, |message| message.status())
    }

    /// INVITE, 180, 200, ACK.
    pub fn establish(&mut self) -> Established {
        let number = self.dial();
        let invite = self.to_b.take();
        self.b_says(respond(invite.as_ref(), 180, ""));
        self.b_says(respond(invite.as_ref(), 200, SDP_B));
        let answer = self.to_a.take().and_then(|bytes| Message::parse(bytes).ok());
        let to = answer.as_ref().and_then(|answer| answer.header(Name::To)).unwrap_or_default();
        let to = String::from_utf8_lossy(to).into_owned();
        self.a_says(format!("ACK sip:203.0.113.1 SIP/2.0\r\n{}", self.lines(number, 1, "ACK", &to)), "");
        Established { number, to }
    }

    /// BYE and its answer.
    pub fn hang_up(&mut self, Established { number, to }: &Established) {
        self.a_says(format!("BYE sip:203.0.113.1 SIP/2.0\r\n{}", self.lines(*number, 2, "BYE", to)), "");
        let bye = self.to_b.take();
        self.b_says(respond(bye.as_ref(), 200, ""));
    }

    /// Lets time pass.
    pub fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some((at, _)) = self.b2bua.next_timeout().filter(|(at, _)| *at <= until) {
            self.now = self.now.max(at);
            let mut out = Outbox::new();
            let before = Clock::now();
            self.b2bua.handle_timeout(self.now, &mut out);
            self.spent += before.elapsed();
            self.carry_out(out);
        }
        self.now = until;
    }

    /// How many calls it holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.b2bua.calls().count()
    }

    fn lines(&self, number: u64, cseq: u32, method: &str, to: &str) -> String {
        let to = if to.is_empty() { "<sip:b@203.0.113.1>" } else { to };
        format!(
            "Via: SIP/2.0/UDP {A};branch=z9hG4bK{method}{number}\r\nMax-Forwards: 70\r\n\
             From: \"A\" <sip:a@192.0.2.10>;tag=a{number}\r\nTo: {to}\r\nCall-ID: {number}@192.0.2.10\r\n\
             CSeq: {cseq} {method}\r\nContact: <sip:a@{A}>\r\nUser-Agent: bench\r\n"
        )
    }

    fn a_says(&mut self, head: String, body: &str) {
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        let text = format!("{head}{kind}Content-Length: {}\r\n\r\n{body}", body.len());
        self.receive(A, 0, Bytes::from(text));
    }

    fn b_says(&mut self, bytes: Option<Bytes>) {
        if let Some(bytes) = bytes {
            self.receive(B, 1, bytes);
        }
    }

    fn receive(&mut self, from: &str, listener: u16, bytes: Bytes) {
        let hop = Hop {
            listener: ListenerId(listener),
            protocol: Protocol::Udp,
            remote: address(from),
            connection: None,
            name: None,
        };
        self.handle(Input::Message { hop, bytes });
    }

    fn midcom(&mut self, event: AgentEvent) {
        self.handle(Input::Midcom { middlebox: MiddleboxId(0), event });
    }

    fn handle(&mut self, input: Input) {
        let mut out = Outbox::new();
        let before = Clock::now();
        self.b2bua.handle(self.now, input, &mut out);
        self.spent += before.elapsed();
        self.carry_out(out);
    }

    fn carry_out(&mut self, out: Outbox<Output>) {
        let mut asked: Vec<(RequestId, Request)> = Vec::new();
        for output in out {
            match output {
                Output::Transmit { hop, bytes } if hop.listener == ListenerId(0) => self.to_a = Some(bytes),
                Output::Transmit { bytes, .. } => self.to_b = Some(bytes),
                Output::Midcom { id, request, .. } => asked.push((id, request)),
                Output::Resolve { .. } | Output::Event(_) | Output::ShutdownComplete => {}
            }
        }
        for (id, request) in asked {
            let reply = self.grant(&request);
            self.midcom(AgentEvent::Reply(id, Ok(reply)));
        }
    }

    fn grant(&mut self, request: &Request) -> Reply {
        match request {
            Request::Enable { internal, lifetime, group, .. } => {
                self.prids += 1;
                Reply::Enabled {
                    prid: Prid(self.prids),
                    group: group.unwrap_or(Gid(self.prids)),
                    lifetime: *lifetime,
                    outside: *internal,
                    inside: None,
                }
            }
            Request::Lifetime { lifetime: Lifetime::END, .. } => Reply::Ended,
            Request::Lifetime { lifetime, .. } => Reply::Lifetime(*lifetime),
            Request::List
            | Request::Reserve { .. }
            | Request::EnableReserved { .. }
            | Request::Disable { .. }
            | Request::Status { .. }
            | Request::Count { .. } => Reply::List(Vec::new()),
        }
    }
}

impl Default for Border {
    fn default() -> Self {
        Self::new()
    }
}

const SDP_A: &str = "v=0\r\no=a 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n\
                     m=audio 20000 RTP/AVP 0 8 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n\
                     a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";
const SDP_B: &str = "v=0\r\no=b 1 1 IN IP4 10.0.40.7\r\ns=-\r\nc=IN IP4 10.0.40.7\r\nt=0 0\r\n\
                     m=audio 30000 RTP/AVP 0 101\r\na=rtpmap:0 PCMU/8000\r\n\
                     a=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n";

fn respond(request: Option<&Bytes>, status: u16, sdp: &str) -> Option<Bytes> {
    let request = Message::parse(request?.clone()).ok()?;
    let builder = Builder::response_to(&request, status, "Bench", Some("b1"));
    let builder = builder.header(Name::Contact, format!("<sip:b@{B}>"));
    Some(if sdp.is_empty() { builder.finish() } else { builder.body("application/sdp", sdp).finish() })
}

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap_or_else(|_| ([0, 0, 0, 0], 0).into())
}

fn config() -> Config {
    let realm = |name: &str, network: &str| Realm {
        name: name.into(),
        pinholes: Arc::new(ledger::Realm {
            media: sdp::MediaPolicy {
                networks: network.parse().into_iter().collect(),
                ports: 16_384..=32_767,
                own_addresses: Vec::new(),
                outside_places: Vec::new(),
                flows_max: 16,
            },
            source: ledger::SourcePolicy::Realm,
            early_media: true,
        }),
        policy: RealmPolicy::default(),
        pass: Vec::new(),
        authentication: None,
        registrar: None,
    };
    let listener = |realm, at: &str| Listener {
        realm,
        protocol: Protocol::Udp,
        address: address(at),
        sent_by: at.into(),
    };
    let next_hop = NextHop {
        host: Host::Address(address(B).ip()),
        port: None,
        transport: None,
        secure: false,
        trunk: None,
    };
    Config {
        realms: vec![realm("outside", "0.0.0.0/0"), realm("inside", "10.0.40.0/24")],
        listeners: vec![listener(RealmId(0), "203.0.113.1:5060"), listener(RealmId(1), "10.0.0.1:5060")],
        routes: vec![Route::always(RealmId(1), next_hop)],
        admission: Vec::new(),
        middleboxes: vec![Middlebox {
            name: "fw".into(),
            inside: vec![RealmId(1)],
            outside: vec![RealmId(0)],
            standby_for: None,
        }],
        timers: Timers::default(),
        limits: Limits::default(),
        rule_lifetime: Lifetime(600),
        codes: Codes::DEFAULT,
        pseudonym: "postern".into(),
        shard: 0,
        policy: CallPolicy::default(),
        trunks: Vec::new(),
        users: b2bua::config::Users::default(),
    }
}

fn capabilities() -> Capabilities {
    Capabilities {
        firewall: true,
        nat: false,
        port_translation: false,
        protocol_translation: false,
        twice_nat: false,
        disable_rules: false,
        internal_wildcards: true,
        external_wildcards: true,
        port_wildcards: true,
        persistent: false,
        inside: IpVersions::Both,
        outside: IpVersions::Both,
        lifetime_max: Lifetime(3600),
    }
}
