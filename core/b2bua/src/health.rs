//! Whether next hops are there: each is asked with OPTIONS from time to time (RFC 3261 §11).
//!
//! ```text
//!  up --no answer within 64*T1, no way to it, 503--> down --any other answer--> up
//! ```
//!
//! A server that is down is called after the others of its route, not left out: if none is up, the first is called all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use machine::{Instant, Outbox};
use sip::endpoint::ClientKey;
use sip::message::{Builder, Method, Name};
use sip::transport::{Hop, Protocol};

use crate::b2bua::{B2bua, Service};
use crate::config::{Config, Then};
use crate::context::Context;
use crate::event::Event;
use crate::io::Output;
use crate::limits::PINGED_MAX;
use crate::route;
use crate::tag::{Tag, call_id};

/// A server: over what, and where.
type Server = (Protocol, SocketAddr);

/// What is known of next hops.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    /// When they are asked again; `None`: as soon as possible.
    due: Option<Instant>,
    /// Questions without an answer yet.
    asked: BTreeMap<ClientKey, Hop>,
    down: BTreeSet<Server>,
}

impl Health {
    /// True if it is known not to work.
    pub(crate) fn is_down(&self, server: Server) -> bool {
        self.down.contains(&server)
    }

    /// Those that are known not to work.
    pub(crate) fn down(&self) -> impl Iterator<Item = Server> + '_ {
        self.down.iter().copied()
    }

    fn is_asked(&self, hop: &Hop) -> bool {
        self.asked.values().any(|asked| server(asked) == server(hop))
    }
}

fn server(hop: &Hop) -> Server {
    (hop.protocol, hop.remote)
}

impl B2bua {
    /// Servers that do not answer OPTIONS, if they are asked.
    pub fn servers_down(&self) -> impl Iterator<Item = (Protocol, SocketAddr)> + '_ {
        self.shared.health.down()
    }

    /// When the next hops are asked again.
    pub(crate) fn next_round(&self) -> Option<Instant> {
        let _asked = self.config.timers.ping.filter(|_| self.service == Service::Open)?;
        Some(self.shared.health.due.unwrap_or(Instant::ZERO))
    }

    /// Asks all next hops if it is time.
    pub(crate) fn ask_servers(&mut self, now: Instant, out: &mut Outbox<Output>) {
        let (Some(interval), Some(due)) = (self.config.timers.ping, self.next_round()) else { return };
        if now < due {
            return;
        }
        let hops = hops(&self.config);
        let mut ctx = self.context(now, out);
        ctx.shared.health.due = Some(now + interval);
        // What no route leads to any more is nobody's concern.
        ctx.shared.health.down.retain(|down| hops.iter().any(|hop| server(hop) == *down));
        for hop in hops {
            if !ctx.shared.health.is_asked(&hop) {
                ctx.ask_server(hop);
            }
        }
    }

    /// The status of a response to a question of ours, or `None` if there was none. Other requests are nothing to us.
    pub(crate) fn on_ping(
        &mut self,
        now: Instant,
        key: ClientKey,
        status: Option<u16>,
        out: &mut Outbox<Output>,
    ) {
        if status.is_some_and(|status| status < 200) {
            return;
        }
        let health = &mut self.shared.health;
        let Some(hop) = health.asked.remove(&key) else { return };
        //= RFC 3261 §11: whatever is answered, somebody is there; 503 says that he takes no calls (§21.5.4).
        let is_up = status.is_some_and(|status| status != 503);
        let changed = match is_up {
            true => health.down.remove(&server(&hop)),
            false => health.down.insert(server(&hop)),
        };
        if changed {
            self.context(now, out).event(Event::ServerChanged { hop, is_up });
        }
    }
}

/// The next hops that are addresses, of routes that leave a choice.
fn hops(config: &Config) -> Vec<Hop> {
    let mut hops: Vec<Hop> = Vec::new();
    for route in &config.routes {
        let Then::Call { to, next_hops } = &route.then else { continue };
        if next_hops.len() < 2 {
            continue;
        }
        for next_hop in next_hops {
            let listener = route::listener(config, *to, next_hop);
            let Some(hop) = listener.and_then(|listener| route::hop(next_hop, listener)) else { continue };
            if hops.len() < PINGED_MAX && !hops.iter().any(|known| server(known) == server(&hop)) {
                hops.push(hop);
            }
        }
    }
    hops
}

impl Context<'_> {
    fn ask_server(&mut self, hop: Hop) {
        let Some(listener) = self.config.listener(hop.listener) else { return };
        let (us, them) = (&listener.sent_by, hop.remote);
        let tag = Tag::mint(self.config.shard, &mut self.shared.rng);
        let call_id = call_id(self.config.shard, &mut self.shared.rng);
        //= RFC 3261 §11.1: like any request outside a dialog, with what we take in Accept.
        let request = Builder::request(&Method::Options, &format!("sip:{them}"))
            .header(Name::MaxForwards, "70")
            .header_fmt(Name::From, format_args!("<sip:{us}>;tag={}", tag.text().as_str()))
            .header_fmt(Name::To, format_args!("<sip:{them}>"))
            .header(Name::CallId, call_id)
            .header(Name::CSeq, "1 OPTIONS")
            .header(Name::Accept, "application/sdp");
        let key = self.request_alone(hop, request);
        self.shared.health.asked.insert(key, hop);
    }
}
