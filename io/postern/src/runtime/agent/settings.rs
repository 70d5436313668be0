//! The configuration in the B2BUA's terms.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use b2bua::admission::Line;
use b2bua::config as to;
use b2bua::ledger;
use midcom::{Lifetime, MiddleboxId};
use nix::ifaddrs::getifaddrs;
use sip::message::Method;

use crate::config::{
    Asked, CallLine, CommonCrucial, Config, Crucial, Engine, Host, Listen, Middlebox, NextHop, OnHold,
    OnRedirect, Pass, Precondition, Realm, Route, Source, Then, Transport,
};

/// What stands in Warning instead of a host (RFC 3261 §20.43).
const PSEUDONYM: &str = "postern";

/// How long the calls may take to end at a shutdown: with what both halves need besides, it stays below 5 s.
const SHUTDOWN: Duration = Duration::from_millis(3_800);

/// Everything the B2BUA is told.
pub(crate) fn b2bua(config: &Config) -> to::Config {
    let own = own_addresses();
    to::Config {
        realms: config.realms.iter().enumerate().map(|from| realm(config, from, &own)).collect(),
        listeners: listeners(config)
            .map(|(position, listen)| to::Listener {
                realm: id(position),
                protocol: listen.transport.protocol(),
                address: listen.address,
                sent_by: sent_by(config, position, listen),
            })
            .collect(),
        routes: routes(config),
        admission: admission(config),
        middleboxes: middleboxes(config),
        timers: timers(config),
        limits: to::Limits {
            calls: size(config.limits.calls),
            rules: u16::try_from(config.limits.rules_per_call).unwrap_or(u16::MAX),
            registrations: size(config.limits.registrations),
            subscriptions: size(config.limits.subscriptions),
            ..to::Limits::default()
        },
        rule_lifetime: Lifetime(u32::try_from(config.timers.rule_lifetime.as_secs()).unwrap_or(u32::MAX)),
        codes: codes(config),
        pseudonym: PSEUDONYM.into(),
        shard: 0,
        policy: calls(config),
        // Their passwords are in files: see `trunks`.
        trunks: Vec::new(),
        users: to::Users::default(),
    }
}

/// Where calls go.
pub(crate) fn routes(config: &Config) -> Vec<to::Route> {
    config.routes.iter().map(route).collect()
}

/// Which calls are let in.
pub(crate) fn admission(config: &Config) -> Vec<Line> {
    let line = |from: &CallLine| Line {
        says: from.says,
        from: from.from.map(id),
        to: from.to.map(id),
        when: from.when.clone(),
        windows: from.windows.clone(),
        status: from.status,
        limits: from.limits.clone(),
    };
    config.call_policy.iter().map(line).collect()
}

/// The listeners with their realms' positions, in the order of their numbers.
pub(crate) fn listeners(config: &Config) -> impl Iterator<Item = (usize, Listen)> + '_ {
    config
        .realms
        .iter()
        .enumerate()
        .flat_map(|(position, realm)| realm.listen.iter().map(move |(listen, _)| (position, *listen)))
}

fn realm(config: &Config, (position, from): (usize, &Realm), own: &[IpAddr]) -> to::Realm {
    let everybody: [ipnet::IpNet; 2] = [ipnet::Ipv4Net::default().into(), ipnet::Ipv6Net::default().into()];
    let networks = if from.media.is_empty() { everybody.to_vec() } else { from.media.clone() };
    let source = match from.source {
        Source::Strict => ledger::SourcePolicy::Strict,
        Source::Address => ledger::SourcePolicy::Address,
        Source::Realm => ledger::SourcePolicy::Realm,
    };
    let local = |own: IpAddr| from.local_media && from.media.iter().any(|network| network.contains(&own));
    let media = sdp::MediaPolicy {
        networks,
        ports: from.media_ports.clone(),
        own_addresses: own.iter().copied().filter(|own| !local(*own)).collect(),
        outside_places: outside_places(config, position),
        flows_max: u16::try_from(config.limits.streams).unwrap_or(u16::MAX),
    };
    let pinholes = ledger::Realm { media, source, early_media: from.early_media };
    to::Realm {
        name: from.name.clone(),
        pinholes: Arc::new(pinholes),
        policy: realm_policy(from),
        pass: from.pass.iter().map(|pass| method(*pass)).collect(),
        authentication: (!from.authenticate.is_empty()).then(|| to::Authentication {
            realm: from.digest_realm.clone(),
            methods: from.authenticate.iter().map(|asked| asked_for(*asked)).collect(),
        }),
        registrar: from.registrar.map(|(min, max)| {
            let seconds = |time: Duration| u32::try_from(time.as_secs()).unwrap_or(u32::MAX);
            to::Registrar { min_s: seconds(min), max_s: seconds(max) }
        }),
    }
}

fn asked_for(from: Asked) -> Method {
    match from {
        Asked::Invite => Method::Invite,
        Asked::Register => Method::Register,
        Asked::Message => Method::Message,
        Asked::Options => Method::Options,
        Asked::Notify => Method::Notify,
        Asked::Publish => Method::Publish,
        Asked::Info => Method::Info,
        Asked::Subscribe => Method::Subscribe,
        Asked::Refer => Method::Refer,
    }
}

fn method(from: Pass) -> Method {
    match from {
        Pass::Register => Method::Register,
        Pass::Message => Method::Message,
        Pass::Options => Method::Options,
        Pass::Notify => Method::Notify,
        Pass::Publish => Method::Publish,
        Pass::Info => Method::Info,
        Pass::Subscribe => Method::Subscribe,
        Pass::Refer => Method::Refer,
    }
}

