//! Time, the machine, and those around it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use b2bua::config::{self, Codes, Config, Host, Limits, Listener, NextHop, RealmId, Route, Timers};
use b2bua::{B2bua, Event, Input, LookupId, Output, ledger};
use bytes::Bytes;
use machine::{Instant, Machine as _, Outbox, Rng};
use midcom::{AgentEvent, DownReason, Lifetime, MiddleboxId, Notification, RequestId};
use sip::locate::Place;
use sip::message::{Message, Method};
use sip::transport::{ConnectionId, Hop, ListenerId, Protocol};

use super::firewall::{Firewall, capabilities};
use super::phone::{Phone, Shape, is_final};
use super::{outputs, step};

/// Few, so that inputs reach it.
const CALLS_MAX: usize = 6;
/// More than any one input may cause.
const OUTPUTS_MAX: usize = 64 * (CALLS_MAX + 1);
/// Enough for anything that becomes quiet at all.
const ROUNDS_MAX: u32 = 20_000;
/// An INVITE that has reached us.
#[derive(Debug)]
struct Invite {
    hop: Hop,
    bytes: Bytes,
    answer: Option<Bytes>,
    /// Its transaction may have ended without a response, or have been followed by another.
    excused: bool,
}

#[derive(Debug)]
pub(super) struct World {
    pub(super) now: Instant,
    pub(super) b2bua: B2bua,
    pub(super) firewalls: Vec<Firewall>,
    pub(super) oddities: step::Oddities,
    phones: [Phone; 2],
    lookups: Vec<LookupId>,
    ids: BTreeSet<RequestId>,
    /// By branch.
    invites: BTreeMap<String, Invite>,
    /// What happens next because of what has left.
    inputs: VecDeque<Input>,
    /// What the machine remembers when nothing has happened yet.
    fresh: String,
    /// What has just arrived is no SIP message.
    garbled: bool,
    settings: u8,
    hasher: DefaultHasher,
}

impl World {
    /// `settings`: bit 0 two middleboxes, bits 1 and 2 the source policy, bit 3 next hops have names, bit 4 phones do
    /// not answer at the end, bit 5 no early media, bit 6 A is inside, bit 7 no wildcards. `features`: bit 0 reservations,
    /// bit 1 hold closes, bit 2 redirections are followed, bits 3 and 4 which precondition is asked for inside, bit 5 session
    /// timers, bit 6 every stream is crucial.
    pub(super) fn new(settings: u8, features: u8) -> Self {
        let config = config(settings, features);
        let firewalls = config.middleboxes.iter().map(|_| Firewall::default()).collect();
        let hops = |listener, host: [u8; 4]| {
            let udp = Hop {
                listener: ListenerId(listener),
                protocol: Protocol::Udp,
                remote: (host, 5060).into(),
                connection: None,
                name: None,
            };
            let connection = Some(ConnectionId(listener.into()));
            let remote = (host, 40_000).into();
            [
                udp,
                Hop {
                    listener: ListenerId(listener + 2),
                    protocol: Protocol::Tcp,
                    remote,
                    connection,
                    name: None,
                },
            ]
        };
        let phones = [Phone::new('a', hops(0, [192, 0, 2, 10])), Phone::new('b', hops(1, [10, 0, 0, 5]))];
        let b2bua = B2bua::new(config, Rng::from_number(1));
        let mut world = Self {
            now: Instant::ZERO,
            fresh: String::new(),
            b2bua,
            firewalls,
            oddities: step::Oddities::default(),
            phones,
            lookups: Vec::new(),
            ids: BTreeSet::new(),
            invites: BTreeMap::new(),
            inputs: VecDeque::new(),
            garbled: false,
            settings,
            hasher: DefaultHasher::new(),
        };
        for number in 0..world.firewalls.len() {
            world.link_up(number);
        }
        world.answer(0, 0);
        world.answer(0, 0);
        world.pass(Duration::from_secs(10));
        world.fresh = remembered(&world.b2bua);
        world
    }

    pub(super) fn digest(&self) -> u64 {
        self.hasher.finish()
    }

    fn side(&self, flags: u8) -> usize {
        usize::from((flags ^ self.settings >> 6) & 1)
    }

    pub(super) fn phone(&mut self, flags: u8) -> &mut Phone {
        let side = self.side(flags);
        &mut self.phones[side]
    }

    pub(super) fn hop(&self, flags: u8) -> Hop {
        self.phones[self.side(flags)].hops[usize::from(flags >> 1 & 1)]
    }

