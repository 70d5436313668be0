//! Preconditions: RFC 3312, RFC 4032; type `fw`: draft-kiesel-mmusic-firewall-sip-00 §5.2.
//!
//! ```text
//!   caller                                        callee
//!     │ INVITE   curr none, des mandatory            │
//!     ├─────────────────────────────────────────────>│ does not ring
//!     │ 183      the same, conf                      │
//!     │<─────────────────────────────────────────────┤
//!     │ PRACK; as soon as it is there:               │
//!     │ UPDATE   curr sendrecv                       │
//!     ├─────────────────────────────────────────────>│
//!     │ 200      curr sendrecv                       │
//!     │<─────────────────────────────────────────────┤
//!     │ 180                                          │ rings
//!     │<─────────────────────────────────────────────┤
//! ```

use std::time::Duration;

use sdp::Session;
use sdp::precondition::{Kind, Place, StatusType, Strength, Table, Type, attributes};
use sip::message::{Builder, Message, Name};

use crate::call::{Call, Exchange, State};
use crate::phone::{Out, Phone, Tick};
use crate::{By, CallNumber, Event};

/// What must be there before the callee's phone rings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Precondition {
    /// `fw` or `qos`.
    pub of: Type<'static>,
    /// How much the phone wants it, as caller and as callee.
    pub strength: Strength,
    /// How it becomes true.
    pub provision: Provision,
}

/// How a precondition becomes true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Provision {
    /// The network does it, and writes it into the SDP that passes.
    ByNetwork,
    /// The phone does it, so long after the answer to the offer.
    After(Duration),
    /// The phone tries, and finds so long after the answer that it cannot be done.
    FailsAfter(Duration),
}

impl Phone {
    /// The table of a caller's first offer.
    pub(crate) fn wanted(&self) -> Option<(Type<'static>, Table)> {
        self.config.extensions.precondition.map(|wanted| (wanted.of, Table::e2e(wanted.strength)))
    }

    //= RFC 3312 §11: Require for an offer with a mandatory one, Supported otherwise.
    pub(crate) fn requires_precondition(&self, call: &Call) -> bool {
        let table = call.local.condition.map(|(_, table)| table);
        table.is_some_and(|table| table.strength() == Some(Strength::Mandatory))
    }

    /// An offer came: what our answer will say, by what we know ourselves.
    pub(crate) fn weigh_offer(&self, call: &mut Call, sdp: &[u8]) {
        let Some(wanted) = self.config.extensions.precondition else { return };
        let known: &[Place] = match wanted.provision {
            Provision::ByNetwork => &[],
            Provision::After(_) | Provision::FailsAfter(_) => &[Place::E2eSend, Place::E2eRecv],
        };
        let own = call.local.condition.map_or_else(|| Table::e2e(wanted.strength), |(_, table)| table);
        let answer = table_of(sdp, wanted.of).map(|offer| { own }.answer(&offer, known));
        call.local.condition = answer.map(|table| (wanted.of, table));
    }

    /// True while the callee must not ring: RFC 3312 §6.
    pub(crate) fn is_suspended(&self, number: CallNumber) -> bool {
        let condition = self.calls.get(&number).and_then(|call| call.local.condition);
        condition.is_some_and(|(_, table)| !table.is_met())
    }

    /// The answer is there, or has been given: the phone's own part begins.
    pub(crate) fn provide(&mut self, number: CallNumber, out: &Out<'_>) {
        let Some(wanted) = self.config.extensions.precondition else { return };
        let Some(call) = self.calls.get_mut(&number).filter(|call| call.local.condition.is_some()) else {
            return;
        };
        let (Provision::After(time) | Provision::FailsAfter(time)) = wanted.provision else { return };
        if !std::mem::replace(&mut call.is_providing, true) {
            self.timers.set(out.now + time, (number, Tick::Provided));
        }
    }

    pub(crate) fn provided(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let Some(wanted) = self.config.extensions.precondition else { return };
        if matches!(wanted.provision, Provision::FailsAfter(_)) {
            return self.fail(number, wanted.of, out);
        }
        let Some(call) = self.calls.get_mut(&number) else { return };
        call.is_provided = true;
        if let Some((_, table)) = &mut call.local.condition {
            *table = table.with_e2e(true);
        }
        self.confirm(number, out);
        self.resume(number, out);
    }

