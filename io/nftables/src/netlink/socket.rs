//! The socket: batches out, acknowledgements and answers in.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{RcvBuf, RcvBufForce, SndBuf, SndBufForce};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, getsockname, getsockopt,
    recv, sendto, setsockopt, socket,
};

use super::attributes::{Messages, Received};
use super::message::{Batch, Message};
use super::uapi;
use crate::os;

/// What we would like both buffers to hold, in bytes.
const BUFFER_WISH: usize = 16 << 20;
/// Room for one datagram from the kernel; dumps use at most 32 KiB at a time.
const DATAGRAM_MAX: usize = 64 << 10;
/// Per message the kernel counts this much on top of its bytes against the send buffer.
const SEND_OVERHEAD: usize = 4096;

/// Why a batch was not carried out. Nothing of it took effect unless it says otherwise.
#[derive(Debug)]
pub(crate) enum CommitError {
    /// The kernel refused one of its messages, or the commit.
    Refused(io::Error),
    /// The acknowledgement was lost or the socket failed: the batch may have taken effect.
    Unknown(io::Error),
}

impl CommitError {
    /// The operating system's error.
    pub(crate) fn error(&self) -> &io::Error {
        match self {
            Self::Refused(error) | Self::Unknown(error) => error,
        }
    }
}

impl From<CommitError> for io::Error {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Refused(error) | CommitError::Unknown(error) => error,
        }
    }
}

/// A netlink socket. The table belongs to the one that created it, so there is one writer.
#[derive(Debug)]
pub(crate) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    port: u32,
    send_max: usize,
    buffer: Vec<u8>,
    spare: Option<Batch>,
    commits: u32,
}

impl Socket {
    /// A socket to netfilter, subscribed to the multicast `groups` (a bit mask).
    pub(crate) fn netfilter(groups: u32) -> io::Result<Self> {
        Self::open(SockProtocol::NetlinkNetFilter, groups)
    }

    /// A socket to routing.
    pub(crate) fn route() -> io::Result<Self> {
        Self::open(SockProtocol::NetlinkRoute, 0)
    }

    fn open(protocol: SockProtocol, groups: u32) -> io::Result<Self> {
        let fd = socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        os::short_errors(fd.as_fd())?;
        // Both FORCE options need privilege in the first user namespace; the plain ones stop at net.core.*mem_max.
        if setsockopt(&fd, SndBufForce, &BUFFER_WISH).is_err() {
            setsockopt(&fd, SndBuf, &BUFFER_WISH)?;
        }
        if setsockopt(&fd, RcvBufForce, &BUFFER_WISH).is_err() {
            setsockopt(&fd, RcvBuf, &BUFFER_WISH)?;
        }
        let granted = getsockopt(&fd, SndBuf)?;
        let port = getsockname::<NetlinkAddr>(fd.as_raw_fd())?.pid();
        Ok(Self {
            fd,
            sequence: 1,
            port,
            send_max: granted.saturating_sub(SEND_OVERHEAD),
            buffer: vec![0; DATAGRAM_MAX],
            spare: None,
            commits: 0,
        })
    }

    /// The number under which the kernel knows this socket.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    /// The largest batch that may be sent, in bytes: read back, not wished.
    pub(crate) fn send_max(&self) -> usize {
        self.send_max
    }

    /// An empty batch with numbers of its own.
    pub(crate) fn batch(&mut self) -> Batch {
        match self.spare.take() {
            Some(batch) => batch.reuse(self.sequence),
            None => Batch::new(self.sequence),
        }
    }

    /// Carries out a batch. When this returns `Ok` the kernel has committed it.
    pub(crate) fn commit(&mut self, mut batch: Batch) -> Result<(), CommitError> {
        let result = if batch.is_empty() { Ok(()) } else { self.commit_filled(&mut batch) };
        self.sequence = batch.next_sequence();
        self.spare = Some(batch);
        self.commits = self.commits.wrapping_add(u32::from(result.is_ok()));
        result
    }

    /// How many batches were carried out.
    pub(crate) fn commits(&self) -> u32 {
        self.commits
    }

    fn commit_filled(&mut self, batch: &mut Batch) -> Result<(), CommitError> {
        let first = batch.first_sequence();
        let (bytes, last) = batch.finish();
        // The kernel works inside this call; every answer is queued when it returns.
        self.send(bytes).map_err(CommitError::Unknown)?;
        let mut refused = None;
        loop {
            let length = match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(Errno::EINTR) => continue,
                Err(Errno::EAGAIN) => break,
                Err(errno) => return Err(CommitError::Unknown(errno.into())),
            };
            for message in Messages::new(&self.buffer[..length]) {
                let ours = message.sequence.wrapping_sub(first) <= last.wrapping_sub(first);
                match message.error() {
                    Some(0) if message.sequence == last => {
                        return refused.map_or(Ok(()), Err);
                    }
                    Some(errno) if ours && errno != 0 && refused.is_none() => {
                        refused = Some(CommitError::Refused(io::Error::from_raw_os_error(errno)));
                    }
                    _ => {}
                }
            }
        }
        let lost = || CommitError::Unknown(io::Error::other("the kernel did not acknowledge a batch"));
        Err(refused.unwrap_or_else(lost))
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        loop {
            match sendto(self.fd.as_raw_fd(), bytes, &NetlinkAddr::new(0, 0), MsgFlags::empty()) {
                Ok(_) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// The number for the next message outside a batch.
    pub(crate) fn next_sequence(&mut self) -> u32 {
        let sequence = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        sequence
    }

    /// Sends a question (dump, or get with acknowledgement) and gives every answering message to `each`, until the
    /// kernel says that this was all. `Interrupted` if the tables changed meanwhile: ask again.
    pub(crate) fn ask(&mut self, question: Message, mut each: impl FnMut(Received<'_>)) -> io::Result<()> {
        let bytes = question.finish();
        let sequence = Messages::new(&bytes).next().map(|message| message.sequence);
        self.send(&bytes)?;
        let mut torn = false;
        loop {
            let length = match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::empty()) {
                Ok(length) => length,
                Err(Errno::EINTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            for message in Messages::new(&self.buffer[..length]) {
                if Some(message.sequence) != sequence {
                    continue;
                }
                torn |= message.flags & uapi::NLM_F_DUMP_INTR != 0;
                match message.error() {
                    Some(0) => return Ok(()),
                    Some(errno) => return Err(io::Error::from_raw_os_error(errno)),
                    None if message.kind == uapi::NLMSG_DONE && torn => {
                        return Err(io::ErrorKind::Interrupted.into());
                    }
                    None if message.kind == uapi::NLMSG_DONE => return Ok(()),
                    None => each(message),
                }
            }
        }
    }

    /// Takes one datagram that the kernel sent unasked, if there is one.
    pub(crate) fn event(&mut self) -> Result<Option<Messages<'_>>, Errno> {
        match recv(self.fd.as_raw_fd(), &mut self.buffer, MsgFlags::MSG_DONTWAIT) {
            Ok(length) => Ok(Some(Messages::new(&self.buffer[..length]))),
            Err(Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
