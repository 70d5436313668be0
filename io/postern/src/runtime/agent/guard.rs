//! Asks admission about every message before anybody parses it, and does what it says: `docs/protection.md`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use admission::{
    Admission, BanReason, Event, Glance, Offence, Output, Proof, Refusal, Source, Verdict, WhenToBan, Why,
};
use b2bua::{B2bua, CallId, Input, LookupId};
use bytes::Bytes;
use ipnet::IpNet;
use machine::{Instant, Outbox, Rng};
use sip::locate::Place;
use sip::message::{Message, Method};
use sip::transport::Hop;

use super::barrier::{Barrier, Found};
use super::settings;
use crate::admin::protocol::{Answer, Ban, BanLine, Bans, bans_socket};
use crate::config::{Config, Host, Then};
use crate::log;

/// How long new calls have the loop for themselves before sockets are read again.
pub(super) const SLICE: Duration = Duration::from_millis(10);
/// What Retry-After says to a source that is too fast.
const RETRY_AFTER_S: u32 = 5;
/// What it says when there is no time: a proxy that keeps to it (RFC 3261 §21.5.4) sends nothing for so long, and there is time again at once.
const RETRY_AFTER_OVERLOAD_S: u32 = 1;
/// Refusals that wait to be sent in one turn; further requests are dropped unanswered.
const REFUSALS_MAX: usize = 4_096;

/// What was kept out since the start.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kept {
    /// Unanswered.
    pub dropped: u64,
    /// With 503.
    pub refused: u64,
    /// Of those, because there was no time.
    pub overload: u64,
}

/// See the module.
pub(super) struct Guard {
    admission: Admission,
    refusal: Refusal,
    backlog: admission::Backlog<(Hop, Bytes)>,
    refusals: VecDeque<(Hop, Bytes)>,
    /// The realms of the listeners, by their numbers.
    realms: Vec<usize>,
    /// Addresses of next hops, by the names that the configuration gives them.
    names: BTreeMap<String, BTreeSet<IpAddr>>,
    lookups: BTreeMap<LookupId, String>,
    /// Whose each call is, and whether it is established.
    calls: BTreeMap<CallId, (IpAddr, bool)>,
    out: Outbox<Output>,
    pub(super) kept: Kept,
    complaint: log::Rarely,
    barrier: Option<Barrier>,
}

impl Guard {
    pub(super) fn new(config: &Config, rng: &mut Rng) -> Self {
        let admission = Admission::new(admission_of(config), rng);
        let mut guard = Self {
            backlog: admission::Backlog::new(admission.config().wait),
            admission,
            refusal: Refusal::new(rng),
            refusals: VecDeque::new(),
            realms: settings::listeners(config).map(|(realm, _)| realm).collect(),
            names: BTreeMap::new(),
            lookups: BTreeMap::new(),
            calls: BTreeMap::new(),
            out: Outbox::new(),
            kept: Kept::default(),
            complaint: log::Rarely::default(),
            barrier: settings::has_own_middlebox(config).then(|| Barrier::new(bans_socket(&config.run_dir))),
        };
        guard.trust(config);
        guard
    }

    /// Next hops are never banned.
    pub(super) fn trust(&mut self, config: &Config) {
        let mut known = std::mem::take(&mut self.names);
        let mut addresses = Vec::new();
        let of_routes = config.routes.iter().flat_map(|route| match &route.then {
            Then::Call { next_hops, .. } => next_hops.as_slice(),
            Then::Registered { .. } | Then::Refuse { .. } => &[],
        });
        for next_hop in of_routes.chain(config.trunks.iter().map(|trunk| &trunk.next_hop)) {
            match &next_hop.host {
                Host::Address(address) => addresses.push(*address),
                Host::Name(name) => {
                    let name = name.to_ascii_lowercase();
                    let found = known.remove(&name);
                    self.names.entry(name).or_insert_with(|| found.unwrap_or_default());
                }
            }
        }
        let found = self.names.values().flatten().copied();
        self.admission.trust_only(addresses.into_iter().chain(found), &mut self.out);
    }

    /// A name is being looked up.
    pub(super) fn asks(&mut self, id: LookupId, host: &str) {
        let name = host.to_ascii_lowercase();
        if self.names.contains_key(&name) {
            self.lookups.insert(id, name);
        }
    }

    /// It was found.
    pub(super) fn found(&mut self, id: LookupId, places: &[Place]) {
        let name = self.lookups.remove(&id);
        let Some(addresses) = name.and_then(|name| self.names.get_mut(&name)) else { return };
        for address in places.iter().map(|place| place.address.ip()) {
            addresses.insert(address);
            self.admission.trust(address, &mut self.out);
        }
    }

    /// True for one whose connections are not taken.
    pub(super) fn is_banned(&self, address: IpAddr) -> bool {
        self.admission.is_banned(address)
    }

