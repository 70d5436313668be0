//! Proof that the administrator's firewall lets through what the gate has marked: a packet of our own, from one side to
//! the other, that is counted and dropped at the very end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use midcom::{Direction, Protocol, Tuple};
use middlebox::{Authority, Nat, Opening, Realms};
use nftables::Nft;
use nftables::proof::{self, Probe, Proof};
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::SockaddrStorage;

use super::settings;
use crate::admin::protocol::{ProofOutcome, ProofReport};
use crate::config::{Config, Realm};

/// How many addresses are looked at for one that is not this host's own.
const SPARE_TRIES: u32 = 16;

/// What is to be proven: one direction, one IP version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question {
    pub inward: bool,
    pub v4: bool,
}

/// The questions that a configuration raises.
pub(crate) fn questions(config: &Config) -> Vec<Question> {
    let inside = config.middlebox.inside.iter().filter_map(|position| config.realms.get(*position));
    // Behind an address of this host itself there is nobody else to whom a packet could be sent.
    let behind = |realm: &&Realm, network: &IpNet| {
        !realm.local_media || network.prefix_len() < network.max_prefix_len()
    };
    let media: Vec<IpNet> =
        inside.flat_map(|realm| realm.media.iter().copied().filter(move |net| behind(&realm, net))).collect();
    let has = |v4| media.iter().any(|network| network.addr().is_ipv4() == v4);
    let both = |v4| [true, false].map(|inward| Question { inward, v4 });
    [true, false].into_iter().filter(|v4| has(*v4)).flat_map(both).collect()
}

/// Answers one.
pub(super) fn prove(engine: &mut Nft, config: &Config, realms: &Realms, question: Question) -> ProofReport {
    let (outcome, text) = match probe(config, realms, question) {
        Err(why) => (ProofOutcome::NotProven, why),
        Ok(probe) => {
            let way = format!("{} by {} to {}", probe.source, probe.interface, probe.destination);
            match proof::prove(engine, &probe) {
                Proof::Proven => (ProofOutcome::Proven, way),
                Proof::Blocked(Some(rule)) => (ProofOutcome::Blocked, format!("{way}: dropped by {rule}")),
                Proof::Blocked(None) => (ProofOutcome::Blocked, way),
                Proof::NotProven(why) => (ProofOutcome::NotProven, why),
            }
        }
    };
    ProofReport { inward: question.inward, v4: question.v4, outcome, text }
}

fn probe(config: &Config, realms: &Realms, question: Question) -> Result<Probe, String> {
    let hosts = Hosts::find()?;
    let (inside, outside) = (&config.middlebox.inside, &config.middlebox.outside);
    let (near, far) =
        (hosts.any_end(config, inside, question.v4)?, hosts.any_end(config, outside, question.v4)?);
    let tuple = |end: &End, port| Tuple::host(SocketAddr::new(end.address, port), Protocol::Udp, 1);
    let (direction, internal, external) = match question.inward {
        true => (Direction::Inbound, tuple(&near, near.port), tuple(&far, 0)),
        // From one port, because translation wants to know it.
        false => (Direction::Outbound, tuple(&near, near.port), tuple(&far, far.port)),
    };
    let authority = Authority::new(realms.clone(), settings::for_proofs(config), false);
    let opening = Opening { direction, internal, external };
    let seen_as = seen_as(&config.middlebox.nat, question.v4);
    let permits = match seen_as {
        Some(address) => {
            let outside = Tuple::host(address, Protocol::Udp, 1);
            authority.permit_translated(settings::LOCAL, &opening, &outside)
        }
        None => authority.permit(settings::LOCAL, &opening),
    };
    let permits = permits.map_err(|failure| failure.to_string())?;
    let permit = permits.into_iter().next().ok_or("nothing would be opened")?;
    let at = |end: &End| SocketAddr::new(end.address, end.port);
    let (from, source, destination) = match question.inward {
        true => (&far, at(&far), seen_as.unwrap_or_else(|| at(&near))),
        false => (&near, at(&near), at(&far)),
    };
    Ok(Probe { permit, source, destination, interface: from.interface.clone() })
}

