//! `docs/conformance.md`: what RFC 4540 and RFC 5189 ask for, and how it is shown.
//!
//! A row is a requirement with what shows it. Rows come from the Python cases (`tests/simco-peer`) and the marked Rust
//! tests (`//= test RFC nnnn §x: …`), which say section and requirement themselves, and from `tests/conformance/*.txt` for
//! the rest. What a row names must exist, and every section listed there must have a row: nothing is claimed that cannot
//! be looked up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;

use crate::rfc::{self, Places, Test};
use crate::{root, run, tracked};

/// Where the table is.
const TABLE: &str = "docs/conformance.md";
/// The RFCs it is about.
const RFCS: [u32; 2] = [4540, 5189];

/// One requirement.
struct Row {
    requirement: String,
    shown: Vec<String>,
    /// Why it is not met, if it is not.
    reason: Option<String>,
}

/// A case of the Python peer.
struct Case {
    name: String,
    sections: String,
    requirement: String,
    reading: String,
}

/// What there is about each section.
type Rows = BTreeMap<(u32, Section), Vec<Row>>;

/// A section number that sorts as people count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Section(Vec<u32>);

impl Section {
    /// The number at the beginning of a text, such as `4.3.10` of `4.3.10, §8`.
    fn at_start(text: &str) -> Option<Self> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let number = text.get(..end)?.trim_end_matches('.');
        number.split('.').map(str::parse).collect::<Result<_, _>>().ok().map(Self)
    }

    fn text(&self) -> String {
        self.0.iter().map(u32::to_string).collect::<Vec<_>>().join(".")
    }
}

/// Writes the table anew.
pub(crate) fn update() -> Result<Vec<String>, String> {
    fs::write(root().join(TABLE), table()?).map_err(|e| format!("{TABLE}: {e}"))?;
    Ok(Vec::new())
}

/// The whole table.
fn table() -> Result<String, String> {
    let cases = cases()?;
    let mut rows = Rows::new();
    for case in &cases {
        of_case(case, &mut rows);
    }
    for test in rfc::tests()? {
        of_test(&test, &mut rows);
    }
    let mut wanted = BTreeSet::new();
    for rfc in RFCS {
        of_catalogue(rfc, &cases, &mut rows, &mut wanted)?;
    }
    if let Some((rfc, section)) = wanted.iter().find(|key| !rows.contains_key(*key)) {
        return Err(format!("no requirement of RFC {rfc} §{} is in the table", section.text()));
    }
    Ok(write(&rows, &rfc::places()?))
}

/// The Python cases, as they list themselves.
fn cases() -> Result<Vec<Case>, String> {
    let listed = run("python3", &["-B", "tests/simco-peer/run.py", "--list"])?;
    let case = |line: &str| {
        let mut parts = line.split('\t').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        Case { name: next(), sections: next(), requirement: next(), reading: next() }
    };
    Ok(listed.lines().map(case).collect())
}

/// A case is a row at each section that it names.
fn of_case(case: &Case, rows: &mut Rows) {
    let reading =
        if case.reading.is_empty() { String::new() } else { format!(" *Reading: {}.*", case.reading) };
    let row = || Row {
        requirement: format!("{}{reading}", case.requirement),
        shown: vec![format!("`{}`", case.name)],
        reason: None,
    };
    let own =
        case.sections.split(", ").filter_map(|part| part.strip_prefix('§')).filter_map(Section::at_start);
    let mut places: BTreeSet<(u32, Section)> = own.map(|section| (4540, section)).collect();
    for text in [&case.sections, &case.requirement, &case.reading] {
        let found = text.split("RFC 5189 §").nth(1).and_then(Section::at_start);
        places.extend(found.map(|section| (5189, section)));
    }
    for place in places {
        rows.entry(place).or_default().push(row());
    }
}

/// So is a marked test.
fn of_test(test: &Test, rows: &mut Rows) {
    let section = test.section.strip_prefix('§').and_then(Section::at_start);
    let Some(section) = section.filter(|_| RFCS.contains(&test.rfc)) else { return };
    let mut letters = test.requirement.trim_end_matches('.').chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    rows.entry((test.rfc, section)).or_default().push(Row {
        requirement: first.chain(letters).collect(),
        shown: vec![format!("`{}` in `{}`", test.function, test.file)],
        reason: None,
    });
}

/// The rows of one catalogue, and the sections of which it wants at least one.
fn of_catalogue(
    rfc: u32,
    cases: &[Case],
    rows: &mut Rows,
    wanted: &mut BTreeSet<(u32, Section)>,
) -> Result<(), String> {
    let file = format!("tests/conformance/rfc{rfc}.txt");
    let text = fs::read_to_string(root().join(&file)).map_err(|e| format!("{file}: {e}"))?;
    for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(sections) = line.strip_prefix("sections: ") {
            wanted.extend(sections.split(' ').filter_map(Section::at_start).map(|section| (rfc, section)));
            continue;
        }
        let parts: Vec<&str> = line.split(" | ").collect();
        let [section, requirement, how] = parts[..] else { return Err(format!("{file}: no row: {line}")) };
        let section = section.strip_prefix('§').and_then(Section::at_start);
        let section = section.ok_or_else(|| format!("{file}: no section: {line}"))?;
        let reason = how.strip_prefix("not met: ").map(str::to_owned);
        let shown = match reason {
            Some(_) => Vec::new(),
            None => how.split_whitespace().map(|name| proof(name, cases)).collect::<Result<_, _>>()?,
        };
        rows.entry((rfc, section)).or_default().push(Row {
            requirement: requirement.to_owned(),
            shown,
            reason,
        });
    }
    Ok(())
}

