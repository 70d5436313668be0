//! Offers and answers as they pass: which rules they need, and which they no longer need.

use machine::Instant;
use sdp::{Direction, Flows, Ice, MediaFlow, Protocol, Refusal, Session, Setup, Why};
use smallvec::SmallVec;

use super::agree::{agree, counterparts, keep_connections};
use super::forks::Forks;
use super::pinhole::Pinhole;
use super::plan::{Pinholes, desired, from_networks, heard, is_supported, places};
use super::rule::{Dialogs, Marks, Rule, State};
use super::{Ledger, Out, RequestIds, Step};
use crate::config::OnHold;
use crate::side::{Side, Sides};

/// An exchange under way.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    /// Who offers.
    pub(super) by: Side,
    pub(super) offer: Flows,
    /// How many m-lines the offer has, those that are turned off included.
    streams: u16,
    /// The answer, or the last preview of it.
    pub(super) answer: Option<Flows>,
}

impl Exchange {
    /// One that has just begun.
    pub(super) fn new(by: Side, offer: Flows, streams: u16) -> Self {
        Self { by, offer, streams, answer: None }
    }
}

/// Rules to be made: at which middlebox, and what.
pub(super) type Missing = SmallVec<[(u8, Pinhole); 4]>;

impl Ledger {
    /// Reads and checks a description of one side. Candidates that no pinhole may lead to are left out.
    pub(super) fn read(&self, by: Side, description: &Session<'_>) -> Result<Flows, Refusal> {
        let mut flows = sdp::flows(description)?;
        if self.is_translated() {
            // Neither side is told of them: what counts is c= and m=.
            flows.retain(|flow| !flow.ice.is_candidate());
            flows.iter_mut().for_each(|flow| flow.ice = Ice::None);
        }
        self.check(by, &flows)?;
        let usable =
            |flow: &MediaFlow| self.terms.realms[by].media.admits(flow) && !self.is_hopeless(by, flow);
        flows.retain(|flow| !flow.ice.is_candidate() || usable(flow));
        Ok(flows)
    }

    /// Refuses what no pinhole may lead to, and what nobody could reach.
    fn check(&self, by: Side, flows: &Flows) -> Result<(), Refusal> {
        sdp::check(flows, &self.terms.realms[by].media)?;
        let hopeless = |flow: &&MediaFlow| flow.ice == Ice::None && self.is_hopeless(by, flow);
        match flows.iter().find(hopeless) {
            Some(flow) => Err(Refusal { stream: Some((flow.stream, flow.media)), why: Why::NoPeerNetwork }),
            None => Ok(()),
        }
    }

    /// True if the other realm has no network of the flow's IP version.
    fn is_hopeless(&self, by: Side, flow: &MediaFlow) -> bool {
        let networks = &self.terms.realms[by.other()].media.networks;
        let reachable = |place| from_networks(flow.stream, by, place, networks).next().is_some();
        !flow.is_held() && !places(flow).into_iter().all(reachable)
    }

    pub(super) fn on_offer(
        &mut self,
        now: Instant,
        by: Side,
        offer: &Session<'_>,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Result<Step, Refusal> {
        let (offer, streams) = (self.read(by, offer)?, offer.streams());
        self.tells_anew(by, &offer);
        let needed = self.needed_before_answer(by, &offer);
        // An unchanged place keeps the rules it has, wide or narrow: who sends there is known. Before this dialog has agreed on
        // the stream anybody may, and what another one has opened there may admit its own peer only.
        let known: SmallVec<[u16; 8]> = self.agreed[by.other()].iter().map(|flow| flow.stream).collect();
        let does_for = |rule: &Rule, (crossing, pinhole): &(u8, Pinhole)| {
            let admits_all = known.contains(&pinhole.stream) || rule.pinhole.covers(pinhole);
            admits_all && rule.leads_to(*crossing, pinhole)
        };
        let is_missing = |need: &&(u8, Pinhole)| !self.rules.iter().any(|rule| does_for(rule, need));
        let missing: Missing = needed.iter().filter(is_missing).copied().collect();
        let reservations = self.reservations(by, Some(&offer));
        self.has_room(missing.len() + reservations.len())?;
        let shown_by_others = self.forks.as_deref().map_or_else(Dialogs::default, Forks::others);
        for rule in &mut self.rules {
            rule.marks.preview = rule.marks.preview.and(shown_by_others);
            // One step waits at a time; what the one before it still waited for is nobody's any more.
            rule.marks.held = false;
        }
        self.exchange = Some(Box::new(Exchange::new(by, offer, streams)));
        let marks = Marks { held: true, ..Marks::default() };
        for (crossing, pinhole) in missing {
            self.fill(now, crossing, pinhole, marks, ids, out);
        }
        self.reserve_all(now, reservations, ids, out);
        for need in &needed {
            self.wait_for(|rule| does_for(rule, need));
        }
        Ok(self.step())
    }

