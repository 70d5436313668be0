//! A byte stream to a SIMCO peer, over a Unix socket or TCP: read until empty, written once per turn.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::watched::Watched;

/// After this long without a word from a peer its host is asked whether it lives; after twice as long it does not.
const ALIVE: Duration = Duration::from_secs(10);
/// Bytes that may wait for a peer that does not read. Then the connection is given up.
const PENDING_BYTES_MAX: usize = 8 << 20;

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// The stream with what could not be written yet.
#[derive(Debug)]
pub(crate) struct Channel {
    stream: Watched<Stream>,
    pending: Vec<u8>,
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Read {
    /// So many bytes.
    Bytes(usize),
    /// Nothing now.
    Empty,
    /// The stream is over; the text says why.
    Ended(String),
}

impl Channel {
    /// Over a Unix socket. Must be called inside the runtime.
    pub(crate) fn unix(stream: tokio::net::UnixStream) -> io::Result<Self> {
        Self::over(Stream::Unix(stream.into_std()?))
    }

    /// Over TCP. Must be called inside the runtime.
    pub(crate) fn tcp(stream: tokio::net::TcpStream) -> io::Result<Self> {
        // Requests are written together; waiting for more would only delay a call.
        let _ = stream.set_nodelay(true);
        notice_death(&stream);
        Self::over(Stream::Tcp(stream.into_std()?))
    }

    fn over(stream: Stream) -> io::Result<Self> {
        Ok(Self { stream: Watched::new(stream)?, pending: Vec::new() })
    }

    /// Reads what is there.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Read {
        let mut count = None;
        let result = self.stream.read(|stream| {
            let read = stream.read(buffer)?;
            count = Some(read);
            // Less than there was room for was everything: another read would only hear that.
            if read < buffer.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (count, result) {
            (Some(0), _) => Read::Ended("the peer closed the connection".into()),
            (Some(count), _) => Read::Bytes(count),
            (None, Err(error)) if error.kind() != io::ErrorKind::WouldBlock => Read::Ended(error.to_string()),
            (None, _) => Read::Empty,
        }
    }

    /// Adds bytes for the next [`Channel::flush`].
    pub(crate) fn queue(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Writes as much as the peer takes.
    pub(crate) fn flush(&mut self) -> Result<(), String> {
        let mut written = 0;
        while written < self.pending.len() {
            match self.stream.inner().write(self.pending.get(written..).unwrap_or_default()) {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.wants_room();
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.to_string()),
            }
        }
        self.pending.drain(..written);
        if self.pending.len() > PENDING_BYTES_MAX {
            return Err("the peer does not read".into());
        }
        Ok(())
    }

    /// Ready when there is something to read, or room for what waits.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.stream.poll_ready(cx)
    }
}

/// A host that is gone says nothing, and a session may be silent for hours: the kernel asks. Where it cannot be told to,
/// a dead peer is noticed with the next request.
fn notice_death(stream: &tokio::net::TcpStream) {
    let socket = SockRef::from(stream);
    let keepalive = TcpKeepalive::new().with_time(ALIVE).with_interval(ALIVE / 4).with_retries(4);
    let _ = socket.set_tcp_keepalive(&keepalive);
    let _ = socket.set_tcp_user_timeout(Some(ALIVE * 2));
}

impl Stream {
    fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => (&*stream).read(buffer),
            Self::Tcp(stream) => (&*stream).read(buffer),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Unix(stream) => (&*stream).write(bytes),
            Self::Tcp(stream) => (&*stream).write(bytes),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Unix(stream) => stream.as_fd(),
            Self::Tcp(stream) => stream.as_fd(),
        }
    }
}

impl AsRawFd for Stream {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}
