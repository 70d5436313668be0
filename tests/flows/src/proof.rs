//! `docs/calls-proof.md`: what proves each row of `docs/calls.md`, checked against what there is.
//!
//! `rows.txt` names the proofs. Nothing in it is believed: a row of the page without an entry, an entry without a row, a flow or a
//! trial that does not exist, and a row that no kernel has played are each found out here; what the simulation never brings
//! about and what the model does not take, in the tests of these two.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use crate::kernel::obstacle;
use crate::script::Script;

const HEAD: &str = "\
# What proves each row of calls.md

<!-- Generated from tests/flows/rows.txt: UPDATE_DOCS=1 cargo test -p postern-flows -->

Every row of every table of [calls.md](calls.md), and every point of its sections 3, 5, 7 and 9, by how it begins. *Flows* are text files below
`tests/flows` ([flows.md](flows.md)); those with a K are played on a real kernel as well, by the real program. *Simulated* names
what the [simulation](simulation.md) counts of it, by the name that a run prints; a test of `tests/sim` runs seeds until each has come about. *Explored*
names the arguments of the [model](model.md) that bring it about, which the model's own reader must take;
*lab* trials with telephones or packets of other programs. A test compares this page with what there is: a row that nothing
on a kernel shows fails it.
";

/// What can be named: paths and texts of the flows, and the sources of the lab. What the simulation counts and the arguments of
/// the model are read by these two themselves, in their tests.
#[derive(Debug, Default)]
pub struct Facts {
    /// Text of each flow by its path without `.flow`.
    pub flows: BTreeMap<String, String>,
    /// The lab.
    pub lab: String,
}

/// The page.
///
/// # Errors
/// Everything that is missing or does not exist, one line each.
pub fn page(calls: &str, rows: &str, facts: &Facts) -> Result<String, String> {
    let mut wanted = wanted(calls);
    let (mut page, mut wrong, mut section) = (String::from(HEAD), Vec::new(), "");
    for line in rows.lines().filter(|line| line.starts_with('§')) {
        let fields: Vec<&str> = line.split(" | ").map(str::trim).collect();
        let (key, proofs) = fields.split_first().unwrap_or((&"", &[]));
        let (here, start) = key.split_once(' ').unwrap_or((key, ""));
        let fits = |row: &&(String, String)| row.0 == here && row.1.starts_with(start);
        match wanted.iter().filter(fits).cloned().collect::<Vec<_>>().as_slice() {
            [row] => {
                wanted.remove(row);
            }
            [] => wrong.push(format!("{key}: calls.md has no such row, or it has an entry already")),
            _ => wrong.push(format!("{key}: more than one row of calls.md begins so")),
        }
        if here != section {
            section = here;
            let title = title(calls, here);
            // Writing into a String cannot fail.
            let _written = write!(
                page,
                "\n## {here} {title}\n\n| row | flows | simulated | explored | lab |\n|---|---|---|---|---|\n"
            );
        }
        let cells = cells(key, proofs, facts, &mut wrong);
        let _written = writeln!(page, "| {start} | {} |", cells.join(" | "));
    }
    wrong.extend(wanted.iter().map(|(section, row)| format!("{section}: nothing proves \"{row}\"")));
    if wrong.is_empty() { Ok(page) } else { Err(wrong.join("\n")) }
}

/// Sections and rows of calls.md that must be proven: cells of tables, joined, and points of lists.
fn wanted(calls: &str) -> BTreeSet<(String, String)> {
    const LISTS: [&str; 4] = ["§3", "§5", "§7", "§9"];
    let (mut all, mut section, mut first, mut in_table) =
        (BTreeSet::new(), String::new(), String::new(), false);
    for line in calls.lines() {
        if let Some(number) = line.strip_prefix("## ").and_then(|title| title.split('.').next()) {
            section = format!("§{number}");
        } else if let Some(row) = line.strip_prefix("| ") {
            // A header comes first, then a line of dashes.
            if in_table {
                let mut cells: Vec<String> = row.split(" | ").map(|cell| cell.trim().to_owned()).collect();
                if cells[0].starts_with('|') || cells[0].is_empty() {
                    cells[0] = format!("{first}, {}", cells[0].trim_start_matches('|').trim());
                } else {
                    first.clone_from(&cells[0]);
                }
                all.insert((section.clone(), cells.join(", ")));
            }
        } else if let Some(point) = line.strip_prefix("- ").filter(|_| LISTS.contains(&section.as_str())) {
            all.insert((section.clone(), point.to_owned()));
        }
        in_table = line.starts_with('|') && (in_table || line.starts_with("|---"));
    }
    all
}

