//! The middlebox's end: every message gets its reply, and whatever arrives, the session answers as RFC 4540 says or
//! closes.

use std::collections::BTreeMap;
use std::time::Duration;

use machine::{Instant, Outbox};
use midcom::{Lifetime, Notification, Prid, Request};
use simco::authentication::Secret;
use simco::middlebox::{Admission, Authentication, Candidate, Config, Output, Session};
use simco::wire::{Header, MiddleboxMessage};

use super::{ASK, CAPABILITIES, END, LINK, PASS, RECEIVE, REPLY, STEPS, WORDS};
use crate::reader::Reader;
use crate::{Corpus, Target};

/// See [`run`].
pub const TARGET: Target = Target {
    name: "simco_middlebox",
    run,
    mutations: 100_000,
    corpora: &[Corpus::Cases("simco", "case", inputs)],
    words: WORDS,
};

fn inputs(case: &str) -> Vec<Vec<u8>> {
    super::inputs(case, "middlebox")
}

/// Few, so that inputs reach it.
const OPEN_MAX: usize = 8;

struct World {
    now: Instant,
    session: Session,
    /// Handed over and not answered yet.
    open: BTreeMap<u32, Request>,
    /// What has arrived of a message that is not whole.
    arrived: Vec<u8>,
    messages: usize,
    replies: usize,
    opened: bool,
    over: bool,
    /// The agent has to prove who it is.
    asks: bool,
}

/// Octets, replies and time, as the input says.
pub fn run(input: &[u8]) {
    let now = Instant::ZERO;
    let mut config = Config::new(CAPABILITIES, Admission::Admitted);
    config.open_requests_max = OPEN_MAX;
    let payload_len_max = usize::from(config.payload_len_max);
    // Half of the inputs have to prove who they are, with what the cases are made of.
    if input.len() % 2 == 1 {
        let candidate = |letter| {
            let secret = Secret::new(&[letter; 32]).expect("32 octets");
            Candidate { secret, capabilities: CAPABILITIES }
        };
        let candidates = [b'a', b'b'].map(candidate).to_vec();
        config.authentication = Some(Authentication { nonce: [b'y'; 32], candidates });
    }
    let mut world = World {
        asks: config.authentication.is_some(),
        now,
        session: Session::new(now, config),
        open: BTreeMap::new(),
        arrived: Vec::new(),
        messages: 0,
        replies: 0,
        opened: false,
        over: false,
    };
    let mut reader = Reader(input);
    while !reader.is_empty() {
        world.step(&mut reader);
        world.check();
    }
    world.pass(1_000);
    assert!(world.session.next_timeout().is_none() || world.session.is_open());
    let described = format!("{:?}", world.session).len();
    assert!(described < 5 * payload_len_max + 40_000, "{described}");
}

impl World {
    fn step(&mut self, reader: &mut Reader<'_>) {
        let mut out = Outbox::new();
        match reader.octet() % STEPS {
            RECEIVE => {
                for piece in super::pieces(reader) {
                    self.messages += super::whole(&mut self.arrived, piece);
                    self.session.receive(self.now, piece, &mut out);
                }
            }
            PASS => return self.pass(reader.octet().into()),
            REPLY => return self.reply(reader.octet(), reader.octet()),
            ASK => {
                let (prid, lifetime) = (Prid(reader.octet().into()), Lifetime(reader.octet().into()));
                self.session.notify(self.now, Notification::RuleEvent { prid, lifetime }, &mut out);
            }
            END => self.session.terminate(self.now, &mut out),
            step => {
                assert_eq!(step, LINK);
                self.session.disconnected(self.now, &mut out);
                self.take(out);
                self.over = true;
                return;
            }
        }
        self.take(out);
    }

    fn pass(&mut self, seconds: u64) {
        let until = self.now + Duration::from_secs(seconds);
        let mut rounds = 0;
        while let Some((at, _)) = self.session.next_timeout().filter(|(at, _)| *at <= until) {
            rounds += 1;
            assert!(rounds < 20, "always something due");
            self.now = self.now.max(at);
            let mut out = Outbox::new();
            self.session.handle_timeout(self.now, &mut out);
            self.take(out);
        }
        self.now = until;
    }

    fn reply(&mut self, which: u8, how: u8) {
        let tids: Vec<u32> = self.open.keys().copied().collect();
        let Some(tid) = tids.get(usize::from(which) % tids.len().max(1)) else { return };
        let Some(request) = self.open.remove(tid) else { return };
        let before = self.replies;
        let mut out = Outbox::new();
        self.session.reply(self.now, *tid, super::reply(&request, how), &mut out);
        self.take(out);
        // The last one may bring the reply to ST with it.
        assert!(self.replies > before, "no reply has left");
    }

    fn take(&mut self, out: Outbox<Output>) {
        for output in out {
            assert!(!self.over, "after the end: {output:?}");
            match output {
                Output::Send(bytes) => self.sent(&bytes),
                Output::Opened => {
                    assert!(!std::mem::replace(&mut self.opened, true), "opened twice");
                    assert!(self.session.proven().is_some() || !self.asks, "opened without a proof");
                }
                Output::Request { tid, request } => {
                    assert!(self.opened && self.open.insert(tid, request).is_none(), "{tid} twice");
                    assert!(self.open.len() <= OPEN_MAX);
                }
                Output::Closed => {
                    assert!(self.opened);
                    self.open.clear();
                }
                Output::Close => self.over = true,
            }
        }
    }

    fn sent(&mut self, mut bytes: &[u8]) {
        while let Some((header, rest)) = Header::split(bytes) {
            let (payload, rest) = rest.split_at(header.length.into());
            bytes = rest;
            match MiddleboxMessage::decode(header, payload) {
                Ok(MiddleboxMessage::BadlyFormedMessage | MiddleboxMessage::Notification(_)) => {}
                Ok(_) => self.replies += 1,
                Err(failure) => panic!("{failure}: {header:?} {payload:02x?}"),
            }
        }
        assert!(bytes.is_empty());
    }

    /// Every message has its reply or is being worked on, as long as the session is not ending.
    fn check(&self) {
        let ends = self.session.next_timeout().is_some_and(|(_, why)| why.contains("ending"));
        if !self.over && !ends {
            assert_eq!(self.messages, self.replies + self.open.len(), "{:?}", self.session);
        }
    }
}
