//! The middlebox of a flow on a real kernel: it speaks SIMCO with the agent and does as the flow says, and the real one
//! behind it carries out what it grants.
//!
//! ```text
//!  agent ──simco.sock── gatekeeper ──real.sock── postern middlebox ── nftables
//! ```
//!
//! The agent sees the rule numbers of the flow: the gatekeeper counts from one in each.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::Path;
use std::time::Instant;

use machine::Outbox;
use midcom::{Capabilities, Failure, Gid, Lifetime, Notification, Passed, Prid, Reply, Request};
use simco::middlebox;

use flows::render;

use crate::door::{Door, Wire};
use crate::real::Real;

/// A rule that was granted.
#[derive(Debug, Clone)]
pub(crate) struct Rule {
    /// Its number at the real middlebox.
    pub(crate) real: Prid,
    group: Gid,
    /// As a flow writes it: the request without its kind, or `reserved` and the protocol.
    pub(crate) text: String,
}

/// See the module.
pub(crate) struct Gatekeeper {
    door: Door,
    agent: Option<(Box<dyn Wire>, middlebox::Session)>,
    real: Real,
    capabilities: Capabilities,
    granted: Lifetime,
    pub(crate) is_up: bool,
    /// What the agent has asked, as flows write it, until the lab has looked.
    heard: VecDeque<String>,
    /// What waits for an answer.
    asked: VecDeque<(u32, Request)>,
    rules: BTreeMap<u32, Rule>,
    made: u32,
    /// Packets that a flow says have passed.
    packets: BTreeMap<u32, u64>,
    started: Instant,
}

impl Gatekeeper {
    /// Serves agents at a door and is an agent at the real one's socket.
    pub(crate) fn new(door: Door, real: &Path) -> io::Result<Self> {
        let real = Real::connect(real)?;
        Ok(Self {
            door,
            agent: None,
            capabilities: real.capabilities,
            real,
            granted: Lifetime(u32::MAX),
            is_up: true,
            heard: VecDeque::new(),
            asked: VecDeque::new(),
            rules: BTreeMap::new(),
            made: 0,
            packets: BTreeMap::new(),
            started: Instant::now(),
        })
    }

    /// What it says of itself to agents that connect from now on, and the longest lifetime it grants.
    pub(crate) fn be(&mut self, capabilities: Capabilities) {
        self.capabilities = capabilities;
        self.granted = capabilities.lifetime_max;
    }

