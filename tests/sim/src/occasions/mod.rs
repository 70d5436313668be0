//! Which situations of `docs/calls.md` a run has brought about, counted by name: by what the agent says of its calls, and by
//! the datagrams that reach it. `tests/flows/rows.txt` says which of them shows which row; a test runs seeds until each was there.

mod course;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use b2bua::side::Side;
use b2bua::{CallId, Event};
use midcom::FailureClass;
use sdp::precondition::Type;

use crate::queue::Life;
use crate::tally::Tally;
use crate::wire;
use course::Course;

/// Everything that is counted.
pub const NAMES: &[&str] = &[
    "200 again while it is held",
    "3xx",
    "420 remembered",
    "491 from a peer",
    "481 in a dialog",
    "ACK missing",
    "BYE from both sides",
    "BYE unanswered",
    "BYE while a rule is asked for",
    "BUNDLE",
    "CANCEL after the 200 to A",
    "CANCEL before a 1xx",
    "CANCEL while INVITE is held",
    "CANCEL while the 200 is held",
    "CANCEL without effect",
    "Contact of another side",
    "ICE",
    "INVITE again while it is held",
    "INVITE that asks where we insert",
    "INVITE with Replaces",
    "INVITE without an offer where we insert",
    "NOTIFY",
    "NOTIFY after the call",
    "NAT: ICE left out",
    "NAT: call from inside",
    "NAT: call from outside",
    "NAT: early media",
    "NAT: kept over a restart",
    "NAT: no port left",
    "NAT: several streams",
    "NAT: the outside place stays",
    "PER answered late",
    "PER unanswered",
    "PID_A after the answer, caller inside",
    "PID_A after the answer, caller outside",
    "PID_A before the answer, caller inside",
    "PID_A before the answer, caller outside",
    "PID_B, caller inside",
    "PID_B, caller outside",
    "PRACK from one side only",
    "PRACK through both legs",
    "REFER",
    "REFER refused",
    "Record-Route of another side",
    "Replaces in Refer-To",
    "SRTP",
    "TCP stream",
    "answer in 200",
    "answer in a reliable 18x",
    "answer in PRACK",
    "answer turns a stream on",
    "asks without 100rel: 421",
    "callee cannot: 420",
    "early media",
    "failure behind a held 18x",
    "fax",
    "firewall failure: unreachable",
    "firewall failure: technical",
    "firewall failure: static policy",
    "first rule refused",
    "good case",
    "hold",
    "host name in c=",
    "late 18x",
    "lines nobody knows",
    "moves between 18x and 200",
    "no media ends a call",
    "offer in 200",
    "offerless re-INVITE",
    "our 488",
    "our 491",
    "our 580",
    "re-INVITE",
    "session refreshed",
    "reserved",
    "revoked",
    "rings behind fw",
    "rings behind qos",
    "rings behind what the caller asked for",
    "rings behind what we put in",
    "rule changed during set-up",
    "rule extended",
    "second rule refused",
    "session lost",
    "session lost during set-up",
    "several phones ring",
    "silence ends a call",
    "stranger's request",
    "UPDATE with an offer",
    "video",
    "200 behind a held 18x",
];

/// How often each was there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Occasions(BTreeMap<&'static str, u64>);

impl Occasions {
    /// Adds another run's.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.0 {
            *self.0.entry(name).or_default() += count;
        }
    }

    /// How often one was there.
    #[must_use]
    pub fn count(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }

    pub(crate) fn note(&mut self, name: &'static str, count: u64) {
        debug_assert!(NAMES.contains(&name), "{name} is no occasion");
        if count > 0 {
            *self.0.entry(name).or_default() += count;
        }
    }
}

impl fmt::Display for Occasions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        NAMES.iter().try_for_each(|name| writeln!(f, "{:>10}  {name}", self.count(name)))
    }
}

/// Reads what happens.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    occasions: Occasions,
    courses: BTreeMap<(Life, CallId), Course>,
    /// INVITEs and answers that were taken up, by what they say.
    taken: BTreeMap<u64, (Life, CallId)>,
    /// By the Call-ID on leg A.
    callers: BTreeMap<String, (Life, CallId)>,
    /// Who has refused preconditions.
    refusers: BTreeSet<(Life, String)>,
}

impl Reader {
    /// Something came about that others have noticed.
    pub(crate) fn note(&mut self, name: &'static str) {
        self.occasions.note(name, 1);
    }

    /// A phone rings behind a precondition of this type.
    pub(crate) fn rings(&mut self, of: Type<'_>, is_callers: bool) {
        let name = match of {
            Type::Other(_) => return,
            Type::Fw => "rings behind fw",
            Type::Qos => "rings behind qos",
        };
        let whose = match is_callers {
            true => "rings behind what the caller asked for",
            false => "rings behind what we put in",
        };
        [name, whose].into_iter().for_each(|name| self.occasions.note(name, 1));
    }

    /// Something that the observer has seen at the phones.
    pub(crate) fn sees(&mut self, name: &'static str) {
        self.occasions.note(name, 1);
    }