    //= RFC 3312 §7: who asked to be told is told, in a new offer, as soon as the rules of offers allow.
    pub(crate) fn confirm(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let Some(mut call) = self.calls.remove(&number) else { return };
        let is_due = call.local.condition.is_some_and(|(_, table)| table.is_to_be_confirmed());
        let is_free = call.open.is_empty() && call.unacknowledged.is_none();
        let at = call.talks.iter().position(|talk| talk.exchange == Exchange::Agreed);
        if let (State::Calling, true, true, Some(at)) = (call.state, is_due, is_free, at) {
            call.before = Some(call.local.clone());
            if let Some((_, table)) = &mut call.local.condition {
                // What we say now is what they asked to be told; we ask nothing in turn.
                for place in [Place::E2eSend, Place::E2eRecv] {
                    table.row_mut(place).confirm = false;
                }
            }
            let sdp = call.local.offer();
            self.change(&mut call, at, By::Update, Some(sdp), out);
            out.event(Event::Offered { call: number });
        }
        self.calls.insert(number, call);
    }

    /// Rings, or takes another call over, if nothing is in the way any more.
    pub(crate) fn resume(&mut self, number: CallNumber, out: &mut Out<'_>) {
        let waits = self.calls.get(&number).is_some_and(|call| {
            call.state == State::Ringing && !call.is_alerting && call.local.condition.is_some()
        });
        if !waits || self.is_suspended(number) {
            return;
        }
        match self.calls.get(&number).and_then(|call| call.replaced) {
            Some(old) => self.take_over(number, old, out),
            None => {
                self.ring(number, out);
                self.set_answer_timer(number, out);
            }
        }
    }

    //= RFC 3312 §8: 580 of the callee and CANCEL of the caller say in SDP what failed.
    fn fail(&mut self, number: CallNumber, of: Type<'_>, out: &mut Out<'_>) {
        let Some(call) = self.calls.get_mut(&number) else { return };
        let remote = call.remote().map(|remote| remote.sdp).unwrap_or_default();
        let body = failed(&remote, of, Strength::Failure).unwrap_or_default();
        match call.state {
            State::Calling => {
                call.failure = body;
                self.cancel(number, out);
            }
            State::Ringing => {
                call.failure = body;
                self.reject(number, 580, out);
            }
            State::Up | State::Leaving | State::Over => {}
        }
    }

    /// The refusal of an offer with a mandatory precondition that we cannot serve.
    pub(crate) fn precondition_objection(&self, request: &Message, tag: &str) -> Option<Builder> {
        let wanted = self.config.extensions.precondition?;
        let session = Session::parse(request.body()).ok()?;
        let refusal = |status, phrase| Builder::response_to(request, status, phrase, Some(tag));
        let lines = || (0..session.streams()).flat_map(|stream| attributes(&session, stream));
        let mut mandatory = lines().filter(|line| line.kind == Kind::Desired(Strength::Mandatory)).peekable();
        mandatory.peek()?;
        //= RFC 3312 §9: a mandatory precondition of an unknown type is refused, unless it is the offerer's own affair.
        let unknown = mandatory.find(|line| line.of != wanted.of && line.status != StatusType::Local);
        if let Some(unknown) = unknown {
            let body = failed(request.body(), unknown.of, Strength::Unknown).unwrap_or_default();
            return Some(refusal(580, "Precondition Failure").body("application/sdp", body));
        }
        //= RFC 3312 §11: whoever uses preconditions supports 100rel.
        let is_first = request.to().is_ok_and(|to| to.tag().is_none());
        let is_reliable =
            [Name::Supported, Name::Require].iter().any(|name| request.has_option(*name, "100rel"));
        (is_first && !is_reliable).then(|| refusal(421, "Extension Required").header(Name::Require, "100rel"))
    }
}

//= RFC 4032 §4.1: the offerer takes over what the answer says; nothing there means that the peer knows nothing of it.
/// An answer to an offer of ours came.
pub(crate) fn weigh_answer(call: &mut Call, sdp: &[u8]) {
    let Some((of, _)) = call.local.condition else { return };
    let table = table_of(sdp, of).map(|answer| answer.inverted());
    let table = table.map(|table| if call.is_provided { table.with_e2e(true) } else { table });
    call.local.condition = table.map(|table| (of, table));
}

/// The table of the first stream in use that has one.
fn table_of(sdp: &[u8], of: Type<'_>) -> Option<Table> {
    let session = Session::parse(sdp).ok()?;
    (0..session.streams()).find_map(|stream| Table::of(&session, stream, of))
}

fn failed(sdp: &[u8], of: Type<'_>, strength: Strength) -> Option<Vec<u8>> {
    let session = Session::parse(sdp).ok()?;
    Some(session.patch().failed(of, strength).finish())
}