    /// Before the answer: a way to each place of the offer, from anywhere in the other realm.
    pub(super) fn needed_before_answer(&self, by: Side, offer: &Flows) -> Missing {
        let networks = &self.terms.realms[by.other()].media.networks;
        let mut needed = Missing::new();
        for crossing in 0..self.terms.path.len() as u8 {
            let hold = self.terms.hold(self.crossing(crossing), by);
            for flow in offer.iter().filter(|flow| may_receive(flow, offer)) {
                // Through a NAT nothing leaves before it is known from where.
                if self.crossing(crossing).hides(by.other()) && flow.protocol == Protocol::Udp {
                    continue;
                }
                let flow = self.as_agreed_before(by, *flow);
                let Some((flow, _)) = heard(hold, &flow, None) else { continue };
                for place in places(&flow) {
                    let wide = from_networks(flow.stream, by, place, networks);
                    needed.extend(wide.map(|pinhole| (crossing, pinhole)));
                }
            }
        }
        needed
    }

    /// A stream that has agreed on `rtcp-mux` and offers it again on the same port needs no port for RTCP unless
    /// the answer says otherwise.
    fn as_agreed_before(&self, by: Side, flow: MediaFlow) -> MediaFlow {
        let same = |old: &&MediaFlow| old.stream == flow.stream && old.destination() == flow.destination();
        let muxed = |old: &MediaFlow| old.rtcp_mux && old.rtcp.is_none();
        match flow.rtcp_mux && self.agreed[by].iter().find(same).is_some_and(muxed) {
            true => MediaFlow { rtcp: None, ..flow },
            false => flow,
        }
    }

    pub(super) fn on_answer(
        &mut self,
        now: Instant,
        by: Side,
        answer: &Session<'_>,
        preview: Dialogs,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) -> Result<Step, Refusal> {
        let (answer, streams) = (self.read(by, answer)?, answer.streams());
        self.tells_anew(by, &answer);
        let offer = match &self.exchange {
            //= RFC 3264 §6: an m-line for each of the offer, and no other.
            Some(exchange) if exchange.by == by.other() && exchange.streams != streams => {
                return Err(Refusal { stream: None, why: Why::DifferentStreams });
            }
            Some(exchange) if exchange.by == by.other() => exchange.offer.clone(),
            // An answer that nobody asked for speaks of the other side's last description.
            Some(_) | None => self.agreed[by.other()].clone(),
        };
        let agreed = self.agree(by.other(), &offer, &answer);
        if offer.iter().chain(&answer).any(|flow| flow.ice != Ice::None) {
            // Where ICE has come to nothing it is c= and m= that count, and nobody has looked at them yet.
            self.check(by.other(), &agreed[by.other()])?;
            self.check(by, &agreed[by])?;
        }
        one_version(&agreed[by], &agreed[by.other()])?;
        let desired = self.all_desired(&agreed);
        let mut missing: Missing = desired
            .iter()
            .filter(|(crossing, pinhole)| self.is_missing(*crossing, pinhole))
            .copied()
            .collect();
        // At a NAT the way in comes first: the way out takes its outside address.
        missing.sort_by_key(|(crossing, pinhole)| self.crossing(*crossing).hides(pinhole.toward.other()));
        self.has_room(missing.len())?;
        self.exchange = Some(Box::new(Exchange { by: by.other(), offer, streams, answer: Some(answer) }));
        let marks = Marks { held: true, preview, ..Marks::default() };
        for (crossing, pinhole) in missing {
            self.fill(now, crossing, pinhole, marks, ids, out);
        }
        for (crossing, pinhole) in &desired {
            self.wait_for(|rule| rule.serves(*crossing, pinhole));
        }
        for rule in &mut self.rules {
            if desired.contains(&(rule.crossing, rule.pinhole)) {
                rule.marks.preview = rule.marks.preview.or(preview);
            }
        }
        Ok(self.step())
    }

    /// One early dialog has won: what only others showed is not kept for them.
    pub(super) fn keep_preview_of(&mut self, dialog: usize) {
        for rule in &mut self.rules {
            rule.marks.preview = rule.marks.preview.and(Dialogs::one(dialog));
        }
    }

