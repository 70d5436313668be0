//! The agent's end: every request is answered exactly once, whatever the middlebox sends.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use machine::{Instant, Outbox};
use midcom::{AgentEvent, Failure, Lifetime, Prid, Reply, Request, RequestId};
use simco::agent::{Config, Output, Proof, Session};
use simco::authentication::{Challenges, Role, Secret, TOKEN_LEN};
use simco::wire::{AgentMessage, Header, MiddleboxMessage, Opaque};

use super::{ASK, CAPABILITIES, END, LINK, PASS, RECEIVE, REPLY, STEPS, WORDS};
use crate::reader::Reader;
use crate::{Corpus, Target};

/// See [`run`].
pub const TARGET: Target = Target {
    name: "simco_agent",
    run,
    mutations: 100_000,
    corpora: &[Corpus::Cases("simco", "case", inputs)],
    words: WORDS,
};

fn inputs(case: &str) -> Vec<Vec<u8>> {
    super::inputs(case, "agent")
}

/// Few, so that inputs reach it.
const OPEN_MAX: usize = 8;

struct World {
    now: Instant,
    session: Session,
    asked: u64,
    /// Not answered yet.
    open: BTreeSet<RequestId>,
    /// What the middlebox has not answered yet.
    sent: BTreeMap<u32, Sent>,
    /// Rules whose end has been asked for.
    ended: BTreeSet<Prid>,
    /// What has arrived of a message that is not whole.
    arrived: Vec<u8>,
    connected: bool,
    /// This connection asks the middlebox to prove itself.
    proves: bool,
    up: bool,
}

/// A message the middlebox has received.
#[derive(Debug)]
enum Sent {
    /// With the challenge of an SE that has one.
    Control(Vec<u8>),
    Rule(Request),
}

/// Octets, requests and time, as the input says.
pub fn run(input: &[u8]) {
    let config = Config { open_requests_max: OPEN_MAX, ..Config::default() };
    let mut world = World {
        now: Instant::ZERO,
        session: Session::new(config),
        asked: 0,
        open: BTreeSet::new(),
        sent: BTreeMap::new(),
        ended: BTreeSet::new(),
        arrived: Vec::new(),
        connected: false,
        // The first does not.
        proves: true,
        up: false,
    };
    let mut reader = Reader(input);
    while !reader.is_empty() {
        world.step(&mut reader);
        let described = format!("{:?}", world.session).len();
        assert!(described < 5 * 65_536 + 10_000, "{described}");
    }
    world.act(|session, now, out| session.disconnected(now, "the end", out));
    assert!(world.open.is_empty() && !world.up && world.session.next_timeout().is_none());
}

impl World {
    fn step(&mut self, reader: &mut Reader<'_>) {
        match reader.octet() % STEPS {
            RECEIVE => {
                for piece in super::pieces(reader) {
                    super::whole(&mut self.arrived, piece);
                    self.act(|session, now, out| session.receive(now, piece, out));
                }
            }
            PASS => self.pass(reader.octet().into()),
            REPLY => self.reply(reader.octet(), reader.octet()),
            ASK => {
                let request = super::request(reader.octet());
                reader.octet();
                self.asked += 1;
                let id = RequestId(self.asked);
                self.open.insert(id);
                self.act(|session, now, out| session.request(now, id, request, out));
                assert!(self.open.len() <= OPEN_MAX);
            }
            END => self.act(|session, now, out| session.close(now, out)),
            step => {
                assert_eq!(step, LINK);
                if self.connected {
                    self.act(|session, now, out| session.disconnected(now, "broken", out));
                    self.connected = false;
                } else {
                    self.connected = true;
                    self.sent.clear();
                    self.arrived.clear();
                    // Every other connection of a run asks the middlebox to prove itself.
                    self.proves = !self.proves;
                    let proof = Proof { secret: secret(), nonce: [b'x'; 32] };
                    let proof = Some(proof).filter(|_| self.proves);
                    self.act(|session, now, out| session.connected_with(now, proof, out));
                }
            }
        }
    }