/// An outside address and port for the packet. Its far end is nobody's, so it is no matter whether a call has the port.
fn seen_as(nat: &Nat, v4: bool) -> Option<SocketAddr> {
    let address = nat.addresses.iter().find(|address| address.is_ipv4() == v4)?;
    Some(SocketAddr::new(*address, *nat.ports.end()))
}

/// One end of the packet's way.
struct End {
    address: IpAddr,
    port: u16,
    interface: String,
}

/// This host's interfaces with their addresses.
struct Hosts(Vec<(String, IpNet)>);

impl Hosts {
    fn find() -> Result<Self, String> {
        let interfaces =
            getifaddrs().map_err(|errno| format!("cannot list this host's addresses: {errno}"))?;
        let one = |interface: nix::ifaddrs::InterfaceAddress| {
            let (address, mask) = (ip(&interface.address?)?, ip(&interface.netmask?)?);
            Some((interface.interface_name, IpNet::with_netmask(address, mask).ok()?))
        };
        Ok(Self(interfaces.filter_map(one).collect()))
    }

    /// The same of the first of several realms that has one.
    fn any_end(&self, config: &Config, realms: &[usize], v4: bool) -> Result<End, String> {
        let mut result = Err("there is only one realm".to_owned());
        for realm in realms.iter().filter_map(|position| config.realms.get(*position)) {
            result = self.end(realm, v4);
            if result.is_ok() {
                break;
            }
        }
        result
    }

    /// An address of a realm that is probably nobody's, and the interface behind which it lives.
    fn end(&self, realm: &Realm, v4: bool) -> Result<End, String> {
        let version = if v4 { "IPv4" } else { "IPv6" };
        let mut listeners = realm.listen.iter().map(|(listen, _)| listen.address.ip());
        let ours = listeners.find(|address| address.is_ipv4() == v4);
        let ours = ours.ok_or_else(|| format!("realm {} has no {version} listener", realm.name))?;
        let (interface, link) = self
            .0
            .iter()
            .find(|(_, network)| network.addr() == ours)
            .ok_or_else(|| format!("no interface has the address {ours}"))?;
        let interface = realm.interfaces.first().unwrap_or(interface).clone();
        let media = realm.media.iter().find(|network| network.addr().is_ipv4() == v4);
        let address = self.spare(*media.unwrap_or(link));
        let address = address.ok_or_else(|| format!("realm {}: no address to try with", realm.name))?;
        Ok(End { address, port: realm.media_ports.end() & 0xfffe, interface })
    }

    /// An address near the end of a network that is not this host's.
    fn spare(&self, network: IpNet) -> Option<IpAddr> {
        let candidate = |back: u32| match network {
            IpNet::V4(network) => v4_from_end(network, back),
            IpNet::V6(network) => v6_from_end(network, back),
        };
        (0..SPARE_TRIES)
            .filter_map(candidate)
            .find(|address| !self.0.iter().any(|(_, own)| own.addr() == *address))
    }
}

fn v4_from_end(network: Ipv4Net, back: u32) -> Option<IpAddr> {
    // The last address of a network is its broadcast; a network of one or two addresses has none.
    let skip = u32::from(network.prefix_len() < 31);
    let address = Ipv4Addr::from(u32::from(network.broadcast()).checked_sub(back + skip)?);
    network.contains(&address).then_some(address.into())
}

fn v6_from_end(network: Ipv6Net, back: u32) -> Option<IpAddr> {
    let address = Ipv6Addr::from(u128::from(network.broadcast()).checked_sub(u128::from(back))?);
    network.contains(&address).then_some(address.into())
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|address| IpAddr::V4(address.ip()));
    v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::V6(address.ip())))
}
