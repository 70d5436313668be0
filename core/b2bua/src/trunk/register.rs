//! A trunk is told where we are: RFC 3261 §10.2, and again before it forgets. A trunk that does not listen is asked more and more
//! rarely (RFC 5626 §4.5).
//!
//! ```text
//!            .--------- 423: with a longer time, once --------.
//!            V                                                |
//!  Due --> Looking --places--> Asked --2xx--> Registered --3/4 of the time--> Due
//!            '--none--.          '--failure, silence: the next place, or none left--.
//!                     V                                                             V
//!                   Due after a pause <---------------------------------------------'        shutdown: Expires 0
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use machine::{Instant, Outbox, Rng};
use sip::endpoint::{ClientFailure, ClientKey};
use sip::locate::Place;
use sip::message::{Builder, CSeq, Message, Method, Name};
use sip::transport::Hop;

use super::Trunks;
use super::config::{Register, Trunk, TrunkId};
use super::words::words;
use crate::b2bua::{B2bua, Service};
use crate::config::{Config, Host};
use crate::context::Context;
use crate::event::Event;
use crate::info::{TrunkInfo, TrunkState};
use crate::io::Output;
use crate::limits::{REFRESH_MIN, REGISTER_PAUSE, REGISTER_PAUSE_MAX, REGISTERED_MAX_S};
use crate::route;
use crate::tag::{Tag, call_id};

/// What a trunk knows of us.
#[derive(Debug, Clone)]
pub(super) struct Registering {
    //= RFC 3261 §10.2: all have one Call-ID, and numbers that rise.
    call_id: Box<str>,
    tag: Tag,
    cseq: u32,
    /// How long it is asked to remember us, in seconds.
    wanted_s: u32,
    failures: u32,
    /// Why the last attempt failed.
    why: Box<str>,
    step: Step,
    granted: Option<Granted>,
}

#[derive(Debug, Clone)]
enum Step {
    /// The next attempt is due; `None`: as soon as possible.
    Due(Option<Instant>),
    /// The name service is asked.
    Looking,
    /// The trunk is.
    Asked(Asked),
    /// It has been told that we go.
    Over,
}

#[derive(Debug, Clone)]
struct Asked {
    key: ClientKey,
    hop: Hop,
    /// Other places that have not been tried.
    spare: VecDeque<Hop>,
    /// It has said that the time was too short.
    prolonged: bool,
    /// It is told that we go.
    leaves: bool,
}

/// What it has agreed to.
#[derive(Debug, Clone, Copy)]
struct Granted {
    hop: Hop,
    until: Instant,
}

impl Registering {
    fn new(shard: u8, register: &Register, rng: &mut Rng) -> Self {
        Self {
            call_id: call_id(shard, rng).into(),
            tag: Tag::mint(shard, rng),
            cseq: 0,
            wanted_s: seconds(register.expires),
            failures: 0,
            why: "".into(),
            step: Step::Due(None),
            granted: None,
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let due = match self.step {
            Step::Due(at) => Some(at.unwrap_or(Instant::ZERO)),
            Step::Looking | Step::Asked(_) | Step::Over => None,
        };
        due.into_iter().chain(self.granted.map(|granted| granted.until)).min()
    }

    pub(super) fn is_quiet(&self) -> bool {
        match self.step {
            Step::Due(_) | Step::Over => true,
            Step::Looking | Step::Asked(_) => false,
        }
    }
}

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(REGISTERED_MAX_S).min(REGISTERED_MAX_S)
}

impl Trunks {
    /// True if a trunk has been told where we are, at the address of a hop.
    /// Where a trunk knows us.
    pub(super) fn granted_at(&self, id: TrunkId) -> Option<Hop> {
        Some(self.registering.get(&id)?.granted?.hop)
    }

