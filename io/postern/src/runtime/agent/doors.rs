//! Which interfaces a realm's listeners hear: none of another realm's.
//!
//! A host answers for each of its addresses on every interface. Without this, whoever outside can reach the inside
//! listener's address calls as if from inside, and its SDP opens pinholes to the phones there.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsFd;

use nix::libc;
use nix::net::if_::if_nametoindex;
use socket2::{SockFilter, SockRef};

use crate::config::{Config, Realm};
use crate::log;
use crate::runtime::interfaces::{self, LOOPBACK};

/// The interfaces that the listeners of each realm must not hear, by their names.
pub(super) fn closed(config: &Config) -> Vec<BTreeSet<String>> {
    let places = match interfaces::of_addresses() {
        Ok(places) => places,
        Err(error) => {
            log::warn(format_args!(
                "cannot list this host's interfaces ({error}); every realm hears them all"
            ));
            BTreeMap::new()
        }
    };
    closed_by(&config.realms, &places)
}

fn closed_by(realms: &[Realm], places: &BTreeMap<IpAddr, String>) -> Vec<BTreeSet<String>> {
    let own = |realm: &Realm| -> BTreeSet<String> {
        let listeners = realm.listen.iter().filter_map(|(listen, _)| places.get(&listen.address.ip()));
        listeners.chain(&realm.interfaces).cloned().collect()
    };
    let owned: Vec<_> = realms.iter().map(own).collect();
    let closed = |own: &BTreeSet<String>| {
        let others = owned.iter().flatten().filter(|name| !own.contains(*name) && *name != LOOPBACK);
        others.cloned().collect()
    };
    owned.iter().map(closed).collect()
}

/// Makes a socket deaf to these interfaces.
pub(super) fn shut(socket: &impl AsFd, closed: &BTreeSet<String>) -> io::Result<()> {
    let indices: Vec<u32> = closed.iter().filter_map(|name| if_nametoindex(name.as_str()).ok()).collect();
    if indices.is_empty() { Ok(()) } else { SockRef::from(socket).attach_filter(&program(&indices)) }
}

/// The kernel's classic packet filter: load the interface's number, compare with each, keep the rest.
fn program(indices: &[u32]) -> Vec<SockFilter> {
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    // The constants are small numbers.
    let step = |code: u32, jf: u8, k: u32| SockFilter::new(u16::try_from(code).unwrap_or(0), 0, jf, k);
    let arrived_on = (libc::SKF_AD_OFF + libc::SKF_AD_IFINDEX).cast_unsigned();
    let mut program = vec![step(LOAD, 0, arrived_on)];
    program.extend(indices.iter().flat_map(|index| [step(IF_EQUAL, 1, *index), step(RETURN, 0, 0)]));
    program.push(step(RETURN, 0, u32::MAX));
    program
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::time::Duration;

    use super::*;

    fn places() -> BTreeMap<IpAddr, String> {
        let place = |address: &str, name: &str| (address.parse().unwrap(), name.to_owned());
        [place("192.0.2.1", "wan0"), place("10.0.0.1", "lan0"), place("127.0.0.1", "lo")].into()
    }

    fn realms(text: &str) -> Vec<Realm> {
        let routes = "[middlebox]\nengine = \"none\"\n[[route]]\nto = \"b\"\nnext-hop = \"sip:192.0.2.9\"\n";
        Config::parse("postern.toml", &format!("{text}{routes}")).unwrap().realms
    }

    fn closed(a: &str, b: &str) -> [String; 2] {
        let realms = realms(&format!("[realm.a]\n{a}\n[realm.b]\n{b}\n"));
        let names = closed_by(&realms, &places()).into_iter();
        let mut names = names.map(|names| names.into_iter().collect::<Vec<_>>().join(" "));
        [names.next().unwrap(), names.next().unwrap()]
    }

    const WAN: &str = "listen = [\"udp:192.0.2.1\"]";
    const LAN: &str = "listen = [\"udp:10.0.0.1\"]";
    const LO: &str = "listen = [\"udp:127.0.0.1\"]";

    #[test]
    fn each_realm_is_deaf_to_the_interfaces_of_the_others() {
        assert_eq!(closed(WAN, LAN), ["lan0", "wan0"]);
    }

    #[test]
    fn an_interface_of_both_realms_and_loopback_stay_open() {
        assert_eq!(closed(WAN, &format!("{LAN}\ninterfaces = [\"wan0\"]")), ["lan0", ""]);
        assert_eq!(closed(WAN, LO), ["", "wan0"]);
    }

    #[test]
    fn the_kernel_takes_the_filter_and_drops_by_it() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let address = socket.local_addr().unwrap();
        let hears = |indices: &[u32]| {
            SockRef::from(&socket).attach_filter(&program(indices)).unwrap();
            socket.send_to(b"x", address).unwrap();
            socket.recv(&mut [0; 1]).is_ok()
        };
        let lo = if_nametoindex(LOOPBACK).unwrap();
        assert!(hears(&[lo + 1, lo + 2]));
        assert!(!hears(&[lo + 1, lo]));
    }
}
