//! The machine: inputs, outputs, and who handles what.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use machine::week::MinuteOfWeek;
use machine::{Instant, Machine, Outbox, Rng, Timers};
use midcom::{Failure, Lifetime, Notification, Passed, Prid, Reply, Request};

use crate::authority::{AgentId, Authority, Policy};
use crate::batch::Flight;
use crate::elements::Elements;
use crate::engine::Drift;
use crate::entry::{EngineFailure, Entry, Key, Operation};
use crate::event::{EndCause, Event};
use crate::journal::{Change, Journal, StoredRule};
use crate::limits;
use crate::nat::{Nat, Translator};
use crate::queries::Tally;
use crate::rate::Rates;
use crate::realm::Realms;
use crate::table::Table;

/// Names a session; chosen by the runtime, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Names a batch of operations; chosen by the machine, rising.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BatchId(pub u64);

/// What kind of request, for events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RequestKind {
    /// PRR.
    Reserve,
    /// PER.
    Enable,
    /// PEA.
    EnableReserved,
    /// PDR.
    Disable,
    /// PLC with a lifetime above zero.
    Lifetime,
    /// PLC with lifetime zero.
    End,
    /// PRS.
    Status,
    /// PRL.
    List,
    /// PRC, our own.
    Count,
}

impl RequestKind {
    /// True for what opens or forbids something.
    fn makes_a_rule(self) -> bool {
        matches!(self, Self::Reserve | Self::Enable | Self::EnableReserved | Self::Disable)
    }

    fn of(request: &Request) -> Self {
        match request {
            Request::Reserve { .. } => Self::Reserve,
            Request::Enable { .. } => Self::Enable,
            Request::EnableReserved { .. } => Self::EnableReserved,
            Request::Disable { .. } => Self::Disable,
            Request::Lifetime { lifetime: Lifetime::END, .. } => Self::End,
            Request::Lifetime { .. } => Self::Lifetime,
            Request::Status { .. } => Self::Status,
            Request::List => Self::List,
            Request::Count { .. } => Self::Count,
        }
    }
}

/// Everything a middlebox must know before it starts.
#[derive(Debug, Clone)]
pub struct Config {
    /// The sides; the engine must have been given the same.
    pub realms: Realms,
    /// The standing policy; replaced while running by [`Input::Policy`].
    pub policy: Policy,
    /// The outside addresses, where addresses are translated; the engine must have been given the same.
    pub nat: Nat,
    /// Whether the engine can do TCP rules; otherwise they are refused with 0x0354.
    pub tcp: bool,
    /// Whether somebody writes down what [`Output::Journal`] says: rules then survive a restart, and agents are told so.
    pub journal: bool,
    /// How long entries found at start are kept for agents that come back (30 s is a good value).
    pub orphan_grace: Duration,
}

/// Everything that can happen.
#[derive(Debug, Clone)]
pub enum Input {
    /// A session has opened (SIMCO: the SE reply has been sent).
    Opened {
        /// Which.
        session: SessionId,
        /// Whose, by the proof the transport gave.
        agent: AgentId,
    },
    /// A session is gone, for whatever reason.
    Closed {
        /// Which.
        session: SessionId,
    },
    /// An agent asks.
    Request {
        /// On which session.
        session: SessionId,
        /// Ties the reply to it.
        tid: u32,
        /// What.
        request: Request,
    },
    /// The engine has carried out a batch: one result per operation, in order.
    Applied {
        /// Which.
        batch: BatchId,
        /// What came of each.
        results: Vec<Result<(), EngineFailure>>,
    },
    /// What was written down before a restart; to be given before [`Input::Adopted`].
    Restored {
        /// All of it. Deadlines in the time of now.
        rules: Vec<StoredRule>,
    },
    /// Whether changes can be written down at this time. While they cannot, no rule is made ([`Failure::NoResources`]).
    Writable(bool),
    /// What the engine held when it started; to be given before the first session opens.
    Adopted {
        /// All of it.
        entries: Vec<Entry>,
    },
    /// Somebody else may have changed what the engine holds.
    Disturbed,
    /// The answer to [`Output::Verify`].
    Verified {
        /// What differs, or why that cannot be said.
        drift: Result<Drift, EngineFailure>,
    },
    /// The answer to [`Output::Count`].
    Counted {
        /// As in the question.
        session: SessionId,
        /// As in the question.
        tid: u32,
        /// What [`crate::engine::count`] has found.
        passed: Vec<Passed>,
    },
    /// A new standing policy. Rules it no longer allows end.
    Policy(Box<Policy>),
    /// What time it is for the policy: at start, with each new minute, and when somebody has set the clock. Rules that are
    /// not allowed at this time end.
    Clock(MinuteOfWeek),
    /// The operator ends a rule. One that does not exist is ignored.
    Revoke {
        /// Which.
        prid: Prid,
    },
    /// Ends all sessions and accepts nothing more. Entries stay until their lifetime ends, so that a restart does not
    /// interrupt media.
    Shutdown,
}

