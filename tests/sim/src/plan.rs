//! Everything that is decided before a run: the house, the calls and the faults, all drawn from one seed.
//!
//! Each call, each link and each kind of fault has a generator of its own, so that leaving some of them out
//! ([`Choice`]) changes nothing about the others. That is how a failing seed is made small.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use b2bua::config::{CallPolicy, Crucial, OnHold, PreconditionType, RealmPolicy, Redirect, SessionPolicy};
use b2bua::ledger::SourcePolicy;
use machine::{Instant, Rng};
use middlebox::Nat;
use phone::{Answer, By, Extensions, Named, Oddities};
use sdp::Direction;

use crate::mishaps::{Fault, draw_faults};
use crate::sabotage::Sabotage;
use crate::transfers::Transfer;
use crate::{manners, outside, silence};

/// Which part of a seed's plan is run.
#[derive(Debug, Clone, Default)]
pub struct Choice {
    /// Only these calls, if any are named.
    pub only: Vec<u32>,
    /// None of these faults, by [`Fault::kind`]; `all` leaves out every one, `links` makes the links perfect, `nat` leaves
    /// addresses as they are.
    pub without: Vec<String>,
}

/// What is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What everything was drawn from.
    pub seed: u64,
    /// What does not change during the run.
    pub house: House,
    /// The calls, by number from 1.
    pub calls: Vec<Script>,
    /// What goes wrong, in order.
    pub faults: Vec<(Instant, Fault)>,
    /// From now on nothing new goes wrong and everybody hangs up.
    pub curfew: Instant,
    /// What an engine does though it says that all is well: the observer must see it.
    pub sabotage: Option<Sabotage>,
}

/// What does not change during the run.
#[derive(Debug, Clone)]
pub struct House {
    /// IPv6 instead of IPv4.
    pub v6: bool,
    /// Middleboxes on the path, one or two.
    pub gates: usize,
    /// From where phones outside and inside may receive.
    pub sources: [SourcePolicy; 2],
    /// Whether media may flow before the answer.
    pub early_media: bool,
    /// Lifetime that the agent asks for, in seconds.
    pub rule_lifetime_s: u32,
    /// The longest lifetime a middlebox grants, in seconds.
    pub lifetime_max_s: u32,
    /// Whether next hops are names that must be looked up.
    pub names: bool,
    /// Whether a datagram to a dead process comes back as an ICMP error.
    pub icmp: bool,
    /// How long an engine usually takes.
    pub engine: Duration,
    /// How long octets usually travel between agent and middlebox.
    pub control: Duration,
    /// How many calls the agent takes at a time.
    pub calls_max: usize,
    /// What the agent does in all calls.
    pub policy: CallPolicy,
    /// What it does on the legs outside and inside.
    pub realms: [RealmPolicy; 2],
    /// The outside addresses and ports of the middlebox, if it translates.
    pub nat: Option<Nat>,
}

/// The two ends of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum End {
    /// Who calls.
    Caller,
    /// Who is called.
    Callee,
}

impl End {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Caller, Self::Callee];

    /// The one at the other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Caller => Self::Callee,
            Self::Callee => Self::Caller,
        }
    }
}

/// What one end of a call is like.
#[derive(Debug, Clone)]
pub struct Party {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it wants media at first.
    pub media: SocketAddr,
    /// Where it says that it listens, if not there.
    pub named: Named,
    /// What it can.
    pub extensions: Extensions,
    /// How it misbehaves.
    pub oddities: Oddities,
    /// What lies between it and the agent.
    pub link: Link,
}

/// A way for datagrams, the same in both directions.
#[derive(Debug, Clone, Copy)]
pub struct Link {
    /// Of 100 datagrams so many get lost.
    pub loss: u8,
    /// Of 100 datagrams so many arrive twice.
    pub double: u8,
    /// How long each takes at least.
    pub delay: Duration,
    /// How much longer it may take; more than the pause between two datagrams puts them out of order.
    pub jitter: Duration,
}

