//! The agent half: the B2BUA, and one SIMCO session for each middlebox.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use b2bua::config::{
    Codes, Config, Host, Limits, Listener, Middlebox, NextHop, Realm, RealmId, Route, Timers,
};
use b2bua::{B2bua, Input, Output, ledger};
use machine::{Instant, Machine as _, Outbox, Rng};
use midcom::{AgentEvent, Lifetime, MiddleboxId, Request, RequestId};
use sdp::MediaPolicy;
use simco::agent as end;
use sip::transport::{Hop, ListenerId, Protocol};

use crate::gate;
use crate::plan::{House, place};
use crate::queue::Life;

/// How long the agent waits before it connects again.
pub(crate) const PAUSE: Duration = Duration::from_millis(100);

/// The agent half.
pub(crate) struct Agent {
    /// `None` while the process is dead.
    pub(crate) machine: Option<B2bua>,
    pub(crate) life: Life,
    pub(crate) links: Vec<Link>,
    pub(crate) inputs: VecDeque<Input>,
    pub(crate) armed: Option<Instant>,
    pub(crate) stopping: bool,
    pub(crate) rng: Rng,
}

/// The way to one middlebox.
pub(crate) struct Link {
    pub(crate) session: end::Session,
    pub(crate) connection: Option<u64>,
}

/// What the half wants the world to do.
#[derive(Debug)]
pub(crate) enum Wish {
    Send { gate: usize, bytes: Vec<u8> },
    Hang { gate: usize },
    Machine(Output),
    Told { gate: usize, event: AgentEvent },
}

impl Agent {
    pub(crate) fn new(rng: Rng) -> Self {
        Self {
            machine: None,
            life: 0,
            links: Vec::new(),
            inputs: VecDeque::new(),
            armed: None,
            stopping: false,
            rng,
        }
    }

    pub(crate) fn start(&mut self, house: &House) {
        self.life += 1;
        self.stopping = false;
        self.machine = Some(B2bua::new(config(house), self.rng.fork()));
        let link = |_| Link { session: end::Session::new(end::Config::default()), connection: None };
        self.links = (0..house.gates).map(link).collect();
    }

    pub(crate) fn kill(&mut self) {
        self.machine = None;
        self.links.clear();
        self.inputs.clear();
    }

    /// Lets the session with one middlebox work.
    pub(crate) fn with_link(
        &mut self,
        gate: usize,
        wishes: &mut Vec<Wish>,
        work: impl FnOnce(&mut end::Session, &mut Outbox<end::Output>),
    ) {
        let Some(link) = self.links.get_mut(gate) else { return };
        let mut out = Outbox::new();
        work(&mut link.session, &mut out);
        for output in out {
            match output {
                end::Output::Send(bytes) => wishes.push(Wish::Send { gate, bytes }),
                end::Output::Event(event) => {
                    wishes.push(Wish::Told { gate, event: event.clone() });
                    // Numbered by position, far below the limit.
                    let middlebox = MiddleboxId(gate as u16);
                    self.inputs.push_back(Input::Midcom { middlebox, event });
                }
                end::Output::Close => wishes.push(Wish::Hang { gate }),
            }
        }
    }

    /// Tells the machine everything that waits.
    pub(crate) fn work(&mut self, now: Instant, wishes: &mut Vec<Wish>) {
        let mut out = Outbox::new();
        while let Some(input) = self.inputs.pop_front() {
            let Some(machine) = &mut self.machine else { return };
            machine.handle(now, input, &mut out);
            self.carry_out(now, &mut out, wishes);
        }
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant, wishes: &mut Vec<Wish>) {
        for gate in 0..self.links.len() {
            if self.links[gate].session.next_timeout().is_some_and(|(at, _)| at <= now) {
                self.with_link(gate, wishes, |session, out| session.handle_timeout(now, out));
            }
        }
        self.work(now, wishes);
        let mut out = Outbox::new();
        if let Some(machine) = &mut self.machine {
            machine.handle_timeout(now, &mut out);
        }
        self.carry_out(now, &mut out, wishes);
        self.work(now, wishes);
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        let links = self.links.iter().filter_map(|link| link.session.next_timeout()).map(|(at, _)| at);
        let machine = self.machine.as_ref().and_then(|machine| machine.next_timeout()).map(|(at, _)| at);
        links.chain(machine).min()
    }