/// Everything it can ask for.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// The answer to a request.
    Reply {
        /// On which session.
        session: SessionId,
        /// The request's.
        tid: u32,
        /// What came of it.
        result: Result<Reply, Failure>,
    },
    /// Something said unasked.
    Notify {
        /// On which session.
        session: SessionId,
        /// What.
        notification: Notification,
    },
    /// Operations for the engine; answer with [`Input::Applied`].
    Apply {
        /// Names the batch.
        batch: BatchId,
        /// At most one per key.
        operations: Vec<Operation>,
    },
    /// Write this down, durably, before anything behind it is carried out. Only if [`Config::journal`] is set. If it cannot
    /// be done, nothing of the batch behind it may be opened: answer its additions with a failure, and say
    /// [`Input::Writable`].
    Journal(Vec<Change>),
    /// Compare the engine with these keys (sorted); answer with [`Input::Verified`].
    Verify {
        /// What should be there.
        keys: Vec<Key>,
    },
    /// Ask the engine what rules have let pass, with [`crate::engine::count`], and answer with [`Input::Counted`] before
    /// anything else is handed over.
    Count {
        /// Who asks.
        session: SessionId,
        /// The request's.
        tid: u32,
        /// Which rules, and the entries of each.
        rules: Vec<(Prid, Vec<Key>)>,
    },
    /// End a session (AST).
    Terminate {
        /// Which.
        session: SessionId,
    },
    /// A fact.
    Event(Event),
    /// After [`Input::Shutdown`]: nothing is in flight any more.
    ShutdownComplete,
}

/// Ties an answer to its request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(crate) session: SessionId,
    pub(crate) agent: AgentId,
    pub(crate) tid: u32,
    pub(crate) kind: RequestKind,
}

/// What waits for its turn.
#[derive(Debug, Clone)]
pub(crate) enum Work {
    /// An agent asks.
    Request(Origin, Request),
    /// A rule must end, though nobody asked for it on a session.
    End(Prid, EndCause),
    /// A new policy.
    Policy(Box<Policy>),
    /// The policy says something else at this time.
    Reconsider,
}

/// What becomes due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Timer {
    /// The lifetime of a rule is over (but for [`limits::EXPIRY_LEAD`]).
    RuleEnds(Prid),
    /// Agents had their chance to come back for what was found at start.
    OrphansEnd,
    /// Failed operations are tried again.
    Retry,
    /// A failed verification is tried again.
    Verify,
}

/// How far a shutdown is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Not asked for. Leads to `Stopping`.
    Running,
    /// What had arrived is still being answered. Leads to `Stopped`.
    Stopping,
    /// Said so.
    Stopped,
}

/// The firewall side as one machine. See the crate's first page for when to call what.
#[derive(Debug)]
pub struct Middlebox {
    pub(crate) authority: Authority,
    pub(crate) orphan_grace: Duration,
    pub(crate) sessions: BTreeMap<SessionId, AgentId>,
    pub(crate) table: Table,
    pub(crate) elements: Elements,
    pub(crate) translator: Translator,
    /// In order of arrival; nothing overtakes.
    pub(crate) queue: VecDeque<Work>,
    pub(crate) flight: Flight,
    pub(crate) batches: u64,
    pub(crate) timers: Timers<Timer>,
    /// Keys whose last operation failed and that are tried again.
    pub(crate) retry: BTreeSet<Key>,
    /// The engine is to be compared with the table as soon as nothing is in flight.
    pub(crate) disturbed: bool,
    pub(crate) stage: Stage,
    pub(crate) tally: Tally,
    pub(crate) rates: Rates,
    pub(crate) journal: Journal,
    /// When something was last heard: work that waits is due since then.
    heard: Instant,
}

