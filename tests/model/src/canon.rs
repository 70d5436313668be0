//! When are two states the same one? When nothing that can still happen tells them apart.
//!
//! The whole state is written down (its `Debug` form, so that a new field is never forgotten) and then made
//! independent of how it was reached:
//!
//! - points in time become distances from now; timers that have fired become one word;
//! - identifiers that somebody drew (tags, Call-IDs, branches, session identifiers, numbers of requests, rules and
//!   transactions) become `#1`, `#2` … in the order in which they are met, in numbers and inside messages alike:
//!   which of them are equal is all that can matter;
//! - parts without an order are put into one that does not depend on identifiers.
//!
//! What is left is hashed to 128 bits. If it tells too many states apart, the exploration takes longer; it must never
//! take two different states for one. It does so only for equal hashes, less likely than an error of the memory.

use std::fmt::{Debug, Write};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::ops::Range;

use foldhash::quality::FixedState;
use hashbrown::HashMap;
use machine::Instant;
use machine::onlooker::Onlooker;

/// 128 bits that stand for a state.
pub type Fingerprint = u128;

/// Identifiers have at least this many digits; everything that is shorter is a number that means something.
const IDENTIFIER_LEN_MIN: usize = 7;
/// Lists of at least this many small numbers are texts.
const TEXT_LEN_MIN: usize = 16;

/// Writes states down in canonical form. Its memory is used again.
#[derive(Debug, Default)]
pub struct Canon {
    now: u64,
    names: Names,
    raw: String,
    clean: Vec<u8>,
    /// Parts without an order, one behind the other, while one is looked for.
    previews: Vec<u8>,
}

/// Names given so far.
#[derive(Debug, Clone, Default)]
struct Names {
    names: HashMap<(Kind, u128), u32, foldhash::fast::FixedState>,
    /// In the order of their names.
    given: Vec<(Kind, u128)>,
}

/// What an identifier names; equal numbers of different kinds are different things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    /// Drawn at random: equal wherever it stands.
    Random,
    Request,
    Rule,
    Group,
    Lookup,
    Timer,
    Transaction,
}

impl Names {
    fn name(&mut self, kind: Kind, value: u128) -> u32 {
        let Self { names, given } = self;
        *names.entry((kind, value)).or_insert_with(|| {
            given.push((kind, value));
            given.len() as u32
        })
    }

    /// Takes back all but the first so many names.
    fn keep(&mut self, len: usize) {
        for name in self.given.drain(len..) {
            self.names.remove(&name);
        }
    }

    fn clear(&mut self) {
        self.names.clear();
        self.given.clear();
    }
}

impl Canon {
    /// Begins a new state.
    pub fn begin(&mut self, now: Instant) {
        self.now = now.as_nanos();
        self.names.clear();
        self.clean.clear();
    }

    /// The state in canonical form.
    #[must_use]
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.clean)
    }

    /// What stands for it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let half = |seed| {
            let mut hasher = FixedState::with_seed(seed).build_hasher();
            hasher.write(&self.clean);
            u128::from(hasher.finish())
        };
        half(0x9e37_79b9_7f4a_7c15) << 64 | half(0xd1b5_4a32_d192_ed03)
    }

    fn write(&mut self, part: &dyn Debug) {
        self.raw.clear();
        // Writing into a String does not fail.
        let _written = write!(self.raw, "{part:?}");
        Scan::run(self.raw.as_bytes(), self.now, &mut self.names, &mut self.clean);
        self.clean.push(b'\n');
    }

    /// Writes a part as it would be written now behind the other previews, without giving names to what has none.
    fn preview(&mut self, part: &dyn Debug) -> Range<usize> {
        self.raw.clear();
        let _written = write!(self.raw, "{part:?}");
        let (start, named) = (self.previews.len(), self.names.given.len());
        Scan::run(self.raw.as_bytes(), self.now, &mut self.names, &mut self.previews);
        self.names.keep(named);
        start..self.previews.len()
    }
}

impl Onlooker for Canon {
    fn see(&mut self, part: &dyn Debug) {
        self.write(part);
    }

