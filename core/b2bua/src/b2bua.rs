//! The machine. It only dispatches.

use machine::{Instant, Machine, Outbox, Rng};

use crate::config::Config;
use crate::event::CallId;
use crate::info::{CallDetail, CallInfo};
use crate::io::{Input, Output};

/// The SIP side of Postern.
#[derive(Debug)]
pub struct B2bua {
    config: Config,
}

impl B2bua {
    /// A B2BUA without calls. `rng` is the only source of tags, branches and identifiers.
    #[must_use]
    pub fn new(config: Config, rng: Rng) -> Self {
        let _ = rng;
        Self { config }
    }

    /// The configuration it was made with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// All calls, oldest first.
    pub fn calls(&self) -> impl Iterator<Item = CallInfo> + '_ {
        std::iter::empty()
    }

    /// One call.
    #[must_use]
    pub fn call(&self, id: CallId) -> Option<CallDetail> {
        let _ = id;
        None
    }
}

impl Machine for B2bua {
    type Input = Input;
    type Output = Output;

    fn handle(&mut self, _now: Instant, input: Input, out: &mut Outbox<Output>) {
        if let Input::Shutdown = input {
            out.push(Output::ShutdownComplete);
        }
    }

    fn handle_timeout(&mut self, _now: Instant, _out: &mut Outbox<Output>) {}

    fn next_timeout(&self) -> Option<(Instant, &'static str)> {
        None
    }
}
