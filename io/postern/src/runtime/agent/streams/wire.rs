//! The bytes of one connection, encrypted or not. Never waits: the task that owns it does.

use std::io::{self, Read as _, Write as _};

use rustls::Connection;
use tokio::net::TcpStream;

use crate::tls::{Certificate, in_words};

/// Bytes that TLS encrypts at once: as much as one of its records holds.
const PIECE: usize = 16 << 10;
/// What a peer has done that says no more.
const CLOSED: &str = "the peer closed the connection";

/// A connection.
pub(super) struct Wire {
    stream: TcpStream,
    tls: Option<Box<Connection>>,
    /// Whom the other end is called when something is wrong with its certificate.
    peer: String,
}

impl Wire {
    /// As it is.
    pub(super) fn plain(stream: TcpStream) -> Self {
        Self { stream, tls: None, peer: String::new() }
    }

    /// Over TLS; `peer` is whom the other end is called.
    pub(super) fn encrypted(stream: TcpStream, tls: Connection, peer: String) -> Self {
        Self { stream, tls: Some(Box::new(tls)), peer }
    }

    /// False until the handshake is over.
    pub(super) fn is_open(&self) -> bool {
        self.tls.as_ref().is_none_or(|tls| !tls.is_handshaking())
    }

    /// The SIP domains that the peer has proven to be its own.
    //= RFC 5922 §7.4: those of its certificate, if it has shown one.
    pub(super) fn domains(&self) -> Vec<String> {
        let shown = self.tls.as_ref().and_then(|tls| tls.peer_certificates()?.first());
        shown.and_then(|shown| Certificate::read(shown)).map(|says| says.domains).unwrap_or_default()
    }

    pub(super) async fn readable(&self) -> io::Result<()> {
        self.stream.readable().await
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        self.stream.writable().await
    }

    /// Reads into the buffer; `None` if nothing is there now.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<Option<usize>, String> {
        let Some(tls) = &mut self.tls else {
            return match self.stream.try_read(buffer) {
                Ok(0) => Err(CLOSED.into()),
                Ok(count) => Ok(Some(count)),
                Err(error) if is_passing(&error) => Ok(None),
                Err(error) => Err(error.to_string()),
            };
        };
        loop {
            match tls.reader().read(buffer) {
                Ok(0) => return Err(CLOSED.into()),
                Ok(count) => return Ok(Some(count)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Err(CLOSED.into()),
                Err(error) => return Err(error.to_string()),
            }
            match tls.read_tls(&mut Half(&self.stream)) {
                Ok(0) if tls.is_handshaking() => return Err(format!("{CLOSED} during the handshake")),
                Ok(_) => {}
                Err(error) if is_passing(&error) => return Ok(None),
                Err(error) => return Err(error.to_string()),
            }
            if let Err(error) = tls.process_new_packets() {
                // The alert says to the peer what is wrong.
                let _ = tls.write_tls(&mut Half(&self.stream));
                return Err(in_words(&error, &self.peer));
            }
        }
    }

    /// True if the kernel would not take what there is to write.
    pub(super) fn wants_to_write(&self, pending: &[u8]) -> bool {
        match &self.tls {
            None => !pending.is_empty(),
            Some(tls) => tls.wants_write() || (!pending.is_empty() && !tls.is_handshaking()),
        }
    }

    /// Writes as much as the kernel takes, and says how many bytes that were.
    pub(super) fn write(&mut self, pending: &mut Vec<u8>) -> io::Result<usize> {
        let mut taken = 0;
        let mut written = 0;
        let result = loop {
            let rest = pending.get(taken..).unwrap_or_default();
            match self.write_once(rest) {
                Ok((0, 0)) => break Ok(()),
                Ok((accepted, sent)) => {
                    taken += accepted;
                    written += sent;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => break Err(error),
            }
        };
        pending.drain(..taken);
        result.map(|()| written)
    }

    /// Bytes taken from `rest`, and bytes that the kernel took.
    fn write_once(&mut self, rest: &[u8]) -> io::Result<(usize, usize)> {
        let Some(tls) = &mut self.tls else {
            if rest.is_empty() {
                return Ok((0, 0));
            }
            return self.stream.try_write(rest).map(|count| (count, count));
        };
        // What waits encrypted goes first, so that at most one record is beyond recall.
        if tls.wants_write() {
            return tls.write_tls(&mut Half(&self.stream)).map(|count| (0, count));
        }
        if tls.is_handshaking() {
            return Ok((0, 0));
        }
        tls.writer().write(rest.get(..PIECE).unwrap_or(rest)).map(|count| (count, 0))
    }

    /// Tells the peer that nothing was cut off. Whether it hears that changes nothing.
    pub(super) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut Half(&self.stream));
        }
    }
}

/// Nothing is there, or a signal came between: then the stream is still readable.
fn is_passing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

/// The stream as TLS wants it.
struct Half<'s>(&'s TcpStream);

impl io::Read for Half<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.try_read(buffer)
    }
}

impl io::Write for Half<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.try_write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
