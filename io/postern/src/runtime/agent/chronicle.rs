//! What is done with events: one log line per call begun and ended, ladders, counters, watchers.

use std::collections::BTreeSet;

use b2bua::config::{RealmId, TrunkId};
use b2bua::side::Side;
use b2bua::{CallId, Cause, Event, Sip};
use machine::Instant;
use midcom::{Failure, MiddleboxId, Prid};
use sip::message::Method;
use sip::transport::Hop;
use tokio::sync::mpsc;

use crate::admin::protocol::{Answer, Watched};
use crate::ladder::history::{History, Record, tame};
use crate::ladder::story;
use crate::log;

/// Those who watch at a time.
const WATCHERS_MAX: usize = 8;

/// Numbers for `postern status`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub begun: u64,
    pub established: u64,
    pub cut: u64,
    /// Phones that rang for calls the firewall then refused.
    pub ghost_rings: u64,
    /// Calls the firewall refused before a phone rang.
    pub ghost_rings_prevented: u64,
    pub orphans: u64,
}

/// The readers of the event stream.
pub(crate) struct Chronicle {
    pub realms: Vec<String>,
    trunks: Vec<String>,
    /// In the order of their numbers.
    pub middleboxes: Vec<String>,
    pub listeners: Vec<String>,
    pub history: History,
    pub counters: Counters,
    watchers: Vec<mpsc::Sender<Answer>>,
    /// Calls with rows that watchers have not seen, and how many they have seen of each.
    news: BTreeSet<CallId>,
    shown: std::collections::BTreeMap<CallId, usize>,
}

impl Chronicle {
    /// For these realms and trunks, keeping so many ended calls.
    pub(crate) fn new(
        (realms, trunks): (Vec<String>, Vec<String>),
        middleboxes: Vec<String>,
        listeners: Vec<String>,
        ended_max: usize,
    ) -> Self {
        Self {
            realms,
            trunks,
            middleboxes,
            listeners,
            history: History::new(ended_max),
            counters: Counters::default(),
            watchers: Vec::new(),
            news: BTreeSet::new(),
            shown: std::collections::BTreeMap::new(),
        }
    }

    /// The name of a realm.
    pub(crate) fn realm(&self, id: RealmId) -> &str {
        self.realms.get(usize::from(id.0)).map_or("?", String::as_str)
    }

    /// The name of a trunk.
    fn trunk(&self, id: TrunkId) -> &str {
        self.trunks.get(usize::from(id.0)).map_or("?", String::as_str)
    }

    /// The name of a middlebox.
    pub(crate) fn middlebox(&self, id: MiddleboxId) -> &str {
        self.middleboxes.get(usize::from(id.0)).map_or("?", String::as_str)
    }

    /// Takes note of an event.
    pub(crate) fn observe(&mut self, now: Instant, event: &Event) {
        self.history.observe(now, event);
        self.count(event);
        self.tell(event);
        if !self.watchers.is_empty() {
            self.news.extend(call_of(event));
        }
    }

    /// Tells one more of what happens from now on.
    pub(crate) fn watch(&mut self, watcher: mpsc::Sender<Answer>) {
        if self.watchers.len() >= WATCHERS_MAX {
            let _ = watcher.try_send(Answer::Error(format!("{WATCHERS_MAX} are watching already")));
            return;
        }
        self.watchers.push(watcher);
    }

    /// Sends the rows of this turn to those who watch. One who does not keep up is let go.
    pub(crate) fn turn_ended(&mut self) {
        for call in std::mem::take(&mut self.news) {
            let Some(record) = self.history.record(call) else { continue };
            let rows = story::rows(record, &self.middleboxes);
            let ended = record.ended.is_some();
            let shown = self.shown.insert(call, rows.len()).unwrap_or(0);
            for row in rows.into_iter().skip(shown) {
                let answer = Answer::of(&Watched { call: call.0, row });
                self.watchers.retain(|watcher| watcher.try_send(answer.clone()).is_ok());
            }
            if ended {
                self.shown.remove(&call);
            }
        }
        if self.watchers.is_empty() {
            self.shown.clear();
        }
    }

