//! What the commands are told by the agent half.

use b2bua::ledger::{RuleInfo, RuleState};
use b2bua::side::{Side, Sides};
use b2bua::{CallId, CallInfo, CallState, Input, LegInfo, RegistrationInfo};
use jiff::{SignedDuration, Timestamp, Unit};
use machine::Instant;
use midcom::MiddleboxId;
use sip::transport::Hop;

use super::chronicle::{cause, epitaph};
use super::{Agent, Link};
use crate::admin::protocol::{
    AgentStatus, Answer, CallLine, CallReport, Calls, Leg, MiddleboxState, Owner, Owners, RegistrationLine,
    Registrations, Request, RuleLine, way,
};
use crate::admin::server::Question;
use crate::ladder::history::Record;
use crate::ladder::story;

impl Agent {
    /// Answers a question of a command.
    pub(super) fn asked(&mut self, now: Instant, question: Question) {
        let answer = match question.request {
            Request::Status => Answer::of(&self.status(now)),
            Request::Reload(asked) => self.reload(&asked),
            Request::Calls { ended } => Answer::of(&Calls { calls: self.call_lines(now, ended) }),
            Request::Registrations => Answer::of(&self.registrations(now)),
            Request::Trunks => Answer::of(&self.trunks(now)),
            Request::Call { id } => self.report(now, CallId(id)),
            Request::Owners => Answer::of(&self.owners(now)),
            Request::Watch => return self.chronicle.watch(question.reply),
            Request::Kick { id } => self.kick(CallId(id)),
            Request::Bans => Answer::of(&self.guard.bans(now)),
            Request::Ban(ban) => self.guard.ban(now, ban),
            Request::Unban { source } => self.guard.unban(source),
            Request::Pinholes { .. }
            | Request::Prove { .. }
            | Request::Deny(_)
            | Request::Denials
            | Request::Lift(_)
            | Request::Revoke { .. }
            | Request::RevokeGroup { .. } => Answer::Error("the middlebox half answers this".into()),
        };
        // One who no longer waits for the answer does not need it.
        let _ = question.reply.try_send(answer);
    }

    fn owners(&self, now: Instant) -> Owners {
        let details = self.machine.calls().filter_map(|info| self.machine.call(info.id));
        let rules = details.flat_map(|detail| {
            let call = detail.info.id.0;
            let known = detail.rules.into_iter().filter(|rule| rule.prid.is_some());
            known.map(move |rule| Owner { call, rule: self.rule_line(now, &rule) })
        });
        Owners { rules: rules.collect() }
    }

    fn registrations(&self, now: Instant) -> Registrations {
        let line = |info: RegistrationInfo| RegistrationLine {
            aor: info.aor,
            contact: info.contact,
            name: info.name,
            transport: info.hop.protocol.to_string(),
            address: info.hop.remote.to_string(),
            realm: self.chronicle.realm(info.realm).into(),
            registrar: self.chronicle.realm(info.registrar).into(),
            expires_s: info.expires.since(now).as_secs(),
        };
        Registrations { registrations: self.machine.registrations().map(line).collect() }
    }

    fn link(&self, id: MiddleboxId) -> Option<&Link> {
        self.links.iter().find(|link| link.id == id)
    }

    fn kick(&mut self, call: CallId) -> Answer {
        if self.machine.call(call).is_none() {
            return Answer::Error(format!("there is no call {call} (`postern calls` lists them)"));
        }
        self.inputs.push_back(Input::Kick { call });
        Answer::of(&call.0)
    }

