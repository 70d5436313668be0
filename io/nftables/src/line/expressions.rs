//! Reading other people's rules: would a packet that the gate let in match, and what becomes of it then?
//!
//! The packet is UDP, untracked, has our mark, and goes to a media port; nothing else is known of it. So the answer to
//! a condition is yes, no, or "it depends".

use std::ops::RangeInclusive;

use super::xt;
use crate::config::Mark;
use crate::netlink::{Attribute, Attributes, be32, text, uapi};

const UDP: u8 = 17;
const FAMILIES: [u8; 2] = [uapi::IPV4, uapi::IPV6];

/// Whether a condition holds for the packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Match {
    Yes,
    No,
    Perhaps,
}

impl Match {
    pub(super) fn is(known: bool) -> Self {
        if known { Self::Yes } else { Self::No }
    }

    pub(super) fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::No, _) | (_, Self::No) => Self::No,
            (Self::Yes, Self::Yes) => Self::Yes,
            (Self::Perhaps, Self::Yes | Self::Perhaps) | (Self::Yes, Self::Perhaps) => Self::Perhaps,
        }
    }

    pub(super) fn not(self) -> Self {
        match self {
            Self::Yes => Self::No,
            Self::No => Self::Yes,
            Self::Perhaps => Self::Perhaps,
        }
    }
}

/// What a rule may do with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fate {
    Accept,
    /// Drops or rejects.
    Drop,
    Return,
    Jump(String),
    Goto(String),
    /// Gives it to a program, which may do anything.
    Queue,
}

/// One element of a set that a rule looks into: key, and what its verdict is in a map.
pub(super) type Element = (Vec<u8>, Option<Fate>);

/// What the packet is, beside UDP and untracked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) mark: Mark,
    /// Its destination port is one of these.
    pub(super) ports: RangeInclusive<u16>,
}

/// What a register holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loaded {
    Mark,
    State,
    Protocol,
    Family,
    Port,
    /// The mark of the connection, which the packet has not.
    ConnectionMark,
    Other,
}

/// A rule, read for the packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// It asks for bits of ours.
    pub(super) reads: bool,
    /// It may change bits of ours.
    pub(super) writes: bool,
    /// It keeps bits of ours in the connection's mark, or asks for them there.
    pub(super) connection: bool,
    /// As IPv4, as IPv6.
    pub(super) matches: [Match; 2],
    /// What becomes of a packet that matches; several from a map, of which one applies.
    pub(super) fates: Vec<Fate>,
    pub(super) marked: bool,
    pub(super) untracked: bool,
    /// It has conditions that have nothing to do with the line.
    pub(super) other: bool,
    loaded: Loaded,
    /// How many values were loaded since something was last done with one.
    loads: u32,
    /// The last mask and what was added: what is kept of a register.
    masked: Option<(u32, u32)>,
    pub(super) packet: Packet,
}

impl Reading {
    /// Reads a rule's expressions. `elements` gives what is in a set of the rule's table.
    pub(super) fn of(
        expressions: Attributes<'_>,
        packet: &Packet,
        mut elements: impl FnMut(&str) -> Vec<Element>,
    ) -> Self {
        let mut reading = Self {
            reads: false,
            writes: false,
            connection: false,
            matches: [Match::Yes; 2],
            fates: Vec::new(),
            marked: false,
            untracked: false,
            other: false,
            loaded: Loaded::Other,
            loads: 0,
            masked: None,
            packet: packet.clone(),
        };
        expressions.for_each(|expression| reading.read(expression, &mut elements));
        reading
    }

    /// Accepts exactly what has our mark and is untracked, and asks nothing else.
    pub(super) fn is_line(&self) -> bool {
        self.marked && self.untracked && self.fates == [Fate::Accept] && !self.other && !self.writes
    }

    fn read(&mut self, expression: Attribute<'_>, elements: &mut impl FnMut(&str) -> Vec<Element>) {
        let expression = expression.nested();
        let name = expression.find(uapi::EXPR_NAME).map(text).unwrap_or_default();
        let data = expression.nested(uapi::EXPR_DATA);
        match name.as_str() {
            "meta" => self.meta(&data),
            "ct" => self.connection(&data),
            "payload" => self.payload(&data),
            "bitwise" => {
                let (mask, xor) = (value(&data, uapi::BITWISE_MASK), value(&data, uapi::BITWISE_XOR));
                self.masked = mask.zip(xor);
            }
            "cmp" => self.compare(&data),
            "range" => self.range(&data),
            "lookup" => self.lookup(&data, elements),
            "immediate" => self.immediate(&data),
            "reject" => self.fates.push(Fate::Drop),
            "queue" => self.fates.push(Fate::Queue),
            "match" => xt::condition(self, &data),
            "target" => xt::target(self, &data),
            "counter" | "log" | "notrack" => {}
            "limit" | "quota" | "connlimit" | "objref" => self.condition(Match::Perhaps),
            _ => self.load(Loaded::Other),
        }
    }

