//! Reading other people's rules, as far as the mark goes.

use crate::config::Mark;
use crate::netlink::{Attribute, Attributes, be32, text, uapi};

/// What the register was last loaded with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loaded {
    Mark,
    State,
    Other,
}

/// What a rule does with the mark.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reading {
    /// It asks for bits of ours.
    pub(super) reads: bool,
    /// It may change bits of ours.
    pub(super) writes: bool,
    marked: bool,
    untracked: bool,
    accepts: bool,
    /// It has conditions that have nothing to do with the line.
    other: bool,
    loaded: Loaded,
    /// The last mask and what was added: what is kept of a register.
    masked: Option<(u32, u32)>,
    mark: Mark,
}

impl Reading {
    pub(super) fn of(expressions: Attributes<'_>, mark: Mark) -> Self {
        let mut reading = Self {
            reads: false,
            writes: false,
            marked: false,
            untracked: false,
            accepts: false,
            other: false,
            loaded: Loaded::Other,
            masked: None,
            mark,
        };
        expressions.for_each(|expression| reading.read(expression));
        reading
    }

    /// Accepts exactly what has our mark and is untracked, and asks nothing else.
    pub(super) fn is_line(&self) -> bool {
        self.marked && self.untracked && self.accepts && !self.other && !self.writes
    }

    fn read(&mut self, expression: Attribute<'_>) {
        let expression = expression.nested();
        let name = expression.find(uapi::EXPR_NAME).map(text).unwrap_or_default();
        let data = expression.nested(uapi::EXPR_DATA);
        match name.as_str() {
            "meta" => self.meta(&data),
            "ct" => self.load(match number(&data, uapi::CT_KEY) {
                Some(uapi::CT_STATE) => Loaded::State,
                _ => Loaded::Other,
            }),
            "bitwise" => {
                let (mask, xor) = (value(&data, uapi::BITWISE_MASK), value(&data, uapi::BITWISE_XOR));
                self.masked = mask.zip(xor);
            }
            "cmp" => self.compare(&data),
            "immediate" => self.immediate(&data),
            "counter" => {}
            _ => self.load(Loaded::Other),
        }
    }

    fn load(&mut self, what: Loaded) {
        self.loaded = what;
        self.masked = None;
        self.other |= what == Loaded::Other;
    }

    fn meta(&mut self, data: &Attributes<'_>) {
        let is_mark = number(data, uapi::META_KEY) == Some(uapi::META_MARK);
        match (is_mark, data.find(uapi::META_SREG).is_some()) {
            (true, true) => {
                // Harmless only where our bits are kept as they were.
                let kept = |(mask, xor): (u32, u32)| {
                    mask & self.mark.mask == self.mark.mask && xor & self.mark.mask == 0
                };
                self.writes |= !(self.loaded == Loaded::Mark && self.masked.is_some_and(kept));
            }
            (true, false) => self.load(Loaded::Mark),
            (false, false) => self.load(Loaded::Other),
            (false, true) => {}
        }
    }

    fn compare(&mut self, data: &Attributes<'_>) {
        let wanted = value(data, uapi::CMP_DATA);
        let equal = number(data, uapi::CMP_OP) == Some(uapi::CMP_EQ);
        match self.loaded {
            Loaded::Mark => {
                let (mask, xor) = self.masked.unwrap_or((u32::MAX, 0));
                self.reads |= mask & self.mark.mask != 0;
                self.marked |= equal && (mask, xor) == (self.mark.mask, 0) && wanted == Some(self.mark.value);
            }
            Loaded::State => {
                self.untracked |= !equal && self.masked == Some((uapi::CT_UNTRACKED, 0)) && wanted == Some(0);
            }
            Loaded::Other => {}
        }
    }

    fn immediate(&mut self, data: &Attributes<'_>) {
        let verdict = data.nested(uapi::IMMEDIATE_DATA).nested(uapi::DATA_VERDICT);
        match number(&verdict, uapi::VERDICT_CODE) {
            Some(code) => self.accepts = code == uapi::ACCEPT,
            None => self.load(Loaded::Other),
        }
    }
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
    use crate::ruleset::{Statement, Verdict};

    fn read(statements: &[Statement], mark: Mark) -> Reading {
        let mut message = Message::nftables(uapi::NEWRULE, 0, uapi::INET, 1);
        message.attributes().nest(uapi::RULE_EXPRESSIONS, |list| {
            statements.iter().for_each(|statement| statement.encode(list));
        });
        let bytes = message.finish();
        let message = Messages::new(&bytes).next().unwrap();
        Reading::of(message.attributes().nested(uapi::RULE_EXPRESSIONS), mark)
    }

    #[test]
    fn the_line_is_recognised_and_its_lookalikes_are_not() {
        let mark = Mark::default();
        let line = firewall::line(mark);
        assert!(read(&line, mark).is_line());
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
}
