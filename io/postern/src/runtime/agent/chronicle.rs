//! What is done with events: one log line per call begun and ended, ladders, counters, watchers.

use std::collections::BTreeSet;

use b2bua::config::RealmId;
use b2bua::{CallId, Cause, Event};
use machine::Instant;
use tokio::sync::mpsc;

use crate::admin::protocol::{Answer, Watched};
use crate::ladder::history::{History, Record};
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
    pub orphans: u64,
}

/// The readers of the event stream.
pub(crate) struct Chronicle {
    pub realms: Vec<String>,
    pub listeners: Vec<String>,
    pub history: History,
    pub counters: Counters,
    watchers: Vec<mpsc::Sender<Answer>>,
    /// Calls with rows that watchers have not seen, and how many they have seen of each.
    news: BTreeSet<CallId>,
    shown: std::collections::BTreeMap<CallId, usize>,
}

impl Chronicle {
    /// For these realms, keeping so many ended calls.
    pub(crate) fn new(realms: Vec<String>, listeners: Vec<String>, ended_max: usize) -> Self {
        Self {
            realms,
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
            let rows = story::rows(record);
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
            Event::Ending { cause: Cause::Cut(_), .. } => self.counters.cut += 1,
            Event::OrphanClosed { .. } => self.counters.orphans += 1,
            Event::Received { .. }
            | Event::Sent { .. }
            | Event::Held { .. }
            | Event::Asked { .. }
            | Event::Answered { .. }
            | Event::RuleChanged { .. }
            | Event::StaysWide { .. }
            | Event::Ending { .. }
            | Event::Ended { .. }
            | Event::AnsweredAlone { .. }
            | Event::MiddleboxUp(_)
            | Event::MiddleboxDown(_) => {}
        }
    }

    fn tell(&self, event: &Event) {
        match event {
            Event::Started { call, from, to } => {
                log::info(format_args!("call {call}: {} -> {}", self.realm(*from), self.realm(*to)));
            }
            Event::Ended { call } => {
                if let Some(record) = self.history.record(*call) {
                    log::info(format_args!("call {call}: {}", epitaph(record)));
                }
            }
            Event::RuleChanged { call, prid, lifetime_s, .. } => {
                log::warn(format_args!("call {call}: rule {} changed, {lifetime_s} s left", prid.0));
            }
            Event::MiddleboxUp(_) => log::info(format_args!("middlebox: session is up")),
            Event::MiddleboxDown(_) => {
                log::warn(format_args!("middlebox: session is down; calls that need a pinhole are refused"));
            }
            Event::OrphanClosed { prid, .. } => {
                log::warn(format_args!("middlebox: rule {} belonged to no call and is closed", prid.0));
            }
            Event::Answered { call, result: Err(failure), .. } => {
                log::info(format_args!("call {call}: middlebox refused: {failure}"));
            }
            Event::StaysWide { call, stream, failure } => {
                log::debug(format_args!("call {call}: stream {stream} stays wide: {failure}"));
            }
            Event::Received { .. }
            | Event::Sent { .. }
            | Event::Held { .. }
            | Event::Asked { .. }
            | Event::Answered { .. }
            | Event::Established { .. }
            | Event::Ending { .. }
            | Event::AnsweredAlone { .. } => {}
        }
    }
}

/// What is said of a call that is over: why, and how long it was spoken.
pub(crate) fn epitaph(record: &Record) -> String {
    let why = record.cause.map_or_else(|| "ended".to_owned(), cause);
    match (record.established, record.ended) {
        (Some(from), Some(until)) => format!("{why}, {:.1} s", until.since(from).as_secs_f32()),
        (Some(_) | None, None) | (None, Some(_)) => format!("{why}, never answered"),
    }
}

/// A cause in words.
pub(crate) fn cause(cause: Cause) -> String {
    match cause {
        Cause::Bye(side) => format!("BYE from {side}"),
        Cause::Cancelled => "cancelled".into(),
        Cause::Refused(code) => format!("refused with {code}"),
        Cause::Cut(code) => format!("cut with {code}"),
        Cause::Kicked => "kicked".into(),
        Cause::Shutdown => "shutdown".into(),
    }
}

fn call_of(event: &Event) -> Option<CallId> {
    match event {
        Event::Started { call, .. }
        | Event::Received { call, .. }
        | Event::Sent { call, .. }
        | Event::Held { call, .. }
        | Event::Asked { call, .. }
        | Event::Answered { call, .. }
        | Event::RuleChanged { call, .. }
        | Event::StaysWide { call, .. }
        | Event::Established { call }
        | Event::Ending { call, .. }
        | Event::Ended { call } => Some(*call),
        Event::AnsweredAlone { .. }
        | Event::MiddleboxUp(_)
        | Event::MiddleboxDown(_)
        | Event::OrphanClosed { .. } => None,
    }
}