    fn asked(&mut self, key: ClientKey) -> Option<(TrunkId, &mut Registering)> {
        let is_it = |it: &Registering| matches!(&it.step, Step::Asked(asked) if asked.key == key);
        self.registering.iter_mut().find(|(_, it)| is_it(it)).map(|(id, it)| (*id, it))
    }

    pub(super) fn next_cseq(&mut self, key: ClientKey) -> Option<u32> {
        let (_, it) = self.asked(key)?;
        it.cseq += 1;
        Some(it.cseq)
    }

    pub(super) fn rename(&mut self, key: ClientKey, new: ClientKey) {
        if let Some((_, Registering { step: Step::Asked(asked), .. })) = self.asked(key) {
            asked.key = new;
        }
    }
}

impl B2bua {
    /// How it is with each trunk, in the order of the configuration.
    pub fn trunks(&self) -> impl Iterator<Item = TrunkInfo> + '_ {
        (0..).map(TrunkId).zip(&self.config.trunks).map(|(id, trunk)| {
            let it = self.shared.trunks.registering.get(&id);
            let state = match (trunk.register.is_some(), it) {
                (false, _) => TrunkState::Unregistered,
                (true, Some(Registering { granted: Some(Granted { hop, until }), .. })) => {
                    TrunkState::Registered { hop: *hop, until: *until }
                }
                (true, Some(Registering { failures: 1.., step: Step::Due(Some(again)), .. })) => {
                    TrunkState::Failed { again: *again }
                }
                (true, _) => TrunkState::Registering,
            };
            TrunkInfo {
                name: trunk.name.clone(),
                realm: trunk.realm,
                user: trunk.user.clone(),
                domain: trunk.domain.clone(),
                state,
                why: it.map_or_else(String::new, |it| it.why.to_string()),
            }
        })
    }

    /// When a trunk is to be told something.
    pub(crate) fn next_registration(&self) -> Option<Instant> {
        if self.service != Service::Open {
            return None;
        }
        let is_new = |id: TrunkId, trunk: &Trunk| {
            trunk.register.is_some() && !self.shared.trunks.registering.contains_key(&id)
        };
        let mut trunks = (0..).map(TrunkId).zip(&self.config.trunks);
        let new = trunks.any(|(id, trunk)| is_new(id, trunk)).then_some(Instant::ZERO);
        new.or_else(|| self.shared.trunks.next_timeout())
    }

    /// Tells trunks what they are to be told by now.
    pub(crate) fn register_with_trunks(&mut self, now: Instant, out: &mut Outbox<Output>) {
        if self.next_registration().is_none_or(|at| at > now) {
            return;
        }
        for (id, trunk) in (0..).map(TrunkId).zip(&self.config.trunks.clone()) {
            let Some(register) = &trunk.register else { continue };
            let (shard, shared) = (self.config.shard, &mut self.shared);
            let it = shared.trunks.registering.entry(id);
            let it = it.or_insert_with(|| Registering::new(shard, register, &mut shared.rng));
            let is_due = matches!(it.step, Step::Due(at) if at.is_none_or(|at| at <= now));
            if it.granted.take_if(|granted| granted.until <= now).is_some() {
                self.context(now, out).event(Event::TrunkForgets { trunk: id });
            }
            if is_due {
                self.context(now, out).look_for_trunk(id, trunk);
            }
        }
    }

    /// The name service says where a trunk is.
    pub(crate) fn on_trunk_resolved(
        &mut self,
        now: Instant,
        id: TrunkId,
        places: &[Place],
        out: &mut Outbox<Output>,
    ) {
        let Some(trunk) = self.config.trunk(id).cloned() else { return };
        // At the end nobody waits for the name service.
        let is_looked_for = |it: &Registering| matches!(it.step, Step::Looking);
        if !self.shared.trunks.registering.get(&id).is_some_and(is_looked_for) {
            return;
        }
        let is_secure = places.iter().any(|place| place.protocol.is_secure());
        let name = match &trunk.next_hop.host {
            Host::Name(name) if is_secure => self.shared.names.id(name),
            Host::Name(_) | Host::Address(_) => None,
        };
        let hops = route::hops(&self.config, trunk.realm, places, name);
        let is_open = self.service == Service::Open;
        let mut ctx = self.context(now, out);
        if is_open { ctx.register_at(id, &trunk, hops) } else { ctx.step(id, Step::Over) }
    }

    /// A response to a REGISTER of ours; false if it is to none.
    pub(crate) fn on_trunk_response(
        &mut self,
        now: Instant,
        key: ClientKey,
        message: &Message,
        out: &mut Outbox<Output>,
    ) -> bool {
        let closing = self.service != Service::Open;
        let Some((id, it)) = self.shared.trunks.asked(key) else { return false };
        if message.status() < 200 {
            return true;
        }
        let Step::Asked(asked) = std::mem::replace(&mut it.step, Step::Due(None)) else { return true };
        let Some(trunk) = self.config.trunk(id).cloned() else { return true };
        let mut ctx = self.context(now, out);
        match message.status() {
            _ if asked.leaves => ctx.left(id),
            200..=299 => ctx.registered(id, &trunk, asked.hop, message, closing),
            _ if closing => ctx.step(id, Step::Over),
            //= RFC 3261 §10.2.8: 423 says how long it must be.
            423 if !asked.prolonged => ctx.prolong(id, &trunk, asked, message),
            status => {
                let why = format!("{status} {}", words(message.reason_phrase()));
                let later = message.retry_after().ok().flatten().map(|after| after.delay_s);
                // Who says so knows us: no other place of it would say anything else, and asking often leads to being shut out.
                let is_final = matches!(status, 400..=499 | 502 | 600..=699);
                let spare = if is_final { VecDeque::new() } else { asked.spare };
                ctx.registering_failed(id, &trunk, why, (spare, later, is_final));
            }
        }
        true
    }

    /// A request of ours got no answer; false if it is no REGISTER to a trunk.
    pub(crate) fn on_trunk_silent(
        &mut self,
        now: Instant,
        key: ClientKey,
        why: ClientFailure,
        out: &mut Outbox<Output>,
    ) -> bool {
        self.shared.trunks.abandon(key);
        let closing = self.service != Service::Open;
        let Some((id, it)) = self.shared.trunks.asked(key) else { return false };
        let Step::Asked(asked) = std::mem::replace(&mut it.step, Step::Due(None)) else { return true };
        let Some(trunk) = self.config.trunk(id).cloned() else { return true };
        let mut ctx = self.context(now, out);
        if asked.leaves || closing {
            ctx.step(id, Step::Over);
            return true;
        }
        let why = match why {
            ClientFailure::Timeout => "no answer",
            ClientFailure::Transport => "it cannot be reached",
        };
        ctx.registering_failed(id, &trunk, why.to_owned(), (asked.spare, None, false));
        true
    }

    /// We go: whoever knows us is told so.
    pub(crate) fn leave_trunks(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let ids: Vec<TrunkId> = self.shared.trunks.registering.keys().copied().collect();
        for id in ids {
            let Some(trunk) = self.config.trunk(id).cloned() else { continue };
            let mut ctx = self.context(now, out);
            let Some(it) = ctx.shared.trunks.registering.get_mut(&id) else { continue };
            match (&it.step, it.granted) {
                // Its answer comes first.
                (Step::Asked(_) | Step::Over, _) => {}
                (Step::Due(_) | Step::Looking, Some(granted)) => ctx.leave(id, &trunk, granted.hop),
                (Step::Due(_) | Step::Looking, None) => it.step = Step::Over,
            }
        }
    }
}

