//! The machine: it is asked about every message before it is parsed, and told of what sources have done.

use std::hash::BuildHasher as _;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use machine::map::{Map, Seeded, Set};
use machine::{Instant, Outbox, Rng};
use sip::transport::{Hop, Protocol};

use crate::ban::{BanInfo, BanReason, Bans};
use crate::config::{Config, Rates};
use crate::event::{Event, Offence, Output, Proof, Verdict, Why};
use crate::glance::{Glance, Kind};
use crate::limits::{EMERGENCIES, EMERGENCIES_PER_SOURCE, LINES_MAX, RESPONSES_PER_REQUEST, SOURCES_MAX};
use crate::rate::Used;
use crate::scanner;
use crate::source::{Source, canonical};
use crate::table::Table;

/// How much of each of its rates a source or realm has used.
#[derive(Debug, Clone, Copy, Default)]
struct Use {
    requests: Used,
    responses: Used,
    calls: Used,
    registrations: Used,
    emergencies: Used,
}

/// What is remembered of a source.
#[derive(Debug, Clone, Copy, Default)]
struct Record {
    used: Use,
    /// Offences since `since` that were surely its own.
    offences: u16,
    since: Instant,
    /// The last refusal of an INVITE over UDP that answered an offence: what its tag hashes to, and that offence.
    told: Option<(u64, Offence)>,
    flood: Used,
}

/// Who may be heard.
#[derive(Debug)]
pub struct Admission {
    config: Config,
    sources: Table<Record>,
    realms: Vec<Use>,
    calls: Map<Source, u32>,
    /// Calls of a source that were answered and acknowledged.
    established: Map<Source, u32>,
    /// Emergency calls of all sources that are not trusted.
    emergencies: Used,
    bans: Bans,
    /// Addresses of next hops: never banned, and without rates of their own.
    trusted: Set<Source>,
    hasher: Seeded,
    /// Lines in the log of what is proven, and of what anybody may have written, which leaves the former their room.
    lines: [Used; 2],
    left_out: u64,
}

impl Admission {
    /// Nobody is known yet.
    #[must_use]
    pub fn new(mut config: Config, rng: &mut Rng) -> Self {
        config.never_ban.iter_mut().for_each(|network| *network = canonical(*network));
        Self {
            sources: Table::new(SOURCES_MAX, rng),
            realms: vec![Use::default(); config.realms.len()],
            calls: Map::with_hasher(Seeded::new(rng)),
            established: Map::with_hasher(Seeded::new(rng)),
            emergencies: Used::default(),
            bans: Bans::new(rng),
            trusted: Set::with_hasher(Seeded::new(rng)),
            hasher: Seeded::new(rng),
            lines: Default::default(),
            left_out: 0,
            config,
        }
    }

    /// Whose hosts are never banned, beside next hops.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Takes the address of a next hop, which is never banned from now on.
    pub fn trust(&mut self, address: IpAddr, out: &mut Outbox<Output>) {
        let source = Source::of(address);
        if self.trusted.insert(source) {
            self.unban(source, out);
        }
    }

    /// Takes the addresses of next hops instead of those there were.
    pub fn trust_only(&mut self, addresses: impl IntoIterator<Item = IpAddr>, out: &mut Outbox<Output>) {
        self.trusted.clear();
        addresses.into_iter().for_each(|address| self.trust(address, out));
    }

