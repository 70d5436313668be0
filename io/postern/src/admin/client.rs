//! The asking side, used by the commands: blocking, with errors that say what to do.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::protocol::{Answer, Request};

/// How long a half may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Asks one question.
pub(crate) fn ask<T: DeserializeOwned>(socket: &Path, request: &Request) -> Result<T, String> {
    let mut lines = open(socket, request, Some(PATIENCE))?;
    let value = next(socket, &mut lines)?.ok_or_else(|| format!("{}: no answer", socket.display()))?;
    serde_json::from_value(value)
        .map_err(|error| format!("{}: an answer of another version: {error}", socket.display()))
}

/// Asks to be told of what happens; `each` says whether to go on.
pub(crate) fn watch<T: DeserializeOwned>(
    socket: &Path,
    request: &Request,
    mut each: impl FnMut(T) -> bool,
) -> Result<(), String> {
    let mut lines = open(socket, request, None)?;
    while let Some(value) = next(socket, &mut lines)? {
        let value =
            serde_json::from_value(value).map_err(|error| format!("{}: {error}", socket.display()))?;
        if !each(value) {
            break;
        }
    }
    Ok(())
}

type Lines = BufReader<UnixStream>;

fn open(socket: &Path, request: &Request, patience: Option<Duration>) -> Result<Lines, String> {
    let shown = socket.display();
    let mut stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
            format!("no postern answers at {shown}\nis it running (`postern run`), with this `run-dir`?")
        }
        io::ErrorKind::PermissionDenied => {
            format!("{shown}: permission denied; ask as root or as the user that this half runs as")
        }
        _other => format!("{shown}: {error}"),
    })?;
    let trouble = |error: io::Error| format!("{shown}: {error}");
    stream.set_read_timeout(patience).map_err(trouble)?;
    let line = serde_json::to_string(request).map_err(|error| error.to_string())?;
    stream.write_all(format!("{line}\n").as_bytes()).map_err(trouble)?;
    Ok(BufReader::new(stream))
}

fn next(socket: &Path, lines: &mut Lines) -> Result<Option<serde_json::Value>, String> {
    let mut line = String::new();
    let count = lines.read_line(&mut line).map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock => format!("{}: no answer within {PATIENCE:?}", socket.display()),
        _other => format!("{}: {error}", socket.display()),
    })?;
    if count == 0 {
        return Ok(None);
    }
    match serde_json::from_str(&line) {
        Ok(Answer::Ok(value)) => Ok(Some(value)),
        Ok(Answer::Error(text)) => Err(text),
        Err(error) => Err(format!("{}: not an answer: {error}", socket.display())),
    }
}