impl Context<'_> {
    fn step(&mut self, id: TrunkId, step: Step) {
        if let Some(it) = self.shared.trunks.registering.get_mut(&id) {
            it.step = step;
        }
    }

    fn look_for_trunk(&mut self, id: TrunkId, trunk: &Trunk) {
        let Host::Name(name) = &trunk.next_hop.host else {
            let listener = route::listener(self.config, trunk.realm, &trunk.next_hop);
            let hop = listener.and_then(|listener| route::hop(&trunk.next_hop, listener));
            return self.register_at(id, trunk, hop.into_iter().collect());
        };
        match self.resolve_trunk(id, trunk.realm, &trunk.next_hop, name) {
            true => self.step(id, Step::Looking),
            false => {
                let why = "too many names are being looked up".to_owned();
                self.registering_failed(id, trunk, why, (VecDeque::new(), None, false));
            }
        }
    }

    fn register_at(&mut self, id: TrunkId, trunk: &Trunk, mut hops: Vec<Hop>) {
        let granted = self.shared.trunks.registering.get(&id).and_then(|it| it.granted);
        // The place that knows us is asked first.
        hops.sort_by_key(|hop| granted.is_none_or(|granted| granted.hop.remote != hop.remote));
        self.register_at_next(id, trunk, hops.into(), false);
    }

    fn register_at_next(&mut self, id: TrunkId, trunk: &Trunk, mut hops: VecDeque<Hop>, prolonged: bool) {
        let Some(hop) = hops.pop_front() else {
            let why = "it has no address".to_owned();
            return self.registering_failed(id, trunk, why, (VecDeque::new(), None, false));
        };
        let wanted_s = self.shared.trunks.registering.get(&id).map_or(0, |it| it.wanted_s);
        let Some(key) = self.send_register(id, trunk, hop, wanted_s) else {
            let why = "there is no listener to ask it from".to_owned();
            return self.registering_failed(id, trunk, why, (VecDeque::new(), None, false));
        };
        self.step(id, Step::Asked(Asked { key, hop, spare: hops, prolonged, leaves: false }));
    }

    fn leave(&mut self, id: TrunkId, trunk: &Trunk, hop: Hop) {
        let spare = VecDeque::new();
        let asked = |key| Step::Asked(Asked { key, hop, spare, prolonged: false, leaves: true });
        let step = self.send_register(id, trunk, hop, 0).map_or(Step::Over, asked);
        self.step(id, step);
    }

    fn send_register(&mut self, id: TrunkId, trunk: &Trunk, hop: Hop, expires_s: u32) -> Option<ClientKey> {
        let (register, listener) = (trunk.register.as_ref()?, self.config.listener(hop.listener)?);
        let it = self.shared.trunks.registering.get_mut(&id)?;
        it.cseq += 1;
        let (domain, user, number) = (&trunk.domain, &trunk.user, it.cseq);
        let contact = listener.contact(&register.contact_user, false);
        //= RFC 3261 §10.2: no user in the Request-URI; From and To are the address-of-record.
        let builder = Builder::request(&Method::Register, &format!("sip:{domain}"))
            .header(Name::MaxForwards, "70")
            .header_fmt(Name::From, format_args!("<sip:{user}@{domain}>;tag={}", it.tag))
            .header_fmt(Name::To, format_args!("<sip:{user}@{domain}>"))
            .header(Name::CallId, it.call_id.as_bytes())
            .header_fmt(Name::CSeq, format_args!("{}", CSeq { number, method: Method::Register }))
            .header_fmt(Name::Contact, format_args!("{contact};expires={expires_s}"))
            .header_fmt(Name::Expires, format_args!("{expires_s}"));
        Some(self.send_request(Some(id), (None, None), hop, builder))
    }

    /// The trunk knows where we are.
    fn registered(&mut self, id: TrunkId, trunk: &Trunk, hop: Hop, message: &Message, closing: bool) {
        let (now, config) = (self.now, self.config);
        let Some(it) = self.shared.trunks.registering.get_mut(&id) else { return };
        let lives_s = granted_s(config, trunk, message).unwrap_or(it.wanted_s).min(REGISTERED_MAX_S);
        if lives_s == 0 {
            let why = "it has taken us out again".to_owned();
            return self.registering_failed(id, trunk, why, (VecDeque::new(), None, false));
        }
        let lives = Duration::from_secs(lives_s.into());
        let again = it.granted.replace(Granted { hop, until: now + lives }).is_some();
        (it.failures, it.why) = (0, "".into());
        //= RFC 3261 §10.2.4: before it is over, with time for another attempt.
        it.step = Step::Due(Some(now + (lives * 3 / 4).max(REFRESH_MIN)));
        self.event(Event::TrunkRegistered { trunk: id, again, hop, lives_s });
        if closing {
            self.leave(id, trunk, hop);
        }
    }

    fn left(&mut self, id: TrunkId) {
        if let Some(it) = self.shared.trunks.registering.get_mut(&id) {
            (it.step, it.granted) = (Step::Over, None);
        }
        self.event(Event::TrunkForgets { trunk: id });
    }

    fn prolong(&mut self, id: TrunkId, trunk: &Trunk, asked: Asked, message: &Message) {
        let Some(it) = self.shared.trunks.registering.get_mut(&id) else { return };
        match message.number(Name::MinExpires).ok().flatten() {
            Some(minimum_s) if minimum_s > it.wanted_s && minimum_s <= REGISTERED_MAX_S => {
                it.wanted_s = minimum_s;
                let mut hops = asked.spare;
                hops.push_front(asked.hop);
                self.register_at_next(id, trunk, hops, true);
            }
            Some(_) | None => {
                let why = "423 without a time that can be had".to_owned();
                self.registering_failed(id, trunk, why, (VecDeque::new(), None, true));
            }
        }
    }

    /// Another place is asked, or the trunk after a pause.
    fn registering_failed(
        &mut self,
        id: TrunkId,
        trunk: &Trunk,
        why: String,
        (spare, later_s, is_final): (VecDeque<Hop>, Option<u32>, bool),
    ) {
        if !spare.is_empty() {
            return self.register_at_next(id, trunk, spare, false);
        }
        let now = self.now;
        let Some(it) = self.shared.trunks.registering.get_mut(&id) else { return };
        //= RFC 5626 §4.5: between half and all of what doubles with each failure, up to half an hour.
        it.failures = it.failures.saturating_add(1);
        let doubled = REGISTER_PAUSE.saturating_mul(1 << it.failures.min(16));
        let most = if is_final { REGISTER_PAUSE_MAX } else { doubled.min(REGISTER_PAUSE_MAX) };
        let half_ms = u64::try_from(most.as_millis() / 2).unwrap_or(u64::MAX);
        let pause = Duration::from_millis(half_ms + self.shared.rng.below(half_ms));
        let pause = pause.max(Duration::from_secs(later_s.unwrap_or(0).min(REGISTERED_MAX_S).into()));
        it.why = why.clone().into();
        it.step = Step::Due(Some(now + pause));
        self.event(Event::TrunkFailed { trunk: id, why: why.into(), pause });
    }
}

/// For how long it remembers us, if it says so.
//= RFC 3261 §10.2.4: what stands beside our own Contact, or else in Expires.
fn granted_s(config: &Config, trunk: &Trunk, message: &Message) -> Option<u32> {
    let user = trunk.register.as_ref()?.contact_user.as_str();
    let own: Vec<_> = message
        .contacts()
        .flatten()
        .filter(|contact| contact.parsed_uri().is_ok_and(|uri| uri.user() == Some(user)))
        .collect();
    let is_us = |contact: &&sip::message::NameAddr<'_>| {
        contact.parsed_uri().is_ok_and(|uri| route::is_us_in(config, trunk.realm, &uri))
    };
    // Some put in the place from which they see us.
    let contact = own.iter().find(is_us).or_else(|| own.first());
    let said = contact.and_then(|contact| contact.params().text("expires")?.parse().ok());
    said.or_else(|| message.expires().ok().flatten())
}