    /// A message has arrived; given back if it goes on at once.
    pub(super) fn hear(&mut self, now: Instant, hop: Hop, bytes: Bytes, machine: &B2bua) -> Option<Input> {
        let realm = self.realms.get(usize::from(hop.listener.0)).copied().unwrap_or(usize::MAX);
        let glance = Glance::of(&bytes);
        if self.refusal.is_acknowledged_by(&glance) {
            return None;
        }
        let knows = |tag: &str| machine.knows_tag(tag);
        match self.admission.judge(now, (realm, hop), &glance, knows, &mut self.out) {
            Verdict::Now | Verdict::Emergency => return Some(Input::Message { hop, bytes }),
            Verdict::NewCall => {
                let is_trusted = self.admission.is_trusted(hop.remote.ip());
                if let Err((hop, bytes)) = self.backlog.push(now, is_trusted, (hop, bytes)) {
                    return self.refuse(hop, bytes, Why::Overload, machine);
                }
            }
            Verdict::Drop(_) => self.kept.dropped += 1,
            Verdict::Refuse(why) => return self.refuse(hop, bytes, why, machine),
        }
        None
    }

    /// Answers a request 503; given back if it repeats one that has been taken, which is answered as that was: a 503 would end
    /// a call that rings.
    fn refuse(&mut self, hop: Hop, bytes: Bytes, why: Why, machine: &B2bua) -> Option<Input> {
        if self.refusals.len() >= REFUSALS_MAX {
            self.kept.dropped += 1;
            return None;
        }
        let request = Message::parse(bytes.clone()).ok();
        if request.as_ref().is_some_and(|request| machine.is_repeated(request)) {
            return Some(Input::Message { hop, bytes });
        }
        if why == Why::Overload {
            self.kept.overload += 1;
            self.complaint.warn(format_args!("overload: no time for new calls, they are answered 503"));
        }
        self.kept.refused += 1;
        let retry_after_s = if why == Why::Overload { RETRY_AFTER_OVERLOAD_S } else { RETRY_AFTER_S };
        if let Some(answer) = request.and_then(|request| self.refusal.answer(hop, request, retry_after_s)) {
            // Everybody knows the tag of refusals: whoever acknowledges one proves nothing.
            self.refusals.push_back((hop, answer));
        }
        None
    }

    /// The next refusal to be sent.
    pub(super) fn refusal(&mut self) -> Option<(Hop, Bytes)> {
        self.refusals.pop_front()
    }

    /// The new call whose turn it is; those for which it is too late are refused.
    pub(super) fn next_call(&mut self, now: Instant, machine: &B2bua) -> Option<Input> {
        loop {
            let input = match self.backlog.pop(now)? {
                Ok((hop, bytes)) => Some(Input::Message { hop, bytes }),
                Err((hop, bytes)) => self.refuse(hop, bytes, Why::Overload, machine),
            };
            if input.is_some() {
                return input;
            }
        }
    }

