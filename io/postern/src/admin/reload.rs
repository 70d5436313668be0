//! A new configuration for both halves: each is asked first whether it would take it, so that one does not run with
//! another file than the other.

use std::collections::BTreeSet;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use super::client;
use super::protocol::{Reload, Request, agent_socket, middlebox_socket};
use crate::config::{self, Config};

/// Why it was not taken; nothing has changed then.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The file is wrong.
    File(String),
    /// A half would not take it, or none runs.
    Half(String),
}

/// Gives the halves that run on this machine the file. The names of the keys that have changed.
pub(crate) fn halves(file: &Path, run_dir: &Path) -> Result<Vec<String>, Trouble> {
    let text = config::read(file).map_err(Trouble::File)?;
    // The halves may run in another directory.
    let path = std::path::absolute(file).unwrap_or_else(|_| file.to_owned()).display().to_string();
    Config::parse(&path, &text).map_err(|refused| Trouble::File(refused.text))?;
    let sockets = [middlebox_socket(run_dir), agent_socket(run_dir)];
    // The other half may be on another machine.
    let running: Vec<&PathBuf> =
        sockets.iter().filter(|socket| UnixStream::connect(socket).is_ok()).collect();
    if running.is_empty() {
        let shown = run_dir.display();
        return Err(Trouble::Half(format!(
            "no postern answers in {shown}\nis it running (`postern run`), with this `run-dir`?"
        )));
    }
    let mut changed = BTreeSet::new();
    for check in [true, false] {
        for socket in &running {
            let request = Request::Reload(Reload { path: path.clone(), text: text.clone(), check });
            let keys: Vec<String> = client::ask(socket, &request).map_err(Trouble::Half)?;
            changed.extend(keys);
        }
    }
    Ok(changed.into_iter().collect())
}
