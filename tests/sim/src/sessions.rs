//! Session timers (RFC 4028) as they look from outside: how long each leg of a call may live without a refresh.
//! Read from what passes between phones and agent; `docs/calls.md` §7 is what it is compared with.

use std::time::Duration;

use b2bua::side::Side;
use b2bua::{CallId, Sip};
use machine::Instant;
use sip::message::Method;

use crate::model::Incarnation;
use crate::plan::House;
use crate::wire;
use crate::world::World;

/// How much longer than the session its rules may live.
const GRACE: Duration = Duration::from_secs(32);
/// A 2xx counts when it is passed on, and it may have been held.
const HELD: Duration = Duration::from_secs(5);
/// No interval is shorter.
const SHORTEST_S: u32 = 90;

/// What has been agreed on one leg.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Session {
    /// What the agent's last INVITE or UPDATE asked for, in seconds.
    asked_s: Option<u32>,
    agreed: Option<(Instant, u32)>,
}

impl Session {
    fn expires(self) -> Option<Instant> {
        self.agreed.map(|(since, interval_s)| since + Duration::from_secs(interval_s.into()))
    }

    /// The agent has sent a message on this leg, or has got one.
    fn note(&mut self, now: Instant, is_sent: bool, message: &Sip, bytes: &[u8], wanted_s: u32) {
        let said = number(bytes, "Session-Expires");
        let is_answer = (200..300).contains(&message.status);
        match (is_answer, is_sent) {
            (false, true) if message.status == 0 => self.asked_s = said,
            // Before the answer there is no session that an UPDATE could refresh.
            (true, _) if message.method == Method::Update && self.agreed.is_none() => {}
            //= RFC 4028 §7.2: who says nothing has no timer, and we do what it does not.
            (true, false) => {
                self.agreed = said.or(self.asked_s).map(|interval_s| (now, interval_s));
            }
            (true, true) => {
                let before =
                    self.agreed.map_or_else(|| wanted_s.max(SHORTEST_S), |(_, interval_s)| interval_s);
                self.agreed = Some((now, said.unwrap_or(before)));
            }
            (false, _) => {}
        }
    }
}

fn number(bytes: &[u8], name: &str) -> Option<u32> {
    wire::field(bytes, name)?.split(';').next()?.trim().parse().ok()
}

impl Incarnation {
    /// When the first of its sessions ends if nobody refreshes it.
    fn session_end(&self) -> Option<Instant> {
        self.sessions.iter().filter_map(|session| session.expires()).min()
    }
}

impl World {
    /// A message of a call passes between the agent and the phones of a side.
    pub(crate) fn note_session(
        &mut self,
        call: usize,
        id: CallId,
        side: Side,
        is_sent: bool,
        (message, bytes): (&Sip, &[u8]),
    ) {
        let is_timed = matches!(message.method, Method::Invite | Method::Update);
        let outside = self.model.views[call].outside[side as usize];
        let Some(wanted_s) = interval_s(&self.plan.house, outside).filter(|_| is_timed) else { return };
        let now = self.now;
        self.incarnation(call, id, |one| {
            one.sessions[side as usize].note(now, is_sent, message, bytes, wanted_s);
        });
    }

    /// No call outlives a session that nobody refreshes.
    pub(crate) fn check_sessions(&mut self, call: usize) {
        let now = self.now;
        let is_late = |one: &&Incarnation| {
            let lives = one.ending.is_none() && !one.ended && one.ghost.is_empty();
            lives && one.session_end().is_some_and(|end| end + HELD < now)
        };
        let late = self.model.views[call].incarnations.iter().find(is_late).map(|one| one.id);
        if let Some(id) = late {
            let text = format!("call {id} of the agent outlives its session, which nobody refreshes");
            self.violation(Some(call), text);
        }
    }

    /// No rule is extended beyond the session and its grace.
    pub(crate) fn check_extension(&mut self, call: usize, id: CallId, lifetime_s: u32) {
        let life = self.agent.life;
        let of_call = self.model.views[call].incarnations.iter();
        let end = of_call.filter(|one| one.life == life && one.id == id).find_map(Incarnation::session_end);
        let until = self.now + Duration::from_secs(lifetime_s.into());
        if lifetime_s > 0 && end.is_some_and(|end| until > end + GRACE + HELD) {
            let text =
                format!("call {id} of the agent extends a rule for {lifetime_s} s, beyond its session");
            self.violation(Some(call), text);
        }
    }
}

/// The interval that a house wants on the legs of a side; `None` without session timers.
fn interval_s(house: &House, outside: bool) -> Option<u32> {
    let session = house.realms[usize::from(!outside)].session;
    // Drawn in seconds, far below the limit.
    session.interval.map(|interval| interval.as_secs() as u32)
}
