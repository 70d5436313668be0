//! Random calls against the toy: whatever happens in whatever order, no rule is left, and each is ended once.

use std::collections::{BTreeMap, BTreeSet};

use machine::Rng;
use midcom::RequestId;

use super::*;

/// A run: the bench, and what was confirmed to the ledger.
struct Run {
    bench: Bench,
    rng: Rng,
    confirmed: BTreeSet<Prid>,
    /// How often PLC(0) was asked for each rule.
    closes: BTreeMap<Prid, u32>,
    /// Closes that were answered by a failure, so that a repetition is due.
    failed: BTreeMap<Prid, u32>,
    /// Rules that ended without us.
    revoked: BTreeSet<Prid>,
    closing: BTreeMap<RequestId, Prid>,
}

const FAILURES: [Failure; 6] = [
    Failure::Conflict,
    Failure::WildcardNotSupported,
    Failure::NoResources,
    Failure::NotAuthorizedForTransaction,
    Failure::NoSuchGroup,
    Failure::ConfigurationFailed,
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
        let (confirmed, revoked) = (BTreeSet::new(), BTreeSet::new());
        let (closes, failed, closing) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { bench: Bench::with(terms), rng, confirmed, closes, failed, revoked, closing }
    }

    /// Takes in what the ledger asked, and counts the closes.
    fn look(&mut self) {
        let from = self.bench.open.len();
        self.bench.asked();
        for request in &self.bench.open[from..] {
            if let Request::Lifetime { prid, lifetime: Lifetime::END } = request.request {
                *self.closes.entry(prid).or_default() += 1;
                self.closing.insert(request.id, prid);
            }
        }
    }

    /// Answers one of the open requests, not always the oldest, not always kindly.
    fn answer(&mut self, kindly: bool) {
        self.look();
        if self.bench.open.is_empty() {
            return;
        }
        let index = self.rng.below(self.bench.open.len() as u64) as usize;
        let request = self.bench.open.remove(index);
        let result = match kindly || self.rng.percent(80) {
            true => self.bench.toy.answer(&request.request),
            false => Err(FAILURES[self.rng.below(6) as usize]),
        };
        match &result {
            Ok(Reply::Enabled { prid, .. } | Reply::Reserved { prid, .. }) => {
                self.confirmed.insert(*prid);
            }
            Ok(_) => {}
            Err(_) => {
                if let Some(prid) = self.closing.get(&request.id) {
                    *self.failed.entry(*prid).or_default() += 1;
                }
            }
        }
        let Bench { ledger, now, ids, out, .. } = &mut self.bench;
        let progress = ledger.replied(*now, request.id, result, ids, out);
        if progress == Progress::Ready {
            self.everything_awaited_is_there();
        }
    }

    /// After Ready each rule that serves the open exchange is alive at the middlebox.
    fn everything_awaited_is_there(&self) {
        for rule in self.bench.ledger.rules() {
            if matches!(rule.state, RuleState::Enabled | RuleState::Reserved) {
                let prid = rule.prid.unwrap();
                assert!(self.bench.toy.rules.contains_key(&prid), "{prid:?}");
            }
        }
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
            let extra = ["", "", ",mux", ",rtcp=20900"][self.rng.below(4) as usize];
            text += &format!("{media}:{port}{extra} ");
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

    fn step(&mut self) {
        let by = if self.rng.percent(50) { Side::A } else { Side::B };
        match self.rng.below(14) {
            0 | 1 => {
                let (address, streams) = self.describe(by);
                let _ = self.bench.offered(by, &address, &streams);
            }
            2 | 3 => {
                let (address, streams) = self.describe(by);
                let _ = self.bench.answered(by, &address, &streams);
            }
            4 => {
                let (address, streams) = self.describe(by);
                let _ = self.bench.preview(by, &address, &streams);
            }
            5 => self.bench.completed(),
            6 => self.bench.abandoned(),
            7 => {
                let seconds = self.rng.below(200);
                let _ = self.bench.tick(seconds);
            }
            8 => self.revoke(),
            _ => self.answer(false),
        }
        self.look();
    }

    fn revoke(&mut self) {
        let count = self.bench.toy.rules.len() as u64;
        let picked = self.bench.toy.rules.keys().nth(self.rng.below(count.max(1)) as usize).copied();
        // A confirmed one: an event cannot overtake the reply on one connection.
        if let Some(prid) = picked.filter(|prid| self.confirmed.contains(prid) && self.rng.percent(30)) {
            self.revoked.insert(prid);
            let _ = self.bench.event(prid.0, 0);
        }
    }

    fn finish(mut self, seed: u64) {
        self.bench.close();
        self.look();
        while !self.bench.open.is_empty() {
            let kindly = self.rng.percent(70);
            self.answer(kindly);
            self.look();
        }
        // Failed closes are repeated, and the middlebox is kind at last.
        for _ in 0..300 {
            let _ = self.bench.tick(2);
            self.look();
            while !self.bench.open.is_empty() {
                self.answer(true);
                self.look();
            }
        }
        assert!(self.bench.ledger.is_closed(), "seed {seed}: {:?}", self.bench.ledger);
        assert!(self.bench.toy.rules.is_empty(), "seed {seed}: forgotten {:?}", self.bench.toy.rules);
        for prid in self.confirmed.iter().filter(|prid| !self.revoked.contains(prid)) {
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
        for _ in 0..5 + run.rng.below(60) {
            run.step();
        }
        run.finish(seed);
    }
}