/// What this host's NAT shows to a realm. What another host's shows is not known here, and no address of this host.
fn outside_places(config: &Config, realm: usize) -> Vec<(IpAddr, RangeInclusive<u16>)> {
    let sees = config.middleboxes.iter().filter(|middlebox| middlebox.outside.contains(&realm));
    let places = |nat: &middlebox::Nat| {
        let ports = nat.ports.clone();
        nat.addresses.iter().map(move |address| (*address, ports.clone())).collect::<Vec<_>>()
    };
    sees.flat_map(|middlebox| places(&middlebox.nat)).collect()
}

fn realm_policy(from: &Realm) -> to::RealmPolicy {
    to::RealmPolicy {
        precondition: match from.precondition {
            Precondition::Off => None,
            Precondition::Fw => Some(to::PreconditionType::Fw),
            Precondition::Qos => Some(to::PreconditionType::Qos),
        },
        session: to::SessionPolicy { interval: from.session_expires, minimum: from.min_se },
        refresh: from.refresh,
    }
}

fn calls(config: &Config) -> to::CallPolicy {
    let from = &config.calls;
    to::CallPolicy {
        reserve: from.reserve,
        crucial: match &from.crucial {
            Crucial::Common(CommonCrucial::FirstAudio) => to::Crucial::FirstAudio,
            Crucial::Common(CommonCrucial::All) => to::Crucial::All,
            Crucial::Media(types) => to::Crucial::Media(types.clone()),
        },
        hold: match from.hold {
            OnHold::Keep => to::OnHold::Keep,
            OnHold::Close => to::OnHold::Close,
        },
        redirect: match from.redirect {
            OnRedirect::Relay => to::Redirect::Relay,
            OnRedirect::Follow => to::Redirect::Follow { most: from.redirect_most },
        },
        media_timeout: from.media_timeout,
    }
}

fn route(from: &Route) -> to::Route {
    let then = match &from.then {
        Then::Call { to, next_hops } => {
            to::Then::Call { to: id(*to), next_hops: next_hops.iter().map(next_hop).collect() }
        }
        Then::Registered { to } => to::Then::Registered { to: id(*to) },
        Then::Refuse { status } => to::Then::Refuse { status: *status },
    };
    to::Route { from: from.from.map(id), when: from.when.clone(), then }
}

pub(super) fn next_hop(from: &NextHop) -> to::NextHop {
    let host = match &from.host {
        Host::Address(address) => to::Host::Address(*address),
        Host::Name(name) => to::Host::Name(name.clone()),
    };
    let transport = from.transport.map(Transport::protocol);
    let trunk = from.trunk.and_then(|position| u16::try_from(position).ok()).map(to::TrunkId);
    to::NextHop { host, port: from.port, transport, secure: from.secure, trunk }
}

fn middleboxes(config: &Config) -> Vec<to::Middlebox> {
    let ids = |positions: &[usize]| positions.iter().copied().map(id).collect();
    let number = |name: &str| {
        let position = asked(config).position(|other| other.name == name)?;
        u16::try_from(position).ok().map(MiddleboxId)
    };
    let middlebox = |from: &Middlebox| to::Middlebox {
        name: from.name.clone(),
        inside: ids(&from.inside),
        outside: ids(&from.outside),
        standby_for: from.standby_for.as_ref().and_then(|(name, _)| number(name)),
    };
    asked(config).map(middlebox).collect()
}

/// The middleboxes that are asked, in the order of their numbers.
pub(crate) fn asked(config: &Config) -> impl Iterator<Item = &Middlebox> + '_ {
    config.middleboxes.iter().filter(|middlebox| middlebox.engine == Engine::Nftables)
}

/// True where the middlebox half of this machine serves calls.
pub(super) fn has_own_middlebox(config: &Config) -> bool {
    asked(config).any(Middlebox::is_local)
}

fn timers(config: &Config) -> to::Timers {
    let from = &config.timers;
    to::Timers {
        t1: from.t1,
        t2: from.t2,
        t4: from.t4,
        timer_c: from.timer_c,
        hold: from.hold,
        answer: from.answer,
        close: from.close,
        shutdown: SHUTDOWN,
        ping: from.ping,
    }
}

fn codes(config: &Config) -> to::Codes {
    let from = &config.codes;
    to::Codes {
        unreachable: from.unreachable,
        technical: from.technical,
        temporary_policy: from.temporary,
        static_policy: from.policy,
        static_policy_in_call: from.policy_in_call,
        refused_sdp: from.sdp,
        precondition: from.precondition,
    }
}

pub(super) fn id(position: usize) -> to::RealmId {
    to::RealmId(u16::try_from(position).unwrap_or(u16::MAX))
}

fn size(number: u32) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

/// What stands in Via and Contact: the address, or over TLS the name that the certificate is for, if one is given.
fn sent_by(config: &Config, realm: usize, listen: Listen) -> String {
    let tls = config.realms.get(realm).and_then(|realm| realm.tls.as_ref());
    let host = tls.and_then(|tls| tls.host.as_ref()).filter(|_| listen.transport.protocol().is_secure());
    match host {
        Some(host) => format!("{host}:{}", listen.address.port()),
        None => listen.address.to_string(),
    }
}

/// Every address of this host: no pinhole may lead to one. Unknown ones cannot be kept out, which the log says.
fn own_addresses() -> Vec<IpAddr> {
    match getifaddrs() {
        Ok(interfaces) => interfaces
            .filter_map(|interface| interface.address)
            .filter_map(|address| {
                let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
                v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
            })
            .collect(),
        Err(errno) => {
            crate::log::warn(format_args!(
                "cannot list this host's addresses ({errno}); an SDP may name them"
            ));
            Vec::new()
        }
    }
}
