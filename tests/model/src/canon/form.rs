//! A part of a state, read once: what stands in it in any case, and between that what depends on time and names.

use super::names::{Kind, Names};

/// Identifiers have at least this many digits; everything that is shorter is a number that means something.
const IDENTIFIER_LEN_MIN: usize = 7;
/// Lists of at least this many small numbers are texts.
const TEXT_LEN_MIN: usize = 16;

/// A part that was read.
#[derive(Debug, Clone, Default)]
pub(super) struct Form {
    /// What stands in any case, one behind the other.
    fixed: Vec<u8>,
    /// What does not, and before which byte of `fixed`; in order.
    marks: Vec<(u32, Mark)>,
}

/// What depends on time and names.
#[derive(Debug, Clone, Copy)]
enum Mark {
    Name(Kind, u128),
    /// A point in time.
    Time(u64),
    /// A timer: names nothing any more once it has fired.
    Timer {
        at: u64,
        sequence: u64,
    },
}

impl Form {
    /// Reads a `Debug` form.
    pub(super) fn read(text: &[u8]) -> Self {
        let mut form = Self { fixed: Vec::with_capacity(text.len()), marks: Vec::new() };
        Scan { text, at: 0, written: 0, form: &mut form }.all();
        form
    }

    /// Writes the canonical form, behind what stands there.
    pub(super) fn write(&self, now: u64, names: &mut Names, out: &mut Vec<u8>) {
        let mut written = 0;
        for (before, mark) in &self.marks {
            let before = *before as usize;
            out.extend_from_slice(&self.fixed[written..before]);
            written = before;
            match *mark {
                Mark::Name(kind, value) => put_name(names.name(kind, value), out),
                Mark::Time(at) => put_time(at, now, out),
                Mark::Timer { at, .. } if at < now => out.extend_from_slice(b" spent"),
                Mark::Timer { at, sequence } => {
                    out.push(b'@');
                    put_time(at, now, out);
                    put_name(names.name(Kind::Timer, sequence.into()), out);
                }
            }
        }
        out.extend_from_slice(&self.fixed[written..]);
    }
}

fn put_name(name: u32, out: &mut Vec<u8>) {
    out.push(b'#');
    put_number(name.into(), out);
}

fn put_time(at: u64, now: u64, out: &mut Vec<u8>) {
    if at < now {
        out.push(b'-');
    }
    put_number(at.abs_diff(now), out);
}

fn put_number(mut number: u64, out: &mut Vec<u8>) {
    let start = out.len();
    loop {
        out.push(b'0' + (number % 10) as u8);
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out[start..].reverse();
}

/// Reads a `Debug` form: copies it but for what must be said otherwise.
struct Scan<'s> {
    text: &'s [u8],
    at: usize,
    /// Up to where it has been copied.
    written: usize,
    form: &'s mut Form,
}

impl<'s> Scan<'s> {
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
                    b"TimerId" => self.timer(),
                    _ if is_hexadecimal(run) => {
                        self.instead(start, Mark::Name(Kind::Random, hexadecimal(run)));
                        continue;
                    }
                    _ => {}
                }
                word = run;
                continue;
            }
            let number = || decimal(run);
            match std::mem::take(&mut word) {
                // Says nothing without its generation.
                b"index" => {
                    index = number();
                    self.skip(start);
                }
                b"generation" => self.instead(start, Mark::Name(Kind::Transaction, index << 64 | number())),
                b"Instant" if std::mem::take(&mut is_history) => {
                    self.skip(start);
                    self.form.fixed.extend_from_slice(b"then");
                }
                b"Instant" => self.instead(start, Mark::Time(number() as u64)),
                b"sequence" => self.instead(start, Mark::Name(Kind::Timer, number())),
                b"RequestId" => self.instead(start, Mark::Name(Kind::Request, number())),
                b"Prid" => self.instead(start, Mark::Name(Kind::Rule, number())),
                b"Gid" => self.instead(start, Mark::Name(Kind::Group, number())),
                b"LookupId" => self.instead(start, Mark::Name(Kind::Lookup, number())),
                _ if run.len() >= IDENTIFIER_LEN_MIN => {
                    self.instead(start, Mark::Name(Kind::Random, number()));
                }
                _ => {}
            }
        }
        self.form.fixed.extend_from_slice(&self.text[self.written..]);
    }

    fn run_of_word(&mut self) -> &'s [u8] {
        let rest = &self.text[self.at..];
        let run = &rest[..rest.iter().position(|byte| !is_word(*byte)).unwrap_or(rest.len())];
        self.at += run.len();
        run
    }

    /// Copies what stands before `start`, and leaves out what was read since.
    fn skip(&mut self, start: usize) {
        self.form.fixed.extend_from_slice(&self.text[self.written..start]);
        self.written = self.at;
    }

    /// The same, with a mark for what is left out.
    fn instead(&mut self, start: usize, mark: Mark) {
        self.skip(start);
        self.form.marks.push((self.form.fixed.len() as u32, mark));
    }

    /// What follows `TimerId`: ` { at: Instant(1), sequence: 2 }`.
    fn timer(&mut self) {
        let rest = &self.text[self.at..];
        let timer = number_after(rest, b" { at: Instant(").and_then(|(at, rest)| {
            let (sequence, rest) = number_after(rest, b"), sequence: ")?;
            Some((Mark::Timer { at, sequence }, rest.strip_prefix(b" }")?.len()))
        });
        if let Some((mark, left)) = timer {
            let start = self.at;
            self.at = self.text.len() - left;
            self.instead(start, mark);
        }
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
        self.skip(start);
        Scan { text: &bytes, at: 0, written: 0, form: self.form }.all();
    }
}

fn number_after<'t>(text: &'t [u8], before: &[u8]) -> Option<(u64, &'t [u8])> {
    let rest = text.strip_prefix(before)?;
    let len = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    (len > 0).then(|| (decimal(&rest[..len]) as u64, &rest[len..]))
}

fn is_word(byte: u8) -> bool {
    const WORD: [bool; 256] = {
        let (mut table, mut byte) = ([false; 256], 0);
        while byte < 256 {
            table[byte] = (byte as u8).is_ascii_alphanumeric() || byte as u8 == b'_';
            byte += 1;
        }
        table
    };
    WORD[usize::from(byte)]
}

fn decimal(digits: &[u8]) -> u128 {
    let value = |digits: &[u8]| {
        digits.iter().fold(0_u64, |value, digit| value.wrapping_mul(10).wrapping_add(u64::from(digit - b'0')))
    };
    // More than 64 bits are rare and dear.
    let Some(rest) = digits.len().checked_sub(18) else { return value(digits).into() };
    let (high, low) = digits.split_at(rest);
    decimal(high).wrapping_mul(1_000_000_000_000_000_000).wrapping_add(value(low).into())
}

/// Identifiers in messages have 16 or 32 digits.
fn is_hexadecimal(run: &[u8]) -> bool {
    matches!(run.len(), 16 | 32) && run.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn hexadecimal(digits: &[u8]) -> u128 {
    let text = std::str::from_utf8(digits).unwrap_or_default();
    u128::from_str_radix(text, 16).unwrap_or_default()
}