/// One call.
#[derive(Debug, Clone)]
pub struct Script {
    /// Its number, from 1.
    pub number: u32,
    /// When the caller dials.
    pub start: Instant,
    /// The caller is outside, the callee inside; or the other way round.
    pub from_outside: bool,
    /// Who calls.
    pub caller: Party,
    /// Who is called.
    pub callee: Party,
    /// What the callee does.
    pub answer: Answer,
    /// Further phones of the callee's side, which its switch calls as well, and what they do.
    pub branches: Vec<(Party, Answer)>,
    /// Another phone of the caller's side, which takes the caller's place so long after the answer.
    pub takeover: Option<(Party, Duration)>,
    /// One end refers the other to somebody.
    pub transfer: Option<Transfer>,
    /// The caller gives up so long after it dialled.
    pub cancel: Option<Duration>,
    /// An end hangs up so long after it saw the answer.
    pub hang_ups: Vec<(End, Duration)>,
    /// An end sends no media any more so long after it saw the answer.
    pub silent: [Option<Duration>; 2],
    /// An end re-offers so long after it saw the answer.
    pub offers: Vec<(End, Duration, Offer)>,
}

impl Script {
    /// What an end is like.
    #[must_use]
    pub fn party(&self, end: End) -> &Party {
        match end {
            End::Caller => &self.caller,
            End::Callee => &self.callee,
        }
    }

    /// Everybody, the caller first.
    pub fn parties(&self) -> impl Iterator<Item = &Party> {
        [&self.caller, &self.callee].into_iter().chain(self.branches.iter().map(|(party, _)| party))
    }

    /// A phone and what it does when it is called: the first of its end, or another of the callee's side.
    #[must_use]
    pub fn phone(&self, end: End, branch: usize) -> (&Party, Answer) {
        if let (End::Caller, 1, Some((party, _))) = (end, branch, &self.takeover) {
            return (party, Answer::Ring);
        }
        match branch.checked_sub(1).and_then(|at| self.branches.get(at)) {
            Some((party, answer)) => (party, *answer),
            None => (self.party(end), self.answer),
        }
    }

    /// Both ends forget the call.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.parties().take(2).all(|party| party.oddities.reboots_after.is_some())
    }

    /// Whether an end is outside.
    #[must_use]
    pub fn is_outside(&self, end: End) -> bool {
        self.from_outside == (end == End::Caller)
    }
}

/// A change of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Offer {
    /// In which request; `None`: a re-INVITE that leaves the offer to the other end.
    pub by: Option<By>,
    /// Where media is wanted from then on; `None`: where it is.
    pub media: Option<SocketAddr>,
    /// Who may send.
    pub direction: Direction,
    /// Where video is wanted, if it is.
    pub video: Option<u16>,
    /// Fax instead of audio.
    pub fax: bool,
}

/// Audio in both directions, where it is.
const PLAIN: Offer = Offer { by: None, media: None, direction: Direction::SendRecv, video: None, fax: false };

/// The networks of the simulated world.
pub mod place {
    use super::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

    /// Host `number` outside or inside.
    #[must_use]
    pub fn host(v6: bool, outside: bool, number: u8) -> IpAddr {
        match (v6, outside) {
            (false, true) => Ipv4Addr::new(203, 0, 113, number).into(),
            (false, false) => Ipv4Addr::new(10, 0, 40, number).into(),
            (true, true) => Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, number.into()).into(),
            (true, false) => Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, number.into()).into(),
        }
    }

    /// Where the agent listens, outside or inside.
    #[must_use]
    pub fn agent(v6: bool, outside: bool) -> SocketAddr {
        SocketAddr::new(host(v6, outside, 1), 5060)
    }

    /// The next hop: whatever arrives there goes to the phone that the Request-URI names.
    #[must_use]
    pub fn switch(v6: bool, outside: bool) -> SocketAddr {
        SocketAddr::new(host(v6, outside, 2), 5060)
    }
}

/// Make the generators of transfers, odd addresses, silence and quirks others than that of the seed.
const TRANSFERS: u64 = 0x7265_6665_7200_0000;
const NAMES: u64 = 0x6e61_6d65_7300_0000;
const SILENCE: u64 = 0x7369_6c65_6e63_6500;
const QUIRKS: u64 = 0x7175_6972_6b73_0000;
/// Hosts with phones on each side; few, so that calls share addresses.
const HOSTS: u64 = 6;
/// Even media ports of each host; few, so that calls use ports again that others have just left.
const PORTS: u64 = 12;

pub(crate) fn millis(rng: &mut Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(from + rng.below(to - from + 1))
}

