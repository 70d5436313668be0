//! Facts of one call become rows: messages get the names that the draft's figures use.

use std::collections::BTreeMap;

use b2bua::side::Side;
use midcom::{MiddleboxId, Prid};

use super::history::{Fact, Message, Record, Verb, What};
use super::{Arrow, Lane, Row, Style};

/// The rows of a call so far. Where there are several middleboxes, each of their rows says whose it is.
pub(crate) fn rows(record: &Record, middleboxes: &[String]) -> Vec<Row> {
    let mut story = Story { middleboxes, rules: BTreeMap::new() };
    let mut rows: Vec<Row> = record.facts.iter().filter_map(|fact| story.row(fact)).collect();
    if record.facts_lost > 0 {
        let at_ms = rows.last().map_or(0, |row| row.at_ms);
        rows.push(Row {
            at_ms,
            arrow: None,
            text: format!("... {} more", record.facts_lost),
            note: String::new(),
        });
    }
    rows
}

/// What must be remembered while facts are told in order.
#[derive(Debug)]
struct Story<'a> {
    middleboxes: &'a [String],
    /// The rules at each of them: every one numbers its own.
    rules: BTreeMap<MiddleboxId, Rules>,
}

/// The rules of the call at one middlebox.
#[derive(Debug, Default)]
struct Rules {
    /// Open requests: what was asked, and the name of the rule it is about.
    asked: BTreeMap<u32, (Verb, String)>,
    /// Names of rules: `PID_A`, `PID_B`, `PID_A2`.
    names: BTreeMap<Prid, String>,
    /// Rules named so far toward each side.
    counts: [u32; 2],
    /// Reservations named so far.
    reservations: u32,
}

impl Story<'_> {
    fn row(&mut self, fact: &Fact) -> Option<Row> {
        let row = |arrow, text, note| Some(Row { at_ms: fact.at_ms.into(), arrow, text, note });
        let remark = |text| row(None, text, String::new());
        match fact.what {
            What::Received(side, message) => {
                let arrow = Arrow::new(lane(side), Lane::Agent, Style::Sip);
                row(Some(arrow), sip(&message, side), String::new())
            }
            What::Sent(side, message) => {
                // Descriptions are named after the side they come from.
                let arrow = Arrow::new(Lane::Agent, lane(side), Style::Sip);
                row(Some(arrow), sip(&message, side.other()), String::new())
            }
            What::Asked { at, id, verb, toward, prid } => {
                let arrow = Arrow::new(Lane::Agent, Lane::Middlebox, Style::Midcom);
                row(Some(arrow), self.at(at).asked(id, verb, toward, prid), self.note(at, ""))
            }
            What::Answered { at, id, result } => {
                let arrow = Arrow::new(Lane::Middlebox, Lane::Agent, Style::Midcom);
                let (text, note) = self.at(at).answered(id, result);
                row(Some(arrow), text, self.note(at, &note))
            }
            What::RuleChanged { at, prid, gone } => {
                let arrow = Arrow::new(Lane::Middlebox, Lane::Agent, Style::Midcom);
                let lifetime = if gone { ",LT=0" } else { "" };
                let text = format!("ARE({}{lifetime})", self.at(at).name(prid));
                row(Some(arrow), text, self.note(at, ""))
            }
            What::StaysWide { stream } => remark(format!("stream {} stays wide", u32::from(stream) + 1)),
            What::StreamLost { stream } => {
                remark(format!("stream {} is lost, the call goes on", u32::from(stream) + 1))
            }
        }
    }

    fn at(&mut self, middlebox: MiddleboxId) -> &mut Rules {
        self.rules.entry(middlebox).or_default()
    }

    /// What stands beside a row: which middlebox, where that is a question, and what it said.
    fn note(&self, at: MiddleboxId, said: &str) -> String {
        let name = self.middleboxes.get(usize::from(at.0)).filter(|_| self.middleboxes.len() > 1);
        match (name, said) {
            (None, said) => said.to_owned(),
            (Some(name), "") => name.clone(),
            (Some(name), said) => format!("{name}: {said}"),
        }
    }
}

impl Rules {
    fn asked(&mut self, id: u32, verb: Verb, toward: Option<Side>, prid: Option<Prid>) -> String {
        let about = match (verb, prid, toward) {
            // A reservation becomes the rule of a side.
            (Verb::Pea, Some(prid), Some(side)) => {
                let name = self.next_name(side);
                self.names.insert(prid, name.clone());
                name
            }
            (_, Some(prid), _) => self.name(prid),
            (_, None, Some(side)) => self.next_name(side),
            (Verb::Prr, None, None) => self.next_reservation(),
            (_, None, None) => String::new(),
        };
        let description = toward.map_or_else(String::new, |side| format!("SDP_{side}"));
        let text = match verb {
            Verb::Prr => "PRR".to_owned(),
            Verb::Per => format!("PER({description})"),
            Verb::Pea => format!("PEA({description})"),
            Verb::Pdr => "PDR".to_owned(),
            Verb::Plc { end: true } => format!("PLC({about},LT=0)"),
            Verb::Plc { end: false } => format!("PLC({about})"),
            Verb::Prs => format!("PRS({about})"),
            Verb::Prl => "PRL".to_owned(),
            Verb::Prc => "PRC".to_owned(),
        };
        self.asked.insert(id, (verb, about));
        text
    }

