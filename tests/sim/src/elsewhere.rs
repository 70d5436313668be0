//! Phones that say they were somewhere else: what they write into Contact and Record-Route is drawn here, and whether
//! the agent may believe it. `docs/calls.md` §9.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use machine::Rng;
use phone::Named;

use crate::plan::{House, Script, place};
use crate::queue::Seat;
use crate::wire;
use crate::world::World;

/// The further host of each side at which phones are reached that say so.
const PROXY: u8 = 30;

/// The address of a phone behind the further host of its side.
pub(crate) fn behind_proxy(house: &House, outside: bool, address: SocketAddr) -> SocketAddr {
    SocketAddr::new(place::host(house.v6, outside, PROXY), address.port())
}

impl Script {
    /// One phone of eight names another address than its own.
    pub(crate) fn draw_names(&mut self, rng: &mut Rng, house: &House) {
        let from_outside = self.from_outside;
        let forks = !self.branches.is_empty();
        for (party, outside) in [(&mut self.caller, from_outside), (&mut self.callee, !from_outside)] {
            if !rng.percent(12) {
                continue;
            }
            let (has_contact, has_route) =
                [(true, false), (true, false), (false, true), (true, true)][rng.below(4) as usize];
            let address = party.address;
            let mut draw = |wanted: bool| wanted.then(|| elsewhere(rng, house, outside, address, forks));
            party.named = Named { contact: draw(has_contact), route: draw(has_route) };
        }
    }
}

/// An address that is not the phone's: one where it is reached as well, or one where the agent may not send.
fn elsewhere(rng: &mut Rng, house: &House, outside: bool, own: SocketAddr, forks: bool) -> SocketAddr {
    let port = own.port();
    let special = |v4: [u8; 4], v6: Ipv6Addr| -> SocketAddr {
        let host = if house.v6 { IpAddr::V6(v6) } else { IpAddr::V4(Ipv4Addr::from(v4)) };
        SocketAddr::new(host, port)
    };
    match rng.below(10) {
        0..=2 => behind_proxy(house, outside, own),
        // Behind a switch that forks everybody would hear what is meant for one.
        3 if !forks => place::switch(house.v6, outside),
        4 => place::switch(house.v6, !outside),
        5 => place::agent(house.v6, rng.percent(50)),
        6 => special([127, 0, 0, 1], Ipv6Addr::LOCALHOST),
        7 => special([169, 254, 3, 4], Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 9)),
        8 => special([224, 0, 1, 75], Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 9)),
        // A private address that no realm names may be anybody's; only the inside is private itself.
        9 if outside => special([10, 99, 0, 9], Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 9)),
        _ => SocketAddr::new(place::host(house.v6, !outside, 11), port),
    }
}

impl World {
    /// A request inside a call reaches a phone that has named a place where nobody of its side is.
    pub(crate) fn note_place(&mut self, seat: usize, bytes: &[u8]) {
        if wire::status(bytes) > 0 || wire::field(bytes, "To").is_none_or(|to| !to.contains(";tag=")) {
            return;
        }
        let Seat { call, end, branch } = self.handsets[seat].seat;
        let outside = self.handsets[seat].outside;
        let named = self.plan.calls[call].phone(end, branch).0.named;
        let switch = place::switch(self.plan.house.v6, outside);
        let is_foreign = |at: &SocketAddr| *at != switch && !self.directory.at(*at).contains(&seat);
        let contact = named.contact.filter(is_foreign).map(|_| "Contact of another side");
        let route = named.route.filter(is_foreign).map(|_| "Record-Route of another side");
        contact.into_iter().chain(route).for_each(|name| self.books.reader.sees(name));
    }
}

/// A response as it reaches a phone behind a proxy that has entered itself: without its entry.
pub(crate) fn without_record_route(message: &[u8]) -> Vec<u8> {
    let end = memchr::memmem::find(message, b"\r\n\r\n").unwrap_or(message.len());
    let (head, rest) = message.split_at(end);
    let mut kept = Vec::with_capacity(message.len());
    for (at, line) in head.split(|byte| *byte == b'\n').enumerate() {
        if line.starts_with(b"Record-Route:") {
            continue;
        }
        if at > 0 {
            kept.push(b'\n');
        }
        kept.extend_from_slice(line);
    }
    if kept.last() == Some(&b'\r') {
        kept.pop();
    }
    kept.extend_from_slice(rest);
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_takes_its_own_entry_out() {
        let with = b"SIP/2.0 200 OK\r\nVia: x\r\nRecord-Route: <sip:192.0.2.1;lr>\r\nTo: y\r\n\r\nbody\r\n";
        assert_eq!(without_record_route(with), b"SIP/2.0 200 OK\r\nVia: x\r\nTo: y\r\n\r\nbody\r\n");
        let last = b"SIP/2.0 200 OK\r\nVia: x\r\nRecord-Route: <sip:192.0.2.1;lr>\r\n\r\nbody";
        assert_eq!(without_record_route(last), b"SIP/2.0 200 OK\r\nVia: x\r\n\r\nbody");
    }
}