    fn status(&self, now: Instant) -> AgentStatus {
        let counters = self.chronicle.counters;
        let state = |link: &Link| MiddleboxState {
            name: link.name.clone(),
            address: link.address(),
            up: link.is_up(),
            trouble: link.why_down().map(str::to_owned),
            partner: self.machine.partner(link.id).map(|id| self.chronicle.middlebox(id).to_owned()),
            certificate: link.certificate(),
        };
        AgentStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_s: now.since(Instant::ZERO).as_secs(),
            listeners: self.chronicle.listeners.clone(),
            calls: self.machine.calls().count(),
            calls_begun: counters.begun,
            calls_established: counters.established,
            calls_cut: counters.cut,
            ghost_rings: counters.ghost_rings,
            ghost_rings_prevented: counters.ghost_rings_prevented,
            orphans_closed: counters.orphans,
            connections: self.streams.len(),
            certificates: self.streams.certificates(),
            next_hops_down: self
                .machine
                .servers_down()
                .map(|(protocol, address)| format!("{protocol} {address}"))
                .collect(),
            dropped: self.udp.dropped,
            middleboxes: self.links.iter().map(state).collect(),
            sandbox: self.sandbox.clone(),
        }
    }

    fn call_lines(&self, now: Instant, ended: bool) -> Vec<CallLine> {
        let past = self.chronicle.history.ended().filter(|_| ended);
        let past = past.map(|(call, record)| self.past_line(now, call, record));
        past.chain(self.machine.calls().map(|info| self.live_line(now, &info))).collect()
    }

    fn live_line(&self, now: Instant, info: &CallInfo) -> CallLine {
        let state = match info.state {
            CallState::SettingUp => "setting-up",
            CallState::Established => "established",
            CallState::Ending => "ending",
        };
        let record = self.chronicle.history.record(info.id);
        CallLine {
            id: info.id.0,
            state: state.into(),
            from_realm: self.chronicle.realm(info.realms.a).into(),
            to_realm: self.chronicle.realm(info.realms.b).into(),
            from: info.from.clone(),
            to: info.to.clone(),
            call_id: record.map_or_else(String::new, |record| record.call_id.to_string()),
            started: on_the_wall(now, info.started),
            ended: None,
            age_s: now.since(info.started).as_secs(),
            established: info.established.is_some(),
            rules: info.open_rules,
            cause: record.and_then(cause),
        }
    }

    fn past_line(&self, now: Instant, call: CallId, record: &Record) -> CallLine {
        CallLine {
            id: call.0,
            state: "ended".into(),
            from_realm: self.chronicle.realm(record.from).into(),
            to_realm: self.chronicle.realm(record.to).into(),
            from: record.caller.to_string(),
            to: record.callee.to_string(),
            call_id: record.call_id.to_string(),
            started: on_the_wall(now, record.started),
            ended: record.ended.and_then(|ended| on_the_wall(now, ended)),
            age_s: record.ended.map_or(0, |ended| ended.since(record.started).as_secs()),
            established: record.established.is_some(),
            rules: 0,
            cause: Some(epitaph(record)),
        }
    }

    fn report(&self, now: Instant, call: CallId) -> Answer {
        let live = self.machine.call(call);
        let record = self.chronicle.history.record(call);
        let line = match (&live, record) {
            (Some(detail), _) => self.live_line(now, &detail.info),
            (None, Some(record)) => self.past_line(now, call, record),
            (None, None) => {
                return Answer::Error(format!(
                    "no call {call} is known (`postern calls --ended` lists them)"
                ));
            }
        };
        let rules =
            live.iter().flat_map(|detail| &detail.rules).map(|rule| self.rule_line(now, rule)).collect();
        let legs = match live {
            Some(detail) => legs(&detail.legs),
            None => record.map_or_else(Vec::new, past_legs),
        };
        let ladder = record.map_or_else(Vec::new, |record| story::rows(record, &self.chronicle.middleboxes));
        Answer::of(&CallReport { call: line, legs, rules, ladder })
    }

    fn rule_line(&self, now: Instant, rule: &RuleInfo) -> RuleLine {
        let state = match rule.state {
            RuleState::Asked => "asked",
            RuleState::Reserved => "reserved",
            RuleState::Enabled => "open",
            RuleState::Absent => "absent",
            RuleState::Closing => "closing",
        };
        RuleLine {
            pid: rule.prid.map(|prid| prid.0),
            middlebox: self.chronicle.middlebox(rule.middlebox).to_owned(),
            here: self.link(rule.middlebox).is_some_and(Link::is_local),
            stream: u32::from(rule.stream) + 1,
            toward: if rule.toward == Side::A { "A" } else { "B" }.into(),
            state: state.into(),
            direction: way(rule.direction).into(),
            inside: rule.internal.to_string(),
            seen_as: rule.seen_as.map(|address| address.to_string()),
            outside: rule.external.to_string(),
            remaining_s: rule.deadline.since(now).as_secs(),
            packets: None,
            bytes: None,
        }
    }
}

/// The time of day at an instant that is over, as clocks go now.
fn on_the_wall(now: Instant, then: Instant) -> Option<Timestamp> {
    let at = Timestamp::now().checked_sub(SignedDuration::try_from(now.since(then)).ok()?).ok()?;
    at.round(Unit::Millisecond).ok()
}

/// What is remembered of the legs of a call that has ended.
fn past_legs(record: &Record) -> Vec<Leg> {
    let leg = |side: &str, call_id: &str, hop: &Hop| Leg {
        side: side.into(),
        call_id: call_id.into(),
        peer: hop.to_string(),
    };
    let b = record.callee_hop.iter().map(|hop| leg("B", "", hop));
    std::iter::once(leg("A", &record.call_id, &record.caller_hop)).chain(b).collect()
}

fn legs(legs: &Sides<Option<LegInfo>>) -> Vec<Leg> {
    let leg = |side: &str, leg: &LegInfo| Leg {
        side: side.into(),
        call_id: leg.call_id.clone(),
        peer: leg.hop.to_string(),
    };
    let a = legs.a.as_ref().map(|info| leg("A", info));
    let b = legs.b.as_ref().map(|info| leg("B", info));
    a.into_iter().chain(b).collect()
}
