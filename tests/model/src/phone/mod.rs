//! A phone of the model: every message that it may send is a choice of the explorer; what RFC 3261 leaves no choice
//! about, it does when it reads a message or when its time has come.
//!
//! Messages to a phone wait unread until the explorer lets it read; what it says arrives at once. So the B2BUA sees
//! every order that delays in both directions can make: a phone that has not read yet does not know.

mod hear;
mod speak;
mod wait;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use b2bua::side::Side;
use bytes::Bytes;
use machine::{Instant, Text};

use crate::message::{Dialog, Met, Pen, Sdp};

const T1: Duration = Duration::from_millis(500);
const T2: Duration = Duration::from_secs(4);

/// What a phone may do of its own accord.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Act {
    /// Calls.
    Invite,
    /// 100.
    Try,
    /// 180.
    Ring,
    /// 183 that shows where it will receive.
    Preview,
    /// Its answer in a reliable 183.
    Assure,
    /// 200 to INVITE.
    Answer,
    /// The same from another port than before.
    AnswerElsewhere,
    /// 180 in a second early dialog: somebody on the way has forked.
    RingOther,
    /// 183 in it that shows where it will receive.
    PreviewOther,
    /// 200 in it.
    AnswerOther,
    /// 200 in the early dialog that has not won.
    AnswerToo,
    /// 420: it knows no preconditions.
    NotKnown,
    /// UPDATE that says that its media passes.
    Inform,
    /// A final failure to INVITE.
    Decline,
    /// Gives its own INVITE up.
    Cancel,
    /// Hangs up.
    Bye,
    /// INVITE inside the call, from another port.
    Reinvite,
    /// UPDATE, from another port.
    Update,
    /// Is never heard of again.
    Die,
}

/// What a phone says: as a flow writes it, and the bytes.
#[derive(Debug, Clone)]
pub struct Said {
    /// `INVITE c=…`, `200 BYE`, `ACK again`; empty for what a flow's phone does by itself.
    pub words: String,
    /// What arrives.
    pub bytes: Text<Bytes>,
}

/// A phone.
#[derive(Debug, Clone)]
pub struct Phone {
    pen: Pen,
    stage: Stage,
    dialog: Option<Dialog>,
    /// Its INVITE under way.
    calling: Option<Calling>,
    /// The INVITE it got.
    called: Option<Called>,
    /// Its other requests without an answer.
    asked: Vec<Asked>,
    /// The ACK it sent last.
    ack: Option<Text<Bytes>>,
    skills: Skills,
    /// It has been told that its media passes, and has not passed it on.
    may_inform: bool,
    /// How often its description has changed.
    moved: u16,
    /// The number of the reliable response that it acknowledged last.
    rseq: Option<u32>,
    unread: VecDeque<Text<Bytes>>,
}

/// What it can, and how it calls.
#[derive(Debug, Clone, Copy, Default)]
pub struct Skills {
    /// It understands reliable responses (RFC 3262).
    pub is_modern: bool,
    /// Its INVITE asks for the precondition `fw`.
    pub asks: bool,
    /// Its INVITEs have no offer.
    pub delays: bool,
}

/// How far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Idle,
    /// Before the answer.
    Early,
    /// In a call.
    Talking,
    /// The call is over.
    Over,
    /// It answers nothing any more.
    Dead,
}

#[derive(Debug, Clone)]
struct Calling {
    number: u32,
    is_cancelled: bool,
    offer: Option<Sdp>,
    bytes: Text<Bytes>,
    /// Until something is heard.
    again: Option<Again>,
}

#[derive(Debug, Clone)]
struct Called {
    request: Text<Bytes>,
    number: u32,
    /// The last response.
    last: Option<(u16, Text<Bytes>)>,
    /// Until ACK.
    again: Option<Again>,
    /// It may answer before its final response: who called understands reliable responses.
    may_assure: bool,
    has_offer: bool,
    /// Who called, or somebody on the way, wants media to pass before it rings; it has been told that it does.
    wants: bool,
    is_met: bool,
    /// How far its second early dialog is, which of the two have ended, and whether both have answered.
    other: u16,
    ended: [bool; 2],
    has_both: bool,
    /// It has answered before its final response.
    is_assured: bool,
    /// Until PRACK.
    unconfirmed: Option<Again>,
}

#[derive(Debug, Clone)]
struct Asked {
    method: &'static str,
    number: u32,
    offer: Option<Sdp>,
    bytes: Text<Bytes>,
    again: Again,
}

/// When something is due again.
#[derive(Debug, Clone, Copy)]
struct Again {
    due: Instant,
    interval: Duration,
    end: Instant,
}

impl Again {
    fn new(now: Instant) -> Self {
        Self { due: now + T1, interval: T1, end: now + 64 * T1 }
    }

    fn next(&mut self, now: Instant) {
        self.interval = (self.interval * 2).min(T2);
        self.due = (now + self.interval).min(self.end);
    }

    fn is_over(&self, now: Instant) -> bool {
        self.end <= now
    }
}

impl Phone {
    /// A phone that has not done anything yet.
    #[must_use]
    pub fn new(side: Side, address: SocketAddr, skills: Skills) -> Self {
        Self {
            pen: Pen { side, address, tag: 1 },
            stage: Stage::Idle,
            dialog: None,
            calling: None,
            called: None,
            asked: Vec::new(),
            ack: None,
            skills,
            may_inform: false,
            moved: 0,
            rseq: None,
            unread: VecDeque::new(),
        }
    }