    /// Another condition.
    pub(super) fn condition(&mut self, answer: Match) {
        self.matches = self.matches.map(|before| before.and(answer));
        self.other = true;
    }

    /// A condition of the line itself: known to hold, or known not to.
    pub(super) fn own(&mut self, holds: bool) {
        self.matches = self.matches.map(|before| before.and(Match::is(holds)));
    }

    fn load(&mut self, what: Loaded) {
        self.loaded = what;
        self.loads += 1;
        self.masked = None;
    }

    fn meta(&mut self, data: &Attributes<'_>) {
        let key = number(data, uapi::META_KEY);
        if data.find(uapi::META_SREG).is_some() {
            if key == Some(uapi::META_MARK) {
                // Harmless only where our bits are kept as they were.
                let ours = self.packet.mark.mask;
                let kept = |(mask, xor): (u32, u32)| mask & ours == ours && xor & ours == 0;
                self.writes |= !(self.loaded == Loaded::Mark && self.masked.is_some_and(kept));
            }
            self.loads = 0;
            return;
        }
        self.load(match key {
            Some(uapi::META_MARK) => Loaded::Mark,
            Some(uapi::META_L4PROTO) => Loaded::Protocol,
            Some(uapi::META_NFPROTO) => Loaded::Family,
            _ => Loaded::Other,
        });
    }

    fn connection(&mut self, data: &Attributes<'_>) {
        let key = number(data, uapi::CT_KEY);
        if data.find(uapi::CT_SREG).is_some() {
            // The connection keeps the packet's mark, our bits with it.
            let keeps = self.masked.is_none_or(|(mask, _)| mask & self.packet.mark.mask != 0);
            self.connection |= key == Some(uapi::CT_MARK) && self.loaded == Loaded::Mark && keeps;
            self.loads = 0;
            return;
        }
        self.load(match key {
            Some(uapi::CT_STATE) => Loaded::State,
            Some(uapi::CT_MARK) => Loaded::ConnectionMark,
            _ => Loaded::Other,
        });
    }

    fn payload(&mut self, data: &Attributes<'_>) {
        let place =
            [uapi::PAYLOAD_BASE, uapi::PAYLOAD_OFFSET, uapi::PAYLOAD_LEN].map(|kind| number(data, kind));
        self.load(match place {
            [Some(uapi::TRANSPORT_HEADER), Some(2), Some(2)] => Loaded::Port,
            _ => Loaded::Other,
        });
    }

    /// What is known of the packet there, as the kernel compares it; per family.
    fn known(&self) -> Option<[Vec<u8>; 2]> {
        let masked = |value: u32| {
            let (mask, xor) = self.masked.unwrap_or((u32::MAX, 0));
            let octets = (value & mask ^ xor).to_ne_bytes().to_vec();
            Some([octets.clone(), octets])
        };
        match self.loaded {
            Loaded::State => masked(uapi::CT_UNTRACKED),
            // Only where no other bits are asked for: those are unknown.
            Loaded::Mark if self.masked.is_some_and(|(mask, _)| mask & !self.packet.mark.mask == 0) => {
                masked(self.packet.mark.value)
            }
            Loaded::Protocol => Some([vec![UDP], vec![UDP]]),
            Loaded::Family => Some(FAMILIES.map(|family| vec![family])),
            Loaded::Mark | Loaded::Port | Loaded::ConnectionMark | Loaded::Other => None,
        }
    }

