//! Drift: has anybody else touched our table? `docs/pinholes.md` §4.
//!
//! An event socket hears every change but our own. Because events can be lost, the kernel's count of commits is
//! compared with those we made and those we heard of; whatever is not explained counts as drift.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;

use super::TABLE;
use crate::netlink::{Message, Received, Socket, be32, text, uapi};
use crate::os;

/// Why the table must be verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disturbance {
    /// Somebody else changed our table.
    Changed,
    /// Events were lost.
    EventsLost,
    /// There were more commits than we made and heard of.
    UnseenCommits,
    /// The kernel did not acknowledge a commit of ours, or said that the table is not there.
    Unavailable,
}

#[derive(Debug)]
pub(super) struct Watch {
    events: Socket,
    generation: u32,
    foreign: Vec<u32>,
}

impl Watch {
    /// Listens from now on; `writer` is the socket whose changes are ours.
    pub(super) fn open(writer: &mut Socket) -> io::Result<Self> {
        let events = Socket::netfilter(uapi::NFTABLES_EVENTS)?;
        os::ignore_writer(events.as_fd(), writer.port())?;
        let generation = generation(writer)?;
        Ok(Self { events, generation, foreign: Vec::new() })
    }

    /// What happened since the last call, in which time `commits` commits were ours.
    pub(super) fn take(&mut self, writer: &mut Socket, commits: u32) -> io::Result<Option<Disturbance>> {
        let now = generation(writer)?;
        let mut found = self.hear()?;
        let behind = |id: &u32| now.wrapping_sub(*id) <= u32::MAX / 2;
        let heard = self.foreign.iter().filter(|id| behind(id)).count();
        self.foreign.retain(|id| !behind(id));
        let explained = u64::from(commits) + heard as u64;
        if found.is_none() && u64::from(now.wrapping_sub(self.generation)) > explained {
            found = Some(Disturbance::UnseenCommits);
        }
        self.generation = now;
        Ok(found)
    }

    fn hear(&mut self) -> io::Result<Option<Disturbance>> {
        let mut found = None;
        loop {
            match self.events.event() {
                Ok(None) => return Ok(found),
                Ok(Some(messages)) => {
                    for message in messages {
                        match heard(&message) {
                            Heard::Commit(id) => self.foreign.push(id),
                            Heard::OurTable => found = found.or(Some(Disturbance::Changed)),
                            Heard::Other => {}
                        }
                    }
                }
                // Never "no drift".
                Err(Errno::ENOBUFS) => found = Some(Disturbance::EventsLost),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.events.as_fd()
    }
}

enum Heard {
    /// Somebody else's commit: its number.
    Commit(u32),
    /// Something in our table.
    OurTable,
    /// Something elsewhere.
    Other,
}

fn heard(message: &Received<'_>) -> Heard {
    if message.kind == uapi::nftables(uapi::NEWGEN) {
        let id = message.attributes().find(uapi::GEN_ID).and_then(be32);
        return id.map_or(Heard::Other, Heard::Commit);
    }
    // The first attribute of every other message is the table's name.
    let table = message.attributes().find(uapi::TABLE_NAME).map(text);
    let ours = message.family() == uapi::INET && table.as_deref() == Some(TABLE);
    if ours { Heard::OurTable } else { Heard::Other }
}

/// The kernel's count of commits in this network namespace.
fn generation(socket: &mut Socket) -> io::Result<u32> {
    let question = Message::nftables(uapi::GETGEN, uapi::NLM_F_ACK, 0, socket.next_sequence());
    let mut id = None;
    socket.ask(question, |message| id = message.attributes().find(uapi::GEN_ID).and_then(be32).or(id))?;
    id.ok_or_else(|| io::Error::other("the kernel does not number its commits"))
}
