//! The course of one call, as far as it tells situations apart.

use std::collections::BTreeSet;

use b2bua::side::Side;
use b2bua::{Cause, Event, Sip};
use midcom::{Direction, Failure, FailureClass, Lifetime, MiddleboxId, Prid, Request, RequestId};
use sip::message::Method;

use crate::wire;

/// Words of a description, and what they are.
const WORDS: [(&str, &str); 10] = [
    ("m=video ", "video"),
    ("m=image ", "fax"),
    ("a=group:BUNDLE", "BUNDLE"),
    ("a=candidate:", "ICE"),
    ("a=setup:", "TCP stream"),
    ("a=inactive", "hold"),
    ("a=x-what:ever", "lines nobody knows"),
    (phone::MARK, "answer turns a stream on"),
    (phone::HOST, "host name in c="),
    ("a=crypto:", "SRTP"),
];

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// What was seen since anybody looked.
    pub(super) said: Vec<&'static str>,
    /// Questions that open something and have no answer.
    opening: BTreeSet<(MiddleboxId, RequestId)>,
    /// A message of this side waits.
    held: Option<Side>,
    /// INVITE has an offer; with preconditions.
    offered: bool,
    asks: bool,
    /// An INVITE has left; where the last one went that requires a precondition.
    has_left: bool,
    required_of: Option<String>,
    invited: bool,
    /// B has said 1xx; with a description.
    progress: bool,
    shown: bool,
    pracked: [bool; 2],
    answered: [bool; 2],
    answer_is_described: bool,
    established: bool,
    cancelled: bool,
    final_of_b: bool,
    byes: [bool; 2],
    /// BYEs of ours without an answer.
    byes_open: [bool; 2],
    refused: bool,
    /// The NAT had no outside port left.
    no_port: bool,
    ending: bool,
}

fn at(side: Side) -> usize {
    match side {
        Side::A => 0,
        Side::B => 1,
    }
}

impl Course {
    /// The INVITE waits for its rules.
    pub(super) fn holds_invite(&self) -> bool {
        !self.opening.is_empty() && !self.invited
    }

    /// The answer waits for its rules.
    pub(super) fn holds_answer(&self) -> bool {
        self.answered == [false, true]
    }

    /// There is something that a lost middlebox leaves half done.
    pub(super) fn is_being_set_up(&self) -> bool {
        !self.established && !self.ending
    }

    pub(super) fn hears(&mut self, event: &Event, bytes: &[u8]) {
        match (event, self.is_being_set_up()) {
            (Event::Received { side, message, .. }, _) => self.received(*side, message, bytes),
            (Event::Sent { side, message, .. }, _) => self.sent(*side, message),
            (Event::Held { from, .. }, _) => self.held = Some(*from),
            (Event::Asked { middlebox, id, toward, request, .. }, _) => {
                self.asked(*toward, request);
                if toward.is_some() {
                    self.opening.insert((*middlebox, *id));
                }
            }
            (Event::Answered { middlebox, id, result, .. }, _) => {
                let is_opening = self.opening.remove(&(*middlebox, *id));
                self.replied_by_middlebox(is_opening, *result);
            }
            (Event::RuleChanged { .. }, true) => self.said.push("rule changed during set-up"),
            (Event::Established { .. }, _) => self.established(),
            (Event::Ending { cause, .. }, _) => self.is_ending(*cause),
            _ => {}
        }
    }

    fn replied_by_middlebox(&mut self, is_opening: bool, result: Result<Option<Prid>, Failure>) {
        self.no_port |= result == Err(Failure::LackOfPorts);
        match result {
            Ok(Some(_)) if is_opening && self.ending => self.said.push("PER answered late"),
            Err(failure) if is_opening => {
                self.refused = true;
                if failure.class() == FailureClass::Unreachable {
                    self.said.push("PER unanswered");
                }
            }
            Ok(_) | Err(_) => {}
        }
    }

    fn asked(&mut self, toward: Option<Side>, request: &Request) {
        let name = match (request, toward) {
            (Request::Reserve { .. }, _) => "reserved",
            (Request::Lifetime { lifetime, .. }, _) if *lifetime != Lifetime::END => "rule extended",
            (Request::Enable { direction, .. } | Request::EnableReserved { direction, .. }, Some(toward)) => {
                let inward = *direction == Direction::Inbound;
                match (toward, inward, self.answered[1]) {
                    (Side::A, false, false) => "PID_A before the answer, caller outside",
                    (Side::A, false, true) => "PID_A after the answer, caller outside",
                    (Side::A, true, false) => "PID_A before the answer, caller inside",
                    (Side::A, true, true) => "PID_A after the answer, caller inside",
                    (Side::B, true, _) => "PID_B, caller outside",
                    (Side::B, false, _) => "PID_B, caller inside",
                }
            }
            _ => return,
        };
        self.said.push(name);
    }

    fn received(&mut self, side: Side, message: &Sip, bytes: &[u8]) {
        if message.sdp {
            let text = String::from_utf8_lossy(bytes);
            self.said.extend(WORDS.iter().filter(|(word, _)| text.contains(word)).map(|(_, name)| *name));
        }
        if message.method == Method::Invite && message.status == 0 && !self.established {
            self.asks = memchr::memmem::find(bytes, b"a=des:").is_some();
        }
        match (&message.method, message.status) {
            (method, 0) => self.requested(side, method, message.sdp),
            (Method::Invite, status) if side == Side::B && !self.established => {
                self.replied(status, message.sdp)
            }
            (_, 491) => self.said.push("491 from a peer"),
            (_, 481) => self.said.push("481 in a dialog"),
            (Method::Bye, 200..) => self.byes_open[at(side)] = false,
            _ => {}
        }
    }