    /// Remembers an INVITE, if it is one and can be told from all others.
    pub(super) fn track(&mut self, hop: Hop, bytes: &Bytes) {
        let Ok(message) = Message::parse(bytes.clone()) else { return };
        let Some(branch) = message.top_via().ok().and_then(|via| via.branch().map(str::to_owned)) else {
            return;
        };
        match (self.invites.get_mut(&branch), message.method().text()) {
            (_, "ACK" | "CANCEL") => {}
            // A copy for a transaction that may be over, or something else that is taken for its own.
            (Some(invite), _) => {
                invite.excused |= invite.answer.is_some() || invite.hop != hop || invite.bytes != *bytes;
            }
            (None, "INVITE") if message.is_request() => {
                self.invites
                    .insert(branch, Invite { hop, bytes: bytes.clone(), answer: None, excused: false });
            }
            (None, _) => {}
        }
    }

    /// What came from `hop` may not be answered any more.
    pub(super) fn excuse(&mut self, hop: Hop) {
        self.invites
            .values_mut()
            .filter(|invite| invite.hop.remote == hop.remote)
            .for_each(|invite| invite.excused = true);
    }

    /// Hands over an input, does what is asked, and hands over what follows at once.
    pub(super) fn handle(&mut self, input: Input) {
        self.inputs.push_back(input);
        self.handle_all();
    }

    fn handle_all(&mut self) {
        while let Some(input) = self.inputs.pop_front() {
            self.garbled =
                matches!(&input, Input::Message { bytes, .. } if Message::parse(bytes.clone()).is_err());
            let mut out = Outbox::new();
            self.b2bua.handle(self.now, input, &mut out);
            self.carry_out(out);
        }
        self.garbled = false;
    }

    fn carry_out(&mut self, out: Outbox<Output>) {
        assert!(out.len() <= OUTPUTS_MAX, "{} outputs", out.len());
        for output in out {
            format!("{output:?}").hash(&mut self.hasher);
            match output {
                Output::Transmit { hop, bytes } => self.transmit(hop, &bytes),
                Output::Midcom { middlebox, id, request } => {
                    assert!(self.ids.insert(id), "{id:?} twice");
                    let firewall = &mut self.firewalls[usize::from(middlebox.0)];
                    if firewall.up {
                        firewall.open.push((id, request));
                    } else {
                        let event = AgentEvent::Reply(id, Err(midcom::Failure::NoSession));
                        self.inputs.push_back(Input::Midcom { middlebox, event });
                    }
                }
                Output::Resolve { id, .. } => self.lookups.push(id),
                Output::Event(Event::OrphanClosed { middlebox, prid }) => {
                    self.firewalls[usize::from(middlebox.0)].orphans.insert(prid);
                }
                Output::Event(_) | Output::ShutdownComplete => {}
            }
        }
        if self.b2bua.calls().next().is_none() && self.inputs.is_empty() {
            for firewall in self.firewalls.iter().filter(|firewall| firewall.open.is_empty()) {
                assert_eq!(firewall.orphaned(), [], "rules without a call");
            }
        }
    }

    fn transmit(&mut self, hop: Hop, bytes: &Bytes) {
        let Some(message) = outputs::read(bytes, self.garbled) else { return };
        let branch = message.top_via().ok().and_then(|via| via.branch().map(str::to_owned));
        if is_final(&message)
            && !self.garbled
            && let Some(invite) = branch.and_then(|branch| self.invites.get_mut(&branch))
            && !invite.excused
        {
            let answer = invite.answer.get_or_insert_with(|| bytes.clone());
            assert_eq!(answer, bytes, "two final responses");
        }
        let Some(phone) = self.phones.iter_mut().find(|phone| phone.hops[0].remote.ip() == hop.remote.ip())
        else {
            return;
        };
        if is_final(&message)
            && message.status() >= 300
            && let Some(ack) = phone.ack_to(&message, Shape::PLAIN)
        {
            let hop = phone.hops[usize::from(hop.protocol == Protocol::Tcp)];
            self.inputs.push_back(Input::Message { hop, bytes: ack.into() });
        }
        phone.received.push(message);
    }

    fn midcom(&mut self, number: usize, event: AgentEvent) {
        let middlebox = MiddleboxId(number as u16);
        self.handle(Input::Midcom { middlebox, event });
    }

    pub(super) fn notify(&mut self, number: usize, notification: Notification) {
        self.midcom(number, AgentEvent::Notification(notification));
    }