    /// Where it is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.pen.address
    }

    /// True if it is never heard of again.
    #[must_use]
    pub fn is_dead(&self) -> bool {
        self.stage == Stage::Dead
    }

    /// True if it owes an INVITE its first response: it must say something before time passes.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        self.called.as_ref().is_some_and(|called| called.last.is_none())
    }

    /// What it may do now; `true`: that is one of the things that happen once or twice in a call at most.
    pub fn acts(&self, mut may: impl FnMut(Act, bool)) {
        match self.stage {
            Stage::Idle if self.pen.side == Side::A => return may(Act::Invite, false),
            Stage::Idle | Stage::Dead | Stage::Over => return,
            Stage::Early | Stage::Talking => {}
        }
        if let Some(called) = &self.called {
            let status = called.last.as_ref().map_or(0, |(status, _)| *status);
            if status == 0 {
                may(Act::Try, false);
            }
            if self.stage == Stage::Early {
                called.early_acts(status, &mut may);
            }
            let ended = called.ended[0] && self.stage == Stage::Early;
            if status < 200 && called.unconfirmed.is_none() && !ended {
                may(Act::Answer, false);
            }
            let unacknowledged = self.stage == Stage::Talking && called.again.is_some();
            let lost = usize::from(self.pen.tag == 1);
            if status == 200 && unacknowledged && called.other > 0 && !called.ended[lost] && !called.has_both
            {
                may(Act::AnswerToo, false);
            }
            if status < 200 {
                may(Act::Decline, false);
            }
            if status < 200 && self.stage == Stage::Talking && self.moved == 0 {
                may(Act::AnswerElsewhere, false);
            }
        }
        if self.calling.as_ref().is_some_and(|calling| !calling.is_cancelled && calling.again.is_none()) {
            may(Act::Cancel, true);
        }
        let is_quiet = self.asked.is_empty();
        if self.stage == Stage::Early && self.may_inform && is_quiet {
            may(Act::Inform, false);
        }
        let is_acknowledged = self.called.as_ref().is_none_or(|called| called.again.is_none());
        if self.stage == Stage::Talking && is_quiet && is_acknowledged {
            may(Act::Bye, false);
            if self.calling.is_none() && self.called.as_ref().is_none_or(|called| called.last.is_some()) {
                may(Act::Reinvite, true);
                may(Act::Update, true);
            }
        }
        may(Act::Die, true);
    }

    /// Does it.
    pub fn act(&mut self, now: Instant, act: Act) -> Vec<Said> {
        let said = match act {
            Act::Invite => Some(self.invite(now)),
            Act::Try => self.respond(now, 100, None),
            Act::Ring => self.respond(now, 180, None),
            Act::Preview => self.respond(now, 183, Some(self.sdp(0))),
            Act::Assure => self.assure(now),
            Act::Answer => {
                let is_assured = self.called.as_ref().is_some_and(|called| called.is_assured);
                self.respond(now, 200, (!is_assured).then(|| self.sdp(0)))
            }
            Act::RingOther => self.respond_other(180, None),
            Act::PreviewOther => self.respond_other(183, Some(Sdp { is_other: true, ..self.sdp(0) })),
            Act::AnswerOther => {
                self.pen.tag = 2;
                self.respond(now, 200, Some(self.sdp(0)))
            }
            Act::AnswerToo => self.answer_too(),
            Act::NotKnown => self.respond(now, 420, None),
            Act::Inform => {
                self.may_inform = false;
                let sdp = Sdp { met: Met::Yes, ..self.sdp(0) };
                self.ask(now, "UPDATE", Some(sdp), Some("Require: precondition"))
            }
            Act::AnswerElsewhere => self.respond(now, 200, Some(self.sdp(1))),
            Act::Decline => self.respond(now, if self.stage == Stage::Early { 486 } else { 488 }, None),
            Act::Cancel => self.cancel(now),
            Act::Bye => return self.hang_up(now),
            Act::Update => self.ask(now, "UPDATE", Some(self.sdp(1)), None),
            Act::Reinvite => self.reinvite(now),
            Act::Die => {
                let (pen, stage) = (self.pen, Stage::Dead);
                *self = Self { stage, ..Self::new(pen.side, pen.address, Skills::default()) };
                None
            }
        };
        said.into_iter().collect()
    }
}

impl Called {
    /// What may be said before the answer.
    fn early_acts(&self, status: u16, may: &mut impl FnMut(Act, bool)) {
        let begins = status <= 100 && !self.ended[0];
        if begins || self.is_met && status == 183 && self.unconfirmed.is_none() {
            may(Act::Ring, false);
        }
        if begins && self.has_offer && !self.wants {
            may(Act::Preview, false);
        }
        if begins && self.may_assure {
            may(Act::Assure, false);
        }
        if begins && self.wants {
            may(Act::NotKnown, false);
        }
        if status < 200 && !self.ended[1] {
            if self.other == 0 {
                may(Act::RingOther, false);
            }
            if self.other < 183 {
                may(Act::PreviewOther, false);
            }
            may(Act::AnswerOther, false);
        }
    }
}
