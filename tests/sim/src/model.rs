//! The reference model: what may pass, and what must, as phones and processes see it from outside.
//!
//! It is told what each phone has written into its descriptions, what each phone believes, when the agent says that a
//! call began and ended, and when processes die. It knows no SIP transaction, no hold and no rule.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use b2bua::{CallId, Cause};
use machine::Instant;
use middlebox::memory::Packet;
use middlebox::{Key, Nat, Source};
use phone::CallNumber;

use crate::carry::Ends;
use crate::far::{Far, Flow};
use crate::gate;
use crate::plan::{End, Plan};
use crate::queue::{Life, Seat};
use crate::sessions::Session;
use crate::silence::Counted;
use crate::translated::Lent;
use crate::wire::Place;

/// How long the halves may need until what they have noticed is true in the engine.
pub(crate) const SETTLE: Duration = Duration::from_secs(10);
/// How long after an answer no rule is left that serves other phones: 64*T1 and the time to settle, generously.
const LOSERS: Duration = Duration::from_secs(32 + 15);

/// What one phone believes of one call of its own.
#[derive(Debug, Clone)]
pub(crate) struct Belief {
    pub(crate) answered: Option<Instant>,
    /// Where it sends, and how.
    pub(crate) far: Option<Far>,
    /// Where it listens, as far as the other end knows.
    pub(crate) local: SocketAddr,
    /// It made the offer itself, because the INVITE had none, and has not heard the answer yet.
    pub(crate) waits: bool,
    /// How it ended, each time.
    pub(crate) ends: Vec<Farewell>,
}

/// How a phone was told that a call is over.
#[derive(Debug, Clone)]
pub(crate) struct Farewell {
    pub(crate) status: u16,
    pub(crate) reason: Option<String>,
    pub(crate) warning: Option<String>,
}

/// One life of a call in the agent.
#[derive(Debug, Clone)]
pub(crate) struct Incarnation {
    pub(crate) life: Life,
    pub(crate) id: CallId,
    pub(crate) born: Instant,
    /// Which phone of the callee's side has got the call, and since when the agent knows.
    pub(crate) won: Option<(usize, Instant)>,
    /// The session timers of the caller's leg and of the callee's.
    pub(crate) sessions: [Session; 2],
    pub(crate) ending: Option<Cause>,
    pub(crate) ended: bool,
    /// Its agent was killed, or it has ended: until when its rules may live, for each gate.
    pub(crate) ghost: Vec<Instant>,
}

/// A call as it looks from outside.
#[derive(Debug, Clone)]
pub(crate) struct View {
    pub(crate) outside: [bool; 2],
    /// The network each end lives in, as the middlebox sees it.
    pub(crate) networks: [midcom::Network; 2],
    /// An end has sent BYE, or CANCEL.
    pub(crate) said: [bool; 2],
    /// An end has an offer of its own on its way.
    pub(crate) offering: [bool; 2],
    /// An end has answered an offer of which the other has not heard yet.
    pub(crate) answering: bool,
    /// The first INVITE leaves the offer to the callee.
    pub(crate) leaves_offer: bool,
    /// An end has let the other offer; its answer comes in an ACK.
    pub(crate) asking: Option<End>,
    /// Every place an end has ever named, and which of its phones it was.
    pub(crate) named: [Vec<(usize, Place)>; 2],
    /// Where each phone of an end would listen by its next description.
    pub(crate) wanted: [Vec<SocketAddr>; 2],
    pub(crate) beliefs: [BTreeMap<(usize, CallNumber), Belief>; 2],
    /// No rule may serve this phone of the callee's side any more: another one has got the call.
    pub(crate) lost: Vec<bool>,
    pub(crate) incarnations: Vec<Incarnation>,
    /// What has been counted at its rules.
    pub(crate) counted: Counted,
    /// One end may believe what the other does not.
    pub(crate) unsure: bool,
    /// Something went wrong that may cost it its rules.
    pub(crate) disturbed: bool,
}