    /// Answers one of the open requests of all middleboxes.
    pub(super) fn answer(&mut self, which: u8, how: u8) {
        let open: Vec<(usize, usize)> = (self.firewalls.iter().enumerate())
            .flat_map(|(number, firewall)| (0..firewall.open.len()).map(move |position| (number, position)))
            .collect();
        if open.is_empty() {
            return;
        }
        let (number, position) = *crate::reader::choose(&open, which);
        if let Some(event) = self.firewalls[number].answer(self.now, position, how) {
            self.midcom(number, event);
        }
    }

    pub(super) fn link_up(&mut self, number: usize) {
        if !self.firewalls[number].up {
            self.firewalls[number].up = true;
            self.midcom(number, AgentEvent::Up(capabilities(self.settings & 128 == 0)));
        }
    }

    pub(super) fn link_down(&mut self, number: usize, done: bool) {
        if self.firewalls[number].up {
            let lost = self.firewalls[number].breaks(self.now, done);
            for event in lost {
                self.midcom(number, event);
            }
            self.midcom(number, AgentEvent::Down(DownReason::Terminated));
        }
    }

    pub(super) fn resolve(&mut self, count: u8) {
        if let Some(id) = self.lookups.pop() {
            let hop = self.phones[1].hops[0];
            let place = Place { protocol: hop.protocol, address: hop.remote };
            self.handle(Input::Resolved { id, places: vec![place; count.into()] });
        }
    }

    /// Time passes; what becomes due happens at its time.
    pub(super) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        for _ in 0..ROUNDS_MAX {
            let Some((at, _)) = self.b2bua.next_timeout().filter(|(at, _)| *at <= until) else {
                self.reach(until);
                return;
            };
            self.reach(at.max(self.now));
            let mut out = Outbox::new();
            self.b2bua.handle_timeout(self.now, &mut out);
            self.carry_out(out);
            self.handle_all();
        }
        panic!("always something due: {:?}", self.b2bua.next_timeout());
    }

    fn reach(&mut self, now: Instant) {
        self.now = now;
        for number in 0..self.firewalls.len() {
            for prid in self.firewalls[number].expire(now) {
                if self.firewalls[number].up {
                    self.notify(number, Notification::RuleEvent { prid, lifetime: Lifetime::END });
                }
            }
        }
    }

    /// Everything ends, and nothing is left.
    pub(super) fn end(&mut self) {
        (0..self.firewalls.len()).for_each(|number| self.link_up(number));
        let calls: Vec<_> = self.b2bua.calls().map(|call| call.id).collect();
        for call in calls {
            self.handle(Input::Kick { call });
        }
        self.settle();
        assert_eq!(self.b2bua.calls().count(), 0);
        assert_eq!(self.b2bua.next_timeout(), None);
        for (branch, invite) in &self.invites {
            assert!(invite.excused || invite.answer.is_some(), "no final response: {branch}");
        }
        assert_eq!(remembered(&self.b2bua), self.fresh, "something is left");
        for number in 0..self.firewalls.len() {
            self.link_down(number, true);
            self.link_up(number);
        }
        self.settle();
        assert!(self.firewalls.iter().all(|firewall| firewall.rules.is_empty()), "{:?}", self.firewalls);
    }

    /// Everybody does what is asked, until nothing is due any more.
    fn settle(&mut self) {
        let mut seen = [self.phones[0].received.len(), self.phones[1].received.len()];
        for _ in 0..ROUNDS_MAX {
            while self.firewalls.iter().any(|firewall| !firewall.open.is_empty()) {
                self.answer(0, 0);
            }
            while !self.lookups.is_empty() {
                self.resolve(0);
            }
            for (side, seen) in seen.iter_mut().enumerate() {
                while self.settings & 16 == 0 && *seen < self.phones[side].received.len() {
                    self.react(side, *seen);
                    *seen += 1;
                }
            }
            if self.firewalls.iter().any(|firewall| !firewall.open.is_empty()) {
                continue;
            }
            let Some((at, _)) = self.b2bua.next_timeout() else { return };
            self.pass(at.since(self.now));
        }
        panic!("not quiet: {:?}", self.b2bua.next_timeout());
    }

    /// A phone answers a request, and acknowledges an answer.
    fn react(&mut self, side: usize, number: usize) {
        let phone = &mut self.phones[side];
        let message = phone.received[number].clone();
        let text = if message.is_request() {
            let status = if message.method().text() == "INVITE" { 486 } else { 200 };
            phone.response_to(&message, status, Shape::PLAIN).filter(|_| message.method().text() != "ACK")
        } else {
            phone.ack_to(&message, Shape::PLAIN).filter(|_| is_final(&message))
        };
        if let Some(text) = text {
            let hop = phone.hops[0];
            self.handle(Input::Message { hop, bytes: text.into() });
        }
    }
}

