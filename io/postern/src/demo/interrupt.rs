//! Ctrl-C in the middle of the demo: what was built is taken down before the process ends.

use std::io;
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

/// Runs `tidy` when the demo is told to stop, and ends the process with `code`.
///
/// # Errors
/// If signals cannot be heard.
pub(crate) fn tidy_up(code: i32, tidy: impl FnOnce() + Send + 'static) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listening = {
        let _inside = runtime.enter();
        [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal)
    };
    let [interrupt, terminate, hangup] = listening;
    let (mut interrupt, mut terminate, mut hangup) = (interrupt?, terminate?, hangup?);
    let wait = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = hangup.recv() => {}
            }
        });
        tidy();
        std::process::exit(code);
    };
    thread::Builder::new().name("interrupt".into()).spawn(wait).map(drop)
}
