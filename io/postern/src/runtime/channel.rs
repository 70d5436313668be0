//! A byte stream to a SIMCO peer, over a Unix socket, TCP or TLS: read until empty, written once per turn.

use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

use super::watched::Watched;
use crate::tls::in_words;

/// After this long without a word from a peer its host is asked whether it lives; after twice as long it does not.
const ALIVE: Duration = Duration::from_secs(10);
/// Bytes that may wait for a peer that does not read. Then the connection is given up.
const PENDING_BYTES_MAX: usize = 8 << 20;
/// Bytes that TLS encrypts at once: as much as one of its records holds.
const PIECE: usize = 16 << 10;

#[derive(Debug)]
enum Stream {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// The stream with what could not be written yet.
pub(crate) struct Channel {
    stream: Watched<Stream>,
    pending: Vec<u8>,
    tls: Option<Box<rustls::Connection>>,
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
        Self::over(Stream::Unix(stream.into_std()?), None)
    }

    /// Over TCP. Must be called inside the runtime.
    pub(crate) fn tcp(stream: tokio::net::TcpStream) -> io::Result<Self> {
        Self::over_tcp(stream, None)
    }

    /// Over TLS, whose handshake happens with the first reads and writes; what is queued waits for it.
    pub(crate) fn tls(stream: tokio::net::TcpStream, tls: rustls::Connection) -> io::Result<Self> {
        Self::over_tcp(stream, Some(Box::new(tls)))
    }

    fn over_tcp(stream: tokio::net::TcpStream, tls: Option<Box<rustls::Connection>>) -> io::Result<Self> {
        // Requests are written together; waiting for more would only delay a call.
        let _ = stream.set_nodelay(true);
        notice_death(&stream);
        Self::over(Stream::Tcp(stream.into_std()?), tls)
    }

    fn over(stream: Stream, tls: Option<Box<rustls::Connection>>) -> io::Result<Self> {
        Ok(Self { stream: Watched::new(stream)?, pending: Vec::new(), tls })
    }

    /// Reads what is there.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Read {
        if let Some(tls) = &mut self.tls {
            return decrypted(tls, &self.stream, buffer);
        }
        let mut count = None;
        let result = self.stream.read(|stream| {
            let read = stream.read(buffer)?;
            count = Some(read);
            // Less than there was room for was everything: another read would only hear that.
            if read < buffer.len() { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        });
        match (count, result) {
            (Some(0), _) => Read::Ended(CLOSED.into()),
            (Some(count), _) => Read::Bytes(count),
            (None, Err(error)) if !is_passing(&error) => Read::Ended(error.to_string()),
            (None, _) => Read::Empty,
        }
    }

    /// Goes on with the handshake: true once it is done.
    pub(crate) fn shake_hands(&mut self) -> Result<bool, String> {
        let Some(tls) = &mut self.tls else { return Ok(true) };
        while tls.is_handshaking() {
            match take_in(tls, &self.stream) {
                Ok(true) => {}
                Ok(false) => break,
                Err(why) => {
                    // The alert says to the peer what is wrong.
                    let _ = self.flush();
                    return Err(why);
                }
            }
        }
        let done = !tls.is_handshaking();
        self.flush()?;
        Ok(done)
    }

    /// The certificate that the peer has shown and proven to be its own.
    pub(crate) fn peer_certificate(&self) -> Option<&[u8]> {
        self.tls.as_ref()?.peer_certificates()?.first().map(AsRef::as_ref)
    }

    /// Adds bytes for the next [`Channel::flush`].
    pub(crate) fn queue(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    /// Writes as much as the peer takes.
    pub(crate) fn flush(&mut self) -> Result<(), String> {
        let Self { stream, pending, tls } = self;
        let written = match tls {
            Some(tls) => encrypt(tls, stream, pending),
            None => write(stream, pending),
        };
        pending.drain(..written.map_err(|error| error.to_string())?);
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

impl Drop for Channel {
    fn drop(&mut self) {
        // The peer is told that nothing was cut off. Whether it hears that changes nothing.
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = self.flush();
        }
    }
}

/// What a peer has done that says no more.
const CLOSED: &str = "the peer closed the connection";

/// Nothing is wrong with the stream: the next turn reads.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// Writes bytes as they are; says how many the kernel took.
fn write(stream: &mut Watched<Stream>, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match stream.inner().write(bytes.get(written..).unwrap_or_default()) {
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                stream.wants_room();
                break;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// Encrypts bytes and writes what TLS wants written; says how many were taken. They are taken in pieces, so that what
/// the kernel has no room for stays with us.
fn encrypt(tls: &mut rustls::Connection, stream: &mut Watched<Stream>, bytes: &[u8]) -> io::Result<usize> {
    let mut taken = 0;
    loop {
        while tls.wants_write() {
            match tls.write_tls(&mut Writer(stream.inner())) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    stream.wants_room();
                    return Ok(taken);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let rest = bytes.get(taken..).unwrap_or_default();
        if rest.is_empty() || tls.is_handshaking() {
            return Ok(taken);
        }
        taken += tls.writer().write(rest.get(..PIECE).unwrap_or(rest))?;
    }
}

/// Decrypts what is there.
fn decrypted(tls: &mut rustls::Connection, stream: &Watched<Stream>, buffer: &mut [u8]) -> Read {
    loop {
        match tls.reader().read(buffer) {
            Ok(0) => return Read::Ended(CLOSED.into()),
            Ok(count) => return Read::Bytes(count),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Read::Ended(CLOSED.into()),
            Err(error) => return Read::Ended(error.to_string()),
        }
        match take_in(tls, stream) {
            Ok(true) => {}
            Ok(false) => return Read::Empty,
            Err(why) => return Read::Ended(why),
        }
    }
}

/// Gives TLS what has arrived; false if nothing has.
fn take_in(tls: &mut rustls::Connection, stream: &Watched<Stream>) -> Result<bool, String> {
    match stream.read(|stream| tls.read_tls(&mut Reader(stream))) {
        Ok(0) if tls.is_handshaking() => return Err(format!("{CLOSED} during the handshake")),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(true),
        Err(error) => return Err(error.to_string()),
    }
    tls.process_new_packets().map(|_| true).map_err(|error| in_words(&error, "the peer"))
}

/// The stream as TLS wants it.
struct Reader<'s>(&'s Stream);
struct Writer<'s>(&'s Stream);

impl io::Read for Reader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

impl io::Write for Writer<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
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