    /// True for an address that is never banned.
    #[must_use]
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted.contains(&Source::of(address))
            || self.config.never_ban.iter().any(|network| network.contains(&address))
    }

    /// True for one of whom nothing is heard.
    #[must_use]
    pub fn is_banned(&self, address: IpAddr) -> bool {
        self.bans.has(Source::of(address)) && !self.is_trusted(address)
    }

    /// Says what becomes of a message that arrived in a realm. `knows` tells whether a tag is that of a dialog of ours: nobody
    /// guesses one, so its request is heard however much its source has sent, or somebody in its name.
    pub fn judge(
        &mut self,
        now: Instant,
        (realm, hop): (usize, Hop),
        glance: &Glance<'_>,
        knows: impl FnOnce(&str) -> bool,
        out: &mut Outbox<Output>,
    ) -> Verdict {
        let address = hop.remote.ip();
        let trusted = self.is_trusted(address);
        if !trusted && self.bans.has(Source::of(address)) {
            return Verdict::Drop(Why::Banned);
        }
        let is_proven = hop.protocol != Protocol::Udp;
        match glance.kind {
            Kind::KeepAlive => return self.few(now, address, trusted),
            Kind::Nonsense if trusted => return Verdict::Now,
            Kind::Nonsense => {
                self.offence(now, address, Offence::Nonsense, Proof::of(hop.protocol), out);
                return Verdict::Drop(Why::Nonsense);
            }
            Kind::Response => return self.response(now, address, trusted),
            Kind::Invite | Kind::Register | Kind::Ack | Kind::Other => {}
        }
        let tag = glance.to_tag();
        if glance.kind == Kind::Ack && !is_proven && !trusted {
            self.acknowledged(now, address, tag, out);
        }
        if tag.is_some_and(knows) {
            return Verdict::Now;
        }
        if !trusted
            && let Some(agent) = glance.user_agent()
            && scanner::is_one(agent, &self.config.scanners)
        {
            self.offence(now, address, Offence::Scanner, Proof::of(hop.protocol), out);
            return Verdict::Drop(Why::Scanner);
        }
        // A tag that nobody knows is anything the sender has thought of.
        let is_call = glance.kind == Kind::Invite;
        if is_call && self.is_emergency(glance.uri()) {
            // Whoever floods with them is asked like everybody.
            let used = &mut self.sources.of(Source::of(address)).used.emergencies;
            if trusted || (used.take(now, EMERGENCIES_PER_SOURCE) && self.emergencies.take(now, EMERGENCIES))
            {
                return Verdict::Emergency;
            }
        }
        if !trusted && let Err(verdict) = self.by_source(now, address, glance.kind, is_call) {
            self.flood(now, address, is_proven, out);
            return verdict;
        }
        if let Err(verdict) = self.by_realm(now, realm, glance.kind, is_call) {
            return verdict;
        }
        if is_call { Verdict::NewCall } else { Verdict::Now }
    }

    fn few(&mut self, now: Instant, address: IpAddr, trusted: bool) -> Verdict {
        let rate = self.config.source.requests;
        let passes = trusted || self.sources.of(Source::of(address)).used.requests.take(now, rate);
        if passes { Verdict::Now } else { Verdict::Drop(Why::SourceRequests) }
    }

    fn response(&mut self, now: Instant, address: IpAddr, trusted: bool) -> Verdict {
        let rate = self.config.source.requests.saturating_mul(RESPONSES_PER_REQUEST);
        let passes = trusted || self.sources.of(Source::of(address)).used.responses.take(now, rate);
        if passes { Verdict::Now } else { Verdict::Drop(Why::SourceRequests) }
    }

    fn by_source(&mut self, now: Instant, address: IpAddr, kind: Kind, is_call: bool) -> Result<(), Verdict> {
        let source = Source::of(address);
        let (rates, at_once) = (self.config.source, self.config.calls_at_once);
        let used = &mut self.sources.of(source).used;
        let refuse = |why| Err(Verdict::Refuse(why));
        if !used.requests.take(now, rates.requests) {
            return Err(Verdict::Drop(Why::SourceRequests));
        }
        if kind == Kind::Register && !used.registrations.take(now, rates.registrations) {
            return refuse(Why::SourceRegistrations);
        }
        if is_call && !used.calls.take(now, rates.calls) {
            return refuse(Why::SourceCalls);
        }
        if is_call && at_once > 0 && self.calls.get(&source).is_some_and(|calls| *calls >= at_once) {
            return refuse(Why::SourceCallsAtOnce);
        }
        Ok(())
    }

    fn by_realm(&mut self, now: Instant, realm: usize, kind: Kind, is_call: bool) -> Result<(), Verdict> {
        let Some(rates) = self.config.realms.get(realm).copied().filter(|rates| *rates != Rates::default())
        else {
            return Ok(());
        };
        let Some(used) = self.realms.get_mut(realm) else { return Ok(()) };
        if !used.requests.take(now, rates.requests) {
            return Err(Verdict::Drop(Why::RealmRequests));
        }
        if kind == Kind::Register && !used.registrations.take(now, rates.registrations) {
            return Err(Verdict::Refuse(Why::RealmRegistrations));
        }
        if is_call && !used.calls.take(now, rates.calls) {
            return Err(Verdict::Refuse(Why::RealmCalls));
        }
        Ok(())
    }

    //= RFC 5031 §4.2: urn:service:sos and what is below it.
    fn is_emergency(&self, uri: &[u8]) -> bool {
        let prefix = b"urn:service:sos";
        if uri.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)) {
            return matches!(uri.get(prefix.len()), None | Some(b'.'));
        }
        // Between the scheme and the host, or for tel: the parameters.
        let user = uri.split(|octet| matches!(octet, b':' | b'@' | b';')).nth(1).unwrap_or_default();
        self.config.emergency.iter().any(|number| number.as_bytes() == user)
    }

    /// Whoever acknowledges a refusal has received it: the INVITE that it answers was its own. What else has come in its name
    /// may still be somebody else's.
    fn acknowledged(&mut self, now: Instant, address: IpAddr, tag: Option<&str>, out: &mut Outbox<Output>) {
        let Some(hash) = tag.map(|tag| self.hasher.hash_one(tag)) else { return };
        let Some(record) = self.sources.known(Source::of(address)) else { return };
        if let Some((_, what)) = record.told.take_if(|(told, _)| *told == hash) {
            self.offence(now, address, what, Proof::Given, out);
        }
    }

    /// A source has done something that honest ones seldom do. Only what it has surely done itself is counted.
    pub fn offence(
        &mut self,
        now: Instant,
        address: IpAddr,
        what: Offence,
        proof: Proof<'_>,
        out: &mut Outbox<Output>,
    ) {
        if self.is_trusted(address) {
            return;
        }
        let source = Source::of(address);
        self.say(now, Event::Rejected { address, what, proven: proof == Proof::Given }, out);
        match proof {
            Proof::Given => self.count(now, source, what, out),
            Proof::Asked(tag) => {
                let hash = self.hasher.hash_one(tag);
                self.sources.of(source).told = Some((hash, what));
            }
            Proof::None => {}
        }
    }

    fn count(&mut self, now: Instant, source: Source, what: Offence, out: &mut Outbox<Output>) {
        let Some(ban) = self.config.ban else { return };
        let record = self.sources.of(source);
        if record.since + ban.within < now {
            (record.offences, record.since) = (0, now);
        }
        record.offences = record.offences.saturating_add(1);
        let offences = record.offences;
        // Whoever talks stays: its call would lose its BYE, and an attacker is kept to its rates.
        if offences < ban.offences || self.bans.has(source) || self.established.contains_key(&source) {
            return;
        }
        record.offences = 0;
        self.put(now, source, ban.lasts, BanReason::Offences(offences, what), out);
    }

    /// Whoever sends more than its rates allow is kept to them, and named once a second: an office behind one address may do so.
    fn flood(&mut self, now: Instant, address: IpAddr, proven: bool, out: &mut Outbox<Output>) {
        if self.sources.of(Source::of(address)).flood.take_burst(now, 1, 1) {
            self.say(now, Event::Rejected { address, what: Offence::Flood, proven }, out);
        }
    }

    fn say(&mut self, now: Instant, event: Event, out: &mut Outbox<Output>) {
        let lines = &mut self.lines[usize::from(matches!(event, Event::Rejected { proven: false, .. }))];
        if !lines.take_burst(now, LINES_MAX, LINES_MAX) {
            self.left_out += 1;
            return;
        }
        if self.left_out > 0 {
            out.push(Output::Event(Event::LeftOut(std::mem::take(&mut self.left_out))));
        }
        out.push(Output::Event(event));
    }

    fn put(
        &mut self,
        now: Instant,
        source: Source,
        lasts: Duration,
        why: BanReason,
        out: &mut Outbox<Output>,
    ) {
        if !self.bans.put(now, source, lasts, why) {
            return self.say(now, Event::NoRoom(source), out);
        }
        out.push(Output::Event(Event::Banned { source, lasts, why }));
        out.push(Output::Ban(source, lasts));
    }

    /// Bans a source because the operator says so, or because the kernel knew of it.
    ///
    /// # Errors
    /// A network that is never banned and has a part in the source.
    pub fn ban(
        &mut self,
        now: Instant,
        address: IpAddr,
        lasts: Duration,
        why: BanReason,
        out: &mut Outbox<Output>,
    ) -> Result<Source, IpNet> {
        let source = Source::of(address);
        if let Some(spared) = source.part_of(self.config.never_ban.iter().copied()) {
            return Err(spared);
        }
        if self.trusted.contains(&source) {
            return Err(source.network());
        }
        self.put(now, source, lasts, why, out);
        Ok(source)
    }

    /// Ends a ban; false if there is none.
    pub fn unban(&mut self, source: Source, out: &mut Outbox<Output>) -> bool {
        let was_banned = self.bans.remove(source);
        if was_banned {
            out.push(Output::Unban(source));
            out.push(Output::Event(Event::Unbanned(source)));
        }
        was_banned
    }

    /// Ends what is over; the kernel's own ends by itself.
    pub fn handle_timeout(&mut self, now: Instant, out: &mut Outbox<Output>) {
        while let Some(source) = self.bans.pop(now) {
            out.push(Output::Event(Event::Unbanned(source)));
        }
    }

    /// When [`Admission::handle_timeout`] is next worth calling.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Instant> {
        self.bans.next_timeout()
    }

    /// All bans, in the order of their sources.
    #[must_use]
    pub fn bans(&self) -> Vec<BanInfo> {
        self.bans.list()
    }

    /// How many sources are remembered.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.sources.len()
    }

    /// A call from there has begun.
    pub fn call_began(&mut self, address: IpAddr) {
        *self.calls.entry(Source::of(address)).or_default() += 1;
    }

    /// It was answered, and its ACK has come.
    pub fn call_established(&mut self, address: IpAddr) {
        *self.established.entry(Source::of(address)).or_default() += 1;
    }

    /// A call from there is over.
    pub fn call_ended(&mut self, address: IpAddr, was_established: bool) {
        let source = Source::of(address);
        less(&mut self.calls, source);
        if was_established {
            less(&mut self.established, source);
        }
    }
}

fn less(counts: &mut Map<Source, u32>, source: Source) {
    let Some(count) = counts.get_mut(&source) else { return };
    *count = count.saturating_sub(1);
    if *count == 0 {
        counts.remove(&source);
    }
}

#[cfg(test)]
mod tests;
