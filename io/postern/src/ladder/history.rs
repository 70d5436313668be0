//! What happened in each call, remembered in a few bytes per fact: all live calls and the last ended ones.

use std::collections::{BTreeMap, VecDeque};

use b2bua::config::RealmId;
use b2bua::side::Side;
use b2bua::{CallId, Cause, Event, Sip};
use machine::Instant;
use midcom::{Failure, Lifetime, MiddleboxId, Prid, Request};
use sip::message::Method;
use sip::transport::Hop;

/// Facts kept of one call; what comes later is only counted.
const FACTS_MAX: usize = 200;
/// Facts of a call that is made, answered and ended.
const FACTS_USUAL: usize = 40;
/// Characters kept of what strangers write.
const NAME_MAX: usize = 128;
/// How many ended calls are searched for one that something still happens to.
const LATE_MAX: usize = 64;

/// One fact with its time in milliseconds since the call began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fact {
    pub at_ms: u32,
    pub what: What,
}

/// A fact, small enough to be kept by the thousand.
#[derive(Debug, Clone, Copy)]
pub(crate) enum What {
    Received(Side, Message),
    Sent(Side, Message),
    Asked { at: MiddleboxId, id: u32, verb: Verb, toward: Option<Side>, prid: Option<Prid> },
    Answered { at: MiddleboxId, id: u32, result: Result<Option<Prid>, Failure> },
    RuleChanged { at: MiddleboxId, prid: Prid, gone: bool },
    StaysWide { stream: u16 },
    StreamLost { stream: u16 },
}

/// A SIP message as [`Sip`] tells it; methods of our own enum are numbers here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Message {
    pub method: &'static str,
    pub status: u16,
    pub sdp: bool,
    pub reason: u16,
}

/// What a middlebox was asked, in the letters of SIMCO.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Prr,
    Per,
    Pea,
    Pdr,
    Plc { end: bool },
    Prs,
    Prl,
    Prc,
}

/// One call.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub from: RealmId,
    pub to: RealmId,
    pub caller: Box<str>,
    pub callee: Box<str>,
    /// Of the caller's leg.
    pub call_id: Box<str>,
    /// Where the caller's messages come from, and where the callee's went last.
    pub caller_hop: Hop,
    pub callee_hop: Option<Hop>,
    pub started: Instant,
    pub established: Option<Instant>,
    pub ended: Option<Instant>,
    pub cause: Option<Cause>,
    /// The failure in words; empty if it was none of ours.
    pub why: Box<str>,
    pub facts: Vec<Fact>,
    pub facts_lost: u32,
}

/// All calls that can be shown.
#[derive(Debug)]
pub(crate) struct History {
    live: BTreeMap<CallId, Record>,
    ended: VecDeque<(CallId, Record)>,
    ended_max: usize,
}

impl History {
    /// Keeps so many ended calls.
    pub(crate) fn new(ended_max: usize) -> Self {
        Self { live: BTreeMap::new(), ended: VecDeque::new(), ended_max }
    }

    /// Takes note of an event; gives the call's record back when the call has just ended.
    pub(crate) fn observe(&mut self, now: Instant, event: &Event) -> Option<&Record> {
        match event {
            Event::Started { call, from, to, caller, callee, call_id, hop } => {
                let record = Record {
                    from: *from,
                    to: *to,
                    caller: tame(caller),
                    callee: tame(callee),
                    call_id: tame(call_id),
                    caller_hop: *hop,
                    callee_hop: None,
                    started: now,
                    established: None,
                    ended: None,
                    cause: None,
                    why: "".into(),
                    facts: Vec::with_capacity(FACTS_USUAL),
                    facts_lost: 0,
                };
                self.live.insert(*call, record);
            }
            Event::Called { call, hop } => {
                if let Some(record) = self.live.get_mut(call) {
                    record.callee_hop = Some(*hop);
                }
            }
            Event::Established { call } => {
                if let Some(record) = self.live.get_mut(call) {
                    record.established.get_or_insert(now);
                }
            }
            Event::Ending { call, cause, why } => {
                if let Some(record) = self.live.get_mut(call).filter(|record| record.cause.is_none()) {
                    record.cause = Some(*cause);
                    record.why = tame(why);
                }
            }
            Event::Ended { call } => return self.end(now, *call),
            Event::Received { .. }
            | Event::Sent { .. }
            | Event::Held { .. }
            | Event::Asked { .. }
            | Event::Answered { .. }
            | Event::RuleChanged { .. }
            | Event::StaysWide { .. }
            | Event::StreamLost { .. }
            | Event::GhostRing { .. }
            | Event::GhostRingPrevented { .. }
            | Event::NotFound { .. }
            | Event::AnsweredAlone { .. }
            | Event::Offended { .. }
            | Event::ServerChanged { .. }
            | Event::Registered { .. }
            | Event::Unregistered { .. }
            | Event::TrunkRegistered { .. }
            | Event::TrunkForgets { .. }
            | Event::NotAuthenticated { .. }
            | Event::TrunkFailed { .. }
            | Event::TrunkRefused { .. }
            | Event::MiddleboxUp(_)
            | Event::MiddleboxDown(_)
            | Event::CannotCount(_)
            | Event::OrphanClosed { .. } => self.note(now, event),
        }
        None
    }