pub(crate) fn pick<T: Copy>(rng: &mut Rng, choices: &[T]) -> T {
    // Below the length, which fits.
    choices[rng.below(choices.len() as u64) as usize]
}

impl Plan {
    /// What a seed means for so many calls.
    #[must_use]
    pub fn new(seed: u64, calls: u32, choice: &Choice) -> Self {
        let mut rng = Rng::from_number(seed);
        let mut house = House::draw(&mut rng.fork());
        house.policy.media_timeout = silence::timeout(&mut Rng::from_number(seed ^ SILENCE));
        let quiet = rng.percent(10);
        let spread = Duration::from_secs(u64::from(calls) * (1 + rng.below(6)));
        let mut scripts: Vec<Script> =
            (1..=calls).map(|number| Script::draw(&mut rng.fork(), number, &house, spread)).collect();
        for script in &mut scripts {
            let own = u64::from(script.number) << 32;
            script.draw_transfer(&mut Rng::from_number(seed ^ own ^ TRANSFERS), calls);
            script.draw_names(&mut Rng::from_number(seed ^ own ^ NAMES), &house);
            script.draw_silence(&mut Rng::from_number(seed ^ own ^ SILENCE), &house);
            script.draw_quirks(&mut Rng::from_number(seed ^ own ^ QUIRKS));
        }
        let curfew = Instant::ZERO + spread + Duration::from_secs(60 + rng.below(300));
        let mut faults = draw_faults(&mut rng, &house, curfew, u64::from(calls));
        if quiet {
            faults.clear();
        }
        house.nat = outside::draw(seed, &house).filter(|_| !choice.without.iter().any(|one| one == "nat"));
        let without = |kind: &str| choice.without.iter().any(|one| one == kind || one == "all");
        faults.retain(|(_, fault)| !without(fault.kind()));
        scripts.retain(|script| choice.only.is_empty() || choice.only.contains(&script.number));
        let referred: Vec<Script> = scripts.iter().filter_map(|script| script.referred(&house)).collect();
        scripts.extend(referred);
        if quiet || choice.without.iter().any(|one| one == "links") {
            for script in &mut scripts {
                let takeover = script.takeover.iter_mut().map(|(party, _)| party);
                let others = script.branches.iter_mut().map(|(party, _)| party).chain(takeover);
                for party in [&mut script.caller, &mut script.callee].into_iter().chain(others) {
                    (party.link.loss, party.link.double, party.link.jitter) = (0, 0, Duration::ZERO);
                }
            }
        }
        Self { seed, house, calls: scripts, faults, curfew, sabotage: None }
    }

    /// True if nothing goes wrong but what phones do.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let perfect = |party: &Party| party.link.loss == 0;
        self.faults.is_empty() && self.calls.iter().all(|call| perfect(&call.caller) && perfect(&call.callee))
    }
}

impl House {
    fn draw(rng: &mut Rng) -> Self {
        let sources =
            [SourcePolicy::Address, SourcePolicy::Address, SourcePolicy::Strict, SourcePolicy::Realm];
        let sources = [pick(rng, &sources), pick(rng, &sources)];
        let lifetime_max_s = pick(rng, &[60, 600, 600]);
        Self {
            v6: rng.percent(25),
            gates: if rng.percent(20) { 2 } else { 1 },
            sources,
            early_media: !rng.percent(20),
            rule_lifetime_s: pick(rng, &[60, 120, 600, 600]),
            lifetime_max_s,
            names: rng.percent(20),
            icmp: rng.percent(50),
            engine: millis(rng, 0, 20),
            control: millis(rng, 0, 20),
            calls_max: if rng.percent(10) { 6 } else { 10_000 },
            policy: CallPolicy {
                reserve: rng.percent(50),
                hold: if rng.percent(25) { OnHold::Close } else { OnHold::Keep },
                crucial: if rng.percent(25) { Crucial::All } else { Crucial::FirstAudio },
                redirect: if rng.percent(25) { Redirect::Follow { most: 3 } } else { Redirect::Relay },
                media_timeout: None,
            },
            realms: [realm_policy(rng), realm_policy(rng)],
            nat: None,
        }
    }
}

impl House {
    /// Session timers end a call within minutes on one leg at least.
    fn times_sessions(&self) -> bool {
        let soon = |interval: Duration| interval <= Duration::from_secs(120);
        self.realms.iter().any(|realm| realm.session.interval.is_some_and(soon))
    }
}

