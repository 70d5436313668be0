//! What this kernel can do, found out by trying it on a scratch table: versions lie where kernels are patched.

use std::fmt;
use std::time::Duration;

use middlebox::{Key, PortBlock, Source, Transport};

use super::element::{self, Life};
use crate::netlink::{Batch, Message, Socket, uapi};
use crate::ruleset::{ElementSet, Family, Set, SetId, SetKind, Table};

const SCRATCH: &str = "postern-probe";

/// What the kernel can do. Whatever is missing has a fall-back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Features {
    /// An element's lifetime can be changed in place. Otherwise it is deleted and added again in one commit.
    pub extend: bool,
    /// Deleting what is not there is no error (6.3). Otherwise it is added and deleted in one commit.
    pub destroy: bool,
    /// A table can belong to us while we live and stay when we die (6.9). Otherwise anyone may change it, which is
    /// noticed and repaired.
    pub owner: bool,
}

impl Features {
    /// Everything.
    pub const ALL: Self = Self { extend: true, destroy: true, owner: true };

    /// What both have.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            extend: self.extend && other.extend,
            destroy: self.destroy && other.destroy,
            owner: self.owner && other.owner,
        }
    }

    /// The table's flags: both or neither, because an owner that dies takes a table without "persist" with it.
    pub(super) fn table_flags(self) -> u32 {
        if self.owner { uapi::TABLE_F_OWNER | uapi::TABLE_F_PERSIST } else { 0 }
    }
}

/// One line each, for `check`.
impl fmt::Display for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = |present| if present { "found" } else { "missing, fall-back in use" };
        writeln!(f, "extending pinholes in place: {}", found(self.extend))?;
        writeln!(f, "deleting without error: {}", found(self.destroy))?;
        writeln!(f, "table protected from others: {}", found(self.owner))
    }
}

/// Tries everything on a table without chains; nothing of it is left.
pub(super) fn probe(socket: &mut Socket) -> std::io::Result<Features> {
    let set = SetId::Host(Family::V4, false);
    let owner = socket_with(socket, |batch| {
        table(batch, uapi::NEWTABLE, uapi::TABLE_F_OWNER | uapi::TABLE_F_PERSIST);
        table(batch, uapi::DELTABLE, 0);
    });
    socket_with(socket, |batch| {
        table(batch, uapi::NEWTABLE, 0);
        let kind = SetKind::Entries(ElementSet {
            fields: set.fields(),
            size: 16,
            counter: true,
            cap: None,
            data: None,
        });
        let sets = vec![Set { name: set.name(), kind }];
        Table { name: SCRATCH.into(), sets, chains: Vec::new() }.create(batch, |_| false);
    })?;
    let destroy = socket_with(socket, |batch| elements(batch, uapi::DESTROYSETELEM, set, Life::Named));
    let extend = extends(socket, set);
    socket_with(socket, |batch| table(batch, uapi::DELTABLE, 0))?;
    Ok(Features { extend: extend?, destroy: destroy.is_ok(), owner: owner.is_ok() })
}

fn socket_with(socket: &mut Socket, fill: impl FnOnce(&mut Batch)) -> std::io::Result<()> {
    let mut batch = socket.batch();
    fill(&mut batch);
    Ok(socket.commit(batch)?)
}

fn table(batch: &mut Batch, kind: u8, flags: u32) {
    batch.message(kind, uapi::NLM_F_CREATE, uapi::INET, |writer| {
        writer.text(uapi::TABLE_NAME, SCRATCH);
        writer.be32(uapi::TABLE_FLAGS, flags);
    });
}

fn sample() -> Option<Key> {
    let address = std::net::IpAddr::from([192, 0, 2, 1]);
    Key::new(Transport::Udp, Source::Host(address), address, PortBlock::one(4000)?)
}

fn elements(batch: &mut Batch, kind: u8, set: SetId, life: Life) {
    batch.message(kind, uapi::NLM_F_CREATE, uapi::INET, |writer| list(writer, set, life));
}

fn list(writer: &mut crate::netlink::Writer, set: SetId, life: Life) {
    writer.text(uapi::ELEM_LIST_TABLE, SCRATCH);
    writer.text(uapi::ELEM_LIST_SET, &set.name());
    writer.nest(uapi::ELEM_LIST_ELEMENTS, |list| {
        if let Some(key) = sample() {
            element::write(list, set, &key, life);
        }
    });
}

/// Adds an element, gives it a longer lifetime and reads back whether that worked. Kernels that cannot do it accept
/// the second message too.
fn extends(socket: &mut Socket, set: SetId) -> std::io::Result<bool> {
    let (short, long) = (Duration::from_secs(60), Duration::from_secs(3600));
    for lifetime in [short, long] {
        let add = |batch: &mut Batch| elements(batch, uapi::NEWSETELEM, set, Life::Lives(lifetime, None));
        socket_with(socket, add)?;
    }
    let mut question =
        Message::nftables(uapi::GETSETELEM, uapi::NLM_F_ACK, uapi::INET, socket.next_sequence());
    list(question.attributes(), set, Life::Named);
    let mut remaining = Duration::ZERO;
    socket.ask(question, |message| {
        remaining =
            element::found(&message.attributes()).map(|found| found.remaining).max().unwrap_or_default();
    })?;
    Ok(remaining > short)
}