    /// What an exchange has agreed on, once it is answered.
    pub(super) fn agreed_in(&self, exchange: &Exchange) -> Option<Sides<Flows>> {
        let answer = exchange.answer.as_ref()?;
        Some(self.agree(exchange.by, &exchange.offer, answer))
    }

    /// The answer has left: its rules are the call's, others close, wide ones are narrowed.
    pub(super) fn on_completed(&mut self, now: Instant, ids: &mut RequestIds, out: Out<'_>) {
        let decided = self.is_over_for_others();
        match self.exchange.take() {
            Some(exchange) => {
                let Some(agreed) = self.agreed_in(&exchange) else {
                    return self.close_unneeded(now, ids, out);
                };
                self.keep_paths_of_ice(&agreed);
                self.agreed = agreed;
            }
            None if !decided => return,
            None => {}
        }
        let desired = self.all_desired(&self.agreed);
        for rule in self.rules.iter_mut().filter(|rule| rule.is_wanted()) {
            let held = is_held(&self.agreed, rule.pinhole.stream);
            rule.marks.current = !rule.marks.preview.is_empty()
                || held
                || rule.is_for_one_of(&desired)
                || Forks::use_it(self.forks.as_deref(), rule);
            rule.marks.held = false;
        }
        self.close_unneeded(now, ids, out);
        if self.forks.is_none() {
            self.narrow(now, &desired, ids, out);
        }
        self.rules.shrink_to_fit();
    }

    /// Closes what belongs to no completed exchange, nor to another early dialog.
    pub(super) fn close_unneeded(&mut self, now: Instant, ids: &mut RequestIds, out: Out<'_>) {
        let forks = self.forks.take();
        let unneeded = |rule: &Rule| !rule.marks.current && !Forks::use_it(forks.as_deref(), rule);
        self.close_where(now, unneeded, ids, out);
        self.forks = forks;
    }

    /// Where ICE starts again with other candidates, media go on the old way until it has found a new one: its rules stay
    /// until the next exchange.
    //= RFC 8445 §9: during a restart media go on to what was selected before.
    fn keep_paths_of_ice(&mut self, agreed: &Sides<Flows>) {
        let before = &self.agreed;
        let moved = |side: Side, stream: u16| {
            let here = |flow: &&MediaFlow| flow.stream == stream && flow.ice.is_candidate();
            let knows = |flow: &MediaFlow| {
                before[side].iter().filter(here).any(|old| old.destination() == flow.destination())
            };
            let had = before[side].iter().any(|flow| here(&flow));
            let mut new = agreed[side].iter().filter(here).peekable();
            had && new.peek().is_some() && !new.any(knows)
        };
        for rule in self.rules.iter_mut().filter(|rule| rule.marks.current) {
            let stream = rule.pinhole.stream;
            if moved(Side::A, stream) || moved(Side::B, stream) {
                rule.marks.preview = Dialogs::one(0);
            }
        }
    }

    /// Asks for the exact pinholes of which only wider ones are there. Nothing waits for the replies.
    fn narrow(&mut self, now: Instant, desired: &Missing, ids: &mut RequestIds, out: Out<'_>) {
        for (crossing, pinhole) in desired {
            let at = |rule: &&Rule| rule.crossing == *crossing && rule.admits();
            let exact = self.rules.iter().filter(at).any(|rule| rule.pinhole == *pinhole);
            let wide = self.rules.iter().filter(at).any(|rule| rule.pinhole.covers(pinhole));
            if !exact && wide && self.has_room(1).is_ok() {
                let marks = Marks { narrow: true, current: true, ..Marks::default() };
                self.add(now, *crossing, *pinhole, marks, ids, out);
            }
        }
        // Where every exact rule is there already, the wide ones beside it can go at once.
        for (crossing, pinhole) in desired {
            self.settle(now, *crossing, pinhole, ids, out);
        }
    }

