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
    clean: String,
}

/// Names given so far.
#[derive(Debug, Clone, Default)]
struct Names {
    names: HashMap<(Kind, u128), u32, foldhash::fast::FixedState>,
    next: u32,
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
        *self.names.entry((kind, value)).or_insert_with(|| {
            self.next += 1;
            self.next
        })
    }

    fn clear(&mut self) {
        self.names.clear();
        self.next = 0;
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
    pub fn text(&self) -> &str {
        &self.clean
    }

    /// What stands for it.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        let half = |seed| {
            let mut hasher = FixedState::with_seed(seed).build_hasher();
            hasher.write(self.clean.as_bytes());
            u128::from(hasher.finish())
        };
        half(0x9e37_79b9_7f4a_7c15) << 64 | half(0xd1b5_4a32_d192_ed03)
    }

    fn write(&mut self, part: &dyn Debug) {
        self.raw.clear();
        // Writing into a String does not fail.
        let _written = write!(self.raw, "{part:?}");
        Scan {
            text: self.raw.as_bytes(),
            at: 0,
            now: self.now,
            names: &mut self.names,
            out: &mut self.clean,
        }
        .run();
        self.clean.push('\n');
    }

    /// A part as it would be written now, without giving names to what has none.
    fn preview(&mut self, part: &dyn Debug) -> String {
        self.raw.clear();
        let _written = write!(self.raw, "{part:?}");
        let (mut names, mut out) = (self.names.clone(), String::new());
        Scan { text: self.raw.as_bytes(), at: 0, now: self.now, names: &mut names, out: &mut out }.run();
        out
    }
}

impl Onlooker for Canon {
    fn see(&mut self, part: &dyn Debug) {
        self.write(part);
    }

    fn see_unordered(&mut self, parts: &[&dyn Debug]) {
        match parts {
            [] => self.clean.push_str("{}\n"),
            [one] => self.write(one),
            several => {
                let mut order: Vec<(String, &dyn Debug)> =
                    several.iter().map(|part| (self.preview(*part), *part)).collect();
                order.sort_by(|one, other| one.0.cmp(&other.0));
                for (_, part) in order {
                    self.write(part);
                }
            }
        }
    }
}

/// Reads a `Debug` form and writes the canonical one.
struct Scan<'s> {
    text: &'s [u8],
    at: usize,
    now: u64,
    names: &'s mut Names,
    out: &'s mut String,
}

impl Scan<'_> {
    fn run(mut self) {
        // The name of the type or field that the next number belongs to.
        let (mut word, mut index, mut is_history): (&[u8], u128, bool) = (b"", 0, false);
        while let Some(byte) = self.text.get(self.at) {
            match byte {
                b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                    let text = self.text;
                    let run = self.run_of_word();
                    let run = &text[run];
                    match run {
                        b"started" | b"established" => is_history = true,
                        _ if run.iter().all(u8::is_ascii_digit) => {
                            let value = decimal(run);
                            match word {
                                b"index" => index = value,
                                b"generation" => {
                                    self.put(Kind::Transaction, index << 64 | value);
                                }
                                b"Instant" if is_history => {
                                    self.out.push_str("then");
                                    is_history = false;
                                }
                                b"Instant" => self.put_time(value),
                                b"sequence" => self.put(Kind::Timer, value),
                                b"RequestId" => self.put(Kind::Request, value),
                                b"Prid" => self.put(Kind::Rule, value),
                                b"Gid" => self.put(Kind::Group, value),
                                b"LookupId" => self.put(Kind::Lookup, value),
                                _ if run.len() >= IDENTIFIER_LEN_MIN => self.put(Kind::Random, value),
                                _ => self.put_bytes(run),
                            }
                            word = b"";
                            continue;
                        }
                        b"TimerId" if self.skip_spent_timer() => continue,
                        _ if is_hexadecimal(run) => {
                            self.put(Kind::Random, hexadecimal(run));
                            continue;
                        }
                        _ => {}
                    }
                    word = run;
                    self.put_bytes(run);
                }
                b',' => {
                    is_history = false;
                    self.out.push(',');
                    self.at += 1;
                }
                b'[' if self.is_text() => self.text_in_numbers(),
                other => {
                    self.out.push(char::from(*other));
                    self.at += 1;
                }
            }
        }
    }

    fn run_of_word(&mut self) -> std::ops::Range<usize> {
        let start = self.at;
        let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let len = self.text[start..].iter().take_while(|byte| is_word(byte)).count();
        self.at = start + len;
        start..self.at
    }

    /// What is left of a timer that has fired names nothing any more.
    fn skip_spent_timer(&mut self) -> bool {
        let rest = &self.text[self.at..];
        let digits = rest.strip_prefix(b" { at: Instant(").unwrap_or_default();
        let len = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let is_spent = len > 0 && decimal(&digits[..len]) < u128::from(self.now);
        if is_spent {
            self.at += rest.iter().position(|byte| *byte == b'}').map_or(rest.len(), |end| end + 1);
            self.out.push_str("spent");
        }
        is_spent
    }

    fn put(&mut self, kind: Kind, value: u128) {
        let name = self.names.name(kind, value);
        let _written = write!(self.out, "#{name}");
    }

    fn put_time(&mut self, nanos: u128) {
        let _written = write!(self.out, "{}", nanos as i128 - i128::from(self.now));
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.out.push_str(std::str::from_utf8(bytes).unwrap_or("?"));
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
        let rest = &self.text[self.at + 1..];
        let end = rest.iter().position(|byte| *byte == b']').unwrap_or(rest.len());
        let numbers = rest[..end].split(|byte| *byte == b',');
        let bytes: Vec<u8> = numbers.map(|number| decimal(number.trim_ascii()) as u8).collect();
        self.at += end + 2;
        self.out.push('[');
        Scan { text: &bytes, at: 0, now: self.now, names: &mut *self.names, out: &mut *self.out }.run();
        self.out.push(']');
    }
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
        canon.text().to_owned()
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
            canon.text().to_owned()
        };
        let one = (0x0123_4567_89ab_cdef_u64, "a");
        let other = (0xfedc_ba98_7654_3210_u64, "b");
        assert_eq!(state(&[&one, &other]), state(&[&other, &one]));
    }
}
