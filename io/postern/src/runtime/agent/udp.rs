//! UDP: sockets are read until they are empty, and what a turn sends leaves in as few system calls as possible.

use std::collections::BTreeSet;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd as _;
use std::task::{Context, Poll};

use bytes::Bytes;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessage, MsgFlags, MultiHeaders, SockaddrLike as _, SockaddrStorage, recvmsg, sendmmsg,
    setsockopt, sockopt,
};
use sip::transport::{Hop, ListenerId, Protocol};

use super::doors;
use crate::runtime::watched::Watched;

/// Datagrams read from one socket before the others get their turn.
/// As many as a socket's buffer holds, nearly: what waits there is not seen by whoever decides about new calls.
const READ_MAX: usize = 8_192;
/// Datagrams that wait for the kernel's buffer; further ones are dropped, as the network would.
const QUEUE_MAX: usize = 16_384;
/// Datagrams given to the kernel at once.
const BATCH_MAX: usize = 64;
/// Buffer asked of the kernel, so that a burst survives a slow turn.
const SOCKET_BYTES: usize = 4 << 20;
/// The longest datagram there is.
const DATAGRAM_BYTES_MAX: usize = 65_535;

/// All UDP listeners.
pub(crate) struct Udp {
    sockets: Vec<Socket>,
    buffer: Box<[u8]>,
    /// Datagrams dropped because the kernel would not take them.
    pub dropped: u64,
}

struct Socket {
    listener: ListenerId,
    socket: Watched<UdpSocket>,
    queue: Vec<(SocketAddr, Bytes)>,
    /// Room for the kernel's list of one batch.
    headers: MultiHeaders<SockaddrStorage>,
}

/// What reading gave.
pub(crate) enum Arrived {
    /// A datagram.
    Datagram(Hop, Bytes),
    /// The network says that what was sent here cannot arrive.
    Failed(Hop),
}

impl Udp {
    /// No listeners yet.
    pub(crate) fn new() -> Self {
        Self { sockets: Vec::new(), buffer: vec![0; DATAGRAM_BYTES_MAX].into(), dropped: 0 }
    }

    /// Listens, but not on the interfaces that are closed.
    pub(crate) fn bind(
        &mut self,
        listener: ListenerId,
        address: SocketAddr,
        closed: &BTreeSet<String>,
    ) -> io::Result<()> {
        let socket = UdpSocket::bind(address)?;
        doors::shut(&socket, closed)?;
        socket.set_nonblocking(true)?;
        enlarge(&socket);
        report_errors(&socket, address);
        let socket = Watched::new(socket)?;
        let headers = MultiHeaders::preallocate(BATCH_MAX, None);
        self.sockets.push(Socket { listener, socket, queue: Vec::new(), headers });
        Ok(())
    }

    /// Ready when a datagram is there, or the kernel has room for what waits.
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut ready = Poll::Pending;
        for socket in &mut self.sockets {
            if socket.socket.poll_ready(cx).is_ready() {
                ready = Poll::Ready(());
            }
        }
        ready
    }

    /// Reads what is there. What could not be delivered comes first: nobody is woken for it, and left where it is it
    /// would be taken for the fate of what is sent next to the same place.
    pub(crate) fn receive(&mut self, mut each: impl FnMut(Arrived)) {
        for socket in &self.sockets {
            socket.failures(&mut each);
        }
        for socket in &self.sockets {
            for _ in 0..READ_MAX {
                match socket.socket.read(|socket| socket.recv_from(&mut self.buffer)) {
                    Ok((count, remote)) => {
                        let bytes = Bytes::copy_from_slice(self.buffer.get(..count).unwrap_or_default());
                        each(Arrived::Datagram(socket.hop(remote), bytes));
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // The error belongs to something sent earlier; the queue of errors says what.
                    Err(_) => socket.failures(&mut each),
                }
            }
        }
    }

    /// Sends with the next [`Udp::flush`].
    pub(crate) fn queue(&mut self, hop: Hop, bytes: Bytes) {
        match self.sockets.iter_mut().find(|socket| socket.listener == hop.listener) {
            Some(socket) if socket.queue.len() < QUEUE_MAX => socket.queue.push((hop.remote, bytes)),
            Some(_) | None => self.dropped += 1,
        }
    }

    /// Gives everything that waits to the kernel.
    pub(crate) fn flush(&mut self, mut each: impl FnMut(Arrived)) {
        for socket in &mut self.sockets {
            socket.flush(&mut each);
        }
    }
}

impl Socket {
    fn hop(&self, remote: SocketAddr) -> Hop {
        Hop { listener: self.listener, protocol: Protocol::Udp, remote, connection: None, name: None }
    }

