//! Random calls against the toy: whatever happens in whatever order, no rule is left, each is ended once, and nothing
//! is ready before its rules are there.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use ipnet::IpNet;
use machine::Rng;
use midcom::RequestId;
use sdp::{Ice, MediaFlow};

use super::*;

/// What travels from the middlebox, in order.
enum Wire {
    Reply(RequestId, Result<Reply, Failure>),
    Ended(Prid),
}

fn prid_of(reply: &Reply) -> Option<Prid> {
    match reply {
        Reply::Enabled { prid, .. } | Reply::Reserved { prid, .. } => Some(*prid),
        Reply::Disabled { .. }
        | Reply::Lifetime(_)
        | Reply::Ended
        | Reply::Status(_)
        | Reply::List(_)
        | Reply::Counted(_) => None,
    }
}

/// The side that described itself last, its flows, and those of its peer if it answered.
type Described = (Side, Flows, Option<Flows>);

/// What a flow belongs to on the other side: with ICE on both every candidate, else the first of its stream.
fn counterparts<'p>(flow: &MediaFlow, flows: &Flows, peers: &'p Flows) -> Vec<&'p MediaFlow> {
    let uses_ice = |all: &Flows| all.iter().any(|one| one.stream == flow.stream && one.ice != Ice::None);
    let ice = uses_ice(flows) && uses_ice(peers);
    let counts = |one: &MediaFlow| one.ice.is_candidate() == ice;
    let same = |peer: &&MediaFlow| peer.stream == flow.stream && counts(peer) && !peer.is_held();
    match counts(flow) {
        true => peers.iter().filter(same).take(if ice { 99 } else { 1 }).collect(),
        false => vec![],
    }
}

/// A run: the bench, the wire back to the ledger, and what is known from outside the ledger.
struct Run {
    bench: Bench,
    rng: Rng,
    wire: VecDeque<Wire>,
    confirmed: BTreeSet<Prid>,
    /// How often PLC(0) was asked for each rule.
    closes: BTreeMap<Prid, u32>,
    /// Closes that were answered by a failure or by nothing, so that a repetition is due.
    failed: BTreeMap<Prid, u32>,
    /// Rules that ended without us.
    ended: BTreeSet<Prid>,
    closing: BTreeMap<RequestId, Prid>,
    offer: Option<(Side, Flows)>,
    waits_for: Option<Described>,
    /// The ledger has told of a loss, or may still be about to.
    lost: bool,
    up: bool,
}

const FAILURES: [Failure; 6] = [
    Failure::Conflict,
    Failure::WildcardNotSupported,
    Failure::NoResources,
    Failure::NotAuthorizedForTransaction,
    Failure::NoSuchGroup,
    Failure::Timeout,
];