    fn count(&mut self, event: &Event) {
        match event {
            Event::Started { .. } => self.counters.begun += 1,
            Event::Established { .. } => self.counters.established += 1,
            Event::Ending { cause: Cause::Cut(_) | Cause::Revoked(_), .. } => self.counters.cut += 1,
            Event::GhostRing { .. } => self.counters.ghost_rings += 1,
            Event::GhostRingPrevented { .. } => self.counters.ghost_rings_prevented += 1,
            Event::OrphanClosed { .. } => self.counters.orphans += 1,
            Event::Received { .. }
            | Event::Sent { .. }
            | Event::Called { .. }
            | Event::NotFound { .. }
            | Event::Held { .. }
            | Event::Asked { .. }
            | Event::Answered { .. }
            | Event::RuleChanged { .. }
            | Event::StaysWide { .. }
            | Event::StreamLost { .. }
            | Event::Ending { .. }
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
            | Event::CannotCount(_) => {}
        }
    }

    fn tell(&self, event: &Event) {
        match event {
            Event::Started { call, from, to, .. } => {
                if let Some(record) = self.history.record(*call) {
                    let (from, to) = (self.realm(*from), self.realm(*to));
                    let Record { caller, callee, call_id, .. } = record;
                    log::info(format_args!(
                        "call {call}: {from} > {to}, {caller} calls {callee}, Call-ID {call_id}"
                    ));
                }
            }
            Event::Ended { call } => {
                if let Some(record) = self.history.record(*call) {
                    log::info(format_args!("call {call}: {}", epitaph(record)));
                }
            }
            Event::Answered { call, middlebox, result: Err(failure), .. } => {
                log::info(format_args!("call {call}: {} refused: {failure}", self.middlebox(*middlebox)));
            }
            Event::NotFound { call, name } => {
                log::info(format_args!(
                    "call {call}: its next hop {name} has no address that its realm can send to"
                ));
            }
            Event::StaysWide { call, stream, failure } => {
                log::debug(format_args!("call {call}: stream {stream} stays wide: {failure}"));
            }
            Event::StreamLost { call, stream, failure } => lost(*call, *stream, *failure),
            Event::GhostRing { call, reserved } => {
                let but = if *reserved { ", although rules were reserved" } else { "" };
                log::warn(format_args!(
                    "call {call}: the firewall refused it after the callee's phone rang{but}"
                ));
            }
            Event::Received { .. }
            | Event::Sent { .. }
            | Event::Called { .. }
            | Event::Held { .. }
            | Event::Asked { .. }
            | Event::Answered { .. }
            | Event::GhostRingPrevented { .. }
            | Event::Established { .. }
            | Event::Offended { .. }
            | Event::Ending { .. } => {}
            Event::AnsweredAlone { hop, message, target, why } => {
                alone(hop, message, &tame(target), &tame(why))
            }
            Event::ServerChanged { hop, is_up } => server(hop, *is_up),
            Event::Registered { again: true, .. } => {}
            Event::Registered { realm, aor, hop, .. } => self.registration("registered", *realm, aor, *hop),
            Event::Unregistered { realm, aor, hop, .. } => {
                self.registration("not registered any more", *realm, aor, *hop);
            }
            Event::TrunkRegistered { .. }
            | Event::TrunkForgets { .. }
            | Event::TrunkFailed { .. }
            | Event::TrunkRefused { .. }
            | Event::NotAuthenticated { .. } => self.tell_of_trunk(event),
            Event::RuleChanged { call, middlebox, prid, lifetime_s } => {
                self.rule_changed(*call, *middlebox, *prid, *lifetime_s);
            }
            Event::MiddleboxUp(id) => log::info(format_args!("{}: session is up", self.middlebox(*id))),
            Event::MiddleboxDown(id) => self.complain(
                *id,
                format_args!("session is down; calls that need one of its pinholes are refused"),
            ),
            Event::CannotCount(id) => self.complain(*id, format_args!("{CANNOT_COUNT}")),
            Event::OrphanClosed { middlebox, prid } => {
                self.complain(*middlebox, format_args!("rule {} belonged to no call and is closed", prid.0));
            }
        }
    }

