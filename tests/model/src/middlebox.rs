//! A middlebox of the model: keeps rules, answers questions in order; when and how is the explorer's choice.

use std::collections::VecDeque;
use std::time::Duration;

use machine::Instant;
use midcom::{Direction, Failure, Gid, Lifetime, Prid, Reply, Request, RequestId, Tuple};

/// A middlebox.
#[derive(Debug, Clone)]
pub struct Middlebox {
    /// There is a session.
    pub is_up: bool,
    /// Questions, oldest first.
    pub open: VecDeque<(RequestId, Request)>,
    /// A reply that takes its time.
    pub late: Option<(RequestId, Result<Reply, Failure>)>,
    /// The rules, oldest first.
    pub rules: Vec<Rule>,
    prids: u32,
}

/// A rule, or the agent's belief in one.
#[derive(Debug, Clone)]
pub struct Rule {
    /// Its identifier.
    pub prid: Prid,
    /// Where packets may go; `None`: it is a reservation.
    pub to: Option<Tuple>,
    /// When it ends by itself.
    pub deadline: Instant,
    /// The agent has been told of it, and has not asked for its end.
    pub is_known: bool,
    /// It is there. If not, the agent has not been told yet.
    pub is_there: bool,
}

/// What becomes of a middlebox's memory when its session breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Memory {
    /// Rules stay; open questions were not read.
    Kept,
    /// Rules stay; open questions were carried out.
    Ahead,
    /// Every rule is gone.
    Lost,
}

impl Middlebox {
    /// A middlebox without rules.
    #[must_use]
    pub fn new() -> Self {
        Self { is_up: false, open: VecDeque::new(), late: None, rules: Vec::new(), prids: 0 }
    }

    /// True if it has a question to answer. Replies come in order: while one takes its time the others wait.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.late.is_none() && !self.open.is_empty()
    }

    /// A question arrives.
    pub fn ask(&mut self, id: RequestId, request: Request) {
        if let Request::Lifetime { prid, lifetime: Lifetime::END } = request {
            self.rules.retain(|rule| rule.prid != prid || rule.is_there);
            for rule in self.rules.iter_mut().filter(|rule| rule.prid == prid) {
                rule.is_known = false;
            }
        }
        self.open.push_back((id, request));
    }

    /// Carries the oldest question out.
    pub fn carry_out(&mut self, now: Instant) -> Option<(RequestId, Result<Reply, Failure>)> {
        let (id, request) = self.open.pop_front()?;
        Some((id, self.execute(now, &request)))
    }

    /// The agent hears of a reply.
    pub fn told(&mut self, reply: &Result<Reply, Failure>) {
        match reply {
            Ok(Reply::Enabled { prid, .. } | Reply::Reserved { prid, .. }) => {
                for rule in self.rules.iter_mut().filter(|rule| rule.prid == *prid) {
                    rule.is_known = true;
                }
            }
            Ok(Reply::List(_)) => self.rules.retain(|rule| rule.is_there),
            Ok(_) | Err(_) => {}
        }
    }

    /// The session breaks; the identifiers of the questions without an answer come back.
    pub fn break_down(&mut self, now: Instant, memory: Memory) -> Vec<RequestId> {
        self.is_up = false;
        let late = self.late.take();
        let open = std::mem::take(&mut self.open);
        if memory == Memory::Ahead {
            for (_, request) in &open {
                let _unheard = self.execute(now, request);
            }
        }
        if memory == Memory::Lost {
            self.rules.retain(|rule| rule.is_known);
            for rule in &mut self.rules {
                rule.is_there = false;
            }
        }
        late.into_iter().map(|(id, _)| id).chain(open.into_iter().map(|(id, _)| id)).collect()
    }

    /// Ends a rule.
    pub fn end(&mut self, prid: Prid) {
        self.rules.retain(|rule| rule.prid != prid);
    }

    /// When a rule ends by itself.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.rules.iter().filter(|rule| rule.is_there).map(|rule| rule.deadline).min()
    }

    /// Ends what is due.
    pub fn fire(&mut self, now: Instant) {
        self.rules.retain(|rule| rule.deadline > now || !rule.is_there);
    }

    /// How many rules let packets pass or hold a place.
    #[must_use]
    pub fn rules(&self) -> usize {
        self.rules.iter().filter(|rule| rule.is_there).count()
    }

    fn execute(&mut self, now: Instant, request: &Request) -> Result<Reply, Failure> {
        match request {
            Request::Enable { direction, internal, external, lifetime, group, .. } => {
                let to = destination(*direction, internal, external);
                let (prid, lifetime) = self.make(now, Some(to), *lifetime);
                let group = group.unwrap_or(Gid(prid.0));
                Ok(Reply::Enabled { prid, group, lifetime, outside: *internal, inside: None })
            }
            Request::Reserve { lifetime, group, .. } => {
                let (prid, lifetime) = self.make(now, None, *lifetime);
                let group = group.unwrap_or(Gid(prid.0));
                Ok(Reply::Reserved { prid, group, lifetime, outside: None, inside: None })
            }
            Request::EnableReserved { prid, direction, internal, external, lifetime, .. } => {
                let rule = self.rule(*prid)?;
                rule.to = Some(destination(*direction, internal, external));
                rule.deadline = end(now, *lifetime);
                let (prid, lifetime) = (*prid, *lifetime);
                Ok(Reply::Enabled { prid, group: Gid(prid.0), lifetime, outside: *internal, inside: None })
            }
            Request::Lifetime { prid, lifetime: Lifetime::END } => {
                self.rule(*prid)?;
                self.end(*prid);
                Ok(Reply::Ended)
            }
            Request::Lifetime { prid, lifetime } => {
                self.rule(*prid)?.deadline = end(now, *lifetime);
                Ok(Reply::Lifetime(*lifetime))
            }
            Request::List => Ok(Reply::List(
                self.rules.iter().filter(|rule| rule.is_there).map(|rule| rule.prid).collect(),
            )),
            Request::Status { .. } | Request::Disable { .. } | Request::Count { .. } => {
                Err(Failure::NotApplicable)
            }
        }
    }

    fn rule(&mut self, prid: Prid) -> Result<&mut Rule, Failure> {
        self.rules.iter_mut().find(|rule| rule.prid == prid && rule.is_there).ok_or(Failure::NoSuchRule)
    }

    fn make(&mut self, now: Instant, to: Option<Tuple>, lifetime: Lifetime) -> (Prid, Lifetime) {
        self.prids += 1;
        let prid = Prid(self.prids);
        let deadline = end(now, lifetime);
        self.rules.push(Rule { prid, to, deadline, is_known: false, is_there: true });
        (prid, lifetime)
    }

    /// All that decides what it will do: not the source of new identifiers.
    pub fn show(&self, onlooker: &mut dyn machine::onlooker::Onlooker) {
        let Self { is_up, open, late, rules, prids: _ } = self;
        onlooker.see(&(is_up, open, late, rules));
    }
}

impl Default for Middlebox {
    fn default() -> Self {
        Self::new()
    }
}

fn end(now: Instant, lifetime: Lifetime) -> Instant {
    now + Duration::from_secs(u64::from(lifetime.0))
}

/// Where packets of a rule go.
fn destination(direction: Direction, internal: &Tuple, external: &Tuple) -> Tuple {
    match direction {
        Direction::Inbound => *internal,
        Direction::Outbound | Direction::Bidirectional => *external,
    }
}
