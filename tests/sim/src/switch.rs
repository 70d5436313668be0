//! The switch of a callee with several phones: it calls them all, passes on every 2xx and everything provisional, and
//! one failure when all have failed (RFC 3261 §16.7). It loses nothing and leaves no trace in what it passes on.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::queue::Happening;
use crate::wire;
use crate::world::World;

/// An INVITE that went to several phones.
#[derive(Debug)]
pub(crate) struct Fork {
    invite: Bytes,
    /// Where it came from.
    from: SocketAddr,
    seats: Vec<usize>,
    failed: BTreeSet<usize>,
    /// Whose failure was passed on.
    told: Option<usize>,
    is_answered: bool,
}

impl World {
    /// The agent sends something to several phones at once: INVITE, CANCEL, or ACK for a failure.
    pub(crate) fn fork(&mut self, seats: &[usize], from: SocketAddr, bytes: &Bytes) {
        if bytes.starts_with(b"INVITE ")
            && let Some(branch) = wire::branch(bytes)
        {
            self.tally.forked += u64::from(!self.books.forks.contains_key(branch));
            self.books.forks.entry(branch.to_owned()).or_insert_with(|| Fork {
                invite: bytes.clone(),
                from,
                seats: seats.to_vec(),
                failed: BTreeSet::new(),
                told: None,
                is_answered: false,
            });
        }
        for seat in seats {
            self.pass(*seat, from, bytes.clone());
        }
    }

    /// Something reaches a phone from its switch.
    fn pass(&mut self, seat: usize, from: SocketAddr, bytes: Bytes) {
        let at = self.now + self.handsets[seat].link.delay;
        self.queue.put(at, Happening::ToPhone { seat, from, bytes });
    }

    /// True if what a phone sends ends at the switch.
    pub(crate) fn switch_keeps(&mut self, seat: usize, bytes: &Bytes) -> bool {
        let status = wire::status(bytes);
        let branch = wire::branch(bytes).filter(|_| status >= 200);
        let Some(fork) = branch.and_then(|branch| self.books.forks.get_mut(branch)) else { return false };
        match (wire::method(bytes), status) {
            // One answer to CANCEL is enough.
            ("CANCEL", _) => fork.seats.first() != Some(&seat),
            ("INVITE", 200..300) => {
                if !std::mem::replace(&mut fork.is_answered, true) {
                    self.call_off(seat, bytes);
                }
                false
            }
            ("INVITE", _) => {
                fork.failed.insert(seat);
                let is_last = !fork.is_answered && fork.failed.len() == fork.seats.len();
                if is_last && *fork.told.get_or_insert(seat) == seat {
                    return false;
                }
                let (from, ack) = (fork.from, acknowledge(&fork.invite, bytes));
                self.pass(seat, from, ack);
                true
            }
            (_, _) => false,
        }
    }

    /// One phone has answered: the others are cancelled.
    fn call_off(&mut self, winner: usize, answer: &[u8]) {
        let Some(fork) = wire::branch(answer).and_then(|branch| self.books.forks.get(branch)) else {
            return;
        };
        let (from, cancel) = (fork.from, cancel(&fork.invite));
        let others = fork.seats.iter().filter(|seat| **seat != winner && !fork.failed.contains(seat));
        for seat in others.copied().collect::<Vec<_>>() {
            self.pass(seat, from, cancel.clone());
        }
    }
}

fn acknowledge(invite: &[u8], refusal: &[u8]) -> Bytes {
    request("ACK", invite, wire::field(refusal, "To").unwrap_or_default())
}

fn cancel(invite: &[u8]) -> Bytes {
    request("CANCEL", invite, wire::field(invite, "To").unwrap_or_default())
}

/// A request hop by hop: RFC 3261 §9.1, §17.1.1.3.
fn request(method: &str, invite: &[u8], to: &str) -> Bytes {
    let field = |name| wire::field(invite, name).unwrap_or_default();
    let uri = String::from_utf8_lossy(invite).split(' ').nth(1).unwrap_or_default().to_owned();
    let number = field("CSeq").split(' ').next().unwrap_or_default().to_owned();
    let (via, from, call_id) = (field("Via"), field("From"), field("Call-ID"));
    Bytes::from(format!(
        "{method} {uri} SIP/2.0\r\nVia: {via}\r\nMax-Forwards: 70\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\n\
         CSeq: {number} {method}\r\nContent-Length: 0\r\n\r\n"
    ))
}