fn realm_policy(rng: &mut Rng) -> RealmPolicy {
    let (minimum, longest) = (Duration::from_secs(90), pick(rng, &[90, 120, 1800]));
    let interval = rng.percent(50).then_some(Duration::from_secs(longest));
    let types = [None, None, Some(PreconditionType::Fw), Some(PreconditionType::Qos)];
    RealmPolicy {
        precondition: pick(rng, &types),
        session: SessionPolicy { interval, minimum },
        refresh: None,
    }
}

impl Link {
    fn draw(rng: &mut Rng) -> Self {
        let bad = rng.percent(50);
        Self {
            loss: if bad { rng.below(25) as u8 } else { 0 },
            double: if bad { rng.below(20) as u8 } else { 0 },
            delay: millis(rng, 1, 80),
            jitter: if bad { millis(rng, 0, 800) } else { Duration::ZERO },
        }
    }
}

impl Party {
    fn draw(rng: &mut Rng, house: &House, outside: bool, number: u32) -> Self {
        let host = place::host(house.v6, outside, 10 + rng.below(HOSTS) as u8);
        // Both ends of a call listen on a port of their own.
        let port = 10_000 + (number % 10_000) as u16 * 2 + u16::from(outside);
        let (mut extensions, oddities) = (manners::extensions(rng), manners::oddities(rng));
        if extensions != Extensions::default() && rng.percent(20) {
            let other = place::host(house.v6, outside, 10 + rng.below(HOSTS) as u8);
            extensions.shape.ice = Some(media(rng, other));
        }
        let media = media(rng, host);
        // Now and then one names a port that no pinhole may lead to.
        let media = if rng.percent(3) { SocketAddr::new(host, 22) } else { media };
        let (address, named) = (SocketAddr::new(host, port), Named::default());
        Self { address, media, named, extensions, oddities, link: Link::draw(rng) }
    }
}

fn media(rng: &mut Rng, host: IpAddr) -> SocketAddr {
    // Sometimes odd: then RTP and RTCP are no aligned pair.
    let port = 20_000 + 2 * rng.below(PORTS) as u16 + u16::from(rng.percent(5));
    SocketAddr::new(host, port)
}

impl Script {
    pub(crate) fn draw(rng: &mut Rng, number: u32, house: &House, spread: Duration) -> Self {
        let start = Instant::ZERO + millis(rng, 500, 500 + spread.as_millis() as u64);
        let from_outside = rng.percent(50);
        let caller = Party::draw(&mut rng.fork(), house, from_outside, number);
        let mut callee = Party::draw(&mut rng.fork(), house, !from_outside, number);
        if let Some(after) = caller.oddities.reboots_after {
            // A call of which nobody knows any more is ended by session timers only, and not every house has them.
            let both = house.times_sessions() && rng.percent(50);
            callee.oddities.reboots_after = both.then(|| after + millis(rng, 0, 3_000));
            // Nor would a BYE be heard that overtakes the answer.
            callee.oddities.hangs_up_early = false;
        }
        let rings = match rng.below(4) {
            0 => Duration::ZERO,
            1 => millis(rng, 0, 300),
            2 => millis(rng, 0, 5_000),
            _ => millis(rng, 0, 40_000),
        };
        let answer = match rng.below(100) {
            0..=79 => Answer::Accept { after: rings },
            80..=92 => {
                Answer::Reject { status: pick(rng, &[302, 404, 480, 486, 488, 503, 603]), after: rings }
            }
            _ => Answer::Ring,
        };
        let cancel = rng.percent(25).then(|| match rng.below(3) {
            0 => millis(rng, 0, 100),
            1 => millis(rng, 0, 1_000),
            // Close to the answer, so that they cross.
            _ => (rings + millis(rng, 0, 400)).saturating_sub(Duration::from_millis(200)),
        });
        let longest = pick(rng, &[100, 3_000, 30_000, 30_000, 400_000]);
        let mut hang_ups = vec![(pick(rng, &End::BOTH), millis(rng, 0, longest))];
        if rng.percent(10) {
            // Both at the same time.
            let (end, after) = hang_ups[0];
            hang_ups.push((end.other(), after + millis(rng, 0, 100)));
        }
        let mut script = Self {
            number,
            start,
            from_outside,
            caller,
            callee,
            answer,
            branches: Vec::new(),
            takeover: None,
            transfer: None,
            cancel,
            hang_ups,
            silent: [None; 2],
            offers: Vec::new(),
        };
        let mut others = rng.fork();
        if others.percent(12) {
            for branch in 1..=1 + others.below(2) as u16 {
                let other = script.draw_branch(&mut others, house, branch, rings);
                script.branches.push(other);
            }
        }
        let mut others = rng.fork();
        if script.branches.is_empty() && others.percent(6) {
            script.takeover = Some(script.draw_takeover(&mut others, house));
        }
        script.draw_offers(rng, house, longest);
        script.draw_fax(&mut rng.fork(), longest);
        script
    }