    /// Takes in what has arrived. True if there was anything.
    pub(crate) fn poll(&mut self) -> io::Result<bool> {
        let mut any = false;
        while let Some(notification) = self.real.notification()? {
            self.forward(notification)?;
            any = true;
        }
        while self.is_up {
            match self.door.accept() {
                Ok(stream) => {
                    let config = middlebox::Config::new(self.capabilities, middlebox::Admission::Admitted);
                    self.agent = Some((stream, middlebox::Session::new(self.now(), config)));
                    self.asked.clear();
                    any = true;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(self.read()? || any)
    }

    fn now(&self) -> machine::Instant {
        machine::Instant::from_nanos(self.started.elapsed().as_nanos() as u64)
    }

    fn read(&mut self) -> io::Result<bool> {
        let (now, mut any) = (self.now(), false);
        let mut room = [0; 65_536];
        while let Some((stream, session)) = &mut self.agent {
            let mut out = Outbox::new();
            match stream.read(&mut room) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(any),
                Ok(0) | Err(_) => {
                    self.agent = None;
                    return Ok(true);
                }
                Ok(length) => session.receive(now, &room[..length], &mut out),
            }
            any = true;
            self.carry_out(out)?;
        }
        Ok(any)
    }

    fn carry_out(&mut self, mut out: Outbox<middlebox::Output>) -> io::Result<()> {
        for output in out.drain() {
            match output {
                middlebox::Output::Send(bytes) => {
                    // An agent that has gone hears nothing more.
                    let sent = self.agent.as_mut().map(|(stream, _)| stream.write_all(&bytes));
                    if let Some(Err(_)) = sent {
                        self.agent = None;
                    }
                }
                middlebox::Output::Request { tid, request } => {
                    self.heard.push_back(render::midcom(&request));
                    self.asked.push_back((tid, request));
                }
                middlebox::Output::Close => self.agent = None,
                middlebox::Output::Opened | middlebox::Output::Closed => {}
            }
        }
        Ok(())
    }

    /// What the agent has asked next, as a flow writes it.
    pub(crate) fn next(&mut self) -> Option<String> {
        self.heard.pop_front()
    }

    /// True if it has a session.
    pub(crate) fn is_open(&self) -> bool {
        self.agent.as_ref().is_some_and(|(_, session)| session.is_open())
    }

    /// How many questions wait for an answer.
    pub(crate) fn open(&self) -> usize {
        self.asked.len()
    }

    /// The rules there are.
    pub(crate) fn rules(&self) -> &BTreeMap<u32, Rule> {
        &self.rules
    }

    /// Forgets the numbers of a flow that is over.
    pub(crate) fn begin(&mut self) {
        (self.made, self.rules, self.packets) = (0, BTreeMap::new(), BTreeMap::new());
        self.heard.clear();
        self.asked.clear();
    }

    /// Answers the question at this position; without a refusal, as the real middlebox does.
    pub(crate) fn answer(&mut self, position: usize, refusal: Option<Failure>) -> io::Result<()> {
        let asked = self.asked.remove(position);
        let (tid, request) = asked.ok_or_else(|| io::Error::other("the middlebox was not asked so much"))?;
        let reply = match refusal {
            Some(failure) => {
                if let (
                    Failure::NoSuchRule,
                    Request::EnableReserved { prid, .. } | Request::Lifetime { prid, .. },
                ) = (failure, &request)
                {
                    // Then it is true.
                    self.lose(prid.0)?;
                }
                Err(failure)
            }
            None => Ok(self.grant(request)?),
        };
        let (now, mut out) = (self.now(), Outbox::new());
        if let Some((_, session)) = &mut self.agent {
            session.reply(now, tid, reply, &mut out);
        }
        self.carry_out(out)
    }

    fn grant(&mut self, request: Request) -> io::Result<Reply> {
        let granted = |lifetime: Lifetime| lifetime.min(self.granted);
        match request {
            Request::Enable { parity, direction, internal, external, lifetime, group } => {
                let (text, group) = (render::midcom(&request), self.real_group(group));
                let lifetime = granted(lifetime);
                let asked = Request::Enable { parity, direction, internal, external, lifetime, group };
                let reply = self.real.ask(asked)?;
                self.made(text.trim_start_matches("PER ").to_owned(), reply)
            }
            Request::Reserve { service, inside, outside, protocol, ports, parity, lifetime, group } => {
                let (text, group) = (format!("reserved {protocol}"), self.real_group(group));
                let lifetime = granted(lifetime);
                let asked =
                    Request::Reserve { service, inside, outside, protocol, ports, parity, lifetime, group };
                let reply = self.real.ask(asked)?;
                self.made(text, reply)
            }
            Request::EnableReserved { prid, parity, direction, internal, external, lifetime } => {
                let text = render::midcom(&request).splitn(3, ' ').nth(2).unwrap_or_default().to_owned();
                let lifetime = granted(lifetime);
                let rule = self.rules.get_mut(&prid.0);
                let rule = rule.ok_or_else(|| io::Error::other(format!("no reservation {}", prid.0)))?;
                let asked = Request::EnableReserved {
                    prid: rule.real,
                    parity,
                    direction,
                    internal,
                    external,
                    lifetime,
                };
                let reply = self.real.ask(asked)?;
                rule.text = text;
                Ok(numbered(reply, prid, Gid(prid.0)))
            }
            Request::Lifetime { prid, lifetime } => {
                let lifetime = granted(lifetime);
                let ended = lifetime == Lifetime::END;
                let real = self.rules.get(&prid.0).map(|rule| rule.real);
                if ended {
                    self.rules.remove(&prid.0);
                }
                match real {
                    Some(prid) => self.real.ask(Request::Lifetime { prid, lifetime }),
                    // The flow has lost it, and its middlebox says yes to everything.
                    None if ended => Ok(Reply::Ended),
                    None => Ok(Reply::Lifetime(lifetime)),
                }
            }
            Request::List => Ok(Reply::List(self.rules.keys().map(|number| Prid(*number)).collect())),
            Request::Count { prids } => self.count(&prids),
            Request::Status { .. } => Ok(Reply::Ended),
            Request::Disable { .. } => Err(io::Error::other("no flow disables anything")),
        }
    }

    /// What the real middlebox has counted, and what the flow says besides.
    fn count(&mut self, prids: &[Prid]) -> io::Result<Reply> {
        let known: Vec<(Prid, Prid)> =
            prids.iter().filter_map(|prid| Some((*prid, self.rules.get(&prid.0)?.real))).collect();
        let asked = Request::Count { prids: known.iter().map(|(_, real)| *real).collect() };
        let Reply::Counted(counted) = self.real.ask(asked)? else {
            return Err(io::Error::other("the real middlebox does not count"));
        };
        let passed = |real: Prid| counted.iter().find(|one| one.prid == real).map(|one| one.packets);
        let said = |prid: Prid| self.packets.get(&prid.0).copied().unwrap_or(0);
        let all = known.into_iter().filter_map(|(prid, real)| {
            passed(real).map(|packets| Passed { prid, packets: packets + said(prid) })
        });
        Ok(Reply::Counted(all.collect()))
    }

    fn real_group(&self, group: Option<Gid>) -> Option<Gid> {
        // Groups have the number of their first rule.
        let of = |group: Gid| self.rules.get(&group.0).map(|rule| rule.group);
        group.and_then(of)
    }

    fn made(&mut self, text: String, reply: Reply) -> io::Result<Reply> {
        let (Reply::Enabled { prid, group, .. } | Reply::Reserved { prid, group, .. }) = reply else {
            return Err(io::Error::other(format!("the real middlebox made no rule: {reply:?}")));
        };
        self.made += 1;
        let number = self.made;
        let first =
            self.rules.iter().find(|(_, rule)| rule.group == group).map_or(number, |(first, _)| *first);
        self.rules.insert(number, Rule { real: prid, group, text });
        Ok(numbered(reply, Prid(number), Gid(first)))
    }

    /// Something unasked from the real middlebox, with the flow's number.
    fn forward(&mut self, notification: Notification) -> io::Result<()> {
        let Notification::RuleEvent { prid: real, lifetime } = notification else {
            return Err(io::Error::other("the real middlebox has ended the session"));
        };
        let found = self.rules.iter().find(|(_, rule)| rule.real == real).map(|(number, _)| *number);
        let Some(number) = found else { return Ok(()) };
        if lifetime == Lifetime::END {
            self.rules.remove(&number);
        }
        self.notify(number, lifetime)
    }

    /// Tells the agent that a rule's lifetime is another now.
    pub(crate) fn notify(&mut self, number: u32, lifetime: Lifetime) -> io::Result<()> {
        let (now, mut out) = (self.now(), Outbox::new());
        if let Some((_, session)) = &mut self.agent {
            session.notify(now, Notification::RuleEvent { prid: Prid(number), lifetime }, &mut out);
        }
        self.carry_out(out)
    }

    /// The connection breaks, and no session comes about until [`Gatekeeper::up`].
    pub(crate) fn down(&mut self) {
        (self.is_up, self.agent) = (false, None);
        self.asked.clear();
    }

    /// Agents are welcome again.
    pub(crate) fn up(&mut self) {
        self.is_up = true;
    }

    /// A rule is there that nobody has asked for.
    pub(crate) fn plant(&mut self, number: u32, rule: Request) -> io::Result<()> {
        let text = render::midcom(&rule).trim_start_matches("PER ").to_owned();
        let reply = self.real.ask(rule)?;
        let Reply::Enabled { prid, group, .. } = reply else {
            return Err(io::Error::other(format!("nothing planted: {reply:?}")));
        };
        self.rules.insert(number, Rule { real: prid, group, text });
        Ok(())
    }

    /// A rule is gone, and nobody is told.
    pub(crate) fn lose(&mut self, number: u32) -> io::Result<()> {
        match self.rules.remove(&number) {
            Some(rule) => {
                self.real.ask(Request::Lifetime { prid: rule.real, lifetime: Lifetime::END }).map(drop)
            }
            None => Ok(()),
        }
    }

    /// So many packets have passed a rule, beyond those that the real one counts.
    pub(crate) fn passed(&mut self, number: u32, packets: u64) {
        self.packets.insert(number, packets);
    }
}

/// The same reply with other numbers.
fn numbered(reply: Reply, prid: Prid, group: Gid) -> Reply {
    match reply {
        Reply::Enabled { lifetime, outside, inside, .. } => {
            Reply::Enabled { prid, group, lifetime, outside, inside }
        }
        Reply::Reserved { lifetime, outside, inside, .. } => {
            Reply::Reserved { prid, group, lifetime, outside, inside }
        }
        other @ (Reply::Disabled { .. }
        | Reply::Lifetime(_)
        | Reply::Ended
        | Reply::Status(_)
        | Reply::List(_)
        | Reply::Counted(_)) => other,
    }
}
