//! What `deny.toml` allows, held against what cargo resolved. `cargo deny check` does more; this needs no installation.

use std::collections::BTreeSet;
use std::fs;

use crate::{root, run};

pub(crate) fn check() -> Result<Vec<String>, String> {
    let text = fs::read_to_string(root().join("deny.toml")).map_err(|e| format!("deny.toml: {e}"))?;
    let deny: toml::Table = text.parse().map_err(|e| format!("deny.toml: {e}"))?;
    let allowed: BTreeSet<&str> =
        deny["licenses"]["allow"].as_array().into_iter().flatten().filter_map(toml::Value::as_str).collect();
    let banned: BTreeSet<&str> = deny["bans"]["deny"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|ban| ban["name"].as_str())
        .collect();

    let targets = deny["graph"]["targets"].as_array().into_iter().flatten().filter_map(toml::Value::as_str);
    let mut findings = BTreeSet::new();
    for target in targets {
        // What is really built there: `cargo metadata` also names what no feature in use asks for.
        let tree = [
            "tree",
            "--workspace",
            "--locked",
            "--prefix",
            "none",
            "--format",
            "{p}\t{l}",
            "--target",
            target,
        ];
        for line in run("cargo", &tree)?.lines() {
            let Some((package, licence)) = line.split_once('\t') else { continue };
            let name = package.split(' ').next().unwrap_or_default();
            let licence = licence.trim_end_matches(" (*)");
            if banned.contains(name) {
                findings.insert(format!("{name}: banned in deny.toml"));
            }
            if !satisfied(licence, &allowed) {
                findings.insert(format!("{name}: licence `{licence}` is not allowed"));
            }
        }
    }
    Ok(findings.into_iter().collect())
}

/// Whether an SPDX expression can be met with the allowed licences. `OR` binds weaker than `AND`; `/` is the old `OR`.
fn satisfied(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let expression = expression.replace('/', " OR ");
    let expression = expression.trim();
    if let Some(inner) = outer_parentheses(expression) {
        return satisfied(inner, allowed);
    }
    if let Some((left, right)) = split_outside(expression, " OR ") {
        return satisfied(left, allowed) || satisfied(right, allowed);
    }
    if let Some((left, right)) = split_outside(expression, " AND ") {
        return satisfied(left, allowed) && satisfied(right, allowed);
    }
    allowed.contains(expression)
}

/// What stands inside parentheses that enclose the whole expression.
fn outer_parentheses(expression: &str) -> Option<&str> {
    let inner = expression.strip_prefix('(')?.strip_suffix(')')?;
    let mut depth = 0_i32;
    for character in inner.chars() {
        depth += i32::from(character == '(') - i32::from(character == ')');
        if depth < 0 {
            return None;
        }
    }
    Some(inner)
}

/// Splits at the first `word` that stands in no parentheses.
fn split_outside<'a>(expression: &'a str, word: &str) -> Option<(&'a str, &'a str)> {
    let mut depth = 0_i32;
    for (at, character) in expression.char_indices() {
        depth += i32::from(character == '(') - i32::from(character == ')');
        if depth == 0 && expression[at..].starts_with(word) {
            return Some((&expression[..at], &expression[at + word.len()..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_are_read_as_spdx_means_them() {
        let allowed = BTreeSet::from(["MIT", "Apache-2.0", "Unicode-3.0"]);
        for (expression, expected) in [
            ("MIT", true),
            ("MIT/GPL-3.0", true),
            ("GPL-3.0 OR MIT", true),
            ("(MIT OR Apache-2.0) AND Unicode-3.0", true),
            ("MIT AND GPL-3.0", false),
            ("(GPL-2.0) OR (GPL-3.0 AND MIT)", false),
            ("", false),
        ] {
            assert_eq!(satisfied(expression, &allowed), expected, "{expression}");
        }
    }
}