    /// A call that lives or ended lately.
    pub(crate) fn record(&self, call: CallId) -> Option<&Record> {
        let ended = || self.ended.iter().rev().find(|(id, _)| *id == call).map(|(_, record)| record);
        self.live.get(&call).or_else(ended)
    }

    /// The calls that ended lately, oldest first.
    pub(crate) fn ended(&self) -> impl Iterator<Item = (CallId, &Record)> {
        self.ended.iter().map(|(id, record)| (*id, record))
    }

    fn end(&mut self, now: Instant, call: CallId) -> Option<&Record> {
        let mut record = self.live.remove(&call)?;
        record.ended = Some(now);
        record.facts.shrink_to_fit();
        self.ended.push_back((call, record));
        while self.ended.len() > self.ended_max.max(1) {
            self.ended.pop_front();
        }
        self.ended.back().map(|(_, record)| record)
    }

    fn note(&mut self, now: Instant, event: &Event) {
        let Some((call, what)) = fact(event) else { return };
        // What still happens to a call after its end (a late answer) belongs to its record.
        let late = self.ended.iter_mut().rev().take(LATE_MAX).find(|(id, _)| *id == call);
        let late = late.map(|(_, record)| record);
        let Some(record) = self.live.get_mut(&call).or(late) else { return };
        if record.facts.len() >= FACTS_MAX {
            record.facts_lost = record.facts_lost.saturating_add(1);
            return;
        }
        let at_ms = u32::try_from(now.since(record.started).as_millis()).unwrap_or(u32::MAX);
        record.facts.push(Fact { at_ms, what });
    }
}

/// As much of a stranger's text as is kept, with nothing that would confuse a terminal or a log.
pub(crate) fn tame(text: &str) -> Box<str> {
    let tame = |character: char| if character.is_control() { '\u{fffd}' } else { character };
    text.chars().take(NAME_MAX).map(tame).collect::<String>().into()
}

fn fact(event: &Event) -> Option<(CallId, What)> {
    let fact = match event {
        Event::Received { call, side, message } => (*call, What::Received(*side, small(message))),
        Event::Sent { call, side, message } => (*call, What::Sent(*side, small(message))),
        Event::Asked { call, middlebox, id, toward, request } => {
            let (verb, prid) = verb(request);
            (*call, What::Asked { at: *middlebox, id: short(id.0), verb, toward: *toward, prid })
        }
        Event::Answered { call, middlebox, id, result } => {
            (*call, What::Answered { at: *middlebox, id: short(id.0), result: *result })
        }
        Event::RuleChanged { call, middlebox, prid, lifetime_s } => {
            (*call, What::RuleChanged { at: *middlebox, prid: *prid, gone: *lifetime_s == 0 })
        }
        Event::StaysWide { call, stream, .. } => (*call, What::StaysWide { stream: *stream }),
        Event::StreamLost { call, stream, .. } => (*call, What::StreamLost { stream: *stream }),
        // That a message was held shows in the order of the others, and so do ghost rings.
        Event::Held { .. }
        | Event::Called { .. }
        | Event::NotFound { .. }
        | Event::GhostRing { .. }
        | Event::GhostRingPrevented { .. }
        | Event::Ending { .. }
        | Event::Started { .. }
        | Event::Established { .. }
        | Event::Ended { .. }
        | Event::AnsweredAlone { .. }
        | Event::Offended { .. }
        | Event::ServerChanged { .. }
        | Event::Registered { .. }
        | Event::Unregistered { .. }
        | Event::TrunkRegistered { .. }
        | Event::TrunkForgets { .. }
        | Event::NotAuthenticated { .. }
        | Event::TrunkFailed { .. }
        | Event::TrunkRefused { .. }
        | Event::MiddleboxUp(_)
        | Event::MiddleboxDown(_)
        | Event::CannotCount(_)
        | Event::OrphanClosed { .. } => return None,
    };
    Some(fact)
}

