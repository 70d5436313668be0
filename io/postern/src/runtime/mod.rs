//! The loops of both halves: they read, tell the machines, and carry out what the machines ask for, in order.

pub(crate) mod agent;
mod alarm;
pub(crate) mod channel;
pub(crate) mod gate;
mod interfaces;
pub(crate) mod unix;
pub(crate) mod wall;
mod watched;

use std::future::Future;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// How a half came to its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It could not start: the text says what to do.
    Start(String),
}

/// Runs a half's loop on this thread, which is the only one that decides anything.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(8)
        .thread_stack_size(256 << 10)
        .build()
        .map_err(|error| Failure::Start(format!("cannot start: {error}")))?;
    let result = runtime.block_on(work);
    // A look-up that hangs must not keep the process.
    runtime.shutdown_background();
    result
}

/// SIGTERM, SIGINT and SIGHUP.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

/// What a signal says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    /// To stop.
    Stop,
    /// To read the configuration again.
    Reload,
}

impl Signals {
    /// Starts listening.
    pub(crate) fn listen() -> Result<Self, Failure> {
        let listen =
            |kind| signal(kind).map_err(|error| Failure::Start(format!("cannot hear signals: {error}")));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// The next one.
    pub(crate) async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::Stop,
            _ = self.interrupt.recv() => Told::Stop,
            _ = self.hangup.recv() => Told::Reload,
        }
    }
}