/// A named proof, if it exists.
fn proof(name: &str, cases: &[Case]) -> Result<String, String> {
    let (kind, what) = name.split_once(':').ok_or_else(|| format!("no proof: {name}"))?;
    let (exists, shown) = match kind {
        "py" => (cases.iter().any(|case| case.name == what), what.to_owned()),
        "file" => (root().join(what).is_file(), what.to_owned()),
        "lab" => {
            let quoted = format!("\"{what}\"");
            let has = |file: &String| {
                fs::read_to_string(root().join(file)).is_ok_and(|text| text.contains(&quoted))
            };
            (tracked(".rs")?.iter().filter(|file| file.starts_with("tests/lab/")).any(has), what.to_owned())
        }
        "rust" => {
            let (file, function) = what.split_once('#').unwrap_or((what, ""));
            let text = fs::read_to_string(root().join(file)).unwrap_or_default();
            (text.contains(&format!("fn {function}(")), format!("{function}` in `{file}"))
        }
        _ => (false, String::new()),
    };
    if exists { Ok(format!("`{shown}`")) } else { Err(format!("there is no {name}")) }
}

const HEAD: &str = "# Conformance

What [RFC 4540](https://www.rfc-editor.org/rfc/rfc4540) (SIMCO) and [RFC 5189](https://www.rfc-editor.org/rfc/rfc5189) (MIDCOM semantics) ask for, in our words, and what shows that it is so. Names with a dot
are cases of `tests/simco-peer`: both ends of SIMCO in Python, written from the RFC alone, which the lab runs against the real `postern middlebox` on a real kernel and against the real `postern agent`. *Reading* says which
of several readings is meant where the RFC contradicts itself or says nothing; [simco.md](simco.md) has them all. What is **not met** says why. A requirement of several sections stands at each of them.

Made by `cargo xtask conformance` from those cases, from `tests/conformance/` and from the marks in the code; a test fails when it is not current.
";

fn write(rows: &Rows, marks: &BTreeMap<(u32, String), Places>) -> String {
    let mut text = HEAD.to_owned();
    let all = || rows.values().flatten();
    // One that is about several sections stands at each.
    let count = |met: bool| {
        let some = all().filter(|row| row.reason.is_none() == met);
        some.map(|row| &row.requirement).collect::<BTreeSet<_>>().len()
    };
    let (met, missing) = (count(true), count(false));
    let _ = writeln!(text, "\n{} requirements, {missing} of them not met.", met + missing);
    for rfc in RFCS {
        let _ = writeln!(text, "\n## RFC {rfc}");
        for ((_, section), list) in rows.iter().filter(|((of, _), _)| *of == rfc) {
            let _ = writeln!(text, "\n### §{}", section.text());
            text.push_str("\n| requirement | shown by |\n|---|---|\n");
            for row in list {
                let how = row
                    .reason
                    .as_ref()
                    .map_or_else(|| row.shown.join(", "), |why| format!("**not met**: {why}"));
                let _ = writeln!(text, "| {} | {how} |", row.requirement.replace('|', "\\|"));
            }
            if let Some(places) = marks.get(&(rfc, format!("§{}", section.text()))) {
                text.push_str(&marked(places));
            }
        }
    }
    text
}

/// Where the code names a section.
fn marked(places: &Places) -> String {
    let mut text = String::new();
    for (label, list) in [("Code", &places.code), ("Exceptions", &places.exceptions)] {
        let files: BTreeSet<&str> = list.iter().filter_map(|place| place.split(':').next()).collect();
        if !files.is_empty() {
            let files: Vec<String> = files.iter().map(|file| format!("`{file}`")).collect();
            let _ = writeln!(text, "\n{label}: {}", files.join(", "));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_current() {
        let written = fs::read_to_string(root().join(TABLE)).unwrap();
        assert!(written == table().unwrap(), "{TABLE} is stale: cargo xtask conformance");
    }

    #[test]
    fn what_does_not_exist_proves_nothing() {
        let cases = [Case {
            name: "a.b".into(),
            sections: String::new(),
            requirement: String::new(),
            reading: String::new(),
        }];
        assert_eq!(proof("py:a.b", &cases).unwrap(), "`a.b`");
        for nothing in ["py:a.c", "lab:no::such", "file:no", "rust:xtask/src/main.rs#nobody", "word"] {
            assert!(proof(nothing, &cases).is_err(), "{nothing}");
        }
    }

    #[test]
    fn sections_sort_as_people_count() {
        let section = |text| Section::at_start(text).unwrap();
        assert!(section("4.3.9") < section("4.3.10"));
        assert_eq!(section("8.2.1, §8.9"), section("8.2.1"));
        assert_eq!(Section::at_start("none"), None);
    }
}