    fn tell_of_trunk(&self, event: &Event) {
        match event {
            Event::TrunkRegistered { again: true, .. } => {}
            Event::TrunkRegistered { trunk, hop, lives_s, .. } => {
                let name = self.trunk(*trunk);
                log::info(format_args!("trunk {name}: registered at {hop} for {lives_s} s"));
            }
            Event::TrunkForgets { trunk } => {
                log::info(format_args!("trunk {}: not registered any more", self.trunk(*trunk)));
            }
            Event::TrunkFailed { trunk, why, pause } => {
                let (name, why, again_s) = (self.trunk(*trunk), tame(why), pause.as_secs());
                log::warn(format_args!("trunk {name}: cannot register: {why}; again in {again_s} s"));
            }
            Event::TrunkRefused { trunk, method, why } => {
                let name = self.trunk(*trunk);
                log::warn(format_args!("trunk {name}: {} refused: {}", method.text(), tame(why)));
            }
            Event::NotAuthenticated { hop, realm, user, method, why } => {
                let (realm, user, why, remote) = (self.realm(*realm), tame(user), tame(why), hop.remote.ip());
                let method = method.text();
                log::warn(format_args!(
                    "authentication failed: from {remote}, {method} in {realm} as \"{user}\": {why}"
                ));
            }
            _of_something_else => {}
        }
    }

    fn registration(&self, what: &str, realm: RealmId, aor: &str, hop: Hop) {
        log::info(format_args!("{what}: {} at {}, {}", tame(aor), hop.remote, self.realm(realm)));
    }

    fn rule_changed(&self, call: CallId, middlebox: MiddleboxId, prid: Prid, lifetime_s: u32) {
        let name = self.middlebox(middlebox);
        match lifetime_s {
            0 => log::warn(format_args!("call {call}: {name} closed rule {}", prid.0)),
            left => log::warn(format_args!("call {call}: {name} lets rule {} live {left} s more", prid.0)),
        }
    }

    /// Says what is wrong with a middlebox.
    fn complain(&self, middlebox: MiddleboxId, what: std::fmt::Arguments<'_>) {
        log::warn(format_args!("{}: {what}", self.middlebox(middlebox)));
    }
}

/// Of a middlebox that does not know our message for counters.
const CANNOT_COUNT: &str = "it cannot say what has passed a pinhole: `media-timeout` has no effect";

/// A next hop does not answer OPTIONS any more, or does again.
fn server(hop: &Hop, is_up: bool) {
    match is_up {
        true => log::info(format_args!("next hop {hop} answers again")),
        false => log::warn(format_args!(
            "next hop {hop} does not answer OPTIONS, or with 503: calls begin with the others"
        )),
    }
}

fn lost(call: CallId, stream: u16, failure: Option<Failure>) {
    let stream = u32::from(stream) + 1;
    match failure {
        Some(failure) => log::warn(format_args!(
            "call {call}: goes on without stream {stream}, whose pinholes cannot be had again: {failure}"
        )),
        None => log::warn(format_args!(
            "call {call}: goes on without stream {stream}, whose pinholes the firewall took away"
        )),
    }
}

/// A call that was refused before it was one interests those who look for it; the rest is noise.
fn alone(hop: &Hop, message: &Sip, target: &str, why: &str) {
    let (method, status, remote) = (message.method.text(), message.status, hop.remote);
    if message.method != Method::Invite {
        return log::debug(format_args!("{method} from {remote} answered {status}"));
    }
    let because = if why.is_empty() { "" } else { ": " };
    log::info(format_args!("INVITE from {remote} for {target} answered {status}{because}{why}"));
}

