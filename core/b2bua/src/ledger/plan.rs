//! From two descriptions to the pinholes they need: `docs/pinholes.md`, "from SDP to rules".

use std::net::IpAddr;

use ipnet::IpNet;
use midcom::Capabilities;
use sdp::{MediaFlow, Protocol};
use smallvec::SmallVec;

use super::pinhole::{Pinhole, Place};
use super::terms::{Crossing, SourcePolicy, Terms};
use crate::config::OnHold;
use crate::side::Side;

/// The pinholes of one flow: rarely more than two.
pub(super) type Pinholes = SmallVec<[Pinhole; 2]>;

/// The ports a flow receives on. An even port and the next are one place, so that one rule serves both.
pub(super) fn places(flow: &MediaFlow) -> SmallVec<[Place; 2]> {
    let rtp = Place::one(flow);
    match flow.rtcp {
        None => SmallVec::from_iter([rtp]),
        Some(_) if flow.is_pair() => SmallVec::from_iter([Place { range: 2, ..rtp }]),
        Some(rtcp) => SmallVec::from_iter([rtp, Place { address: rtcp.address, port: rtcp.port, ..rtp }]),
    }
}

/// One pinhole for each of the networks of the other realm that has the IP version of the place.
pub(super) fn from_networks<'n>(
    stream: u16,
    toward: Side,
    place: Place,
    networks: &'n [IpNet],
) -> impl Iterator<Item = Pinhole> + 'n {
    let same_version = move |network: &&IpNet| network.addr().is_ipv4() == place.address.is_ipv4();
    let networks = networks.iter().filter(same_version);
    networks.map(move |network| Pinhole { stream, toward, place, source: *network, source_port: 0 })
}

/// What `flow` needs when `peer` is known, by a policy that is not [`SourcePolicy::Realm`].
fn from_peer(toward: Side, flow: &MediaFlow, peer: &MediaFlow, strict: bool) -> Pinholes {
    let rtcp_source = peer.rtcp.map_or((peer.address, peer.rtp), |rtcp| (rtcp.address, rtcp.port));
    let pinhole = |place, (source, port): (IpAddr, u16)| Pinhole {
        stream: flow.stream,
        toward,
        place,
        source: source.into(),
        source_port: if strict { port } else { 0 },
    };
    let rtp = Place::one(flow);
    let one_source = if strict { peer.is_pair() } else { rtcp_source.0 == peer.address };
    let first = pinhole(rtp, (peer.address, peer.rtp));
    match flow.rtcp {
        None => SmallVec::from_iter([first]),
        Some(_) if flow.is_pair() && one_source => {
            SmallVec::from_iter([Pinhole { place: Place { range: 2, ..rtp }, ..first }])
        }
        Some(rtcp) => {
            let rtcp = Place { address: rtcp.address, port: rtcp.port, ..rtp };
            SmallVec::from_iter([first, pinhole(rtcp, rtcp_source)])
        }
    }
}

/// What `flow` needs by a policy, or by the next stricter one that the middlebox can express.
pub(super) fn desired(
    terms: &Terms,
    crossing: &Crossing,
    toward: Side,
    flow: &MediaFlow,
    peer: Option<&MediaFlow>,
    policy: SourcePolicy,
) -> Pinholes {
    let hold = terms.hold(crossing, toward);
    let Some((flow, peer)) = &heard(hold, flow, peer) else { return Pinholes::new() };
    if crossing.hides(toward.other()) && flow.protocol == Protocol::Udp {
        // What leaves through a NAT says one outside port for each port from which it came: both must be known.
        let peer = peer.as_ref().filter(|peer| !peer.is_held());
        return peer.map_or_else(Pinholes::new, |peer| from_peer(toward, flow, peer, true));
    }
    let networks = &terms.realms[toward.other()].media.networks;
    let of_realm =
        || places(flow).into_iter().flat_map(|place| from_networks(flow.stream, toward, place, networks));
    let Some(peer) = peer.as_ref().filter(|peer| !peer.is_held()) else {
        return of_realm().collect();
    };
    let can = |pinholes: &Pinholes| pinholes.iter().all(|pinhole| is_supported(crossing, pinhole));
    if policy == SourcePolicy::Realm {
        let wide: Pinholes = of_realm().collect();
        if !wide.is_empty() && can(&wide) {
            return wide;
        }
    }
    let by_address = from_peer(toward, flow, peer, false);
    // A connection is opened from any port, whatever its opener writes.
    let any_port = policy != SourcePolicy::Strict || flow.protocol == Protocol::Tcp;
    match any_port && can(&by_address) {
        true => by_address,
        false => from_peer(toward, flow, peer, true),
    }
}

/// What of a flow is to be let through: all, or RTCP alone where `hold = close` and its media are silent; `None` if
/// nothing is left. The peer's flow is cut down alike, for its ports.
//= RFC 3264 §8.4: RTCP goes on in both directions while a stream is on hold.
pub(super) fn heard(
    hold: OnHold,
    flow: &MediaFlow,
    peer: Option<&MediaFlow>,
) -> Option<(MediaFlow, Option<MediaFlow>)> {
    // Without its checks a path of ICE would end, and so would a connection without its segments.
    //= RFC 4145 §6.2: the direction of the media is nothing to the connection itself.
    if flow.ice.is_candidate() || flow.protocol == Protocol::Tcp {
        return Some((*flow, peer.copied()));
    }
    let silent = !flow.direction.receives() || peer.is_some_and(|peer| !peer.direction.sends());
    // With one port for both nobody can tell RTP from RTCP by it.
    if hold == OnHold::Keep || !silent || (flow.rtcp_mux && flow.rtcp.is_none()) {
        return Some((*flow, peer.copied()));
    }
    flow.rtcp_alone().map(|flow| (flow, peer.map(|peer| peer.rtcp_alone().unwrap_or(*peer))))
}

/// Whether a middlebox can express the wildcards of a pinhole (RFC 4540 §4.3.4, bits I, E and P).
pub(super) fn is_supported(crossing: &Crossing, pinhole: &Pinhole) -> bool {
    let Capabilities { internal_wildcards, external_wildcards, port_wildcards, .. } = crossing.capabilities;
    let source_is_inside = crossing.inside == pinhole.toward.other();
    let addresses = if source_is_inside { internal_wildcards } else { external_wildcards };
    (addresses || !pinhole.wildcards_address()) && (port_wildcards || pinhole.source_port != 0)
}
