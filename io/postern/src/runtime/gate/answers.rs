//! What the commands are told by the middlebox half.

use std::collections::BTreeSet;

use machine::Instant;
use midcom::{Gid, Prid};
use middlebox::{Engine as _, Entry, Input, Key, RuleAction, RuleInfo};

use super::{Gate, prove};
use crate::admin::protocol::{Answer, EntryLine, GateStatus, PinholeLine, Pinholes, Request, way};
use crate::admin::server::Question;
use crate::config::Mode;

impl Gate {
    /// Answers a question of a command.
    pub(super) fn asked(&mut self, now: Instant, question: Question) {
        let answer = match question.request {
            // Answered when the kernel has agreed.
            Request::Bans => self.bans(),
            Request::Deny(deny) => return self.deny(deny, question.reply),
            Request::Denials => Answer::of(&self.denials(now)),
            Request::Reload(asked) => self.reload(now, &asked),
            Request::Lift(which) => self.lift(now, &which),
            Request::Status => Answer::of(&self.status(now)),
            Request::Pinholes { kernel } => self.pinholes(now, kernel),
            Request::Prove { inward, v4 } => {
                let question = prove::Question { inward, v4 };
                Answer::of(&prove::prove(&mut self.engine, &self.config, &self.realms, question))
            }
            Request::Revoke { pid } => self.revoke(now, Prid(pid)),
            Request::RevokeGroup { group } => self.revoke_group(now, Gid(group)),
            Request::Registrations
            | Request::Trunks
            | Request::Calls { .. }
            | Request::Call { .. }
            | Request::Owners
            | Request::Ban(_)
            | Request::Unban { .. }
            | Request::Watch
            | Request::Kick { .. } => Answer::Error("the agent half answers this".into()),
        };
        // One who no longer waits for the answer does not need it.
        let _ = question.reply.try_send(answer);
    }

    fn status(&mut self, now: Instant) -> GateStatus {
        let traffic = self.engine.traffic().ok();
        let status = self.machine.status();
        GateStatus {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_s: now.since(Instant::ZERO).as_secs(),
            sessions: self.sessions.len(),
            rules: status.rules,
            drifts: self.chronicle.drifts,
            certificate: self.sessions.certificate(),
            commits: status.tally.batches,
            operations: status.tally.operations,
            engine: self.features.clone(),
            observes: self.config.middlebox.mode == Mode::Observe,
            passed: traffic.map(|traffic| traffic.passed),
            dropped: traffic.map(|traffic| traffic.dropped),
            sandbox: self.sandbox.clone(),
        }
    }

    fn revoke(&mut self, now: Instant, rule: Prid) -> Answer {
        if self.machine.rule(now, rule).is_none() {
            return Answer::Error(format!("there is no rule {} (`postern pinholes` lists them)", rule.0));
        }
        self.inputs.push_back(Input::Revoke { prid: rule });
        Answer::of(&rule.0)
    }

    //= RFC 5189 §2.4.2: a group is ended as one. SIMCO has no message for it; the operator has a command.
    fn revoke_group(&mut self, now: Instant, group: Gid) -> Answer {
        let members: Vec<Prid> =
            self.machine.rules(now).filter(|rule| rule.group == group).map(|rule| rule.prid).collect();
        if members.is_empty() {
            return Answer::Error(format!("there is no group {} (`postern pinholes` lists them)", group.0));
        }
        self.inputs.extend(members.iter().map(|prid| Input::Revoke { prid: *prid }));
        Answer::of(&members.iter().map(|prid| prid.0).collect::<Vec<_>>())
    }

    fn pinholes(&mut self, now: Instant, kernel: bool) -> Answer {
        // What is denied is listed by `postern deny --list`: nothing passes there.
        let opens = |rule: &RuleInfo<'_>| !matches!(rule.action, RuleAction::Disabled { .. });
        let rules: Vec<RuleInfo<'_>> = self.machine.rules(now).filter(opens).collect();
        let engine = &mut self.engine;
        let rules = rules.iter().map(|rule| {
            let mut line = line(rule);
            if kernel {
                let counters = engine.counters(&rule.entries);
                line.packets = Some(counters.iter().flatten().map(|counter| counter.packets).sum());
                line.bytes = Some(counters.iter().flatten().map(|counter| counter.bytes).sum());
            }
            line
        });
        let mut report = Pinholes { rules: rules.collect(), ..Pinholes::default() };
        if kernel {
            let entries = match engine.entries() {
                Ok(entries) => entries,
                Err(failure) => return Answer::Error(failure.to_string()),
            };
            // A look changes nothing: what differs is repaired when the kernel tells of it, not when somebody asks.
            let expected: BTreeSet<Key> = self.machine.expected_keys().into_iter().collect();
            let found: BTreeSet<Key> = entries.iter().map(|entry| entry.key).collect();
            let missing = expected.difference(&found).filter(|key| !self.machine.has_run_out(now, key));
            report.missing = missing.map(ToString::to_string).collect();
            report.foreign = found.difference(&expected).map(ToString::to_string).collect();
            report.kernel = Some(entries.iter().map(entry).collect());
        }
        Answer::of(&report)
    }
}

fn entry(entry: &Entry) -> EntryLine {
    EntryLine {
        entry: entry.key.to_string(),
        remaining_s: entry.remaining.as_secs(),
        packets: entry.counter.packets,
        bytes: entry.counter.bytes,
    }
}

fn line(rule: &RuleInfo<'_>) -> PinholeLine {
    let seen_as = match rule.action {
        RuleAction::Reserved { outside, .. } | RuleAction::Enabled { outside, .. } => outside,
        RuleAction::Disabled { .. } => None,
    };
    let (state, direction, inside, outside) = match rule.action {
        RuleAction::Reserved { protocol, .. } => {
            ("reserved", String::new(), protocol.to_string(), String::new())
        }
        RuleAction::Enabled { direction, internal, external, .. } => {
            ("open", way(direction).to_owned(), internal.to_string(), external.to_string())
        }
        RuleAction::Disabled { internal, external } => {
            ("denied", String::new(), internal.to_string(), external.to_string())
        }
    };
    PinholeLine {
        middlebox: None,
        pid: rule.prid.0,
        group: Some(rule.group.0),
        owner: rule.owner_name.to_owned(),
        call: None,
        state: state.into(),
        direction,
        inside,
        seen_as: seen_as.map(|outside| outside.to_string()),
        outside,
        remaining_s: rule.remaining.0.into(),
        packets: None,
        bytes: None,
    }
}
