//! Writing to the terminal. What cannot be written (a full disk, a closed pipe) makes the command fail, quietly.

use std::fmt::Write as _;
use std::io::{self, Write as _};

use serde::Serialize;

use super::{Complaint, OK, Outcome, PROBLEM};

/// Writes to standard output.
pub(super) fn say(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(OK),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(PROBLEM),
        Err(error) => Err(format!("cannot write: {error}").into()),
    }
}

/// Writes a value as JSON.
pub(super) fn json<T: Serialize>(value: &T) -> Outcome {
    let text = serde_json::to_string_pretty(value).map_err(|error| Complaint::from(error.to_string()))?;
    say(&format!("{text}\n"))
}

/// Why a command could not do its work, as JSON.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Failure<'t> {
    error: &'t str,
    exit_code: u8,
}

/// Writes to standard error; standard output stays empty, for whoever reads it.
pub(super) fn complain(json: bool, text: &str, exit_code: u8) {
    let text = text.trim_end();
    if json && let Ok(object) = serde_json::to_string(&Failure { error: text, exit_code }) {
        let _ = writeln!(io::stderr(), "{object}");
        return;
    }
    // Configuration errors already begin with the word.
    let head = if text.starts_with("error") { "" } else { "error: " };
    let _ = writeln!(io::stderr(), "{head}{text}");
}

/// Columns as wide as their widest cell; the last one as long as it is.
pub(super) fn table<const N: usize>(heads: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = heads.map(str::len);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&heads.map(str::to_owned)).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            let _ = write!(line, "{cell:width$}  ");
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A time of day in the time zone of this host; ISO 8601 without what every line would repeat.
pub(super) fn time(at: jiff::Timestamp) -> String {
    at.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// `1 h 02 min`, `3 min 20 s`, `7 s`.
pub(super) fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        _ => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
    }
}
