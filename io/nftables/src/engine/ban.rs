//! Bans: elements of two sets of their own, which the kernel ends by itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Nft, TABLE, element};
use crate::Error;
use crate::netlink::{Message, Socket, uapi};
use crate::ruleset::{Family, banned_name};

/// A ban as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ban {
    /// An IPv4 address, or an IPv6 /64.
    pub source: IpNet,
    /// How long it still lasts.
    pub remaining: Duration,
    /// Packets that were dropped.
    pub packets: u64,
}

impl Nft {
    /// Drops what this source sends to the SIP listeners of [`crate::GateConfig`], for so long from now. Of an IPv6 address its /64 is meant. A ban that
    /// there is begins anew.
    ///
    /// # Errors
    /// If the kernel refuses: there is no set for that IP version, or it is full.
    pub fn ban(&mut self, source: IpAddr, lasts: Duration) -> Result<(), Error> {
        // Older kernels cannot change how long an element lives.
        let _not_there = self.change(uapi::DELSETELEM, source, None);
        self.change(uapi::NEWSETELEM, source, Some(lasts))
    }

    /// Ends a ban; that there is none is no error.
    ///
    /// # Errors
    /// If the kernel refuses for another reason.
    pub fn unban(&mut self, source: IpAddr) -> Result<(), Error> {
        match self.change(uapi::DELSETELEM, source, None) {
            Err(Error::Kernel { source, .. }) if source.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            other => other,
        }
    }

    /// All bans there are, in the order of their sources.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn bans(&mut self) -> Result<Vec<Ban>, Error> {
        let mut bans = Vec::new();
        for family in Family::BOTH {
            let found = read(&mut self.socket, family);
            bans.extend(found.map_err(Error::kernel("cannot read the bans"))?);
        }
        bans.sort_unstable_by_key(|ban| ban.source);
        Ok(bans)
    }

    fn change(&mut self, kind: u8, source: IpAddr, lasts: Option<Duration>) -> Result<(), Error> {
        let (family, octets) = key(source);
        let flags = if lasts.is_some() { uapi::NLM_F_CREATE } else { 0 };
        let mut batch = self.socket.batch();
        batch.message(kind, flags, uapi::INET, |writer| {
            writer.text(uapi::ELEM_LIST_TABLE, TABLE);
            writer.text(uapi::ELEM_LIST_SET, &banned_name(family));
            writer.nest(uapi::ELEM_LIST_ELEMENTS, |list| {
                list.nest(uapi::LIST_ELEM, |one| {
                    one.nest(uapi::ELEM_KEY, |key| key.bytes(uapi::DATA_VALUE, &octets));
                    if let Some(lasts) = lasts {
                        let millis = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX).max(1);
                        one.be64(uapi::ELEM_TIMEOUT, millis);
                    }
                });
            });
        });
        self.socket.commit(batch).map_err(Error::kernel("cannot change a ban"))
    }
}

/// What stands for a source in its set.
fn key(source: IpAddr) -> (Family, Vec<u8>) {
    match source.to_canonical() {
        IpAddr::V4(address) => (Family::V4, address.octets().to_vec()),
        IpAddr::V6(address) => (Family::V6, address.octets()[..8].to_vec()),
    }
}

fn network(family: Family, octets: &[u8]) -> Option<IpNet> {
    match family {
        Family::V4 => Some(Ipv4Net::from(Ipv4Addr::from(<[u8; 4]>::try_from(octets).ok()?)).into()),
        Family::V6 => {
            let half = u64::from_be_bytes(octets.try_into().ok()?);
            Ipv6Net::new(Ipv6Addr::from_bits(u128::from(half) << 64), 64).ok().map(IpNet::V6)
        }
    }
}

fn read(socket: &mut Socket, family: Family) -> std::io::Result<Vec<Ban>> {
    let mut question =
        Message::nftables(uapi::GETSETELEM, uapi::NLM_F_DUMP, uapi::INET, socket.next_sequence());
    question.attributes().text(uapi::ELEM_LIST_TABLE, TABLE);
    question.attributes().text(uapi::ELEM_LIST_SET, &banned_name(family));
    let mut bans = Vec::new();
    let answer = socket.ask(question, |message| {
        bans.extend(element::found(&message.attributes()).filter_map(|found| {
            let source = network(family, found.octets)?;
            Some(Ban { source, remaining: found.remaining, packets: found.counter.packets })
        }));
    });
    match answer {
        // No SIP is served in that IP version.
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(bans),
        // Somebody has changed the set meanwhile: what was read is what there is, but for that.
        Err(error) if error.kind() == std::io::ErrorKind::Interrupted => Ok(bans),
        other => other.map(|()| bans),
    }
}