    fn act(&mut self, act: impl FnOnce(&mut Session, Instant, &mut Outbox<Output>)) {
        let mut out = Outbox::new();
        act(&mut self.session, self.now, &mut out);
        for output in out {
            match output {
                Output::Send(bytes) => self.received(&bytes),
                Output::Close => assert!(std::mem::take(&mut self.connected), "closed twice"),
                Output::Event(AgentEvent::Up(_)) => assert!(!std::mem::replace(&mut self.up, true)),
                Output::Event(AgentEvent::Down(_)) => {
                    assert!(self.open.is_empty(), "down with open requests");
                    self.up = false;
                }
                Output::Event(AgentEvent::Reply(id, _)) => assert!(self.open.remove(&id), "{id:?} again"),
                Output::Event(AgentEvent::Notification(_)) => assert!(self.up),
            }
        }
    }

    /// The middlebox reads what the agent has sent.
    fn received(&mut self, mut bytes: &[u8]) {
        assert!(self.connected);
        while let Some((header, rest)) = Header::split(bytes) {
            let (payload, rest) = rest.split_at(header.length.into());
            bytes = rest;
            let sent = match AgentMessage::decode(header, payload) {
                Ok(AgentMessage::Rule(request)) => {
                    if let Request::Lifetime { prid, lifetime: Lifetime::END } = request {
                        self.ended.insert(prid);
                    }
                    Sent::Rule(request)
                }
                Ok(AgentMessage::Establish { challenge: Some(challenge), .. }) => {
                    Sent::Control(challenge.octets().to_vec())
                }
                Ok(_) => Sent::Control(Vec::new()),
                Err(failure) => panic!("{failure}: {header:?} {payload:02x?}"),
            };
            assert!(self.sent.insert(header.tid, sent).is_none(), "{} twice", header.tid);
        }
        assert!(bytes.is_empty());
    }

    fn pass(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        let mut rounds = 0;
        while let Some((at, _)) = self.session.next_timeout().filter(|(at, _)| *at <= until) {
            rounds += 1;
            assert!(rounds < 100, "always something due");
            self.now = self.now.max(at);
            self.act(Session::handle_timeout);
        }
        self.now = until;
    }

    /// The middlebox answers one of the messages as it should.
    fn reply(&mut self, which: u8, how: u8) {
        let tids: Vec<u32> = self.sent.keys().copied().collect();
        let Some(tid) = tids.get(usize::from(which) % tids.len().max(1)) else { return };
        let Some(sent) = self.sent.remove(tid) else { return };
        let nonce = [b'y'; 32];
        let token = match &sent {
            Sent::Control(challenge) => token(challenge, &nonce),
            Sent::Rule(_) => [0; TOKEN_LEN],
        };
        let message = match sent {
            Sent::Control(challenge) if how >= 64 && !challenge.is_empty() => {
                MiddleboxMessage::Authentication {
                    challenge: Opaque::new(&nonce),
                    token: Opaque::new(&token),
                }
            }
            Sent::Control(_) if how < 64 => MiddleboxMessage::Established(CAPABILITIES),
            Sent::Control(_) => MiddleboxMessage::Terminated,
            Sent::Rule(request) => match super::reply(&request, how) {
                Ok(reply) => MiddleboxMessage::Positive(reply),
                Err(Failure::VersionMismatch) => MiddleboxMessage::Negative(Failure::NoResources),
                Err(failure) => MiddleboxMessage::Negative(failure),
            },
        };
        let mut bytes = Vec::new();
        message.encode(*tid, &mut bytes);
        let is_whole = self.arrived.is_empty();
        super::whole(&mut self.arrived, &bytes);
        let awaited = self.open.len();
        self.ended.clear();
        self.act(|session, now, out| session.receive(now, &bytes, out));
        let made = match message {
            MiddleboxMessage::Positive(
                Reply::Enabled { prid, .. } | Reply::Reserved { prid, .. } | Reply::Disabled { prid, .. },
            ) => Some(prid),
            _ => None,
        };
        // Whoever asked has been told of a timeout: nobody else will end the rule.
        if let Some(prid) = made.filter(|_| is_whole && self.session.is_open() && self.open.len() == awaited)
        {
            assert!(self.ended.contains(&prid), "{prid:?} is left behind");
        }
    }
}

/// The secret that the cases are made of.
fn secret() -> Secret {
    Secret::new(&[b'a'; 32]).expect("32 octets")
}

/// How a middlebox proves itself that has it.
fn token(challenge: &[u8], nonce: &[u8]) -> [u8; TOKEN_LEN] {
    secret().token(Role::Middlebox, Challenges { agent: challenge, middlebox: nonce })
}
