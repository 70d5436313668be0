//! Whom a message comes from, as far as rates and bans go.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// An IPv4 address, or the /64 of an IPv6 address: whoever has one address of a /64 has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Source(IpAddr);

impl Source {
    /// The source that an address belongs to.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            v4 @ IpAddr::V4(_) => Self(v4),
        }
    }

    /// The first of these networks that has a part in it, however either is spelt: banning the source would ban that part.
    #[must_use]
    pub fn part_of(self, networks: impl IntoIterator<Item = IpNet>) -> Option<IpNet> {
        let own = self.network();
        networks.into_iter().map(canonical).find(|network| own.contains(network) || network.contains(&own))
    }

    /// As a network.
    #[must_use]
    pub fn network(self) -> IpNet {
        match self.0 {
            IpAddr::V4(address) => IpNet::V4(Ipv4Net::from(address)),
            IpAddr::V6(address) => {
                Ipv6Net::new(address, 64).map_or_else(|_| IpAddr::V6(address).into(), IpNet::V6)
            }
        }
    }
}

/// An IPv4 network that is written as an IPv6 one, as what it is.
pub(crate) fn canonical(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let mapped = v6.network().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96));
    let v4 = mapped.and_then(|(address, prefix)| Ipv4Net::new(address, prefix).ok());
    v4.map_or(network, IpNet::V4)
}

/// `203.0.113.9`, `2001:db8:0:7::/64`.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(_) => self.network().fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_address_or_a_slash_64() {
        let source = |text: &str| Source::of(text.parse().unwrap()).to_string();
        assert_eq!(source("203.0.113.9"), "203.0.113.9");
        assert_eq!(source("::ffff:203.0.113.9"), "203.0.113.9");
        assert_eq!(source("2001:db8:0:7:1:2:3:4"), "2001:db8:0:7::/64");
        assert_eq!(source("2001:db8:0:7::1"), source("2001:db8:0:7:ffff::2"));
    }

    #[test]
    fn what_would_be_banned_with_it_is_found_however_it_is_spelt() {
        let part = |source: &str, network: &str| {
            let source = Source::of(source.parse().unwrap());
            source.part_of([network.parse().unwrap()]).map(|network| network.to_string())
        };
        let found = |text: &str| Some(text.to_owned());
        assert_eq!(part("2001:db8:0:7::dead", "2001:db8:0:7::1/128"), found("2001:db8:0:7::1/128"));
        assert_eq!(part("2001:db8:0:7::dead", "2001:db8::/32"), found("2001:db8::/32"));
        assert_eq!(part("2001:db8:0:7::dead", "2001:db8:0:8::1/128"), None);
        assert_eq!(part("::ffff:203.0.113.9", "203.0.113.9/32"), found("203.0.113.9/32"));
        assert_eq!(part("203.0.113.9", "::ffff:203.0.113.0/120"), found("203.0.113.0/24"));
        assert_eq!(part("203.0.113.9", "::/0"), None);
    }
}
