//! All chains and rules of this network namespace but ours, read for the packet.

use std::collections::BTreeMap;
use std::io;

use super::expressions::{self, Element, Fate, Packet, Reading};
use super::{Place, is_ours, place};
use crate::netlink::{Attributes, Message, Received, Socket, be32, be64, uapi};

/// How often a dump is begun again when somebody changes the tables meanwhile.
const DUMPS_MAX: usize = 20;
/// Elements that are looked at in a set of others. Those of which the packet's answer is known are a handful.
const ELEMENTS_MAX: usize = 256;

/// Where a base chain listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Base {
    pub(super) hook: u32,
    pub(super) priority: i32,
    pub(super) drops: bool,
}

/// A chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Chain {
    pub(super) base: Option<Base>,
    pub(super) rules: Vec<(u64, Reading)>,
}

pub(super) type Chains = BTreeMap<Place, Chain>;

/// Reads everything.
pub(super) fn chains(socket: &mut Socket, packet: &Packet) -> io::Result<Chains> {
    let mut chains = Chains::new();
    for message in dump(socket, uapi::GETCHAIN)? {
        let message = message.received();
        let Some(place) = place(&message, uapi::CHAIN_TABLE, uapi::CHAIN_NAME) else { continue };
        if !is_ours(&place) {
            chains.insert(place, Chain { base: base(&message.attributes()), rules: Vec::new() });
        }
    }
    for message in dump(socket, uapi::GETRULE)? {
        let message = message.received();
        let Some(place) = place(&message, uapi::RULE_TABLE, uapi::RULE_CHAIN) else { continue };
        let Some(chain) = chains.get_mut(&place) else { continue };
        let attributes = message.attributes();
        let handle = attributes.find(uapi::RULE_HANDLE).and_then(be64).unwrap_or(0);
        let elements = |set: &str| elements(socket, message.family(), &place.table, set);
        let reading = Reading::of(attributes.nested(uapi::RULE_EXPRESSIONS), packet, elements);
        chain.rules.push((handle, reading));
    }
    Ok(chains)
}

fn base(attributes: &Attributes<'_>) -> Option<Base> {
    let hook = attributes.nested(uapi::CHAIN_HOOK);
    Some(Base {
        hook: hook.find(uapi::HOOK_HOOKNUM).and_then(be32)?,
        priority: hook.find(uapi::HOOK_PRIORITY).and_then(be32).map_or(0, u32::cast_signed),
        drops: attributes.find(uapi::CHAIN_POLICY).and_then(be32) == Some(uapi::DROP),
    })
}

/// A message kept for later: another question may be asked while it is read.
pub(super) struct Kept(Vec<u8>);

impl Kept {
    pub(super) fn received(&self) -> Received<'_> {
        Received { kind: 0, flags: 0, sequence: 0, payload: &self.0 }
    }
}

pub(super) fn dump(socket: &mut Socket, kind: u8) -> io::Result<Vec<Kept>> {
    for _ in 0..DUMPS_MAX {
        let question = Message::nftables(kind, uapi::NLM_F_DUMP, 0, socket.next_sequence());
        let mut kept = Vec::new();
        match socket.ask(question, |message| kept.push(Kept(message.payload.to_vec()))) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map(|()| kept),
        }
    }
    Err(io::ErrorKind::Interrupted.into())
}

/// What is in a set. One that cannot be read counts as empty: its rules then match nothing.
fn elements(socket: &mut Socket, family: u8, table: &str, set: &str) -> Vec<Element> {
    let mut question = Message::nftables(uapi::GETSETELEM, uapi::NLM_F_DUMP, family, socket.next_sequence());
    question.attributes().text(uapi::ELEM_LIST_TABLE, table);
    question.attributes().text(uapi::ELEM_LIST_SET, set);
    let mut found = Vec::new();
    let answer = socket.ask(question, |message| {
        for element in message.attributes().nested(uapi::ELEM_LIST_ELEMENTS) {
            let element = element.nested();
            let key = element.nested(uapi::ELEM_KEY).find(uapi::DATA_VALUE).unwrap_or_default();
            let verdict = element.nested(uapi::ELEM_DATA).nested(uapi::DATA_VERDICT);
            if found.len() < ELEMENTS_MAX {
                found.push((key.to_vec(), expressions::fate(&verdict).flatten()));
            }
        }
    });
    answer.map(|()| found).unwrap_or_default()
}

/// The chains to which a rule may lead.
pub(super) fn leads_to(reading: &Reading) -> impl Iterator<Item = &str> {
    reading.fates.iter().filter_map(|fate| match fate {
        Fate::Jump(chain) | Fate::Goto(chain) => Some(&**chain),
        Fate::Accept | Fate::Drop | Fate::Return | Fate::Queue => None,
    })
}
