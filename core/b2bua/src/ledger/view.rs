//! What a ledger shows: to people, and to the call that asks what is missing or silent.

use std::net::SocketAddr;

use machine::Instant;
use midcom::{Direction, MiddleboxId, Prid, Tuple};
use sdp::{MediaFlow, Protocol};
use smallvec::SmallVec;

use super::rule::{Rule, State};
use super::{Crossing, Ledger, uses};
use crate::side::Side;

/// What a rule is doing, for people who look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RuleState {
    /// Asked for, not yet confirmed.
    Asked,
    /// Reserved: lets nothing pass.
    Reserved,
    /// Lets packets pass.
    Enabled,
    /// Its middlebox is away, and a partner stands in.
    Absent,
    /// Being closed, or not known to exist.
    Closing,
}

/// One rule, as `call ID` and `pinholes` show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RuleInfo {
    /// The middlebox that has it.
    pub middlebox: MiddleboxId,
    /// Its identifier, once confirmed.
    pub prid: Option<Prid>,
    /// The m-line it serves.
    pub stream: u16,
    /// The side that receives.
    pub toward: Side,
    /// What it is doing.
    pub state: RuleState,
    /// Which way packets go.
    pub direction: Direction,
    /// A0.
    pub internal: Tuple,
    /// A3.
    pub external: Tuple,
    /// What the other side sees instead of the place to which it leads, where the middlebox translates.
    pub seen_as: Option<SocketAddr>,
    /// When the middlebox ends it unless it is extended.
    pub deadline: Instant,
}

impl Ledger {
    /// The streams that both sides have agreed on and that have lost a rule they need, ascending: what must be offered
    /// again with port 0. Empty as soon as an exchange has been completed without them.
    #[must_use]
    pub fn lost_streams(&self) -> SmallVec<[u16; 4]> {
        let needed = self.all_desired(&self.agreed);
        let missing = needed.iter().filter(|(crossing, pinhole)| self.is_missing(*crossing, pinhole));
        let both = || self.agreed.a.iter().chain(&self.agreed.b);
        let with = |stream: u16| both().filter(move |flow| uses(flow, stream)).map(|flow| flow.stream);
        let mut lost: SmallVec<_> = missing.flat_map(|(_, pinhole)| with(pinhole.stream)).collect();
        lost.sort_unstable();
        lost.dedup();
        lost
    }

    /// Where it can be seen whether anything passes, and the rules that let packets pass there: the first middlebox of the path
    /// that `can` say so, if every packet of the call crosses it; otherwise both of a pair, since a packet crosses one of the
    /// two. Empty while there is no such middlebox, or none of its rules is open. Of a pair that lacks a rule nothing is said:
    /// what the agent has given up may be open there.
    #[must_use]
    pub fn countable(&self, can: impl Fn(MiddleboxId) -> bool) -> Vec<(MiddleboxId, Vec<Prid>)> {
        let path = &self.terms.path;
        let ready = |at: &usize| {
            let up = self.sites.get(*at).is_some_and(|site| site.up);
            up && path.get(*at).is_some_and(|crossing| can(crossing.middlebox))
        };
        let alone = (0..path.len()).find(|at| path[*at].partner.is_none() && ready(at));
        let pair = |at: usize| {
            let both = [at, usize::from(path[at].partner?)];
            (both.iter().all(|at| ready(at) && self.has_all(*at))).then_some(both)
        };
        let asked: SmallVec<[usize; 2]> = match alone {
            Some(at) => SmallVec::from_slice(&[at]),
            None => (0..path.len()).find_map(pair).into_iter().flatten().collect(),
        };
        let all: Vec<_> = asked.iter().map(|at| (path[*at].middlebox, self.open_at(*at))).collect();
        match all.iter().any(|(_, prids)| prids.is_empty()) {
            true => Vec::new(),
            false => all,
        }
    }

    /// True if nothing that the middlebox at this place should have is given up or unanswered.
    fn has_all(&self, at: usize) -> bool {
        let here = |rule: &&Rule| usize::from(rule.crossing) == at;
        !self.rules.iter().filter(here).any(|rule| matches!(rule.state, State::Absent | State::Unanswered))
    }

    fn open_at(&self, at: usize) -> Vec<Prid> {
        let open = |rule: &Rule| match rule.state {
            State::Enabled(prid) if usize::from(rule.crossing) == at => Some(prid),
            State::Enabled(_)
            | State::Asked(_)
            | State::Reserving(_)
            | State::Reserved(_)
            | State::Enabling(..)
            | State::Doomed(..)
            | State::Closing { .. }
            | State::Unanswered
            | State::Absent => None,
        };
        self.rules.iter().filter_map(open).collect()
    }

    /// True if both sides have agreed to send on some stream over UDP: if nothing passes then, something is wrong. A stream on
    /// hold may be silent, and one over TCP.
    #[must_use]
    pub fn expects_media(&self) -> bool {
        let talks = |flow: &&MediaFlow| {
            flow.protocol == Protocol::Udp && flow.direction == sdp::Direction::SendRecv && !flow.is_held()
        };
        let peer =
            |flow: &MediaFlow| self.agreed.b.iter().filter(talks).any(|peer| peer.stream == flow.stream);
        self.agreed.a.iter().filter(talks).any(peer)
    }

    /// How many rules are or may be alive, reservations and those being closed included.
    #[must_use]
    pub fn open_rules(&self) -> usize {
        self.rules.len()
    }

    /// The rules, in the order in which they were asked for.
    pub fn rules(&self) -> impl Iterator<Item = RuleInfo> {
        self.rules.iter().map(|rule| self.info(rule))
    }

    fn info(&self, rule: &Rule) -> RuleInfo {
        let Crossing { middlebox, inside, .. } = *self.crossing(rule.crossing);
        let (direction, internal, external) = rule.pinhole.tuples(inside);
        let state = match rule.state {
            State::Asked(_) | State::Reserving(_) | State::Enabling(..) => RuleState::Asked,
            State::Reserved(_) => RuleState::Reserved,
            State::Enabled(_) => RuleState::Enabled,
            State::Absent => RuleState::Absent,
            State::Doomed(..) | State::Closing { .. } | State::Unanswered => RuleState::Closing,
        };
        let (stream, toward) = (rule.pinhole.stream, rule.pinhole.toward);
        let (prid, deadline) = (rule.state.prid(), rule.deadline);
        let seen_as = rule.seen_as;
        RuleInfo { middlebox, prid, stream, toward, state, direction, internal, external, seen_as, deadline }
    }
}