    fn carry_out(&mut self, now: Instant, out: &mut Outbox<Output>, wishes: &mut Vec<Wish>) {
        for output in out.drain() {
            if let Output::Midcom { middlebox, id, request } = output {
                self.ask(now, usize::from(middlebox.0), id, request, wishes);
            } else {
                wishes.push(Wish::Machine(output));
            }
        }
    }

    fn ask(&mut self, now: Instant, gate: usize, id: RequestId, request: Request, wishes: &mut Vec<Wish>) {
        self.with_link(gate, wishes, |session, out| session.request(now, id, request, out));
    }
}

/// From the realm to its address: outside is 0, inside is 1.
pub(crate) fn listener(outside: bool) -> ListenerId {
    ListenerId(u16::from(!outside))
}

/// A phone as the agent sees it.
pub(crate) fn hop(outside: bool, remote: std::net::SocketAddr) -> Hop {
    Hop { listener: listener(outside), protocol: Protocol::Udp, remote, connection: None, name: None }
}

/// What the NAT shows to the realm outside.
fn shown(house: &House, outside: bool) -> Vec<(IpAddr, RangeInclusive<u16>)> {
    let nat = house.nat.iter().filter(|_| outside);
    nat.flat_map(|nat| nat.addresses.iter().map(|address| (*address, nat.ports.clone()))).collect()
}

fn config(house: &House) -> Config {
    let realm = |outside: bool| Realm {
        name: if outside { "outside" } else { "inside" }.to_owned(),
        pinholes: Arc::new(ledger::Realm {
            media: MediaPolicy {
                networks: vec![gate::network(house, outside)],
                ports: gate::PORTS,
                own_addresses: [true, false].map(|side| place::agent(house.v6, side).ip()).to_vec(),
                outside_places: shown(house, outside),
                flows_max: 8,
            },
            source: house.sources[usize::from(!outside)],
            early_media: house.early_media,
        }),
        policy: house.realms[usize::from(!outside)],
        pass: Vec::new(),
        authentication: None,
        registrar: None,
    };
    let listener = |outside: bool| Listener {
        realm: RealmId(u16::from(!outside)),
        protocol: Protocol::Udp,
        address: place::agent(house.v6, outside),
        sent_by: place::agent(house.v6, outside).to_string(),
    };
    let route = |outside: bool| {
        let host = match house.names {
            true => Host::Name(if outside { "outside.example" } else { "inside.example" }.to_owned()),
            false => Host::Address(place::switch(house.v6, outside).ip()),
        };
        let port = Some(place::switch(house.v6, outside).port());
        Route::always(
            RealmId(u16::from(!outside)),
            NextHop { host, port, transport: None, secure: false, trunk: None },
        )
    };
    let middlebox = |number| Middlebox {
        name: format!("gate {number}"),
        inside: vec![RealmId(1)],
        outside: vec![RealmId(0)],
        standby_for: None,
    };
    Config {
        realms: [true, false].map(realm).to_vec(),
        listeners: [true, false].map(listener).to_vec(),
        routes: [true, false].map(route).to_vec(),
        admission: Vec::new(),
        middleboxes: (0..house.gates).map(middlebox).collect(),
        timers: Timers::default(),
        limits: Limits { calls: house.calls_max, ..Limits::default() },
        rule_lifetime: Lifetime(house.rule_lifetime_s),
        codes: Codes::default(),
        pseudonym: "postern".to_owned(),
        shard: 0,
        policy: house.policy.clone(),
        trunks: Vec::new(),
        users: b2bua::config::Users::default(),
    }
}
