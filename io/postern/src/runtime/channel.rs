//! A byte stream to a SIMCO peer, over a Unix socket or TCP: read until empty, written once per turn.

use std::io;
use std::task::{Context, Poll};

use tokio::net::{TcpStream, UnixStream};

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
    stream: Stream,
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

impl From<UnixStream> for Channel {
    fn from(stream: UnixStream) -> Self {
        Self { stream: Stream::Unix(stream), pending: Vec::new() }
    }
}

impl From<TcpStream> for Channel {
    fn from(stream: TcpStream) -> Self {
        // Requests are written together; waiting for more would only delay a call.
        let _ = stream.set_nodelay(true);
        Self { stream: Stream::Tcp(stream), pending: Vec::new() }
    }
}

impl Channel {
    /// Reads what is there.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> Read {
        let result = match &self.stream {
            Stream::Unix(stream) => stream.try_read(buffer),
            Stream::Tcp(stream) => stream.try_read(buffer),
        };
        match result {
            Ok(0) => Read::Ended("the peer closed the connection".into()),
            Ok(count) => Read::Bytes(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Read::Empty,
            Err(error) => Read::Ended(error.to_string()),
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
            let rest = self.pending.get(written..).unwrap_or_default();
            let result = match &self.stream {
                Stream::Unix(stream) => stream.try_write(rest),
                Stream::Tcp(stream) => stream.try_write(rest),
            };
            match result {
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
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
    pub(crate) fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        let readable = match &self.stream {
            Stream::Unix(stream) => stream.poll_read_ready(cx).is_ready(),
            Stream::Tcp(stream) => stream.poll_read_ready(cx).is_ready(),
        };
        let writable = !self.pending.is_empty()
            && match &self.stream {
                Stream::Unix(stream) => stream.poll_write_ready(cx).is_ready(),
                Stream::Tcp(stream) => stream.poll_write_ready(cx).is_ready(),
            };
        if readable || writable { Poll::Ready(()) } else { Poll::Pending }
    }
}