/// What is said of a call that is over: why, and after how long a talk.
pub(crate) fn epitaph(record: &Record) -> String {
    let why = cause(record).unwrap_or_else(|| "ended".to_owned());
    match (record.established, record.ended) {
        (Some(from), Some(until)) => format!("{why}, after {:.1} s", until.since(from).as_secs_f32()),
        (Some(_) | None, None) | (None, Some(_)) => match record.cause {
            Some(Cause::Cancelled) => why,
            // Who is looked at next if a call was refused on the other side, or nobody was there.
            Some(Cause::Refused(_)) => match &record.callee_hop {
                Some(hop) => format!("{why} (next hop {hop})"),
                None => why,
            },
            Some(Cause::Bye(_) | Cause::Cut(_) | Cause::Revoked(_) | Cause::Kicked | Cause::Shutdown)
            | None => {
                format!("{why}, never connected")
            }
        },
    }
}

/// Why a call is ending or has ended, in words.
pub(crate) fn cause(record: &Record) -> Option<String> {
    let why = &record.why;
    let text = match record.cause? {
        Cause::Bye(Side::A) => "the caller hung up".into(),
        Cause::Bye(Side::B) => "the callee hung up".into(),
        Cause::Cancelled => "the caller gave up".into(),
        Cause::Refused(code) if why.is_empty() => format!("the callee refused with {code}"),
        Cause::Refused(code) => format!("refused with {code}: {why}"),
        Cause::Cut(code) => format!("cut with {code}: {why}"),
        Cause::Revoked(code) => format!("revoked by the firewall, cut with {code}: {why}"),
        Cause::Kicked => "kicked by an operator".into(),
        Cause::Shutdown => "ended by our shutdown".into(),
    };
    Some(text)
}

fn call_of(event: &Event) -> Option<CallId> {
    match event {
        Event::Started { call, .. }
        | Event::Received { call, .. }
        | Event::Sent { call, .. }
        | Event::Called { call, .. }
        | Event::NotFound { call, .. }
        | Event::Held { call, .. }
        | Event::Asked { call, .. }
        | Event::Answered { call, .. }
        | Event::RuleChanged { call, .. }
        | Event::StaysWide { call, .. }
        | Event::StreamLost { call, .. }
        | Event::GhostRing { call, .. }
        | Event::GhostRingPrevented { call, .. }
        | Event::Established { call }
        | Event::Ending { call, .. }
        | Event::Ended { call } => Some(*call),
        Event::AnsweredAlone { .. }
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
        | Event::OrphanClosed { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ladder::history::some_hop;

    fn ended(established: bool, cause: Cause, why: &str) -> String {
        let call = CallId(1);
        let mut history = History::new(1);
        let name = || "x".into();
        let (caller, callee, call_id) = (name(), name(), name());
        let (from, to) = (RealmId(0), RealmId(1));
        let mut at = Instant::ZERO;
        history.observe(at, &Event::Started { call, from, to, caller, callee, call_id, hop: some_hop() });
        if established {
            history.observe(at, &Event::Established { call });
        }
        at += std::time::Duration::from_millis(1500);
        history.observe(at, &Event::Ending { call, cause, why: why.into() });
        history.observe(at, &Event::Ended { call });
        epitaph(history.record(call).unwrap())
    }

    #[test]
    fn an_epitaph_says_whose_doing_it_was() {
        assert_eq!(ended(true, Cause::Bye(Side::A), ""), "the caller hung up, after 1.5 s");
        assert_eq!(ended(false, Cause::Refused(486), ""), "the callee refused with 486");
        assert_eq!(ended(false, Cause::Refused(403), "firewall policy"), "refused with 403: firewall policy");
        let why = "firewall temporarily closed: the pinhole was taken away, stream 1";
        let revoked = format!("revoked by the firewall, cut with 500: {why}, after 1.5 s");
        assert_eq!(ended(true, Cause::Revoked(500), why), revoked);
        assert_eq!(ended(false, Cause::Kicked, ""), "kicked by an operator, never connected");
    }
}
