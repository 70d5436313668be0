//! Waiting that a signal does not end (`signal(7)`, "Interruption of system calls").

use std::io;

/// Does `work` until it ends for another reason than a signal.
///
/// A read with a time-out says `EINTR` after any signal, even one that only stopped the process and let it go on, or
/// froze it together with its machine; no flag of the signal's handler changes that. What was interrupted waits its whole
/// time again.
///
/// # Errors
/// What `work` gives, except `Interrupted`.
pub fn again<T>(mut work: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match work() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}