    fn answered(&mut self, id: u32, result: Result<Option<Prid>, midcom::Failure>) -> (String, String) {
        let (verb, about) = self.asked.remove(&id).unwrap_or((Verb::Prl, String::new()));
        let word = word(verb);
        match result {
            Ok(prid) => {
                if let Some(prid) = prid.filter(|_| !about.is_empty()) {
                    self.names.entry(prid).or_insert_with(|| about.clone());
                }
                let about = if about.is_empty() { about } else { format!("({about})") };
                (format!("{word} PR{about}"), String::new())
            }
            Err(failure) => (format!("{word} NR"), failure.to_string()),
        }
    }

    fn name(&self, prid: Prid) -> String {
        self.names.get(&prid).cloned().unwrap_or_else(|| format!("PID={}", prid.0))
    }

    /// `PID_A`, then `PID_A2`, `PID_A3`.
    fn next_name(&mut self, side: Side) -> String {
        let count = match side {
            Side::A => &mut self.counts[0],
            Side::B => &mut self.counts[1],
        };
        *count += 1;
        if *count == 1 { format!("PID_{side}") } else { format!("PID_{side}{count}") }
    }

    /// `RES`, then `RES2`: what a reservation is called until it is the rule of a side.
    fn next_reservation(&mut self) -> String {
        self.reservations += 1;
        if self.reservations == 1 { "RES".to_owned() } else { format!("RES{}", self.reservations) }
    }
}

fn word(verb: Verb) -> &'static str {
    match verb {
        Verb::Prr => "PRR",
        Verb::Per => "PER",
        Verb::Pea => "PEA",
        Verb::Pdr => "PDR",
        Verb::Plc { .. } => "PLC",
        Verb::Prs => "PRS",
        Verb::Prl => "PRL",
        Verb::Prc => "PRC",
    }
}

fn lane(side: Side) -> Lane {
    match side {
        Side::A => Lane::Caller,
        Side::B => Lane::Callee,
    }
}

/// `INVITE+SDP_A`, `180 Ringing`, `200 OK+SDP_B`, `BYE Reason 500`; `of` is the side a description comes from.
fn sip(message: &Message, of: Side) -> String {
    let mut text = match message.status {
        0 => message.method.to_owned(),
        status => format!("{status} {}", phrase(status)),
    };
    // Which request a response belongs to is said where it is not the INVITE's.
    if message.status >= 200 && !matches!(message.method, "INVITE" | "BYE") {
        // With a description there is no room for the phrase.
        let status = if message.sdp { message.status.to_string() } else { text };
        text = format!("{status} ({})", message.method);
    }
    if message.sdp {
        text = format!("{text}+SDP_{of}");
    }
    if message.reason > 0 {
        text = format!("{text} Reason {}", message.reason);
    }
    text.trim_end().to_owned()
}

/// Short phrases of the codes that ladders show most; the number says the rest.
fn phrase(status: u16) -> &'static str {
    match status {
        100 => "Trying",
        180 => "Ringing",
        183 => "Progress",
        200..=299 => "OK",
        403 => "Forbidden",
        404 => "Not Found",
        408 => "Timeout",
        420 => "Bad Extension",
        421 => "Ext. Required",
        422 => "Too Short",
        481 => "No Call",
        486 => "Busy Here",
        487 => "Terminated",
        488 => "Not Acceptable",
        491 => "Pending",
        500 => "Server Error",
        503 => "Unavailable",
        580 => "Precondition",
        504 | 590 => "FW Failure",
        591 => "FW Closed",
        592 => "FW Policy",
        603 => "Decline",
        _other => "",
    }
}

#[cfg(test)]
mod tests {
    use b2bua::config::RealmId;
    use machine::Instant;
    use midcom::Failure;

    use super::*;

    const FW: MiddleboxId = MiddleboxId(0);

    fn texts(facts: &[What]) -> Vec<String> {
        texts_with(facts, &["fw".to_owned()])
    }

