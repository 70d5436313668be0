//! From two descriptions to the pinholes they need: `docs/pinholes.md`, "from SDP to rules".

use std::net::IpAddr;

use ipnet::IpNet;
use midcom::Capabilities;
use sdp::{Flows, MediaFlow};
use smallvec::SmallVec;

use super::pinhole::{Pinhole, Place};
use super::terms::{Crossing, SourcePolicy, Terms};
use crate::config::OnHold;
use crate::side::{Side, Sides};

/// The pinholes of one flow: rarely more than two.
pub(super) type Pinholes = SmallVec<[Pinhole; 2]>;

/// The ports a flow receives on. An even port and the next are one place, so that one rule serves both.
pub(super) fn places(flow: &MediaFlow) -> SmallVec<[Place; 2]> {
    let rtp = Place { address: flow.address, port: flow.rtp, range: 1 };
    match flow.rtcp {
        None => SmallVec::from_iter([rtp]),
        Some(_) if flow.is_pair() => SmallVec::from_iter([Place { range: 2, ..rtp }]),
        Some(rtcp) => SmallVec::from_iter([rtp, Place { address: rtcp.address, port: rtcp.port, range: 1 }]),
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
    let rtp = Place { address: flow.address, port: flow.rtp, range: 1 };
    let one_source = if strict { peer.is_pair() } else { rtcp_source.0 == peer.address };
    let first = pinhole(rtp, (peer.address, peer.rtp));
    match flow.rtcp {
        None => SmallVec::from_iter([first]),
        Some(_) if flow.is_pair() && one_source => {
            SmallVec::from_iter([Pinhole { place: Place { range: 2, ..rtp }, ..first }])
        }
        Some(rtcp) => {
            let rtcp = Place { address: rtcp.address, port: rtcp.port, range: 1 };
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
    let Some((flow, peer)) = &heard(terms.hold, flow, peer) else { return Pinholes::new() };
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
    match policy != SourcePolicy::Strict && can(&by_address) {
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

/// The flows of one side that are in use on both, each with its counterpart on the other.
pub(super) fn counterparts<'f>(
    flows: &'f Flows,
    peers: &'f Flows,
) -> impl Iterator<Item = (&'f MediaFlow, &'f MediaFlow)> {
    flows.iter().enumerate().filter_map(move |(index, flow)| {
        let same = |other: &&MediaFlow| other.stream == flow.stream;
        let position = flows[..index].iter().filter(same).count();
        // With fewer port pairs on the other side, its first stands for the missing ones.
        peers.iter().filter(same).nth(position).or_else(|| peers.iter().find(same)).map(|peer| (flow, peer))
    })
}

/// The descriptions of offer and answer with what they have agreed on.
pub(super) fn agree(by: Side, offer: &Flows, answer: &Flows) -> Sides<Flows> {
    let mut agreed = Sides { a: offer.clone(), b: offer.clone() };
    agreed[by.other()].clone_from(answer);
    for flow in &mut agreed[by] {
        //= RFC 5761 §5.1.1: RTCP moves to RTP's port only if offer and answer both say so.
        let mux = |peer: &MediaFlow| peer.stream == flow.stream && peer.rtcp_mux;
        if flow.rtcp_mux && answer.iter().any(mux) {
            flow.rtcp = None;
        }
    }
    for flow in &mut agreed[by.other()] {
        let mux = |peer: &MediaFlow| peer.stream == flow.stream && peer.rtcp_mux;
        if flow.rtcp_mux && offer.iter().any(mux) {
            flow.rtcp = None;
        }
    }
    agreed
}
