//! Which media a realm lets pinholes be opened for: `docs/pinholes.md`, "from SDP to rules".

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::media::{Ice, MediaFlow, Setup};
use crate::{Refusal, Why};

/// What a realm allows its own side to receive on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPolicy {
    /// The realm's media networks. Media to any other address is refused; an empty list refuses everything.
    pub networks: Vec<IpNet>,
    /// The realm's media ports.
    pub ports: RangeInclusive<u16>,
    /// Addresses of the firewall and of this host, all interfaces: nothing may lead there.
    pub own_addresses: Vec<IpAddr>,
    /// What a NAT of ours shows to this realm: media to such a place comes back in to whoever it stands for, so it is
    /// refused for no other reason.
    pub outside_places: Vec<(IpAddr, RangeInclusive<u16>)>,
    /// Most flows in one description.
    pub flows_max: u16,
}

/// Refuses flows that no pinhole may lead to, before any middlebox is asked. Held flows open nothing and pass. Of a stream
/// with ICE nothing is refused: its `c=` and `m=` lines are not where media will go, and of its candidates only those
/// that [`MediaPolicy::admits`] are to be used.
///
/// # Errors
/// The first flow that is refused, and why, in words for a Warning header.
pub fn check(flows: &[MediaFlow], policy: &MediaPolicy) -> Result<(), Refusal> {
    let streams = flows.iter().filter(|flow| !flow.ice.is_candidate()).count();
    if streams > usize::from(policy.flows_max) {
        return Err(Refusal { stream: None, why: Why::TooManyStreams });
    }
    for flow in flows.iter().filter(|flow| !flow.is_held() && flow.ice == Ice::None) {
        policy.admit(flow).map_err(|why| Refusal::of(flow.stream, flow.media, why))?;
    }
    Ok(())
}

impl MediaPolicy {
    /// True if a pinhole may lead to this flow.
    #[must_use]
    pub fn admits(&self, flow: &MediaFlow) -> bool {
        self.admit(flow).is_ok()
    }

    fn admit(&self, flow: &MediaFlow) -> Result<(), Why> {
        let comes_back = |address: IpAddr, port: u16| {
            let mut places = self.outside_places.iter();
            places.any(|(outside, ports)| *outside == address && ports.contains(&port))
        };
        let rtcp_comes_back = flow.rtcp.is_none_or(|rtcp| comes_back(rtcp.address, rtcp.port));
        if comes_back(flow.address, flow.rtp) && rtcp_comes_back {
            return Ok(());
        }
        self.admit_address(flow.address)?;
        // Who opens the connection receives on no port of its own; many write 9 (discard).
        if flow.setup == Setup::Active {
            return Ok(());
        }
        self.admit_port(flow.rtp)?;
        if let Some(rtcp) = flow.rtcp {
            self.admit_address(rtcp.address)?;
            self.admit_port(rtcp.port)?;
        }
        Ok(())
    }

    fn admit_address(&self, address: IpAddr) -> Result<(), Why> {
        if let Some(why) = never_unicast(address) {
            return Err(why);
        }
        if self.own_addresses.contains(&address) {
            return Err(Why::OwnAddress(address));
        }
        let mut containing = self.networks.iter().filter(|network| network.contains(&address)).peekable();
        if containing.peek().is_none() {
            return Err(Why::OutsideNetworks(address));
        }
        match containing.any(|network| is_broadcast(network, address)) {
            true => Err(Why::Broadcast(address)),
            false => Ok(()),
        }
    }

    fn admit_port(&self, port: u16) -> Result<(), Why> {
        match port {
            0..1024 => Err(Why::PrivilegedPort(port)),
            port if self.ports.contains(&port) => Ok(()),
            port => Err(Why::OutsidePorts(port)),
        }
    }
}

/// Addresses that are no phone's, whatever the configuration says.
fn never_unicast(address: IpAddr) -> Option<Why> {
    let why = match address {
        address if address.is_loopback() => Why::Loopback,
        address if address.is_multicast() => Why::Multicast,
        IpAddr::V4(v4) if v4.is_broadcast() => Why::Broadcast,
        IpAddr::V4(v4) if v4.is_link_local() => Why::LinkLocal,
        // 0.0.0.0/8 ("this network") and 240.0.0.0/4 (reserved).
        IpAddr::V4(v4) if matches!(v4.octets()[0], 0 | 240..) => Why::NotUnicast,
        IpAddr::V6(v6) if v6.is_unicast_link_local() => Why::LinkLocal,
        // `::ffff:10.0.0.7` and `::10.0.0.7` would dodge every check made for the IPv4 address inside.
        IpAddr::V6(v6) if v6.to_ipv4().is_some() => Why::NotUnicast,
        IpAddr::V4(_) | IpAddr::V6(_) => return None,
    };
    Some(why(address))
}

/// True for the broadcast address of a network that has one.
fn is_broadcast(network: &IpNet, address: IpAddr) -> bool {
    matches!(network, IpNet::V4(v4) if v4.prefix_len() < 31 && v4.broadcast() == address)
}
