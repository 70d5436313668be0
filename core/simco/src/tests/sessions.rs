//! Both ends of a session against each other, against noise, and at their limits.

use std::time::Duration;

use machine::{Instant, Outbox, Rng};
use midcom::{
    AgentEvent, Capabilities, DownReason, Failure, IpVersions, Lifetime, Prid, Reply, Request, RequestId,
};
use proptest::prelude::*;

use super::random;
use crate::wire::{BasicType, HEADER_LEN, Header};
use crate::{State, agent, middlebox};

const CAPABILITIES: Capabilities = Capabilities {
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

const ESTABLISH: [u8; 16] = [1, 1, 0, 8, 0, 0, 0, 0, 0, 1, 0, 4, 3, 0, 0, 0];

fn middlebox() -> middlebox::Session {
    middlebox::Session::new(
        Instant::ZERO,
        middlebox::Config::new(CAPABILITIES, middlebox::Admission::Admitted),
    )
}

/// The octets sent, and whether the connection is to be closed.
fn sent(out: Outbox<middlebox::Output>) -> (Vec<u8>, bool) {
    let mut bytes = Vec::new();
    let mut closed = false;
    for output in out {
        match output {
            middlebox::Output::Send(sent) => bytes.extend(sent),
            middlebox::Output::Close => closed = true,
            middlebox::Output::Opened | middlebox::Output::Closed | middlebox::Output::Request { .. } => {}
        }
    }
    (bytes, closed)
}

/// The headers of the messages in `bytes`; all of them whole.
fn headers(mut bytes: &[u8]) -> Vec<Header> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (header, rest) = Header::split(bytes).unwrap();
        found.push(header);
        bytes = &rest[usize::from(header.length)..];
    }
    found
}

/// An agent and a middlebox connected by two pipes that deliver random pieces.
struct Pair {
    agent: agent::Session,
    middlebox: middlebox::Session,
    towards_middlebox: Vec<u8>,
    towards_agent: Vec<u8>,
    asked: Vec<(u32, Request)>,
    events: Vec<AgentEvent>,
    rng: Rng,
}

impl Pair {
    fn new(seed: u64) -> Self {
        let mut pair = Self {
            agent: agent::Session::new(agent::Config::default()),
            middlebox: middlebox(),
            towards_middlebox: Vec::new(),
            towards_agent: Vec::new(),
            asked: Vec::new(),
            events: Vec::new(),
            rng: Rng::from_number(seed),
        };
        let mut out = Outbox::new();
        pair.agent.connected(Instant::ZERO, &mut out);
        pair.on_agent(out);
        pair.settle();
        pair
    }

    fn on_agent(&mut self, out: Outbox<agent::Output>) {
        for output in out {
            match output {
                agent::Output::Send(bytes) => self.towards_middlebox.extend(bytes),
                agent::Output::Event(event) => self.events.push(event),
                agent::Output::Close => {}
            }
        }
    }

    fn on_middlebox(&mut self, out: Outbox<middlebox::Output>) {
        for output in out {
            match output {
                middlebox::Output::Send(bytes) => self.towards_agent.extend(bytes),
                middlebox::Output::Request { tid, request } => self.asked.push((tid, request)),
                middlebox::Output::Opened | middlebox::Output::Closed | middlebox::Output::Close => {}
            }
        }
    }

    fn settle(&mut self) {
        while !self.towards_middlebox.is_empty() || !self.towards_agent.is_empty() {
            let len = 1 + self.rng.below(100) as usize;
            let piece: Vec<u8> =
                self.towards_middlebox.drain(..len.min(self.towards_middlebox.len())).collect();
            let mut out = Outbox::new();
            self.middlebox.receive(Instant::ZERO, &piece, &mut out);
            self.on_middlebox(out);
            let piece: Vec<u8> = self.towards_agent.drain(..len.min(self.towards_agent.len())).collect();
            let mut out = Outbox::new();
            self.agent.receive(Instant::ZERO, &piece, &mut out);
            self.on_agent(out);
        }
    }
}

