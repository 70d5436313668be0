//! What is in the sets: by key, which is linear, or all of it, which is not.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use middlebox::{Counter, End, Entry, Key, PortBlock, Translation};

use super::TABLE;
use super::element::{self, Life};
use crate::netlink::{Message, Socket, be64, text, uapi};
use crate::ruleset::{Names, OPEN, OWN_UDP_PACKETS, Part, SetId, Translated, UDP_PACKETS};

/// Keys per question: their answers must fit in the smallest receive buffer, where each takes about a kilobyte.
const KEYS_PER_QUESTION: usize = 100;

/// Elements of one entry.
const ELEMENTS_MAX: usize = 4;

/// How often a dump is begun again when somebody changes the tables meanwhile.
const DUMPS_MAX: usize = 20;

/// The counters of entries; `None` for those that are not there.
pub(super) fn counters(socket: &mut Socket, names: &Names, keys: &[Key]) -> io::Result<Vec<Option<Counter>>> {
    let order = keys.iter().enumerate().map(|(position, key)| (element::set_of(key), position)).collect();
    counters_in(socket, names, keys, order)
}

/// Whether entries are there, with all their elements.
pub(super) fn are_there(socket: &mut Socket, names: &Names, keys: &[Key]) -> io::Result<Vec<bool>> {
    let mut there = vec![true; keys.len()];
    for nth in 0..ELEMENTS_MAX {
        let nth_of = |(position, key)| Some((element::sets_of(key).nth(nth)?, position));
        let order: Vec<(SetId, usize)> = keys.iter().enumerate().filter_map(nth_of).collect();
        let asked: Vec<usize> = order.iter().map(|(_, position)| *position).collect();
        let found = counters_in(socket, names, keys, order)?;
        asked.into_iter().for_each(|position| there[position] &= found[position].is_some());
    }
    Ok(there)
}

fn counters_in(
    socket: &mut Socket,
    names: &Names,
    keys: &[Key],
    mut order: Vec<(SetId, usize)>,
) -> io::Result<Vec<Option<Counter>>> {
    let mut counters = vec![None; keys.len()];
    order.sort();
    for of_one_set in order.chunk_by(|one, other| one.0 == other.0) {
        for some in of_one_set.chunks(KEYS_PER_QUESTION) {
            some_counters(socket, names, keys, some, &mut counters)?;
        }
    }
    Ok(counters)
}