impl Middlebox {
    /// A middlebox without rules. The seed makes identifiers and hash tables unguessable.
    #[must_use]
    pub fn new(config: Config, mut rng: Rng) -> Self {
        let elements = Elements::new(&mut rng, config.nat.clone(), config.realms.clone());
        Self {
            authority: Authority::new(config.realms, config.policy, config.tcp),
            orphan_grace: config.orphan_grace,
            sessions: BTreeMap::new(),
            table: Table::new(&mut rng),
            elements,
            translator: Translator::new(config.nat),
            queue: VecDeque::new(),
            flight: Flight::Idle,
            batches: 0,
            timers: Timers::new(),
            retry: BTreeSet::new(),
            disturbed: false,
            stage: Stage::Running,
            tally: Tally::default(),
            rates: Rates::default(),
            journal: Journal::new(config.journal),
            heard: Instant::ZERO,
        }
    }

    fn opened(&mut self, session: SessionId, agent: AgentId, out: &mut Outbox<Output>) {
        let known = self.authority.agent(agent).is_some();
        if self.stage != Stage::Running || !known || self.sessions.len() >= limits::SESSIONS_MAX {
            out.push(Output::Event(Event::SessionRefused { session, agent }));
            out.push(Output::Terminate { session });
            return;
        }
        self.sessions.insert(session, agent);
        out.push(Output::Event(Event::SessionOpened { session, agent }));
    }

    //= RFC 5189 §2.2.4: a lost connection ends the session and nothing else; rules live on.
    fn closed(&mut self, session: SessionId, out: &mut Outbox<Output>) {
        if self.sessions.remove(&session).is_none() {
            return;
        }
        // What nobody will hear of must not open anything; ending rules is always welcome.
        self.queue.retain(|work| match work {
            Work::Request(origin, _) => origin.session != session || origin.kind == RequestKind::End,
            Work::End(..) | Work::Policy(_) | Work::Reconsider => true,
        });
        out.push(Output::Event(Event::SessionClosed { session }));
    }

    fn requested(
        &mut self,
        now: Instant,
        session: SessionId,
        tid: u32,
        request: Request,
        out: &mut Outbox<Output>,
    ) {
        let Some(agent) = self.sessions.get(&session).copied() else { return };
        let origin = Origin { session, agent, tid, kind: RequestKind::of(&request) };
        let rate = self.authority.requests_per_second(agent).filter(|_| origin.kind.makes_a_rule());
        match self.stage {
            Stage::Running if rate.is_some_and(|rate| !self.rates.take(now, agent, rate)) => {
                self.refuse(origin, Failure::NoResources, out);
            }
            Stage::Running if self.journal.stuck && origin.kind.makes_a_rule() => {
                self.refuse(origin, Failure::NoResources, out);
            }
            Stage::Running if self.queue.len() < limits::QUEUE_MAX => {
                self.queue.push_back(Work::Request(origin, request));
            }
            Stage::Running => self.refuse(origin, Failure::NoResources, out),
            //= RFC 4540 §7: what arrives after the middlebox decided to end the session gets no answer.
            Stage::Stopping | Stage::Stopped => {}
        }
    }

    /// Answers a request, if its session is still there.
    pub(crate) fn reply(&self, origin: Origin, reply: Reply, out: &mut Outbox<Output>) {
        if self.sessions.contains_key(&origin.session) {
            out.push(Output::Reply { session: origin.session, tid: origin.tid, result: Ok(reply) });
        }
    }

    /// Refuses a request.
    pub(crate) fn refuse(&mut self, origin: Origin, failure: Failure, out: &mut Outbox<Output>) {
        self.tally.refused += 1;
        let Origin { session, agent, tid, kind } = origin;
        out.push(Output::Event(Event::RequestRefused { agent, request: kind, failure }));
        if self.sessions.contains_key(&session) {
            out.push(Output::Reply { session, tid, result: Err(failure) });
        }
    }

