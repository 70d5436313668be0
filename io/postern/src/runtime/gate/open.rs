//! Opens everything that needs privilege, gives the rest of it up, starts the loop.

use std::time::Duration;

use machine::{Instant, Outbox, Rng};
use middlebox::{Engine as _, Entry, Input, Middlebox, Policy, Realms};
use nftables::Nft;
use nix::unistd::Uid;
use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::bans::{self, Banned};
use super::chronicle::Chronicle;
use super::disk::{Disk, Past};
use super::guests::Guests;
use super::operator::{self, Operator};
use super::sessions::Sessions;
use super::settings;
use super::{Failure, Gate, event_descriptor, prove};
use crate::admin::protocol::ProofReport;
use crate::admin::{protocol, server};
use crate::clock::Clock;
use crate::config::{Config, Serve};
use crate::runtime::alarm::Alarm;
use crate::runtime::unix::Whose;
use crate::runtime::wall::Wall;
use crate::runtime::{Signals, block_on, unix};
use crate::sandbox::{self, Identity, Keep};
use crate::supervise::Parent;
use crate::tls::Credentials;
use crate::{log, seed};

/// How long entries found at start are kept for agents that come back.
const ORPHAN_GRACE: Duration = Duration::from_secs(30);

/// Runs the middlebox half until it is told to stop.
pub(crate) fn run(config: &Config, parent: Option<Parent>) -> Result<(), Failure> {
    block_on(async { open(config, parent).map_err(Failure::Start)?.run().await })
}

/// The ruleset as it would be given to the kernel.
pub(crate) fn dry_run(config: &Config) -> Result<String, String> {
    let gate = settings::gate(config, settings::realms(config)?);
    Ok(nftables::ruleset(&gate))
}

/// Deletes our table.
pub(crate) fn remove(config: &Config) -> Result<(), String> {
    need_net_admin()?;
    Nft::remove().map_err(|error| error.to_string())?;
    let _ = std::fs::remove_file(&config.middlebox.socket);
    Ok(())
}

/// Answers every question of a configuration while no middlebox half runs. Our table is made for it, and deleted
/// again if it was not there before.
pub(crate) fn prove_alone(config: &Config) -> Result<Vec<ProofReport>, String> {
    need_net_admin()?;
    let realms = settings::realms(config)?;
    let was_there = nftables::is_installed().map_err(|error| error.to_string())?;
    let mut engine = Nft::open(settings::gate(config, realms.clone())).map_err(|error| error.to_string())?;
    let questions = prove::questions(config).into_iter();
    let reports = questions.map(|question| prove::prove(&mut engine, config, &realms, question)).collect();
    drop(engine);
    if !was_there {
        Nft::remove().map_err(|error| error.to_string())?;
    }
    Ok(reports)
}