/// Request identifiers only have to differ within one call.
fn short(id: u64) -> u32 {
    (id & u64::from(u32::MAX)) as u32
}

fn small(message: &Sip) -> Message {
    let method = match &message.method {
        Method::Invite => "INVITE",
        Method::Ack => "ACK",
        Method::Bye => "BYE",
        Method::Cancel => "CANCEL",
        Method::Options => "OPTIONS",
        Method::Register => "REGISTER",
        Method::Prack => "PRACK",
        Method::Update => "UPDATE",
        Method::Info => "INFO",
        Method::Refer => "REFER",
        Method::Notify => "NOTIFY",
        Method::Subscribe => "SUBSCRIBE",
        Method::Message => "MESSAGE",
        Method::Publish => "PUBLISH",
        Method::Other(_) => "(other method)",
    };
    Message { method, status: message.status, sdp: message.sdp, reason: message.reason }
}

fn verb(request: &Request) -> (Verb, Option<Prid>) {
    match request {
        Request::Reserve { .. } => (Verb::Prr, None),
        Request::Enable { .. } => (Verb::Per, None),
        Request::EnableReserved { prid, .. } => (Verb::Pea, Some(*prid)),
        Request::Disable { .. } => (Verb::Pdr, None),
        Request::Lifetime { prid, lifetime } => (Verb::Plc { end: *lifetime == Lifetime::END }, Some(*prid)),
        Request::Status { prid } => (Verb::Prs, Some(*prid)),
        Request::List => (Verb::Prl, None),
        Request::Count { .. } => (Verb::Prc, None),
    }
}

#[cfg(test)]
pub(crate) fn some_hop() -> Hop {
    use sip::transport::{ListenerId, Protocol};
    let remote = ([192, 0, 2, 1], 5060).into();
    Hop { listener: ListenerId(0), protocol: Protocol::Udp, remote, connection: None, name: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn begin(history: &mut History, call: u64) {
        let (from, to) = (RealmId(0), RealmId(1));
        let (caller, callee, call_id) = ("sip:\u{1b}a@a".into(), "b".repeat(1000).into(), "i@a".into());
        let (call, hop) = (CallId(call), some_hop());
        let started = Event::Started { call, from, to, caller, callee, call_id, hop };
        history.observe(Instant::ZERO, &started);
    }

    fn invite(call: u64) -> Event {
        let message = Sip { method: Method::Invite, status: 0, sdp: true, reason: 0 };
        Event::Received { call: CallId(call), side: Side::A, message }
    }

    #[test]
    fn only_the_last_ended_calls_are_kept() {
        let mut history = History::new(2);
        for call in 1..=5 {
            begin(&mut history, call);
            history.observe(Instant::ZERO, &Event::Ended { call: CallId(call) });
        }
        let kept: Vec<u64> = history.ended().map(|(call, _)| call.0).collect();
        assert_eq!(kept, [4, 5]);
        assert!(history.record(CallId(1)).is_none());
    }

    #[test]
    fn a_call_with_endless_facts_does_not_grow() {
        let mut history = History::new(1);
        begin(&mut history, 1);
        for _ in 0..FACTS_MAX + 7 {
            history.observe(Instant::ZERO, &invite(1));
        }
        let record = history.record(CallId(1)).unwrap();
        assert_eq!((record.facts.len(), record.facts_lost), (FACTS_MAX, 7));
    }

    #[test]
    fn what_happens_after_the_end_belongs_to_the_call() {
        let mut history = History::new(1);
        begin(&mut history, 1);
        history.observe(Instant::ZERO, &Event::Ended { call: CallId(1) });
        history.observe(Instant::ZERO, &invite(1));
        assert_eq!(history.record(CallId(1)).unwrap().facts.len(), 1);
        history.observe(Instant::ZERO, &invite(2));
        assert!(history.record(CallId(2)).is_none());
    }

    #[test]
    fn names_are_kept_short_and_harmless() {
        let mut history = History::new(1);
        begin(&mut history, 1);
        let record = history.record(CallId(1)).unwrap();
        assert_eq!((&*record.caller, record.callee.len()), ("sip:\u{fffd}a@a", NAME_MAX));
    }

    #[test]
    fn facts_are_small() {
        assert!(size_of::<Fact>() <= 40, "{}", size_of::<Fact>());
    }
}
