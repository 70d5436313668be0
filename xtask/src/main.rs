//! `cargo xtask tidy | licences | rfc | conformance`: checks of the house that no other tool makes.
#![allow(clippy::print_stdout, reason = "a command-line tool prints its findings")]

mod conformance;
mod licences;
mod rfc;
mod tidy;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    let task = std::env::args().nth(1).unwrap_or_default();
    let findings = match task.as_str() {
        "tidy" => tidy::check(),
        "licences" => licences::check(),
        "rfc" => rfc::report(),
        "conformance" => conformance::update(),
        _ => Err("usage: cargo xtask tidy | licences | rfc | conformance".to_owned()),
    };
    match findings {
        Ok(findings) if findings.is_empty() => ExitCode::SUCCESS,
        Ok(findings) => {
            for finding in findings {
                println!("{finding}");
            }
            ExitCode::FAILURE
        }
        Err(why) => {
            println!("{why}");
            ExitCode::from(2)
        }
    }
}

/// The checkout this tool was built from.
fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(|| PathBuf::from("."), PathBuf::from)
}

/// Runs a program in the checkout and gives what it printed.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(root())
        .output()
        .map_err(|e| format!("{program} cannot be run: {e}"))?;
    if !output.status.success() {
        return Err(format!("{program} {arguments:?} failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    String::from_utf8(output.stdout).map_err(|e| format!("{program} printed no text: {e}"))
}

/// The tracked files with this ending.
fn tracked(ending: &str) -> Result<Vec<String>, String> {
    Ok(run("git", &["ls-files", "--", &format!("*{ending}")])?.lines().map(str::to_owned).collect())
}
