//! Sizes of files, and words that may not stand in the tree. Long functions are clippy's (`too_many_lines`).

use std::fs;

use crate::{root, tracked};

/// A file longer than this, tests at its end not counted, fails.
const FILE_LINES_MAX: usize = 800;

/// Files that may be longer, with the number that may only fall, and why.
const EXCEPTIONS: &[(&str, usize, &str)] = &[];

/// Words that mark unfinished work.
const UNFINISHED: &[&str] = &["TODO", "FIXME", "XXX:", "todo!(", "unimplemented!("];

pub(crate) fn check() -> Result<Vec<String>, String> {
    let mut findings = Vec::new();
    for file in tracked(".rs")? {
        if file.starts_with("xtask/") {
            continue;
        }
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        let allowed =
            EXCEPTIONS.iter().find(|(name, ..)| *name == file).map_or(FILE_LINES_MAX, |(_, lines, _)| *lines);
        let lines = text.lines().take_while(|line| *line != "mod tests {").count();
        if lines > allowed {
            findings.push(format!("{file}: {lines} lines without tests; {allowed} are allowed"));
        }
        for (number, line) in text.lines().enumerate() {
            if let Some(word) = UNFINISHED.iter().find(|word| line.contains(**word)) {
                findings.push(format!("{file}:{}: {word}", number + 1));
            }
        }
    }
    Ok(findings)
}
