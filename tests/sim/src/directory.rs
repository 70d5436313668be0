//! Who is found where: by user behind the switch, by address otherwise.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::world::Handset;

/// Positions of handsets, in order.
#[derive(Debug, Default)]
pub(crate) struct Directory {
    users: BTreeMap<String, Vec<usize>>,
    addresses: BTreeMap<SocketAddr, Vec<usize>>,
}

impl Directory {
    /// `also` says where a phone is reached besides, if anywhere, by its position and address.
    pub(crate) fn new(handsets: &[Handset], also: impl Fn(usize, SocketAddr) -> Option<SocketAddr>) -> Self {
        let mut directory = Self::default();
        for (seat, handset) in handsets.iter().enumerate() {
            directory.users.entry(handset.user.clone()).or_default().push(seat);
            for address in [handset.address].into_iter().chain(also(seat, handset.address)) {
                directory.addresses.entry(address).or_default().push(seat);
            }
        }
        directory
    }

    pub(crate) fn of_user(&self, user: &str) -> &[usize] {
        self.users.get(user).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn at(&self, address: SocketAddr) -> &[usize] {
        self.addresses.get(&address).map_or(&[], Vec::as_slice)
    }
}
