//! Proof by packet that the administrator's line is there: `docs/pinholes.md` §4, last points.
//!
//! A frame written into a TAP interface is redirected so that it seems to come in through the interface under test. A
//! pinhole to an address that nobody uses lets it through the gate; a chain at the very end counts it and drops it, so
//! that nothing leaves this machine.

mod frame;
mod tap;
mod trace;

use std::io;
use std::net::SocketAddr;
use std::thread;
use std::time::Duration;

use middlebox::{Engine, Operation, Permit};

use crate::engine::{Nft, TABLE};
use crate::netlink::{Message, be64, uapi};
use crate::ruleset::{Chain, End, Hook, Statement, Table, Verdict};

use tap::Tap;
use trace::Trace;

const CHAIN: &str = "proof";
const TRACE_CHAIN: &str = "proof_trace";
const BEHIND_GATE: i32 = -299;
/// Behind everything that others have at postrouting.
const LAST: i32 = i32::MAX;
const UDP: u8 = 17;
const FRAMES: u64 = 3;
const LIFETIME: Duration = Duration::from_secs(10);
const LOOKS: u32 = 50;
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// One direction, one IP version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// For a UDP entry that admits the packet; nobody may use its destination.
    pub permit: Permit,
    /// What the packet says it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// The interface through which it is to seem to come in.
    pub interface: String,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Proof {
    /// A packet passed all rules of this machine.
    Proven,
    /// It passed the gate, but rules behind it stopped it: the line is missing. The text names the rule or policy that
    /// dropped it, where the kernel could tell.
    Blocked(Option<String>),
    /// It could not be tried; the text says why.
    NotProven(String),
}

/// Tries it. Everything that was made for it is gone afterwards.
pub fn prove(engine: &mut Nft, probe: &Probe) -> Proof {
    let result = attempt(engine, probe);
    let cleaned = clean(engine, probe);
    match result.and_then(|proof| cleaned.map(|()| proof)) {
        Ok(proof) => proof,
        Err(error) => Proof::NotProven(error.to_string()),
    }
}

fn attempt(engine: &mut Nft, probe: &Probe) -> io::Result<Proof> {
    let frame = frame::udp(probe.source, probe.destination)
        .ok_or_else(|| said("source and destination differ in IP version"))?;
    let mut tap = Tap::open(&probe.interface)?;
    let mut trace = Trace::open()?;
    add_chains(engine, probe)?;
    let add = Operation::Add { permit: probe.permit.clone(), lifetime: LIFETIME };
    for result in engine.apply(&[add]) {
        result.map_err(io::Error::other)?;
    }
    for _ in 0..FRAMES {
        tap.write(&frame)?;
    }
    judge(engine, probe, &mut trace)
}

/// Looks until all frames have been counted, at the gate at least, or long enough.
fn judge(engine: &mut Nft, probe: &Probe, trace: &mut Trace) -> io::Result<Proof> {
    let mut admitted = 0;
    for _ in 0..LOOKS {
        // In this order: a frame that the gate has counted is at the end, or nowhere, a moment later.
        admitted = admitted_by(engine, probe);
        if counted(engine)? >= FRAMES {
            return Ok(Proof::Proven);
        }
        thread::sleep(LOOK_INTERVAL);
        if admitted >= FRAMES {
            break;
        }
    }
    match (counted(engine)?, admitted) {
        (0, 0) => Ok(Proof::NotProven(
            "the packet did not pass the gate: check the realm's interfaces and the route to its source"
                .into(),
        )),
        (0, _) => Ok(Proof::Blocked(trace.dropper())),
        (_, _) => Ok(Proof::Proven),
    }
}

/// How many packets the gate let in.
fn admitted_by(engine: &mut Nft, probe: &Probe) -> u64 {
    let counters = engine.counters(&[probe.permit.key()]);
    counters.into_iter().flatten().map(|counter| counter.packets).sum()
}

/// One chain behind the gate that has the packet traced, one at the end that counts and drops it.
fn add_chains(engine: &mut Nft, probe: &Probe) -> io::Result<()> {
    let port = |end, address: SocketAddr| Statement::Ports(end, address.port()..=address.port());
    let rule = |source: SocketAddr, destination: SocketAddr, then: &[Statement]| {
        let this = [
            Statement::Protocol(UDP),
            Statement::Address(End::Source, source.ip()),
            Statement::Address(End::Destination, destination.ip()),
            port(End::Source, source),
            port(End::Destination, destination),
        ];
        vec![[&this, then].concat()]
    };
    // The destination is written at the gate, the source only behind routing.
    let (source, destination) = probe.permit.key().rewrite(probe.source, probe.destination);
    let chain = |name: &str, number, priority, rules| Chain {
        name: name.into(),
        hook: Some(Hook { number, priority, drop: false }),
        rules,
    };
    let end = rule(source, destination, &[Statement::Counter, Statement::Then(Verdict::Drop)]);
    let trace = rule(probe.source, destination, &[Statement::Trace]);
    let chains = vec![
        chain(TRACE_CHAIN, uapi::PRE_ROUTING, BEHIND_GATE, trace),
        chain(CHAIN, uapi::POST_ROUTING, LAST, end),
    ];
    let socket = engine.socket();
    let mut batch = socket.batch();
    Table { name: TABLE.into(), sets: Vec::new(), chains }.create(&mut batch, |_| false);
    Ok(socket.commit(batch)?)
}

/// How many packets came to the end.
fn counted(engine: &mut Nft) -> io::Result<u64> {
    let socket = engine.socket();
    let mut question = Message::nftables(uapi::GETRULE, uapi::NLM_F_DUMP, uapi::INET, socket.next_sequence());
    question.attributes().text(uapi::RULE_TABLE, TABLE);
    question.attributes().text(uapi::RULE_CHAIN, CHAIN);
    let mut packets = 0;
    let answer = socket.ask(question, |message| {
        for expression in message.attributes().nested(uapi::RULE_EXPRESSIONS) {
            let counter = expression.nested().nested(uapi::EXPR_DATA);
            let is_counter = expression.nested().find(uapi::EXPR_NAME) == Some(b"counter\0");
            let found = counter.find(uapi::COUNTER_PACKETS).and_then(be64);
            packets = found.filter(|_| is_counter).unwrap_or(packets);
        }
    });
    match answer {
        // Somebody changed a table meanwhile: looked at again.
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
        result => result.map(|()| packets),
    }
}

fn clean(engine: &mut Nft, probe: &Probe) -> io::Result<()> {
    let removed = engine.apply(&[Operation::Remove { key: probe.permit.key() }]);
    let socket = engine.socket();
    let mut batch = socket.batch();
    for (kind, name) in
        [uapi::DELRULE, uapi::DELCHAIN].into_iter().flat_map(|kind| [(kind, CHAIN), (kind, TRACE_CHAIN)])
    {
        batch.message(kind, 0, uapi::INET, |writer| {
            let chain = if kind == uapi::DELRULE { uapi::RULE_CHAIN } else { uapi::CHAIN_NAME };
            writer.text(uapi::RULE_TABLE, TABLE);
            writer.text(chain, name);
        });
    }
    let deleted = match socket.commit(batch).map_err(io::Error::from) {
        // Never made, because something before it failed.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
        result => result,
    };
    removed.into_iter().try_for_each(|result| result.map_err(io::Error::other))?;
    deleted
}

fn said(text: &str) -> io::Error {
    io::Error::other(text.to_owned())
}
