//! A new configuration while the half runs: all of it that may change, or nothing.

use machine::Instant;
use middlebox::Input;

use super::guests::Guests;
use super::{Gate, settings};
use crate::admin::protocol::{Answer, Reload};
use crate::config::{self, reload};
use crate::log;
use crate::runtime::wall::Wall;

impl Gate {
    /// The file that a command has read.
    pub(super) fn reload(&mut self, now: Instant, asked: &Reload) -> Answer {
        match self.take(now, &asked.path, &asked.text, asked.check) {
            Ok(changed) => Answer::of(&changed),
            Err(text) => Answer::Error(text),
        }
    }

    /// The file as it is now, at a signal.
    pub(super) fn reload_file(&mut self, now: Instant) {
        let path = self.config.file.display().to_string();
        let taken = config::read(&self.config.file).and_then(|text| self.take(now, &path, &text, false));
        if let Err(text) = taken {
            log::error(format_args!("not reloaded, what runs stays as it is:\n{}", text.trim_end()));
        }
    }

    /// Puts a configuration into force, or says why not and changes nothing; `check` only says.
    fn take(&mut self, now: Instant, path: &str, text: &str, check: bool) -> Result<Vec<String>, String> {
        let (new, mut changed) = reload::take(&self.config, path, text)?;
        let guests = Guests::new(&new, self.agent)?.with_secrets(&new)?;
        // A secret may be another one in a file of the same name.
        let secrets = guests.other_secrets(&new, self.sessions.guests()).into_iter();
        changed.extend(secrets.map(|name| format!("middlebox.agent.{name}.secret")));
        changed.sort();
        changed.dedup();
        let policy = settings::policy(&new);
        if check {
            return Ok(changed);
        }
        let said = if changed.is_empty() { "nothing has changed".into() } else { changed.join(", ") };
        log::info(format_args!("reloaded: {said}"));
        self.chronicle.learn(&policy);
        self.wall = Wall::new(new.middlebox.time_zone.as_ref());
        self.inputs.extend(self.wall.tick().map(Input::Clock));
        self.inputs.push_back(Input::Policy(Box::new(policy)));
        self.sessions.welcome(now, guests, &mut self.inputs);
        self.config = new;
        Ok(changed)
    }
}
