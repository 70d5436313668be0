//! Descriptors that are waited for only where it matters.
//!
//! With interest in both directions the kernel wakes us for every datagram it has sent and every byte the peer has
//! read: one more wake-up for each message. So a descriptor is watched for reading, and for room to write only while
//! something waits that the kernel would not take.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::task::{Context, Poll};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that does not block, watched by the runtime.
#[derive(Debug)]
pub(crate) struct Watched<T: AsRawFd> {
    io: AsyncFd<T>,
    /// A descriptor of its own for the same socket, since one descriptor can be watched only once.
    room: Option<AsyncFd<OwnedFd>>,
}

impl<T: AsRawFd + AsFd> Watched<T> {
    /// Watches `io`. Must be called inside the runtime.
    pub(crate) fn new(io: T) -> io::Result<Self> {
        Ok(Self { io: register(io, Interest::READABLE)?, room: None })
    }

    /// What is watched.
    pub(crate) fn inner(&self) -> &T {
        self.io.get_ref()
    }

    /// Reads, unless it is known that nothing is there. When `read` says `WouldBlock` the next look is taken only
    /// after more has arrived.
    pub(crate) fn read<R>(&self, read: impl FnOnce(&T) -> io::Result<R>) -> io::Result<R> {
        self.io.try_io(Interest::READABLE, read)
    }

    /// The kernel would not take everything: [`Watched::poll_ready`] tells when there is room again. If that cannot
    /// be watched the next turn tries again, whatever it is due to.
    pub(crate) fn wants_room(&mut self) {
        if self.room.is_none() {
            let again = self.inner().as_fd().try_clone_to_owned();
            self.room = again.and_then(|again| register(again, Interest::WRITABLE)).ok();
        }
    }

    /// Ready when there may be something to read, or room that was wanted.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let readable = matches!(self.io.poll_read_ready(cx), Poll::Ready(Ok(_)));
        let room = self.room.as_ref().is_some_and(|room| room.poll_write_ready(cx).is_ready());
        if room {
            self.room = None;
        }
        if readable || room { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Has the runtime watch a descriptor. Must be called inside the runtime.
#[allow(
    deprecated,
    reason = "what is watched here owns its descriptor and keeps it open, which is all the unsafe successor asks for"
)]
pub(crate) fn register<T: AsRawFd>(io: T, interest: Interest) -> io::Result<AsyncFd<T>> {
    AsyncFd::with_interest(io, interest)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::{Read as _, Write as _};
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    use super::*;

    fn block_on(work: impl Future<Output = ()>) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work);
    }

    fn pair() -> (Watched<UnixStream>, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (Watched::new(near).unwrap(), far)
    }

    async fn is_ready(watched: &mut Watched<UnixStream>) -> bool {
        let ready = poll_fn(|cx| watched.poll_ready(cx));
        tokio::time::timeout(Duration::from_millis(50), ready).await.is_ok()
    }

    fn fill(stream: &UnixStream) {
        let mut stream = stream;
        while stream.write(&[0; 4096]).is_ok() {}
    }

    #[test]
    fn a_peer_that_reads_does_not_wake_us() {
        block_on(async {
            let (mut near, mut far) = pair();
            near.inner().write_all(b"x").unwrap();
            far.read_exact(&mut [0]).unwrap();
            assert!(!is_ready(&mut near).await);
        });
    }

    #[test]
    fn bytes_wake_us_until_they_are_read() {
        block_on(async {
            let (mut near, mut far) = pair();
            far.write_all(b"x").unwrap();
            assert!(is_ready(&mut near).await);
            let mut buffer = [0; 8];
            assert_eq!(near.read(|mut stream| stream.read(&mut buffer)).unwrap(), 1);
            assert!(near.read(|mut stream| stream.read(&mut buffer)).is_err());
            assert!(!is_ready(&mut near).await);
        });
    }

    #[test]
    fn room_that_is_wanted_wakes_us_once() {
        block_on(async {
            let (mut near, mut far) = pair();
            fill(near.inner());
            near.wants_room();
            assert!(!is_ready(&mut near).await, "the peer has read nothing");
            far.set_nonblocking(true).unwrap();
            let mut buffer = [0; 65536];
            while far.read(&mut buffer).is_ok() {}
            assert!(is_ready(&mut near).await);
            assert!(!is_ready(&mut near).await);
        });
    }
}
