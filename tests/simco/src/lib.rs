//! Runs the text cases of this folder.
//!
//! A case says which end of a session it is about (`side middlebox`, `side agent`), and then what goes in (`>`) and
//! what comes out of it (`<`). Octets are written in hexadecimal, a message to a paragraph and an attribute to a line;
//! what stands behind `;` on an input line is a remark, lines with `#` are comments, and indented lines continue the
//! line above. Everything else is in the words of [`words`].
//!
//! | input | side | meaning |
//! |---|---|---|
//! | `> receive OCTETS` | both | octets arrive |
//! | `> pass SECONDS` | both | time passes; a timeout that is due meanwhile happens at its time |
//! | `> disconnect` | both | the connection breaks |
//! | `> reply TID REPLY` | middlebox | the middlebox answers |
//! | `> event PRID SECONDS` | middlebox | a rule has this lifetime left |
//! | `> terminate` | middlebox | the middlebox ends the session |
//! | `> connect`, `> close` | agent | the connection is there; the agent ends the session |
//! | `> request ID REQUEST` | agent | the agent asks |
//!
//! `side` may be followed by settings: `admission=…`, `secret=a` (of the agent; of the middlebox `secret=a,b`: each a letter
//! that makes up a secret of 32 octets; the random parts of challenges are 32 times `x` and 32 times `y`),
//! `open-requests-max=…`, `payload-max=…`.
//!
//! `UPDATE_CASES=1 cargo test -p postern-simco-cases` writes what came out into the files.

pub mod octets;
pub mod side;
pub mod words;

use std::fmt::Write as _;

use side::Side;

/// One line of a case with its continuation lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line<'a> {
    /// Comment or empty line.
    Comment(&'a str),
    /// `side …`
    Side(&'a str),
    /// `> …`, as it is in the file.
    Input(&'a str),
    /// `< …`
    Output,
}

/// Runs a case and returns its text with what really came out.
///
/// # Errors
/// What cannot be understood in the case.
pub fn run(case: &str) -> Result<String, String> {
    let mut side = None;
    let mut out = String::new();
    for line in lines(case)? {
        match line {
            Line::Comment(text) => out.push_str(text),
            Line::Side(text) => {
                out.push_str(text);
                side = Some(Side::new(text.trim())?);
            }
            Line::Input(text) => {
                out.push_str(text);
                let side = side.as_mut().ok_or("no side yet")?;
                let plain = without_remarks(text);
                let produced = side.input(plain.trim_start_matches('>').trim());
                for output in produced.map_err(|error| format!("{error} in {}", text.trim()))? {
                    let _ = writeln!(out, "< {output}");
                }
            }
            Line::Output => {}
        }
    }
    Ok(out)
}

/// The lines of a case, each together with the indented ones below it.
fn lines(case: &str) -> Result<Vec<Line<'_>>, String> {
    let mut found = Vec::new();
    let mut rest = case;
    while !rest.is_empty() {
        let mut len = rest.find('\n').map_or(rest.len(), |end| end + 1);
        while rest[len..].starts_with(' ') {
            len += rest[len..].find('\n').map_or(rest.len() - len, |end| end + 1);
        }
        let (line, after) = rest.split_at(len);
        rest = after;
        found.push(match line.chars().next() {
            Some('#' | '\n') => Line::Comment(line),
            Some('>') => Line::Input(line),
            Some('<') => Line::Output,
            Some('s') => Line::Side(line),
            _ => return Err(format!("cannot read {line:?}")),
        });
    }
    Ok(found)
}

fn without_remarks(text: &str) -> String {
    let plain: Vec<&str> = text.lines().map(|line| line.split(';').next().unwrap_or(line)).collect();
    plain.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_comes_out_as_written() {
        let update = std::env::var_os("UPDATE_CASES").is_some();
        let mut paths: Vec<_> = std::fs::read_dir(env!("CARGO_MANIFEST_DIR"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "case"))
            .collect();
        paths.sort();
        assert!(!paths.is_empty());
        let mut wrong = Vec::new();
        for path in paths {
            let text = std::fs::read_to_string(&path).unwrap();
            let real = run(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            if update {
                std::fs::write(&path, &real).unwrap();
            } else if real != text {
                wrong.push(format!("{}:\n{}", path.display(), first_difference(&text, &real)));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    fn first_difference(text: &str, real: &str) -> String {
        let differ = text.lines().zip(real.lines()).enumerate().find(|(_, (written, came))| written != came);
        match differ {
            Some((number, (written, came))) => {
                format!("  line {}\n  written: {written}\n  came:    {came}", number + 1)
            }
            None => "  one is longer than the other".to_owned(),
        }
    }
}
