//! Keys: one value describes a key's name, type, range, default and meaning. The reader, the list of known keys and
//! `docs/configuration.md` all come from it.

use toml::Spanned;
use toml::de::DeValue;

use super::kind::Kind;
use super::problem::{Problems, did_you_mean};

/// What a key means when the file does not give it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Absent {
    /// Its absence is an error.
    Required,
    /// As if this TOML text had been written.
    Literal(&'static str),
    /// Decided from the rest of the configuration; said in words.
    Derived(&'static str),
}

/// One key of a section.
#[derive(Debug)]
pub(crate) struct Key<K> {
    /// Its name in the file.
    pub name: &'static str,
    /// What values it takes.
    pub kind: K,
    /// What its absence means.
    pub absent: Absent,
    /// What it does, one or two sentences.
    pub text: &'static str,
}

/// A key without its type, for lists.
pub(crate) trait Described: Sync {
    /// Its name in the file.
    fn name(&self) -> &'static str;
    /// Type, unit and range in words.
    fn values(&self) -> String;
    /// What its absence means.
    fn absent(&self) -> Absent;
    /// What it does.
    fn text(&self) -> &'static str;
    /// Reads the default, so that a test can prove that it is one.
    #[cfg(test)]
    fn default_is_valid(&self) -> bool;
}

impl<K: Kind + Sync> Described for Key<K> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn values(&self) -> String {
        self.kind.describe()
    }
    fn absent(&self) -> Absent {
        self.absent
    }
    fn text(&self) -> &'static str {
        self.text
    }
    #[cfg(test)]
    fn default_is_valid(&self) -> bool {
        match self.absent {
            Absent::Literal(text) => literal(&self.kind, text).is_some(),
            Absent::Required | Absent::Derived(_) => true,
        }
    }
}

/// A section of the file: its heading, what it is for, its keys.
pub(crate) struct Section {
    /// As written in the file: `[timers]`, `[realm.NAME]`, `[[route]]`; empty for the top of the file.
    pub heading: &'static str,
    /// What it is for.
    pub text: &'static str,
    /// Its keys, in the order of the documentation.
    pub keys: &'static [&'static dyn Described],
}

/// One table of the file being read.
pub(crate) struct Table<'a, 'i> {
    section: &'static Section,
    table: Option<&'a toml::de::DeTable<'i>>,
    /// Where the table stands, for complaints about what is missing.
    span: std::ops::Range<usize>,
}

impl<'a, 'i> Table<'a, 'i> {
    /// Starts reading a table and complains about the keys it must not have. `inner` are names of tables inside it.
    pub(crate) fn open(
        section: &'static Section,
        table: Option<&'a toml::de::DeTable<'i>>,
        span: std::ops::Range<usize>,
        inner: &[&'static str],
        problems: &mut Problems,
    ) -> Self {
        for key in table.into_iter().flat_map(|table| table.keys()) {
            let name: &str = key.get_ref();
            let known = || section.keys.iter().map(|key| key.name()).chain(inner.iter().copied());
            if known().any(|known| known == name) {
                continue;
            }
            let place = if section.heading.is_empty() { "the top of the file" } else { section.heading };
            let help = did_you_mean(name, known()).map_or_else(
                || format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
                |near| format!("did you mean `{near}`?"),
            );
            problems.push_with_help(
                key.span(),
                format!("unknown key `{name}`"),
                format!("not a key of {place}"),
                help,
            );
        }
        Self { section, table, span }
    }

    /// The value of a key that has a default. A bad value is reported and the default taken.
    pub(crate) fn value<K: Kind + Sync>(&self, key: &Key<K>, problems: &mut Problems) -> K::Value {
        self.given(key, problems).unwrap_or_else(|| {
            let Absent::Literal(text) = key.absent else {
                unreachable!("only keys with a default in TOML are read with `value`: {}", key.name)
            };
            literal(&key.kind, text).expect("every default is valid: a test reads them all")
        })
    }

    /// The value of a key as the file gives it.
    pub(crate) fn given<K: Kind + Sync>(&self, key: &Key<K>, problems: &mut Problems) -> Option<K::Value> {
        debug_assert!(
            self.section.keys.iter().any(|known| known.name() == key.name),
            "{} is listed",
            key.name
        );
        self.raw(key.name).and_then(|value| key.kind.read(value, problems))
    }

    /// The value of a key that must be there.
    pub(crate) fn required<K: Kind + Sync>(&self, key: &Key<K>, problems: &mut Problems) -> Option<K::Value> {
        // A misspelt key has been complained about already.
        let names = self.table.into_iter().flat_map(|table| table.keys()).map(|name| &**name.get_ref());
        if self.raw(key.name).is_none() && did_you_mean(key.name, names).is_none() {
            let label = format!("{} needs `{}`: {}", self.section.heading, key.name, key.kind.describe());
            problems.push(self.span.clone(), format!("`{}` is missing", key.name), label);
        }
        self.given(key, problems)
    }

    /// Where a key's value stands, or the table where the key is absent.
    pub(crate) fn place<K>(&self, key: &Key<K>) -> std::ops::Range<usize> {
        self.raw(key.name).map_or_else(|| self.span.clone(), Spanned::span)
    }

    /// True if the file gives the key, well or badly.
    pub(crate) fn is_given<K>(&self, key: &Key<K>) -> bool {
        self.raw(key.name).is_some()
    }

    fn raw(&self, name: &str) -> Option<&'a Spanned<DeValue<'i>>> {
        self.table.and_then(|table| table.get(name))
    }
}

fn literal<K: Kind>(kind: &K, text: &'static str) -> Option<K::Value> {
    let value = DeValue::parse(text).ok()?;
    let mut problems = Problems::default();
    kind.read(&value, &mut problems).filter(|_| problems.is_empty())
}
