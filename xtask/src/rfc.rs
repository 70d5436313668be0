//! Lists the marks `//= RFC nnnn §x: …`: section → code → tests.

use std::collections::BTreeMap;
use std::fs;

use crate::{root, tracked};

/// The places that name one section.
#[derive(Default)]
struct Places {
    code: Vec<String>,
    tests: Vec<String>,
    exceptions: Vec<String>,
}

pub(crate) fn report() -> Result<Vec<String>, String> {
    let mut sections: BTreeMap<(u32, String), Places> = BTreeMap::new();
    for file in tracked(".rs")? {
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        for (number, line) in text.lines().enumerate() {
            let Some((_, mark)) = line.split_once("//= ") else { continue };
            let (kind, mark) = mark.split_once("RFC ").map_or(("", ""), |(kind, mark)| (kind.trim(), mark));
            let mut words = mark.split([' ', ':']);
            let (Some(Ok(rfc)), Some(section)) = (words.next().map(str::parse), words.next()) else {
                continue;
            };
            let places = sections.entry((rfc, section.to_owned())).or_default();
            let place = format!("{file}:{}", number + 1);
            match kind {
                "test" => places.tests.push(place),
                "exception" => places.exceptions.push(place),
                _ => places.code.push(place),
            }
        }
    }
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