    /// True while new calls wait.
    pub(super) fn is_behind(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Something has happened to a call or a request.
    pub(super) fn observe(&mut self, now: Instant, event: &b2bua::Event) {
        match event {
            b2bua::Event::Started { call, hop, .. } => {
                let address = hop.remote.ip();
                self.calls.insert(*call, (address, false));
                self.admission.call_began(address);
            }
            b2bua::Event::Established { call } => {
                if let Some((address, is_established @ false)) = self.calls.get_mut(call) {
                    *is_established = true;
                    self.admission.call_established(*address);
                }
            }
            b2bua::Event::Ended { call } => {
                if let Some((address, was_established)) = self.calls.remove(call) {
                    self.admission.call_ended(address, was_established);
                }
            }
            b2bua::Event::Offended { hop, what, told } => self.offended(now, *hop, *what, told.as_deref()),
            // Whoever is asked for credentials is told 401; these were wrong.
            b2bua::Event::AnsweredAlone { hop, message, .. }
                if message.status == 403 && message.method == Method::Register =>
            {
                self.offended(now, *hop, Offence::Authentication, None);
            }
            _nothing_of_a_source => {}
        }
    }

    fn offended(&mut self, now: Instant, hop: Hop, what: Offence, told: Option<&str>) {
        let proof = match (Proof::of(hop.protocol), told) {
            (Proof::None, Some(tag)) => Proof::Asked(tag),
            (proof, _) => proof,
        };
        self.admission.offence(now, hop.remote.ip(), what, proof, &mut self.out);
    }

    /// What the kernel bans, when the half that asks it is there or there again.
    pub(super) async fn kernel(&mut self) -> Option<Found> {
        match &mut self.barrier {
            Some(barrier) => barrier.found().await,
            None => std::future::pending().await,
        }
    }

    /// Tells the kernel what it does not know, and takes over what it knew before this half began.
    pub(super) fn agree(&mut self, now: Instant, found: &Found) {
        for ban in self.admission.bans() {
            let known = found.iter().any(|(source, _)| *source == ban.source.network());
            if let Some(barrier) = self.barrier.as_ref().filter(|_| !known) {
                barrier.ban(ban.source, ban.until.since(now));
            }
        }
        for (source, remaining) in found {
            if self.admission.is_banned(source.addr()) {
                continue;
            }
            let why = BanReason::Before;
            if self.admission.ban(now, source.addr(), *remaining, why, &mut self.out).is_err()
                && let Some(barrier) = &self.barrier
            {
                barrier.unban(Source::of(source.addr()));
            }
        }
    }

    /// `postern bans`.
    pub(super) fn bans(&self, now: Instant) -> Bans {
        let line = |ban: admission::BanInfo| BanLine {
            source: ban.source.network(),
            remaining_s: ban.until.since(now).as_secs(),
            why: reason(ban.why),
            packets: None,
        };
        Bans { bans: self.admission.bans().into_iter().map(line).collect() }
    }

    /// `postern ban`.
    pub(super) fn ban(&mut self, now: Instant, asked: Ban) -> Answer {
        let lasts = Duration::from_secs(asked.lasts_s);
        match self.admission.ban(now, asked.source.addr(), lasts, BanReason::Operator, &mut self.out) {
            Ok(source) => Answer::of(&BanLine {
                source: source.network(),
                remaining_s: asked.lasts_s,
                why: reason(BanReason::Operator),
                packets: None,
            }),
            Err(spared) => Answer::Error(format!(
                "{}: {spared} is never banned (`never-ban` of [protection], a next hop or a trunk)",
                asked.source.addr()
            )),
        }
    }

    /// `postern unban`.
    pub(super) fn unban(&mut self, source: IpNet) -> Answer {
        let source = Source::of(source.addr());
        match self.admission.unban(source, &mut self.out) {
            true => Answer::of(&source.network()),
            false => Answer::Error(format!("{source} is not banned (`postern bans` lists who is)")),
        }
    }

    /// When a ban ends.
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.admission.next_timeout()
    }

    /// Ends what is over, and says what has happened.
    pub(super) fn turn(&mut self, now: Instant) {
        if self.admission.next_timeout().is_some_and(|at| at <= now) {
            self.admission.handle_timeout(now, &mut self.out);
        }
        for output in self.out.drain() {
            match output {
                Output::Event(event) => say(&event),
                Output::Ban(source, lasts) => {
                    if let Some(barrier) = &self.barrier {
                        barrier.ban(source, lasts);
                    }
                }
                Output::Unban(source) => {
                    if let Some(barrier) = &self.barrier {
                        barrier.unban(source);
                    }
                }
            }
        }
    }
}

/// The lines that `docs/protection.md` promises to fail2ban.
fn say(event: &Event) {
    match event {
        Event::Rejected { address, what, proven } => log::info(format_args!(
            "rejected source={address} proven={} why={}",
            if *proven { "yes" } else { "no" },
            what.word()
        )),
        Event::LeftOut(count) => log::info(format_args!("rejected {count} more, which were left out here")),
        Event::Banned { source, lasts, why } => {
            let why = reason(*why);
            log::info(format_args!("banned source={source} for={}s why={why}", lasts.as_secs()));
        }
        Event::NoRoom(source) => log::warn(format_args!(
            "no room: source={source} is not banned, there are {} bans already",
            admission::limits::BANS_MAX
        )),
        Event::Unbanned(source) => log::info(format_args!("unbanned source={source}")),
    }
}

/// Why a source is banned, in a word.
pub(super) fn reason(why: BanReason) -> String {
    match why {
        BanReason::Offences(count, last) => format!("{} ({count} offences)", last.word()),
        BanReason::Operator => "operator".into(),
        BanReason::Before => "before".into(),
    }
}

fn admission_of(config: &Config) -> admission::Config {
    let from = &config.protection;
    let trunks = config.trunks.iter().flat_map(|trunk| &trunk.addresses);
    let rates = |rates: &crate::config::Rates| admission::Rates {
        requests: rates.requests.into(),
        calls: rates.calls.into(),
        registrations: rates.registrations.into(),
    };
    admission::Config {
        source: rates(&from.source),
        calls_at_once: from.calls_at_once,
        realms: config.realms.iter().map(|realm| rates(&realm.rates)).collect(),
        never_ban: from.never_ban.iter().chain(trunks).copied().collect(),
        ban: from.ban_for.map(|lasts| WhenToBan {
            offences: u16::try_from(from.offences).unwrap_or(u16::MAX),
            within: from.within,
            lasts,
        }),
        scanners: from.scanners.clone(),
        emergency: from.emergency.clone(),
        wait: from.wait,
    }
}
