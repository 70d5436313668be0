//! A new configuration while the half runs: all of it that may change, or nothing.

use middlebox::Input;

use super::settings::Guests;
use super::wall::Wall;
use super::{Gate, settings};
use crate::admin::protocol::{Answer, Reload};
use crate::config::{self, reload};
use crate::log;

impl Gate {
    /// The file that a command has read.
    pub(super) fn reload(&mut self, asked: &Reload) -> Answer {
        match self.take(&asked.path, &asked.text, asked.check) {
            Ok(changed) => Answer::of(&changed),
            Err(text) => Answer::Error(text),
        }
    }

    /// The file as it is now, at a signal.
    pub(super) fn reload_file(&mut self) {
        let path = self.config.file.display().to_string();
        let taken = config::read(&self.config.file).and_then(|text| self.take(&path, &text, false));
        if let Err(text) = taken {
            log::error(format_args!("not reloaded, what runs stays as it is:\n{}", text.trim_end()));
        }
    }

    /// Puts a configuration into force, or says why not and changes nothing; `check` only says.
    fn take(&mut self, path: &str, text: &str, check: bool) -> Result<Vec<String>, String> {
        let (new, changed) = reload::take(&self.config, path, text)?;
        let guests = Guests::new(&new, self.agent)?;
        let policy = settings::policy(&new);
        if check {
            return Ok(changed);
        }
        let said = if changed.is_empty() { "nothing has changed".into() } else { changed.join(", ") };
        log::info(format_args!("reloaded: {said}"));
        self.chronicle.learn(&policy);
        self.wall = Wall::new(new.middlebox.time_zone.as_ref());
        self.inputs.extend(self.wall.tick());
        self.inputs.push_back(Input::Policy(Box::new(policy)));
        self.sessions.welcome(guests);
        self.config = new;
        Ok(changed)
    }
}
