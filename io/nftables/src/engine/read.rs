//! What is in the sets: by key, which is linear, or all of it, which is not.

use std::collections::BTreeMap;
use std::io;

use middlebox::{Counter, Entry, Key};

use super::TABLE;
use super::element::{self, Life};
use crate::netlink::{Message, Socket, be64, text, uapi};
use crate::ruleset::{OPEN, OWN_UDP_PACKETS, SetId, UDP_PACKETS};

/// Keys per question: their answers must fit in the smallest receive buffer, where each takes about a kilobyte.
const KEYS_PER_QUESTION: usize = 100;

/// How often a dump is begun again when somebody changes the tables meanwhile.
const DUMPS_MAX: usize = 20;

/// The counters of entries; `None` for those that are not there.
pub(super) fn counters(socket: &mut Socket, keys: &[Key]) -> io::Result<Vec<Option<Counter>>> {
    let mut counters = vec![None; keys.len()];
    let mut order: Vec<(SetId, usize)> =
        keys.iter().enumerate().map(|(position, key)| (element::set_of(key), position)).collect();
    order.sort();
    for of_one_set in order.chunk_by(|one, other| one.0 == other.0) {
        for some in of_one_set.chunks(KEYS_PER_QUESTION) {
            some_counters(socket, keys, some, &mut counters)?;
        }
    }
    Ok(counters)
}

fn some_counters(
    socket: &mut Socket,
    keys: &[Key],
    mut wanted: &[(SetId, usize)],
    counters: &mut [Option<Counter>],
) -> io::Result<()> {
    while let Some((set, _)) = wanted.first() {
        let mut question =
            Message::nftables(uapi::GETSETELEM, uapi::NLM_F_ACK, uapi::INET, socket.next_sequence());
        let writer = question.attributes();
        writer.text(uapi::ELEM_LIST_TABLE, TABLE);
        writer.text(uapi::ELEM_LIST_SET, &set.name());
        writer.nest(uapi::ELEM_LIST_ELEMENTS, |list| {
            wanted.iter().for_each(|(_, position)| element::write(list, &keys[*position], Life::Named));
        });
        let mut answered = 0;
        let answer = socket.ask(question, |message| {
            for found in element::found(&message.attributes()) {
                if let Some((_, position)) = wanted.get(answered) {
                    counters[*position] = Some(found.counter);
                }
                answered += 1;
            }
        });
        match answer {
            Ok(()) => return Ok(()),
            // The kernel answers in order and stops at the first key that is not there.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {
                wanted = wanted.get(answered + 1..).unwrap_or_default();
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// What the gate did, since its chains were made last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Packets that an entry let in.
    pub passed: u64,
    /// Packets that it manages and no entry let in: dropped, or merely counted in [`crate::Mode::Observe`].
    pub dropped: u64,
}

/// Reads the counters of the gate's own rules.
pub(super) fn traffic(socket: &mut Socket) -> io::Result<Traffic> {
    for _ in 0..DUMPS_MAX {
        let mut traffic = Traffic::default();
        let mut question =
            Message::nftables(uapi::GETRULE, uapi::NLM_F_DUMP, uapi::INET, socket.next_sequence());
        question.attributes().text(uapi::RULE_TABLE, TABLE);
        let answer = socket.ask(question, |message| {
            let attributes = message.attributes();
            let chain = attributes.find(uapi::RULE_CHAIN).map(text).unwrap_or_default();
            let counters = attributes.nested(uapi::RULE_EXPRESSIONS).filter_map(|expression| {
                let is_counter = expression.nested().find(uapi::EXPR_NAME) == Some(b"counter\0");
                let packets = expression.nested().nested(uapi::EXPR_DATA).find(uapi::COUNTER_PACKETS);
                packets.filter(|_| is_counter).and_then(be64)
            });
            let packets: u64 = counters.sum();
            match chain.as_str() {
                OPEN => traffic.passed += packets,
                UDP_PACKETS | OWN_UDP_PACKETS => traffic.dropped += packets,
                _ => {}
            }
        });
        match answer {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(|()| traffic),
        }
    }
    Err(io::ErrorKind::Interrupted.into())
}

/// Everything in our sets of entries, sorted by key.
pub(super) fn entries(socket: &mut Socket, sets: &BTreeMap<String, SetId>) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (name, set) in sets {
        entries.extend(set_entries(socket, name, *set)?);
    }
    entries.sort_by_key(|entry| entry.key);
    Ok(entries)
}

fn set_entries(socket: &mut Socket, name: &str, set: SetId) -> io::Result<Vec<Entry>> {
    for _ in 0..DUMPS_MAX {
        let mut question =
            Message::nftables(uapi::GETSETELEM, uapi::NLM_F_DUMP, uapi::INET, socket.next_sequence());
        question.attributes().text(uapi::ELEM_LIST_TABLE, TABLE);
        question.attributes().text(uapi::ELEM_LIST_SET, name);
        let mut entries = Vec::new();
        let answer = socket.ask(question, |message| {
            entries.extend(element::found(&message.attributes()).filter_map(|found| {
                let key = element::key_of(set, found.octets)?;
                Some(Entry { key, remaining: found.remaining, counter: found.counter })
            }));
        });
        match answer {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(|()| entries),
        }
    }
    Err(io::ErrorKind::Interrupted.into())
}
