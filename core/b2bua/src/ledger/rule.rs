//! One rule of a call at one middlebox.

use std::net::SocketAddr;

use machine::Instant;
use midcom::{Gid, Prid, RequestId};

use super::pinhole::Pinhole;

/// A rule from the moment it is asked for until it cannot be alive any more.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    pub(super) pinhole: Pinhole,
    /// Position of the middlebox on the path.
    pub(super) crossing: u8,
    pub(super) state: State,
    /// An open request for a longer lifetime.
    pub(super) extending: Option<RequestId>,
    /// When the middlebox will have ended it unless it is extended.
    pub(super) deadline: Instant,
    /// The same if the extensions that stayed without an answer were granted: until then it may be alive.
    pub(super) latest: Instant,
    /// When to extend it, or to repeat its close.
    pub(super) wake: Instant,
    pub(super) marks: Marks,
    /// Its group at the middlebox, once that has said so.
    pub(super) group: Option<Gid>,
    /// What the other side sees instead of its place, where the middlebox translates.
    pub(super) seen_as: Option<SocketAddr>,
}

/// What a rule is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Marks {
    /// The step that waits needs it.
    pub(super) held: bool,
    /// It belongs to the exchange that was completed last.
    pub(super) current: bool,
    /// Asked for on a session that is gone, without an answer: the next list tells whether it exists.
    pub(super) listed: bool,
    /// It serves what an unreliable 18x of these early dialogs showed, or the path that ICE leaves, and stays until the
    /// next exchange.
    pub(super) preview: Dialogs,
    /// It takes the place of wider ones.
    pub(super) narrow: bool,
    /// It has been asked for a second time, without a group.
    pub(super) regrouped: bool,
}

/// A set of early dialogs, by number; those from 15 on count as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dialogs(u16);

impl Dialogs {
    pub(super) const LAST: usize = 15;

    pub(super) fn one(number: usize) -> Self {
        Self(1 << number.min(Self::LAST))
    }

    /// True if the one with this number is in it.
    #[must_use]
    pub fn contains(self, number: usize) -> bool {
        !self.and(Self::one(number)).is_empty()
    }

    pub(super) fn all_but(number: usize) -> Self {
        Self(!Self::one(number).0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn and(self, others: Self) -> Self {
        Self(self.0 & others.0)
    }

    pub(super) fn without(self, others: Self) -> Self {
        Self(self.0 & !others.0)
    }

    pub(super) fn or(self, others: Self) -> Self {
        Self(self.0 | others.0)
    }
}

/// Where a rule stands. `RequestId` is the request whose reply moves it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// PER is on its way.
    Asked(RequestId),
    /// PRR is on its way.
    Reserving(RequestId),
    /// Reserved; lets nothing pass.
    Reserved(Prid),
    /// PEA is on its way.
    Enabling(Prid, RequestId),
    /// Lets packets pass.
    Enabled(Prid),
    /// Nobody waits for the reply any more: what it confirms is closed at once.
    Doomed(Option<Prid>, RequestId),
    /// PLC(0) is on its way or will be repeated.
    Closing {
        prid: Prid,
        request: Option<RequestId>,
        /// How often it was sent since the middlebox last tried.
        attempts: u8,
    },
    /// The reply never came. It may exist until its deadline or until the middlebox has listed its rules.
    Unanswered,
    /// The middlebox is away and its partner stands in for it: made as soon as it is back.
    Absent,
}

impl State {
    /// The request whose reply is awaited.
    pub(super) fn request(self) -> Option<RequestId> {
        match self {
            Self::Asked(id) | Self::Reserving(id) | Self::Enabling(_, id) | Self::Doomed(_, id) => Some(id),
            Self::Closing { request, .. } => request,
            Self::Reserved(_) | Self::Enabled(_) | Self::Unanswered | Self::Absent => None,
        }
    }

    /// The rule's identifier, once it has one.
    pub(super) fn prid(self) -> Option<Prid> {
        match self {
            Self::Reserved(prid) | Self::Enabling(prid, _) | Self::Enabled(prid) => Some(prid),
            Self::Closing { prid, .. } => Some(prid),
            Self::Doomed(prid, _) => prid,
            Self::Asked(_) | Self::Reserving(_) | Self::Unanswered | Self::Absent => None,
        }
    }
}

impl Rule {
    /// True until it is being closed: it lets packets pass, or will.
    pub(super) fn is_wanted(&self) -> bool {
        match self.state {
            State::Asked(_)
            | State::Reserving(_)
            | State::Reserved(_)
            | State::Enabling(..)
            | State::Enabled(_)
            | State::Absent => true,
            State::Doomed(..) | State::Closing { .. } | State::Unanswered => false,
        }
    }

    /// True if it lets packets pass, or will as soon as the reply is there.
    pub(super) fn admits(&self) -> bool {
        self.is_wanted() && !self.is_reservation()
    }

    /// True if it takes no more than a place.
    pub(super) fn is_reservation(&self) -> bool {
        matches!(self.state, State::Reserving(_) | State::Reserved(_))
    }

    /// True if the step that waits must wait for this one.
    pub(super) fn is_awaited(&self) -> bool {
        self.marks.held && self.is_wanted() && self.state.request().is_some()
    }

    /// True if the middlebox has it.
    pub(super) fn is_confirmed(&self) -> bool {
        matches!(self.state, State::Reserved(_) | State::Enabled(_))
    }

    /// True if it lets the pinhole's packets pass, or will.
    pub(super) fn serves(&self, crossing: u8, pinhole: &Pinhole) -> bool {
        self.crossing == crossing && self.admits() && self.pinhole.covers(pinhole)
    }

    /// True if one of these is what it is for: packets of both could pass it, or it is reserved for just that one.
    pub(super) fn is_for_one_of(&self, pinholes: &[(u8, Pinhole)]) -> bool {
        pinholes.iter().any(|(crossing, pinhole)| {
            *crossing == self.crossing
                && match self.is_reservation() {
                    true => self.pinhole == *pinhole,
                    false => self.pinhole.overlaps(pinhole),
                }
        })
    }

    /// True if it leads to the pinhole's place, from wherever, or is reserved for it.
    pub(super) fn leads_to(&self, crossing: u8, pinhole: &Pinhole) -> bool {
        let place = self.pinhole.is_beside(pinhole) && self.pinhole.place.covers(pinhole.place);
        self.crossing == crossing && self.is_wanted() && place
    }
}
