//! Houses that end calls through which nothing passes any more (`media-timeout`, `docs/calls.md` §7): phones that talk,
//! whose packets the engines count, phones that fall silent, and what the agent must make of it.

use std::collections::VecDeque;
use std::time::Duration;

use b2bua::CallId;
use machine::{Instant, Rng};
use middlebox::memory::{Packet, Verdict};

use crate::far::Flow;
use crate::gate::Gate;
use crate::model::{SETTLE, View, index};
use crate::observe::interface;
use crate::plan::{End, House, Plan, Script, millis, pick};
use crate::sabotage::Sabotage;
use crate::world::World;

/// Octets of a packet.
const OCTETS: u64 = 200;
/// What is on its way while the agent decides does not count for it.
const MEANWHILE: Duration = Duration::from_secs(5);
/// So many times at which something passed are kept, at least a second apart.
const KEPT: usize = 120;

/// What has been counted at the rules of a call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counted {
    /// Packets of the call itself, at elements that are no other call's.
    own: VecDeque<Instant>,
    /// The last packet that an element of the call may have counted, whosever it was.
    last: Option<Instant>,
}

impl Counted {
    /// Counters begin anew: what nobody has read is lost with them.
    pub(crate) fn forget(&mut self) {
        self.own.clear();
    }
}

/// Whether calls without media end, and after how long.
pub(crate) fn timeout(rng: &mut Rng) -> Option<Duration> {
    let timeout = Duration::from_secs(pick(rng, &[20, 30, 60]));
    rng.percent(15).then_some(timeout)
}

impl Script {
    /// In a house that cares one call of three falls silent: one end, or both.
    pub(crate) fn draw_silence(&mut self, rng: &mut Rng, house: &House) {
        if house.policy.media_timeout.is_none() || !rng.percent(35) {
            return;
        }
        let after = millis(rng, 0, 20_000);
        for end in 0..2 {
            self.silent[end] = rng.percent(80).then_some(after);
        }
        // Long enough for somebody to notice.
        if rng.percent(70) {
            (self.cancel, self.offers) = (None, Vec::new());
            self.hang_ups.iter_mut().for_each(|(_, after)| *after += Duration::from_secs(200));
        }
    }

    /// Audio in both directions and nothing else, from the beginning to the end.
    fn is_plain_audio(&self) -> bool {
        let plain = |end: End| {
            let party = self.party(end);
            let (can, odd) = (&party.extensions, &party.oddities);
            let shape = phone::Shape { srtp: false, turns_on: false, ..can.shape };
            shape == phone::Shape::default() && can.video.is_none() && !odd.moves_in_answer
        };
        let alone = self.branches.is_empty() && self.takeover.is_none();
        alone && self.offers.is_empty() && End::BOTH.into_iter().all(plain)
    }
}

impl View {
    /// Nobody else's packets can reach the places that this call's ends have named.
    fn is_alone(&self, others: &[Self]) -> bool {
        let named = |view: &Self, place: std::net::SocketAddr| {
            let near = |other: std::net::SocketAddr| {
                other.ip() == place.ip() && other.port().abs_diff(place.port()) <= 1
            };
            view.named.iter().flatten().any(|(_, (_, other))| near(*other))
        };
        let mine = || self.named.iter().flatten().map(|(_, (_, place))| *place);
        let is_other = |view: &&Self| !std::ptr::eq(*view, self) && !view.incarnations.is_empty();
        others.iter().filter(is_other).all(|view| !mine().any(|place| named(view, place)))
    }
}

impl World {
    /// Everybody who talks sends, and the engines count.
    pub(crate) fn talk(&mut self) {
        if self.plan.house.policy.media_timeout.is_none() {
            return;
        }
        for call in 0..self.plan.calls.len() {
            for (flow, is_sure) in self.spoken(call) {
                self.speak(call, flow, is_sure);
            }
            self.check_silence(call);
        }
    }