    /// Closes what is not needed, or wider than needed, beside a pinhole, once every exact rule there is confirmed.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        crossing: u8,
        beside: &Pinhole,
        ids: &mut RequestIds,
        out: Out<'_>,
    ) {
        if is_held(&self.agreed, beside.stream) || self.forks.is_some() {
            return;
        }
        let needed: Pinholes = self
            .all_desired(&self.agreed)
            .into_iter()
            .filter(|(at, pinhole)| *at == crossing && pinhole.is_beside(beside))
            .map(|(_, pinhole)| pinhole)
            .collect();
        let all_exact = |is_there: fn(State) -> bool| {
            let here = || self.rules.iter().filter(|rule| rule.crossing == crossing && is_there(rule.state));
            !needed.is_empty() && needed.iter().all(|pinhole| here().any(|rule| rule.pinhole == *pinhole))
        };
        let confirmed = all_exact(|state| matches!(state, State::Enabled(_)));
        // For one of a pair that is away: it is not asked for more than is needed when it is back.
        if !confirmed && !all_exact(|state| matches!(state, State::Enabled(_) | State::Absent)) {
            return;
        }
        // What an answer under way counts on stays; whether it travels or not, this is looked at again.
        let awaited = self.awaited();
        let superfluous = |rule: &Rule| {
            rule.crossing == crossing
                && (confirmed || rule.state == State::Absent)
                && rule.marks.current
                && rule.marks.preview.is_empty()
                && rule.pinhole.is_beside(beside)
                && !needed.contains(&rule.pinhole)
                && !awaited.iter().any(|(at, pinhole)| rule.serves(*at, pinhole))
        };
        self.close_where(now, superfluous, ids, out);
    }

    /// What the answer needs that has not left yet.
    fn awaited(&self) -> Missing {
        match self.exchange.as_deref() {
            Some(Exchange { by, offer, answer: Some(answer), .. }) => {
                self.all_desired(&self.agree(*by, offer, answer))
            }
            Some(_) | None => Missing::new(),
        }
    }

    /// What offer and answer have agreed on. With `hold = close` a stream that its receiver has put on hold by an
    /// unspecified address is silent at the place where it was before.
    fn agree(&self, by: Side, offer: &Flows, answer: &Flows) -> Sides<Flows> {
        let mut agreed = agree(by, offer, answer);
        keep_connections(&mut agreed, &self.agreed);
        if self.terms.hold == OnHold::Keep {
            return agreed;
        }
        for side in [Side::A, Side::B] {
            for flow in agreed[side].iter_mut().filter(|flow| flow.is_held()) {
                let same = |old: &&MediaFlow| old.stream == flow.stream && !old.is_held();
                if let Some(old) = self.agreed[side].iter().find(same) {
                    let direction =
                        if flow.direction.sends() { Direction::SendOnly } else { Direction::Inactive };
                    *flow = MediaFlow { direction, ..*old };
                }
            }
        }
        agreed
    }

    /// Everything two agreed descriptions need, at every middlebox.
    pub(super) fn all_desired(&self, agreed: &Sides<Flows>) -> Missing {
        let mut all = Missing::new();
        for (at, crossing) in self.terms.path.iter().enumerate() {
            for toward in [Side::A, Side::B] {
                let policy = self.terms.realms[toward].source;
                for (flow, peer) in counterparts(&agreed[toward], &agreed[toward.other()]) {
                    let connects = matches!(flow.setup, Setup::Active | Setup::Holdconn);
                    if flow.is_held() || flow.transport != flow.stream || connects {
                        continue;
                    }
                    let pinholes = desired(&self.terms, crossing, toward, flow, Some(peer), policy);
                    // A peer on hold shows no address: what leads here already is enough.
                    let first_is_led =
                        pinholes.first().is_some_and(|pinhole| self.leads_to(at as u8, pinhole));
                    if peer.is_held() && first_is_led {
                        continue;
                    }
                    for pinhole in pinholes.into_iter().map(|pinhole| (at as u8, pinhole)) {
                        // Pairs of candidates share sources, and all of them do by realm.
                        if !flow.ice.is_candidate() || !all.contains(&pinhole) {
                            all.push(pinhole);
                        }
                    }
                }
            }
        }
        all
    }

    /// The flow a pinhole serves with its counterpart, as far as they are known; of ICE every pair.
    pub(super) fn pairs_of(&self, pinhole: &Pinhole) -> SmallVec<[(MediaFlow, MediaFlow); 1]> {
        let exchanged = self.exchange.as_deref().and_then(|exchange| self.agreed_in(exchange));
        let agreed = exchanged.as_ref().unwrap_or(&self.agreed);
        let serves = |flow: &MediaFlow| {
            flow.stream == pinhole.stream && places(flow).iter().any(|place| place.covers(pinhole.place))
        };
        let pairs = counterparts(&agreed[pinhole.toward], &agreed[pinhole.toward.other()]);
        let mut pairs = pairs.filter(|(flow, peer)| serves(flow) && !peer.is_held()).peekable();
        let all = pairs.peek().is_some_and(|(flow, _)| flow.ice.is_candidate());
        pairs.take(if all { usize::MAX } else { 1 }).map(|(flow, peer)| (*flow, *peer)).collect()
    }

    /// True if no rule lets the pinhole's packets pass, or will.
    pub(super) fn is_missing(&self, crossing: u8, pinhole: &Pinhole) -> bool {
        !self.rules.iter().any(|rule| rule.serves(crossing, pinhole))
    }

    /// True if some rule leads to the pinhole's place, from wherever.
    fn leads_to(&self, crossing: u8, pinhole: &Pinhole) -> bool {
        self.rules.iter().any(|rule| rule.leads_to(crossing, pinhole))
    }

    /// Where none of the rules that would do is confirmed, the step waits for them.
    fn wait_for(&mut self, would_do: impl Fn(&Rule) -> bool) {
        if self.rules.iter().any(|rule| would_do(rule) && rule.is_confirmed()) {
            return;
        }
        for rule in self.rules.iter_mut().filter(|rule| would_do(rule)) {
            rule.marks.held = true;
        }
    }

    /// The step waits for every rule that is being made, but for what only other dialogs have shown and what only narrows.
    pub(super) fn await_what_is_made(&mut self, dialog: Dialogs) -> Step {
        for rule in &mut self.rules {
            let of_others = !rule.marks.preview.is_empty() && rule.marks.preview.and(dialog).is_empty();
            let is_made = rule.admits() && rule.state.request().is_some();
            rule.marks.held = is_made && !rule.marks.narrow && !of_others;
        }
        self.step()
    }

    /// Whether PER may be asked for, or only PRR: no such wildcard at this middlebox, or no early media.
    pub(super) fn may_open(&self, crossing: u8, pinhole: &Pinhole) -> bool {
        let unanswered = |exchange: &Exchange| exchange.answer.is_none() && exchange.by == pinhole.toward;
        let early = pinhole.wildcards_address() && self.exchange.as_deref().is_some_and(unanswered);
        //= RFC 5189 §4.2: at a NAT the outside address is reserved, and enabled when the peer's is known.
        let reserves =
            self.crossing(crossing).hides(pinhole.toward) || !self.terms.realms[pinhole.toward].early_media;
        let allowed = !reserves || !early;
        allowed && is_supported(self.crossing(crossing), pinhole)
    }

    /// Refuses what would be more rules than a call may have.
    pub(super) fn has_room(&self, more: usize) -> Result<(), Refusal> {
        match self.rules.len() + more > usize::from(self.terms.rules_max) {
            true => Err(Refusal { stream: None, why: Why::TooManyStreams }),
            false => Ok(()),
        }
    }

    /// Whether the held message may go on.
    pub(super) fn step(&self) -> Step {
        match self.rules.iter().any(Rule::is_awaited) {
            true => Step::Wait,
            false => Step::Ready,
        }
    }
}

