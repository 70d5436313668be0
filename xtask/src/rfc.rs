//! Lists the marks `//= RFC nnnn §x: …`: section → code → tests.

use std::collections::BTreeMap;
use std::fs;

use crate::{root, tracked};

/// The places that name one section.
#[derive(Default)]
pub(crate) struct Places {
    pub(crate) code: Vec<String>,
    pub(crate) tests: Vec<String>,
    pub(crate) exceptions: Vec<String>,
}

/// Every mark, by RFC and section; one that names several sections counts for each.
pub(crate) fn places() -> Result<BTreeMap<(u32, String), Places>, String> {
    let mut sections: BTreeMap<(u32, String), Places> = BTreeMap::new();
    for file in tracked(".rs")? {
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        for (line_number, line) in (1..).zip(text.lines()) {
            let Some((_, mark)) = line.split_once("//= ") else { continue };
            let (kind, mark) = mark.split_once("RFC ").map_or(("", ""), |(kind, mark)| (kind.trim(), mark));
            let (place, _) = mark.split_once(": ").unwrap_or((mark, ""));
            let Some((number, named)) = place.split_once(' ') else { continue };
            let Ok(rfc) = number.parse() else { continue };
            for section in named.split([',', ' ']).filter(|word| word.starts_with('§')) {
                let places = sections.entry((rfc, section.trim_end_matches(':').to_owned())).or_default();
                let place = format!("{file}:{line_number}");
                match kind {
                    "test" => places.tests.push(place),
                    "exception" => places.exceptions.push(place),
                    _ => places.code.push(place),
                }
            }
        }
    }
    Ok(sections)
}

/// A test that says what it shows: `//= test RFC nnnn §x: …`.
pub(crate) struct Test {
    pub(crate) rfc: u32,
    pub(crate) section: String,
    pub(crate) requirement: String,
    pub(crate) file: String,
    pub(crate) function: String,
}

/// Every marked test, at each section that it names.
pub(crate) fn tests() -> Result<Vec<Test>, String> {
    let mut tests = Vec::new();
    for file in tracked(".rs")? {
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let Some((place, requirement)) =
                line.split_once("//= test RFC ").and_then(|(_, mark)| mark.split_once(": "))
            else {
                continue;
            };
            let Some((number, named)) = place.split_once(' ') else { continue };
            let (Ok(rfc), Some(function)) = (number.parse(), function(&lines, at)) else { continue };
            for section in named.split([',', ' ']).filter(|word| word.starts_with('§')) {
                let (section, requirement) = (section.to_owned(), requirement.to_owned());
                tests.push(Test {
                    rfc,
                    section,
                    requirement,
                    file: file.clone(),
                    function: function.clone(),
                });
            }
        }
    }
    Ok(tests)
}

/// The function that a mark stands above, or in.
fn function(lines: &[&str], at: usize) -> Option<String> {
    let name = |line: &&str| {
        let (_, rest) = line.split_once("fn ")?;
        rest.split_once(['(', '<']).map(|(name, _)| name.to_owned())
    };
    let is_beside = |line: &&&str| ["//", "#["].iter().any(|start| line.trim_start().starts_with(start));
    let next = lines.iter().skip(at).find(|line| !is_beside(line))?;
    let forward = || lines.iter().skip(at).find_map(name);
    match next.trim_start().starts_with("const ") {
        true => forward(),
        false => name(next).or_else(|| lines.iter().take(at).rev().find_map(name)),
    }
}

pub(crate) fn report() -> Result<Vec<String>, String> {
    let sections = places()?;
    for ((rfc, section), places) in &sections {
        println!("RFC {rfc} {section}");
        for (label, list) in
            [("code", &places.code), ("test", &places.tests), ("exception", &places.exceptions)]
        {
            for place in list {
                println!("    {label:9} {place}");
            }
        }
    }
    println!("{} sections named", sections.len());
    Ok(Vec::new())
}