/// What is known about one middlebox.
#[derive(Debug, Clone)]
pub(crate) struct Site {
    /// The session is open since.
    pub(crate) up: Option<Instant>,
    /// Since when rules may not have been extended.
    pub(crate) down: Instant,
    /// Entries that nobody needs, and until when they may stay.
    pub(crate) excused: BTreeMap<Key, Instant>,
    /// Which places inside its outside places stand for.
    pub(crate) lent: Lent,
}

/// The model of the whole world.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) views: Vec<View>,
    pub(crate) sites: Vec<Site>,
    /// Where addresses are translated.
    pub(crate) nat: Option<Nat>,
    /// The agent process that lives, or lived last.
    pub(crate) life: Life,
    /// How many things go on that may cost calls their rules.
    pub(crate) storms: u32,
    /// Half of the lifetime that is granted.
    half_life: Duration,
}

pub(crate) fn index(end: End) -> usize {
    match end {
        End::Caller => 0,
        End::Callee => 1,
    }
}

/// Where the caller and whoever may take its place want media at first.
fn callers(script: &crate::plan::Script) -> Vec<SocketAddr> {
    let takeover = script.takeover.iter().map(|(party, _)| party);
    [&script.caller].into_iter().chain(takeover).map(|party| party.media).collect()
}

impl Model {
    pub(crate) fn new(plan: &Plan) -> Self {
        let view = |script: &crate::plan::Script| View {
            outside: End::BOTH.map(|end| script.is_outside(end)),
            networks: End::BOTH.map(|end| gate::network(&plan.house, script.is_outside(end))),
            said: [false; 2],
            offering: [false; 2],
            answering: script.caller.extensions.delayed_offer,
            leaves_offer: script.caller.extensions.delayed_offer,
            asking: None,
            named: [Vec::new(), Vec::new()],
            wanted: [callers(script), script.parties().skip(1).map(|party| party.media).collect()],
            beliefs: [BTreeMap::new(), BTreeMap::new()],
            lost: vec![false; 1 + script.branches.len()],
            incarnations: Vec::new(),
            counted: Counted::default(),
            unsure: false,
            disturbed: false,
        };
        let (excused, lent) = (BTreeMap::new(), Lent::default());
        let site = Site { up: None, down: Instant::ZERO, excused, lent };
        let lifetime = plan.house.rule_lifetime_s.min(plan.house.lifetime_max_s);
        Self {
            views: plan.calls.iter().map(view).collect(),
            sites: vec![site; plan.house.gates],
            nat: plan.house.nat.clone(),
            life: 0,
            storms: 0,
            half_life: Duration::from_secs(u64::from(lifetime)) / 2,
        }
    }

    /// The lifetime that is granted.
    pub(crate) fn lifetime(&self) -> Duration {
        self.half_life * 2
    }

    /// A phone has written these places into a description.
    pub(crate) fn names(&mut self, seat: Seat, places: Vec<Place>) {
        let view = &mut self.views[seat.call];
        view.disturbed |= self.storms > 0 && !places.is_empty();
        let named = &mut view.named[index(seat.end)];
        for place in places {
            if !named.contains(&(seat.branch, place)) {
                named.push((seat.branch, place));
            }
        }
    }

    pub(crate) fn belief(&mut self, seat: Seat, number: CallNumber) -> &mut Belief {
        let view = &mut self.views[seat.call];
        let (local, waits) = (*view.wanted(seat), view.leaves_offer && seat.end == End::Callee);
        view.beliefs[index(seat.end)].entry((seat.branch, number)).or_insert(Belief {
            answered: None,
            far: None,
            local,
            waits,
            ends: Vec::new(),
        })
    }

