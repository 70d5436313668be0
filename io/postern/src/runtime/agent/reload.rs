//! A new configuration while the half runs: all of it that may change, or nothing.

use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use b2bua::Input;

use super::{Agent, Failure, settings, users, wall};
use crate::admin::protocol::{Answer, Reload};
use crate::config::{self, reload};
use crate::log;
use crate::runtime::wall::Wall;

impl Agent {
    /// The file that a command has read.
    pub(super) fn reload(&mut self, asked: &Reload) -> Answer {
        if !asked.check {
            self.streams.refresh();
        }
        match self.take(&asked.path, &asked.text, asked.check) {
            Ok(changed) => Answer::of(&changed),
            Err(text) => Answer::Error(text),
        }
    }

    /// The file as it is now, at a signal.
    pub(super) fn reload_file(&mut self) {
        self.streams.refresh();
        let path = self.config.file.display().to_string();
        let taken = config::read(&self.config.file).and_then(|text| self.take(&path, &text, false));
        if let Err(text) = taken {
            log::error(format_args!("not reloaded, what runs stays as it is:\n{}", text.trim_end()));
        }
    }

    /// Puts a configuration into force, or says why not and changes nothing; `check` only says.
    fn take(&mut self, path: &str, text: &str, check: bool) -> Result<Vec<String>, String> {
        let (new, changed) = reload::take(&self.config, path, text)?;
        let reader = nix::unistd::geteuid().as_raw();
        let users = match may_read(new.users.as_deref()) {
            true => Some(users::read(&new, reader).map_err(|Failure::Start(why)| why)?),
            false => None,
        };
        if check {
            return Ok(changed);
        }
        self.guard.trust(&new);
        if users.is_none() {
            log::warn(format_args!("this process may not read the file of `users`: they stay as they are"));
        }
        let (routes, admission) = (settings::routes(&new), settings::admission(&new));
        self.inputs.push_back(Input::Reload(Box::new(b2bua::Reload { routes, admission, users })));
        self.wall = wall(&new);
        self.inputs.extend(self.wall.as_mut().and_then(Wall::tick).map(Input::Clock));
        self.config = new;
        Ok(changed)
    }
}

/// False if a file is there and another user's.
fn may_read(path: Option<&Path>) -> bool {
    let opened = path.map(File::open);
    !matches!(opened, Some(Err(error)) if error.kind() == ErrorKind::PermissionDenied)
}