    /// A datagram of a phone arrives at the agent.
    pub(crate) fn arrives(&mut self, life: Life, bytes: &[u8]) {
        if bytes.starts_with(b"CANCEL ")
            && let Some(at) = wire::field(bytes, "Call-ID").and_then(|id| self.callers.get(id))
            && at.0 == life
            && self.courses.get(at).is_some_and(Course::has_answered)
        {
            self.occasions.note("CANCEL after the 200 to A", 1);
        }
        let Some(mark) = mark(bytes) else { return };
        let course = self.taken.get(&mark).filter(|at| at.0 == life).and_then(|at| self.courses.get(at));
        match course {
            Some(course) if bytes.starts_with(b"INVITE ") && course.holds_invite() => {
                self.occasions.note("INVITE again while it is held", 1);
            }
            Some(course) if bytes.starts_with(b"SIP/2.0 200") && course.holds_answer() => {
                self.occasions.note("200 again while it is held", 1);
            }
            Some(_) | None => {}
        }
    }

    /// The agent says something; `bytes` are the datagram that it is about, if it is about one.
    pub(crate) fn hears(&mut self, life: Life, event: &Event, bytes: Option<&[u8]>) {
        match (event, bytes.and_then(mark)) {
            (Event::Started { call, .. }, _) => {
                self.courses.insert((life, *call), Course::default());
            }
            (Event::MiddleboxDown(_), _) => self.loses(life),
            (Event::Ended { call }, _) => {
                if let Some(course) = self.courses.remove(&(life, *call)) {
                    course.ended().for_each(|name| self.occasions.note(name, 1));
                }
            }
            (Event::Received { call, .. }, Some(mark)) => {
                self.taken.insert(mark, (life, *call));
                if let Some(id) = bytes.and_then(|bytes| wire::field(bytes, "Call-ID")) {
                    self.callers.entry(id.to_owned()).or_insert((life, *call));
                }
            }
            (Event::Received { call, side: Side::B, message }, _) if message.status == 420 => {
                let refuser = self.courses.get_mut(&(life, *call)).and_then(Course::refuser);
                self.refusers.extend(refuser.map(|uri| (life, uri)));
            }
            (Event::Answered { result: Err(failure), .. }, _) => {
                if let Some(name) = class(failure.class()) {
                    self.occasions.note(name, 1);
                }
            }
            _ => {}
        }
        let course = of(event).and_then(|call| self.courses.get_mut(&(life, call)));
        if let Some(course) = course {
            course.hears(event, bytes.unwrap_or_default());
            course.said.drain(..).for_each(|name| self.occasions.note(name, 1));
        }
    }

    /// A request of a call leaves for a phone in whose realm we put preconditions in, or not.
    pub(crate) fn leaves(&mut self, at: (Life, CallId), bytes: &[u8], inserts: bool) {
        let is_first = wire::field(bytes, "To").is_some_and(|to| !to.contains(";tag="));
        if !is_first || !bytes.starts_with(b"INVITE ") {
            return;
        }
        if let Some(course) = self.courses.get_mut(&at) {
            course.leaves(bytes, inserts, |uri| self.refusers.contains(&(at.0, uri.to_owned())));
            course.said.drain(..).for_each(|name| self.occasions.note(name, 1));
        }
    }

    /// Everything, with what is counted elsewhere already.
    pub(crate) fn told(self, tally: &Tally) -> Occasions {
        let mut occasions = self.occasions;
        for (name, count) in [
            ("silence ends a call", tally.expired),
            ("session refreshed", tally.refreshed),
            ("stranger's request", tally.forged),
            ("several phones ring", tally.forked),
            ("INVITE with Replaces", tally.taken_over),
            ("REFER", tally.referred),
            ("REFER refused", tally.refused_refers),
            ("NOTIFY", tally.notified),
            ("NOTIFY after the call", tally.late_notifies),
            ("no media ends a call", tally.silenced),
        ] {
            occasions.note(name, count);
        }
        occasions
    }

    fn loses(&mut self, life: Life) {
        let living = self.courses.iter().filter(|((of, _), _)| *of == life).map(|(_, course)| course);
        let (all, early) = living
            .fold((0, 0), |(all, early), course| (all + 1, early + u64::from(course.is_being_set_up())));
        self.occasions.note("session lost", all);
        self.occasions.note("session lost during set-up", early);
    }
}

/// The call that an event is about, if it is about what its course shows.
fn of(event: &Event) -> Option<CallId> {
    match event {
        Event::Received { call, .. }
        | Event::Sent { call, .. }
        | Event::Held { call, .. }
        | Event::Asked { call, .. }
        | Event::Answered { call, .. }
        | Event::RuleChanged { call, .. }
        | Event::Established { call }
        | Event::Ending { call, .. } => Some(*call),
        Event::Started { .. }
        | Event::Called { .. }
        | Event::NotFound { .. }
        | Event::Ended { .. }
        | Event::StaysWide { .. }
        | Event::StreamLost { .. }
        | Event::GhostRing { .. }
        | Event::GhostRingPrevented { .. }
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
        | Event::OrphanClosed { .. }
        | Event::MiddleboxUp(_)
        | Event::MiddleboxDown(_)
        | Event::CannotCount(_) => None,
    }
}

/// No middlebox of the simulation refuses for a while; what it takes away is counted as such.
fn class(class: FailureClass) -> Option<&'static str> {
    match class {
        FailureClass::Unreachable => Some("firewall failure: unreachable"),
        FailureClass::Technical => Some("firewall failure: technical"),
        FailureClass::TemporaryPolicy => None,
        FailureClass::StaticPolicy => Some("firewall failure: static policy"),
    }
}

/// What tells one INVITE or answer from another; of nothing else is kept what it says.
fn mark(bytes: &[u8]) -> Option<u64> {
    if !bytes.starts_with(b"INVITE ") && !bytes.starts_with(b"SIP/2.0 200") {
        return None;
    }
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    Some(hasher.finish())
}
