//! The outside addresses of a middlebox that translates, and what they must not be.

use std::net::IpAddr;

use middlebox::{Nat, NatError};

use super::key::{Absent, Key, Table};
use super::kind::{Address, List, Ports};
use super::middlebox::Mode;
use super::problem::Problems;
use super::realm::Realm;

pub(super) static ADDRESSES: Key<List<Address>> = Key {
    name: "nat-addresses",
    kind: List { of: Address, max: 64 },
    absent: Absent::Literal("[]"),
    text: "Outside addresses of network address translation, of this host itself or routed to it. With one of an IP version \
           all media of that version is translated: the outside sees these addresses and `nat-ports` only, in packets and in \
           session descriptions.",
};
pub(super) static PORTS: Key<Ports> = Key {
    name: "nat-ports",
    kind: Ports { min: 1024 },
    absent: Absent::Literal("\"16384-32767\""),
    text: "The ports of `nat-addresses`. They are nobody else's: what comes to them and belongs to no call is dropped, so the \
           administrator's masquerade and this host's own services must use others (`postern check` looks for them). A call with \
           audio takes a pair; one that was used rests for 32 s.",
};

/// The outside addresses with their ports.
pub(super) fn read(
    table: &Table<'_, '_>,
    mode: Mode,
    (realms, inside): (&[Realm], &[&Realm]),
    problems: &mut Problems,
) -> Option<Nat> {
    let (addresses, ports) = (table.value(&ADDRESSES, problems), table.value(&PORTS, problems));
    if addresses.is_empty() {
        return Some(Nat::default());
    }
    if mode == Mode::Observe {
        let label = "the outside would be told addresses to which nothing can come";
        problems.push(table.place(&ADDRESSES), "a gate that only looks translates nothing", label);
        return None;
    }
    match Nat::new(addresses, ports) {
        Ok(nat) => {
            let listens = realms.iter().flat_map(|realm| &realm.listen).map(|(listen, _)| listen.address);
            if let Some(address) = listens.into_iter().find(|address| nat.owns(address.ip(), address.port()))
            {
                let label = "the pool is nobody else's: no SIP would arrive any more";
                problems.push(table.place(&PORTS), format!("SIP is served at {address}"), label);
            }
            let media = || inside.iter().flat_map(|realm| &realm.media);
            let within = |address: &&IpAddr| media().any(|network| network.contains(*address));
            if let Some(address) = nat.addresses.iter().find(within) {
                let label = "an outside address is where nobody inside is";
                problems.push(
                    table.place(&ADDRESSES),
                    format!("{address} is one of the inside's `media`"),
                    label,
                );
            }
            Some(nat)
        }
        Err(error) => {
            let place = match error {
                NatError::NoPair => table.place(&PORTS),
                NatError::Address(_) | NatError::Twice(_) | NatError::TooManyAddresses => {
                    table.place(&ADDRESSES)
                }
            };
            problems.push(place, error.to_string(), "the outside could not be told this");
            None
        }
    }
}