    /// What the phones of a call send now, and whether it is known that it passes.
    fn spoken(&self, call: usize) -> Vec<(Flow, bool)> {
        let (view, script) = (&self.model.views[call], &self.plan.calls[call]);
        if view.incarnations.is_empty() {
            return Vec::new();
        }
        let sure = self.model.must_pass(self.now, call);
        let mut flows = Vec::new();
        for end in End::BOTH {
            let at = index(end);
            let talks = |since: Instant| script.silent[at].is_none_or(|after| self.now < since + after);
            let living = view.beliefs[at].values().filter(|one| one.ends.is_empty());
            for one in living.filter(|one| one.answered.is_some_and(talks)) {
                let Some(far) = &one.far else { continue };
                let said = far.flows(one.local, view.outside[at]);
                flows.extend(said.into_iter().map(|flow| {
                    let is_same = |other: &Flow| (other.from, other.to) == (flow.from, flow.to);
                    (flow, sure.iter().any(is_same))
                }));
            }
        }
        flows
    }

    fn speak(&mut self, call: usize, flow: Flow, is_sure: bool) {
        let Flow { transport, from, to, outside, opens, .. } = flow;
        let packet =
            Packet { transport, source: from, destination: to, interface: interface(outside), opens };
        let (now, life) = (self.now, self.model.life);
        let uncounted = self.plan.sabotage == Some(Sabotage::CountsNothing);
        for gate in 0..self.gates.len() {
            let engine = &mut self.gates[gate].engine;
            engine.advance(now);
            let verdict = if uncounted { engine.verdict(&packet) } else { engine.take(&packet, OCTETS) };
            let Verdict::Accepted(key) = verdict else { return };
            self.tally.counted += 1;
            let plain = self.model.plain(&key);
            let needs = |view: &View| plain.is_some_and(|key| view.needs(&key));
            let views = self.model.views.iter_mut();
            for view in views.filter(|view| view.may_hold(now, gate, life) && needs(view)) {
                view.counted.last = Some(now);
            }
        }
        let is_own = is_sure && self.model.views[call].is_alone(&self.model.views);
        let own = &mut self.model.views[call].counted.own;
        if is_own && own.back().is_none_or(|last| *last + Duration::from_secs(1) <= now) {
            own.push_back(now);
            if own.len() > KEPT {
                own.pop_front();
            }
        }
    }

    /// A call ends because nothing passes: so it must be.
    pub(crate) fn note_silence(&mut self, call: usize, id: CallId, why: &str) {
        if !why.starts_with("no media") {
            return;
        }
        self.tally.silenced += 1;
        let Some(timeout) = self.plan.house.policy.media_timeout else {
            return self
                .violation(Some(call), format!("call {id} ends for want of media, which nobody wishes"));
        };
        let now = self.now;
        let matters = |at: &&Instant| **at + timeout > now && **at + MEANWHILE < now;
        let passed = self.model.views[call].counted.own.iter().find(matters);
        if let Some(at) = passed.copied() {
            let text = format!("the agent ends a call for want of media, though at {at} a packet passed");
            self.violation(Some(call), text);
        }
    }

    /// A call through which nothing passes any more must have ended.
    fn check_silence(&mut self, call: usize) {
        let Some(timeout) = self.plan.house.policy.media_timeout else { return };
        let view = &self.model.views[call];
        // A look in each quarter; the first may see packets that passed just before, and the answer takes its time.
        let longest = timeout + timeout / 4 * 2 + SETTLE;
        let lasts = |since: Option<Instant>| since.is_some_and(|since| since + longest < self.now);
        let answered =
            view.beliefs.iter().flat_map(|all| all.values()).map(|one| one.answered).max().flatten();
        let quiet = lasts(answered) && view.counted.last.is_none_or(|last| last + longest < self.now);
        let sites = self.model.sites.iter().all(|site| lasts(site.up));
        let is_plain = self.plan.calls[call].is_plain_audio();
        // Whoever asks in vain waits anew.
        let prompt = |gate: &Gate| gate.slow.is_zero() && lasts(Some(gate.quick.max(gate.stalled)));
        let prompt = self.gates.iter().all(prompt);
        if quiet && sites && is_plain && prompt && view.is_sound(self.model.life) {
            self.violation(Some(call), format!("a call goes on though nothing has passed for {longest:?}"));
            self.model.views[call].disturbed = true;
        }
    }
}

impl Plan {
    /// What an engine that is asked says has passed.
    pub(crate) fn told(&self, now: Instant, mut passed: Vec<midcom::Passed>) -> Vec<midcom::Passed> {
        if self.sabotage == Some(Sabotage::CountsAnything) {
            for one in &mut passed {
                one.packets = now.since(Instant::ZERO).as_secs();
            }
        }
        passed
    }
}
