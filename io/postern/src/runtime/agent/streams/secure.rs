//! The thread on which connections are encrypted: a flood of handshakes costs it time, and the loop none.

use std::future::Future;
use std::io;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// The thread; it ends with this value.
pub(super) struct Thread {
    handle: Handle,
    _until: oneshot::Sender<()>,
}

impl Thread {
    /// Starts it. To be called when all privilege has been given up: a thread keeps what it was started with.
    pub(super) fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (until, ended) = oneshot::channel::<()>();
        thread::Builder::new().name("postern-tls".into()).spawn(move || {
            // It ends when the sender is gone.
            let _gone = runtime.block_on(ended);
        })?;
        Ok(Self { handle, _until: until })
    }

    /// Has a task run there.
    pub(super) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.handle.spawn(task);
    }
}