    /// The agent takes a call. It may be another life of one that has been answered, if its INVITE is repeated; then
    /// all phones of the callee's side may answer once more.
    pub(crate) fn begins(&mut self, now: Instant, call: usize, life: Life, id: CallId) {
        let view = &mut self.views[call];
        let born = Incarnation {
            life,
            id,
            born: now,
            won: None,
            sessions: [Session::default(); 2],
            ending: None,
            ended: false,
            ghost: Vec::new(),
        };
        view.incarnations.push(born);
        view.lost.fill(false);
    }

    /// The agent has had an answer for a while: nobody else of the callee's side may receive.
    /// `docs/calls.md` §4: losers' rules end at the latest 64*T1 after the winner's 200.
    pub(crate) fn lose(&mut self, now: Instant) {
        let undisturbed = self.sites.iter().all(|site| site.up.is_some_and(|up| up + LOSERS <= now));
        for view in self.views.iter_mut().filter(|view| view.lost.len() > 1) {
            let is_sure = undisturbed && !view.disturbed;
            let living = || view.incarnations.iter().filter(|one| !one.ended && one.ghost.is_empty());
            let lost = |branch| {
                is_sure
                    && living()
                        .all(|one| one.won.is_some_and(|(won, at)| won != branch && at + LOSERS <= now))
            };
            view.lost = (0..view.lost.len()).map(lost).collect();
        }
    }

    /// Something happens that may cost every call its rules.
    pub(crate) fn disturb(&mut self) {
        self.sites.iter_mut().for_each(|site| site.lent.forget());
        for view in &mut self.views {
            // Where the INVITE leaves the offer to the callee, that one names a place first.
            view.disturbed |= view.named.iter().any(|named| !named.is_empty());
        }
    }

    /// The agent is dead: whatever it had made may live as long as was granted.
    pub(crate) fn agent_died(&mut self, now: Instant) {
        let until = now + self.lifetime() + SETTLE;
        for incarnation in self.views.iter_mut().flat_map(|view| &mut view.incarnations) {
            if !incarnation.ended && incarnation.ghost.is_empty() {
                incarnation.ghost = vec![until; self.sites.len()];
            }
        }
    }

    /// Until when rules of a call that ends now may live, for each gate: where no session is open, a request that
    /// nobody answered may still be on its way.
    pub(crate) fn ghost(&self, now: Instant) -> Vec<Instant> {
        let until = now + self.lifetime() + SETTLE;
        // One that has been open for a moment only has not told yet what became of older requests.
        let is_settled = |site: &Site| site.up.is_some_and(|up| up + SETTLE <= now);
        let ends = |site: &Site| if is_settled(site) { now } else { until };
        self.sites.iter().map(ends).collect()
    }

    /// A session has opened.
    pub(crate) fn up(&mut self, now: Instant, gate: usize) {
        self.sites[gate].up = Some(now);
    }

    /// A session is gone, or an octet stands still.
    pub(crate) fn down(&mut self, now: Instant, gate: usize) {
        let site = &mut self.sites[gate];
        // One that was up too shortly to extend anything does not count.
        if site.up.take().is_some_and(|up| up + SETTLE < now) {
            site.down = now;
        }
    }

    /// A session has lasted long enough for the agent to close what it does not know.
    pub(crate) fn settled(&mut self, now: Instant, gate: usize) {
        for incarnation in self.views.iter_mut().flat_map(|view| &mut view.incarnations) {
            if let Some(until) = incarnation.ghost.get_mut(gate) {
                *until = now.min(*until);
            }
        }
    }

    /// True for an entry that nobody needs and that may stay for a while.
    pub(crate) fn is_excused(&self, now: Instant, gate: usize, key: &Key) -> bool {
        self.sites[gate].excused.get(key).is_some_and(|until| now <= *until)
    }

    /// Why an entry may be there; `None` if nothing speaks for it.
    pub(crate) fn justifies(&self, now: Instant, gate: usize, key: &Key) -> bool {
        let excused = self.is_excused(now, gate, key);
        let plain = self.plain(key);
        let needs = |view: &View| plain.is_some_and(|key| view.needs(&key));
        excused || self.views.iter().any(|view| view.may_hold(now, gate, self.life) && needs(view))
    }

