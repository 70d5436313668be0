//! Opens everything that needs privilege, gives the privilege up, starts the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::Path;

use b2bua::{B2bua, Input, RegistrationInfo};
use machine::{Instant, Outbox};
use midcom::MiddleboxId;
use nix::unistd::Uid;
use sip::transport::ListenerId;

use super::book::Book;
use super::chronicle::Chronicle;
use super::guard::Guard;
use super::link::Link;
use super::resolver::Resolver;
use super::streams::{self, Streams};
use super::udp::Udp;
use super::{Agent, Failure, doors, settings, trunks, users};
use crate::admin::{protocol, server};
use crate::clock::Clock;
use crate::config::{Config, Listen, Realm, Transport};
use crate::runtime::alarm::Alarm;
use crate::runtime::{Signals, block_on, unix};
use crate::sandbox::{self, Identity, Keep};
use crate::supervise::Parent;
use crate::tls::sip::Credentials;
use crate::{log, seed};

/// Read from a middlebox at once.
const READ_BYTES: usize = 64 << 10;

/// Runs the agent half until it is told to stop.
pub(crate) fn run(config: &Config, parent: Option<Parent>) -> Result<(), Failure> {
    block_on(async { open(config, parent)?.run().await })
}

fn open(config: &Config, parent: Option<Parent>) -> Result<Agent, Failure> {
    let identity = Identity::find(config.user.as_deref()).map_err(Failure::Start)?;
    let rng = seed::rng().map_err(|error| Failure::Start(format!("/dev/urandom: {error}")))?;
    let mut settings = settings::b2bua(config);
    settings.trunks = trunks::read(config, identity.uid.as_raw())?;
    settings.users = users::read(config, identity.uid.as_raw())?;
    let (mut udp, mut streams) = (Udp::new(), Streams::new(stream_limits(config)));
    let mut listeners = Vec::new();
    let (closed, none) = (doors::closed(config), BTreeSet::new());
    for (number, (realm, listen)) in (0..).zip(settings::listeners(config)) {
        let closed = closed.get(realm).unwrap_or(&none);
        let (id, protocol) = (ListenerId(number), listen.transport.protocol());
        let bound = match listen.transport {
            Transport::Udp => udp.bind(id, listen.address, closed),
            Transport::Tcp | Transport::Tls | Transport::Ws | Transport::Wss => {
                streams.bind((id, protocol, realm), listen.address, closed)
            }
        };
        bound.map_err(|error| Failure::Start(cannot_listen(&listen, &error)))?;
        listeners.push(listen.to_string());
    }
    let admin = protocol::agent_socket(&config.run_dir);
    let socket = unix::listen(&admin, Some(identity.uid), unix::Whose::Owners).map_err(Failure::Start)?;
    let allowed = vec![Uid::effective().as_raw(), identity.uid.as_raw()];
    let clock = Clock::start();
    let (book, registered) = book(config, &settings, identity.uid.as_raw(), clock.now())?;
    let signals = Signals::listen()?;
    let sandbox = sandbox::enter(Keep::Nothing, Some(&identity)).map_err(Failure::Start)?;
    if let Some(parent) = parent {
        parent.follow();
    }
    streams
        .start(credentials(config))
        .map_err(|error| Failure::Start(format!("cannot start a thread: {error}")))?;
    let questions = server::serve(socket, allowed).map_err(|error| cannot_serve(&admin, &error))?;
    let mut rng = rng;
    let links: Vec<Link> = (0..)
        .zip(settings::asked(config))
        .map(|(id, middlebox)| Link::new(MiddleboxId(id), middlebox, rng.fork()))
        .collect();
    if links.is_empty() {
        log::warn(format_args!("no middlebox (`engine = \"none\"`): nothing is opened for media"));
    }
    log::info(format_args!("serving {} ({sandbox})", listeners.join(", ")));
    let realms = config.realms.iter().map(|realm| realm.name.clone()).collect();
    let middleboxes = settings.middleboxes.iter().map(|middlebox| middlebox.name.clone()).collect();
    let history = usize::try_from(config.limits.history).unwrap_or(usize::MAX);
    let trunks = settings.trunks.iter().map(|trunk| trunk.name.clone()).collect();
    Ok(Agent {
        config: config.clone(),
        clock,
        alarm: Alarm::default(),
        out: Outbox::new(),
        inputs: [Input::Registered(registered)].into(),
        udp,
        streams,
        links,
        midcom: Vec::new(),
        resolver: Resolver::new(config.name_servers.clone(), rng.fork()),
        guard: Guard::new(config, &mut rng),
        machine: B2bua::new(settings, rng),
        chronicle: Chronicle::new((realms, trunks), middleboxes, listeners, history),
        book,
        wall: super::wall(config),
        questions,
        signals,
        buffer: vec![0; READ_BYTES].into(),
        sandbox,
        stopping: false,
        done: false,
    })
}

/// What the realms show and trust, read as the user that the half has become.
fn credentials(config: &Config) -> BTreeMap<usize, Credentials> {
    let of_realm =
        |(position, realm): (usize, &Realm)| Some((position, Credentials::new(realm.tls.clone()?)));
    config.realms.iter().enumerate().filter_map(of_realm).collect()
}

/// Who had registered before, and where that is written down.
fn book(
    config: &Config,
    settings: &b2bua::config::Config,
    uid: u32,
    now: Instant,
) -> Result<(Option<Book>, Vec<RegistrationInfo>), Failure> {
    let Some(path) = &config.registrations else { return Ok((None, Vec::new())) };
    match Book::open(path, uid, settings, now) {
        Ok((book, known)) => Ok((Some(book), known)),
        Err(error) => Err(cannot_serve(path, &error)),
    }
}

fn stream_limits(config: &Config) -> streams::Limits {
    let size = |number| usize::try_from(number).unwrap_or(usize::MAX);
    streams::Limits {
        connections: size(config.limits.connections),
        connections_per_peer: size(config.limits.connections_per_peer),
        handshakes: size(config.limits.handshakes),
        handshake: config.timers.handshake,
        idle: config.timers.connection_idle,
        message: config.timers.message,
    }
}

fn cannot_serve(path: &Path, error: &std::io::Error) -> Failure {
    Failure::Start(format!("{}: {error}", path.display()))
}

/// Who or what stands in the way of a listener.
pub(crate) fn cannot_listen(listen: &Listen, error: &std::io::Error) -> String {
    let address: SocketAddr = listen.address;
    match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "port already in use: {} {address}; another SIP server is running there? `ss -lnp 'sport = :{}'` shows it",
            listen.transport,
            address.port()
        ),
        std::io::ErrorKind::AddrNotAvailable => format!(
            "cannot listen on {} {address}: no interface of this host has the address {}; `ip address` lists them",
            listen.transport,
            address.ip()
        ),
        std::io::ErrorKind::PermissionDenied => format!(
            "cannot listen on {} {address}: ports below 1024 need root or CAP_NET_BIND_SERVICE",
            listen.transport
        ),
        _other => format!("cannot listen on {} {address}: {error}", listen.transport),
    }
}