    fn compare(&mut self, data: &Attributes<'_>) {
        let wanted = data.nested(uapi::CMP_DATA).find(uapi::DATA_VALUE).unwrap_or_default();
        let operator = number(data, uapi::CMP_OP).unwrap_or(u32::MAX);
        let equality = [uapi::CMP_EQ, uapi::CMP_NEQ].contains(&operator);
        let equal = operator == uapi::CMP_EQ;
        let number = wanted.try_into().map(u32::from_ne_bytes).ok();
        self.loads = 0;
        let ours = self.packet.mark;
        let (mask, xor) = self.masked.unwrap_or((u32::MAX, 0));
        let asks = mask & ours.mask != 0;
        self.reads |= self.loaded == Loaded::Mark && asks;
        self.connection |= self.loaded == Loaded::ConnectionMark && asks && number != Some(0);
        self.marked |= self.loaded == Loaded::Mark
            && equal
            && (mask, xor) == (ours.mask, 0)
            && number == Some(ours.value);
        self.untracked |= self.loaded == Loaded::State
            && (!equal && self.masked == Some((uapi::CT_UNTRACKED, 0)) && number == Some(0)
                || equal && self.masked.is_none() && number == Some(uapi::CT_UNTRACKED));
        match (self.loaded, self.known().filter(|_| equality)) {
            (Loaded::Port, _) => {
                let answer = self.port(operator, wanted);
                self.condition(answer);
            }
            (_, Some(known)) => {
                for (before, known) in self.matches.iter_mut().zip(known) {
                    *before = before.and(Match::is((known == wanted) == equal));
                }
                self.other |= !matches!(self.loaded, Loaded::Mark | Loaded::State);
            }
            (_, None) => self.condition(Match::Perhaps),
        }
    }

    /// A comparison with the destination port.
    fn port(&self, operator: u32, wanted: &[u8]) -> Match {
        let Ok(port) = wanted.try_into().map(u16::from_be_bytes) else { return Match::Perhaps };
        let (first, last) = (*self.packet.ports.start(), *self.packet.ports.end());
        let is_outside = port < first || last < port;
        match operator {
            uapi::CMP_EQ if is_outside => Match::No,
            uapi::CMP_NEQ if is_outside => Match::Yes,
            uapi::CMP_LTE if last <= port => Match::Yes,
            uapi::CMP_LTE if port < first => Match::No,
            uapi::CMP_GTE if port <= first => Match::Yes,
            uapi::CMP_GTE if last < port => Match::No,
            _ => Match::Perhaps,
        }
    }

    fn range(&mut self, data: &Attributes<'_>) {
        self.loads = 0;
        let end = |kind| data.nested(kind).find(uapi::DATA_VALUE)?.try_into().ok().map(u16::from_be_bytes);
        let (from, to) = (end(uapi::RANGE_FROM), end(uapi::RANGE_TO));
        let (first, last) = (*self.packet.ports.start(), *self.packet.ports.end());
        let answer = match (self.loaded, from, to) {
            (Loaded::Port, Some(from), Some(to)) if to < first || last < from => Match::No,
            (Loaded::Port, Some(from), Some(to)) if from <= first && last <= to => Match::Yes,
            _ => Match::Perhaps,
        };
        let inverted = number(data, uapi::RANGE_OP) == Some(uapi::CMP_NEQ);
        self.condition(if inverted { answer.not() } else { answer });
    }

    fn lookup(&mut self, data: &Attributes<'_>, elements: &mut impl FnMut(&str) -> Vec<Element>) {
        let alone = std::mem::take(&mut self.loads) <= 1;
        let set = elements(&data.find(uapi::LOOKUP_SET).map(text).unwrap_or_default());
        let asks = self.loaded == Loaded::Mark
            && self.masked.is_none_or(|(mask, _)| mask & self.packet.mark.mask != 0);
        self.reads |= asks;
        let inverted = number(data, uapi::LOOKUP_FLAGS).unwrap_or(0) & uapi::LOOKUP_F_INV != 0;
        let is_map = data.find(uapi::LOOKUP_DREG).is_some();
        let Some(known) = self.known().filter(|_| alone) else {
            self.condition(Match::Perhaps);
            if is_map {
                self.fates.extend(set.into_iter().filter_map(|(_, fate)| fate));
            }
            return;
        };
        self.other = true;
        for (family, known) in known.iter().enumerate() {
            // Keys are filled up to registers of four octets.
            let found = set.iter().find(|(key, _)| key.iter().zip(known).all(|(one, other)| one == other));
            self.matches[family] = self.matches[family].and(Match::is(found.is_some() != inverted));
            if let (true, 0, Some((_, Some(fate)))) = (is_map, family, found) {
                self.fates.push(fate.clone());
            }
        }
    }

    fn immediate(&mut self, data: &Attributes<'_>) {
        let verdict = data.nested(uapi::IMMEDIATE_DATA).nested(uapi::DATA_VERDICT);
        match fate(&verdict) {
            Some(Some(fate)) => self.fates.push(fate),
            Some(None) => {}
            None => self.load(Loaded::Other),
        }
    }
}