/// A reply that fits the request; what it says does not matter.
fn fitting(request: &Request) -> Reply {
    let (prid, group, lifetime) = (Prid(17), midcom::Gid(7), Lifetime(60));
    match request {
        Request::Reserve { .. } => Reply::Reserved { prid, group, lifetime, outside: None, inside: None },
        Request::Enable { internal, external, .. } | Request::EnableReserved { internal, external, .. } => {
            Reply::Enabled { prid, group, lifetime, outside: *internal, inside: Some(*external) }
        }
        Request::Disable { .. } => Reply::Disabled { prid, lifetime },
        Request::Lifetime { lifetime: Lifetime::END, .. } => Reply::Ended,
        Request::Lifetime { lifetime, .. } => Reply::Lifetime(*lifetime),
        Request::Status { .. } => Reply::Status(midcom::RuleStatus::Reserved {
            prid,
            group,
            lifetime,
            outside: None,
            protocol: midcom::Protocol::Udp,
            inside: None,
            owner: "agent".to_owned(),
        }),
        Request::List => Reply::List(vec![prid]),
        Request::Count { .. } => Reply::Counted(vec![midcom::Passed { prid, packets: 5 }]),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Requests arrive as they were asked; replies, in any order, reach those who asked.
    #[test]
    fn every_request_gets_its_reply(requests in proptest::collection::vec(random::requests(), 1..40), seed: u64) {
        let mut pair = Pair::new(seed);
        prop_assert_eq!(pair.events.drain(..).collect::<Vec<_>>(), [AgentEvent::Up(CAPABILITIES)]);
        for (id, request) in requests.iter().enumerate() {
            let mut out = Outbox::new();
            pair.agent.request(Instant::ZERO, RequestId(id as u64), request.clone(), &mut out);
            pair.on_agent(out);
        }
        pair.settle();
        let mut asked = std::mem::take(&mut pair.asked);
        prop_assert_eq!(asked.iter().map(|(_, request)| request.clone()).collect::<Vec<_>>(), requests.clone());
        let mut expected = Vec::new();
        while !asked.is_empty() {
            let (tid, request) = asked.swap_remove(pair.rng.below(asked.len() as u64) as usize);
            let result = if pair.rng.percent(30) { Err(Failure::Conflict) } else { Ok(fitting(&request)) };
            // TID 1 was SE, so the first request has TID 2.
            expected.push(AgentEvent::Reply(RequestId(u64::from(tid) - 2), result.clone()));
            let mut out = Outbox::new();
            pair.middlebox.reply(Instant::ZERO, tid, result, &mut out);
            pair.on_middlebox(out);
            pair.settle();
        }
        prop_assert_eq!(std::mem::take(&mut pair.events), expected);
        let mut out = Outbox::new();
        pair.agent.close(Instant::ZERO, &mut out);
        pair.on_agent(out);
        pair.settle();
        prop_assert_eq!(std::mem::take(&mut pair.events), [AgentEvent::Down(DownReason::Closed)]);
        prop_assert_eq!((pair.agent.state(), pair.middlebox.state()), (State::Closed, State::Closed));
    }
}

proptest! {
    /// Noise ends in a legal reply or a closed session, whatever pieces it comes in.
    #[test]
    fn a_middlebox_answers_noise_legally(noise: Vec<u8>, established: bool, piece in 1..50usize) {
        let mut session = middlebox();
        let mut out = Outbox::new();
        if established {
            session.receive(Instant::ZERO, &ESTABLISH, &mut out);
        }
        for bytes in noise.chunks(piece) {
            session.receive(Instant::ZERO, bytes, &mut out);
        }
        session.handle_timeout(Instant::ZERO + Duration::from_secs(61), &mut out);
        session.handle_timeout(Instant::ZERO + Duration::from_secs(65), &mut out);
        let (bytes, closed) = sent(out);
        for header in headers(&bytes) {
            prop_assert_ne!(header.basic_type, BasicType::Request.octet());
            prop_assert!(BasicType::from_octet(header.basic_type).is_some());
        }
        // Nobody stays who did not open a session.
        prop_assert!(session.is_open() || closed);
    }

    /// Messages with a real header and a random inside get exactly one answer each, or are handed on.
    #[test]
    fn a_middlebox_answers_every_message_once(messages in proptest::collection::vec(
        (0..6u8, any::<u8>(), proptest::collection::vec(any::<u8>(), 0..60)), 1..20)) {
        let mut session = middlebox();
        let mut out = Outbox::new();
        session.receive(Instant::ZERO, &ESTABLISH, &mut out);
        for (tid, (basic_type, sub_type, payload)) in (1..).zip(&messages) {
            let sub_type = if *sub_type == 3 { 4 } else { *sub_type };
            let length = u16::try_from(payload.len()).unwrap();
            let header = Header { basic_type: *basic_type, sub_type, length, tid };
            session.receive(Instant::ZERO, &[&header.octets()[..], payload].concat(), &mut out);
        }
        let handed_on = out.iter().filter(|output| matches!(output, middlebox::Output::Request { .. })).count();
        let (bytes, closed) = sent(out);
        prop_assert!(!closed);
        prop_assert_eq!(headers(&bytes).len() + handed_on, messages.len() + 1);
    }

    /// An agent survives anything, and every request is answered exactly once.
    #[test]
    fn an_agent_answers_every_request_once(noise: Vec<u8>, open: bool, piece in 1..50usize) {
        let mut session = agent::Session::new(agent::Config::default());
        let mut out = Outbox::new();
        session.connected(Instant::ZERO, &mut out);
        if open {
            let up = [2, 1, 0, 12, 0, 0, 0, 1, 0, 4, 0, 8, 0x90, 0xe5, 0, 0, 0, 0, 0x0e, 0x10];
            session.receive(Instant::ZERO, &up, &mut out);
        }
        for id in 0..10 {
            session.request(Instant::ZERO, RequestId(id), Request::List, &mut out);
        }
        for bytes in noise.chunks(piece) {
            session.receive(Instant::ZERO, bytes, &mut out);
        }
        let mut now = Instant::ZERO;
        while let Some((at, _)) = session.next_timeout() {
            prop_assert!(at > now, "a timeout must be used up");
            now = at;
            session.handle_timeout(now, &mut out);
        }
        session.disconnected(now, "end", &mut out);
        let mut answered: Vec<u64> = out
            .iter()
            .filter_map(|output| match output {
                agent::Output::Event(AgentEvent::Reply(id, _)) => Some(id.0),
                agent::Output::Event(_) | agent::Output::Send(_) | agent::Output::Close => None,
            })
            .collect();
        answered.sort_unstable();
        prop_assert_eq!(answered, (0..10).collect::<Vec<_>>());
        let downs = out
            .iter()
            .filter(|output| matches!(output, agent::Output::Event(AgentEvent::Down(_))))
            .count();
        prop_assert_eq!(downs, 1);
    }
}

//= test RFC 4540 §4.2.5: an agent uses no TID twice in a session.
#[test]
fn requests_of_one_batch_leave_in_one_piece_with_rising_tids() {
    let mut pair = Pair::new(1);
    let mut out = Outbox::new();
    for id in 0..1000 {
        pair.agent.request(Instant::ZERO, RequestId(id), Request::List, &mut out);
    }
    let outputs: Vec<_> = out.into_iter().collect();
    let [agent::Output::Send(bytes)] = &outputs[..] else { panic!("{} outputs", outputs.len()) };
    let tids: Vec<u32> = headers(bytes).iter().map(|header| header.tid).collect();
    assert_eq!(tids, (2..1002).collect::<Vec<_>>());
}

/// One who sends without end, and never a whole message, costs no more than one message.
#[test]
fn half_messages_take_no_more_memory_than_a_whole_one() {
    let mut session = middlebox();
    let mut out = Outbox::new();
    session.receive(Instant::ZERO, &ESTABLISH, &mut out);
    session.receive(Instant::ZERO, &[1, 0x12, 0x20, 0, 0, 0, 0, 2], &mut out);
    for _ in 0..8191 {
        session.receive(Instant::ZERO, &[0], &mut out);
        assert!(session.is_open());
    }
    session.receive(Instant::ZERO, &[0], &mut out);
    let (bytes, closed) = sent(out);
    assert!(!closed);
    assert_eq!(headers(&bytes).last().map(|header| header.message_type()), Some(0x0312));
    assert_eq!(bytes.len(), 20 + HEADER_LEN);
}

/// A peer that never waits for replies is held at the limit.
#[test]
fn open_requests_are_limited() {
    let mut config = middlebox::Config::new(CAPABILITIES, middlebox::Admission::Admitted);
    config.open_requests_max = 100;
    let mut session = middlebox::Session::new(Instant::ZERO, config);
    let mut out = Outbox::new();
    session.receive(Instant::ZERO, &ESTABLISH, &mut out);
    for tid in 1..=1000 {
        let header = Header { basic_type: 1, sub_type: 0x22, length: 0, tid };
        session.receive(Instant::ZERO, &header.octets(), &mut out);
    }
    let handed_on = out.iter().filter(|output| matches!(output, middlebox::Output::Request { .. })).count();
    let (bytes, _) = sent(out);
    let refused = headers(&bytes).iter().filter(|header| header.message_type() == 0x0342).count();
    assert_eq!((handed_on, refused), (100, 900));
}
