//! The one queue of everything that is going to happen.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::SocketAddr;

use bytes::Bytes;
use machine::Instant;
use middlebox::{BatchId, EngineFailure, Operation};
use sip::locate::Place;

use crate::mishaps::Fault;
use crate::plan::{End, Offer};

/// Somebody with a clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Who {
    /// The agent half.
    Agent,
    /// A middlebox half.
    Gate(usize),
    /// A phone, by its seat.
    Phone(usize),
}

/// A process, told from others that run in its place before or after.
pub(crate) type Life = u32;

/// Something that is going to happen.
#[derive(Debug)]
pub(crate) enum Happening {
    /// Somebody's timer may be due.
    Wake(Who),
    /// A caller dials.
    Dial { call: usize },
    /// A caller gives up.
    Cancel { call: usize },
    /// Somebody takes a caller's place in an answered call.
    TakeOver { seat: usize, number: phone::CallNumber },
    /// A phone refers the other end to somebody.
    Refer { seat: usize, number: phone::CallNumber },
    /// A phone hangs up.
    HangUp { seat: usize, number: phone::CallNumber },
    /// A phone re-offers.
    Offer { seat: usize, number: phone::CallNumber, offer: Offer },
    /// A datagram of a phone reaches the agent.
    ToAgent { seat: usize, outside: bool, bytes: Bytes },
    /// A datagram of the agent reaches a phone.
    ToPhone { seat: usize, from: SocketAddr, bytes: Bytes },
    /// The network says that the agent's port is closed.
    Unreachable { seat: usize },
    /// The name service answers.
    Resolved { life: Life, id: b2bua::LookupId, places: Vec<Place> },
    /// The agent tries to connect.
    Connect { life: Life, gate: usize },
    /// Octets reach the middlebox.
    ToGate { gate: usize, connection: u64, bytes: Vec<u8> },
    /// Octets reach the agent.
    FromGate { gate: usize, connection: u64, bytes: Vec<u8> },
    /// A connection ends, as the middlebox sees it.
    GateLoses { gate: usize, connection: u64 },
    /// A connection ends, as the agent sees it.
    AgentLoses { gate: usize, connection: u64 },
    /// The engine carries out a batch.
    Commit { gate: usize, life: Life, batch: BatchId, operations: Vec<Operation> },
    /// The engine's answer reaches its process.
    Applied { gate: usize, life: Life, batch: BatchId, results: Vec<Result<(), EngineFailure>> },
    /// The engine is compared.
    Verify { gate: usize, life: Life, keys: Vec<middlebox::Key> },
    /// A middlebox notices that a stranger was there.
    Disturbed { gate: usize, life: Life },
    /// Something goes wrong.
    Fault(Fault),
    /// A fault is over.
    Over(Fault),
    /// A stopped process is killed if it has not ended by itself.
    Deadline(Who, Life),
    /// The observer looks.
    Look,
    /// Everybody hangs up.
    Curfew { round: u32 },
}

/// What an end does to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seat {
    /// Position of the call in the plan.
    pub(crate) call: usize,
    /// Which end.
    pub(crate) end: End,
    /// Which phone of the callee's side, from 0; 0 for the caller.
    pub(crate) branch: usize,
}

/// Happenings in order; those of the same instant in the order in which they were put in.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    /// When, which one, and where it lies.
    order: BinaryHeap<Reverse<(Instant, u64, usize)>>,
    waiting: Vec<Option<Happening>>,
    free: Vec<usize>,
    sequence: u64,
}

impl Queue {
    pub(crate) fn put(&mut self, at: Instant, happening: Happening) {
        self.sequence += 1;
        let place = self.free.pop().unwrap_or_else(|| {
            self.waiting.push(None);
            self.waiting.len() - 1
        });
        self.waiting[place] = Some(happening);
        self.order.push(Reverse((at, self.sequence, place)));
    }

    pub(crate) fn take(&mut self) -> Option<(Instant, Happening)> {
        let Reverse((at, _, place)) = self.order.pop()?;
        self.free.push(place);
        Some((at, self.waiting[place].take()?))
    }
}