/// The machine as it describes itself, without numbers and places kept for use: equal if it holds the same things.
fn remembered(b2bua: &B2bua) -> String {
    let text: String = format!("{b2bua:?}").chars().filter(|char| !char.is_ascii_digit()).collect();
    let mut text = text.replace("Slot { generation: , tenant: None }", "").replace(", ", "");
    // Which callees cannot do preconditions, and which servers failed lately, is remembered on purpose, up to a limit.
    for (first, next) in [("unwilling: ", "lookups: "), ("failures: ", "lookups_made: ")] {
        if let Some(from) = text.find(first)
            && let Some(length) = text[from..].find(next)
        {
            text.replace_range(from..from + length, "");
        }
    }
    text.replace("service: Closed", "service: Open")
}

fn config(settings: u8, features: u8) -> Config {
    let source = match settings >> 1 & 3 {
        0 => ledger::SourcePolicy::Strict,
        1 => ledger::SourcePolicy::Address,
        _ => ledger::SourcePolicy::Realm,
    };
    let realm = |name: &str, networks: &[&str], own: [u8; 4]| {
        let networks = networks.iter().filter_map(|network| network.parse().ok()).collect();
        let (own_addresses, outside_places, ports) = (vec![own.into()], Vec::new(), 16_384..=32_767);
        let media = sdp::MediaPolicy { networks, ports, own_addresses, outside_places, flows_max: 16 };
        let pinholes = ledger::Realm { media, source, early_media: settings & 32 == 0 };
        let precondition = match features >> 3 & 3 {
            1 if name == "inside" => Some(config::PreconditionType::Fw),
            2 if name == "inside" => Some(config::PreconditionType::Qos),
            _ => None,
        };
        let interval = (features & 32 != 0).then_some(Duration::from_secs(90));
        let session = config::SessionPolicy { interval, minimum: Duration::from_secs(90) };
        let policy = config::RealmPolicy { precondition, session, refresh: None };
        let pass = vec![Method::Register, Method::Message, Method::Options, Method::Notify];
        config::Realm {
            name: name.into(),
            pinholes: Arc::new(pinholes),
            policy,
            pass,
            authentication: None,
            registrar: None,
        }
    };
    let (outside, inside) = (RealmId(0), RealmId(1));
    let listener = |realm, protocol, host: [u8; 4]| {
        let address: std::net::SocketAddr = (host, 5060).into();
        Listener { realm, protocol, address, sent_by: address.to_string() }
    };
    let hop = |host: [u8; 4]| {
        let host = match settings & 8 {
            0 => Host::Address(host.into()),
            _ => Host::Name("pbx.example".into()),
        };
        NextHop { host, port: None, transport: None, secure: false, trunk: None }
    };
    let (far, near) = ([203, 0, 113, 1], [10, 0, 0, 1]);
    let middlebox = |number| config::Middlebox {
        name: format!("fw{number}"),
        inside: vec![inside],
        outside: vec![outside],
        standby_for: None,
    };
    Config {
        realms: vec![realm("outside", &["0.0.0.0/0", "::/0"], far), realm("inside", &["10.0.40.0/24"], near)],
        listeners: vec![
            listener(outside, Protocol::Udp, far),
            listener(inside, Protocol::Udp, near),
            listener(outside, Protocol::Tcp, far),
            listener(inside, Protocol::Tcp, near),
        ],
        routes: vec![Route::always(inside, hop([10, 0, 0, 5])), Route::always(outside, hop([192, 0, 2, 10]))],
        admission: Vec::new(),
        middleboxes: (0..=settings & 1).map(middlebox).collect(),
        timers: Timers::default(),
        limits: Limits { calls: CALLS_MAX, held: 4, forks: 3, exchanges: 4, lookups: 3, ..Limits::default() },
        rule_lifetime: Lifetime(600),
        codes: Codes::DEFAULT,
        pseudonym: "postern".into(),
        shard: 0,
        policy: policy(features),
        trunks: Vec::new(),
        users: config::Users::default(),
    }
}

fn policy(features: u8) -> config::CallPolicy {
    config::CallPolicy {
        reserve: features & 1 != 0,
        hold: if features & 2 == 0 { config::OnHold::Keep } else { config::OnHold::Close },
        redirect: match features & 4 {
            0 => config::Redirect::Relay,
            _ => config::Redirect::Follow { most: 3 },
        },
        crucial: if features & 64 == 0 { config::Crucial::FirstAudio } else { config::Crucial::All },
        media_timeout: None,
    }
}