impl Run {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::from_number(seed);
        let sources = [SourcePolicy::Strict, SourcePolicy::Address, SourcePolicy::Realm];
        let mut terms = terms(sources[rng.below(3) as usize]);
        if rng.percent(30) {
            terms.realms.b = realm(&["10.0.0.0/25", "10.0.0.128/25"], terms.realms.b.source);
        }
        let can = &mut terms.path[0].capabilities;
        can.internal_wildcards = rng.percent(80);
        can.port_wildcards = rng.percent(90);
        terms.reserve = rng.percent(50);
        terms.hold = if rng.percent(50) { OnHold::Close } else { OnHold::Keep };
        Self {
            bench: Bench::with(terms),
            rng,
            wire: VecDeque::new(),
            confirmed: BTreeSet::new(),
            closes: BTreeMap::new(),
            failed: BTreeMap::new(),
            ended: BTreeSet::new(),
            closing: BTreeMap::new(),
            offer: None,
            waits_for: None,
            lost: false,
            up: true,
        }
    }

    /// Takes in what the ledger asked, and counts the closes. Without a session each request fails at once.
    fn look(&mut self) {
        let from = self.bench.open.len();
        self.bench.asked();
        for request in &self.bench.open[from..] {
            if let Request::Lifetime { prid, lifetime: Lifetime::END } = request.request {
                *self.closes.entry(prid).or_default() += 1;
                self.closing.insert(request.id, prid);
            }
        }
        if !self.up {
            for request in std::mem::take(&mut self.bench.open) {
                self.wire.push_back(Wire::Reply(request.id, Err(Failure::NoSession)));
            }
        }
    }

    /// The middlebox works on the oldest request, not always kindly.
    fn work(&mut self, kindly: bool) {
        self.look();
        if self.bench.open.is_empty() {
            return;
        }
        let request = self.bench.open.remove(0);
        let result = match kindly || self.rng.percent(85) {
            true => self.bench.toy.answer(self.bench.now, &request.request),
            false => match FAILURES[self.rng.below(6) as usize] {
                // It may have done what it was asked all the same.
                Failure::Timeout => {
                    let done =
                        self.rng.percent(50).then(|| self.bench.toy.answer(self.bench.now, &request.request));
                    let made = done.and_then(Result::ok).and_then(|reply| prid_of(&reply));
                    // A rule whose confirmation never comes ends by its lifetime.
                    self.ended.extend(made);
                    Err(Failure::Timeout)
                }
                failure => Err(failure),
            },
        };
        self.wire.push_back(Wire::Reply(request.id, result));
    }

    /// The ledger hears the oldest message.
    fn deliver(&mut self) {
        match self.wire.pop_front() {
            None => {}
            Some(Wire::Ended(prid)) => match self.bench.event(prid.0, 0) {
                EventEffect::Ignored | EventEffect::Extended => {}
                EventEffect::Lost(_) => self.lost = true,
            },
            Some(Wire::Reply(id, result)) => self.deliver_reply(id, result),
        }
        self.look();
    }

    fn deliver_reply(&mut self, id: RequestId, result: Result<Reply, Failure>) {
        match &result {
            Ok(reply) => self.confirmed.extend(prid_of(reply)),
            Err(_) => {
                if let Some(prid) = self.closing.get(&id) {
                    *self.failed.entry(*prid).or_default() += 1;
                }
            }
        }
        let Bench { ledger, now, ids, out, .. } = &mut self.bench;
        match ledger.replied(*now, id, result, ids, out) {
            Progress::Ready => self.is_ready(),
            Progress::Failed(..) => self.waits_for = None,
            Progress::Lost(_) => self.lost = true,
            Progress::Pending | Progress::Stale | Progress::StaysWide(..) | Progress::Closed => {}
        }
    }

    /// The message may go on: is everything open that it needs?
    fn is_ready(&mut self) {
        let Some((by, flows, peers)) = self.waits_for.take() else {
            return;
        };
        // What is over but not yet told cannot be seen by the ledger.
        let untold = self.wire.iter().any(|message| matches!(message, Wire::Ended(_)));
        if self.lost || untold || !self.up {
            return;
        }
        for flow in flows.iter().filter(|flow| !flow.is_held()) {
            let Some(peers) = &peers else {
                assert!(
                    flow.ice == Ice::Default
                        || self.is_silent(flow, None)
                        || self.leads_to(by, flow.destination(), None)
                        || self.is_reserved(by, flow.stream)
                );
                continue;
            };
            for peer in counterparts(flow, &flows, peers) {
                assert!(
                    self.is_silent(flow, Some(peer))
                        || self.leads_to(by, flow.destination(), Some(peer.address.into())),
                    "{flow} from {peer}"
                );
                assert!(
                    self.is_silent(peer, Some(flow))
                        || self.leads_to(by.other(), peer.destination(), Some(flow.address.into())),
                    "{peer} from {flow}"
                );
            }
        }
    }

    /// True if the rule for the media that `to` would receive may be closed.
    fn is_silent(&self, to: &MediaFlow, from: Option<&MediaFlow>) -> bool {
        let silent = !to.direction.receives() || from.is_some_and(|from| !from.direction.sends());
        silent && self.bench.ledger.terms.hold == OnHold::Close
    }

    fn is_reserved(&self, toward: Side, stream: u16) -> bool {
        let here = |rule: &RuleInfo| rule.toward == toward && rule.stream == stream;
        self.bench.ledger.rules().any(|rule| here(&rule) && rule.state == RuleState::Reserved)
    }

    /// Whether the middlebox, not the ledger, has a rule that lets `source` send there. B is inside.
    fn leads_to(&self, toward: Side, to: std::net::SocketAddr, source: Option<IpNet>) -> bool {
        self.bench.toy.rules.values().filter_map(|rule| rule.enabled).any(|(internal, external)| {
            let (destination, from) =
                if toward == Side::B { (internal, external) } else { (external, internal) };
            destination.network == IpNet::from(to.ip())
                && (destination.port..=destination.last_port()).contains(&to.port())
                && source.is_none_or(|source| from.network.contains(&source))
        })
    }

    /// The session breaks: what was on its way is lost, both ways.
    fn down(&mut self) {
        self.look();
        let mut lost: Vec<RequestId> = self.bench.open.drain(..).map(|request| request.id).collect();
        for message in std::mem::take(&mut self.wire) {
            match message {
                Wire::Reply(id, _) => lost.push(id),
                Wire::Ended(_) => {}
            }
        }
        for id in lost {
            self.wire.push_back(Wire::Reply(id, Err(Failure::SessionLost)));
        }
        while !self.wire.is_empty() {
            self.deliver();
        }
        self.up = false;
        self.bench.ledger.session_down(MiddleboxId(0));
    }

    /// The session is back: the ledger hears what lives, and whoever keeps all ledgers closes the strangers.
    fn up(&mut self) {
        while !self.wire.is_empty() {
            self.deliver();
        }
        self.up = true;
        let known: Vec<_> = self.bench.toy.rules.keys().copied().collect();
        let Bench { ledger, now, ids, out, toy, .. } = &mut self.bench;
        ledger.session_up(*now, MiddleboxId(0), &known, ids, out);
        let ours: BTreeSet<_> = ledger.rules().filter_map(|rule| rule.prid).collect();
        for prid in known.iter().filter(|prid| !ours.contains(prid)) {
            toy.rules.remove(prid);
            self.ended.insert(*prid);
        }
        self.look();
    }

    fn streams(&mut self, base: u64) -> String {
        let mut text = String::new();
        for stream in 0..1 + self.rng.below(3) {
            let port = match self.rng.below(6) {
                0 => 0,
                1 => base + 20 + 2 * stream,
                2 => base + 101 + 2 * stream,
                _ => base + 2 * stream,
            };
            let media = if stream == 0 { "audio" } else { "video" };
            let extra = ["", "", ",mux", ",rtcp=20900", ",sendonly", ",inactive"][self.rng.below(6) as usize];
            let ice = match self.rng.below(8) {
                0 | 1 => format!(",ice={base}"),
                2 => format!(",ice={base},ice={}", base + 40 + 2 * stream),
                _ => String::new(),
            };
            text += &format!("{media}:{port}{extra}{ice} ");
        }
        text
    }

    fn describe(&mut self, by: Side) -> (String, String) {
        let hold = self.rng.percent(10);
        let last = 7 + self.rng.below(2) * 190;
        let (net, base) = if by == Side::A { ("192.0.2", 20000) } else { ("10.0.0", 30000) };
        let address = if hold { "0.0.0.0".to_owned() } else { format!("{net}.{last}") };
        (address, self.streams(base))
    }

    /// A side describes itself to the ledger.
    fn describes(
        &mut self,
        by: Side,
        how: fn(&mut Bench, Side, &str, &str) -> Result<Step, Refusal>,
        answers: bool,
    ) {
        let (address, streams) = self.describe(by);
        let text = description(&address, &streams);
        let flows = sdp::flows(&Session::parse(&text).unwrap()).unwrap();
        let Ok(step) = how(&mut self.bench, by, &address, &streams) else {
            return;
        };
        let peers = match answers {
            true => self.offer.as_ref().filter(|(offerer, _)| *offerer != by).map(|(_, offer)| offer.clone()),
            false => None,
        };
        match (answers, &peers) {
            (false, _) => self.offer = Some((by, flows.clone())),
            (true, None) => self.offer = None,
            (true, Some(_)) => {}
        }
        // An answer to nothing is not looked at here.
        self.waits_for = (!answers || peers.is_some()).then_some((by, flows, peers));
        if step == Step::Ready {
            self.is_ready();
        }
    }

    fn step(&mut self) {
        let by = if self.rng.percent(50) { Side::A } else { Side::B };
        match self.rng.below(20) {
            0 | 1 => self.describes(by, Bench::offered, false),
            2 | 3 => self.describes(by, Bench::answered, true),
            4 => self.describes(by, Bench::preview, true),
            5 => self.exchange_ends(Bench::completed),
            6 => self.exchange_ends(Bench::abandoned),
            7 => {
                let seconds = self.rng.below(200);
                self.tick(seconds);
            }
            8 => self.revoke(),
            9 if self.rng.percent(20) => match self.up {
                true => self.down(),
                false => self.up(),
            },
            9..=14 => self.work(false),
            _ => self.deliver(),
        }
        self.look();
    }

    fn exchange_ends(&mut self, how: fn(&mut Bench)) {
        how(&mut self.bench);
        (self.offer, self.waits_for) = (None, None);
    }

    fn tick(&mut self, seconds: u64) {
        self.bench.now += Duration::from_secs(seconds);
        self.ended.extend(self.bench.toy.expire(self.bench.now));
        while self.bench.tick(0).is_some() {
            self.lost = true;
        }
    }

    /// The middlebox ends a rule by itself.
    fn revoke(&mut self) {
        let count = self.bench.toy.rules.len() as u64;
        let picked = self.bench.toy.rules.keys().nth(self.rng.below(count.max(1)) as usize).copied();
        if let Some(prid) = picked.filter(|_| self.up && self.rng.percent(30)) {
            self.bench.toy.rules.remove(&prid);
            self.ended.insert(prid);
            self.wire.push_back(Wire::Ended(prid));
        }
    }

    /// The call ends, and in the end the middlebox is reachable and kind.
    fn finish(mut self, seed: u64) {
        self.bench.close();
        self.look();
        for _ in 0..40 {
            self.work(false);
            self.deliver();
        }
        if !self.up {
            self.up();
        }
        for _ in 0..310 {
            self.tick(2);
            self.look();
            while !(self.bench.open.is_empty() && self.wire.is_empty()) {
                self.work(true);
                self.deliver();
            }
        }
        assert!(self.bench.ledger.is_closed(), "seed {seed}: {:?}", self.bench.ledger);
        assert!(self.bench.toy.rules.is_empty(), "seed {seed}: forgotten {:?}", self.bench.toy.rules);
        for prid in self.confirmed.iter().filter(|prid| !self.ended.contains(prid)) {
            let closes = self.closes.get(prid).copied().unwrap_or(0);
            let repeated = self.failed.get(prid).copied().unwrap_or(0);
            assert!(closes > 0, "seed {seed}: {prid:?} was never closed");
            assert!(closes <= 1 + repeated, "seed {seed}: {prid:?} closed {closes} times, {repeated} failed");
        }
    }
}

#[test]
fn no_rule_is_ever_forgotten() {
    for seed in 0..3000 {
        let mut run = Run::new(seed);
        for _ in 0..5 + run.rng.below(80) {
            run.step();
        }
        run.finish(seed);
    }
}