    /// A phone that can sends a fax in the middle of the call, and goes back to audio.
    fn draw_fax(&mut self, rng: &mut Rng, longest: u64) {
        let can: Vec<End> =
            End::BOTH.into_iter().filter(|end| self.party(*end).extensions.shape.fax).collect();
        if can.is_empty() || !rng.percent(50) {
            return;
        }
        let (end, after) = (pick(rng, &can), millis(rng, 0, longest));
        let by = Some(By::Invite);
        self.offers.push((end, after, Offer { by, fax: true, ..PLAIN }));
        self.offers.push((end, after + millis(rng, 100, longest + 100), Offer { by, ..PLAIN }));
    }

    fn draw_offers(&mut self, rng: &mut Rng, house: &House, longest: u64) {
        for _ in 0..pick(rng, &[0, 0, 1, 2, 4]) {
            let end = pick(rng, &End::BOTH);
            let host = self.party(end).media.ip();
            let moves = rng.percent(50).then(|| media(rng, host));
            let moves = moves.map(|media| match rng.percent(20) {
                true => SocketAddr::new(
                    place::host(house.v6, self.is_outside(end), 10 + rng.below(HOSTS) as u8),
                    media.port(),
                ),
                false => media,
            });
            let ways = [Direction::SendRecv, Direction::SendOnly, Direction::Inactive, Direction::SendRecv];
            let by =
                pick(rng, &[None, Some(By::Update), Some(By::Update), Some(By::Invite), Some(By::Invite)]);
            let video = self.party(end).extensions.video.filter(|_| rng.percent(50));
            let offer = Offer { by, media: moves, direction: pick(rng, &ways), video, fax: false };
            self.offers.push((end, millis(rng, 0, longest), offer));
            if rng.percent(10) {
                // Glare.
                let by = Some(By::Invite);
                let other = Offer { by, ..PLAIN };
                self.offers.push((end.other(), self.offers[self.offers.len() - 1].1, other));
            }
        }
    }
}

impl Script {
    /// Whoever takes the caller's place. It knows no more than it must: what it offers and when is not drawn.
    fn draw_takeover(&self, rng: &mut Rng, house: &House) -> (Party, Duration) {
        let mut party = Party::draw(rng, house, self.from_outside, self.number);
        party.address.set_port(party.address.port() + 20_000);
        (party.oddities.reboots_after, party.oddities.hangs_up_early) = (None, false);
        (party.extensions.delayed_offer, party.extensions.precondition) = (false, None);
        (party, millis(rng, 0, 20_000))
    }

    /// Another phone of the callee's side. Often it answers at about the time at which the first one does.
    fn draw_branch(&self, rng: &mut Rng, house: &House, branch: u16, rings: Duration) -> (Party, Answer) {
        let mut party = Party::draw(rng, house, !self.from_outside, self.number);
        party.address.set_port(party.address.port() + 20_000 * branch);
        // Who has forgotten the call is asked about the first phone only.
        (party.oddities.reboots_after, party.oddities.hangs_up_early) = (None, false);
        let after = match rng.percent(50) {
            true => rings + millis(rng, 0, 300),
            false => millis(rng, 0, 20_000),
        };
        let answer = match rng.below(10) {
            0..=5 => Answer::Accept { after },
            6..=8 => Answer::Reject { status: pick(rng, &[404, 480, 486, 488, 503]), after },
            _ => Answer::Ring,
        };
        (party, answer)
    }
}

/// The whole plan, as it is printed when a run fails.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}, curfew {}, {:?}", self.seed, self.curfew, self.house)?;
        for (at, fault) in &self.faults {
            writeln!(f, "  {at} {fault:?}")?;
        }
        Ok(())
    }
}