    fn see_unordered(&mut self, parts: &[&dyn Debug]) {
        match parts {
            [] => self.clean.extend_from_slice(b"{}\n"),
            [one] => self.write(one),
            several => {
                self.previews.clear();
                let mut order: Vec<(Range<usize>, &dyn Debug)> =
                    several.iter().map(|part| (self.preview(*part), *part)).collect();
                order.sort_by(|(one, _), (other, _)| {
                    self.previews[one.clone()].cmp(&self.previews[other.clone()])
                });
                for (_, part) in order {
                    self.write(part);
                }
            }
        }
    }
}

/// Reads a `Debug` form and writes the canonical one: copies it but for what must be said otherwise.
struct Scan<'s> {
    text: &'s [u8],
    at: usize,
    /// Up to where it has been written.
    written: usize,
    now: u64,
    names: &'s mut Names,
    out: &'s mut Vec<u8>,
}

impl<'s> Scan<'s> {
    fn run(text: &'s [u8], now: u64, names: &'s mut Names, out: &'s mut Vec<u8>) {
        Scan { text, at: 0, written: 0, now, names, out }.all();
    }

    fn all(&mut self) {
        // The name of the type or field that the next number belongs to.
        let (mut word, mut index, mut is_history): (&[u8], u128, bool) = (b"", 0, false);
        while let Some(byte) = self.text.get(self.at) {
            if !is_word(*byte) {
                match byte {
                    b',' => is_history = false,
                    b'[' if self.is_text() => {
                        self.text_in_numbers();
                        continue;
                    }
                    _ => {}
                }
                self.at += 1;
                continue;
            }
            let start = self.at;
            let run = self.run_of_word();
            if !run.iter().all(u8::is_ascii_digit) {
                match run {
                    b"started" | b"established" => is_history = true,
                    b"TimerId" => self.skip_spent_timer(),
                    _ if is_hexadecimal(run) => {
                        self.put(start, Kind::Random, hexadecimal(run));
                        continue;
                    }
                    _ => {}
                }
                word = run;
                continue;
            }
            match std::mem::take(&mut word) {
                // Says nothing without its generation.
                b"index" => {
                    index = decimal(run);
                    self.instead(start, b"");
                }
                b"generation" => self.put(start, Kind::Transaction, index << 64 | decimal(run)),
                b"Instant" if std::mem::take(&mut is_history) => self.instead(start, b"then"),
                b"Instant" => self.put_time(start, decimal(run)),
                b"sequence" => self.put(start, Kind::Timer, decimal(run)),
                b"RequestId" => self.put(start, Kind::Request, decimal(run)),
                b"Prid" => self.put(start, Kind::Rule, decimal(run)),
                b"Gid" => self.put(start, Kind::Group, decimal(run)),
                b"LookupId" => self.put(start, Kind::Lookup, decimal(run)),
                _ if run.len() >= IDENTIFIER_LEN_MIN => self.put(start, Kind::Random, decimal(run)),
                _ => {}
            }
        }
        self.out.extend_from_slice(&self.text[self.written..]);
    }