/// A verdict; `Some(None)` for "continue", `None` for what is no verdict.
pub(super) fn fate(verdict: &Attributes<'_>) -> Option<Option<Fate>> {
    let code = number(verdict, uapi::VERDICT_CODE)?;
    let chain = || verdict.find(uapi::VERDICT_CHAIN).map(text).unwrap_or_default();
    Some(match (code, code.cast_signed()) {
        (uapi::ACCEPT, _) => Some(Fate::Accept),
        (uapi::DROP, _) => Some(Fate::Drop),
        (_, uapi::JUMP) => Some(Fate::Jump(chain())),
        (_, uapi::GOTO) => Some(Fate::Goto(chain())),
        (_, uapi::RETURN) => Some(Fate::Return),
        _ => None,
    })
}

fn number(attributes: &Attributes<'_>, kind: u16) -> Option<u32> {
    attributes.find(kind).and_then(be32)
}

/// Four octets of data, in this host's order as marks and states are.
fn value(attributes: &Attributes<'_>, kind: u16) -> Option<u32> {
    Some(u32::from_ne_bytes(attributes.nested(kind).find(uapi::DATA_VALUE)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall;
    use crate::netlink::{Message, Messages};
    use crate::ruleset::{End, Statement, Verdict};

    fn read(statements: &[Statement], mark: Mark) -> Reading {
        let mut message = Message::nftables(uapi::NEWRULE, 0, uapi::INET, 1);
        message.attributes().nest(uapi::RULE_EXPRESSIONS, |list| {
            statements.iter().for_each(|statement| statement.encode(list));
        });
        let bytes = message.finish();
        let message = Messages::new(&bytes).next().unwrap();
        let packet = Packet { mark, ports: 16384..=32767 };
        Reading::of(message.attributes().nested(uapi::RULE_EXPRESSIONS), &packet, |_| Vec::new())
    }

    #[test]
    fn the_line_is_recognised_and_its_lookalikes_are_not() {
        let mark = Mark::default();
        let line = firewall::line(mark);
        assert!(read(&line, mark).is_line());
        assert_eq!(read(&line, mark).matches, [Match::Yes; 2]);
        assert!(!read(&line, Mark::bit(2)).is_line(), "another bit");
        assert!(!read(&line[1..], mark).is_line(), "tracked packets too");
        let narrow = [&[Statement::InputInterface("eth0".into())], &line[..]].concat();
        assert!(!read(&narrow, mark).is_line(), "one interface only");
        let drop = [&line[..2], &[Statement::Then(Verdict::Drop)]].concat();
        assert!(!read(&drop, mark).is_line(), "not accepted");
    }

    #[test]
    fn whoever_touches_our_bit_is_found_and_others_are_not() {
        let (ours, theirs) = (Mark::default(), Mark::bit(0x2));
        let set = read(&[Statement::SetMark(theirs)], ours);
        assert!(!set.writes && !set.reads, "only their own bit");
        assert!(read(&[Statement::SetMark(ours)], ours).writes);
        assert!(read(&[Statement::ClearMark(ours)], ours).writes);
        assert!(read(&[Statement::Marked(ours)], ours).reads);
        assert!(!read(&[Statement::Marked(theirs)], ours).reads);
    }

    #[test]
    fn what_is_known_of_the_packet_answers_conditions() {
        let answer = |statements: &[Statement]| read(statements, Mark::default()).matches;
        assert_eq!(answer(&[Statement::TrackedAs(uapi::CT_ESTABLISHED)]), [Match::No; 2]);
        assert_eq!(answer(&[Statement::Protocol(6)]), [Match::No; 2]);
        assert_eq!(answer(&[Statement::Protocol(17)]), [Match::Yes; 2]);
        assert_eq!(answer(&[Statement::Family(crate::ruleset::Family::V6)]), [Match::No, Match::Yes]);
        assert_eq!(answer(&[Statement::InputInterface("eth0".into())]), [Match::Perhaps; 2]);
        assert_eq!(answer(&[Statement::Ports(End::Destination, 53..=53)]), [Match::No; 2]);
        assert_eq!(answer(&[Statement::Ports(End::Destination, 1..=65535)]), [Match::Yes; 2]);
        assert_eq!(answer(&[Statement::Ports(End::Destination, 20000..=20001)]), [Match::Perhaps; 2]);
        assert_eq!(answer(&[Statement::Ports(End::Source, 53..=53)]), [Match::Perhaps; 2]);
    }
}