/// True if something may be sent to this flow before the answer is known.
fn may_receive(flow: &MediaFlow, offer: &Flows) -> bool {
    let by_ice = flow.ice != Ice::Default;
    //= RFC 4145 §4.1: only who is passive, or may yet become it, is connected to.
    let connected_to = match flow.setup {
        Setup::Passive | Setup::Actpass => true,
        Setup::Unsaid => flow.protocol == Protocol::Udp,
        Setup::Active | Setup::Holdconn => false,
    };
    !flow.is_held() && by_ice && connected_to && !is_bundled(flow, offer)
}

/// True if a stream shares the transport of another already.
pub(super) fn is_bundled(flow: &MediaFlow, flows: &Flows) -> bool {
    let is_tagged =
        |other: &MediaFlow| other.stream == flow.transport && other.destination() == flow.destination();
    flow.transport != flow.stream && flows.iter().any(is_tagged)
}

/// True if a side has put the stream on hold by an unspecified address: its rules stay.
pub(super) fn is_held(agreed: &Sides<Flows>, stream: u16) -> bool {
    let own = |flow: &MediaFlow| flow.stream == stream && flow.transport == stream;
    let held = |flow: &MediaFlow| own(flow) && flow.is_held();
    agreed.a.iter().chain(&agreed.b).any(held)
}

/// Refuses an answer in the other IP version: without translation no packet could take that way.
fn one_version(flows: &Flows, peers: &Flows) -> Result<(), Refusal> {
    let mixed = |(flow, peer): &(&MediaFlow, &MediaFlow)| {
        flow.address.is_ipv4() != peer.address.is_ipv4() && !flow.is_held() && !peer.is_held()
    };
    match counterparts(flows, peers).find(mixed) {
        Some((flow, _)) => {
            Err(Refusal { stream: Some((flow.stream, flow.media)), why: Why::DifferentVersions })
        }
        None => Ok(()),
    }
}
