//! Port blocks and keys.

use std::net::IpAddr;

use crate::{Key, PortBlock, Source, Transport};

fn ip(address: &str) -> IpAddr {
    address.parse().unwrap()
}

#[test]
fn ranges_are_cut_into_singles_and_even_pairs_and_nothing_else_matches() {
    for (first, count) in [(1, 1), (2, 2), (3, 2), (4, 7), (65534, 2), (65535, 1), (20001, 64)] {
        let blocks = PortBlock::split(first, count).unwrap();
        for port in 0..=u16::MAX {
            let inside = port >= first && u32::from(port) < u32::from(first) + u32::from(count);
            let matches = blocks.iter().filter(|block| block.contains(port)).count();
            assert_eq!(matches, usize::from(inside), "{port} of {first}+{count}");
        }
    }
}

#[test]
fn ranges_with_port_zero_or_beyond_the_last_port_do_not_exist() {
    for (first, count) in [(0, 1), (0, 2), (1, 0), (65535, 2), (2, u16::MAX)] {
        assert_eq!(PortBlock::split(first, count), None);
    }
    assert_eq!((PortBlock::one(0), PortBlock::pair(0), PortBlock::pair(3)), (None, None, None));
}

#[test]
fn keys_that_would_admit_crossed_pairs_or_mix_versions_cannot_be_made() {
    let exact = Source::Exact { address: ip("198.51.100.9"), port: 9 };
    let (one, pair) = (PortBlock::one(20000).unwrap(), PortBlock::pair(20000).unwrap());
    let key = |source, destination, ports| Key::new(Transport::Udp, source, ip(destination), ports);
    assert!(key(exact, "10.0.40.7", one).is_some());
    assert_eq!(key(exact, "10.0.40.7", pair), None);
    assert_eq!(key(Source::Exact { address: ip("198.51.100.9"), port: 0 }, "10.0.40.7", one), None);
    assert_eq!(key(Source::Host(ip("2001:db8::9")), "10.0.40.7", pair), None);
}
