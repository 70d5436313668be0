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

mod form;
mod names;

use std::cell::OnceCell;
use std::fmt::{Debug, Write};
use std::hash::{BuildHasher, Hasher};
use std::ops::{Deref, DerefMut, Range};
use std::rc::Rc;

use foldhash::quality::FixedState;
use machine::Instant;
use machine::onlooker::Onlooker;

use form::Form;
use names::Names;

/// 128 bits that stand for a state.
pub type Fingerprint = u128;

/// Writes states down in canonical form. Its memory is used again.
#[derive(Debug, Default)]
pub struct Canon {
    now: u64,
    names: Names,
    clean: Vec<u8>,
    reader: Reader,
    /// Parts without an order, one behind the other, while one is looked for.
    previews: Vec<u8>,
}

/// So many forms are remembered: most parts of a state are those of the state before.
const FORMS: usize = 1 << 14;

/// Reads what a part shows of itself.
#[derive(Debug)]
struct Reader {
    raw: String,
    parts: Vec<Part>,
    /// What was read, at a place that follows from its hash.
    known: Vec<Option<(Fingerprint, Rc<Form>)>>,
}

#[derive(Debug, Clone)]
enum Part {
    One(Rc<Form>),
    Unordered(Vec<Rc<Form>>),
}

impl Default for Reader {
    fn default() -> Self {
        Self { raw: String::new(), parts: Vec::new(), known: vec![None; FORMS] }
    }
}

impl Reader {
    fn read(&mut self, part: &dyn Debug) -> Rc<Form> {
        self.raw.clear();
        // Writing into a String does not fail.
        let _written = write!(self.raw, "{part:?}");
        let hash = hash(self.raw.as_bytes());
        let known = &mut self.known[hash as usize % FORMS];
        match known {
            Some((of, form)) if *of == hash => form.clone(),
            Some(_) | None => known.insert((hash, Rc::new(Form::read(self.raw.as_bytes())))).1.clone(),
        }
    }
}

fn hash(bytes: &[u8]) -> u128 {
    let half = |seed| {
        let mut hasher = FixedState::with_seed(seed).build_hasher();
        hasher.write(bytes);
        u128::from(hasher.finish())
    };
    half(0x9e37_79b9_7f4a_7c15) << 64 | half(0xd1b5_4a32_d192_ed03)
}

impl Onlooker for Reader {
    fn see(&mut self, part: &dyn Debug) {
        let form = self.read(part);
        self.parts.push(Part::One(form));
    }

    fn see_unordered(&mut self, parts: &[&dyn Debug]) {
        let forms = parts.iter().map(|part| self.read(*part)).collect();
        self.parts.push(Part::Unordered(forms));
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
        hash(&self.clean)
    }

    /// Whatever `show` shows, unless it was read before and is still the same.
    pub fn watch<T>(&mut self, watched: &Watched<T>, show: impl FnOnce(&T, &mut dyn Onlooker)) {
        let parts = watched.parts.get_or_init(|| {
            show(&watched.it, &mut self.reader);
            self.reader.parts.drain(..).collect()
        });
        for part in parts.iter() {
            self.part(part);
        }
    }

    fn part(&mut self, part: &Part) {
        match part {
            Part::One(form) => self.form(form),
            Part::Unordered(forms) => self.unordered(forms),
        }
    }

    fn form(&mut self, form: &Form) {
        form.write(self.now, &mut self.names, &mut self.clean);
        self.clean.push(b'\n');
    }

    fn unordered(&mut self, forms: &[Rc<Form>]) {
        if let [] | [_] = forms {
            self.clean.extend_from_slice(if forms.is_empty() { b"{}\n" } else { b"" });
            return forms.iter().for_each(|form| self.form(form));
        }
        self.previews.clear();
        let mut order: Vec<(Range<usize>, &Rc<Form>)> =
            forms.iter().map(|form| (self.preview(form), form)).collect();
        order.sort_by(|(one, _), (other, _)| self.previews[one.clone()].cmp(&self.previews[other.clone()]));
        for (_, form) in order {
            self.form(form);
        }
    }

    /// Writes a part as it would be written now behind the other previews, without giving names to what has none.
    fn preview(&mut self, form: &Form) -> Range<usize> {
        let (start, named) = (self.previews.len(), self.names.len());
        form.write(self.now, &mut self.names, &mut self.previews);
        self.names.keep(named);
        start..self.previews.len()
    }
}

impl Onlooker for Canon {
    fn see(&mut self, part: &dyn Debug) {
        let form = self.reader.read(part);
        self.form(&form);
    }

    fn see_unordered(&mut self, parts: &[&dyn Debug]) {
        let forms: Vec<Rc<Form>> = parts.iter().map(|part| self.reader.read(*part)).collect();
        self.unordered(&forms);
    }
}

/// Something that is read again only after somebody could have changed it.
#[derive(Debug, Clone)]
pub struct Watched<T> {
    it: T,
    parts: OnceCell<Rc<[Part]>>,
}

impl<T> Watched<T> {
    /// Nothing was read yet.
    pub fn new(it: T) -> Self {
        Self { it, parts: OnceCell::new() }
    }
}

impl<T> Deref for Watched<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.it
    }
}

impl<T> DerefMut for Watched<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.parts.take();
        &mut self.it
    }
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