fn open(config: &Config, parent: Option<Parent>) -> Result<Gate, String> {
    need_net_admin()?;
    let identity = Identity::find(config.user.as_deref())?;
    let mut rng = seed::rng().map_err(|error| format!("/dev/urandom: {error}"))?;
    warn_of_nobody(&identity);
    let guests = Guests::new(config, identity.uid)?;
    let policy = settings::policy(config);
    let mut wall = Wall::new(config.middlebox.time_zone.as_ref());
    let realms = settings::realms(config)?;
    // The engine takes the lock of this network namespace: nothing of another middlebox is touched before.
    let mut engine = Nft::open(settings::gate(config, realms.clone())).map_err(|error| error.to_string())?;
    let simco = unix::listen(&config.middlebox.socket, Some(identity.uid), whose(config))?;
    let admin = protocol::middlebox_socket(&config.run_dir);
    let socket = unix::listen(&admin, None, Whose::Owners)?;
    let of_bans = bans::listen(config, &identity)?;
    let serves = config.middlebox.listen.iter();
    let doors = serves.map(|serve| Ok((listen(serve)?, serve.tls))).collect::<Result<_, String>>()?;
    let signals = Signals::listen().map_err(|Failure::Start(text)| text)?;
    let drift = event_descriptor(&engine)?;
    let features = features(&engine);
    let sandbox = sandbox::enter(Keep::NetAdmin, None)?;
    if let Some(parent) = parent {
        parent.follow();
    }
    // With what this process may still read, so that a file that cannot be read again is noticed now.
    let credentials = config.middlebox.serve_tls.clone().map(Credentials::new);
    let guests = guests.with_secrets(config)?;
    if let Some(Err(why)) = credentials.as_ref().map(Credentials::get) {
        return Err(why);
    }
    let questions = server::serve(socket, vec![Uid::effective().as_raw()])
        .map_err(|error| format!("{}: {error}", admin.display()))?;
    let banned = Banned::serve(of_bans, &identity)?;
    let simco = UnixListener::from_std(simco).map_err(|error| error.to_string())?;
    let place = config.middlebox.socket.display();
    log::info(format_args!("gate is up, agents welcome at {place} ({sandbox})"));
    let mut chronicle = Chronicle::default();
    chronicle.learn(&policy);
    let clock = Clock::start();
    let (disk, past) = Disk::open(config.middlebox.journal.as_deref(), &config.run_dir, clock.now())?;
    let found = found(&mut engine, &past)?;
    // A journal says what should be there; without one the agents do.
    let (restored, grace) = match past {
        Past::Rules(rules) => (Some(Input::Restored { rules }), Duration::ZERO),
        Past::Unknown => (None, ORPHAN_GRACE),
    };
    let sessions = Sessions::new(guests, simco, doors, credentials, rng.fork());
    let machine = machine(config, realms.clone(), policy, grace, rng);
    let first = [Input::Adopted { entries: found }, operator::opened()];
    Ok(Gate {
        clock,
        alarm: Alarm::default(),
        config: config.clone(),
        realms,
        machine,
        out: Outbox::new(),
        inputs: wall.tick().map(Input::Clock).into_iter().chain(restored).chain(first).collect(),
        engine,
        drift,
        looked: Instant::ZERO,
        sessions,
        chronicle,
        questions,
        banned,
        operator: Operator::default(),
        agent: identity.uid,
        wall,
        disk,
        signals,
        features,
        sandbox,
        stopping: None,
        done: false,
    })
}

/// What the kernel can do, on one line.
fn features(engine: &Nft) -> String {
    let features = engine.features().to_string();
    format!("nftables ({})", features.lines().collect::<Vec<_>>().join("; "))
}

/// What the kernel holds. Where the journal has so many rules that reading it would take minutes nothing is read: all is
/// written anew, beside it.
fn found(engine: &mut Nft, past: &Past) -> Result<Vec<Entry>, String> {
    let many = match past {
        Past::Rules(rules) => rules.len() > nftables::DUMP_MAX,
        Past::Unknown => false,
    };
    match many {
        true => engine.begin_beside().map(|()| Vec::new()).map_err(|error| error.to_string()),
        false => engine.entries().map_err(|failure| failure.to_string()),
    }
}

fn machine(config: &Config, realms: Realms, policy: Policy, orphan_grace: Duration, rng: Rng) -> Middlebox {
    let (nat, journal) = (config.middlebox.nat.clone(), config.middlebox.journal.is_some());
    Middlebox::new(middlebox::Config { realms, policy, nat, tcp: true, journal, orphan_grace }, rng)
}

fn warn_of_nobody(identity: &Identity) {
    if identity.name == "nobody" && Uid::effective().is_root() {
        log::warn(format_args!(
            "the agent half runs as nobody, as other services may: every process of nobody can open pinholes; \
             `useradd --system postern` gives it a user of its own"
        ));
    }
}

fn need_net_admin() -> Result<(), String> {
    if sandbox::has_net_admin() {
        return Ok(());
    }
    Err("the middlebox needs CAP_NET_ADMIN: run as root, or with `AmbientCapabilities=CAP_NET_ADMIN` in its unit".into())
}

fn listen(serve: &Serve) -> Result<TcpListener, String> {
    let address = serve.address;
    let open = || -> std::io::Result<TcpListener> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(16)
    };
    open().map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            format!("port already in use: {serve}; another middlebox is running there? `ss -ltnp` shows it")
        }
        std::io::ErrorKind::AddrNotAvailable => {
            format!("no interface of this host has the address {address}")
        }
        _other => format!("cannot listen on {serve}: {error}"),
    })
}

/// Whose the socket for agents is. With nobody else named it is closed to everybody else; who is named by a reload needs a
/// new start.
fn whose(config: &Config) -> Whose {
    let mut users = config.middlebox.agents.iter().map(|agent| &agent.users).chain([&config.middlebox.users]);
    match users.all(Vec::is_empty) {
        true => Whose::Owners,
        false => Whose::Callers,
    }
}