    /// True if some call speaks for this packet, and for what has become of it.
    pub(crate) fn may_pass(&self, now: Instant, gate: usize, packet: &Packet<'_>, arrived: Ends) -> bool {
        let (from, to) = (packet.source, arrived.1);
        if !self.is_translated((packet.source, packet.destination), arrived) {
            return false;
        }
        let serves = |view: &View| {
            let is_there = |place: Place| place.0 == packet.transport && receives(place.1, to);
            let toward = (0..2).find(|end| view.places(*end).any(is_there));
            let comes = |end: usize| view.networks[end].contains(&from.ip());
            view.may_hold(now, gate, self.life) && toward.is_some_and(|end| comes(1 - end))
        };
        let receives_by = |key: &Key| {
            let last = key.ports().first() + u16::from(key.ports().is_pair());
            let is_it = key.transport() == packet.transport && key.destination() == to.ip();
            is_it && (key.ports().first()..=last).contains(&to.port())
        };
        let excused = self.sites[gate].excused.iter().filter(|(_, until)| now <= **until);
        let mut excused = excused.filter_map(|(key, _)| self.plain(key));
        self.views.iter().any(serves) || excused.any(|key| receives_by(&key))
    }

    /// The call that names the place an entry leads to, for the report: one that lives if there is one.
    pub(crate) fn suspect(&self, now: Instant, gate: usize, key: &Key) -> Option<usize> {
        let plain = self.plain(key).unwrap_or(*key);
        let named = |view: &View| view.ever_named(&plain);
        let calls = self.views.iter().enumerate().filter(|(_, view)| named(view));
        calls.max_by_key(|(_, view)| view.may_hold(now, gate, self.life)).map(|(call, _)| call)
    }

    /// True if sessions are open, or have been so recently that no rule can have run out.
    pub(crate) fn is_lasting(&self, now: Instant) -> bool {
        self.sites.iter().all(|site| match site.up {
            Some(up) if up + SETTLE <= now => true,
            Some(_) | None => now.since(site.down) + SETTLE + Duration::from_secs(5) < self.half_life,
        })
    }

    /// The packets of a call that must pass now.
    pub(crate) fn must_pass(&self, now: Instant, call: usize) -> Vec<Flow> {
        let view = &self.views[call];
        if !view.is_sound(self.life) || !self.is_lasting(now) {
            return Vec::new();
        }
        let ends = view.beliefs.iter().zip(view.outside);
        let living = ends.flat_map(|(all, outside)| {
            all.values().filter(|one| one.ends.is_empty()).map(move |one| (one, outside))
        });
        let mut flows: Vec<Flow> = living
            .clone()
            .filter_map(|(one, outside)| Some(one.far.as_ref()?.flows(one.local, outside)))
            .flatten()
            .collect();
        let of = |outside: bool| living.clone().find(|(_, is_outside)| *is_outside == outside);
        if let (Some(_), Some((inside, _)), Some((outside, _))) = (&self.nat, of(false), of(true)) {
            // Who has been told nothing knows no place inside.
            let Some(told) = &outside.far else { return Vec::new() };
            flows.iter_mut().for_each(|flow| flow.translate(inside.local, told));
        }
        flows
    }
}

/// The same host, `next` ports above.
pub(crate) fn above(place: SocketAddr, next: u16) -> SocketAddr {
    SocketAddr::new(place.ip(), place.port().wrapping_add(next))
}

/// True if a phone that named `place` receives there: RTP, or RTCP one port above.
pub(crate) fn receives(place: SocketAddr, at: SocketAddr) -> bool {
    place.ip() == at.ip() && (place.port() == at.port() || place.port() + 1 == at.port())
}

