//! What may change while Postern runs. Which keys these are is said here, once: the comparison of two files and
//! `docs/configuration.md` both ask.

use std::ops::Range;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::problem::Problems;
use super::{Config, SECTIONS, TABLES};

/// How a changed key takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// At once, by `postern reload`.
    Reload,
    /// When Postern is started again.
    Restart,
}

/// Sections whose keys all change by reload.
const WHOLE: [&str; 4] = ["[middlebox.agent.NAME]", "[[call-policy]]", "[[policy]]", "[[route]]"];
/// Keys of other sections that do.
const KEYS: [(&str, &[&str]); 1] = [(
    "[middlebox]",
    &["peers", "users", "internal", "ports", "deny", "never-deny", "time-zone", "max-rules", "max-lifetime"],
)];

/// How a key takes effect.
pub(super) fn class(heading: &str, key: &str) -> Class {
    let named = KEYS.iter().any(|(of, keys)| *of == heading && keys.contains(&key));
    if named || WHOLE.contains(&heading) { Class::Reload } else { Class::Restart }
}

/// One difference between two files.
struct Change {
    key: String,
    class: Class,
    /// Where it stands in the new file; the beginning for what is gone.
    span: Range<usize>,
}

/// The new configuration of a half that runs with another, and which keys differ.
///
/// # Errors
/// It is another file than the half runs with, is wrong, or changes what takes effect only at a start: text for people.
pub(crate) fn take(current: &Config, path: &str, text: &str) -> Result<(Config, Vec<String>), String> {
    // A file that is gone, or that we may not see, is not known to be another.
    if let (Ok(ours), Ok(other)) = (current.file.canonicalize(), Path::new(path).canonicalize())
        && ours != other
    {
        let (ours, other) = (ours.display(), other.display());
        return Err(format!(
            "what runs was started with {ours}, and {other} is another file\n`postern reload --config {ours}` reloads its own"
        ));
    }
    let mut new = Config::parse(path, text).map_err(|refused| refused.text)?;
    let changed = changes(&current.text, path, text)?;
    new.move_to(&current.run_dir);
    Ok((new, changed))
}

/// Which keys differ between the running configuration and a new one, both of which can be read.
///
/// # Errors
/// If one of them takes effect only when Postern is started again: text with line and cause.
fn changes(old: &str, path: &str, new: &str) -> Result<Vec<String>, String> {
    let (old, _) = DeTable::parse_recoverable(old);
    let (document, _) = DeTable::parse_recoverable(new);
    let mut changes = Vec::new();
    top(old.get_ref(), document.get_ref(), &mut changes);
    let mut problems = Problems::default();
    for change in changes.iter().filter(|change| change.class == Class::Restart) {
        let title =
            format!("`{}` has changed, and takes effect only when Postern is started again", change.key);
        let help = "start Postern again, or put it back and reload the rest";
        problems.push_with_help(change.span.clone(), title, "not by reload", help);
    }
    match problems.is_empty() {
        true => Ok(changes.into_iter().map(|change| change.key).collect()),
        false => Err(problems.render(path, new)),
    }
}

fn top(old: &DeTable<'_>, new: &DeTable<'_>, changes: &mut Vec<Change>) {
    for name in names(old, new) {
        let (before, after) = (old.get(name), new.get(name));
        let span = after.map_or(0..0, toml::Spanned::span);
        let (before, after) = (before.map(toml::Spanned::get_ref), after.map(toml::Spanned::get_ref));
        if !TABLES.contains(&name) {
            differ("", name, (before, after), span, changes);
            continue;
        }
        let heading = heading(name);
        match heading {
            "[realm.NAME]" => named(heading, name, tables(before), tables(after), changes),
            "[[route]]" | "[[policy]]" | "[[call-policy]]" => {
                differ(heading, name, (before, after), span, changes)
            }
            _ => {
                let (before, after) = (list(before), list(after));
                if before.len() == after.len() || before.len().max(after.len()) == 1 {
                    let empty = DeTable::new();
                    let at = |list: &[&DeTable<'_>], position: usize| list.get(position).is_some();
                    for position in 0..before.len().max(after.len()) {
                        let before_table = if at(&before, position) { before[position] } else { &empty };
                        let after_table = if at(&after, position) { after[position] } else { &empty };
                        keys(heading, name, before_table, after_table, changes);
                    }
                } else {
                    changes.push(Change { key: name.to_owned(), class: Class::Restart, span });
                }
            }
        }
    }
}

/// The heading of a table at the top of the file, as the documentation writes it.
fn heading(name: &str) -> &'static str {
    let inner =
        |heading: &'static str| heading.trim_matches(['[', ']']).split('.').next().unwrap_or_default();
    let found = SECTIONS.iter().map(|section| section.heading).find(|heading| inner(heading) == name);
    found.unwrap_or_default()
}