    /// ARE to every session that may access the rule but the one that has a reply.
    pub(crate) fn notify(
        &self,
        owner: AgentId,
        except: Option<SessionId>,
        prid: Prid,
        lifetime: Lifetime,
        out: &mut Outbox<Output>,
    ) {
        //= RFC 4540 §8.9: all sessions authorised for the rule hear of it, the requester excepted.
        let others = self
            .sessions
            .iter()
            .filter(|(session, agent)| self.accesses(**agent, owner) && Some(**session) != except);
        for (session, _) in others {
            let notification = Notification::RuleEvent { prid, lifetime };
            out.push(Output::Notify { session: *session, notification });
        }
    }

    /// True if a batch could be made now.
    fn has_work(&self) -> bool {
        let waits = !self.queue.is_empty() || self.elements.touched() > 0 || self.disturbed;
        waits && self.flight.is_idle()
    }

    /// Turns everything that waits into batches, as far as the engine is free.
    pub(crate) fn pump(&mut self, now: Instant, out: &mut Outbox<Output>) {
        self.work(now, out);
        self.finish(out);
    }

    /// The same without saying goodbye, for when there is still something to say.
    pub(crate) fn work(&mut self, now: Instant, out: &mut Outbox<Output>) {
        while self.has_work() {
            match self.disturbed {
                true => self.verify(out),
                false => self.commit(now, out),
            }
        }
    }

    /// Says goodbye when all that had arrived is answered.
    fn finish(&mut self, out: &mut Outbox<Output>) {
        let busy = !self.flight.is_idle() || !self.queue.is_empty() || self.elements.touched() > 0;
        if self.stage != Stage::Stopping || busy {
            return;
        }
        self.stage = Stage::Stopped;
        while let Some((session, _)) = self.sessions.pop_first() {
            out.push(Output::Terminate { session });
        }
        out.push(Output::ShutdownComplete);
    }

    fn fire(&mut self, now: Instant, timer: Timer, out: &mut Outbox<Output>) {
        match timer {
            Timer::RuleEnds(prid) => self.queue.push_back(Work::End(prid, EndCause::Expired)),
            Timer::OrphansEnd => self.drop_orphans(now, out),
            Timer::Retry => self.elements.touch(std::mem::take(&mut self.retry)),
            Timer::Verify => self.disturbed = true,
        }
    }
}

impl Machine for Middlebox {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, now: Instant, input: Input, out: &mut Outbox<Output>) {
        self.heard = now;
        match input {
            Input::Opened { session, agent } => self.opened(session, agent, out),
            Input::Closed { session } => self.closed(session, out),
            Input::Request { session, tid, request } => self.requested(now, session, tid, request, out),
            Input::Applied { batch, results } => self.applied(now, batch, &results, out),
            Input::Restored { rules } => self.restore(now, &rules, out),
            Input::Writable(writable) => self.journal.stuck = !writable,
            Input::Adopted { entries } => self.adopt(now, &entries, out),
            Input::Disturbed => self.disturbed = true,
            Input::Verified { drift } => self.verified(now, drift, out),
            Input::Counted { session, tid, passed } if self.sessions.contains_key(&session) => {
                out.push(Output::Reply { session, tid, result: Ok(Reply::Counted(passed)) });
            }
            Input::Counted { .. } => {}
            Input::Policy(policy) => self.queue.push_back(Work::Policy(policy)),
            Input::Clock(minute) => {
                if self.authority.set_minute(minute) {
                    self.queue.push_back(Work::Reconsider);
                }
            }
            Input::Revoke { prid } => self.queue.push_back(Work::End(prid, EndCause::Revoked)),
            Input::Shutdown if self.stage == Stage::Running => self.stage = Stage::Stopping,
            Input::Shutdown => {}
        }
        self.finish(out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Outbox<Output>) {
        while let Some(timer) = self.timers.pop(now) {
            self.fire(now, timer, out);
        }
        self.pump(now, out);
    }

    fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        if self.has_work() {
            return Some((self.heard, "what has arrived becomes one batch"));
        }
        self.timers.next().map(|(at, timer)| {
            let why = match timer {
                Timer::RuleEnds(_) => "a rule's lifetime ends",
                Timer::OrphansEnd => "the grace of adopted entries ends",
                Timer::Retry => "failed operations are tried again",
                Timer::Verify => "a failed verification is tried again",
            };
            (at, why)
        })
    }
}