impl View {
    /// True if the agent may have rules of this call at a gate.
    pub(crate) fn may_hold(&self, now: Instant, gate: usize, life: Life) -> bool {
        self.incarnations.iter().any(|one| match one.ghost.get(gate) {
            Some(until) => now < *until,
            None => one.life == life && !one.ended,
        })
    }

    /// True if an entry leads to a place that an end has named, from where the other end may send.
    pub(crate) fn needs(&self, key: &Key) -> bool {
        let Some(end) = self.leads_to_named(key) else { return false };
        self.may_come(key.source(), 1 - end)
    }

    /// Where one phone would listen by its next description.
    pub(crate) fn wanted(&mut self, seat: Seat) -> &mut SocketAddr {
        &mut self.wanted[index(seat.end)][seat.branch]
    }

    /// The places an end has named at which a phone may still receive.
    fn places(&self, end: usize) -> impl Iterator<Item = Place> {
        let is_lost = move |branch: usize| end == 1 && self.lost[branch];
        self.named[end].iter().filter(move |(branch, _)| !is_lost(*branch)).map(|(_, place)| *place)
    }

    fn ever_named(&self, key: &Key) -> bool {
        let is_it = |(transport, place): &Place| {
            let there = place.ip() == key.destination() && place.port() == key.ports().first();
            *transport == key.transport() && there
        };
        self.named.iter().flatten().any(|(_, place)| is_it(place))
    }

    fn leads_to_named(&self, key: &Key) -> Option<usize> {
        let last = key.ports().first() + u16::from(key.ports().is_pair());
        let leads = |(transport, place): &Place| {
            *transport == key.transport()
                && place.ip() == key.destination()
                && place.port() <= key.ports().first()
                && u32::from(last) <= u32::from(place.port()) + 1
        };
        (0..2).find(|end| self.places(*end).any(|place| leads(&place)))
    }

    /// True if whoever may send is the end, or everybody on its side.
    fn may_come(&self, source: Source, end: usize) -> bool {
        let from = |host: IpAddr| self.named[end].iter().any(|(_, (_, place))| place.ip() == host);
        match source {
            Source::Network(network) => network == self.networks[end],
            Source::Host(host) => from(host),
            Source::Exact { address, port } => self.named[end].iter().any(|(_, (_, place))| {
                place.ip() == address && (place.port() == port || place.port() + 1 == port)
            }),
        }
    }

    /// True if a phone had its answer before this life of the call began. An INVITE repeated long after its answer makes such a
    /// life: what it describes is where its phone was then, and no phone hears of the answers.
    pub(crate) fn is_older(&self, (life, id): (Life, Option<CallId>), end: End, branch: usize) -> bool {
        let mut lives = self.incarnations.iter().filter(|one| one.life == life && Some(one.id) == id);
        let born = lives.next().map(|one| one.born);
        let mut beliefs = self.beliefs[index(end)].iter().filter(|((of, _), _)| *of == branch);
        beliefs.any(|(_, belief)| belief.answered.zip(born).is_some_and(|(answered, born)| answered < born))
    }

    /// True if both ends talk, nothing is under way, and nothing went wrong.
    pub(crate) fn is_sound(&self, life: Life) -> bool {
        // Of several phones one has the call, and the others know it.
        let one = |all: &BTreeMap<(usize, CallNumber), Belief>| {
            let mut living = all.values().filter(|one| one.ends.is_empty());
            let talks = living.next().is_some_and(|one| one.answered.is_some() && !one.waits);
            talks && living.next().is_none() && (all.len() == 1 || self.lost.len() > 1)
        };
        let [incarnation] = self.incarnations.as_slice() else { return false };
        let ours = incarnation.life == life && incarnation.ending.is_none() && !incarnation.ended;
        let pending = self.offering[0] || self.offering[1] || self.asking.is_some();
        let calm = !self.disturbed && !self.unsure && !pending;
        ours && calm && !self.said[0] && !self.said[1] && self.beliefs.iter().all(one)
    }
}