fn names<'a>(old: &'a DeTable<'_>, new: &'a DeTable<'_>) -> Vec<&'a str> {
    let mut names: Vec<&str> = old.keys().chain(new.keys()).map(|key| &**key.get_ref()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn tables<'a, 'i>(value: Option<&'a DeValue<'i>>) -> Option<&'a DeTable<'i>> {
    value.and_then(DeValue::as_table)
}

/// A section, or each of a list of them.
fn list<'a, 'i>(value: Option<&'a DeValue<'i>>) -> Vec<&'a DeTable<'i>> {
    match value {
        Some(DeValue::Array(list)) => list.iter().filter_map(|entry| entry.get_ref().as_table()).collect(),
        other => tables(other).into_iter().collect(),
    }
}

/// Sections that have names of their own.
fn named(
    heading: &str,
    kind: &str,
    old: Option<&DeTable<'_>>,
    new: Option<&DeTable<'_>>,
    changes: &mut Vec<Change>,
) {
    let empty = DeTable::new();
    let (old, new) = (old.unwrap_or(&empty), new.unwrap_or(&empty));
    for name in names(old, new) {
        let (before, after) = (old.get(name), new.get(name));
        let span = after.map_or(0..0, toml::Spanned::span);
        let path = format!("{kind}.{name}");
        let table = |value: Option<&'_ toml::Spanned<DeValue<'_>>>| value.is_some();
        match (table(before), table(after)) {
            (true, true) => {
                let (before, after) =
                    (before.and_then(|v| v.get_ref().as_table()), after.and_then(|v| v.get_ref().as_table()));
                keys(heading, &path, before.unwrap_or(&empty), after.unwrap_or(&empty), changes);
            }
            _ => changes.push(Change { key: path, class: class(heading, ""), span }),
        }
    }
}

fn keys(heading: &str, path: &str, old: &DeTable<'_>, new: &DeTable<'_>, changes: &mut Vec<Change>) {
    for key in names(old, new) {
        let (before, after) = (old.get(key), new.get(key));
        let span = after.map_or(0..0, toml::Spanned::span);
        let values = (before.map(toml::Spanned::get_ref), after.map(toml::Spanned::get_ref));
        if (heading, key) == ("[middlebox]", "agent") {
            let path = format!("{path}.agent");
            named("[middlebox.agent.NAME]", &path, tables(values.0), tables(values.1), changes);
        } else if !same(values.0, values.1) {
            changes.push(Change { key: format!("{path}.{key}"), class: class(heading, key), span });
        }
    }
}

fn differ(
    heading: &str,
    key: &str,
    (old, new): (Option<&DeValue<'_>>, Option<&DeValue<'_>>),
    span: Range<usize>,
    changes: &mut Vec<Change>,
) {
    if !same(old, new) {
        changes.push(Change { key: key.to_owned(), class: class(heading, key), span });
    }
}

/// True if both say the same, wherever they stand.
fn same(old: Option<&DeValue<'_>>, new: Option<&DeValue<'_>>) -> bool {
    match (old, new) {
        (None, None) => true,
        (Some(DeValue::Array(old)), Some(DeValue::Array(new))) => {
            let pairs = old.iter().zip(new.iter());
            old.len() == new.len()
                && pairs.into_iter().all(|(a, b)| same(Some(a.get_ref()), Some(b.get_ref())))
        }
        (Some(DeValue::Table(old)), Some(DeValue::Table(new))) => names(old, new).into_iter().all(|name| {
            let (a, b) = (old.get(name), new.get(name));
            same(a.map(toml::Spanned::get_ref), b.map(toml::Spanned::get_ref))
        }),
        (Some(DeValue::String(old)), Some(DeValue::String(new))) => old == new,
        (Some(DeValue::Boolean(old)), Some(DeValue::Boolean(new))) => old == new,
        (Some(DeValue::Integer(old)), Some(DeValue::Integer(new))) => {
            (old.as_str(), old.radix()) == (new.as_str(), new.radix())
        }
        (Some(DeValue::Float(old)), Some(DeValue::Float(new))) => old.as_str() == new.as_str(),
        (Some(DeValue::Datetime(old)), Some(DeValue::Datetime(new))) => old == new,
        (Some(_) | None, Some(_) | None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "run-dir = \"/run/postern\"\n[realm.inside]\nlisten = [\"udp:10.0.0.1:5060\"]\n[middlebox]\ndeny = []\n\
                        [middlebox.agent.ids]\ndisable = true\n[[policy]]\ndo = \"deny\"\n[[route]]\nto = \"inside\"\n";

    fn changed(from: &str, to: &str) -> Result<Vec<String>, String> {
        assert!(FILE.contains(from), "{from}");
        changes(FILE, "postern.toml", &FILE.replace(from, to))
    }

    #[test]
    fn what_changes_by_reload_is_named() {
        for (from, to, key) in [
            ("deny = []", "deny = [\"203.0.113.0/24\"]", "middlebox.deny"),
            ("deny = []", "deny = []\nmax-rules = 5", "middlebox.max-rules"),
            ("disable = true", "disable = false", "middlebox.agent.ids.disable"),
            (
                "[middlebox.agent.ids]",
                "[middlebox.agent.other]\n[middlebox.agent.ids]",
                "middlebox.agent.other",
            ),
            ("do = \"deny\"", "do = \"allow\"", "policy"),
            ("to = \"inside\"", "to = \"outside\"", "route"),
        ] {
            assert_eq!(changed(from, to), Ok(vec![key.to_owned()]), "{to}");
        }
        // A comment, another order, another way to write it: nothing has changed.
        assert_eq!(changed("deny = []", "# none\ndeny = [ ]"), Ok(vec![]));
        assert_eq!(
            changed("[middlebox.agent.ids]\ndisable = true", "agent.ids = { disable = true }"),
            Ok(vec![])
        );
    }

    #[test]
    fn what_needs_a_restart_is_refused_with_its_line() {
        for (from, to, key) in [
            ("/run/postern", "/run/other", "run-dir"),
            ("udp:10.0.0.1:5060", "udp:10.0.0.2:5060", "realm.inside.listen"),
            ("[middlebox]", "[realm.outside]\n[middlebox]", "realm.outside"),
            ("deny = []", "mark = 1", "middlebox.mark"),
        ] {
            let text = changed(from, to).unwrap_err();
            assert!(
                text.contains(&format!("`{key}` has changed")) && text.contains("postern.toml:"),
                "{text}"
            );
        }
    }

    #[test]
    fn another_file_is_not_taken_for_the_one_that_runs() {
        let text = "[realm.outside]\nlisten = [\"udp:198.51.100.1\"]\nmedia = [\"0.0.0.0/0\"]\n";
        let folder = std::env::temp_dir().join(format!("postern-reload-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let [ours, other] = ["ours.toml", "other.toml"].map(|name| folder.join(name).display().to_string());
        for file in [&ours, &other] {
            std::fs::write(file, text).unwrap();
        }
        let current = Config::parse(&ours, text).map_err(|refused| refused.text).unwrap();
        let roundabout = folder.join(".").join("ours.toml").display().to_string();
        assert!(take(&current, &ours, text).is_ok() && take(&current, &roundabout, text).is_ok());
        let refused = take(&current, &other, text).map(|(_, changed)| changed).unwrap_err();
        assert!(refused.contains("ours.toml") && refused.contains("other.toml"), "{refused}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn every_key_named_here_exists() {
        let section = |heading: &str| SECTIONS.iter().find(|section| section.heading == heading).unwrap();
        for (heading, keys) in KEYS {
            let known: Vec<_> = section(heading).keys.iter().map(|key| key.name()).collect();
            assert!(keys.iter().all(|key| known.contains(key)), "{heading}");
        }
        WHOLE.into_iter().for_each(|heading| assert!(!section(heading).keys.is_empty()));
    }
}
