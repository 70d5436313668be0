//! What is explored: the call machine as it is, or broken on purpose, to see that the explorer finds it.

use b2bua::{B2bua, Holdings, Input, Output};
use bytes::Bytes;
use machine::onlooker::Onlooker;
use machine::{Instant, Machine, Outbox};
use midcom::{AgentEvent, Gid, Lifetime, Prid, Reply, Request};

/// A way to be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It takes rules for confirmed that it has not asked for.
    OpensNothing,
    /// It takes rules for closed that it has not closed.
    ClosesNothing,
    /// Messages that begin like this never leave.
    Swallows(&'static str),
    /// It says neither Reason nor Warning.
    GivesNoReason,
    /// Every other message that begins with the first begins with the second.
    Says(&'static str, &'static str),
    /// It waits for nothing.
    NeverWakes,
    /// It does nothing when what it waits for has come.
    WakesInVain,
}

/// The call machine, and what is wrong with it.
#[derive(Debug, Clone)]
pub struct Subject {
    b2bua: B2bua,
    fault: Option<Fault>,
    /// So many rules and messages were not what they should have been.
    faults: u32,
}

impl Subject {
    /// See the module.
    #[must_use]
    pub fn new(b2bua: B2bua, fault: Option<Fault>) -> Self {
        Self { b2bua, fault, faults: 0 }
    }

    /// What it holds.
    #[must_use]
    pub fn holdings(&self) -> Holdings {
        self.b2bua.holdings()
    }

    /// All that decides what it will do.
    pub fn show(&self, onlooker: &mut dyn Onlooker) {
        self.b2bua.show(onlooker);
        if let Some(Fault::Says(..)) = self.fault {
            onlooker.see(&(self.faults % 2));
        }
    }

    fn say(&mut self, now: Instant, mut said: Outbox<Output>, fault: Fault, out: &mut Outbox<Output>) {
        for output in said.drain() {
            match output {
                Output::Transmit { hop, bytes } => {
                    if let Some(bytes) = self.spoil(fault, bytes) {
                        out.push(Output::Transmit { hop, bytes });
                    }
                }
                Output::Midcom { middlebox, id, request } => match self.believe(fault, &request) {
                    Some(reply) => {
                        let event = AgentEvent::Reply(id, Ok(reply));
                        self.handle(now, Input::Midcom { middlebox, event }, out);
                    }
                    None => out.push(Output::Midcom { middlebox, id, request }),
                },
                other => out.push(other),
            }
        }
    }

    fn spoil(&mut self, fault: Fault, bytes: Bytes) -> Option<Bytes> {
        match fault {
            Fault::Swallows(start) if bytes.starts_with(start.as_bytes()) => None,
            Fault::Says(start, other) if bytes.starts_with(start.as_bytes()) => {
                self.faults += 1;
                let changes = self.faults.is_multiple_of(2);
                let text = String::from_utf8_lossy(&bytes);
                Some(if changes { Bytes::from(text.replacen(start, other, 1)) } else { bytes })
            }
            Fault::GivesNoReason => {
                let reason = |line: &&str| !line.starts_with("Reason:") && !line.starts_with("Warning:");
                let text = String::from_utf8_lossy(&bytes);
                Some(Bytes::from(text.split_inclusive('\n').filter(reason).collect::<String>()))
            }
            _ => Some(bytes),
        }
    }

    /// The reply that it takes for given.
    fn believe(&mut self, fault: Fault, request: &Request) -> Option<Reply> {
        match (fault, request) {
            (Fault::OpensNothing, Request::Enable { internal, lifetime, group, .. }) => {
                self.faults += 1;
                let prid = Prid(1_000 + self.faults);
                let group = group.unwrap_or(Gid(prid.0));
                Some(Reply::Enabled { prid, group, lifetime: *lifetime, outside: *internal, inside: None })
            }
            (Fault::ClosesNothing, Request::Lifetime { lifetime: Lifetime::END, .. }) => Some(Reply::Ended),
            _ => None,
        }
    }
}

impl Machine for Subject {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        let Some(fault) = self.fault else { return self.b2bua.handle(now, input, out) };
        let mut said = Outbox::new();
        self.b2bua.handle(now, input, &mut said);
        self.say(now, said, fault, out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox<Output>) {
        match self.fault {
            None => self.b2bua.handle_timeout(now, out),
            Some(Fault::NeverWakes | Fault::WakesInVain) => {}
            Some(fault) => {
                let mut said = Outbox::new();
                self.b2bua.handle_timeout(now, &mut said);
                self.say(now, said, fault, out);
            }
        }
    }

    fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        self.b2bua.next_timeout().filter(|_| self.fault != Some(Fault::NeverWakes))
    }
}