    fn flush(&mut self, each: &mut impl FnMut(Arrived)) {
        let mut sent = 0;
        // A pending error of an earlier datagram is reported instead of sending; the same datagram is then tried
        // once more.
        let mut again = true;
        while sent < self.queue.len() {
            let batch = self.queue.get(sent..).unwrap_or_default();
            let batch = batch.get(..BATCH_MAX).unwrap_or(batch);
            match send(self.socket.inner(), &mut self.headers, batch) {
                Ok(count) => {
                    sent += count;
                    again = true;
                }
                Err(Errno::EAGAIN) => {
                    self.socket.wants_room();
                    break;
                }
                Err(_) if again => {
                    self.failures(each);
                    again = false;
                }
                Err(_) => {
                    if let Some((remote, _)) = batch.first() {
                        each(Arrived::Failed(self.hop(*remote)));
                    }
                    sent += 1;
                    again = true;
                }
            }
        }
        self.queue.drain(..sent);
    }

    /// Tells of every destination in the socket's queue of errors.
    fn failures(&self, each: &mut impl FnMut(Arrived)) {
        let mut byte = [0; 1];
        let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
        for _ in 0..READ_MAX {
            let mut slices = [IoSliceMut::new(&mut byte)];
            let message =
                recvmsg::<SockaddrStorage>(self.socket.inner().as_raw_fd(), &mut slices, None, flags);
            let Ok(message) = message else { break };
            if let Some(remote) = message.address.as_ref().and_then(socket_address) {
                each(Arrived::Failed(self.hop(remote)));
            }
        }
    }
}

/// Sends a batch with one system call; how many were taken.
fn send(
    socket: &UdpSocket,
    headers: &mut MultiHeaders<SockaddrStorage>,
    batch: &[(SocketAddr, Bytes)],
) -> Result<usize, Errno> {
    if let [(remote, bytes)] = batch {
        return match socket.send_to(bytes, *remote) {
            Ok(_) => Ok(1),
            Err(error) => Err(Errno::from_raw(error.raw_os_error().unwrap_or(0))),
        };
    }
    let slices: Vec<[IoSlice<'_>; 1]> = batch.iter().map(|(_, bytes)| [IoSlice::new(bytes)]).collect();
    let addresses: Vec<Option<SockaddrStorage>> =
        batch.iter().map(|(remote, _)| Some((*remote).into())).collect();
    let none: [ControlMessage<'_>; 0] = [];
    sendmmsg(socket.as_raw_fd(), headers, &slices, &addresses, none, MsgFlags::MSG_DONTWAIT)
        .map(|sent| sent.count().max(1))
}

/// Larger buffers, as far as the kernel allows.
fn enlarge(socket: &UdpSocket) {
    if setsockopt(socket, sockopt::RcvBufForce, &SOCKET_BYTES).is_err() {
        let _ = setsockopt(socket, sockopt::RcvBuf, &SOCKET_BYTES);
    }
    if setsockopt(socket, sockopt::SndBufForce, &SOCKET_BYTES).is_err() {
        let _ = setsockopt(socket, sockopt::SndBuf, &SOCKET_BYTES);
    }
}

//= RFC 3261 §18.4: transport errors, ICMP among them, are told to the transport user. The kernel remembers them only on
//= request, since the socket is not connected.
fn report_errors(socket: &UdpSocket, address: SocketAddr) {
    let _ = match address {
        SocketAddr::V4(_) => setsockopt(socket, sockopt::Ipv4RecvErr, &true),
        SocketAddr::V6(_) => setsockopt(socket, sockopt::Ipv6RecvErr, &true),
    };
}

fn socket_address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let _ = storage.family()?;
    let v4 = storage.as_sockaddr_in().map(|address| SocketAddr::V4((*address).into()));
    v4.or_else(|| storage.as_sockaddr_in6().map(|address| SocketAddr::V6((*address).into())))
}

#[cfg(test)]
mod tests {
    use super::*;

    //= test RFC 3261 §18.4: a failure belongs to what was sent, not to what is sent later.
    #[tokio::test]
    async fn an_old_failure_is_told_before_anything_new_is_sent() {
        let gone = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let mut udp = Udp::new();
        udp.bind(ListenerId(0), "127.0.0.1:0".parse().unwrap(), &BTreeSet::new()).unwrap();
        let remote = Hop {
            listener: ListenerId(0),
            protocol: Protocol::Udp,
            remote: gone,
            connection: None,
            name: None,
        };
        udp.queue(remote, Bytes::from_static(b"x"));
        udp.flush(|_| {});
        let mut failed = Vec::new();
        // On loopback the refusal is there before the system call returns.
        udp.receive(|arrived| match arrived {
            Arrived::Failed(hop) => failed.push(hop.remote),
            Arrived::Datagram(..) => {}
        });
        assert_eq!(failed, [gone]);
    }
}