    fn requested(&mut self, side: Side, method: &Method, sdp: bool) {
        match (method, sdp) {
            (Method::Invite, _) if !self.established => self.offered = sdp,
            (Method::Invite, true) => self.said.push("re-INVITE"),
            (Method::Invite, false) => self.said.push("offerless re-INVITE"),
            (Method::Update, true) => self.said.push("UPDATE with an offer"),
            (Method::Prack, _) => {
                self.pracked[0] = true;
                if sdp && !self.offered {
                    self.said.push("answer in PRACK");
                }
            }
            (Method::Cancel, _) => {
                self.cancelled = true;
                self.said.push(match (self.invited, self.progress, self.answered) {
                    (false, ..) => "CANCEL while INVITE is held",
                    (true, false, [false, false]) => "CANCEL before a 1xx",
                    (true, _, [false, true]) => "CANCEL while the 200 is held",
                    (true, true, [false, false]) | (true, _, [true, _]) => return,
                });
            }
            (Method::Bye, _) => {
                if !self.opening.is_empty() {
                    self.said.push("BYE while a rule is asked for");
                }
                self.byes[at(side)] = true;
                if self.byes == [true, true] {
                    self.said.push("BYE from both sides");
                }
            }
            _ => {}
        }
    }

    /// B's response to the INVITE.
    fn replied(&mut self, status: u16, sdp: bool) {
        let is_held = self.held == Some(Side::B) && !self.answered[1];
        match status {
            100 => {}
            101..200 => {
                if self.final_of_b {
                    self.said.push("late 18x");
                }
                self.progress = true;
                self.shown |= sdp;
            }
            200..300 => {
                if is_held {
                    self.said.push("200 behind a held 18x");
                }
                if sdp && self.shown {
                    self.said.push("moves between 18x and 200");
                }
                (self.answered[1], self.answer_is_described) = (true, sdp);
            }
            _ => {
                if is_held {
                    self.said.push("failure behind a held 18x");
                }
                match status {
                    300..400 => self.said.push("3xx"),
                    420 => self.said.push("callee cannot: 420"),
                    _ => {}
                }
            }
        }
        self.final_of_b |= status >= 200;
    }

    fn sent(&mut self, side: Side, message: &Sip) {
        if self.held == Some(side.other()) {
            self.held = None;
        }
        match (&message.method, message.status, side) {
            (Method::Invite, 0, Side::B) => self.invited = true,
            (Method::Prack, 0, Side::B) => self.pracked[1] = true,
            (Method::Bye, 0, _) => self.byes_open[at(side)] = true,
            (Method::Invite, 101..200, Side::A) if message.sdp && !self.pracked[0] => {
                self.said.push("early media")
            }
            (Method::Invite, 200..300, Side::A) => self.answered[0] = true,
            (_, 491, _) => self.said.push("our 491"),
            (Method::Invite, 580, Side::A) => self.said.push("our 580"),
            (Method::Invite, 488, Side::A) if !self.invited => self.said.push("our 488"),
            (Method::Invite, 500, Side::A) if self.no_port && !self.invited => {
                self.said.extend(["NAT: no port left", "first rule refused"]);
            }
            (Method::Invite, 300.., Side::A) if self.refused && !self.established => {
                self.said.push(if self.answered[1] { "second rule refused" } else { "first rule refused" });
            }
            _ => {}
        }
    }

    fn established(&mut self) {
        self.established = true;
        let name = match (self.offered, self.answer_is_described) {
            (true, true) => "answer in 200",
            (true, false) => "answer in a reliable 18x",
            (false, true) => "offer in 200",
            (false, false) => return,
        };
        self.said.push(name);
    }

    fn is_ending(&mut self, cause: Cause) {
        self.ending = true;
        match (cause, self.established) {
            (Cause::Bye(_), true) => self.said.push("good case"),
            (Cause::Cut(408), false) if self.answered[0] => self.said.push("ACK missing"),
            (Cause::Revoked(_), _) => self.said.push("revoked"),
            _ => {}
        }
    }

    /// An INVITE goes to B, whose realm perhaps has us put preconditions in; `refuses` says who has refused them before.
    pub(super) fn leaves(&mut self, bytes: &[u8], inserts: bool, refuses: impl Fn(&str) -> bool) {
        let Some(uri) = wire::uri(bytes) else { return };
        let requires = wire::field(bytes, "Require").is_some_and(|value| value.contains("precondition"));
        let is_first = !std::mem::replace(&mut self.has_left, true);
        if is_first && inserts && wire::body(bytes).is_empty() {
            self.said.push("INVITE without an offer where we insert");
        }
        if is_first && inserts && self.asks {
            self.said.push("INVITE that asks where we insert");
        }
        if is_first && !requires && refuses(uri) {
            self.said.push("420 remembered");
        }
        self.required_of = requires.then(|| uri.to_owned());
    }

    /// Who has refused preconditions, when 420 comes.
    pub(super) fn refuser(&mut self) -> Option<String> {
        self.required_of.take()
    }

    /// A has its answer, and nobody ends the call yet.
    pub(super) fn has_answered(&self) -> bool {
        self.answered[0] && !self.ending
    }

    /// What only the end shows.
    pub(super) fn ended(self) -> impl Iterator<Item = &'static str> {
        let pracks = match self.pracked {
            [true, true] => Some("PRACK through both legs"),
            [false, true] | [true, false] => Some("PRACK from one side only"),
            [false, false] => None,
        };
        let unanswered = self.byes_open.contains(&true).then_some("BYE unanswered");
        let cancelled = self.cancelled && self.invited && !self.final_of_b;
        [pracks, unanswered, cancelled.then_some("CANCEL without effect")].into_iter().flatten()
    }
}