fn title<'c>(calls: &'c str, section: &str) -> &'c str {
    let start = format!("## {}. ", section.trim_start_matches('§'));
    calls.lines().find_map(|line| line.strip_prefix(&start)).unwrap_or_default()
}

/// The cells behind the row: flows, simulation, model, lab.
fn cells(key: &str, proofs: &[&str], facts: &Facts, wrong: &mut Vec<String>) -> Vec<String> {
    let of = |at: usize| proofs.get(at).copied().unwrap_or_default();
    let mut on_kernel = false;
    let mut flows = Vec::new();
    for path in list(of(0)) {
        let Some(text) = facts.flows.get(path) else {
            wrong.push(format!("{key}: there is no flow {path}"));
            continue;
        };
        let file = format!("{path}.flow");
        let plays = Script::parse(text).is_ok_and(|script| obstacle(&file, &script).is_none());
        on_kernel |= plays;
        let mark = if plays { " K" } else { "" };
        flows.push(format!("[{path}](../tests/flows/{file}){mark}"));
    }
    if flows.is_empty() {
        wrong.push(format!("{key}: no flow shows it"));
    }
    let trials: Vec<&str> = list(of(3)).collect();
    for trial in trials.iter().filter(|trial| !facts.lab.contains(&format!("\"{trial}"))) {
        wrong.push(format!("{key}: the lab has no trial {trial}"));
    }
    if !on_kernel && trials.is_empty() {
        wrong.push(format!("{key}: no kernel shows it"));
    }
    for (at, what) in [(1, "simulation"), (2, "model")] {
        if of(at).is_empty() {
            wrong.push(format!("{key}: it is not said what the {what} does about it"));
        }
    }
    let quoted = |text: &str| match text.strip_prefix('-') {
        Some(why) => format!("no: {}", why.trim()),
        None => list(text).map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", "),
    };
    // What the simulation counts has its own names, and arguments of one exploration belong together.
    let simulated = match of(1).strip_prefix('-') {
        Some(_) => quoted(of(1)),
        None => of(1).to_owned(),
    };
    let explored = match of(2).strip_prefix('-') {
        Some(_) => quoted(of(2)),
        None => of(2).split(" or ").map(|arguments| format!("`{arguments}`")).collect::<Vec<_>>().join(", "),
    };
    vec![flows.join(", "), simulated, explored, quoted(of(3))]
}

/// Names with commas; what begins with a dash is a reason and names nothing.
fn list(text: &str) -> impl Iterator<Item = &str> {
    let names = if text.starts_with('-') { "" } else { text };
    names.split(',').map(str::trim).filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALLS: &str = "## 8. Races\n\n| race | outcome |\n|---|---|\n| BYE meets BYE | both 200 |\n";

    fn facts() -> Facts {
        let flows = [("races/both", "A > INVITE\n"), ("races/alone", "forks = 2\nA > INVITE\n")];
        Facts {
            flows: flows.map(|(path, text)| (path.to_owned(), text.to_owned())).into(),
            lab: "(\"talks::both\", both)".into(),
        }
    }

    #[test]
    fn a_row_that_is_proven_stands_on_the_page() {
        let page =
            page(CALLS, "§8 BYE meets | races/both | hang_ups | cancel | talks::both\n", &facts()).unwrap();
        assert!(
            page.contains(
                "| BYE meets | [races/both](../tests/flows/races/both.flow) K | hang_ups | `cancel` |"
            ),
            "{page}"
        );
    }

    #[test]
    fn whatever_is_missing_is_said() {
        let says = |rows: &str, what: &str| {
            let error = page(CALLS, rows, &facts()).unwrap_err();
            assert!(error.contains(what), "{error}");
        };
        says("", "nothing proves");
        says("§8 CANCEL | races/both | hang_ups | cancel\n", "has no such row");
        says("§8 BYE | races/none | hang_ups | cancel\n", "there is no flow");
        says("§8 BYE | - | hang_ups | cancel\n", "no flow shows it");
        says("§8 BYE | races/alone | hang_ups | cancel\n", "no kernel shows it");
        says("§8 BYE | races/both |  | cancel\n", "what the simulation does");
        says("§8 BYE | races/both | hang_ups\n", "what the model does");
        says("§8 BYE | races/both | hang_ups | cancel | talks::none\n", "the lab has no trial");
    }
}