    fn texts_with(facts: &[What], middleboxes: &[String]) -> Vec<String> {
        let record = Record {
            from: RealmId(0),
            to: RealmId(1),
            caller: "".into(),
            callee: "".into(),
            call_id: "".into(),
            caller_hop: crate::ladder::history::some_hop(),
            callee_hop: None,
            started: Instant::ZERO,
            established: None,
            ended: None,
            cause: None,
            why: "".into(),
            facts: facts.iter().map(|what| Fact { at_ms: 0, what: *what }).collect(),
            facts_lost: 0,
        };
        rows(&record, middleboxes)
            .into_iter()
            .map(|row| format!("{} {}", row.text, row.note).trim_end().to_owned())
            .collect()
    }

    fn per(id: u32, side: Side) -> What {
        What::Asked { at: FW, id, verb: Verb::Per, toward: Some(side), prid: None }
    }

    #[test]
    fn rules_have_the_names_of_the_figures() {
        let facts = [
            per(1, Side::A),
            What::Answered { at: FW, id: 1, result: Ok(Some(Prid(70))) },
            per(2, Side::B),
            per(3, Side::A),
            What::Answered { at: FW, id: 3, result: Ok(Some(Prid(72))) },
            What::Answered { at: FW, id: 2, result: Ok(Some(Prid(71))) },
            What::Asked { at: FW, id: 4, verb: Verb::Plc { end: true }, toward: None, prid: Some(Prid(70)) },
            What::Answered { at: FW, id: 4, result: Ok(None) },
            What::RuleChanged { at: FW, prid: Prid(72), gone: true },
        ];
        let expected = [
            "PER(SDP_A)",
            "PER PR(PID_A)",
            "PER(SDP_B)",
            "PER(SDP_A)",
            "PER PR(PID_A2)",
            "PER PR(PID_B)",
            "PLC(PID_A,LT=0)",
            "PLC PR(PID_A)",
            "ARE(PID_A2,LT=0)",
        ];
        assert_eq!(texts(&facts), expected);
    }

    #[test]
    fn a_reservation_becomes_the_rule_of_a_side() {
        let asked = |id, verb, toward, prid| What::Asked { at: FW, id, verb, toward, prid };
        let facts = [
            asked(1, Verb::Prr, None, None),
            What::Answered { at: FW, id: 1, result: Ok(Some(Prid(70))) },
            asked(2, Verb::Prr, None, None),
            What::Answered { at: FW, id: 2, result: Ok(Some(Prid(71))) },
            asked(3, Verb::Pea, Some(Side::B), Some(Prid(70))),
            What::Answered { at: FW, id: 3, result: Ok(Some(Prid(70))) },
            asked(4, Verb::Plc { end: true }, None, Some(Prid(71))),
            asked(5, Verb::Plc { end: true }, None, Some(Prid(70))),
        ];
        let expected = [
            "PRR",
            "PRR PR(RES)",
            "PRR",
            "PRR PR(RES2)",
            "PEA(SDP_B)",
            "PEA PR(PID_B)",
            "PLC(RES2,LT=0)",
            "PLC(PID_B,LT=0)",
        ];
        assert_eq!(texts(&facts), expected);
    }

    #[test]
    fn refusals_say_why() {
        let facts = [per(1, Side::B), What::Answered { at: FW, id: 1, result: Err(Failure::NoResources) }];
        assert_eq!(texts(&facts), ["PER(SDP_B)", "PER NR no resources available for this transaction"]);
    }

    #[test]
    fn two_middleboxes_number_their_own_rules() {
        let at = |at, id| What::Asked { at, id, verb: Verb::Per, toward: Some(Side::A), prid: None };
        let other = MiddleboxId(1);
        let facts = [
            at(FW, 1),
            at(other, 2),
            What::Answered { at: other, id: 2, result: Err(Failure::NoResources) },
            What::Answered { at: FW, id: 1, result: Ok(Some(Prid(70))) },
            What::RuleChanged { at: other, prid: Prid(70), gone: true },
        ];
        let expected = [
            "PER(SDP_A) edge",
            "PER(SDP_A) core",
            "PER NR core: no resources available for this transaction",
            "PER PR(PID_A) edge",
            "ARE(PID=70,LT=0) core",
        ];
        assert_eq!(texts_with(&facts, &["edge".to_owned(), "core".to_owned()]), expected);
    }

    #[test]
    fn descriptions_are_named_after_the_side_they_come_from() {
        let message = |status, sdp| Message { method: "INVITE", status, sdp, reason: 0 };
        let bye = Message { method: "BYE", status: 0, sdp: false, reason: 500 };
        let facts = [
            What::Received(Side::A, message(0, true)),
            What::Sent(Side::B, message(0, true)),
            What::Received(Side::B, message(200, true)),
            What::Sent(Side::A, message(180, false)),
            What::Sent(Side::B, bye),
        ];
        assert_eq!(
            texts(&facts),
            ["INVITE+SDP_A", "INVITE+SDP_A", "200 OK+SDP_B", "180 Ringing", "BYE Reason 500"]
        );
    }
}