fn some_counters(
    socket: &mut Socket,
    names: &Names,
    keys: &[Key],
    mut wanted: &[(SetId, usize)],
    counters: &mut [Option<Counter>],
) -> io::Result<()> {
    while let Some((set, _)) = wanted.first() {
        let Some(name) = names.get(*set) else { return Ok(()) };
        let mut question =
            Message::nftables(uapi::GETSETELEM, uapi::NLM_F_ACK, uapi::INET, socket.next_sequence());
        let writer = question.attributes();
        writer.text(uapi::ELEM_LIST_TABLE, TABLE);
        writer.text(uapi::ELEM_LIST_SET, name);
        writer.nest(uapi::ELEM_LIST_ELEMENTS, |list| {
            wanted.iter().for_each(|(_, position)| element::write(list, *set, &keys[*position], Life::Named));
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

/// Everything in our sets of entries, sorted by key. An entry of which an element is not there is not there.
pub(super) fn entries(socket: &mut Socket, names: &Names) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut maps = BTreeMap::new();
    for (set, name) in names.iter() {
        if matches!(set, SetId::Quoted(_)) {
            continue;
        }
        let found = elements(socket, name, set)?;
        match set {
            SetId::Translation(of, part) => {
                maps.insert((of, part), found);
            }
            SetId::Quoted(_) => {}
            SetId::Exact(_) | SetId::Host(..) | SetId::Network(..) => {
                entries.extend(found.into_iter().map(|(key, found)| found.entry(key)));
            }
        }
    }
    // Sorted for the search in it; a translation changes no place among the others.
    entries.sort_by_key(|entry: &Entry| entry.key);
    let all: BTreeSet<Translated> = maps.keys().map(|(translated, _)| *translated).collect();
    let (admitting, others): (Vec<_>, Vec<_>) = all.into_iter().partition(|of| of.admits());
    let mut turned = BTreeMap::new();
    for translated in others.into_iter().chain(admitting) {
        let take = |part| maps.remove(&(translated, part)).unwrap_or_default();
        let [addresses, ports] = [Part::Address, Part::Port].map(take);
        match translated.admits() {
            true => {
                let joined = joined(addresses, &ports, End::Destination).into_iter();
                entries.extend(joined.map(|entry| turn(entry, &turned)));
            }
            false => turned.extend(translate_sources(&mut entries, addresses, &ports)),
        }
    }
    entries.sort_by_key(|entry| entry.key);
    Ok(entries)
}

/// The entries by which errors are recognised.
pub(super) fn quoted(socket: &mut Socket, names: &Names) -> io::Result<BTreeSet<Key>> {
    let mut quoted = BTreeSet::new();
    for (set, name) in names.iter() {
        if matches!(set, SetId::Quoted(_)) {
            quoted.extend(elements(socket, name, set)?.into_keys());
        }
    }
    Ok(quoted)
}

/// What an element says beside its key.
#[derive(Debug)]
struct Element {
    data: Vec<u8>,
    remaining: Duration,
    counter: Counter,
}

impl Element {
    fn entry(self, key: Key) -> Entry {
        Entry { key, remaining: self.remaining, counter: self.counter }
    }
}

type Elements = BTreeMap<Key, Element>;

/// The entries of which both maps know.
fn joined(addresses: Elements, ports: &Elements, end: End) -> Vec<Entry> {
    let both = addresses.into_iter().filter_map(|(plain, element)| {
        let address = element::address_of(&element.data)?;
        let port = element::port_of(&ports.get(&plain)?.data)?;
        let key = plain.translated(Translation { end, address, port })?;
        Some(element.entry(key))
    });
    both.collect()
}

/// What is admitted by a set and rewritten by the maps is one entry. Gives what no set admits: the second half of packets
/// that turn round, by what the gate has made of them.
fn translate_sources(
    entries: &mut [Entry],
    addresses: Elements,
    ports: &Elements,
) -> BTreeMap<Key, Translation> {
    let mut others = BTreeMap::new();
    for translated in joined(addresses, ports, End::Source) {
        let plain = translated.key.plain();
        match entries.binary_search_by_key(&plain, |entry| entry.key) {
            Ok(position) => entries[position].key = translated.key,
            Err(_) => others.extend(translated.key.translation().map(|source| (plain, source))),
        }
    }
    others
}

/// An entry that comes in, whose source is written too where one of these goes on with it.
fn turn(entry: Entry, others: &BTreeMap<Key, Translation>) -> Entry {
    let key = entry.key;
    let turned = key.translation().and_then(|reached| {
        let ports = PortBlock::one(reached.port)?;
        let behind = Key::new(key.transport(), key.source(), reached.address, ports)?;
        let source = others.get(&behind)?;
        key.plain().turned((reached.address, reached.port), (source.address, source.port))
    });
    Entry { key: turned.unwrap_or(key), ..entry }
}

fn elements(socket: &mut Socket, name: &str, set: SetId) -> io::Result<Elements> {
    for _ in 0..DUMPS_MAX {
        let mut question =
            Message::nftables(uapi::GETSETELEM, uapi::NLM_F_DUMP, uapi::INET, socket.next_sequence());
        question.attributes().text(uapi::ELEM_LIST_TABLE, TABLE);
        question.attributes().text(uapi::ELEM_LIST_SET, name);
        let mut elements = Elements::new();
        let answer = socket.ask(question, |message| {
            elements.extend(element::found(&message.attributes()).filter_map(|found| {
                let key = element::key_of(set, found.octets)?;
                let data = found.data.to_vec();
                Some((key, Element { data, remaining: found.remaining, counter: found.counter }))
            }));
        });
        match answer {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(|()| elements),
        }
    }
    Err(io::ErrorKind::Interrupted.into())
}