    fn run_of_word(&mut self) -> &'s [u8] {
        let rest = &self.text[self.at..];
        let run = &rest[..rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len())];
        self.at += run.len();
        run
    }

    /// Writes what stands before `start`, and something else for what was read since.
    fn instead(&mut self, start: usize, other: &[u8]) {
        self.out.extend_from_slice(&self.text[self.written..start]);
        self.out.extend_from_slice(other);
        self.written = self.at;
    }

    /// What is left of a timer that has fired names nothing any more.
    fn skip_spent_timer(&mut self) {
        let rest = &self.text[self.at..];
        let digits = rest.strip_prefix(b" { at: Instant(").unwrap_or_default();
        let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if len > 0 && decimal(&digits[..len]) < u128::from(self.now) {
            let start = self.at;
            self.at += rest.iter().position(|byte| *byte == b'}').map_or(rest.len(), |end| end + 1);
            self.instead(start, b" spent");
        }
    }

    fn put(&mut self, start: usize, kind: Kind, value: u128) {
        let name = self.names.name(kind, value);
        self.instead(start, b"#");
        self.put_number(name.into());
    }

    fn put_time(&mut self, start: usize, nanos: u128) {
        let left = nanos as i128 - i128::from(self.now);
        self.instead(start, if left < 0 { b"-" } else { b"" });
        self.put_number(left.unsigned_abs());
    }

    fn put_number(&mut self, number: u128) {
        // Writing into a Vec does not fail.
        let _written = io::Write::write_fmt(self.out, format_args!("{number}"));
    }

    /// True if a list of numbers begins here that is long enough for a text.
    fn is_text(&self) -> bool {
        let rest = &self.text[self.at + 1..];
        let numbers = rest.iter().take_while(|byte| byte.is_ascii_digit() || matches!(byte, b',' | b' '));
        let (len, commas) =
            numbers.fold((0, 0), |(len, commas), byte| (len + 1, commas + usize::from(*byte == b',')));
        rest.get(len) == Some(&b']') && commas + 1 >= TEXT_LEN_MIN
    }

    /// Bytes that `Debug` shows as numbers: read as what they are.
    fn text_in_numbers(&mut self) {
        let start = self.at + 1;
        let rest = &self.text[start..];
        let end = rest.iter().position(|byte| *byte == b']').unwrap_or(rest.len());
        let numbers = rest[..end].split(|byte| *byte == b',');
        let bytes: Vec<u8> = numbers.map(|number| decimal(number.trim_ascii()) as u8).collect();
        self.at = start + end;
        self.instead(start, b"");
        Scan::run(&bytes, self.now, self.names, self.out);
    }
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

fn decimal(digits: &[u8]) -> u128 {
    digits.iter().fold(0, |value, digit| value.wrapping_mul(10).wrapping_add(u128::from(digit - b'0')))
}

/// Identifiers in messages have 16 or 32 digits.
fn is_hexadecimal(run: &[u8]) -> bool {
    matches!(run.len(), 16 | 32) && run.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hexadecimal(digits: &[u8]) -> u128 {
    let text = std::str::from_utf8(digits).unwrap_or_default();
    u128::from_str_radix(text, 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use machine::Timers;

    fn text(now: u64, parts: &[&dyn Debug]) -> String {
        let mut canon = Canon::default();
        canon.begin(Instant::from_nanos(now));
        for part in parts {
            canon.see(*part);
        }
        canon.text().into_owned()
    }

    #[derive(Debug)]
    struct Prid(#[allow(dead_code, reason = "seen by Debug")] u32);

    #[test]
    fn identifiers_are_known_in_every_notation() {
        let one = 0x0123_4567_89ab_cdef_u64;
        let other = 0xfedc_ba98_7654_3210_u64;
        let written = |number: u64| format!("tag={number:016x};x");
        let state = |a: u64, b: u64| text(0, &[&a, &written(b).into_bytes(), &Prid(7)]);
        assert_eq!(state(one, one), state(other, other));
        assert_ne!(state(one, one), state(one, other));
    }

    #[test]
    fn equal_numbers_of_different_kinds_are_different_things() {
        assert_ne!(text(0, &[&Prid(7), &Prid(7)]), text(0, &[&Prid(7), &Prid(8)]));
        assert_eq!(text(0, &[&Prid(7), &Prid(8)]), text(0, &[&Prid(9), &Prid(1)]));
        assert_ne!(text(0, &[&7]), text(0, &[&8]));
    }

    #[test]
    fn time_is_what_is_left() {
        let at = |now: u64| {
            let mut timers = Timers::new();
            timers.set(Instant::from_nanos(now + 5), 'x');
            text(now, &[&timers])
        };
        assert_eq!(at(100), at(2_000));
        assert_ne!(text(0, &[&Instant::from_nanos(5)]), text(1, &[&Instant::from_nanos(5)]));
    }

    #[test]
    fn what_has_no_order_gets_one() {
        let mut canon = Canon::default();
        let mut state = |parts: &[&dyn Debug]| {
            canon.begin(Instant::ZERO);
            canon.see_unordered(parts);
            canon.text().into_owned()
        };
        let one = (0x0123_4567_89ab_cdef_u64, "a");
        let other = (0xfedc_ba98_7654_3210_u64, "b");
        assert_eq!(state(&[&one, &other]), state(&[&other, &one]));
    }
}
